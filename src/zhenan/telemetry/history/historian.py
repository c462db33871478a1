"""Taking the log into the table: each commit names its place in the log, and after any kill it goes on there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.dedupe import DUPLICATE, LATE, Dedupe
from zhenan.telemetry.history.keeping import MANY_FILES, Keeper
from zhenan.telemetry.history.table import DAY_MS, History, as_table
from zhenan.telemetry.log.follower import Message
from zhenan.telemetry.log.generations import Generations

log = structlog.get_logger("zhenan.historian")
KEEP_S: Final = 600.0  # at the latest after this long the tables are looked after
REBUILD_MS: Final = 2 * DAY_MS


class _State(msgspec.Struct):
    epoch: str
    seq: int
    dedupe: bytes


@dataclass
class Counts:
    """Since this process began."""

    readings: int = 0
    kept: int = 0
    late: int = 0
    duplicate: int = 0
    commits: int = 0
    written: int = 0


@dataclass
class _Waiting:
    parts: list[Columns] = field(default_factory=list)
    seqs: list[NDArray[np.int64]] = field(default_factory=list)
    late: list[NDArray[np.bool_]] = field(default_factory=list)
    readings: int = 0
    since: float = 0.0


class Historian:
    """`take` messages in order, `commit` now and then. `taken`: sequence of the last message taken."""

    def __init__(
        self, history: History, files: Generations, epoch: str, *, at_readings: int = 100_000, every_s: float = 10.0,
        keeper: Keeper | None = None,
    ) -> None:  # fmt: skip
        self.history, self.files, self.epoch = history, files, epoch
        self.at_readings, self.every_s = at_readings, every_s
        self.counts = Counts()
        self.committed = self.taken = history.committed(epoch)
        self._dedupe = self._remembered()
        self._waiting = _Waiting()
        self.keeper = keeper
        self._keeping: asyncio.Task[None] | None = None
        self._kept_at = time.monotonic() - KEEP_S + 60  # after a start, in a minute
        self._untended = 0  # commits since the files were last looked at

    def _remembered(self) -> Dedupe:
        """The memory that belongs to the last commit: from the state files, else from the newest rows of the table."""
        for data in self.files.load():
            try:
                state = msgspec.msgpack.decode(data, type=_State)
                if (state.epoch, state.seq) == (self.epoch, self.committed):
                    return Dedupe.restore(state.dedupe)
            except (msgspec.DecodeError, ValueError):
                continue
        found = Dedupe()
        days = self.history.files_by_day()
        if days:
            newest = datetime(*max(days).timetuple()[:3], tzinfo=UTC) + timedelta(days=1)
            columns, _ = self.history.rows_since(int(newest.timestamp() * 1000) - REBUILD_MS)
            found.judge(columns)
            log.info("historian.memory_rebuilt", readings=len(columns))
        return found

    def take(self, messages: Sequence[Message]) -> Columns:
        """Take messages of the log; returns what is new in them (not duplicates)."""
        parts = [Columns.unpack(message.data) for message in messages]
        columns = Columns.concat(parts)
        if len(columns) and int(columns.point.min()) < 0:
            raise ValueError(f"a point's id is a positive number; the log holds {int(columns.point.min())}")
        seq = np.repeat([message.seq for message in messages], [len(part) for part in parts])
        verdict = self._dedupe.judge(columns)
        keep = verdict != DUPLICATE
        self.counts.readings += len(columns)
        self.counts.late += int(np.count_nonzero(verdict == LATE))
        self.counts.duplicate += int(np.count_nonzero(~keep))
        if not keep.all():
            columns, seq, verdict = columns.take(keep), seq[keep], verdict[keep]
        if messages:
            self.taken = messages[-1].seq
        if len(columns):
            waiting = self._waiting
            waiting.since = waiting.since or time.monotonic()
            waiting.parts.append(columns)
            waiting.seqs.append(seq.astype(np.int64))
            waiting.late.append(verdict == LATE)
            waiting.readings += len(columns)
            self.counts.kept += len(columns)
        return columns

    @property
    def waiting(self) -> int:
        """Readings taken and not yet handed to a commit."""
        return self._waiting.readings

    def due(self) -> bool:
        """Whether it is time to commit."""
        waiting = self._waiting
        return waiting.readings >= self.at_readings or bool(
            waiting.since and time.monotonic() - waiting.since >= self.every_s
        )

    async def commit(self) -> None:
        """Write what waits, in another thread; more may be taken meanwhile. Not for two tasks at once."""
        waiting, self._waiting = self._waiting, _Waiting()
        seq = self.taken
        if not waiting.readings:
            return  # nothing but duplicates or empty messages: reading those again later does no harm
        state = _State(self.epoch, seq, self._dedupe.save())
        await asyncio.to_thread(self._write, waiting, state)
        self.committed = seq
        self.counts.commits += 1
        self._untended += 1
        self.counts.written += waiting.readings

    def _write(self, waiting: _Waiting, state: _State) -> None:
        columns = Columns.concat(waiting.parts)
        rows = as_table(columns, np.concatenate(waiting.seqs), np.concatenate(waiting.late))
        self.files.save(msgspec.msgpack.encode(state))  # before the commit: a state without its commit is not used
        self.history.append(rows, self.epoch, state.seq)

    async def tend(self, now: datetime) -> None:
        """See to it that the tables are kept (merged, summed up, cut off): in another thread, beside new commits.

        Returns at once; what the last round failed with is logged, and the next one tries again.
        """
        if self._keeping is not None and self._keeping.done():
            err = self._keeping.exception()
            self._keeping = None
            if err is not None:
                log.error("historian.keeping_failed", error=str(err) or type(err).__name__, exc_info=err)
        due = self._untended >= MANY_FILES or time.monotonic() - self._kept_at >= KEEP_S
        if due and self._keeping is None and self.keeper is not None:
            self._untended, self._kept_at = 0, time.monotonic()
            self._keeping = asyncio.create_task(asyncio.to_thread(self.keeper.run, now.astimezone(UTC).date()))
