"""Alarms that rules would have given, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.results import Transitions

OPEN: Final = 2**62  # `cleared` of an alarm that stood at the end of the period


@dataclass(frozen=True, eq=False)
class Found:
    """Alarms side by side, shape (n,), by raise time, point, rule.

    `rule`: place among the rules. `point`: id of the point. Times in ms UTC; `cleared` is OPEN where it still stood.
    `value`: the reading that raised it, NaN for a silence.
    """

    rule: NDArray[np.int32]
    point: NDArray[np.int32]
    onset: NDArray[np.int64]
    raised: NDArray[np.int64]
    cleared: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.raised.size)

    def take(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Found:
        """Those of a mask or of positions."""
        return Found(
            self.rule[which], self.point[which], self.onset[which], self.raised[which], self.cleared[which],
            self.value[which],
        )  # fmt: skip

    @classmethod
    def empty(cls) -> Self:
        none = np.empty(0, np.int64)
        return cls(none.astype(np.int32), none.astype(np.int32), none, none, none, np.empty(0))

    @classmethod
    def joined(cls, parts: Sequence[Found]) -> Found:
        """All parts in one, in order."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        whole = Found(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))
        return whole.take(np.lexsort((whole.rule, whole.point, whole.raised)))

    @classmethod
    def of(cls, transitions: Transitions, points: NDArray[np.int32]) -> Found:
        """Raises with their clears. `points`: id of each of the judge's points. A clear whose raise is not among the
        transitions is left out."""
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
        rows = Found(t.rule[raises], points[t.point[raises]], t.onset[raises], t.ts[raises], cleared, t.value[raises])
        return cls.joined([rows])
