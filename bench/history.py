"""History: bytes a reading, and how long a point's day, quarter and year take, beside floors of the same run.

    python -m bench.history [--json] [--readings N] [--points N] [--folder DIR] [--keep]

A year of synthetic readings is written day by day into the table (one value a minute in tenths, with clocks that tick
in seconds, drift or tell milliseconds; a quarter of the points in hundredths), merged and summed up, then read.
Floors: reading as many bytes from files as the query read, and the packed columns (21 bytes a reading). Counted
besides: files and row groups that a query touches, of how many. The folder is removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import structlog

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.chart import Course
from zhenan.telemetry.history.delta import DAY_MS, Span, day_ms
from zhenan.telemetry.history.keeping import Keeper
from zhenan.telemetry.history.summaries import Summaries
from zhenan.telemetry.history.table import READING, as_table

FIRST = date(2025, 3, 1)
TRIES = 9


def first_day(points: int, rows: int) -> Columns:
    """Readings of one day by point and time, as many of each point."""
    rng = np.random.default_rng(1)
    each = max(1, rows // points)
    step = DAY_MS // each
    point = np.repeat(np.arange(1, points + 1, dtype=np.int32), each)
    base = np.tile(np.arange(each, dtype=np.int64) * step, points) + np.repeat(rng.integers(0, step, points), each)
    kind = np.repeat(np.arange(points) % 4, each)  # 0, 1: whole seconds; 2: drifting seconds; 3: milliseconds
    late = rng.integers(0, 3000, point.size)
    ts = np.where(kind < 2, base // 1000 * 1000, np.where(kind == 2, (base + late) // 1000 * 1000, base + late % 200))
    level = np.repeat(rng.uniform(0, 40, points), each) + 5 * np.sin(base / DAY_MS * 6.283)
    value = np.round(level + rng.normal(0, 0.3, point.size), np.where(kind == 3, 2, 1)[0])
    value = np.where(kind == 3, np.round(level + rng.normal(0, 0.05, point.size), 2), value)
    order = np.lexsort((ts, point))
    return Columns.of(point[order], (ts + day_ms(FIRST))[order], value[order], np.zeros(point.size))


def day_like(first: Columns, n: int) -> Columns:
    """The first day n days later, at another level: drawing all noise anew would take longer than storing it."""
    value = np.round(first.value + 0.1 * (n % 17), 2)
    return Columns.of(first.point, first.ts + n * DAY_MS, value, first.quality)


def fill(tables: Summaries, days: int, points: int, rows: int) -> dict[str, float]:
    """Write, merge and sum up; returns seconds of each and the readings written."""
    first = first_day(points, rows)
    began, written = time.perf_counter(), 0
    for n in range(days):
        columns = day_like(first, n)
        tables.history.append(as_table(columns, np.full(len(columns), n + 1, np.int64)), "bench", n + 1)
        written += len(columns)
    wrote = time.perf_counter()
    Keeper(tables).run(FIRST + timedelta(days=days))
    return {"readings": written, "write_s": wrote - began, "keep_s": time.perf_counter() - wrote}


def timed(ask: Callable[[int], Any], points: Sequence[int]) -> tuple[float, float]:
    """(median, worst) milliseconds over the points, each asked once after one that warms up."""
    ask(points[0])
    taken = []
    for point in points[1:]:
        began = time.perf_counter()
        ask(point)
        taken.append((time.perf_counter() - began) * 1000)
    return float(np.median(taken)), max(taken)


def floor_ms(folder: Path, size: int) -> float:
    """Milliseconds to read so many bytes from one of the table's files."""
    path = max(folder.rglob("*.parquet"), key=lambda found: found.stat().st_size)
    taken = []
    for _ in range(TRIES):
        began = time.perf_counter()
        with path.open("rb") as data:
            data.read(max(size, 1))
        taken.append((time.perf_counter() - began) * 1000)
    return float(np.median(taken))


def measure(folder: Path, days: int, points: int, rows: int) -> dict[str, Any]:
    """All figures."""
    tables = Summaries.beside(str(folder / "history"))
    found: dict[str, Any] = {"points": points, "days": days, **fill(tables, days, points, rows)}
    files = tables.history.files()
    found["bytes_a_reading"] = sum(file.size for file in files) / found["readings"]
    found["floor_bytes_packed"] = 21.0
    found["hourly_bytes"] = sum(file.size for file in tables.hourly.files())
    found["daily_bytes"] = sum(file.size for file in tables.daily.files())
    found["zstd_plain_bytes"] = plain_bytes(first_day(points, rows), folder)
    end = day_ms(FIRST) + days * DAY_MS
    asked = np.random.default_rng(5).integers(1, points + 1, TRIES + 1).tolist()
    queries = {}
    fresh = Summaries.beside(str(folder / "history"))
    for name, length, table, names in (
        ("day", 1, fresh.history, READING),
        ("quarter", min(90, days), fresh.hourly, fresh.hourly.layout.columns),
        ("year", min(365, days), fresh.daily, fresh.daily.layout.columns),
    ):
        t0 = end - length * DAY_MS
        which = {"day": "raw", "quarter": "hour", "year": "day"}[name]
        median, worst = timed(lambda p, a=t0, w=which: Course(fresh, p).series(a, end, w), asked)  # type: ignore[misc]
        seen = table.touched(Span(t0, end, [asked[0]]), names)
        queries[name] = {
            "median_ms": median, "worst_ms": worst, "floor_ms": floor_ms(folder, seen.read_bytes), "files": seen.files,
            "row_groups": seen.row_groups, "of_row_groups": seen.of_row_groups, "read_bytes": seen.read_bytes,
            "of_bytes": seen.of_bytes,
        }  # fmt: skip
    whole = fresh.history.touched(Span(0, end, [asked[0]]), READING)
    found["year_raw_row_groups"] = [whole.row_groups, whole.of_row_groups]
    found["queries"] = queries
    return found


def plain_bytes(columns: Columns, folder: Path) -> float:
    """Bytes a reading of the same rows as ordinary Parquet with zstd: what the encodings are worth."""
    path = folder / "plain.parquet"
    pq.write_table(as_table(columns, np.zeros(len(columns), np.int64)).drop(["day"]), path, compression="zstd")
    size = path.stat().st_size / len(columns)
    path.unlink()
    return size


def show(found: dict[str, Any]) -> None:
    print(f"{found['readings']:,} readings of {found['points']:,} points on {found['days']} days")
    print(
        f"written in {found['write_s']:.0f} s, merged and summed up in {found['keep_s']:.0f} s; hourly "
        f"{found['hourly_bytes'] / 1e6:.0f} MB, daily {found['daily_bytes'] / 1e6:.0f} MB"
    )
    print(
        f"{found['bytes_a_reading']:.2f} bytes a reading (packed {found['floor_bytes_packed']:.0f}, ordinary Parquet "
        f"with zstd {found['zstd_plain_bytes']:.2f})"
    )
    for name, q in found["queries"].items():
        print(
            f"{name:8} {q['median_ms']:7.1f} ms, worst {q['worst_ms']:7.1f} ms  {q['files']:3} files, "
            f"{q['row_groups']} of {q['of_row_groups']} row groups, {q['read_bytes'] / 1e3:,.0f} kB of "
            f"{q['of_bytes'] / 1e6:,.0f} MB  (floor {q['floor_ms']:.2f} ms)"
        )


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench.history", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--readings", type=float, default=2e7)
    parser.add_argument("--points", type=int, help="by default so many that each reports once a minute")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="do not remove the folder")
    asked = parser.parse_args(argv)
    rows = int(asked.readings // asked.days)
    points = asked.points or max(1, rows // 1440)
    if rows < points:
        parser.error(f"--readings must be at least one a point and day: {asked.days * points}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = Path(tempfile.mkdtemp(prefix="zhenan-history-", dir=asked.folder))
    try:
        found = measure(folder, asked.days, points, rows)
    finally:
        if not asked.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found)) if asked.json else show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
