"""The live judge's state with its place in the log: taken up again, it gives the same alarms it would have given.

A transition that comes from the log comes again when the log is read again. One that comes from the clock (a silence)
or from a change of the rules does not: it is kept in the saved state until it is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge.composites import Composer, Composite
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Counters, Transition
from zhenan.telemetry.judge.rules import Rule
from zhenan.telemetry.judge.snapshot import SnapshotFault
from zhenan.telemetry.judge.table import Groups
from zhenan.telemetry.judge.waiting import Waiting


@dataclass(frozen=True, eq=False)
class Numbers:
    """The number of each point of a judge, by the point's id. All lanes have one table of it in common: a table each
    would have room for every id of the city, and be the most of what a lane takes.

    Args:
        number: int32 by id, within the point's lane; -1 for no point.
        lane: uint8 by id.
    """

    number: NDArray[np.int32]
    lane: NDArray[np.uint8]
    mine: int = 0

    @classmethod
    def of(cls, ids: NDArray[np.int64], lane: NDArray[np.int64] | None = None) -> Numbers:
        """Of points in the order in which each lane's judge has them; without `lane` all are in lane 0."""
        lanes = np.zeros(ids.size, np.uint8) if lane is None else lane.astype(np.uint8)
        number = np.full(int(ids.max(initial=0)) + 1, -1, np.int32)
        for one in np.unique(lanes):
            own = ids[lanes == one]
            number[own] = np.arange(own.size)
        of_id = np.zeros(number.size, np.uint8)
        of_id[ids] = lanes
        return cls(number, of_id)

    def find(self, points: NDArray[np.int32]) -> NDArray[np.int32]:
        """-1 for a point that this judge does not have."""
        inside = (points >= 0) & (points < self.number.size)
        ids = np.where(inside, points, 0)
        return np.where(inside & (self.lane[ids] == self.mine), self.number[ids], -1).astype(np.int32)


class Setup(Protocol):
    """What to judge by. A point's key is its id as text; `registered_at`: int64 ms, one a point; `holidays`: days.

    `subjects`: the subject of each point that a composite's part may be raised at. It may have `numbers`.
    """

    @property
    def stamp(self) -> str: ...
    @property
    def rules(self) -> tuple[Rule, ...]: ...
    @property
    def points(self) -> list[str]: ...
    @property
    def registered_at(self) -> NDArray[np.int64]: ...
    @property
    def holidays(self) -> NDArray[np.int64]: ...
    @property
    def groups(self) -> Groups | None: ...
    @property
    def composites(self) -> Sequence[Composite]: ...
    @property
    def subjects(self) -> Mapping[str, str]: ...


class _Saved(msgspec.Struct):
    epoch: str
    seq: int
    stamp: str
    judge: bytes
    pending: list[Transition]
    composer: bytes = b""
    doubt: bool = False
    waiting: list[tuple[int, bytes]] = []


# made here, by one thread: of several that meet a type for the first time msgspec may crash
_DECODER: Final = msgspec.msgpack.Decoder(_Saved)


@dataclass
class Place:
    """Where in the log the state stands: everything up to `seq` of the stream made at `epoch` is judged."""

    epoch: str = ""
    seq: int = 0


def _restored(data: bytes, setup: Setup) -> Judge:
    return Judge.restore(
        data, setup.rules, setup.points, setup.registered_at, holidays=setup.holidays, groups=setup.groups
    )


class LiveJudge:
    """Judges columns whose points are ids. `pending`: transitions to record that the log will not bring again.

    `doubt`: alarms may stand that this state does not know of (standing.py); kept until they were looked at.
    `begins_ms`: in doubt, when the oldest message of the log was stored.
    """

    begins_ms = 0

    def __init__(self, setup: Setup) -> None:
        self.place = Place()
        self.pending: list[Transition] = []
        self.doubt = False
        self.waiting = Waiting()
        self.composer = Composer(setup.composites, setup.subjects)
        self._take(Judge(setup.rules, setup.points, setup.registered_at, setup.holidays, setup.groups), setup)

    def _take(self, judge: Judge, setup: Setup) -> None:
        self.engine, self.stamp = judge, setup.stamp
        shared: Numbers | None = getattr(setup, "numbers", None)
        self.numbers = shared or Numbers.of(np.fromiter(map(int, judge.keys), np.int64, len(judge.keys)))

    @property
    def counters(self) -> Counters:
        return self.engine.counters

    def judge(self, columns: Columns, seq: int, at_ms: int = 0) -> list[Transition]:
        """Judge what the log holds up to `seq`, stored at `at_ms`.

        Readings of points it does not know are counted as refused, and wait for a while: should a change of the
        register bring the point, they are judged then.
        """
        number = self.numbers.find(columns.point)
        unknown = number < 0
        if unknown.any():
            self.waiting.keep(columns.take(unknown), at_ms)
        self.waiting.forget(at_ms)
        result = self.engine.judge(Columns(number, columns.ts, columns.value, columns.quality))
        self.place.seq = seq
        return self.composer.feed(self.engine.records(result.transitions))

    def advance(self, now_ms: int) -> list[Transition]:
        """Silences whose time is up. They are added to `pending`: save, record, then clear it."""
        found = self.composer.feed(self.engine.records(self.engine.advance(now_ms)))
        self.pending += found
        return found

    def change(self, setup: Setup) -> list[Transition]:
        """Go on under other rules or points; returns the clears of alarms that lost theirs, which are pending too."""
        engine = _restored(self.engine.snapshot(), setup)
        self._take(engine, setup)
        withdrawn = self._compose(self.composer.save(), setup)
        self.pending += [*withdrawn, *self._judge_waiting()]
        return withdrawn

    def _judge_waiting(self) -> list[Transition]:
        """What waited for its point and has it now. The log will not bring it again."""
        columns = self.waiting.take(lambda points: self.numbers.find(points) >= 0)
        if not len(columns):
            return []
        self.counters.refused -= len(columns)
        self.counters.readings -= len(columns)
        number = self.numbers.find(columns.point)
        result = self.engine.judge(Columns(number, columns.ts, columns.value, columns.quality))
        return self.composer.feed(self.engine.records(result.transitions))

    def _compose(self, state: bytes, setup: Setup) -> list[Transition]:
        """The composites of now with the state from before; returns what the change of rules clears."""
        self.composer = Composer(setup.composites, setup.subjects)
        gone = self.composer.take_up(state) if state else []
        withdrawn = [*self.composer.feed(self.engine.withdrawn), *gone]
        self.composer.begin_with(self.engine.raised())
        return withdrawn

    def taken(self) -> Callable[[], bytes]:
        """The state as it is now; what is returned makes bytes of it, in any thread, while judging goes on."""
        engine, pending, composer = self.engine.taken(), [*self.pending], self.composer.save()
        place, doubt, waiting, stamp = (
            Place(self.place.epoch, self.place.seq),
            self.doubt,
            self.waiting.save(),
            self.stamp,
        )

        def data() -> bytes:
            saved = _Saved(place.epoch, place.seq, stamp, engine(), pending, composer, doubt, waiting)
            return msgspec.msgpack.encode(saved)

        return data

    def save(self) -> bytes:
        """The whole state."""
        return self.taken()()

    @classmethod
    def resume(cls, states: Sequence[bytes], setup: Setup) -> LiveJudge:
        """From the newest state that can be read, under the rules of now; without it in doubt, without any from the
        beginning."""
        for number, data in enumerate(states):
            try:
                saved = _DECODER.decode(data)
                engine = _restored(saved.judge, setup)
            except (msgspec.DecodeError, SnapshotFault):
                continue
            live = cls.__new__(cls)
            live.place, live.doubt = Place(saved.epoch, saved.seq), saved.doubt or number > 0
            live._take(engine, setup)
            try:
                live.pending = [*saved.pending, *live._compose(saved.composer, setup)]
            except msgspec.DecodeError:
                continue
            live.waiting = Waiting(saved.waiting)
            live.pending += live._judge_waiting()
            return live
        live = cls(setup)
        live.doubt = True
        return live
