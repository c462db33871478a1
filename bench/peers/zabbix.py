"""A Zabbix server on a PostgreSQL that the bench starts itself, with the packages' schema and an item a point."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
from bench.peers import common
from bench.peers.stream import CHANNELS, PROGRAMS, ROWS, THRESHOLD, Rows, Target, as_trapper, rows, trap

from zhenan.server import embedded

PACKAGE = "zabbix-server-pgsql"
SQL = [Path("/usr/share/zabbix-server-pgsql") / f"{name}.sql.gz" for name in ("schema", "images", "data")]
FIRST = 1_000_000  # ids below are its own
REGISTER = """
UPDATE hosts SET status = 1 WHERE status = 0;
INSERT INTO hosts (hostid, host, name, status)
  SELECT {first} + n, 'h' || lpad(n::text, 5, '0'), 'h' || lpad(n::text, 5, '0'), 0 FROM generate_series(0, {last}) n;
INSERT INTO items (itemid, type, hostid, name, key_, value_type, trends, delay)
  SELECT {first} + n * {channels} + c, 2, {first} + n, 'v' || c, 'v' || c, 0, '0', '0'
  FROM generate_series(0, {last}) n, generate_series(0, {channels} - 1) c;
INSERT INTO item_rtdata (itemid) SELECT itemid FROM items WHERE itemid >= {first};
INSERT INTO triggers (triggerid, expression, description, priority)
  SELECT itemid, '{{' || itemid || '}}>{threshold:g}', 'high', 3 FROM items WHERE itemid >= {first};
INSERT INTO functions (functionid, itemid, triggerid, name, parameter)
  SELECT itemid, itemid, itemid, 'last', '$' FROM items WHERE itemid >= {first};
"""
CONFIG = """\
DBHost=127.0.0.1
DBPort={db.port}
DBName=zabbix
DBUser={db.user}
DBPassword={db.password}
AllowUnsupportedDBVersions=1
AllowRoot={root}
ListenIP=127.0.0.1
ListenPort={port}
LogType=console
PidFile={folder}/zabbix.pid
SocketDir={folder}
CacheSize=256M
HistoryCacheSize=256M
HistoryIndexCacheSize=64M
ValueCacheSize=256M
TrendCacheSize=16M
StartTrappers={trappers}
StartDBSyncers=4
StartPollers=1
StartPingers=0
StartDiscoverers=0
StartHTTPPollers=0
HousekeepingFrequency=0
"""


class Zabbix:
    """One that runs. It says yes when values are in its cache; four syncers judge them and write them to PostgreSQL."""

    name = "Zabbix"
    judged_by = "a trigger an item"

    def __init__(self, port: int, database: psycopg.Connection, log: Path, roots: list[psutil.Process]) -> None:
        self.target = Target("trapper", port)
        self.alarmed: dict[tuple[str, str], float] = {}
        self._db, self._log, self._roots = database, log, roots

    def encode(self, rows: Rows) -> bytes:
        return as_trapper(rows)

    def _one(self, sql: str) -> int:
        row = self._db.execute(sql).fetchone()
        return int(row[0]) if row else 0

    def stored(self, rows: int) -> int:
        """Rows in its table. Counting costs its server time: while many must be missing a look at its cache does."""
        low = "SELECT count(*) FROM (SELECT FROM items i WHERE itemid >= %d AND (SELECT count(*) FROM history h WHERE"
        low += " h.itemid = i.itemid) < %d LIMIT 1) x"
        each = rows // (PROGRAMS * ROWS)
        return 0 if each and self._one(low % (FIRST, each)) else self._one("SELECT count(*) FROM history")

    def settle(self) -> None:
        self._db.execute("VACUUM ANALYZE history")

    def disk(self) -> int:
        return self._one("SELECT pg_total_relation_size('history')")

    def cpu_s(self) -> float:
        return common.cpu_s(self._roots)

    def takes_all(self) -> bool:
        """Whether it knows every item by now: it answers how many values it could not place."""
        bodies = [self.encode(rows(n, int(time.time() * 1000))) for n in (0, PROGRAMS - 1)]
        with contextlib.suppress(OSError, ValueError):
            return all(f"processed: {ROWS}; failed: 0" in asyncio.run(trap(self.target.port, body)) for body in bodies)
        return False

    def watch(self, url: str, stop: threading.Event) -> None:
        """Note when the event of each trigger is first to be seen."""
        last = 0
        with psycopg.connect(url, autocommit=True) as database:
            while not stop.wait(0.005):
                found = database.execute(
                    "SELECT eventid, objectid FROM events WHERE eventid > %s AND source = 0 AND value = 1", (last,)
                ).fetchall()
                now = time.time()
                for event, trigger in found:
                    device, channel = divmod(trigger - FIRST, len(CHANNELS))
                    self.alarmed.setdefault((f"h{device:05d}", f"v{channel}"), now)
                    last = max(last, event)


@contextlib.contextmanager
def running(folder: Path, *, alarms: bool = False) -> Iterator[Zabbix]:
    """A server with every item, which takes values. Raises NotInstalled."""
    programs = common.Program.find(["zabbix_server"], package=PACKAGE, files=SQL)
    postgres = embedded.postgres_in(folder, port=0)
    engine = embedded.start(postgres, log=folder / "postgres.log")
    url, stop = postgres.url("zabbix"), threading.Event()
    log = folder / "zabbix.log"
    try:
        _fill(postgres)
        path = folder / "zabbix.conf"
        port = embedded.free_port(20_000 + os.getpid() % 10_000)  # it takes none beyond 32767
        root = int(os.geteuid() == 0)
        embedded.write_private(path, CONFIG.format(db=postgres, port=port, folder=folder, root=root, trappers=PROGRAMS))
        argv = [programs.paths["zabbix_server"], "-f", "-c", str(path)]
        with common.running(argv, log) as process, psycopg.connect(url, autocommit=True) as database:
            found = Zabbix(port, database, log, [process, psutil.Process(engine.pid)])
            common.wait_until(found.takes_all, "Zabbix's start", log, every_s=0.5, process=process)
            watching = threading.Thread(target=found.watch, args=(url, stop), daemon=True)
            if alarms:
                watching.start()
            yield found
            stop.set()
            if alarms:
                watching.join(10)
    finally:
        stop.set()
        embedded.stop(engine, postgres.stop_signal)


def _fill(postgres: embedded.Postgres) -> None:
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as database:
        database.execute("CREATE DATABASE zabbix")
    with psycopg.connect(postgres.url("zabbix"), autocommit=True) as database:
        for path in SQL:
            database.execute(gzip.decompress(path.read_bytes()))
        last = PROGRAMS * ROWS // len(CHANNELS) - 1
        sql = REGISTER.format(first=FIRST, last=last, channels=len(CHANNELS), threshold=THRESHOLD)
        database.execute(sql.encode())
        database.execute("ANALYZE")
