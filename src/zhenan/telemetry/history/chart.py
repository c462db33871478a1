"""A point's course over any span: readings, hours or days, whichever the span asks for, and always complete.

Where a summary is missing or older than its readings (the running day, late readings of an hour ago), that part is
summed up from the readings on the spot. So an extreme shows in the chart as soon as it is in history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.delta import DAY_MS, day_ms, days_between
from zhenan.telemetry.history.summaries import HOUR_MS, Summaries, Summary, joined, summed

Resolution = Literal["raw", "hour", "day"]
RAW_MS: Final = 3 * DAY_MS  # spans up to this show readings
HOURS_MS: Final = 92 * DAY_MS  # up to this hours, beyond it days
Newest = Callable[[int, int], Columns]
"""(t0, t1) → readings of the point, those included that are not in the table yet; by time, each once."""


@dataclass(frozen=True, eq=False)
class Series:
    """What is charted. Of `readings` and `summary` the one that the resolution names."""

    resolution: Resolution
    readings: Columns
    summary: Summary


def resolution_of(t0_ms: int, t1_ms: int) -> Resolution:
    """What a chart of this span shows."""
    span = t1_ms - t0_ms
    return "raw" if span <= RAW_MS else "hour" if span <= HOURS_MS else "day"


class Course:
    """The course of one point. `newest`: by default what is in the table; give what joins the log's tail as well."""

    def __init__(self, summaries: Summaries, point: int, newest: Newest | None = None) -> None:
        self.tables, self.point = summaries, point
        self.newest = newest or (lambda t0, t1: summaries.history.read([point], t0, t1))

    def series(self, t0_ms: int, t1_ms: int, resolution: Resolution | None = None) -> Series:
        """From t0 to t1. Hours and days are those that begin in the span or in which it begins."""
        which = resolution or resolution_of(t0_ms, t1_ms)
        nothing = summed(Columns.empty(), HOUR_MS)
        if which == "raw":
            return Series(which, self.newest(t0_ms, t1_ms), nothing)
        found = self._hours(t0_ms, t1_ms) if which == "hour" else self._days(t0_ms, t1_ms)
        return Series(which, Columns.empty(), found)

    def _unmade(self, days: list[date]) -> set[date]:
        """UTC days that hourly rows do not tell the whole of: more readings than that, or not over yet."""
        rows, made = self.tables.history.days(), self.tables.hourly.made_of()
        last = max([*rows, *made], default=date(1970, 1, 1))
        return {day for day in days if rows.get(day, 0) > made.get(day, 0) or day > last}

    def _hours(self, t0_ms: int, t1_ms: int) -> Summary:
        t0_ms = t0_ms // HOUR_MS * HOUR_MS
        days = days_between(t0_ms, t1_ms - 1) if t1_ms > t0_ms else []
        unmade = self._unmade(days)
        found = self.tables.hourly.read([self.point], t0_ms, t1_ms)
        parts = [found.take(~np.isin(found.ts // DAY_MS, [day_ms(day) // DAY_MS for day in unmade]))]
        for first, last in runs(sorted(unmade)):
            readings = self.newest(max(t0_ms, day_ms(first)), min(t1_ms, day_ms(last) + DAY_MS))
            parts.append(summed(readings, HOUR_MS))
        return Summary.concat(parts).ordered()

    def _days(self, t0_ms: int, t1_ms: int) -> Summary:
        offset = self.tables.offset_ms
        t0_ms = (t0_ms + offset) // DAY_MS * DAY_MS - offset
        local = days_between(t0_ms + offset, t1_ms - 1 + offset) if t1_ms > t0_ms else []
        stale = self._stale(local)
        found = self.tables.daily.read([self.point], t0_ms, t1_ms)
        parts = [found.take(~np.isin((found.ts + offset) // DAY_MS, [day_ms(day) // DAY_MS for day in stale]))]
        for first, last in runs(stale):
            hours = self._hours(day_ms(first) - offset, min(t1_ms, day_ms(last) + DAY_MS - offset))
            parts.append(joined(hours, DAY_MS, offset))
        return Summary.concat(parts).ordered()

    def _stale(self, local: list[date]) -> list[date]:
        """Local days that daily rows do not tell the whole of."""
        if not local:
            return []
        utc = [local[0] - timedelta(days=1), *local, local[-1] + timedelta(days=1)]
        unmade, behind = self._unmade(utc), self.tables.behind()
        return [day for day in local if day.replace(day=1) in behind or unmade.intersection(self.tables.parts(day))]


def runs(days: list[date]) -> Iterator[tuple[date, date]]:
    """Days that follow each other, as (first, last).

    >>> d = lambda n: date(2026, 3, n)
    >>> [(a.day, b.day) for a, b in runs([d(1), d(2), d(5)])]
    [(1, 2), (5, 5)]
    """
    for n, day in enumerate(days):
        if n == 0 or days[n - 1] + timedelta(days=1) != day:
            first = day
        if n + 1 == len(days) or days[n + 1] != day + timedelta(days=1):
            yield first, day


# export: exactly what is charted, only not thinned

EXPORT_RAW: Final = pa.schema(
    [
        pa.field("time", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("quality", pa.uint8(), nullable=False),
    ]
)
EXPORT_SUMMARY: Final = pa.schema(
    [
        pa.field("time", pa.timestamp("ms", "UTC"), nullable=False),
        *(pa.field(name, pa.float64()) for name in ("low", "high", "mean", "first", "last")),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("count", "unfit")),
    ]
)


def tables(course: Course, t0_ms: int, t1_ms: int, resolution: Resolution) -> Iterator[pa.Table]:
    """The rows to export, in order, a few days at a time."""
    if resolution != "raw":
        found = course.series(t0_ms, t1_ms, resolution).summary
        names = ("low", "high", "mean", "first", "last", "count", "unfit")
        arrays = [pa.array(found.ts, pa.int64()).cast(EXPORT_SUMMARY.field("time").type)]
        arrays += [pa.array(getattr(found, name), EXPORT_SUMMARY.field(name).type, from_pandas=True) for name in names]
        yield pa.Table.from_arrays(arrays, schema=EXPORT_SUMMARY)
        return
    for start in range(t0_ms, t1_ms, RAW_MS):
        readings = course.newest(start, min(start + RAW_MS, t1_ms))
        yield pa.Table.from_arrays(
            [
                pa.array(readings.ts, pa.int64()).cast(EXPORT_RAW.field("time").type),
                pa.array(readings.value, pa.float64()),
                pa.array(readings.quality, pa.uint8()),
            ],
            schema=EXPORT_RAW,
        )


class _Pipe:
    """Where a writer writes and a reader takes what came since."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.closed = False
        self._at = 0

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        self._at += len(self.parts[-1])
        return len(self.parts[-1])

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        return None

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def taken(self) -> bytes:
        data, self.parts = b"".join(self.parts), []
        return data


def as_csv(rows: Iterator[pa.Table], schema: pa.Schema) -> Iterator[bytes]:
    """CSV with a heading, UTF-8 with the mark that spreadsheets look for; times in UTC."""
    pipe = _Pipe()
    yield b"\xef\xbb\xbf"
    with pa_csv.CSVWriter(pa.PythonFile(pipe, mode="w"), schema) as out:
        for table in rows:
            out.write_table(table)
            yield pipe.taken()
    yield pipe.taken()


def as_parquet(rows: Iterator[pa.Table], schema: pa.Schema) -> Iterator[bytes]:
    """One Parquet file."""
    pipe = _Pipe()
    with pq.ParquetWriter(pa.PythonFile(pipe, mode="w"), schema, compression="zstd") as out:
        for table in rows:
            out.write_table(table)
            yield pipe.taken()
    yield pipe.taken()
