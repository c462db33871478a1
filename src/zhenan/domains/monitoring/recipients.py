"""Who is told of an alarm: the roles that its rule names, the nearest to the place; at each rung of the ladder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

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
        self._roles = {alarm.pk: tuple(rule.tell) if rule else () for alarm, rule in alarms}
        self._holders = Holders(
            {*FALLBACK, *roles, *(role for names in self._roles.values() for role in names)},
            places=[(alarm.subject.place["path"], alarm.subject.place["organisations"]) for alarm, _rule in alarms],
            day=timezone.localdate(at),
        )
        self._found: dict[UUID, list[tuple[User, str]]] = {}

    def of(self, alarm: Alarm) -> list[User]:
        """People to tell, the roles in the order of the rule; nobody found: the town, district, city office in turn."""
        return [user for user, _role in self.by_role(alarm)]

    def by_role(self, alarm: Alarm) -> list[tuple[User, str]]:
        """The same people, each with the role for which he or she is told."""
        if alarm.pk not in self._found:
            self._found[alarm.pk] = self._look(alarm)
        return self._found[alarm.pk]

    def _look(self, alarm: Alarm) -> list[tuple[User, str]]:
        found: dict[int, tuple[User, str]] = {}
        for role in self._roles[alarm.pk]:
            found |= {user.pk: (user, role) for user in self.in_role(alarm, role) if user.pk not in found}
        for role in FALLBACK:
            if found:
                break
            found = {user.pk: (user, role) for user in self.in_role(alarm, role)}
        return list(found.values())

    def in_role(self, alarm: Alarm, role: str) -> list[User]:
        """Holders of one role: of those that rules name, or of `roles`."""
        place = alarm.subject.place
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
