"""The log of positions into the table, each once, and through the fences on the way.

As the historian does it: a commit of the table names its place in the log; the state that belongs to it (memory of
duplicates, last positions, who is in which fence) is saved just before. After any kill work goes on behind the last
commit, and the events that come again have the ids they had.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.dedupe import DUPLICATE, LATE, Dedupe
from zhenan.telemetry.history.delta import DAY_MS, day_ms
from zhenan.telemetry.log.follower import Message
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.tracks.columns import PositionColumns
from zhenan.telemetry.tracks.judge import FenceEvent, FenceJudge
from zhenan.telemetry.tracks.last import LastPositions
from zhenan.telemetry.tracks.table import Tracks

log = structlog.get_logger("zhenan.tracks")
REBUILD_MS: Final = 2 * DAY_MS


class _State(msgspec.Struct):
    epoch: str
    seq: int
    dedupe: bytes
    last: bytes
    fences: bytes


@dataclass
class Counts:
    """Since this process began."""

    positions: int = 0
    kept: int = 0
    late: int = 0
    duplicate: int = 0
    events: int = 0
    commits: int = 0


@dataclass
class _Waiting:
    parts: list[PositionColumns] = field(default_factory=list)
    late: list[NDArray[np.bool_]] = field(default_factory=list)  # of the parts
    positions: int = 0
    since: float = 0.0


class TrackWriter:
    """`take` messages in order, record the events it returns, `commit` now and then."""

    def __init__(
        self, table: Tracks, files: Generations, epoch: str, judge: FenceJudge, *, at_positions: int = 100_000,
        every_s: float = 10.0,
    ) -> None:  # fmt: skip
        self.table, self.files, self.epoch, self.judge = table, files, epoch, judge
        self.at_positions, self.every_s = at_positions, every_s
        self.counts = Counts()
        self.withdrawn: list[FenceEvent] = []  # leaves of fences that went while nobody looked: to be recorded too
        self.committed = self.taken = table.committed(epoch)
        self.dedupe, self.last = self._remembered()
        self._waiting = _Waiting()

    def _remembered(self) -> tuple[Dedupe, LastPositions]:
        for data in self.files.load():
            try:
                state = msgspec.msgpack.decode(data, type=_State)
                if (state.epoch, state.seq) == (self.epoch, self.committed):
                    dedupe, last = Dedupe.restore(state.dedupe), LastPositions.restore(state.last)
                    self.withdrawn = self.judge.restore(state.fences)
                    return dedupe, last
            except (msgspec.DecodeError, ValueError):
                continue
        return self._rebuilt()

    def _rebuilt(self) -> tuple[Dedupe, LastPositions]:
        """From the table's newest days. Who is in which fence is then found anew: an entry may be told again."""
        dedupe, last = Dedupe(), LastPositions()
        days = self.table.days()
        if days:
            known = self.table.since(day_ms(max(days)) + DAY_MS - REBUILD_MS)
            dedupe.judge(_readings(known))
            last.note(known)
            log.warning("tracks.memory_rebuilt", positions=len(known))
        return dedupe, last

    def take(self, messages: Sequence[Message]) -> list[FenceEvent]:
        """Take messages of the log; returns the events of fences in them."""
        positions = PositionColumns.concat([PositionColumns.unpack(message.data) for message in messages])
        if messages:
            self.taken = messages[-1].seq
        if not len(positions):
            return []
        if int(positions.vehicle.min()) < 0:
            raise ValueError(f"a vehicle's id is a positive number; the log holds {int(positions.vehicle.min())}")
        verdict = self.dedupe.judge(_readings(positions))
        fresh = positions.take(verdict != DUPLICATE)
        self.counts.positions += len(positions)
        self.counts.kept += len(fresh)
        self.counts.late += int(np.count_nonzero(verdict == LATE))
        self.counts.duplicate += len(positions) - len(fresh)
        self.last.note(fresh)
        events, _ = self.judge.judge(fresh)
        self.counts.events += len(events)
        if len(fresh):
            self._waiting.since = self._waiting.since or time.monotonic()
            self._waiting.parts.append(fresh)
            self._waiting.late.append(verdict[verdict != DUPLICATE] == LATE)
            self._waiting.positions += len(fresh)
        return events

    def change(self, judge: FenceJudge) -> list[FenceEvent]:
        """Go on under other fences; returns the leaves of vehicles from fences that are no more."""
        left = judge.restore(self.judge.snapshot())
        judge.counts = self.judge.counts
        self.judge = judge
        return left

    @property
    def waiting(self) -> int:
        """Positions taken and not yet handed to a commit."""
        return self._waiting.positions

    def due(self) -> bool:
        """Whether it is time to commit."""
        since = self._waiting.since
        return self.waiting >= self.at_positions or bool(since and time.monotonic() - since >= self.every_s)

    async def commit(self) -> None:
        """Write what waits, in another thread. Record the events first; not for two tasks at once."""
        waiting, self._waiting = self._waiting, _Waiting()
        if not waiting.positions:
            return
        state = _State(self.epoch, self.taken, self.dedupe.save(), self.last.save(), self.judge.snapshot())
        await asyncio.to_thread(self._write, waiting, state)
        self.committed = state.seq
        self.counts.commits += 1

    def _write(self, waiting: _Waiting, state: _State) -> None:
        self.files.save(msgspec.msgpack.encode(state))  # before the commit: a state without its commit is not used
        positions, late = PositionColumns.concat(waiting.parts), np.concatenate(waiting.late)
        self.table.append(positions, self.epoch, state.seq, late)


def _readings(positions: PositionColumns) -> Columns:
    """As the memory of duplicates wants them: vehicle and time."""
    n = len(positions)
    return Columns(positions.vehicle, positions.ts, np.zeros(n), np.zeros(n, np.uint8))
