"""Alarms that nobody answered in time: who is told, and then who above them; set by set, in a storm by summaries.

At the end of the response time those are told who were told of the alarm; at each rung the holders of its role.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, UUIDField
from django.db.models.functions import Cast, Substr
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.monitoring.recipients import Recipients
from zhenan.domains.monitoring.storms import LATE, Calling, folded
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record_many
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.notices.services import Telling, reword_many, tell_many
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow.ladders import Ladder
from zhenan.kernel.workflow.models import DeadlineStep
from zhenan.packkit.registry import registry

# A response time that passed without an answer climbs: no number in law, the city's own (CONFIG).
RUNGS = (
    (timedelta(minutes=5), "town_office"),
    (timedelta(minutes=15), "district_office"),
    (timedelta(hours=1), "city_office"),
)
TARGET = "monitoring.alarm:"
NAMED = 5  # people whose names stand on the timeline


def tell_all(steps: Sequence[DeadlineStep], at: datetime) -> None:
    """Tell of many steps, the gravest alarms first; a number of statements that does not grow with them."""
    keys = {step.deadline.target.removeprefix(TARGET) for step in steps}
    rows = Alarm.objects.filter(pk__in=keys).select_related("subject__division")
    alarms = {key_of(alarm): alarm for alarm in rows}
    found = Recipients(
        [(alarm, rule_of(alarm.rule)) for alarm in alarms.values()], at, roles=[role for _after, role in RUNGS]
    )
    callings = []
    for step in steps:
        alarm = alarms.get(step.deadline.target)
        if alarm is not None:
            people = found.of(alarm) if step.step.isdigit() else found.in_role(alarm, step.step)
            step.told = [person.username for person in people]
            callings.append(Calling(alarm, people, late=step))
    callings.sort(key=lambda calling: calling.alarm.level)
    singly, summaries = folded(callings, at, LATE)
    tell_many([*map(_telling, singly), *summaries.fresh], at=at)
    reword_many(summaries.grown)
    record_many([_event(calling, at) for calling in callings])


def _telling(calling: Calling) -> Telling:
    alarm, step = calling.alarm, calling.late
    assert step is not None  # noqa: S101
    return Telling(
        people=calling.people,
        key=f"deadline:{step.deadline_id}:{step.step}:{step.planned_at:%Y%m%d%H%M%S}",
        kind=LATE.kind,
        title=_("Alarm not answered in time"),
        body="{rule} · {subject}",
        data={"rule": registry().label(alarm.rule, "zh-hans", kind="alarm_rule"), "subject": alarm.subject.name},
        url=reverse("monitoring:alarm", args=[alarm.pk]),
        target=key_of(alarm),
        level=calling.level,
    )


def _event(calling: Calling, at: datetime) -> dict[str, Any]:
    return {
        "kind": "alarm.escalated",
        "targets": [calling.alarm],
        "actor": None,
        "at": at,
        "data": {"people": _names(calling.people)},
        **calling.alarm.subject.place,
    }


def _names(people: Sequence[User]) -> str:
    names = "、".join(str(person) for person in people[:NAMED])
    return f"{names} …" if len(people) > NAMED else names or "–"


def told_in(key: str) -> Q:
    """The alarms that a summary of late ones tells of."""
    steps = DeadlineStep.objects.filter(~Q(summaries=[]), summaries__contains=[key])
    number = Cast(Substr("deadline__target", len(TARGET) + 1), UUIDField())
    return Q(pk__in=steps.annotate(alarm=number).values("alarm"))


def told_of(alarm: Alarm) -> QuerySet[Notice]:
    """Who was told of an alarm and when: of its beginning and of its being late, singly or in a summary."""
    keys = [*alarm.summaries]
    for late in DeadlineStep.objects.filter(deadline__target=key_of(alarm)).values_list("summaries", flat=True):
        keys += late
    people = {int(key.split(":")[2]) for key in keys}  # by them the index finds the keys
    told = Notice.objects.filter(Q(target=key_of(alarm)) | Q(recipient__in=people, key__in=keys))
    return told.select_related("recipient").order_by("created_at", "pk")


LADDER = Ladder("alarm.respond", reminders=(100,), rungs=RUNGS, tell_all=tell_all)
