"""A real PostgreSQL for tests: one shared server a checkout, and for each test process a database of its own.

The migrated database is made once for each state of the migrations and then cloned, which takes a tenth of a second.
Several people and several workers may run at once. Kept running with ZHENAN_KEEP_TEST_ENGINES=1; DATABASE_URL names
another server (its user must be allowed to make databases).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
from psycopg import sql

from zhenan.server import embedded

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("ZHENAN_TEST_ENGINES") or ROOT / ".data" / "test-engines")
KEEP = os.environ.get("ZHENAN_KEEP_TEST_ENGINES") == "1"
TEMPLATES_KEPT = 6


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the shared folder; the kernel releases it when the process ends, however it ends."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


class SharedServer:
    """The shared PostgreSQL: started by whoever comes first, stopped by whoever leaves last."""

    def __init__(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.users: IO[str] = (FOLDER / "users.lock").open("w")
        fcntl.flock(self.users, fcntl.LOCK_SH)
        with locked("start.lock"):
            self.url = self._running() or self._start()

    def _running(self) -> str:
        state = FOLDER / "server.json"
        if not state.exists():
            return ""
        known = json.loads(state.read_text("utf-8"))
        if not psutil.pid_exists(known["pid"]):
            return ""
        try:
            with psycopg.connect(known["url"], connect_timeout=5):
                return str(known["url"])
        except psycopg.OperationalError:
            return ""

    def _start(self) -> str:
        server = embedded.postgres_in(FOLDER, port=0, durable=False)
        process = embedded.start(server, log=FOLDER / "logs" / "postgres.log", detached=True)
        url = server.url("postgres")
        embedded.write_private(FOLDER / "server.json", json.dumps({"pid": process.pid, "url": url}))
        process.returncode = 0  # it outlives this process on purpose; silence the warning about a running child
        return url

    def leave(self) -> None:
        """Stop the server when nobody else uses it and it is not to be kept."""
        fcntl.flock(self.users, fcntl.LOCK_UN)
        if KEEP:
            return
        try:
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        state = FOLDER / "server.json"
        if state.exists():
            process = psutil.Process(json.loads(state.read_text("utf-8"))["pid"])
            process.send_signal(signal.SIGINT)
            _gone(process)
            state.unlink()
        self.users.close()


def _gone(process: psutil.Process, patience_s: float = 30.0) -> None:
    """Wait for its end. It may be the child of a test process that has not asked how it ended: gone all the same."""
    until = time.monotonic() + patience_s
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            raise TimeoutError(f"the tests' PostgreSQL (process {process.pid}) did not stop within {patience_s:.0f} s")
        time.sleep(0.05)


def with_name(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def schema_hash() -> str:
    """Changes whenever a migrated database could look different."""
    sources = sorted((ROOT / "src" / "zhenan").glob("**/migrations/*.py"))
    sources += sorted(
        path for path in (ROOT / "src" / "zhenan").glob("**/models.py") if not (path.parent / "migrations").exists()
    )
    sources += [ROOT / "src" / "zhenan" / "server" / "settings.py", ROOT / "requirements" / "base.txt"]
    digest = hashlib.sha256()
    for path in sources:
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def make_database(admin_url: str, name: str) -> str:
    """Clone the migrated template under ``name``; build the template first when there is none. Returns its address."""
    template = f"zt_{schema_hash()}"
    with locked("template.lock"), psycopg.connect(admin_url, autocommit=True) as db:
        if not _exists(db, template):
            _sweep(db)
            _build_template(admin_url, db, template)
    with psycopg.connect(admin_url, autocommit=True) as db:
        drop_database(db, name)
        db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
    return with_name(admin_url, name)


def drop_database(db: psycopg.Connection, name: str) -> None:
    """Drop a test database with whoever is still connected to it."""
    db.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _exists(db: psycopg.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


def _build_template(admin_url: str, db: psycopg.Connection, template: str) -> None:
    from django.core.management import call_command
    from django.db import connection

    building = f"{template}_building"
    drop_database(db, building)
    db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(building)))
    point_django_at(with_name(admin_url, building))
    call_command("migrate", verbosity=0, interactive=False, run_syncdb=True)
    connection.close()
    db.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(building), sql.Identifier(template)))


def _sweep(db: psycopg.Connection) -> None:
    """Drop databases of dead test processes and all but the youngest templates."""
    rows = db.execute(
        "SELECT datname FROM pg_database WHERE datname ~ '^(zt|test_zhenan)_' ORDER BY oid DESC"
    ).fetchall()
    templates = [name for (name,) in rows if re.fullmatch(r"zt_[0-9a-f]{12}", name)]
    for (name,) in rows:
        owner = re.match(r"test_zhenan_(\d+)_", name)
        if name in templates[TEMPLATES_KEPT:] or (owner and not psutil.pid_exists(int(owner[1]))):
            drop_database(db, name)


def point_django_at(url: str) -> None:
    """Make Django's default connection, and processes started from here, use this database."""
    from django.conf import settings
    from django.db import connection

    from zhenan.server.config import django_database

    connection.close()
    fresh = django_database(url)
    connection.settings_dict.update(fresh)
    settings.DATABASES["default"].update(fresh)
    os.environ["DATABASE_URL"] = url
