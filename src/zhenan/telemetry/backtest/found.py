"""Alarms that rules and fences would have given, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.results import Transitions

OPEN: Final = 2**62  # `cleared` of an alarm that stood at the end of the period
RULE: Final = 0  # kinds: an alarm of a rule; what happened at a fence:
ENTER: Final = 1
DWELL: Final = 2
SPEED: Final = 3
NOTED: Final = 4  # an entry that the fence notes without an alarm
_TYPES: Final = ("i4", "i4", "i8", "i8", "i8", "f8", "u1", "u1", "u1", "f8", "f8")


@dataclass(frozen=True, eq=False)
class Found:
    """Alarms side by side, shape (n,), by raise time, point, rule.

    `rule`: place among the versions that are compared. `point`: id of the point; at a fence of the vehicle. Times in
    ms UTC; `cleared` is OPEN where it still stood. `value`: the reading that raised it, NaN for a silence; km/h of an
    entry and of speeding, seconds of a stay. `level`: the gravest it reached; `steps`: how often it became graver.
    `lat`, `lon`: where the vehicle was, degrees; NaN for points.
    """

    rule: NDArray[np.int32]
    point: NDArray[np.int32]
    onset: NDArray[np.int64]
    raised: NDArray[np.int64]
    cleared: NDArray[np.int64]
    value: NDArray[np.float64]
    level: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    steps: NDArray[np.uint8]
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.raised.size)

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Found:
        """Those of a mask or of positions."""
        return Found(*(getattr(self, each.name)[which] for each in fields(self)))

    def within(self, since_ms: int, until_ms: int) -> Found:
        """Those raised in a period."""
        return self.take((self.raised >= since_ms) & (self.raised < until_ms))

    @classmethod
    def made(
        cls, rule: Any, point: Any, onset: Any, raised: Any, cleared: Any, value: Any, *, level: Any, kind: Any = RULE,
        steps: Any = 0, lat: Any = np.nan, lon: Any = np.nan,
    ) -> Self:  # fmt: skip
        """From sequences or arrays of one length, the last ones perhaps one number for all, in order."""
        columns = (rule, point, onset, raised, cleared, value, level, kind, steps, lat, lon)
        typed = [np.asarray(column, kind_of) for column, kind_of in zip(columns, _TYPES, strict=True)]
        size = typed[0].size
        found = cls(*(np.broadcast_to(column, size) for column in typed))
        return found.take(np.lexsort((found.rule, found.point, found.raised)))  # type: ignore[return-value]

    @classmethod
    def empty(cls) -> Self:
        return cls.made(*((),) * 6, level=())

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """All parts in one, in order."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        whole = Found(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))
        return whole.take(np.lexsort((whole.rule, whole.point, whole.raised)))

    @classmethod
    def of(cls, transitions: Transitions, points: NDArray[np.int32], levels: Sequence[int]) -> Found:
        """Raises with their clears. `points`: id of each of the judge's points; `levels`: of each rule. A clear whose
        raise is not among the transitions is left out."""
        order = np.lexsort((transitions.kind, transitions.onset, transitions.rule, transitions.point))
        t = transitions.at(order)
        raises = np.flatnonzero(t.kind == core.RAISE)
        after = np.minimum(raises + 1, max(len(t) - 1, 0))
        same = (
            (after > raises)
            & (t.kind[after] != core.RAISE)
            & (t.point[after] == t.point[raises])
            & (t.rule[after] == t.rule[raises])
            & (t.onset[after] == t.onset[raises])
        )
        cleared = np.where(same, t.ts[after], OPEN)
        level = np.array(levels, np.uint8)[t.rule[raises]]
        return cls.made(
            t.rule[raises], points[t.point[raises]], t.onset[raises], t.ts[raises], cleared, t.value[raises],
            level=level,
        )  # fmt: skip
