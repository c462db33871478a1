"""What goes into the judge and what comes out: columns, never an object a reading."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns

__all__ = [
    "KINDS", "WITHDRAWN", "Columns", "Counters", "JudgeResult", "Part", "ReadingColumns", "Transition", "Transitions",
]  # fmt: skip

KINDS = ("raise", "clear")
# Why an alarm ends by no reading: its point is registered no more; its rule is gone from the point, or changed; the
# judge has it standing no more; another of the same rule stands at the point.
WITHDRAWN = ("point", "rule", "over", "superseded")


class ReadingColumns(Protocol):
    """Readings side by side, each array of shape (n,): point int32, ts int64 ms UTC, value float64, quality uint8."""

    @property
    def point(self) -> NDArray[Any]: ...
    @property
    def ts(self) -> NDArray[Any]: ...
    @property
    def value(self) -> NDArray[Any]: ...
    @property
    def quality(self) -> NDArray[Any]: ...


class Part(NamedTuple):
    """One of the alarms that a composite is made of."""

    rule: str
    point: str
    onset: int


class Transition(NamedTuple):
    """One alarm raised or cleared, in names. `value` is NaN for a silence raise and for a clear without a reading.

    `parts`: of a composite's raise, the alarms that made it. `why`: of a clear by no reading, one of WITHDRAWN.
    """

    point: str
    rule: str
    kind: str
    ts: int
    onset: int
    value: float
    level: int
    parts: tuple[Part, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Transitions:
    """Transitions side by side, shape (n,), in the order found. `rule`: place among the rules as they were given."""

    point: NDArray[np.int32]
    rule: NDArray[np.int32]
    kind: NDArray[np.uint8]  # core.RAISE or core.CLEAR
    ts: NDArray[np.int64]
    onset: NDArray[np.int64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.ts.size)

    def at(self, places: NDArray[np.int64]) -> "Transitions":
        """Those at the given places, in that order."""
        t = self
        return Transitions(
            t.point[places], t.rule[places], t.kind[places], t.ts[places], t.onset[places], t.value[places]
        )

    @classmethod
    def of(cls, numbers: NDArray[np.int64], value: NDArray[np.float64]) -> Self:
        """From the output of the loop: numbers (n, 5), value (n,). Copies, so the loop may write over them."""
        return cls(
            numbers[:, 0].astype(np.int32),
            numbers[:, 1].astype(np.int32),
            numbers[:, 2].astype(np.uint8),
            numbers[:, 3].copy(),
            numbers[:, 4].copy(),
            value.copy(),
        )

    @classmethod
    def joined(cls, parts: Sequence["Transitions"]) -> "Transitions":
        """The parts one after the other."""
        if len(parts) == 1:
            return parts[0]
        names = ("point", "rule", "kind", "ts", "onset", "value")
        parts = parts or [cls.of(np.empty((0, 5), np.int64), np.empty(0))]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class JudgeResult:
    """`verdicts` uint8, one for each reading: core.JUDGED, LATE, DUPLICATE, UNFIT or REFUSED."""

    verdicts: NDArray[np.uint8]
    transitions: Transitions


@dataclass
class Counters:
    """What a judge has done since it began, over snapshots too.

    readings = judged + late + duplicate + unfit + refused; a reading both late (or duplicate) and unfit counts as late.
    """

    readings: int = 0
    judged: int = 0
    late: int = 0
    duplicate: int = 0
    unfit: int = 0
    refused: int = 0
    raises: int = 0
    clears: int = 0
