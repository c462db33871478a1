"""The judge: rules and points in, readings in, transitions out; its whole state can be saved and taken up again."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.results import (
    KINDS,
    Columns,
    Counters,
    JudgeResult,
    ReadingColumns,
    Transition,
    Transitions,
)
from zhenan.telemetry.judge.rules import Rule
from zhenan.telemetry.judge.schedule import checked_days
from zhenan.telemetry.judge.snapshot import Saved, carry_over, pack, taken, unpack
from zhenan.telemetry.judge.state import State
from zhenan.telemetry.judge.table import Groups, Table

_SCRATCH: Final = 16_384  # transitions the loop may write before it hands them over


class Judge:
    """Judges readings of `points` by `rules`, with the meaning of the alarm rules. For one thread at a time.

    A point is known by its place in `points` (the `point` column) and by its key (snapshots, ids). `registered_at`
    (int64 ms, one a point, core.NONE for unknown) is where its silence begins to count before its first reading;
    without it such a point never falls silent. `holidays`: days since 1970-01-01, for rules with windows (schedule.py).
    `groups`: which rules look at which points, instead of what the rules say of it (table.Groups).
    `withdrawn`: after `restore`, clears of alarms without a rule.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        points: Sequence[str] = (),
        registered_at: NDArray[np.int64] | None = None,
        holidays: Sequence[int] | NDArray[np.int64] | None = None,
        groups: Groups | None = None,
    ) -> None:
        ids = [rule.id for rule in rules]
        if len(set(ids)) != len(ids):
            raise ValueError(f"rule ids must differ; got {sorted({i for i in ids if ids.count(i) > 1})} more than once")
        self.rules: tuple[Rule, ...] = tuple(rules)
        self.table = Table(self.rules, checked_days(holidays))
        self.state = State(self.table)
        self.counters = Counters()
        self.withdrawn: tuple[Transition, ...] = ()
        self._room = max(_SCRATCH, 2 * len(self.rules))
        self._numbers = np.empty((self._room, 5), dtype=np.int64)
        self._values = np.empty(self._room)
        self.state.add(points, registered_at, groups)

    @property
    def keys(self) -> list[str]:
        """The keys of the points, by their number. Do not change."""
        return self.state.keys

    @property
    def index(self) -> dict[str, int]:
        """The number of each point by its key. Do not change."""
        return self.state.index

    def add_points(self, keys: Sequence[str], registered_at: NDArray[np.int64] | None = None) -> None:
        """More points, numbered on from those known. Raises ValueError where a key is already known."""
        self.state.add(keys, registered_at)

    def judge(self, columns: ReadingColumns) -> JudgeResult:
        """Judge readings in the order given. A point out of range or a time outside the years 1-9999 is REFUSED."""
        checked = _checked(columns)
        point, ts, value, quality = checked.point, checked.ts, checked.value, checked.quality
        verdicts = np.empty(point.size, dtype=np.uint8)
        counts = np.zeros(6, dtype=np.int64)
        state, table = self.state, self.table
        parts, done = [], 0
        while True:
            done, written = core.judge_columns(
                done, point, ts, value, quality, verdicts, counts, 0, self._numbers, self._values,
                state.hot, state.last_ts, state.since, state.offset, state.words, state.words_f,
                table.calm_low, table.calm_high, table.calm_gap, table.starts, table.kinds, table.rules, table.places,
                table.fs, table.ints, table.states, table.windows, table.holidays,
            )  # fmt: skip
            parts.append(self._taken(written))
            if done == point.size:
                break
        self._count(point.size, counts)
        return JudgeResult(verdicts, Transitions.joined(parts))

    def advance(self, now_ms: int) -> Transitions:
        """Raise every silence whose time is up at `now_ms`. Going back in time does nothing. O(points)."""
        now = min(max(int(now_ms), core.MIN_TS), core.MAX_TS)
        state, table = self.state, self.table
        parts, done = [], 0
        while True:
            done, written = core.advance_clock(
                done, now, 0, self._numbers, self._values,
                state.hot, state.last_ts, state.since, state.offset, state.words,
                table.calm_gap, table.starts, table.kinds, table.rules, table.places, table.ints,
                table.windows, table.holidays,
            )  # fmt: skip
            parts.append(self._taken(written))
            if done == state.hot.size:
                return Transitions.joined(parts)

    def raised(self) -> list[Transition]:
        """Every alarm that stands now, as its raise with ts = onset and value NaN, in order of point and rule."""
        return [self.standing(*row) for row in self.state.raised_rows().tolist()]

    def records(self, transitions: Transitions) -> Iterator[Transition]:
        """Transitions in names, in the same order."""
        keys, rules, t = self.keys, self.rules, transitions
        columns = (
            t.point.tolist(),
            t.rule.tolist(),
            t.kind.tolist(),
            t.ts.tolist(),
            t.onset.tolist(),
            t.value.tolist(),
        )
        for point, rule, kind, ts, onset, value in zip(*columns, strict=True):
            yield Transition(keys[point], rules[rule].id, KINDS[kind], ts, onset, value, rules[rule].level)

    def snapshot(self) -> bytes:
        """The whole state. `restore` of it, with the same rules and points, goes on as if nothing had happened."""
        return pack(self.rules, self.state, self.counters)

    def taken(self) -> Callable[[], bytes]:
        """The state as it is now; what is returned makes a snapshot of it, in any thread, while judging goes on."""
        return taken(self.rules, self.state, self.counters)

    @classmethod
    def restore(
        cls,
        data: bytes,
        rules: Sequence[Rule],
        points: Sequence[str] | None = None,
        registered_at: NDArray[np.int64] | None = None,
        holidays: Sequence[int] | NDArray[np.int64] | None = None,
        groups: Groups | None = None,
    ) -> Self:
        """Take a snapshot up again, perhaps under other rules and points (None: the points it was made with).

        A rule that still has its id and its parameters keeps its state on every point it still looks at. A new or a
        changed rule starts afresh there. Where a changed or removed rule, or a removed point, had an alarm standing,
        `withdrawn` has its clear (ts: the point's last reading, or the onset where that is later; value NaN), lest it
        stand for ever. The last time of a point stays its own, whatever becomes of its rules.
        Without `registered_at` that of the snapshot holds. Raises snapshot.SnapshotFault when it cannot be used.
        """
        saved: Saved = unpack(data)
        keys = saved.keys() if points is None else list(points)
        judge = cls(rules, keys, registered_at, holidays, groups)
        judge.counters = Counters(**saved.counters)
        withdrawn = carry_over(saved, judge.rules, judge.state, keep_since=registered_at is None)
        judge.counters.clears += len(withdrawn)
        judge.withdrawn = tuple(withdrawn)
        return judge

    def standing(self, point: int, rule: int, onset: int) -> Transition:
        return Transition(self.keys[point], self.rules[rule].id, "raise", onset, onset, np.nan, self.rules[rule].level)

    def _taken(self, written: int) -> Transitions:
        found = Transitions.of(self._numbers[:written], self._values[:written])
        clears = int(np.count_nonzero(found.kind))
        self.counters.clears += clears
        self.counters.raises += written - clears
        return found

    def _count(self, readings: int, counts: NDArray[np.int64]) -> None:
        c = self.counters
        c.readings += readings
        c.judged += readings - int(counts[: core.TOUCHED].sum())
        c.late += int(counts[core.LATE])
        c.duplicate += int(counts[core.DUPLICATE])
        c.unfit += int(counts[core.UNFIT])
        c.refused += int(counts[core.REFUSED])


def _checked(columns: ReadingColumns) -> Columns:
    """The columns as the loop wants them. Raises ValueError when they differ in length or cannot hold their numbers."""
    point = np.asarray(columns.point)
    if point.dtype != np.int32 and point.size:
        if point.dtype.kind not in "iu" or point.min() < -(2**31) or point.max() >= 2**31:
            raise ValueError(f"point must be int32; got {point.dtype} in {point.min()}..{point.max()}")
        point = point.astype(np.int32)
    found = Columns(
        _column("point", point, np.int32),
        _column("ts", columns.ts, np.int64),
        _column("value", columns.value, np.float64),
        _column("quality", columns.quality, np.uint8),
    )
    sizes = [found.point.size, found.ts.size, found.value.size, found.quality.size]
    if len(set(sizes)) != 1:
        raise ValueError(f"columns must be of one length; got {sizes}")
    return found


def _column(name: str, data: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """The data, copied where need be, as the one sort of array the loop is compiled for: aligned and read-only.

    Columns off the wire are read-only, and their 8-byte numbers may begin anywhere.
    """
    array = np.asarray(data)
    if array.ndim != 1 or (array.size and not np.can_cast(array.dtype, dtype, "safe")):
        raise ValueError(f"{name} must be a flat array of {np.dtype(dtype)}; got {array.dtype} of shape {array.shape}")
    view = np.require(array, dtype, ["C", "A"]).view()
    view.flags.writeable = False
    return view


def warm_up() -> None:
    """Compile (or load) the loops now, so that the first reading does not wait for it."""
    judge = Judge([], ["a"])
    judge.judge(Columns.of([0], [0], [0.0], [0]))
    judge.advance(0)
    judge.raised()
