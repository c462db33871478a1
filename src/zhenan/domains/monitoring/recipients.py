"""Who is told of an alarm: the roles that its rule names, the nearest to the place; at each rung of the ladder."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone

from zhenan.domains.monitoring.models import Alarm
from zhenan.kernel.people.models import User
from zhenan.kernel.people.queries import holders_of
from zhenan.packkit.schema import AlarmRule

FALLBACK = ("town_office", "district_office", "city_office")


def of_alarm(alarm: Alarm, rule: AlarmRule | None, at: datetime) -> list[User]:
    """People to tell, the roles in the rule's order; nobody found: the town's, district's, city's office in turn."""
    found: dict[int, User] = {}
    for role in rule.tell if rule else ():
        found |= {user.pk: user for user in in_role(alarm, role, at)}
    for role in FALLBACK:
        if found:
            break
        found = {user.pk: user for user in in_role(alarm, role, at)}
    return list(found.values())


def in_role(alarm: Alarm, role: str, at: datetime) -> list[User]:
    place = alarm.subject.place
    return holders_of(
        role,
        path=place["path"],
        organisations=place["organisations"],
        programme=alarm.programme,
        day=timezone.localdate(at),
    )
