"""The table: `day` (UTC, the partition), `point`, `ts` (ms UTC), `value`, `quality`, `seq` (its place in the log)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import TableNotFoundError
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns

DAY_MS: Final = 86_400_000
SCHEMA: Final = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("point", pa.int32(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("quality", pa.int16(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
    ]
)
# Small row groups: the rows of one point lie together, so that a chart reads a few of them and not the file.
_WRITER: Final = WriterProperties(compression="ZSTD", compression_level=3, max_row_group_size=65_536)
_CONFIG: Final = {
    "delta.logRetentionDuration": "interval 1 days",
    "delta.checkpointInterval": "50",
    "delta.deletedFileRetentionDuration": "interval 1 days",
}


def _transaction_id(epoch: str) -> str:
    return f"historian@{epoch}"


def as_table(columns: Columns, seq: NDArray[np.int64]) -> pa.Table:
    """Rows sorted by day, point and time. `seq`: shape (n,)."""
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
        ],
        schema=SCHEMA,
    )


def days_between(t0_ms: int, t1_ms: int) -> list[date]:
    """The days that a span of time touches, at most ten years of them."""
    first, last = (datetime.fromtimestamp(ms / 1000, UTC).date() for ms in (t0_ms, t1_ms))
    return [first + timedelta(days=n) for n in range(min((last - first).days, 3660) + 1)]


class History:
    """The table at a folder or an object-storage address (credentials from the environment)."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._table: DeltaTable | None = None
        self._lock = threading.Lock()

    def open(self) -> DeltaTable | None:
        """The table as it is now; None while nothing was ever written."""
        with self._lock:
            if self._table is None:
                try:
                    self._table = DeltaTable(self.url)
                except TableNotFoundError:
                    return None
            else:
                self._table.update_incremental()
            return self._table

    def create(self) -> DeltaTable:
        """The table, made when it is missing."""
        found = self.open()
        if found is None:
            if "://" not in self.url:
                from pathlib import Path

                Path(self.url).mkdir(parents=True, exist_ok=True)
            self._table = found = DeltaTable.create(
                self.url, SCHEMA, mode="ignore", partition_by=["day"], name="readings", configuration=_CONFIG
            )
        return found

    def committed(self, epoch: str) -> int:
        """The sequence of the log (made at `epoch`) up to which everything is here; 0 for nothing."""
        table = self.open()
        return (table.transaction_version(_transaction_id(epoch)) or 0) if table is not None else 0

    def append(self, rows: pa.Table, epoch: str, seq: int) -> None:
        """Add rows and the place in the log they reach up to, in one commit."""
        done = CommitProperties(app_transactions=[Transaction(_transaction_id(epoch), seq)])
        table = self.create()
        write_deltalake(table, rows, mode="append", writer_properties=_WRITER, commit_properties=done)

    def compact(self, *, days: Sequence[date], by_point: bool) -> dict[str, Any]:
        """Make few files of many. `by_point`: sort the whole day by point and time, once it is over."""
        table = self.create()
        filters: list[tuple[str, str, Any]] = [("day", "in", [str(day) for day in days])]
        if by_point:
            return table.optimize.z_order(["point", "ts"], partition_filters=filters, writer_properties=_WRITER)
        return table.optimize.compact(partition_filters=filters, writer_properties=_WRITER)

    def tidy(self, *, keep_hours: int = 24) -> int:
        """Remove files that no version of the last hours uses; returns how many."""
        table = self.create()
        gone = table.vacuum(retention_hours=keep_hours, dry_run=False, enforce_retention_duration=False)
        table.cleanup_metadata()
        return len(gone)

    def files_by_day(self) -> dict[date, int]:
        """How many files each day has."""
        table = self.open()
        if table is None:
            return {}
        actions = pa.table(table.get_add_actions(flatten=True))
        counts = pc.value_counts(actions["partition.day"])
        return {row["values"]: row["counts"] for row in counts.to_pylist()}

    def read(self, points: Sequence[int], t0_ms: int, t1_ms: int) -> Columns:
        """Readings of these points with t0 <= ts < t1, by time, then point. Raises nothing for points without any."""
        rows = self._scan(points, t0_ms, t1_ms, ["point", "ts", "value", "quality"])
        if rows is None or not rows.num_rows:
            return Columns.empty()
        point, ts = rows["point"].to_numpy(), rows["ts"].to_numpy()
        order = np.lexsort((point, ts))
        found = Columns.of(point, ts, rows["value"].to_numpy(), rows["quality"].to_numpy())
        return found.take(order)

    def accepted(self, points: Sequence[int], t0_ms: int, t1_ms: int) -> Columns:
        """Readings of these points with t0 <= ts < t1 in the order in which they were accepted, late ones too."""
        rows = self._scan(points, t0_ms, t1_ms, ["point", "ts", "value", "quality", "seq"])
        if rows is None or not rows.num_rows:
            return Columns.empty()
        rows = rows.take(pc.sort_indices(rows, [("seq", "ascending"), ("ts", "ascending")]))
        return Columns.of(*(rows[name].to_numpy() for name in ("point", "ts", "value", "quality")))

    def rows_since(self, t0_ms: int) -> tuple[Columns, NDArray[np.int64]]:
        """Everything from t0 on in the order of the log, with its sequences."""
        rows = self._scan(None, t0_ms, 253_402_300_799_999, SCHEMA.names[1:])
        if rows is None:
            return Columns.empty(), np.empty(0, np.int64)
        rows = rows.sort_by("seq")
        found = Columns.of(*(rows[name].to_numpy() for name in ("point", "ts", "value", "quality")))
        return found, rows["seq"].to_numpy()

    def _scan(self, points: Sequence[int] | None, t0_ms: int, t1_ms: int, names: Sequence[str]) -> pa.Table | None:
        table = self.open()
        if table is None or t1_ms <= t0_ms:
            return None
        expression = (pc.field("ts") >= t0_ms) & (pc.field("ts") < t1_ms)
        first, last = (datetime.fromtimestamp(ms / 1000, UTC).date() for ms in (t0_ms, t1_ms - 1))
        expression &= (pc.field("day") >= pa.scalar(first)) & (pc.field("day") <= pa.scalar(last))
        if points is not None:
            wanted = sorted(set(points))
            if not wanted:
                return None
            expression &= (pc.field("point") >= wanted[0]) & (pc.field("point") <= wanted[-1])
            if len(wanted) > 1:
                expression &= pc.field("point").isin(wanted)
        dataset: ds.Dataset = table.to_pyarrow_dataset()
        return dataset.to_table(columns=list(names), filter=expression)
