"""VictoriaMetrics (single node) and its vmalert, started on loopback in a folder of their own."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from bench.peers import common
from bench.peers.stream import CHANNELS, THRESHOLD, Rows, Target, as_lines

from zhenan.server.embedded import free_port

PACKAGE = "victoria-metrics"


class Victoria:
    """One that runs. It says yes when readings are in memory; they are on disk some seconds later."""

    name = "VictoriaMetrics"

    def __init__(self, port: int, folder: Path, log: Path, roots: list[psutil.Process], judged_by: str) -> None:
        self.target = Target("http", port, "/write?precision=ms")
        self.alarmed: dict[tuple[str, str], float] = {}
        self.judged_by = judged_by
        self._url, self._folder, self._log, self.roots = f"http://127.0.0.1:{port}", folder, log, roots

    def encode(self, rows: Rows) -> bytes:
        return as_lines(rows)

    def get(self, path: str, **query: str) -> bytes:
        asked = f"{self._url}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(asked, timeout=60) as answer:
            found: bytes = answer.read()
        return found

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/health") == b"OK"
        return False

    def stored(self, rows: int) -> int:
        """Readings that a query finds; its row counters lag. `rows` are expected, which it need not know."""
        self.get("/internal/force_flush")
        query = 'sum(count_over_time({__name__=~"gas_v[0-9]"}[4h]))'
        said = json.loads(self.get("/api/v1/query", query=query, time=str(int(time.time()) + 3600), nocache="1"))
        found = said["data"]["result"]
        return int(found[0]["value"][1]) if found else 0

    def settle(self) -> None:
        """Merge until the files keep their size for three seconds."""
        self.get("/internal/force_flush")
        self.get("/internal/force_merge")
        sizes: list[int] = []

        def steady() -> bool:
            sizes.append(self.disk())
            return len(sizes) > 3 and len({*sizes[-4:]}) == 1

        common.wait_until(steady, "VictoriaMetrics' merge", self._log, every_s=1.0)

    def disk(self) -> int:
        return common.size_of(self._folder / "data")

    def cpu_s(self) -> float:
        return common.cpu_s(self.roots)


@contextlib.contextmanager
def running(folder: Path, *, alarms: bool = False) -> Iterator[Victoria]:
    """VictoriaMetrics, with `alarms` beside vmalert that asks every second. Raises NotInstalled."""
    wanted = ["victoria-metrics", *(["vmalert"] if alarms else [])]
    programs = common.Program.find(wanted, package=PACKAGE)
    port, store, log = free_port(0), folder / "victoria", folder / "victoria.log"
    argv = [
        programs.paths["victoria-metrics"], f"-storageDataPath={store}", f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=12", "-search.latencyOffset=0s", "-search.disableCache",
        "-search.maxUniqueTimeseries=1000000",
    ]  # fmt: skip
    with contextlib.ExitStack() as stack:
        roots = [stack.enter_context(common.running(argv, log))]
        found = Victoria(port, store, log, roots, "vmalert: a rule a channel, each second" if alarms else "nothing")
        common.wait_until(found.answers, "VictoriaMetrics' start", log, process=roots[0])
        if alarms:
            stack.enter_context(_alerting(programs, found, folder))
        yield found


@contextlib.contextmanager
def _alerting(programs: common.Program, peer: Victoria, folder: Path) -> Iterator[None]:
    rules = [
        {"alert": channel, "expr": f"gas_{channel} > {THRESHOLD:g}", "labels": {"channel": channel}}
        for channel in CHANNELS
    ]
    group = {"groups": [{"name": "bench", "interval": "1s", "concurrency": len(rules), "rules": rules}]}
    (folder / "rules.yml").write_text(json.dumps(group), "utf-8")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _receiver(peer.alarmed))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log = folder / "vmalert.log"
    argv = [
        programs.paths["vmalert"], f"-rule={folder / 'rules.yml'}", f"-datasource.url=http://127.0.0.1:{peer.target.port}",
        f"-notifier.url=http://127.0.0.1:{server.server_port}", f"-httpListenAddr=127.0.0.1:{free_port(0)}",
        "-evaluationInterval=1s", "-rule.resendDelay=1h",
    ]  # fmt: skip
    try:
        with common.running(argv, log) as process:
            peer.roots.append(process)
            yield
    finally:
        server.shutdown()
        server.server_close()


def _receiver(alarmed: dict[tuple[str, str], float]) -> type[http.server.BaseHTTPRequestHandler]:
    """What vmalert tells its alarms to, in place of an Alertmanager."""

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            now = time.time()
            for one in told:
                labels = one["labels"]
                alarmed.setdefault((labels["device"], labels["channel"]), now)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    return Receiver
