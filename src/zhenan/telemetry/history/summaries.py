"""Hourly and daily tables: of each point and stretch of time the lowest, highest, mean, first and last reading.

A day is summed up once it is over, and again whenever late readings came for it: the name of each file carries the
number of readings that it was made of, and a day whose readings are more than that is made anew. Nothing else has to
be remembered, so a kill between any two steps does no harm.

Daily rows are of local days (an office reads them), hourly ones of whole hours; so a local day is put together from the
hours of two UTC days. Local time must be a whole number of hours from UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.delta import DAY_MS, DayTable, Layout, Span, day_ms, days_between
from zhenan.telemetry.history.table import History

BAD: Final = 1  # quality of a reading that no rule judges
HOUR_MS: Final = 3_600_000
ROWS: Final = 4096  # of a row group: a chart reads one of each of many files
_EPOCH: Final = date(1970, 1, 1)
_FLOATS: Final = ("low", "high", "mean", "first", "last")
_NUMBERS: Final = ("count", "unfit")
SCHEMA: Final = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("point", pa.int32(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),  # where the stretch begins, ms UTC
        *(pa.field(name, pa.float64(), nullable=True) for name in _FLOATS),  # null: no fit reading in it
        *(pa.field(name, pa.int32(), nullable=False) for name in _NUMBERS),
    ]
)


def _layout(name: str) -> Layout:
    deltas = ("point", "ts", *_NUMBERS)
    return Layout(name, SCHEMA, key="point", time="ts", deltas=deltas, values=_FLOATS, row_group=ROWS)


@dataclass(frozen=True, eq=False)
class Summary:
    """Stretches of time of points, by point and time; each array of shape (n,).

    `ts`: where the stretch begins, ms UTC. `low` … `last` float64, of the `count` fit readings, NaN where there are
    none. `unfit`: readings with bad quality or no finite value.
    """

    point: NDArray[np.int32]
    ts: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    first: NDArray[np.float64]
    last: NDArray[np.float64]
    count: NDArray[np.int32]
    unfit: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.ts.size)

    def take(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Summary:
        return Summary(*(column[which] for column in self.columns()))

    def columns(self) -> tuple[NDArray[Any], ...]:
        return (self.point, self.ts, self.low, self.high, self.mean, self.first, self.last, self.count, self.unfit)

    @classmethod
    def concat(cls, parts: Sequence[Summary]) -> Summary:
        """The parts one after the other."""
        if not parts:
            return summed(Columns.empty(), HOUR_MS)
        return cls(*(np.concatenate(columns) for columns in zip(*(part.columns() for part in parts), strict=True)))

    def ordered(self) -> Summary:
        return self.take(np.lexsort((self.ts, self.point)))


def summed(readings: Columns, step_ms: int, offset_ms: int = 0) -> Summary:
    """Readings sorted by point and time, in stretches of `step_ms`, which begin `offset_ms` before UTC's.

    >>> found = summed(Columns.of([1, 1, 1], [0, 5, 3600000], [2.0, 4.0, 1.0], [0, 0, 1]), HOUR_MS)
    >>> found.ts.tolist(), found.high.tolist(), found.count.tolist(), found.unfit.tolist()
    ([0, 3600000], [4.0, nan], [2, 0], [0, 1])
    """
    begins = (readings.ts + offset_ms) // step_ms * step_ms - offset_ms
    starts = _starts(readings.point, begins)
    if not starts.size:
        none, floats, whole = np.empty(0, np.int64), np.empty(0), np.empty(0, np.int32)
        return Summary(whole, none, floats, floats, floats, floats, floats, whole, whole)
    fit = (readings.quality != BAD) & np.isfinite(readings.value)
    n = np.diff(np.append(starts, len(readings)))
    count = np.add.reduceat(fit.astype(np.int64), starts)
    some = count > 0
    nan = np.full(starts.size, np.nan)
    value = readings.value
    low = np.where(some, np.minimum.reduceat(np.where(fit, value, np.inf), starts), nan)
    high = np.where(some, np.maximum.reduceat(np.where(fit, value, -np.inf), starts), nan)
    mean = np.divide(np.add.reduceat(np.where(fit, value, 0.0), starts), count, out=nan.copy(), where=some)
    place = np.arange(len(readings))
    first_at = np.minimum.reduceat(np.where(fit, place, len(readings)), starts)
    last_at = np.maximum.reduceat(np.where(fit, place, -1), starts)
    first = np.where(some, value[np.minimum(first_at, len(readings) - 1)], nan)
    last = np.where(some, value[np.maximum(last_at, 0)], nan)
    return Summary(
        readings.point[starts], begins[starts], low, high, mean, first, last,
        count.astype(np.int32), (n - count).astype(np.int32),
    )  # fmt: skip


def joined(parts: Summary, step_ms: int, offset_ms: int = 0) -> Summary:
    """Shorter stretches, sorted by point and time, put together to longer ones."""
    if not len(parts):
        return parts
    begins = (parts.ts + offset_ms) // step_ms * step_ms - offset_ms
    starts = _starts(parts.point, begins)
    fit = parts.count > 0
    count = np.add.reduceat(parts.count.astype(np.int64), starts)
    some = count > 0
    nan = np.full(starts.size, np.nan)
    total = np.add.reduceat(np.where(fit, parts.mean, 0.0) * parts.count, starts)
    place = np.arange(len(parts))
    first_at = np.minimum.reduceat(np.where(fit, place, len(parts) - 1), starts)
    last_at = np.maximum.reduceat(np.where(fit, place, 0), starts)
    return Summary(
        parts.point[starts], begins[starts],
        np.where(some, np.minimum.reduceat(np.where(fit, parts.low, np.inf), starts), nan),
        np.where(some, np.maximum.reduceat(np.where(fit, parts.high, -np.inf), starts), nan),
        np.divide(total, count, out=nan.copy(), where=some),
        np.where(some, parts.first[first_at], nan), np.where(some, parts.last[last_at], nan),
        count.astype(np.int32), np.add.reduceat(parts.unfit.astype(np.int64), starts).astype(np.int32),
    )  # fmt: skip


def _starts(point: NDArray[np.int32], begins: NDArray[np.int64]) -> NDArray[np.intp]:
    if not begins.size:
        return np.empty(0, np.intp)
    return np.flatnonzero(np.append(True, (point[1:] != point[:-1]) | (begins[1:] != begins[:-1])))


class SummaryTable(DayTable):
    """Hourly or daily rows. `day`: for hourly rows their UTC day; for daily ones the first of their local month."""

    def read(self, points: Sequence[int], t0_ms: int, t1_ms: int) -> Summary:
        """Stretches of these points that begin in t0 <= ts < t1, by point and time."""
        return _summary(self.scan(Span(t0_ms, t1_ms, sorted(set(points))), self.layout.columns))

    def made_of(self) -> dict[date, int]:
        """Of each day there is: how many readings its rows were made of."""
        found: dict[date, int] = {}
        for file in self.files():
            found[file.day] = max(found.get(file.day, 0), file.tag)
        return found


class MonthTable(SummaryTable):
    """Daily rows in one file a month: a year of a point is then a dozen small reads."""

    def _dataset(self, span: Span):  # type: ignore[no-untyped-def]  # as the base's
        first = max(span.t0_ms - 32 * DAY_MS, 0)
        found = super()._dataset(Span(first, span.t1_ms + DAY_MS, span.keys, span.more))
        return None if span.empty else found


def _summary(rows: pa.Table | None) -> Summary:
    if rows is None or not rows.num_rows:
        return summed(Columns.empty(), HOUR_MS)
    names = ("point", "ts", *_FLOATS, *_NUMBERS)
    return Summary(*(rows[name].to_numpy() for name in names)).ordered()


def _rows(found: Summary) -> pa.Table:
    names = [field.name for field in SCHEMA][1:]
    arrays = [
        pa.array(column, SCHEMA.field(name).type, from_pandas=True)
        for name, column in zip(names, found.columns(), strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema([SCHEMA.field(name) for name in names]))


class Summaries:
    """Both tables beside the readings' one, and their making."""

    def __init__(self, history: History, hourly_url: str, daily_url: str, *, offset_ms: int = 8 * HOUR_MS) -> None:
        if offset_ms % HOUR_MS:
            raise ValueError(f"local time must be whole hours from UTC; got {offset_ms} ms")
        self.history, self.offset_ms = history, offset_ms
        self.hourly = SummaryTable(hourly_url, _layout("hourly"))
        self.daily = MonthTable(daily_url, _layout("daily"))

    @classmethod
    def beside(cls, url: str, *, offset_ms: int = 8 * HOUR_MS) -> Summaries:
        """The tables beside the readings' table at this address: with `-hourly` and `-daily` behind its name."""
        url = url.rstrip("/")
        return cls(History(url), f"{url}-hourly", f"{url}-daily", offset_ms=offset_ms)

    def stale(self, before: date) -> list[date]:
        """UTC days before this one whose hourly rows are missing or were made of fewer readings than there are."""
        made = self.hourly.made_of()
        return [day for day, rows in sorted(self.history.days().items()) if day < before and made.get(day, 0) < rows]

    def make(self, day: date) -> int:
        """Make the hourly rows of a UTC day and the daily rows it belongs to; returns the readings summed up."""
        readings = sum(file.rows for file in self.history.files([day]))
        old = self.hourly.files([day])
        pieces = (_rows(summed(piece, HOUR_MS)) for piece in self.history.day_pieces(day))
        self.hourly.write(day, pieces, removing=old, tag=readings)
        return readings

    def make_daily(self) -> int:
        """Make the months anew whose hours were made since; returns how many."""
        behind = self.behind()
        for month, readings in behind.items():
            self._make_month(month, readings)
        return len(behind)

    def behind(self) -> dict[date, int]:
        """Months (their first days) whose daily rows do not tell what the hours do → the number of readings behind.

        A month whose hours are partly deleted stays as it was made when they were there.
        """
        made, cut = self.hourly.made_of(), self.hourly.cut()
        wanted: dict[date, int] = {}
        for local in {day for utc in made for day in self._touched(utc)}:
            month = local.replace(day=1)
            if cut == _EPOCH or month - timedelta(days=1) >= cut:
                wanted[month] = wanted.get(month, 0) + sum(made.get(part, 0) for part in self.parts(local))
        told = self.daily.made_of()
        return {month: n for month, n in sorted(wanted.items()) if told.get(month, 0) != n}

    def _touched(self, day: date) -> list[date]:
        """The local days that a UTC day belongs to."""
        return sorted({_shifted(day_ms(day) + self.offset_ms), _shifted(day_ms(day) + DAY_MS - 1 + self.offset_ms)})

    def parts(self, local: date) -> list[date]:
        """The UTC days that a local day is made of."""
        return sorted({_shifted(day_ms(local) - self.offset_ms), _shifted(day_ms(local) + DAY_MS - 1 - self.offset_ms)})

    def _make_month(self, month: date, readings: int) -> None:
        old = self.daily.files([month])
        self.daily.write(month, self._month_pieces(month), removing=old, tag=readings)

    def _month_pieces(self, month: date) -> Iterator[pa.Table]:
        """The days of a month, of all points, in pieces that fit into memory."""
        t0 = day_ms(month) - self.offset_ms
        t1 = day_ms((month + timedelta(days=32)).replace(day=1)) - self.offset_ms
        files = self.hourly.files(days_between(t0, t1 - 1))
        for rows in self.hourly.sorted_pieces(files):
            hours = _summary(rows)
            yield _rows(joined(hours.take((hours.ts >= t0) & (hours.ts < t1)), DAY_MS, self.offset_ms))


def _shifted(ms: int) -> date:
    return date(1970, 1, 1) + timedelta(days=ms // DAY_MS)


__all__ = ["BAD", "HOUR_MS", "Summaries", "Summary", "joined", "summed"]
