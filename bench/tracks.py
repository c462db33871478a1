"""Tracks: a vehicle's day out of many positions, an area's ten minutes, and fences judged, beside floors of the run.

    python -m bench.tracks [--json] [--positions N] [--vehicles N] [--days N] [--folder DIR]

Synthetic vehicles drive about a prefecture, a position every ten seconds; positions go into the table day by day as the
writer puts them there, are merged, and then read and made into trips and stops. Floors: reading as many bytes from a
file as the query read; a memory copy of the positions judged. Fences: circles, polygons and corridors over the
prefecture, ten times as many in a second round, to show that the cost is not vehicles times fences.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from bench.history import TRIES, floor_ms, timed

from zhenan.telemetry.history.delta import DAY_MS, Span, day_ms
from zhenan.telemetry.history.keeping import Merging
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns
from zhenan.telemetry.tracks.fences import Fence
from zhenan.telemetry.tracks.judge import FenceJudge
from zhenan.telemetry.tracks.table import Box, Tracks
from zhenan.telemetry.tracks.trips import track_of

FIRST = date(2026, 3, 1)
LAT, LON = 32.0, 119.4
NAMES = ["vehicle", "ts", "lat", "lon", "speed", "heading", "status", "quality"]


def a_day(n: int, vehicles: int, each: int) -> PositionColumns:
    """Positions of one day in the order in which they come: by time."""
    rng = np.random.default_rng(n)
    driving = np.repeat(rng.random((24, vehicles)) < 0.4, -(-each // 24), axis=0)[:each]  # by the hour
    turn = rng.normal(0, 0.15, (each, vehicles)).cumsum(axis=0)
    speed = np.where(driving, 30 + 30 * rng.random((each, vehicles)), 0.0)  # km/h
    step_m = speed / 3.6 * (86_400 / each)
    lat = LAT + np.mod((np.sin(turn) * step_m / 110_574).cumsum(axis=0) + rng.random(vehicles) * 0.6, 0.6)
    lon = LON + np.mod((np.cos(turn) * step_m / 94_000).cumsum(axis=0) + rng.random(vehicles) * 0.8, 0.8)
    ts = day_ms(FIRST + timedelta(days=n)) + np.arange(each)[:, None] * (DAY_MS // each) + np.zeros(vehicles, np.int64)
    vehicle = np.tile(np.arange(1, vehicles + 1), each)
    heading = np.mod(np.degrees(turn), 360).ravel()
    flat = ((lat * DEGREE).ravel(), (lon * DEGREE).ravel(), (speed * 10).ravel(), heading)
    zero = np.zeros(vehicle.size)
    return PositionColumns.of(vehicle, ts.ravel(), *flat, zero + 3, zero)


def fences(count: int) -> list[Fence]:
    """So many over the prefecture, a third of each shape, some hundred metres to some kilometres across."""
    rng = np.random.default_rng(4)
    found = []
    for n in range(count):
        lat, lon, size = LAT + rng.random() * 0.6, LON + rng.random() * 0.8, float(rng.uniform(200, 1500))
        if n % 3 == 0:
            found.append(Fence(str(n), 1, "circle", ((lat, lon),), size_m=size, speed_kmh=50.0))
        elif n % 3 == 1:
            turns = np.linspace(0, 2 * math.pi, 9)[:-1]
            points = tuple((lat + size / 110_574 * math.sin(a), lon + size / 94_000 * math.cos(a)) for a in turns)
            found.append(Fence(str(n), 1, "polygon", points, dwell_s=1800))
        else:
            found.append(Fence(str(n), 1, "corridor", ((lat, lon), (lat + 0.02, lon + 0.03)), size_m=100.0))
    return found


def judging(positions: PositionColumns, count: int) -> dict[str, float]:
    """Positions a second through so many fences, beside a copy of the same columns."""
    made = fences(count)
    FenceJudge(made).judge(positions.take(np.arange(100)))  # compiles
    judge = FenceJudge(made)
    began = time.perf_counter()
    events, _ = judge.judge(positions)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    for column in positions.arrays():
        column.copy()
    floor = time.perf_counter() - began
    n = len(positions)
    return {"fences": count, "per_s": n / seconds, "floor_per_s": n / floor, "ratio": floor / seconds,
            "events": len(events)}  # fmt: skip


def measure(folder: Path, days: int, vehicles: int, each: int) -> dict[str, Any]:
    """All figures."""
    table = Tracks(str(folder / "positions"))
    written, began = 0, time.perf_counter()
    for n in range(days):
        part = a_day(n, vehicles, each)
        for piece in np.array_split(np.arange(len(part)), 8):  # as many commits a day as fit into memory here
            table.append(part.take(piece), "bench", n + 1)
        written += len(part)
    wrote = time.perf_counter()
    Merging(table).run(FIRST + timedelta(days=days))
    kept = time.perf_counter()
    size = sum(file.size for file in table.files())
    fresh = Tracks(table.url)
    t0 = day_ms(FIRST + timedelta(days=days // 2))
    asked = np.random.default_rng(5).integers(1, vehicles + 1, TRIES + 1).tolist()
    replay = timed(lambda v: track_of(fresh.read([v], t0, t0 + DAY_MS)), asked)
    box = Box(LAT + 0.2, LON + 0.2, LAT + 0.3, LON + 0.3)
    moments = [t0 + 3_600_000 * (hour % 23) + 1_200_000 for hour in asked]
    around = timed(lambda t: fresh.read_area(box, t - 600_000, t), moments)
    seen = fresh.touched(Span(t0, t0 + DAY_MS, [asked[0]]), NAMES)
    nearby = fresh.touched(Span(moments[0] - 600_000, moments[0], more={"cell": box.cells()}), NAMES)
    some = part.take(np.arange(min(len(part), 2_000_000)))
    return {
        "positions": written, "vehicles": vehicles, "days": days, "write_s": wrote - began, "merge_s": kept - wrote,
        "bytes_a_position": size / written,
        "day": _query(replay, seen, folder), "area": _query(around, nearby, folder),
        "judged": [judging(some, 100), judging(some, 1000)],
    }  # fmt: skip


def _query(took: tuple[float, float], seen: Any, folder: Path) -> dict[str, float]:
    return {"median_ms": took[0], "worst_ms": took[1], "floor_ms": floor_ms(folder, seen.read_bytes),
            "row_groups": seen.row_groups, "of_row_groups": seen.of_row_groups,
            "read_bytes": seen.read_bytes}  # fmt: skip


def show(found: dict[str, Any]) -> None:
    print(f"{found['positions']:,} positions of {found['vehicles']:,} vehicles on {found['days']} days")
    print(
        f"written in {found['write_s']:.0f} s, merged in {found['merge_s']:.0f} s, "
        f"{found['bytes_a_position']:.1f} bytes a position (packed 29)"
    )
    for name, words in (("day", "a vehicle's day, trips and stops"), ("area", "an area's ten minutes")):
        q = found[name]
        print(
            f"{words:34} {q['median_ms']:6.1f} ms, worst {q['worst_ms']:6.1f} ms  {q['row_groups']} of "
            f"{q['of_row_groups']} row groups of the day, {q['read_bytes'] / 1e6:.1f} MB (floor {q['floor_ms']:.2f} ms)"
        )
    for row in found["judged"]:
        print(
            f"{row['fences']:5} fences {row['per_s'] / 1e6:6.2f} M positions/s  {row['ratio']:.3f} x copy floor "
            f"({row['floor_per_s'] / 1e6:.0f} M/s), {row['events']:,} events"
        )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.tracks", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--positions", type=float, default=1e7)
    parser.add_argument("--days", type=int, default=4)
    parser.add_argument("--each", type=int, default=8640, help="positions of a vehicle in a day")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args(argv)
    vehicles = int(asked.positions // asked.days // asked.each)
    if vehicles < 1:
        parser.error(f"--positions must be at least {asked.days * asked.each}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = Path(tempfile.mkdtemp(prefix="zhenan-tracks-", dir=asked.folder))
    try:
        found = measure(folder, asked.days, vehicles, asked.each)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found)) if asked.json else show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
