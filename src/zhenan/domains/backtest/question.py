"""What is asked: something in one or two versions, over which points or vehicles and which time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import QuerySet
from django.utils import timezone
from numpy.typing import NDArray

from zhenan.domains.backtest.errors import BadPeriod, NoPoints
from zhenan.domains.monitoring.queries import Recorded
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.backtest.fences import FencePlan
from zhenan.telemetry.backtest.found import Found
from zhenan.telemetry.backtest.plan import MAX_DAYS, Plan

STANDING, CHANGED = "standing", "changed"
VERSIONS = (STANDING, CHANGED)


def check_period(since: datetime, until: datetime, now: datetime) -> None:
    """Raises BadPeriod."""
    if not since < until <= now or (until - since).days > MAX_DAYS:
        shown = [timezone.localtime(moment).strftime("%Y-%m-%d %H:%M") for moment in (since, until)]
        raise BadPeriod(days=MAX_DAYS, since=shown[0], until=shown[1])


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@dataclass(frozen=True)
class Places:
    """What is judged, shape (n,) each, by point: ids of point, device, subject. Of a vehicle, point is the device."""

    point: NDArray[np.int64]
    device: NDArray[np.int64]
    subject: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.point.size)

    @classmethod
    def of(cls, rows: Sequence[tuple[int, int, int]]) -> Places:
        """From (point, device, subject), each point once."""
        table = np.array(sorted(set(rows)), np.int64).reshape(-1, 3)
        return cls(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())

    def subjects_of(self, points: NDArray[Any]) -> NDArray[np.int64]:
        return self.subject[np.searchsorted(self.point, points)]


@dataclass
class Question(ABC):
    """One thing to try. ``code``, ``standing``, ``changed`` and the rest are as in Trial.

    ``changed`` is {} where nothing is changed: then there is one version alone. ``remarks``: what the plan found out
    about the records that the answer rests on, by its place in the summary.
    """

    code: str
    standing: dict[str, Any]
    changed: dict[str, Any] = field(default_factory=dict)
    standing_as: str = ""
    changed_as: str = ""
    fence_id: int | None = None
    remarks: dict[str, Any] = field(default_factory=dict)

    @property
    def versions(self) -> int:
        return 2 if self.changed else 1

    @abstractmethod
    def rows(self, *, user: User | None, path: str) -> list[QuerySet[Any, tuple[int, int, int]]]:
        """(point, device, subject) of all it judges, within what the user may see (None: everything) and below a
        division."""

    def anywhere(self, *, user: User | None, path: str) -> bool:
        """Whether there is anything to judge."""
        return any(rows.exists() for rows in self.rows(user=user, path=path))

    def places(self, *, user: User | None, path: str) -> Places:
        """Where it is judged. Raises NoPoints."""
        found = Places.of([row for rows in self.rows(user=user, path=path) for row in rows])
        if not len(found):
            raise self.nowhere()
        return found

    def nowhere(self) -> DomainError:
        """What to say where there is nothing to judge."""
        return NoPoints()

    @abstractmethod
    def plan(self, where: Places, since: datetime, until: datetime) -> Plan | FencePlan:
        """All versions in one pass; ``rule`` of what is found is the place in VERSIONS."""

    @abstractmethod
    def recorded(self, *, since: datetime, until: datetime, user: User | None, path: str) -> Recorded:
        """Alarms that were, by raise time within what ``key_of_recorded`` tells apart."""

    def key(self, found: Found, where: Places) -> NDArray[np.int64]:
        """What an alarm must share with another to be the same one, besides its time: the point."""
        return found.point.astype(np.int64)

    def key_of_recorded(self, recorded: Recorded) -> NDArray[np.int64]:
        """The same of alarms that were."""
        return recorded.point

    def silences(self, version: int, level: NDArray[Any]) -> NDArray[np.bool_]:
        """Which alarms of these levels, shape (n,), say that a device is silent, in the version at this place."""
        return np.zeros(level.size, np.bool_)

    def rule_at(self, level: int) -> AlarmRule | None:
        """The rule that says who is told of an alarm of this level; None: the office of the place."""
        return None
