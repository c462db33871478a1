"""What recording reads of points and alarms: thousands at once, of each only what it needs.

They become objects that hold just these fields; whatever else is asked of one of them is read then.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from zhenan.domains.monitoring.models import Alarm, Device, Point
from zhenan.domains.register.models import Subject
from zhenan.kernel.rows.among import among
from zhenan.kernel.rows.building import known
from zhenan.kernel.territory.models import Division

POINT = ("id", "measure", "unit", "device_id", "device__programme", "device__parent_id", "device__subject_id")
SUBJECT = (
    "id", "name", "address", "programme", "organisation_id", "viewers", "division_id", "division__path",
)  # fmt: skip
ALARM = (
    "id", "point_id", "device_id", "subject_id", "programme", "rule", "rule_spec", "measure", "level", "peak_level",
    "value", "onset", "raised_at", "cleared_at", "respond_by", "state", "summaries",
)  # fmt: skip


class Reader:
    """Points and alarms of one batch; a subject or device is one object wherever it is found."""

    def __init__(self) -> None:
        self._subjects: dict[int, Subject] = {}
        self._devices: dict[int, Device] = {}

    def points(self, keys: Iterable[int]) -> dict[int, Point]:
        """The points that are registered, by their keys, each with its device and subject."""
        rows = list(Point.objects.filter(pk__among=among(keys)).order_by().values_list(*POINT))
        subjects = self._read(row[6] for row in rows)
        for _pk, _measure, _unit, device, programme, parent, subject in rows:
            if device not in self._devices:
                at = {"subject": subjects[subject]}
                self._devices[device] = known(Device, at, id=device, programme=programme, parent_id=parent)
        return {
            row[0]: known(Point, {"device": self._devices[row[3]]}, id=row[0], measure=row[1], unit=row[2])
            for row in rows
        }

    def alarms(self, keys: Iterable[UUID]) -> dict[UUID, Alarm]:
        """The alarms that exist, each with its subject; locked, in the order of their keys."""
        chosen = Alarm.objects.filter(pk__among=among(keys)).order_by("pk")
        locked = list(chosen.select_for_update().values_list("pk", flat=True))
        rows = Alarm.objects.filter(pk__among=among(locked)).order_by("pk")
        read = [dict(zip(ALARM, row, strict=True)) for row in rows.values_list(*ALARM)] if locked else []
        subjects = self._read(fields["subject_id"] for fields in read)
        return {fields["id"]: known(Alarm, {"subject": subjects[fields["subject_id"]]}, **fields) for fields in read}

    def _read(self, keys: Iterable[int]) -> dict[int, Subject]:
        """The subjects read so far, these among them."""
        more = set(keys) - self._subjects.keys()
        rows = Subject.objects.filter(pk__among=among(more)).order_by().values_list(*SUBJECT) if more else ()
        for *values, path in rows:
            fields = dict(zip(SUBJECT, values, strict=False))
            division = known(Division, id=fields["division_id"], path=path)
            self._subjects[fields["id"]] = known(Subject, {"division": division}, **fields)
        return self._subjects
