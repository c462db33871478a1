"""A platform of several machines on loopback: three NATS nodes, and processes that reach them by links of their own."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from tests.support.links import Links
from tests.support.live import ROOT

from zhenan.server import embedded, posix
from zhenan.telemetry.lease import BUCKET, Book
from zhenan.telemetry.log.chain import head_of
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.states import FENCE, STATES

T = TypeVar("T")


class NatsCluster:
    """Three NATS servers at 127.0.0.2, .3 and .4: pause, kill and start each."""

    def __init__(self, folder: Path) -> None:
        password, device = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
        ports = [[embedded.free_port(0) for _ in range(4)] for _ in range(3)]
        routes = tuple(f"127.0.0.{n + 2}:{ports[n][3]}" for n in range(3))
        self.nodes = [
            embedded.Nats(
                folder=folder / f"nats{n}", password=password, device_password=device, server_name=f"n{n}",
                host=f"127.0.0.{n + 2}", port=ports[n][0], mqtt_port=ports[n][1], http_port=ports[n][2],
                cluster_port=ports[n][3], routes=routes,
            )
            for n in range(3)
        ]  # fmt: skip
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        for number in range(3):
            self.processes.append(self._start(number))
        self._wait_for_leader()

    @property
    def url(self) -> str:
        return ",".join(node.url for node in self.nodes)

    def login(self, port: int) -> str:
        """The address of a port that leads to one of them."""
        return f"nats://zhenan:{self.nodes[0].password}@127.0.0.1:{port}"

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        return embedded.start(self.nodes[number], log=self.folder / f"nats{number}.log")

    def _wait_for_leader(self) -> None:
        deadline = time.monotonic() + 30
        while not self.ask(_has_leader):
            assert time.monotonic() < deadline, (self.folder / "nats0.log").read_text()[-2000:]
            time.sleep(0.2)

    def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """Ask the cluster something, by a connection that no test cuts."""

        async def asked() -> T:
            client = await connect(self.url, "test")
            try:
                return await question(client)
            finally:
                await client.close()

        return asyncio.run(asked())

    def kill(self, number: int) -> None:
        self.processes[number].kill()
        self.processes[number].wait()

    def start(self, number: int) -> None:
        self.processes[number] = self._start(number)

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


async def _has_leader(client: Any) -> bool:
    try:
        await client.jetstream(timeout=2).account_info()
    except Exception:
        return False
    return True


class Worker:
    """One process on a machine of its own: its folder, its name, its links to the three NATS nodes."""

    def __init__(self, nats: NatsCluster, folder: Path, name: str, command: str, *arguments: str, **env: str) -> None:
        self.name, self.command, self.arguments = name, command, arguments
        self.folder = folder / name
        self.folder.mkdir()
        self.links = Links()
        ports = [self.links.port_to((node.host, node.port)) for node in nats.nodes]
        self.env = {
            **os.environ,
            **env,
            "NATS_URL": ",".join(nats.login(port) for port in ports),
            "ZHENAN_DATA": str(self.folder),
            "ZHENAN_WORKER": name,
            "ZHENAN_CLUSTER": "1",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self.start()

    def start(self) -> None:
        """In the main thread: it dies with that."""
        argv = [sys.executable, "-m", "zhenan.server.cli", self.command, *self.arguments]
        with (self.folder / "log").open("ab") as out:
            self.process = subprocess.Popen(
                argv, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                preexec_fn=posix.die_with_parent(signal.SIGKILL),
            )  # fmt: skip

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self.links.heal()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.links.close()

    def health(self) -> dict[str, Any]:
        """What it last said of itself; {} before it did."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "run" / f"{self.command}.health.json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def is_up(self) -> bool:
        """Whether this very process has begun its work, not only the one before it."""
        return bool(self.health().get("pid") == self.process.pid)

    def log(self, *, last: int = 4000) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace")[-last:] if path.exists() else ""


async def holdings(client: Any, role: str) -> dict[int, str]:
    """Lane → name of the worker that has taken it up: it is in the book, and marked the lane's state with its token."""
    js = client.jetstream(timeout=2)
    kv = await js.key_value(BUCKET)
    book = msgspec.json.decode((await kv.get(f"{role}.book")).value, type=Book)

    async def taken(lane: int, member: str, token: int) -> tuple[int, str] | None:
        head = await head_of(js, STATES, f"states.{role}.{book.count}.{lane}.head")
        return (lane, book.members.get(member, "")) if int(head.headers.get(FENCE, "0")) == token else None

    found = await asyncio.gather(*(taken(lane, member, token) for lane, (member, token) in book.lanes.items()))
    return dict(one for one in found if one is not None)


def held_by(nats: NatsCluster, role: str, names: set[str], lanes: int, *, within_s: float = 120) -> float:
    """When (monotonic) every lane of a role had been taken up by these workers, and each of them had some."""

    async def watched(client: Any) -> float:
        deadline = time.monotonic() + within_s
        while True:
            try:
                found = await holdings(client, role)
            except Exception:
                found = {}
            if len(found) == lanes and set(found.values()) == names:
                return time.monotonic()
            assert time.monotonic() < deadline, f"{role}: {found} after {within_s} s, wanted {names}"
            await asyncio.sleep(0.1)

    return nats.ask(watched)
