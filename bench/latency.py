"""From a sample to its alarm: how long until it is published, and until it is stored, at a paced rate.

    python -m bench.latency [--json] [--rate READINGS_A_SECOND] [--seconds N]

Programs send packed columns over HTTP at the pace asked for; in each body one reading crosses its threshold. The clock
of that sample runs from just before its body is sent until the alarm's message has gone through NATS, and until its row
is committed in PostgreSQL by another thread. Everything is real and durable: a NATS that flushes every commit, the
gateway in a process of its own, the senders in another, the judge here.
Floors of the same run: how long a flush to disk of a commit's bytes takes at the pace of the commits (p50 and p99: a
sample waits for its own and, when it comes meanwhile, for the one before), and one committed row.
"""

import argparse
import asyncio
import json
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from bench._senders import CLOUD, FIRST_OF_CLOUD, TOKEN, VALUES
from bench.ingest import SPAWN, running, setup_of

from zhenan.server import embedded
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower

POINTS = CLOUD * VALUES
PROGRAMS = 16
ROWS = POINTS // PROGRAMS  # readings in a body: one of each of a program's points
CALM, HIGH = 10.0, 50.0
SQL = "INSERT INTO alarm (id, point, onset) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


def body_of(number: int, began_ms: int) -> bytes:
    """Body `number`: one reading of each of ROWS points at its own millisecond, one of them high."""
    first = FIRST_OF_CLOUD + number % PROGRAMS * ROWS
    value = np.full(ROWS, CALM)
    value[number // PROGRAMS % ROWS] = HIGH
    return Columns.of(np.arange(first, first + ROWS), np.full(ROWS, began_ms + number), value, np.zeros(ROWS)).pack()


def send(port: int, count: int, rate: float, began_ms: int, sent: Any, refused: Any) -> None:
    """`count` bodies at the pace; `sent[n]`: the moment at which body n was due to leave, and left when not late."""
    bodies = [body_of(n, began_ms) for n in range(count)]
    head = f"POST /ingest/columns HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"

    async def program(waiting: asyncio.Queue[int]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (n := await waiting.get()) >= 0:
            writer.write(f"{head}Content-Length: {len(bodies[n])}\r\n\r\n".encode() + bodies[n])
            answer = await reader.readuntil(b"\r\n\r\n")
            size = int(answer.split(b"Content-Length: ")[1].split(b"\r")[0])
            said = json.loads(await reader.readexactly(size))
            if said != {"taken": ROWS, "refused": 0}:
                refused.value += 1
        writer.close()

    async def body() -> None:
        waiting: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(PROGRAMS)]
        programs = [asyncio.create_task(program(mine)) for mine in waiting]
        await asyncio.sleep(0.3)
        step, began = ROWS / rate, time.time()
        for n in range(count):
            due = began + n * step
            if (wait_s := due - time.time()) > 0:
                await asyncio.sleep(wait_s)
            sent[n] = due  # a sender that falls behind its pace does not make the figure better
            waiting[n % PROGRAMS].put_nowait(n)
        for mine in waiting:
            mine.put_nowait(-1)
        await asyncio.gather(*programs)

    import uvloop

    uvloop.run(body())


class Store:
    """Commits alarms in a thread of its own, as many as wait together. `done[n]`: when that of body n was committed."""

    def __init__(self, url: str, count: int, began_ms: int) -> None:
        self.done = np.full(count, np.nan)
        self.waiting: queue.SimpleQueue[list[tuple[Any, int, int]] | None] = queue.SimpleQueue()
        self._began_ms = began_ms
        self._db = psycopg.connect(url)
        self._db.execute("CREATE TABLE alarm (id uuid PRIMARY KEY, point bigint, onset bigint)")
        self._db.commit()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (rows := self.waiting.get()) is not None:
            with self._db.cursor() as cursor:
                cursor.executemany(SQL, rows)
            self._db.commit()
            self.done[[onset - self._began_ms for _, _, onset in rows]] = time.time()

    def close(self) -> float:
        """End; seconds that a committed row takes when nothing else happens."""
        self.waiting.put(None)
        self._thread.join(30)
        start = time.perf_counter()
        for n in range(50):
            self._db.execute(SQL, (alarm_id(str(n), "floor", n), n, n))
            self._db.commit()
        seconds = (time.perf_counter() - start) / 50
        self._db.close()
        return seconds


async def judging(nats_url: str, after: int, count: int, began_ms: int, store: Store) -> np.ndarray:
    """Judge until every body's alarm is raised; when each was published."""
    client = await connect(nats_url, "judge")
    live, published = LiveJudge(setup_of()), np.full(count, np.nan)
    follower = Follower(client, streams.READINGS, "bench", after=after)
    while np.isnan(published).any():
        messages = await follower.read(most=64, wait_s=1.0)
        if not messages:
            continue
        found = live.judge(Columns.concat([Columns.unpack(m.data) for m in messages]), messages[-1].seq)
        raised = [t for t in found if t.kind == "raise" and t.rule == "high"]
        if not raised:
            continue
        for t in raised:
            await client.publish(f"alarms.{t.point}", f"{t.point} {t.rule} {t.onset}".encode())
        await client.flush()
        published[[t.onset - began_ms for t in raised]] = time.time()
        store.waiting.put([(alarm_id(t.point, t.rule, t.onset), int(t.point), t.onset) for t in raised])
    await follower.close()
    await client.close()
    return published


def measure(rate: float = 1_000_000, seconds: float = 10.0) -> dict[str, Any]:
    """The figures of one run at one pace."""
    warm_up()
    count, began_ms = max(100, round(rate * seconds / ROWS)), int(time.time() * 1000) - 86_400_000
    with tempfile.TemporaryDirectory(prefix="zhenan-bench-") as name:
        postgres = embedded.postgres_in(Path(name), port=0)
        database = embedded.start(postgres, log=Path(name) / "postgres.log")
        try:
            with running(Path(name), durable=True) as platform:
                store = Store(postgres.url(), count, began_ms)
                sent, refused = SPAWN.Array("d", count, lock=False), SPAWN.Value("i", 0)
                given = (platform.ports["http"], count, rate, began_ms, sent, refused)
                sender = SPAWN.Process(target=send, args=given, daemon=True)
                sender.start()
                published = asyncio.run(
                    asyncio.wait_for(judging(platform.nats.url, 0, count, began_ms, store), 120 + seconds)
                )
                sender.join(30)
                row_s = store.close()
                floor = paced_flushes(Path(name), len(body_of(0, 0)))
        finally:
            embedded.stop(database, postgres.stop_signal)
    if refused.value or np.isnan(store.done).any():
        raise RuntimeError(
            f"{refused.value} bodies were not taken whole, {np.isnan(store.done).sum()} alarms not stored"
        )
    began, skip = np.array(sent[:]), count // 10  # the first tenth warms up
    return {
        "rate": rate,
        "readings": count * ROWS,
        "readings_per_s": round(count * ROWS / (published.max() - began[0])),
        "points": POINTS,
        **_spread("published", (published - began)[skip:]),
        **_spread("stored", (store.done - began)[skip:]),
        **_spread("flush_floor", floor),
        "row_floor_ms": round(row_s * 1000, 2),
    }


def paced_flushes(folder: Path, size: int, count: int = 500, every_s: float = 0.004) -> np.ndarray:
    """Seconds that each of so many flushes takes, a commit's bytes of two bodies every few milliseconds."""
    piece, took = os.urandom(2 * size), np.empty(count)
    handle = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for n in range(count):
        start = time.perf_counter()
        os.write(handle, piece)
        os.fdatasync(handle)
        took[n] = time.perf_counter() - start
        time.sleep(max(0.0, every_s - took[n]))
    os.close(handle)
    return took


def _spread(name: str, seconds: np.ndarray) -> dict[str, float]:
    return {f"{name}_p{p}_ms": round(float(np.percentile(seconds, p)) * 1000, 1) for p in (50, 99)}


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    return (
        f"paced at {found['rate']:,.0f} readings/s; came to {found['readings_per_s']:,} readings/s, {found['points']:,}"
        f" points\n"
        f"sample → alarm published  p50 {found['published_p50_ms']:7.1f} ms  p99 {found['published_p99_ms']:7.1f} ms"
        f"  floor: a flush {found['flush_floor_p50_ms']:.1f}, {found['flush_floor_p99_ms']:.1f} ms\n"
        f"sample → alarm stored     p50 {found['stored_p50_ms']:7.1f} ms  p99 {found['stored_p99_ms']:7.1f} ms"
        f"  floor: a row {found['row_floor_ms']:.1f} ms"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench latency", description="From a sample to its alarm.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rate", type=float, default=1_000_000, help="readings a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--peers", action="store_true", help="instead: beside VictoriaMetrics and Zabbix, on one stream"
    )
    parser.add_argument("--peer-rate", type=float, default=50_000, help="readings a second of that stream")
    options = parser.parse_args(argv)
    if options.peers:
        from bench.peers import latency as peers

        return peers.main(as_json=options.json, rate=options.peer_rate, seconds=options.seconds)
    found = measure(options.rate, options.seconds)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
