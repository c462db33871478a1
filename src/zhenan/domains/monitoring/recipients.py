"""Who is told of an alarm: the roles that its rule names, the nearest to the place; at each rung of the ladder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone

from zhenan.domains.monitoring.models import Alarm
from zhenan.kernel.people.models import User
from zhenan.kernel.people.queries import Holders, holders_of
from zhenan.packkit.schema import AlarmRule

FALLBACK = ("town_office", "district_office", "city_office")


class Recipients:
    """Whom to tell of each of many alarms: one query for all. `roles`: further ones that will be asked for."""

    def __init__(
        self, alarms: Sequence[tuple[Alarm, AlarmRule | None]], at: datetime, *, roles: Iterable[str] = ()
    ) -> None:
        self._places = {alarm.id: alarm.subject.place for alarm, _rule in alarms}
        self._roles = {alarm.id: tuple(rule.tell) if rule else () for alarm, rule in alarms}
        self._holders = Holders(
            {*FALLBACK, *roles, *(role for names in set(self._roles.values()) for role in names)},
            places=[(place["path"], place["organisations"]) for place in self._places.values()],
            day=timezone.localdate(at),
        )
        self._found: dict[tuple[Any, ...], tuple[list[User], list[tuple[User, str]]]] = {}

    def of(self, alarm: Alarm) -> list[User]:
        """People to tell, the roles in the order of the rule; nobody found: the town, district, city office in turn."""
        return self._look(alarm)[0]

    def by_role(self, alarm: Alarm) -> list[tuple[User, str]]:
        """The same people, each with the role for which he or she is told."""
        return self._look(alarm)[1]

    def _look(self, alarm: Alarm) -> tuple[list[User], list[tuple[User, str]]]:
        """Looked for once a place and rule."""
        place = self._places[alarm.id]
        key = (self._roles[alarm.id], place["path"], tuple(place["organisations"]), alarm.programme)
        if key not in self._found:
            found = self._nearest(alarm)
            self._found[key] = [user for user, _role in found], found
        return self._found[key]

    def _nearest(self, alarm: Alarm) -> list[tuple[User, str]]:
        found: dict[int, tuple[User, str]] = {}
        for role in self._roles[alarm.id]:
            found |= {user.pk: (user, role) for user in self.in_role(alarm, role) if user.pk not in found}
        for role in FALLBACK:
            if found:
                break
            found = {user.pk: (user, role) for user in self.in_role(alarm, role)}
        return list(found.values())

    def in_role(self, alarm: Alarm, role: str) -> list[User]:
        """Holders of one role: of those that rules name, or of `roles`."""
        place = self._places[alarm.id]
        return self._holders.of(
            role, path=place["path"], organisations=place["organisations"], programme=alarm.programme
        )


def in_role(alarm: Alarm, role: str, at: datetime) -> list[User]:
    place = alarm.subject.place
    return holders_of(
        role,
        path=place["path"],
        organisations=place["organisations"],
        programme=alarm.programme,
        day=timezone.localdate(at),
    )
