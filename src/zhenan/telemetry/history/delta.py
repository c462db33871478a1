"""Day-partitioned Delta tables: how their files are written, merged in bounded memory, and read by key and time.

Any engine that reads Delta Lake reads these tables. Rows of a file lie sorted by key (a point, a vehicle) and time, in
small row groups with statistics: whoever asks for one key reads the row groups that hold it and no others.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from deltalake.transaction import AddAction, RemoveAction
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow.dataset as ds

DAY_MS: Final = 86_400_000
END_MS: Final = 253_402_300_799_999  # the last moment of the year 9999
ROW_GROUP: Final = 65_536
PIECE_ROWS: Final = 16_000_000  # rows that a merge holds in memory at a time
FILE_ROWS: Final = 64_000_000  # rows of one merged file, about: more make a further file
_TAG: Final = re.compile(r"/part-t(\d+)-")
MANY_DISTINCT: Final = 0.25  # share of distinct values above which a dictionary costs more than it saves
REMOVALS: Final = "removals"  # how many commits took files out
_MAX_FLOAT: Final = float(np.finfo(np.float64).max)
CUT: Final = "deleted_before"
_CONFIG: Final = {
    "delta.logRetentionDuration": "interval 1 days",
    "delta.checkpointInterval": "50",
    "delta.deletedFileRetentionDuration": "interval 1 days",
}


@dataclass(frozen=True)
class Layout:
    """What a table is. `schema` begins with `day` (date32, the partition); rows are sorted by `key`, then `time`.

    `deltas`: integer columns stored as differences. `values`: float columns stored through a dictionary where their
    values repeat (scaled measurements do), else split by byte. Everything else is stored through a dictionary.
    """

    name: str
    schema: pa.Schema
    key: str
    time: str
    deltas: tuple[str, ...]
    values: tuple[str, ...] = ()
    block_ms: int = 0  # sort by stretches of this length first, so that a moment is found as quickly as a key
    row_group: int = ROW_GROUP

    @property
    def columns(self) -> list[str]:
        """The columns of its files: all but the partition."""
        return [name for name in self.schema.names if name != "day"]


@dataclass(frozen=True)
class FileInfo:
    """One file of the table as it is now. `size` in bytes; `first`, `last`: range of its keys.

    `tag`: a number that its writer put into its name, 0 for none; what it says is the table's own affair.
    """

    path: str
    day: date
    size: int
    rows: int
    first: int
    last: int

    @property
    def tag(self) -> int:
        found = _TAG.search(self.path)
        return int(found[1]) if found else 0


def day_of(ms: int) -> date:
    """The UTC day of a moment."""
    return datetime.fromtimestamp(ms / 1000, UTC).date()


def day_ms(day: date) -> int:
    """Its first moment."""
    return (day - date(1970, 1, 1)).days * DAY_MS


@dataclass
class Scanned:
    """What a read touched: files opened, row groups and bytes read of how many there are."""

    files: int = 0
    row_groups: int = 0
    of_row_groups: int = 0
    read_bytes: int = 0
    of_bytes: int = 0


@dataclass(frozen=True)
class Span:
    """Which rows: of these keys (None: all; else sorted), with t0 <= time < t1."""

    t0_ms: int
    t1_ms: int
    keys: Sequence[int] | None = None
    more: Mapping[str, Sequence[int]] = field(default_factory=dict)  # further columns and the values wanted of them

    def expression(self, layout: Layout) -> ds.Expression:
        found = (pc.field(layout.time) >= self.t0_ms) & (pc.field(layout.time) < self.t1_ms)
        wanted = {**({layout.key: self.keys} if self.keys is not None else {}), **self.more}
        for name, values in wanted.items():
            found &= (pc.field(name) >= values[0]) & (pc.field(name) <= values[-1])
            if len(values) > 1:
                found &= pc.field(name).isin(list(values))
        return found

    @property
    def empty(self) -> bool:
        lists = [self.keys, *self.more.values()]
        return self.t1_ms <= self.t0_ms or any(values is not None and not len(values) for values in lists)


class DayTable:
    """A table at a folder or an object-storage address (credentials from the environment). For several threads."""

    def __init__(self, url: str, layout: Layout) -> None:
        self.url, self.layout = url.rstrip("/"), layout
        self._table: DeltaTable | None = None
        self._listed: tuple[int, list[FileInfo]] = (-1, [])
        self._lock = threading.RLock()

    # the table as it is

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
        with self._lock:
            found = self.open()
            if found is None:
                if "://" not in self.url:
                    Path(self.url).mkdir(parents=True, exist_ok=True)
                self._table = found = DeltaTable.create(
                    self.url, self.layout.schema, mode="ignore", partition_by=["day"], name=self.layout.name,
                    configuration=_CONFIG,
                )  # fmt: skip
            missing = set(self.layout.schema.names) - {part.name for part in found.schema().fields}
            if missing:  # made by an earlier version
                wanted = DeltaSchema.from_arrow(self.layout.schema).fields
                found.alter.add_columns([part for part in wanted if part.name in missing])
            return found

    def nullable(self, name: str) -> bool:
        """Whether a column of the table may hold nulls: what an earlier version made may not where a new one may."""
        return any(part.name == name and part.nullable for part in self.create().schema().fields)

    def mark(self, name: str) -> int:
        """The number last committed under this name together with rows; 0 for none."""
        table = self.open()
        return (table.transaction_version(name) or 0) if table is not None else 0

    def files(self, days: Sequence[date] | None = None) -> list[FileInfo]:
        """The files of these days (None: of all), in the order of their days."""
        with self._lock:
            table = self.open()
            if table is None:
                return []
            if self._listed[0] != table.version():
                self._listed = (table.version(), self._files(table))
            found = self._listed[1]
        wanted = None if days is None else set(days)
        return [file for file in found if wanted is None or file.day in wanted]

    def _files(self, table: DeltaTable) -> list[FileInfo]:
        actions = pa.table(table.get_add_actions(flatten=True))
        names = [
            "path",
            "partition.day",
            "size_bytes",
            "num_records",
            f"min.{self.layout.key}",
            f"max.{self.layout.key}",
        ]
        held = [actions[name].to_pylist() if name in actions.column_names else [None] * len(actions) for name in names]
        found = [
            FileInfo(path, day, size, rows or 0, -(2**31) if first is None else first, 2**31 if last is None else last)
            for path, day, size, rows, first, last in zip(*held, strict=True)
        ]
        return sorted(found, key=lambda file: (file.day, file.first, file.path))

    def days(self) -> dict[date, int]:
        """Rows of each day."""
        found: dict[date, int] = {}
        for file in self.files():
            found[file.day] = found.get(file.day, 0) + file.rows
        return found

    def filesystem(self, table: DeltaTable) -> pa_fs.FileSystem:
        """Where the files' paths lead."""
        if "://" not in self.url:
            return pa_fs.SubTreeFileSystem(self.url, pa_fs.LocalFileSystem())
        return pa_fs.PyFileSystem(DeltaStorageHandler.from_table(table._table, None, None))

    # reading

    def scan(self, span: Span, names: Sequence[str]) -> pa.Table | None:
        """The rows of a span, in no order; None when there is nothing to look at."""
        dataset = self._dataset(span)
        return None if dataset is None else dataset.to_table(columns=list(names), filter=span.expression(self.layout))

    def batches(self, span: Span, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The same piece by piece: for what may be too much for memory."""
        dataset = self._dataset(span)
        if dataset is not None:
            filtered = span.expression(self.layout)
            yield from dataset.to_batches(columns=list(names), filter=filtered, batch_readahead=2, fragment_readahead=1)

    def _dataset(self, span: Span) -> ds.Dataset | None:
        table = self.open()
        if table is None or span.empty:
            return None
        first, last = day_of(max(span.t0_ms, 0)), day_of(min(span.t1_ms, END_MS) - 1)
        days: Any = [("day", ">=", str(first)), ("day", "<=", str(last))]
        with self._lock:
            return table.to_pyarrow_dataset(
                filesystem=self.filesystem(table), file_pruning_predicate=days, schema=self.layout.schema
            )

    def touched(self, span: Span, names: Sequence[str]) -> Scanned:
        """What reading a span reads, counted from the files' own statistics. For benches and tests."""
        found, dataset = Scanned(), self._dataset(span)
        if dataset is None:
            return found
        for fragment in dataset.get_fragments(filter=span.expression(self.layout)):
            left = fragment.subset(filter=span.expression(self.layout))
            found.files += 1
            for number in range(fragment.metadata.num_row_groups):
                found.of_row_groups += 1
                found.of_bytes += _bytes(fragment.metadata.row_group(number), self.layout.columns)
            for group in left.row_groups:
                found.row_groups += 1
                found.read_bytes += _bytes(fragment.metadata.row_group(group.id), names)
        return found

    # writing

    def write(
        self, day: date, pieces: Iterable[pa.Table], *, removing: Sequence[FileInfo] = (),
        marks: Mapping[str, int] | None = None, data_change: bool = True, tag: int = 0,
    ) -> int:  # fmt: skip
        """Rows of one day (columns of the layout, pieces sorted) into new files, other files out, in one commit.

        Returns the rows written. `marks`: numbers to be found by `mark`; `tag`: see FileInfo. A file removed is kept
        until `tidy`.
        """
        return self.write_days([(day, pieces)], removing=removing, marks=marks, data_change=data_change, tag=tag)

    def write_days(
        self, days: Iterable[tuple[date, Iterable[pa.Table]]], *, removing: Sequence[FileInfo] = (),
        marks: Mapping[str, int] | None = None, data_change: bool = True, tag: int = 0,
        expecting: Mapping[str, int] | None = None,
    ) -> int:  # fmt: skip
        """`write` for several days in one commit. `expecting`: what the marks must be before it.

        Raises CommitFailedError, and nothing is changed, when another has removed those files or moved those marks.
        """
        table = self.create()
        added: list[AddAction] = []
        for day, pieces in days:
            added += self._files_of(table, day, pieces, data_change, tag)
        now = int(time.time() * 1000)
        actions: list[AddAction | RemoveAction] = [*added]
        actions += [RemoveAction(file.path, data_change, now, file.size, {"day": str(file.day)}) for file in removing]
        if actions or marks:
            numbers = dict(marks or {})
            with self._lock:
                table = self._unmoved(removing, expecting or {})
                if removing:  # Delta lets two appends pass that remove the same file, but not two of one number
                    numbers[REMOVALS] = (table.transaction_version(REMOVALS) or 0) + 1
                done = CommitProperties(app_transactions=[Transaction(name, n) for name, n in numbers.items()])
                table.create_write_transaction(actions, "append", self.layout.schema, ["day"], commit_properties=done)
                table.update_incremental()
        return sum(json.loads(action.stats)["numRecords"] for action in added)

    def _unmoved(self, removing: Sequence[FileInfo], expecting: Mapping[str, int]) -> DeltaTable:
        """The table as it is now, looked at once more; what comes after this look Delta's own check sees."""
        table = self.create()
        gone = {file.path for file in removing} - {file.path for file in self._files(table)} if removing else set()
        if gone:
            raise CommitFailedError(f"{self.layout.name}: another has merged or deleted {sorted(gone)[:3]}")
        for name, wanted in expecting.items():
            found = table.transaction_version(name) or 0
            if found != wanted:
                raise CommitFailedError(f"{self.layout.name}: {name} should be {wanted}; another has made it {found}")
        return table

    def _files_of(
        self, table: DeltaTable, day: date, pieces: Iterable[pa.Table], data_change: bool, tag: int
    ) -> Iterator[AddAction]:
        filesystem, writer = self.filesystem(table), None
        for piece in pieces:
            if not piece.num_rows:
                continue
            if writer is None:
                writer = _Writer(self.layout, filesystem, day, piece, tag)
            writer.add(piece)
            if writer.rows >= FILE_ROWS:
                yield writer.close(data_change)
                writer = None
        if writer is not None:
            yield writer.close(data_change)

    def cut(self) -> date:
        """Days before this one were deleted; 1970-01-01 when none ever were."""
        return date(1970, 1, 1) + timedelta(days=self.mark(CUT))

    def delete_before(self, day: date) -> tuple[int, int]:
        """Take days before this one out; (days, rows) taken. Their files go with the next `tidy` after a day."""
        gone = [file for file in self.files() if file.day < day]
        if gone:
            self.write_days([], removing=gone, marks={CUT: (day - date(1970, 1, 1)).days})
        return len({file.day for file in gone}), sum(file.rows for file in gone)

    def sorted_pieces(
        self,
        files: Sequence[FileInfo],
        names: Sequence[str] | None = None,
        *,
        most: int = PIECE_ROWS,
    ) -> Iterator[pa.Table]:
        """All rows of the files, sorted by key and time, in pieces of about `most` rows that never part a key."""
        from pyarrow.dataset import dataset as dataset_of  # not above: it brings pandas, a second of every start

        table = self.create()
        columns = list(names or self.layout.columns)
        dataset = dataset_of(
            [file.path for file in files], format="parquet", filesystem=self.filesystem(table),
            schema=pa.schema([self.layout.schema.field(name) for name in self.layout.columns]),
        )  # fmt: skip
        for low, high in self._key_ranges(dataset, files, most):
            key = pc.field(self.layout.key)
            rows = dataset.to_table(columns=columns, filter=None if low is None else (key >= low) & (key < high))
            yield sorted_by(rows, self.layout)

    def _key_ranges(
        self, dataset: ds.Dataset, files: Sequence[FileInfo], most: int
    ) -> list[tuple[int | None, int | None]]:
        total = sum(file.rows for file in files)
        if total <= most:
            return [(None, None)]
        counts: dict[int, int] = {}
        for batch in dataset.to_batches(columns=[self.layout.key]):
            keys, n = np.unique(batch.column(0).to_numpy(), return_counts=True)
            for key, count in zip(keys.tolist(), n.tolist(), strict=True):
                counts[key] = counts.get(key, 0) + count
        return key_ranges(counts, most)  # type: ignore[return-value]

    def tidy(self, *, keep_hours: int = 24) -> int:
        """Remove files that no version of the last hours uses; returns how many."""
        table = self.create()
        with self._lock:
            gone = table.vacuum(retention_hours=keep_hours, dry_run=False, enforce_retention_duration=False)
            table.cleanup_metadata()
        return len(gone)


def key_ranges(counts: Mapping[int, int], most: int) -> list[tuple[int, int]]:
    """Ranges [low, high) of keys with about `most` rows each; a key with more than that has one of its own.

    >>> key_ranges({1: 5, 2: 5, 7: 20, 9: 1}, 10)
    [(1, 7), (7, 9), (9, 10)]
    """
    found: list[tuple[int, int]] = []
    keys = sorted(counts)
    low, held = keys[0], 0
    for key in keys:
        if held and held + counts[key] > most:
            found.append((low, key))
            low, held = key, 0
        held += counts[key]
    return [*found, (low, keys[-1] + 1)]


def sorted_by(rows: pa.Table, layout: Layout) -> pa.Table:
    """The rows by key and time."""
    key, when = rows[layout.key].to_numpy(), rows[layout.time].to_numpy()
    block = when // layout.block_ms if layout.block_ms else np.zeros(1, np.int64).repeat(when.size)
    if _in_order(block, key, when):
        return rows
    return rows.take(pa.array(np.lexsort((when, key, block))))


def _in_order(block: NDArray[Any], key: NDArray[Any], when: NDArray[Any]) -> bool:
    later = (key[1:] > key[:-1]) | ((key[1:] == key[:-1]) & (when[1:] >= when[:-1]))
    return bool(((block[1:] > block[:-1]) | ((block[1:] == block[:-1]) & later)).all())


def _bytes(group: Any, names: Sequence[str]) -> int:
    columns = (group.column(n) for n in range(group.num_columns))
    return sum(column.total_compressed_size for column in columns if column.path_in_schema in names)


def _repeats(values: pa.ChunkedArray) -> bool:
    """Whether a dictionary of each row group is worth it: looked up in one row group in the middle."""
    start = max(0, (len(values) - ROW_GROUP) // 2)
    part = values.slice(start, ROW_GROUP)
    return bool(pc.count_distinct(part).as_py() <= MANY_DISTINCT * len(part))


class _Writer:
    """One Parquet file being written."""

    def __init__(self, layout: Layout, filesystem: pa_fs.FileSystem, day: date, first: pa.Table, tag: int) -> None:
        self.layout, self.filesystem, self.day, self.rows = layout, filesystem, day, 0
        self.path = f"day={day}/part-{f't{tag}-' if tag else ''}{uuid.uuid4()}.parquet"
        self.on_disk = Path(filesystem.base_path) if isinstance(filesystem, pa_fs.SubTreeFileSystem) else None
        self._low: dict[str, float] = {}
        self._high: dict[str, float] = {}
        self._nulls: dict[str, int] = {}
        schema = pa.schema([layout.schema.field(name) for name in layout.columns])
        split = [name for name in layout.values if not _repeats(first[name])]
        encodings = dict.fromkeys(layout.deltas, "DELTA_BINARY_PACKED")
        encodings |= dict.fromkeys(split, "BYTE_STREAM_SPLIT")
        filesystem.create_dir(f"day={day}", recursive=True)
        self._out = pq.ParquetWriter(
            self.path, schema, filesystem=filesystem, compression="zstd", compression_level=3,
            use_dictionary=[name for name in layout.columns if name not in encodings], column_encoding=encodings,
            write_statistics=True,
        )  # fmt: skip

    def add(self, piece: pa.Table) -> None:
        self._out.write_table(piece.select(self.layout.columns), row_group_size=self.layout.row_group)
        self.rows += piece.num_rows
        for name in self.layout.columns:
            self._note(name, piece[name])

    def _note(self, name: str, column: pa.ChunkedArray) -> None:
        """Ranges for the table's log. Every column needs its own: a reader takes a missing one for "no row fits"."""
        self._nulls[name] = self._nulls.get(name, 0) + column.null_count
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        ends = pc.min_max(column).as_py()
        if ends["min"] is None:
            return
        low, high = (
            max(-_MAX_FLOAT, min(_MAX_FLOAT, end)) for end in (ends["min"], ends["max"])
        )  # JSON has no infinity
        self._low[name] = min(self._low.get(name, low), low)
        self._high[name] = max(self._high.get(name, high), high)

    def close(self, data_change: bool) -> AddAction:
        self._out.close()
        if self.on_disk is not None:  # the commit that names the file must not outlive it
            with (self.on_disk / self.path).open("rb") as written:
                os.fsync(written.fileno())
        size = int(self.filesystem.get_file_info(self.path).size)
        stats = {"numRecords": self.rows, "minValues": self._low, "maxValues": self._high, "nullCount": self._nulls}
        values = {"day": str(self.day)}
        return AddAction(self.path, size, values, int(time.time() * 1000), data_change, json.dumps(stats))


def days_between(t0_ms: int, t1_ms: int) -> list[date]:
    """The days that a span of time touches, at most ten years of them."""
    first, last = day_of(t0_ms), day_of(t1_ms)
    return [first + timedelta(days=n) for n in range(min((last - first).days, 3660) + 1)]
