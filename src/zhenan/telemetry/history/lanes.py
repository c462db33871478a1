"""Several historians on one table: each takes the lanes it holds, and commits them together.

A commit names for every lane in it how far the log is now in the table (a Delta application transaction a lane), and is
refused when the table knows of another place than the writer does: so a historian that was paused and has lost a lane
meanwhile cannot add its rows a second time.

What a lane's duplicates are told by is kept in the broker now and then, always as of a commit. Who takes the lane up
reads the log from there: up to the table's place only to remember, beyond it to store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import structlog
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from numpy.typing import NDArray

from zhenan.telemetry.columns import PARTITIONS, Columns
from zhenan.telemetry.history.dedupe import DUPLICATE, LATE, Dedupe
from zhenan.telemetry.history.historian import Counts
from zhenan.telemetry.history.table import History, as_table, by_day, transaction_id
from zhenan.telemetry.log.follower import Message

log = structlog.get_logger("zhenan.historian")
KEEP_S: Final = 20.0  # between two states of a lane; more often costs the broker, less often the next holder


class Overtaken(RuntimeError):
    """The table has another place for these lanes than the writer knows of: others have them."""

    def __init__(self, lanes: Collection[int]) -> None:
        super().__init__(f"another historian has written lanes {sorted(lanes)}")
        self.lanes = frozenset(lanes)


class OtherLanes(RuntimeError):
    """The table was written in finer lanes than are asked for."""


def _version(table: DeltaTable, epoch: str, lane: int, count: int) -> int:
    return table.transaction_version(transaction_id(epoch, lane, count)) or 0


def place_of(table: DeltaTable, epoch: str, lane: int, count: int) -> tuple[int, int]:
    """(the lane's own place in the table, up to where everything of it is there): it may have been written as part of a
    coarser lane before. Raises OtherLanes when finer ones were written further."""
    own = _version(table, epoch, lane, count)
    reached, coarser = own, count
    while coarser > 1:
        coarser //= 2
        reached = max(reached, _version(table, epoch, lane * coarser // count, coarser))
    finer = count
    while finer < PARTITIONS:
        finer *= 2
        for n in range(lane * finer // count, (lane + 1) * finer // count):
            if _version(table, epoch, n, finer) > reached:
                raise OtherLanes(
                    f"history was written in {finer} lanes of this log (ZHENAN_CLUSTER, ZHENAN_LOG_LANES), and {count} "
                    "would store readings twice: lanes may only become more"
                )
    return own, reached


def stored_upto(history: History, epoch: str) -> int:
    """The sequence of the log up to which every lane that was ever committed is in the table, in whatever lanes it was
    written; 0 for nothing. (A lane in which nothing was ever reported would otherwise stand at 0 for ever.)"""
    table = history.open()
    if table is None:
        return 0
    count = PARTITIONS
    while count > 1 and not any(_version(table, epoch, lane, count) for lane in range(count)):
        count //= 2
    places = [place_of(table, epoch, lane, count)[1] for lane in range(count)]
    return min((place for place in places if place), default=0)


def append(history: History, rows: pa.Table, epoch: str, count: int, places: Mapping[int, tuple[int, int]]) -> None:
    """Add rows and move the place of each lane from one sequence to another, all or nothing. Raises Overtaken.

    Args:
        places: lane → (where the table is believed to be, where it is with these rows).
    """
    _compare(history.create(), epoch, count, places)
    marks = {transaction_id(epoch, lane, count): to for lane, (_, to) in places.items()}
    expected = {transaction_id(epoch, lane, count): known for lane, (known, _) in places.items()}
    try:
        history.write_days(by_day(rows), marks=marks, expecting=expected)
    except CommitFailedError:
        _compare(history.create(), epoch, count, places)
        raise


def _compare(table: DeltaTable, epoch: str, count: int, places: Mapping[int, tuple[int, int]]) -> None:
    moved = [lane for lane, (known, _) in places.items() if _version(table, epoch, lane, count) != known]
    if moved:
        raise Overtaken(moved)


class _Kept(msgspec.Struct):
    """A lane's memory. `points`: int32 ids in the order of the memory's own numbers."""

    epoch: str
    seq: int
    points: bytes
    dedupe: bytes


# made here, by one thread: of several that meet a type for the first time msgspec may crash
_DECODER: Final = msgspec.msgpack.Decoder(_Kept)


class Memory:
    """What tells a lane's duplicates, its points numbered from 0 as they come: lanes go from one worker to another, and
    a memory that had room for every id of the city would be carried for each of them."""

    def __init__(self) -> None:
        self.points: NDArray[np.int32] = np.empty(0, np.int32)
        self.dedupe = Dedupe()
        self._sorted = self._order = np.empty(0, np.int64)

    def judge(self, columns: Columns) -> NDArray[np.uint8]:
        """NEW, LATE or DUPLICATE for each reading, in their order."""
        if not len(columns):
            return np.empty(0, np.uint8)
        number = self._numbers(columns.point)
        missing = number < 0
        if missing.any():
            self.points = np.concatenate([self.points, np.unique(columns.point[missing])])
            self._index()
            number = self._numbers(columns.point)
        return self.dedupe.judge(Columns(number.astype(np.int32), columns.ts, columns.value, columns.quality))

    def _index(self) -> None:
        self._order = np.argsort(self.points, kind="stable")
        self._sorted = self.points[self._order].astype(np.int64)

    def _numbers(self, point: NDArray[np.int32]) -> NDArray[np.int64]:
        if not self._sorted.size:
            return np.full(point.size, -1, np.int64)
        at = np.minimum(np.searchsorted(self._sorted, point), self._sorted.size - 1)
        return np.where(self._sorted[at] == point, self._order[at], -1)

    def save(self, epoch: str, seq: int) -> bytes:
        return msgspec.msgpack.encode(_Kept(epoch, seq, self.points.astype("<i4").tobytes(), self.dedupe.save()))

    @classmethod
    def restore(cls, data: bytes | None, epoch: str) -> tuple[Memory, int]:
        """(the memory, the sequence it is as of); an empty one as of 0 when there is none for this log."""
        found = cls()
        if data:
            try:
                kept = _DECODER.decode(data)
                if kept.epoch == epoch:
                    found.dedupe = Dedupe.restore(kept.dedupe)
                    found.points = np.frombuffer(kept.points, "<i4").copy()
                    found._index()
                    return found, kept.seq
            except (msgspec.DecodeError, ValueError) as err:
                log.error("historian.memory_unreadable", error=str(err))
        return cls(), 0


@dataclass
class Lane:
    """A lane in hand. `own`: its place in the table; `reached`: what is in the table already; `taken`: read so far."""

    number: int
    memory: Memory
    own: int
    reached: int
    taken: int
    parts: list[Columns] = field(default_factory=list)
    seqs: list[NDArray[np.int64]] = field(default_factory=list)
    late: list[NDArray[np.bool_]] = field(default_factory=list)
    readings: int = 0
    kept_at: float = 0.0
    to_keep: bytes | None = None  # the memory as of the last commit, to be kept in the broker


class LaneHistorian:
    """Takes messages of the lanes it was given, and commits all of them together now and then."""

    def __init__(
        self, history: History, epoch: str, count: int, *, at_readings: int = 100_000, every_s: float = 10.0
    ) -> None:
        self.history, self.epoch, self.count = history, epoch, count
        self.at_readings, self.every_s = at_readings, every_s
        self.lanes: dict[int, Lane] = {}
        self.counts = Counts()
        self._since = 0.0
        self._lock = asyncio.Lock()

    async def add(self, number: int, kept: bytes | None) -> Lane:
        """Take a lane up; its messages are to be read behind `taken`. Raises OtherLanes."""
        table = await asyncio.to_thread(self.history.create)
        own, reached = place_of(table, self.epoch, number, self.count)
        memory, seq = await asyncio.to_thread(Memory.restore, kept, self.epoch)
        found = self.lanes[number] = Lane(number, memory, own, reached, min(seq, reached))
        log.info("historian.lane", lane=number, after=found.taken, stored_upto=reached)
        return found

    def keepsake(self, lane: Lane) -> bytes:
        """The lane's memory as of now, for when everything taken is committed and the lane is given back."""
        return lane.memory.save(self.epoch, lane.taken)

    def drop(self, lane: Lane) -> None:
        """Forget a lane and what was not committed of it: its next holder reads that again."""
        if self.lanes.get(lane.number) is lane:
            del self.lanes[lane.number]

    def take(self, lane: Lane, messages: Sequence[Message]) -> Columns:
        """Take messages of a lane; returns what is new in them (neither duplicates nor stored before)."""
        parts = [Columns.unpack(message.data) for message in messages]
        columns = Columns.concat(parts)
        if len(columns) and int(columns.point.min()) < 0:
            raise ValueError(f"a point's id is a positive number; the log holds {int(columns.point.min())}")
        seq = np.repeat([message.seq for message in messages], [len(part) for part in parts]).astype(np.int64)
        verdict = lane.memory.judge(columns)
        fresh = seq > lane.reached
        keep = fresh & (verdict != DUPLICATE)
        self.counts.readings += int(np.count_nonzero(fresh))
        self.counts.late += int(np.count_nonzero(fresh & (verdict == LATE)))
        self.counts.duplicate += int(np.count_nonzero(fresh & (verdict == DUPLICATE)))
        if messages:
            lane.taken = messages[-1].seq
        columns, seq, late = columns.take(keep), seq[keep], (verdict == LATE)[keep]
        if len(columns):
            self._since = self._since or time.monotonic()
            lane.parts.append(columns)
            lane.seqs.append(seq)
            lane.late.append(late)
            lane.readings += len(columns)
            self.counts.kept += len(columns)
        return columns

    @property
    def waiting(self) -> int:
        """Readings taken and not yet committed."""
        return sum(lane.readings for lane in self.lanes.values())

    def due(self) -> bool:
        """Whether it is time to commit."""
        waiting = self.waiting
        return waiting >= self.at_readings or bool(waiting and time.monotonic() - self._since >= self.every_s)

    async def commit(self) -> frozenset[int]:
        """Write what waits of every lane; more may be taken meanwhile. Returns lanes that turned out to be another's:
        of them nothing was written."""
        async with self._lock:
            lost: frozenset[int] = frozenset()
            batch = [(lane, _cut(lane, self.epoch)) for lane in self.lanes.values() if lane.readings]
            self._since = 0.0
            while batch:
                try:
                    await asyncio.to_thread(self._write, [cut for _, cut in batch])
                except Overtaken as err:
                    lost |= err.lanes
                    batch = [(lane, cut) for lane, cut in batch if lane.number not in err.lanes]
                    continue
                for lane, cut in batch:
                    lane.own = lane.reached = cut.to
                    lane.to_keep = cut.memory if cut.memory is not None else lane.to_keep
                    self.counts.written += len(cut.columns)
                self.counts.commits += 1
                break
            return lost

    def _write(self, cuts: Sequence[_Cut]) -> None:
        seqs, late = np.concatenate([cut.seqs for cut in cuts]), np.concatenate([cut.late for cut in cuts])
        rows = as_table(Columns.concat([cut.columns for cut in cuts]), seqs, late)
        append(self.history, rows, self.epoch, self.count, {cut.lane: (cut.known, cut.to) for cut in cuts})


@dataclass(frozen=True)
class _Cut:
    """What of a lane goes into one commit. `memory`: as of it, where it is to be kept."""

    lane: int
    known: int
    to: int
    columns: Columns
    seqs: NDArray[np.int64]
    late: NDArray[np.bool_]
    memory: bytes | None


def _cut(lane: Lane, epoch: str) -> _Cut:
    columns, seqs, late = Columns.concat(lane.parts), np.concatenate(lane.seqs), np.concatenate(lane.late)
    lane.parts, lane.seqs, lane.late, lane.readings = [], [], [], 0
    memory = None
    if not lane.kept_at or time.monotonic() - lane.kept_at >= KEEP_S:
        lane.kept_at = time.monotonic()
        memory = lane.memory.save(epoch, lane.taken)
    return _Cut(lane.number, lane.own, lane.taken, columns, seqs, late, memory)
