"""What is to be judged, cut into tasks of points that one worker judges in one pass over the days."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.backtest.alarms import Alone, Second
from zhenan.telemetry.backtest.found import Found
from zhenan.telemetry.history.table import DAY_MS, History
from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Transitions
from zhenan.telemetry.judge.rules import Rule

LEAD_MS: Final = DAY_MS  # judged before the period, so that what was under way at its beginning is known
MOST_LEAD_MS: Final = 90 * DAY_MS
MAX_DAYS: Final = 3660
_SPANS: Final = ("for_s", "clear_for_s", "window_s", "after_s", "within_s")


class BadPlan(ValueError):
    """A period or a set of rules over which nothing can be judged; the text says what would be right."""


def check_span(since_ms: int, until_ms: int) -> None:
    """Raises BadPlan for a period that is none, or too long."""
    days = (until_ms - since_ms) / DAY_MS
    if not 0 < days <= MAX_DAYS:
        raise BadPlan(f"the period must end after it begins, at most {MAX_DAYS} days later; got {days:g} days")


def lead_of(rules: Sequence[Rule | Composite]) -> int:
    """How long before the period judging must begin: a day, and the longest time that a rule waits or looks back."""
    spans = [getattr(rule, name, None) or 0.0 for rule in rules for name in _SPANS]
    return min(LEAD_MS + round(max(spans, default=0.0) * 1000), MOST_LEAD_MS)


def cut(groups: NDArray[np.int64], parts: int) -> list[NDArray[np.int64]]:
    """Places cut into at most `parts` runs of neighbours, those of one group together."""
    distinct, number = np.unique(groups, return_inverse=True)
    if not distinct.size:
        return []
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(distinct.size))
    firsts = [int(piece[0]) for piece in np.array_split(np.arange(distinct.size), min(max(parts, 1), distinct.size))]
    return np.split(order, starts[firsts[1:]])


@dataclass(frozen=True, eq=False)
class Plan:
    """Rules (ids distinct, all versions together) over `points` for since <= ts < until.

    `points`: ids, int32 (n,). `together`: int64 (n,), points of one number are judged by one worker; None: any may be
    apart. `second`: what makes alarms of the rules' transitions. `holidays`: days since 1970-01-01, for rules with
    windows.
    """

    history_url: str
    rules: tuple[Rule, ...]
    points: NDArray[np.int32]
    since_ms: int
    until_ms: int
    lead_ms: int = LEAD_MS
    together: NDArray[np.int64] | None = None
    second: Second = field(default_factory=Alone)
    holidays: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not self.rules:
            raise BadPlan("no rule is given; give at least one")
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) != len(ids):
            raise BadPlan(f"rule ids must differ; got {', '.join(ids)}")
        check_span(self.since_ms, self.until_ms)

    @property
    def days_of_work(self) -> int:
        """How much there is to judge: points times days."""
        return self.points.size * days_between(self.since_ms - self.lead_ms, self.until_ms)

    def tasks(self, parts: int) -> list[Task]:
        """At most `parts` tasks of neighbouring points: those of a device lie together in the table."""
        ordered, first = np.unique(self.points, return_index=True)
        together = ordered.astype(np.int64) if self.together is None else self.together[first]
        return [Task(self, np.sort(ordered[piece]).astype(np.int32)) for piece in cut(together, parts)]


@dataclass(frozen=True, eq=False)
class Task:
    """One worker's share."""

    plan: Plan
    points: NDArray[np.int32]

    def run(self) -> Outcome:
        """Judge every day in turn; memory is bounded by one day of these points."""
        plan, points = self.plan, self.points
        judge = Judge(_for(plan.rules, points), [str(point) for point in points.tolist()], holidays=plan.holidays)
        history = History(plan.history_url)
        parts: list[Transitions] = []
        readings = late = 0
        for start, end in days_of(plan.since_ms - plan.lead_ms, plan.until_ms):
            columns, came_late = history.judged(points.tolist(), start, end)
            readings, late = readings + len(columns) + came_late, late + came_late
            if not len(columns):
                continue
            number = np.searchsorted(points, columns.point).astype(np.int32)
            parts.append(judge.judge(replace(columns, point=number)).transitions)
        parts.append(judge.advance(plan.until_ms))
        found = plan.second.found(judge, Transitions.joined(parts), points)
        return Outcome(found.within(plan.since_ms, plan.until_ms), readings, judge.counters.judged, late)


@dataclass(frozen=True)
class Outcome:
    """What a task found; counts (readings, or positions) include the lead before the period."""

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


def days_between(since_ms: int, until_ms: int) -> int:
    """Days begun in a period, at least one: the measure of work."""
    return (until_ms - since_ms) // DAY_MS + 1


def days_of(since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """The period cut at UTC midnights, as the tables are."""
    start = since_ms
    while start < until_ms:
        end = min((start // DAY_MS + 1) * DAY_MS, until_ms)
        yield start, end
        start = end
