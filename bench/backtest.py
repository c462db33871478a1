"""A rule and a fence in two versions over history: rows a second, beside reading the same columns out of the table.

    python -m bench.backtest [--json] [--days N] [--points N] [--vehicles N] [--workers N]

A table of merged days is made in a folder of its own: a reading a minute of each point, one in two hundred beyond the
threshold; beside it one of positions, each vehicle's every ten seconds, through a city where a twentieth lies in the
fence. The floor is what the table gives when nobody judges: the same rows, in one process. CPU seconds are of all
processes: they say more than the clock where others use the machine.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from zhenan.telemetry.backtest.fences import FencePlan, Term
from zhenan.telemetry.backtest.plan import Plan
from zhenan.telemetry.backtest.pool import run_all, workers
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.keeping import Merging
from zhenan.telemetry.history.table import DAY_MS, History, as_table, finished
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.rules import Threshold
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees
from zhenan.telemetry.tracks.fences import Fence
from zhenan.telemetry.tracks.judge import FenceJudge
from zhenan.telemetry.tracks.table import Tracks

BEGIN = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
RULES = (
    Threshold(id="standing", kind="threshold", above=25.0, clear=20.0, level=2),
    Threshold(id="changed", kind="threshold", above=30.0, clear=20.0, for_s=60, level=2),
)


def fill(folder: str, days: int, points: int) -> int:
    """Write the days and merge them as the historian does; returns the readings."""
    rng, history = np.random.default_rng(1), History(folder)
    minutes = np.arange(1440, dtype=np.int64) * 60_000
    ids = np.repeat(np.arange(1, points + 1, dtype=np.int32), minutes.size)
    for day in range(days):
        value = np.round(rng.uniform(1, 15, ids.size), 1)
        value[rng.random(ids.size) < 1 / 200] += 20
        ts = BEGIN + day * DAY_MS + np.tile(minutes, points)
        columns = Columns(ids, ts, value, np.zeros(ids.size, np.uint8))
        half = ids.size // 2
        for seq, part in ((2 * day + 1, slice(None, half)), (2 * day + 2, slice(half, None))):
            some = columns.take(part)  # type: ignore[arg-type]
            history.append(as_table(some, np.full(len(some), seq, np.int64)), "bench", seq)
    Merging(history, finished).run(date(2030, 1, 1))
    return days * ids.size


def floor(folder: str, days: int, points: int) -> float:
    """Readings a second that the table gives."""
    history, began, readings = History(folder), time.perf_counter(), 0
    for day in range(days):
        start = BEGIN + day * DAY_MS
        readings += len(history.judged(range(1, points + 1), start, start + DAY_MS)[0])
    return readings / (time.perf_counter() - began)


def fill_positions(folder: str, days: int, vehicles: int) -> int:
    """Write the days of positions and merge them; returns how many."""
    rng, tracks = np.random.default_rng(2), Tracks(folder)
    steps = np.arange(0, DAY_MS, 10_000, dtype=np.int64)
    ids = np.repeat(np.arange(1, vehicles + 1, dtype=np.int32), steps.size)
    for day in range(days):
        way = np.cumsum(rng.normal(0, 0.0009, (vehicles, steps.size, 2)), axis=1).reshape(-1, 2)
        place = np.mod(way + 0.2, 0.4) - 0.2
        lat, lon = from_degrees(32.0 + place[:, 0]), from_degrees(119.4 + place[:, 1])
        drive = rng.normal(400, 150, (vehicles, steps.size // 360)).clip(0, 1000)  # a speed for each hour
        speed, none = np.repeat(drive, 360, axis=1).ravel(), np.zeros(ids.size)
        ts = BEGIN + day * DAY_MS + np.tile(steps, vehicles)
        tracks.append(PositionColumns.of(ids, ts, lat, lon, speed, none, none, none), "bench", day + 1)
    Merging(tracks).run(date(2030, 1, 1))
    return days * ids.size


def fence_plan(folder: str, days: int, vehicles: int) -> FencePlan:
    """A square of 10 km by 10 km, and the same with another speed limit."""
    square = ((31.95, 119.35), (31.95, 119.45), (32.05, 119.45), (32.05, 119.35))
    sides = tuple(
        (Term(Fence("f", number, "polygon", square, speed_kmh=limit, dwell_s=1800), True, 3),)
        for number, limit in enumerate((60.0, 70.0))
    )
    ids = np.arange(1, vehicles + 1, dtype=np.int32)
    return FencePlan(folder, sides, ids, {}, BEGIN, BEGIN + days * DAY_MS)


def floor_positions(folder: str, days: int, vehicles: int) -> float:
    """Positions a second that the table gives."""
    tracks, began, positions = Tracks(folder), time.perf_counter(), 0
    for day in range(days):
        start = BEGIN + day * DAY_MS
        positions += len(tracks.judged(range(1, vehicles + 1), start, start + DAY_MS)[0])
    return positions / (time.perf_counter() - began)


def runs(plan: Plan | FencePlan, rows: int, given: float, at_once: int) -> list[dict[str, Any]]:
    """The plan in one process, and in as many as asked for."""
    cases = []
    for count in sorted({1, at_once}):
        before, began = os.times(), time.perf_counter()
        outcomes = list(run_all(plan.tasks(count), at_once=count))
        rate, after = rows / (time.perf_counter() - began), os.times()
        cases.append(
            {
                "processes": count,
                "alarms": sum(len(outcome.found) for outcome in outcomes),
                "rows_per_s": round(rate),
                "cpu_s_per_million": round((sum(after[:4]) - sum(before[:4])) / rows * 1e6, 3),
                "table_floor_rows_per_s": round(given),
                "ratio_to_table_floor": round(rate / given, 3),
            }
        )
    return cases


def measure(days: int = 7, points: int = 1000, vehicles: int = 200, at_once: int = 0) -> dict[str, Any]:
    """All figures of one run. Takes about a minute as it stands."""
    warm_up()
    FenceJudge(()).judge(PositionColumns.of(*([0],) * 8))
    at_once = at_once or workers()
    with tempfile.TemporaryDirectory(prefix="zhenan-bench-") as folder:
        table, tracks = str(Path(folder) / "history"), str(Path(folder) / "positions")
        readings = fill(table, days, points)
        ids = np.arange(1, points + 1, dtype=np.int32)
        rule = runs(
            Plan(table, RULES, ids, BEGIN, BEGIN + days * DAY_MS), readings, floor(table, days, points), at_once
        )
        positions = fill_positions(tracks, days, vehicles)
        given = floor_positions(tracks, days, vehicles)
        fence = runs(fence_plan(tracks, days, vehicles), positions, given, at_once)
    return {
        "days": days, "versions": len(RULES),
        "rule": {"rows": readings, "of": points, "cases": rule},
        "fence": {"rows": positions, "of": vehicles, "cases": fence},
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = []
    for kind, rows, of in (("rule", "readings", "points"), ("fence", "positions", "vehicles")):
        part = found[kind]
        lines.append(f"{kind}: {part['rows']:,} {rows} of {part['of']:,} {of} on {found['days']} days, two versions")
        for case in part["cases"]:
            lines.append(
                f"  {case['processes']} process{'es' if case['processes'] > 1 else '  '}"
                f" {case['rows_per_s'] / 1e6:6.2f} M {rows}/s  {case['cpu_s_per_million']:.2f} CPU s a million"
                f"  {case['alarms']:,} alarms  {case['ratio_to_table_floor']:.2f} x table floor"
                f" ({case['table_floor_rows_per_s'] / 1e6:.1f} M/s)"
            )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench backtest", description="Two versions of a rule and of a fence.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--vehicles", type=int, default=200)
    parser.add_argument("--workers", type=int, default=0, help="processes; by default every core")
    options = parser.parse_args(argv)
    found = measure(options.days, options.points, options.vehicles, options.workers)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
