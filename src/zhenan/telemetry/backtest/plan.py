"""What is to be judged, cut into tasks of points that one worker judges in one pass over the days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.backtest.found import Found
from zhenan.telemetry.history.table import DAY_MS, History
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Transitions
from zhenan.telemetry.judge.rules import Rule

LEAD_MS: Final = DAY_MS  # judged before the period, so that what was under way at its beginning is known
MAX_DAYS: Final = 3660


class BadPlan(ValueError):
    """A period or a set of rules over which nothing can be judged; the text says what would be right."""


@dataclass(frozen=True)
class Plan:
    """Rules (ids distinct, all versions together) over `points` for since <= ts < until. `points`: ids, int32 (n,)."""

    history_url: str
    rules: tuple[Rule, ...]
    points: NDArray[np.int32]
    since_ms: int
    until_ms: int
    lead_ms: int = LEAD_MS

    def __post_init__(self) -> None:
        if not self.rules:
            raise BadPlan("no rule is given; give at least one")
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) != len(ids):
            raise BadPlan(f"rule ids must differ; got {', '.join(ids)}")
        days = (self.until_ms - self.since_ms) / DAY_MS
        if not 0 < days <= MAX_DAYS:
            raise BadPlan(f"the period must end after it begins, at most {MAX_DAYS} days later; got {days:g} days")

    @property
    def point_days(self) -> int:
        """How much there is to judge."""
        return int(self.points.size * ((self.until_ms - self.since_ms + self.lead_ms) // DAY_MS + 1))

    def tasks(self, parts: int) -> list[Task]:
        """At most `parts` tasks of neighbouring points: those of a device lie together in the table."""
        ordered = np.unique(self.points)
        if not ordered.size:
            return []
        pieces = np.array_split(ordered, min(max(parts, 1), ordered.size))
        return [Task(self, piece.astype(np.int32)) for piece in pieces]


@dataclass(frozen=True)
class Task:
    """One worker's share."""

    plan: Plan
    points: NDArray[np.int32]

    def run(self) -> Outcome:
        """Judge every day in turn; memory is bounded by one day of these points."""
        plan, points = self.plan, self.points
        judge = Judge(_for(plan.rules, points), [str(point) for point in points.tolist()])
        history = History(plan.history_url)
        parts: list[Transitions] = []
        readings = late = 0
        for start, end in _days(plan.since_ms - plan.lead_ms, plan.until_ms):
            columns, came_late = history.judged(points.tolist(), start, end)
            readings, late = readings + len(columns) + came_late, late + came_late
            if not len(columns):
                continue
            number = np.searchsorted(points, columns.point).astype(np.int32)
            parts.append(judge.judge(replace(columns, point=number)).transitions)
        parts.append(judge.advance(plan.until_ms))
        found = Found.of(Transitions.joined(parts), points)
        inside = (found.raised >= plan.since_ms) & (found.raised < plan.until_ms)
        return Outcome(found.take(inside), readings, judge.counters.judged, late)


@dataclass(frozen=True)
class Outcome:
    """What a task found; counts include the lead before the period."""

    found: Found
    readings: int
    judged: int
    late: int


def _for(rules: Sequence[Rule], points: NDArray[np.int32]) -> list[Rule]:
    """Rules that name points keep those of this task; one that names none of them is dropped from its judge only in
    effect (it looks at nobody), so that places of rules stay those of the plan."""
    here = {str(point) for point in points.tolist()}
    kept: list[Rule] = []
    for rule in rules:
        if rule.points is None:
            kept.append(rule)
        else:
            mine = [key for key in rule.points if key in here]
            kept.append(rule.model_copy(update={"points": mine or ["-"]}))
    return kept


def _days(since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """The period cut at UTC midnights, as the table is."""
    start = since_ms
    while start < until_ms:
        end = min((start // DAY_MS + 1) * DAY_MS, until_ms)
        yield start, end
        start = end
