"""What every step of the demo city shares: seed, scale, the moment, its draws and its ways of writing many rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from django.utils import timezone

from zhenan.kernel.events import kinds
from zhenan.kernel.events.models import Event, key_of
from zhenan.kernel.workflow.ladders import LADDERS
from zhenan.kernel.workflow.models import Deadline, DeadlineStep
from zhenan.packkit.roads import Within, everywhere
from zhenan.packkit.simulate import SimulationContext, Town, seed_of
from zhenan.server.demo.copying import copy_in

SOURCE = "demo"  # Subject.source of every demo subject
PREFIX = "demo-"  # Organisation.code of every demo organisation begins so
HISTORY_DAYS = 120
ALARM_DAYS = 30
CHUNK = 2000
T = TypeVar("T")


@dataclass(frozen=True)
class Demo:
    """One demo city. ``scale`` 1.0 is the real city; ``now`` is the moment at which its history ends."""

    seed: int
    scale: float
    now: datetime
    say: Callable[[str], None]

    @property
    def as_of(self) -> date:
        return timezone.localdate(self.now)

    def rng(self, *words: str) -> np.random.Generator:
        """A generator of its own for each use, so that one part's draws do not shift another's."""
        return np.random.default_rng([self.seed, *(seed_of(word) & 0xFFFFFFFF for word in words)])

    def chance(self, *words: object) -> float:
        """A number in [0, 1) that depends on the seed and the words alone; cheaper than ``rng``."""
        mixed = seed_of(f"{self.seed}/" + "/".join(map(str, words)))
        return ((mixed * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF) >> 11) / float(1 << 53)

    def one_of(self, several: Sequence[T], *words: object) -> T:
        return several[int(self.chance(*words) * len(several))]

    def simulation(self, towns: Sequence[Town], within: Within = everywhere) -> SimulationContext:
        return SimulationContext(self.seed, self.scale, towns, self.as_of, within)

    def day_time(self, days_ago: int, *words: object, first: float = 8.5, last: float = 17.5) -> datetime:
        """A moment of working hours so many days ago; a day earlier where that is less than an hour before now."""
        hour = first + (last - first) * self.chance("hour", *words)
        midnight = datetime.combine(self.as_of - timedelta(days=days_ago), time.min)
        at = timezone.make_aware(midnight, timezone.get_default_timezone()) + timedelta(seconds=round(hour * 3600))
        return at if at <= self.now - timedelta(hours=1) else at - timedelta(days=1)


def chunks(rows: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The rows, so many at a time."""
    waiting = iter(rows)
    while chunk := list(islice(waiting, size)):
        yield chunk


def tell_all(rows: Iterable[dict[str, Any]]) -> int:
    """Write events of the past, with the fields of ``events.record``; open pages are not woken for history."""
    count = 0
    for chunk in chunks(rows):
        unknown = {row["kind"] for row in chunk} - set(kinds.REGISTERED)
        if unknown:
            raise ValueError(f"event kinds {sorted(unknown)} are not registered")
        copy_in([_event(row) for row in chunk])
        count += len(chunk)
    return count


def _event(row: dict[str, Any]) -> Event:
    return Event(
        kind=row["kind"],
        at=row["at"],
        actor_id=row.get("actor_id"),
        targets=[t if isinstance(t, str) else key_of(t) for t in row["targets"]],
        path=row["path"],
        organisations=row["organisations"],
        programme=row["programme"],
        data=row.get("data") or {},
    )


def keep_deadlines(deadlines: Iterable[Deadline], now: datetime) -> int:
    """Write open deadlines as they stand at ``now``: steps that have passed are reached, the next one is planned."""
    count = 0
    for chunk in chunks(deadlines):
        passed: list[tuple[Deadline, datetime, str]] = []
        for deadline in chunk:
            plan = LADDERS[deadline.kind].steps(deadline.started_at, deadline.due_at)
            passed += [(deadline, at, step) for at, step in plan if at <= now]
            coming = [(at, step) for at, step in plan if at > now]
            deadline.next_step_at, deadline.next_step = coming[0] if coming else (None, "")
        copy_in(chunk)
        copy_in(
            [
                DeadlineStep(deadline=deadline, step=step, planned_at=at, reached_at=at,
                             told=[deadline.owner.username] if deadline.owner else [])
                for deadline, at, step in passed
            ]
        )  # fmt: skip
        count += len(chunk)
    return count
