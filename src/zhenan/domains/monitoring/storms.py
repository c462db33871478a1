"""A storm: many alarms for one person within a minute become one summary with a count and a list. So do many that were
not answered in time.

Each alarm stays a row with its own deadline; what is folded is the telling. An alarm counts against those at least as
grave: a grave one is told by itself in the midst of a storm of light ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.limits import STORM_SPAN, TOLD_SINGLY
from zhenan.domains.monitoring.models import Alarm, AlarmStage, StormSummary
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.notices.services import Telling
from zhenan.kernel.people.models import User
from zhenan.kernel.rows.among import among
from zhenan.kernel.workflow.models import DeadlineStep


@dataclass(frozen=True)
class Storm:
    """What is folded: notices of `kind`; the summaries' keys and words."""

    kind: str
    prefix: str
    summary_kind: str
    title: Any
    body: Any


RAISED = Storm(
    "alarm.raised", "alarms:storm", "alarm.storm",
    _("{count} more alarms within a minute, the gravest of level {level}"),
    _("They came too fast to be told one by one. Each has its own response time: open the list."),
)  # fmt: skip
LATE = Storm(
    "deadline.alarm.respond", "alarms:late", "deadline.alarm.storm",
    _("{count} more alarms were not answered in time"),
    _("Too many to be told one by one. Each is past its own response time: open the list."),
)  # fmt: skip
LATE_LEVEL = 2  # what nobody answered in time is told as no lighter than this


@dataclass
class Calling:
    """An alarm that people are to be told of; of a staged one, the stage that made it graver. `late`: the step of its
    deadline, where nobody answered it in time."""

    alarm: Alarm
    people: Sequence[User]
    stage: AlarmStage | None = None
    late: DeadlineStep | None = None

    @property
    def level(self) -> int:
        return self.alarm.level if self.late is None else min(self.alarm.level, LATE_LEVEL)

    @property
    def summaries(self) -> list[str]:
        """Where the keys of the summaries go that tell of it."""
        return self.alarm.summaries if self.late is None else self.late.summaries


@dataclass
class Summaries:
    """``fresh``: notices to tell; ``grown``: notices told before whose count grew."""

    fresh: list[Telling]
    grown: list[Telling]


def folded(callings: Sequence[Calling], at: datetime, storm: Storm = RAISED) -> tuple[list[Calling], Summaries]:
    """The callings with the people that are told singly, and the summaries for the others. In a transaction.

    Writes the counts of the summaries, and puts on each calling the keys of those it is in (for ``Alarm.summaries``
    and ``DeadlineStep.summaries``).
    """
    told = _told(callings, at, storm)
    minute = int(at.timestamp()) // 60
    singly: list[Calling] = []
    more: dict[int, tuple[User, list[int]]] = {}
    for calling in callings:
        level, people = calling.level, []
        for person in calling.people:
            levels = told.setdefault(person.pk, [0] * 5)
            if sum(levels[: level + 1]) < TOLD_SINGLY:
                people.append(person)
                levels[level] += 1
            else:
                more.setdefault(person.pk, (person, []))[1].append(level)
                calling.summaries.append(_key(storm, person, minute))
        if people:
            singly.append(replace(calling, people=people))
    return singly, _summaries(list(more.values()), minute, storm)


def _told(callings: Sequence[Calling], at: datetime, storm: Storm) -> dict[int, list[int]]:
    """How many alarms of each level (1-4) each person was told of singly within the span before."""
    people = {person.pk for calling in callings for person in calling.people}
    rows = Notice.objects.filter(
        recipient__among=among(people), kind=storm.kind, created_at__gt=at - STORM_SPAN, created_at__lte=at
    )
    told: dict[int, list[int]] = {}
    for person, level, count in rows.values_list("recipient_id", "level").annotate(n=Count("pk")).order_by():
        told.setdefault(person, [0] * 5)[level] += count
    return told


def _key(storm: Storm, person: User, minute: int) -> str:
    return f"{storm.prefix}:{person.pk}:{minute}"


def _summaries(more: Sequence[tuple[User, list[int]]], minute: int, storm: Storm) -> Summaries:
    """Count up, and put the counts into words."""
    if not more:
        return Summaries([], [])
    people = {_key(storm, person, minute): person for person, _levels in more}
    table = StormSummary._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} AS s (key, recipient_id, count, level)"  # noqa: S608
            " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::int[], %s::int[]) ORDER BY 1"
            " ON CONFLICT (key) DO UPDATE SET count = s.count + EXCLUDED.count, level = LEAST(s.level, EXCLUDED.level)"
            " RETURNING key, count, level, xmax = 0",
            [
                list(people),
                [person.pk for person, _levels in more],
                [len(levels) for _person, levels in more],
                [min(levels) for _person, levels in more],
            ],
        )
        rows = cursor.fetchall()
    found = Summaries([], [])
    for key, count, level, fresh in rows:
        telling = Telling(
            people=[people[key]],
            key=key,
            kind=storm.summary_kind,
            title=storm.title,
            body=storm.body,
            data={"count": count, "level": level},
            url=f"{reverse('monitoring:alarms')}?summary={key}",
            level=level,
        )
        (found.fresh if fresh else found.grown).append(telling)
    return found
