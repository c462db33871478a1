"""The table: `day` (UTC, the partition), `point`, `ts` (ms UTC), `value`, `quality`, `seq` (its place in the log).

Once a day is over its files are merged. `seq` is then 0 for its rows: it orders what is new, and costs two bytes. And a
value that is a decimal number of up to four places, as nearly all measurements are, is kept as whole number: `value` is
null, and it is `scaled / 10^digits`, which in float64 is the very same number, bit for bit. What is not stays `value`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.delta import (
    DAY_MS,
    END_MS,
    DayTable,
    FileInfo,
    Layout,
    Span,
    day_ms,
    day_of,
    days_between,
)

SCHEMA: Final = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("point", pa.int32(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("quality", pa.int16(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("scaled", pa.int64()),
        pa.field("digits", pa.int8()),
        pa.field("late", pa.bool_()),  # came after a newer reading of its point: kept, and never judged
    ]
)
LAYOUT: Final = Layout("readings", SCHEMA, key="point", time="ts", deltas=("point", "ts", "scaled"), values=("value",))
DIGITS: Final = 4
_TENS: Final = 10.0 ** np.arange(DIGITS + 1)
_LARGEST: Final = 2.0**40  # scaled numbers beyond it are not worth it
READING: Final = ["point", "ts", "value", "quality", "scaled", "digits"]


def transaction_id(epoch: str, lane: int = 0, count: int = 1) -> str:
    """The name under which the table knows a lane's place. One historian alone is the lane 0 of 1."""
    return f"historian@{epoch}" if count == 1 else f"historian@{epoch}/{lane}.{count}"


def as_table(columns: Columns, seq: NDArray[np.int64], late: NDArray[np.bool_] | None = None) -> pa.Table:
    """Rows sorted by day, point and time. `seq`, `late` (None: none is): shape (n,)."""
    day = (columns.ts // DAY_MS).astype(np.int32)
    order = np.lexsort((columns.ts, columns.point, day))
    return pa.Table.from_arrays(
        [
            pa.array(day[order], pa.int32()).cast(pa.date32()),
            pa.array(columns.point[order], pa.int32()),
            pa.array(columns.ts[order], pa.int64()),
            pa.array(columns.value[order], pa.float64()),
            pa.array(columns.quality[order].astype(np.int16), pa.int16()),
            pa.array(seq[order], pa.int64()),
            pa.nulls(len(columns), pa.int64()),
            pa.nulls(len(columns), pa.int8()),
            pa.nulls(len(columns), pa.bool_()) if late is None else pa.array(late[order]),
        ],
        schema=SCHEMA,
    )


def by_day(rows: pa.Table) -> Iterator[tuple[date, list[pa.Table]]]:
    """Rows sorted by day, as what `DayTable.write_days` takes."""
    days = rows["day"].cast(pa.int32()).to_numpy()
    starts = np.flatnonzero(np.append(True, days[1:] != days[:-1])) if days.size else np.empty(0, np.int64)
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), days.size], strict=True):
        yield date(1970, 1, 1) + timedelta(days=int(days[start])), [rows.slice(start, end - start)]


def columns_of(rows: pa.Table) -> Columns:
    """The readings of a table, in its order."""
    value = rows["value"]
    scaled = rows["scaled"]
    if scaled.null_count == len(scaled):
        values = value.to_numpy()
    else:
        tens = _TENS[rows["digits"].fill_null(0).to_numpy()]
        values = scaled.fill_null(0).to_numpy() / tens
        if scaled.null_count:
            values = np.where(scaled.is_null().to_numpy(), value.fill_null(0.0).to_numpy(), values)
    return Columns.of(rows["point"].to_numpy(), rows["ts"].to_numpy(), values, rows["quality"].to_numpy())


def finished(rows: pa.Table) -> pa.Table:
    """Rows of a day that is over, sorted by point: without their place in the log, their values as whole numbers."""
    readings = columns_of(rows)
    scaled, digits, whole = scaled_values(readings.point, readings.value)
    changed = {
        "seq": pa.array(np.zeros(len(readings), np.int64)),
        "value": pa.array(readings.value, mask=whole),
        "scaled": pa.array(scaled, mask=~whole),
        "digits": pa.array(digits, mask=~whole),
    }
    for name, column in changed.items():
        rows = rows.set_column(rows.schema.get_field_index(name), SCHEMA.field(name), column)
    return rows


def scaled_values(
    point: NDArray[np.int32], value: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int8], NDArray[np.bool_]]:
    """(scaled, digits, whole): where `whole`, value is exactly scaled / 10^digits. `digits` are one number a point.

    >>> [part.tolist() for part in scaled_values(np.array([1, 1, 1]), np.array([0.1, 2.25, 1 / 3]))]
    [[10, 225, 0], [2, 2, 0], [True, True, False]]
    """
    n = value.size
    scaled, digits, whole = np.zeros(n, np.int64), np.zeros(n, np.int8), np.zeros(n, np.bool_)
    if not n:
        return scaled, digits, whole
    fit = np.isfinite(value) & (np.abs(value) < _LARGEST) & ~((value == 0) & np.signbit(value))
    needed = np.full(n, DIGITS + 1, np.int8)
    for tried in range(DIGITS, -1, -1):
        needed[fit & (np.rint(np.where(fit, value, 0.0) * _TENS[tried]) / _TENS[tried] == value)] = tried
    starts = np.flatnonzero(np.append(True, point[1:] != point[:-1]))
    most = np.maximum.reduceat(np.where(needed <= DIGITS, needed, 0), starts)
    places = np.repeat(most, np.diff(np.append(starts, n)))
    tens = _TENS[places]
    number = np.rint(np.where(fit, value, 0.0) * tens)
    whole = fit & (number / tens == value)
    return np.where(whole, number, 0).astype(np.int64), np.where(whole, places, 0).astype(np.int8), whole


class History(DayTable):
    """The readings' table."""

    def __init__(self, url: str) -> None:
        super().__init__(url, LAYOUT)

    def committed(self, epoch: str) -> int:
        """The sequence of the log (made at `epoch`) up to which everything is here; 0 for nothing."""
        return self.mark(transaction_id(epoch))

    def append(self, rows: pa.Table, epoch: str, seq: int) -> None:
        """Add rows (of `as_table`) and the place in the log they reach up to, in one commit."""
        self.write_days(by_day(rows), marks={transaction_id(epoch): seq})

    def files_by_day(self) -> dict[date, int]:
        """How many files each day has."""
        found: dict[date, int] = {}
        for file in self.files():
            found[file.day] = found.get(file.day, 0) + 1
        return found

    def read(self, points: Sequence[int], t0_ms: int, t1_ms: int) -> Columns:
        """Readings of these points with t0 <= ts < t1, by time, then point. Raises nothing for points without any."""
        rows = self.scan(Span(t0_ms, t1_ms, sorted(set(points))), READING)
        if rows is None or not rows.num_rows:
            return Columns.empty()
        found = columns_of(rows)
        return found.take(np.lexsort((found.point, found.ts)))

    def judged(self, points: Sequence[int], t0_ms: int, t1_ms: int) -> tuple[Columns, int]:
        """Readings of these points with t0 <= ts < t1 as a judge met them, by time, and how many came late besides."""
        rows = self.scan(Span(t0_ms, t1_ms, sorted(set(points))), [*READING, "late"])
        if rows is None or not rows.num_rows:
            return Columns.empty(), 0
        late = rows["late"].fill_null(False).to_numpy()
        found = columns_of(rows).take(~late)
        return found.take(np.lexsort((found.point, found.ts))), int(np.count_nonzero(late))

    def day_pieces(self, day: date) -> Iterator[Columns]:
        """All readings of a day by point and time, in pieces that fit into memory and part no point."""
        files: list[FileInfo] = self.files([day])
        if files:
            for rows in self.sorted_pieces(files, READING):
                yield columns_of(rows)

    def rows_since(self, t0_ms: int) -> tuple[Columns, NDArray[np.int64]]:
        """Everything from t0 on in the order of the log, with its sequences; first, by time, what was merged."""
        rows = self.scan(Span(t0_ms, END_MS), [*READING, "seq"])
        if rows is None:
            return Columns.empty(), np.empty(0, np.int64)
        rows = rows.sort_by([("seq", "ascending"), ("ts", "ascending")])
        return columns_of(rows), rows["seq"].to_numpy()


__all__ = ["DAY_MS", "History", "as_table", "columns_of", "day_ms", "day_of", "days_between"]
