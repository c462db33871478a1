"""PostgreSQL with a streaming replica: when the primary dies and the replica is promoted, the platform goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from zhenan.server import config, embedded

BEAT = """
import asyncio, sys, time
from django.db import connection
from zhenan.server.processes import Process, listen

def write(number):
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO beat VALUES (%s) ON CONFLICT DO NOTHING", [number])

async def main():
    process, heard = Process("judge"), asyncio.Event()
    listening = asyncio.create_task(listen("told", heard))
    for number in range(10_000):
        await process.database(write, number)
        if heard.is_set():
            heard.clear()
            print("heard", flush=True)
        print(number, flush=True)
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


def programs(*names: str) -> Path:
    """Where PostgreSQL's programs are; skips where the package lacks one."""
    folder = embedded.postgres_bin()
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        pytest.skip(f"the PostgreSQL package here has no {', '.join(missing)}")
    return folder


def replica_of(primary: embedded.Postgres, folder: Path) -> embedded.Postgres:
    """A hot standby made by pg_basebackup as docs/scale.md has it, not yet started."""
    bin_ = programs("pg_basebackup", "pg_ctl")
    folder.mkdir()
    made = replace(primary, folder=folder, port=embedded.free_port(0), name="replica")
    if primary.account:
        os.chown(folder, *primary.account)
    made.account = primary.account
    argv = [
        bin_ / "pg_basebackup",
        "-D",
        made.cluster,
        "-R",
        "-X",
        "stream",
        "-C",
        "-S",
        "replica1",
        "--checkpoint=fast",
    ]
    done = subprocess.run(
        [*argv, "-d", primary.url("postgres")], **made.popen_options(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return made


def started_as_deployed(server: embedded.Postgres, peer: embedded.Postgres, folder: Path) -> str:
    """What deploy/postgres/server.sh does when a server comes up beside its peer; the start itself is left out."""
    entrypoint = folder / "docker-entrypoint.sh"
    entrypoint.write_text("#!/bin/sh\necho started\n")
    entrypoint.chmod(0o755)
    env = {
        **os.environ, "PATH": f"{folder}:{embedded.postgres_bin()}:{os.environ['PATH']}", "PGDATA": str(server.cluster),
        "PEER_HOST": "127.0.0.1", "PGPORT": str(peer.port), "REPLICATION_PASSWORD": "copied",
    }  # fmt: skip
    script = config.ROOT / "deploy" / "postgres" / "server.sh"
    done = subprocess.run(["sh", script], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_promoted_replica_is_written_to_and_listened_at_by_processes_that_named_both(
    tmp_postgres: Any, open_folder: Path
) -> None:
    primary = tmp_postgres.engine
    with psycopg.connect(tmp_postgres.url, autocommit=True) as db:
        db.execute("CREATE TABLE beat (n int PRIMARY KEY)")
        db.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        db.execute("CREATE ROLE replica WITH REPLICATION LOGIN PASSWORD 'copied'")
    standby = replica_of(primary, open_folder / "replica")
    process = embedded.start(standby, log=open_folder / "replica.log")
    running = None
    try:
        with psycopg.connect(tmp_postgres.url, autocommit=True) as db:
            db.execute("SELECT pg_reload_conf()")
        assert started_as_deployed(primary, standby, open_folder) == "started"  # its peer follows: it may be primary
        both = f"{primary.url().removesuffix('/zhenan')},127.0.0.1:{standby.port}/zhenan"
        env = {**os.environ, "DATABASE_URL": both, "ZHENAN_DATA": str(open_folder / "worker")}
        env["PYTHONPATH"] = str(config.ROOT / "src")
        with (open_folder / "beat.out").open("w") as out:
            argv = [sys.executable, "-m", "zhenan.server.cli", "shell", "-c", BEAT]
            running = subprocess.Popen(argv, env=env, stdout=out, stderr=subprocess.STDOUT)
        told = Told(open_folder / "beat.out")
        told.wait_for(5)
        tmp_postgres.kill()
        before = told.numbers()[-1]
        time.sleep(0.5)
        assert told.numbers()[-1] <= before + 1  # nothing is taken while there is nobody to take it
        began = time.monotonic()
        subprocess.run(
            [programs("pg_ctl") / "pg_ctl", "promote", "-D", standby.cluster], **standby.popen_options(), check=True
        )
        with psycopg.connect(standby.url(), autocommit=True) as db:
            db.execute("ALTER SYSTEM SET synchronous_standby_names = ''")  # nobody is left to wait for
            db.execute("SELECT pg_reload_conf()")
        told.wait_for(before + 10)
        took = time.monotonic() - began
        with psycopg.connect(standby.url(), autocommit=True) as db:
            db.execute("NOTIFY told")
            told.wait_for(told.numbers()[-1] + 10)
            assert "heard" in told.text()
            kept = [row[0] for row in db.execute("SELECT n FROM beat ORDER BY n").fetchall()]
        assert kept[: before + 10] == list(range(before + 10))  # whatever had been answered yes is there
        with pytest.raises(AssertionError, match="is the primary now"):
            started_as_deployed(primary, standby, open_folder)
        print(f"written again {took:.1f} s after the promotion")
    finally:
        if running is not None:
            running.kill()
            running.wait()
        embedded.stop(process, standby.stop_signal)


class Told:
    """What the process printed so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self) -> str:
        return self.path.read_text("utf-8")

    def numbers(self) -> list[int]:
        return [int(line) for line in self.text().splitlines() if line.isdigit()]

    def wait_for(self, number: int) -> None:
        deadline = time.monotonic() + 40
        while not (self.numbers() and self.numbers()[-1] >= number):
            assert time.monotonic() < deadline, self.text()[-3000:]
            time.sleep(0.1)
