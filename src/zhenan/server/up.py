"""`zhenan up`: engines, set-up, then every process under one supervisor, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from zhenan.server import arguments, config, embedded, posix, services, supervisor
from zhenan.server.embedded import EngineError
from zhenan.server.progress import say, step

WEB_WAIT_S = 60
ALL_ADDRESSES = ("", "::", "0.0.0.0")  # noqa: S104  compared with, not listened on


def main(argv: list[str]) -> int:
    """Run until a signal comes; everything started here is stopped before it returns."""
    asked = arguments.of_up("zhenan up").parse_args(argv)
    if asked.data:
        os.environ["ZHENAN_DATA"] = str(Path(asked.data).expanduser().resolve())
    os.environ["ZHENAN_DEMO"] = "1" if asked.demo else "0"
    watch = supervisor.Supervisor(config.data_dir(), say=say)
    watch.catch_signals()
    try:
        _start(watch, asked)
        watch.watch()
    except KeyboardInterrupt:
        pass
    except (EngineError, SetUpFailed) as err:
        sys.stderr.write(f"zhenan: {err}\n")
        return 1
    finally:
        if watch.stopping:
            say("stopping")
        watch.stop()
    say("stopped")
    return 0


class SetUpFailed(Exception):
    """`zhenan prepare` failed; what went wrong is on the terminal already."""


def _start(watch: supervisor.Supervisor, asked: argparse.Namespace) -> None:
    data = config.data_dir()
    supervisor.end_leftovers(data, say)
    addresses = _engines(watch, data)
    embedded.write_private(config.engines_file(), json.dumps(addresses, indent=1))
    _prepare(asked)
    port = _web_port(asked.port)
    host = "127.0.0.1" if asked.host in ALL_ADDRESSES else asked.host
    watch.url = f"http://{host}:{port}/"
    embedded.write_private(config.engines_file(), json.dumps(addresses | {"web_url": watch.url}, indent=1))
    web, *others = services.table(host=asked.host, port=port, demo=asked.demo)
    watch.add([web])  # alone at first: on a small machine all at once would keep the first page waiting
    _wait_for_pages(watch, host, port)
    watch.add(others)
    _greet(watch, data)


def _engines(watch: supervisor.Supervisor, data: Path) -> dict[str, str]:
    """Start the engines that no setting points elsewhere; their addresses. The last run's ports are preferred."""
    last = _last_ports(data)
    addresses: dict[str, str] = {}
    if not os.environ.get("DATABASE_URL"):
        postgres = embedded.postgres_in(data, port=last.get("postgres", 5433))
        with step("PostgreSQL"):
            watch.start_engine(postgres)
        addresses["database_url"] = postgres.url()
    if not os.environ.get("NATS_URL"):
        nats = embedded.nats_in(
            data,
            port=last.get("nats", 4222),
            mqtt_port=last.get("nats_mqtt", 1882),
            http_port=last.get("nats_http", 8222),
        )
        with step("NATS"):
            watch.start_engine(nats)
        addresses |= {"nats_url": nats.url, "mqtt_url": nats.mqtt_url, "nats_http_url": nats.http_url}
        addresses["mqtt_user"], addresses["mqtt_password"] = "device", nats.device_password
    _keep_ports(watch, data)
    return addresses


def _last_ports(data: Path) -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads((data / "ports.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _keep_ports(watch: supervisor.Supervisor, data: Path) -> None:
    engines = watch.engines
    ports = {name: engine.port for name, engine in engines.items() if hasattr(engine, "port")}
    nats = engines.get("nats")
    if isinstance(nats, embedded.Nats):
        ports |= {"nats_mqtt": nats.mqtt_port, "nats_http": nats.http_port}
    (data / "ports.json").write_text(json.dumps(ports), "utf-8")


def _prepare(asked: argparse.Namespace) -> None:
    arguments = ["--demo", "--scale", asked.scale, "--seed", asked.seed] if asked.demo else []
    argv = [sys.executable, "-m", "zhenan.server.cli", "prepare", *arguments]
    done = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=posix.die_with_parent(supervisor.KILL))
    if done.wait():
        raise SetUpFailed("the set-up did not finish (see above); mend the cause and start again")


def _web_port(preferred: int) -> int:
    port = embedded.free_port(preferred)
    if port != preferred:
        say(f"port {preferred} is taken; using {port}")
    return port


def _wait_for_pages(watch: supervisor.Supervisor, host: str, port: int) -> None:
    """Until the pages answer; an answer other than 200 is said, and the platform stays up to be looked at."""
    log = watch.data / "logs" / "web.log"
    with step("pages"):
        deadline = time.monotonic() + WEB_WAIT_S
        while (status := _asked(host, port)) is None:
            watch.tick()
            if time.monotonic() > deadline:
                raise SetUpFailed(f"the pages did not answer within {WEB_WAIT_S} s; see {log}")
            time.sleep(0.1)
    if status != 200:
        say(f"the pages answer with status {status}: see {log} and `zhenan doctor`")


def _asked(host: str, port: int) -> int | None:
    """The status of /healthz; None when nothing answers yet."""
    asked = http.client.HTTPConnection(host, port, timeout=10)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(asked):
        asked.request("GET", "/healthz")
        return asked.getresponse().status
    return None


def _greet(watch: supervisor.Supervisor, data: Path) -> None:
    """Address and, in a demo city, who may sign in (demo leaves that in signin.txt)."""
    lines = ["", f"Zhen'an is running at {watch.url}"]
    signin = data / "signin.txt"
    if signin.exists():
        lines.append(signin.read_text("utf-8").rstrip())
    lines += [f"Logs: {data / 'logs'}", "Stop with Ctrl-C.", ""]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
