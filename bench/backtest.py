"""A rule in two versions over history: readings a second, beside reading the same columns out of the table.

    python -m bench.backtest [--json] [--days N] [--points N] [--workers N]

A table of merged days is made in a folder of its own: a reading a minute of each point, one in two hundred beyond the
threshold. The floor is what the table gives when nobody judges: the same points and days, in one process.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np

from zhenan.telemetry.backtest.plan import Plan
from zhenan.telemetry.backtest.pool import run_all, workers
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.keeping import Merging
from zhenan.telemetry.history.table import DAY_MS, History, as_table, finished
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.rules import Threshold

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


def measure(days: int = 7, points: int = 1000, at_once: int = 0) -> dict[str, Any]:
    """All figures of one run. Takes about 20 s as it stands."""
    warm_up()
    at_once = at_once or workers()
    with tempfile.TemporaryDirectory(prefix="zhenan-bench-") as folder:
        table = str(Path(folder) / "history")
        readings = fill(table, days, points)
        given = floor(table, days, points)
        plan = Plan(table, RULES, np.arange(1, points + 1, dtype=np.int32), BEGIN, BEGIN + days * DAY_MS)
        cases = []
        for count in sorted({1, at_once}):
            began = time.perf_counter()
            outcomes = list(run_all(plan.tasks(count), at_once=count))
            rate = readings / (time.perf_counter() - began)
            cases.append(
                {
                    "processes": count,
                    "alarms": sum(len(outcome.found) for outcome in outcomes),
                    "readings_per_s": round(rate),
                    "table_floor_readings_per_s": round(given),
                    "ratio_to_table_floor": round(rate / given, 3),
                }
            )
    return {"readings": readings, "points": points, "days": days, "versions": len(RULES), "cases": cases}


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{found['readings']:,} readings of {found['points']:,} points on {found['days']} days, two versions"]
    for case in found["cases"]:
        lines.append(
            f"{case['processes']} process{'es' if case['processes'] > 1 else '  '}"
            f" {case['readings_per_s'] / 1e6:6.2f} M readings/s  {case['alarms']:,} alarms"
            f"  {case['ratio_to_table_floor']:.2f} x table floor ({case['table_floor_readings_per_s'] / 1e6:.1f} M/s)"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench backtest", description="Two versions of a rule over history.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=0, help="processes; by default every core")
    options = parser.parse_args(argv)
    found = measure(options.days, options.points, options.workers)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
