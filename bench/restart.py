"""A judge is killed and started again: how long until it judges, with every point of a city or province registered.

    python -m bench.restart [--json] [--points N] [--rate READINGS_A_SECOND] [--seconds N]

The real process, `zhenan judge`: its start, the register out of PostgreSQL, its state out of its folder, the log out of
NATS, alarms into PostgreSQL. Readings go on coming meanwhile, and with each second's one point crosses for the first
time. The clock runs from the kill to the first alarm that is recorded after it, and to the alarm of a reading that was
sent after the kill and recorded within half a second of being sent, when nothing is behind any more. In the end every
crossing must have one alarm. Floor: reading as many bytes as the state has from a file.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench import storm

POINTS_A_DEVICE = 4
STEP_S = 0.1
CALM, HIGH = 1.0, 60.0  # HIGH crosses the rules of MODEL
WAIT_S = 180.0
SETTLED_S = 0.5  # an alarm recorded so soon after its reading was sent: nothing is behind any more
MODEL, MEASURE = "catering_gas.gas_detector", "gas_lel"


def register(points: int) -> list[int]:
    """So many points on a fourth as many devices at a thousand sites; their ids."""
    from django.db import connection

    from zhenan.domains.monitoring.models import Device, Point
    from zhenan.domains.register.models import Subject
    from zhenan.kernel.territory.models import Division
    from zhenan.kernel.territory.services import load_city
    from zhenan.packkit.sync import sync_packs

    load_city(boundaries=False)
    sync_packs()
    town = Division.objects.filter(level="town").order_by("code")[0]
    subjects = Subject.objects.bulk_create(
        Subject(
            type="catering_gas.caterer", programme="catering_gas", key=f"B{n}", name=f"bench {n}", division=town,
            attributes={"gas_kind": "natural"},
        )
        for n in range(1000)
    )  # fmt: skip
    first = subjects[0].pk
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {Device._meta.db_table} (protocol, key, model, programme, subject_id, name, active, online,"
            " attributes, created_at, changed_at) SELECT 'mqtt_json', 'B' || n, %s, 'catering_gas', %s + n %% 1000,"
            " 'bench ' || n, true, false, '{}', now(), now() FROM generate_series(1, %s) n",
            [MODEL, first, points // POINTS_A_DEVICE],
        )
        cursor.execute(
            f'INSERT INTO {Point._meta.db_table} (device_id, channel, measure, unit, scale, "offset")'
            f" SELECT d.id, 'lel' || k, %s, '%%LEL', 1, 0 FROM {Device._meta.db_table} d, generate_series(1, %s) k",
            [MEASURE, POINTS_A_DEVICE],
        )
        cursor.execute("ANALYZE")
    return list(Point.objects.order_by("pk").values_list("pk", flat=True))


class Load(threading.Thread):
    """Readings at the pace, and once a second one that crosses at a point that never did; `sent`: when, by point."""

    def __init__(self, url: str, points: Sequence[int], rate: float) -> None:
        super().__init__(daemon=True)
        self.url, self.points, self.rate = url, np.array(points, np.int64), rate
        self.sent: dict[int, float] = {}
        self.halt = threading.Event()

    def run(self) -> None:
        asyncio.run(self._body())

    async def _body(self) -> None:
        from zhenan.telemetry.log import streams
        from zhenan.telemetry.log.chain import Chain
        from zhenan.telemetry.log.connect import connect

        client = await connect(self.url, "load")
        await streams.ensure(client.jetstream())
        chain = Chain(client, streams.READINGS, streams.readings_subject(0, "load"))
        await chain.open()
        size, calm = int(self.rate * STEP_S), self.points[: -self.points.size // 10]
        began, step = time.monotonic(), 0
        while not self.halt.is_set():
            now, place = time.time(), np.arange(step * size, (step + 1) * size) % calm.size
            point, value = calm[place], np.full(size, CALM)
            if step % round(1 / STEP_S) == 0:
                point, value = np.append(point, self.points[-1 - step]), np.append(value, HIGH)
                self.sent[int(point[-1])] = now
            ts = np.full(point.size, int(now * 1000))
            await chain.commit(_columns(point, ts, value), {})
            step += 1
            await asyncio.sleep(max(0.0, began + step * STEP_S - time.monotonic()))
        await client.close()


def _columns(point: np.ndarray, ts: np.ndarray, value: np.ndarray) -> bytes:
    from zhenan.telemetry.columns import Columns

    return Columns.of(point, ts, value, np.zeros(point.size)).pack()


class Alarms(threading.Thread):
    """When each point's alarm was first seen on record."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.seen: dict[int, float] = {}
        self.halt = threading.Event()

    def run(self) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as database:
            while not self.halt.is_set():
                for (point,) in database.execute("SELECT point_id FROM monitoring_alarm").fetchall():
                    self.seen.setdefault(point, time.time())
                time.sleep(0.02)


def judge(folder: Path) -> subprocess.Popen[bytes]:
    """The process as the supervisor starts it."""
    with (folder / "judge.log").open("ab") as out:
        argv = [sys.executable, "-m", "zhenan.server.cli", "judge"]
        return subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, "ZHENAN_LOG": "json"})


def until(true: Any, what: str, process: subprocess.Popen[bytes]) -> float:
    """The moment at which it became so. Raises TimeoutError."""
    deadline = time.time() + WAIT_S
    while not true():
        if time.time() > deadline or process.poll() is not None:
            raise TimeoutError(f"{what}: not within {WAIT_S:.0f} s, or the judge ended")
        time.sleep(0.02)
    return time.time()


def measured(folder: Path, points: int, rate: float, seconds: float) -> dict[str, Any]:
    """Start, load, kill, start, wait."""
    from zhenan.server import embedded

    known = register(points)
    nats = embedded.nats_in(folder, port=0, mqtt_port=0, http_port=0, durable=True)
    broker = embedded.start(nats, log=folder / "nats.log")
    os.environ["NATS_URL"] = nats.url
    alarms, load = Alarms(os.environ["DATABASE_URL"]), Load(nats.url, known, rate)
    running = None
    try:
        load.start()
        alarms.start()
        running = judge(folder)
        until(lambda: alarms.seen, "first alarm", running)
        kept = folder / "state" / "judge" / "judge.state"
        until(lambda: kept.exists(), "first state", running)
        time.sleep(seconds)
        running.kill()
        running.wait()
        killed, before = time.time(), set(alarms.seen)
        running = judge(folder)
        again = until(lambda: set(alarms.seen) - before, "judging again", running) - killed
        caught = until(lambda: _settled(load, alarms, killed), "caught up", running) - killed
        time.sleep(3)
        load.halt.set()
        load.join(10)
        until(lambda: set(load.sent) <= set(alarms.seen), "every crossing's alarm", running)
        size = kept.stat().st_size
    finally:
        for thread in (load, alarms):
            thread.halt.set()
        if running is not None:
            running.kill()
            running.wait()
        alarms.join(10)
        embedded.stop(broker, nats.stop_signal)
    return {
        "points": points, "readings_per_s": rate, "judging_again_s": round(again, 2), "caught_up_s": round(caught, 2),
        "crossings": len(load.sent), "lost": len(set(load.sent) - set(alarms.seen)), "state_mb": round(size / 1e6),
        "read_floor_s": round(_read(kept), 3), "load_average": os.getloadavg()[0],
    }  # fmt: skip


def _settled(load: Load, alarms: Alarms, killed: float) -> bool:
    return any(
        sent > killed and alarms.seen.get(point, np.inf) - sent < SETTLED_S for point, sent in [*load.sent.items()]
    )


def _read(path: Path) -> float:
    began = time.perf_counter()
    path.read_bytes()
    return time.perf_counter() - began


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    return (
        f"{found['points']:,} points registered, {found['readings_per_s']:,.0f} readings/s; load"
        f" {found['load_average']:.1f}\n"
        f"killed → first alarm recorded   {found['judging_again_s']:6.2f} s  floor: {found['state_mb']} MB of state"
        f" read in {found['read_floor_s']:.2f} s\n"
        f"killed → nothing behind         {found['caught_up_s']:6.2f} s\n"
        f"{found['crossings']} crossings, {found['lost']} without an alarm"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json; 1 where a crossing has no alarm."""
    parser = argparse.ArgumentParser(prog="zhenan bench restart", description="A judge killed and started again.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--points", type=int, default=1_300_000)
    parser.add_argument("--rate", type=float, default=100_000, help="readings a second")
    parser.add_argument("--seconds", type=float, default=12.0, help="from the first state kept to the kill")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="zhenan-restart-") as name:
        folder = Path(name)
        found = storm.measure(folder, lambda: measured(folder, options.points, options.rate, options.seconds))
    print(json.dumps(found) if options.json else table(found))
    return 1 if found["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
