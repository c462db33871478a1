"""What people do about alarms. Page, API, command and consumer call the same functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards import services as hazards
from zhenan.domains.monitoring import recipients
from zhenan.domains.monitoring.errors import (
    CauseMissing,
    NotAssignable,
    NoteMissing,
    NotYours,
    StillRaised,
    UnknownCause,
    WrongState,
)
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.monitoring.recording import Recorded, record_transitions, release_held
from zhenan.domains.monitoring.sightings import mark_offline, mark_seen, store_quarantined
from zhenan.kernel.access import require
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record
from zhenan.kernel.evidence.services import store
from zhenan.kernel.notices.services import tell
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow.services import close_deadline
from zhenan.packkit import hazard_words
from zhenan.packkit.registry import registry

__all__ = [
    "Recorded", "acknowledge", "arrive", "assign", "close", "judge_cause", "mark_offline", "mark_seen", "raise_hazard",
    "record_transitions", "release_held", "responders", "store_quarantined",
]  # fmt: skip
State, Cause = Alarm.State, Alarm.Cause
# What is possible in which state. A cause may be judged again until the alarm is closed.
POSSIBLE: dict[str, tuple[str, ...]] = {
    "acknowledge": (State.RAISED,),
    "assign": (State.RAISED, State.ACKNOWLEDGED, State.ASSIGNED),
    "arrive": (State.ASSIGNED, State.ACKNOWLEDGED),
    "judge_cause": (State.ACKNOWLEDGED, State.ASSIGNED, State.ARRIVED, State.JUDGED),
    "raise_hazard": (State.ACKNOWLEDGED, State.ASSIGNED, State.ARRIVED, State.JUDGED),
    "close": (State.JUDGED,),
}
NAMES = {
    "acknowledge": _("to acknowledge"),
    "assign": _("to send someone"),
    "arrive": _("to report arrival"),
    "judge_cause": _("to judge the cause"),
    "raise_hazard": _("to turn it into a hazard"),
    "close": _("to close"),
}


def _locked(alarm_id: UUID, *, action: str, by: User | None, capability: str) -> Alarm:
    alarm = (
        Alarm.objects.select_for_update(of=("self",))
        .select_related("subject__division", "device", "point")
        .get(pk=alarm_id)
    )
    require(by, capability, alarm)
    if alarm.state not in POSSIBLE[action]:
        allowed = ", ".join(str(State(state).label) for state in POSSIBLE[action])
        raise WrongState(state=alarm.get_state_display(), action=NAMES[action], allowed=allowed)
    return alarm


def _event(alarm: Alarm, kind: str, *, by: User | None, at: datetime, data: dict[str, Any] | None = None) -> None:
    record(kind, targets=[alarm, alarm.subject], actor=by, at=at, data=data, **alarm.subject.place)


def acknowledge(alarm_id: UUID, *, by: User, at: datetime) -> Alarm:
    """Someone has seen the alarm and answers for it. Ends the response deadline. Raises WrongState, NotAllowed."""
    with transaction.atomic():
        alarm = _locked(alarm_id, action="acknowledge", by=by, capability="alarm.handle")
        alarm.state, alarm.acknowledged_at, alarm.acknowledged_by = State.ACKNOWLEDGED, at, by
        alarm.save(update_fields=["state", "acknowledged_at", "acknowledged_by"])
        close_deadline(alarm, kind="alarm.respond", at=at)
        _event(alarm, "alarm.acknowledged", by=by, at=at)
    return alarm


def responders(alarm: Alarm, *, at: datetime) -> list[User]:
    """Who can be sent: the grid worker, the town office, the site's own people; the nearest first."""
    found: dict[int, User] = {}
    for role in ("grid_worker", "enterprise_safety", "enterprise_head", "town_office"):
        found |= {user.pk: user for user in recipients.in_role(alarm, role, at)}
    return list(found.values())


def assign(alarm_id: UUID, *, to: User, by: User, at: datetime) -> Alarm:
    """Send a person to the place; acknowledges the alarm where nobody has. Raises NotAssignable, WrongState."""
    with transaction.atomic():
        alarm = _locked(alarm_id, action="assign", by=by, capability="alarm.handle")
        if not Alarm.objects.visible_to(to, "alarm.arrive").filter(pk=alarm.pk).exists():
            raise NotAssignable(person=to)
        if alarm.state == State.RAISED:
            alarm.acknowledged_at, alarm.acknowledged_by = at, by
            close_deadline(alarm, kind="alarm.respond", at=at)
        alarm.state, alarm.assigned_to, alarm.assigned_at = State.ASSIGNED, to, at
        alarm.save(update_fields=["state", "assigned_to", "assigned_at", "acknowledged_at", "acknowledged_by"])
        _event(alarm, "alarm.assigned", by=by, at=at, data={"person": str(to)})
        rule = rule_of(alarm.rule)
        tell(
            [to],
            key=f"alarm:{alarm.pk}:assigned:{to.pk}:{at:%Y%m%d%H%M%S}",
            kind="alarm.assigned",
            title=_("Go to {subject}: {rule}"),
            body=_("{address}"),
            data={
                "subject": alarm.subject.name,
                "rule": rule.name.label(to.language) if rule else alarm.rule,
                "address": alarm.subject.address,
            },
            url=reverse("monitoring:alarm", args=[alarm.pk]),
            target=key_of(alarm),
            level=alarm.level,
            at=at,
        )
    return alarm


def arrive(
    alarm_id: UUID,
    *,
    by: User,
    at: datetime,
    photos: Sequence[UploadedFile] = (),
    lon: float | None = None,
    lat: float | None = None,
    note: str = "",
) -> Alarm:
    """The person sent is on the scene; photos with time and place prove it. Raises NotYours, WrongState, UnfitFile."""
    with transaction.atomic():
        alarm = _locked(alarm_id, action="arrive", by=by, capability="alarm.arrive")
        if alarm.assigned_to_id not in (None, by.pk):
            raise NotYours(person=alarm.assigned_to)
        subject = alarm.subject
        near = (subject.lon, subject.lat) if subject.lon is not None and subject.lat is not None else None
        kept = [
            store(photo, target=alarm, purpose="arrival", actor=by, at=at, taken_at=at, lon=lon, lat=lat, near=near)
            for photo in photos
        ]
        alarm.state, alarm.arrived_at, alarm.arrived_by = State.ARRIVED, at, by
        alarm.save(update_fields=["state", "arrived_at", "arrived_by"])
        distance = kept[0].distance_m if kept else None
        _event(
            alarm, "alarm.arrived", by=by, at=at,
            data={"note": note, "photos": len(kept), "distance_m": None if distance is None else round(distance)},
        )  # fmt: skip
    return alarm


def judge_cause(alarm_id: UUID, *, cause: str, by: User, at: datetime, note: str = "") -> Alarm:
    """What it was: true, false, test or device fault. Everything but a true alarm needs a note."""
    with transaction.atomic():
        capability = "alarm.handle" if by.can("alarm.handle") else "alarm.arrive"
        alarm = _locked(alarm_id, action="judge_cause", by=by, capability=capability)
        if cause not in Cause.values:
            raise UnknownCause(cause=cause, allowed=", ".join(str(label) for label in Cause.labels))
        if cause != Cause.REAL and not note.strip():
            raise NoteMissing(why=_("what made you judge it so"))
        alarm.state, alarm.cause, alarm.judged_at, alarm.judged_by = State.JUDGED, cause, at, by
        alarm.note = note.strip() or alarm.note
        alarm.save(update_fields=["state", "cause", "judged_at", "judged_by", "note"])
        _event(alarm, "alarm.judged", by=by, at=at, data={"cause": str(Cause(cause).label), "note": note})
    return alarm


def raise_hazard(alarm_id: UUID, *, by: User, at: datetime, title: str = "", description: str = "") -> Alarm:
    """Open a hazard from the alarm; a second call finds the one that is there."""
    with transaction.atomic():
        alarm = _locked(alarm_id, action="raise_hazard", by=by, capability="hazard.report")
        words = hazard_words.of_alarm(alarm.rule)
        hazard = hazards.report_hazard(
            subject=alarm.subject,
            source="alarm",
            source_key=key_of(alarm),
            title=title or words["title"],
            description=description,
            # No criterion code: which one was broken is judged at the place; two alarms need not be one hazard.
            criterion_text=words["criterion_text"],
            legal_basis=words["legal_basis"],
            by=by,
            at=at,
        )
        if alarm.hazard_id != hazard.pk:
            alarm.hazard = hazard
            alarm.save(update_fields=["hazard"])  # the hazard's own event stands on the alarm's timeline too
    return alarm


def close(alarm_id: UUID, *, by: User, at: datetime, note: str = "") -> Alarm:
    """Close an alarm whose cause is judged. A true alarm closes only after the readings went back to normal."""
    with transaction.atomic():
        alarm = _locked(alarm_id, action="close", by=by, capability="alarm.handle")
        if not alarm.cause:
            raise CauseMissing()
        if alarm.cause == Cause.REAL and alarm.cleared_at is None:
            raise StillRaised(value=f"{registry().label(alarm.measure, kind='measures')} {alarm.point.last_value}")
        if alarm.cause == Cause.REAL and alarm.hazard_id is None and not (note.strip() or alarm.note):
            raise NoteMissing(why=_("a true alarm is closed without a hazard"))
        alarm.state, alarm.closed_at, alarm.closed_by = State.CLOSED, at, by
        alarm.note = note.strip() or alarm.note
        alarm.save(update_fields=["state", "closed_at", "closed_by", "note"])
        close_deadline(alarm, kind="alarm.respond", at=at)
        _event(alarm, "alarm.closed", by=by, at=at, data={"note": note})
    return alarm
