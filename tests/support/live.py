"""The platform's own processes on a test's own engines: prepared, started, killed, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from zhenan.server import embedded, posix

ROOT = Path(__file__).resolve().parents[2]


class Running:
    """Processes of `zhenan`, by name, with the environment that points them at the engines."""

    def __init__(self, folder: Path, *, postgres: Any, nats: Any, **env: str) -> None:
        self.folder, self.postgres, self.nats = folder, postgres, nats
        self.env = {
            **os.environ,
            "DATABASE_URL": postgres.url,
            "NATS_URL": nats.url,
            "MQTT_URL": nats.mqtt_url,
            "ZHENAN_DATA": str(folder),
            "HISTORY_URL": str(folder / "history"),
            "PYTHONPATH": str(ROOT / "src"),
            **env,
        }
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.arguments: dict[str, Sequence[str]] = {}

    def command(self, *arguments: str) -> str:
        """Run a command to its end; its standard output."""
        argv = [sys.executable, "-m", "zhenan.server.cli", *arguments]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Start a process; again after a kill, with the arguments it had. In the main thread: it dies with that."""
        self.arguments.setdefault(name, arguments)
        argv = [sys.executable, "-m", "zhenan.server.cli", name, *self.arguments[name]]
        with (self.folder / f"{name}.log").open("ab") as out:
            self.processes[name] = subprocess.Popen(
                argv, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                preexec_fn=posix.die_with_parent(signal.SIGKILL),
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """End a process or an engine as a power cut would, and start it again."""
        if name in ("nats", "postgres"):
            engine = getattr(self, name)
            engine.kill()
            _again(engine)
        else:
            self.processes[name].kill()
            self.processes[name].wait()
            self.start(name)

    def stop(self) -> dict[str, int]:
        """Ask all to stop; their exit statuses."""
        for process in self.processes.values():
            process.terminate()
        return {name: process.wait(20) for name, process in self.processes.items()}

    def end(self) -> None:
        """Leave nothing running."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def health(self, name: str) -> dict[str, Any]:
        """What a process last said of itself; {} before it did."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "run" / f"{name}.health.json").read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def log(self, name: str, *, last: int = 3000) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "replace")[-last:] if path.exists() else ""

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the test's database."""
        with psycopg.connect(self.postgres.url) as db:
            return db.execute(query).fetchall()  # type: ignore[arg-type]


def _again(engine: Any, *, wait_s: float = 20) -> None:
    """Start a killed engine; the kernel may take a moment to let go of its port and memory."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            engine.start()
            return
        except embedded.EngineError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def copy_schema(migrated_url: str, into_url: str) -> None:
    """Make an empty database like a migrated one, with the rows that migrations put there."""
    programs = embedded.postgres_bin()
    dump = subprocess.run(
        [programs / "pg_dump", "--no-owner", "--no-acl", migrated_url], capture_output=True, check=True
    ).stdout
    done = subprocess.run(
        [programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", into_url], input=dump, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
