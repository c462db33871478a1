"""What becomes of the judge's transitions: an alarm each, alarms made of alarms, or one alarm that goes up and down.

A second stage sees the transitions of all points that belong together, which are therefore in one task.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.backtest.found import OPEN, Found
from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.composites import Composer, Composite
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.files import in_order
from zhenan.telemetry.judge.results import Transition, Transitions

NO_STAGE: Final = -1
_Row = tuple[int, int, int, int, int, float]


class Second(Protocol):
    """Makes alarms of what the judge said of `points` (ids, by the judge's numbers)."""

    def found(self, judge: Judge, said: Transitions, points: NDArray[np.int32]) -> Found: ...


@dataclass(frozen=True)
class Alone:
    """Each rule's alarms as they are; a rule is a version."""

    def found(self, judge: Judge, said: Transitions, points: NDArray[np.int32]) -> Found:
        return Found.of(said, points, [rule.level for rule in judge.rules])


@dataclass(frozen=True)
class Composed:
    """Only the alarms of composites, a version each, by the live judge's own composer; `subjects`: of each point.

    The table does not keep in which order readings of different points came: they are taken in order of time, as the
    judge of a file takes them.
    """

    composites: tuple[Composite, ...]
    subjects: dict[int, int]

    def found(self, judge: Judge, said: Transitions, points: NDArray[np.int32]) -> Found:
        versions = {composite.id: number for number, composite in enumerate(self.composites)}
        fed = _fed(judge, said, points, self.composites, self.subjects)
        return _paired((versions[t.rule], t) for t in fed if t.rule in versions)


def _paired(rows: Iterable[tuple[int, Transition]]) -> Found:
    """Raises with their clears, in names."""
    raised: dict[tuple[int, str, int], tuple[Transition, int]] = {}
    for version, t in rows:
        key = (version, t.point, t.onset)
        if t.kind == "raise":
            raised[key] = (t, OPEN)
        elif key in raised:
            raised[key] = (raised[key][0], t.ts)
    keys = list(raised)
    found = [(t.ts, cleared, t.value, t.level) for t, cleared in raised.values()]
    if not found:
        return Found.empty()
    ts, cleared, value, level = zip(*found, strict=True)
    return Found.made([k[0] for k in keys], [int(k[1]) for k in keys], [k[2] for k in keys], ts, cleared, value,
                      level=level)  # fmt: skip


@dataclass(frozen=True)
class Staged:
    """Rules of one family: while any of a version stands at a point it is one alarm, of the gravest level that stands.

    `version_of`: of each rule, then of each composite; NO_STAGE of a rule that is only a part of composites. As alarms
    are recorded: begun by the first stage, ended with the last; a stage that is graver than any before is a step, and
    people are told again. A composite is a stage at the point of the part that completed it. `subjects`: of each point,
    where there are composites.
    """

    version_of: tuple[int, ...]
    composites: tuple[Composite, ...] = ()
    subjects: dict[int, int] = field(default_factory=dict)

    def found(self, judge: Judge, said: Transitions, points: NDArray[np.int32]) -> Found:
        levels = [*(rule.level for rule in judge.rules), *(one.level for one in self.composites)]
        walk = _Stages(levels, self.version_of)
        for point, rule, kind, ts, onset, value in self._rows(judge, said, points):
            if self.version_of[rule] == NO_STAGE:
                continue
            if kind == core.RAISE:
                walk.raised(point, rule, ts, onset, value)
            else:
                walk.cleared(point, rule, ts, onset)
        return walk.found(points)

    def _rows(self, judge: Judge, said: Transitions, points: NDArray[np.int32]) -> Iterable[_Row]:
        """(place of the point, of the rule, kind, ts, onset, value): the judge's, each followed by the composites'."""
        if not self.composites:
            columns = (said.point, said.rule, said.kind, said.ts, said.onset, said.value)
            return zip(*(column.tolist() for column in columns), strict=True)
        rules = {one.id: n for n, one in enumerate([*judge.rules, *self.composites])}
        places = {str(point): n for n, point in enumerate(points.tolist())}
        return [
            (places[t.point], rules[t.rule], core.RAISE if t.kind == "raise" else core.CLEAR, t.ts, t.onset, t.value)
            for t in _fed(judge, said, points, self.composites, self.subjects)
        ]


def _fed(
    judge: Judge, said: Transitions, points: NDArray[np.int32], composites: Sequence[Composite],
    subjects: dict[int, int],
) -> list[Transition]:  # fmt: skip
    """The transitions in order of time, each followed by those of the composites, by the live judge's own composer."""
    composer = Composer(composites, {str(point): str(subjects[point]) for point in points.tolist()})
    return composer.feed(list(judge.records(said.at(in_order(judge, said)))))


@dataclass
class _Episode:
    version: int
    point: int
    onset: int
    raised: int
    value: float
    level: int
    steps: int = 0
    cleared: int = OPEN
    standing: set[tuple[int, int]] = field(default_factory=set)  # (rule, onset) of its stages


class _Stages:
    """The walk over transitions in the judge's order. `levels`, `version_of`: by the place of a rule."""

    def __init__(self, levels: Sequence[int], version_of: Sequence[int]) -> None:
        self.levels, self.version_of = levels, version_of
        self.all: list[_Episode] = []
        self.open: dict[tuple[int, int], _Episode] = {}

    def raised(self, point: int, rule: int, ts: int, onset: int, value: float) -> None:
        version, level = self.version_of[rule], self.levels[rule]
        episode = self.open.get((version, point))
        if episode is None:
            episode = self.open[version, point] = _Episode(version, point, onset, ts, value, level)
            self.all.append(episode)
        elif level < episode.level:
            episode.level, episode.steps = level, episode.steps + 1
            episode.value = value if not math.isnan(value) else episode.value
        episode.standing.add((rule, onset))

    def cleared(self, point: int, rule: int, ts: int, onset: int) -> None:
        key = (self.version_of[rule], point)
        episode = self.open.get(key)
        if episode is None:
            return
        episode.standing.discard((rule, onset))
        if not episode.standing:
            episode.cleared = max(ts, episode.raised)
            del self.open[key]

    def found(self, points: NDArray[np.int32]) -> Found:
        rows = self.all
        return Found.made(
            [e.version for e in rows], points[np.array([e.point for e in rows], np.int64)], [e.onset for e in rows],
            [e.raised for e in rows], [e.cleared for e in rows], [e.value for e in rows],
            level=[e.level for e in rows], steps=[min(e.steps, 255) for e in rows],
        )  # fmt: skip
