"""From the judge's transitions to alarms: idempotent, so that a replay neither loses nor doubles one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring import adoption, commands, recipients
from zhenan.domains.monitoring.models import Alarm, Device, DeviceCommand, Point, QuarantinedFrame
from zhenan.domains.monitoring.queries import rule_of
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record_many
from zhenan.kernel.notices.services import tell
from zhenan.kernel.workflow.services import open_deadline
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.results import Transition

log = structlog.get_logger("zhenan.monitoring")
QUARANTINE_KEPT = 100_000  # newest frames kept for the operator; the counts go on


@dataclass
class Recorded:
    """What a batch of transitions changed."""

    raised: list[UUID] = field(default_factory=list)
    cleared: list[UUID] = field(default_factory=list)
    unknown: int = 0  # transitions of points that are no longer registered
    commands: list[int] = field(default_factory=list)  # DeviceCommand ids, announced at the commit


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def record_transitions(transitions: Sequence[Transition], *, at: datetime) -> Recorded:
    """Write the alarms that the judge raised and cleared, with events, notices, deadlines and commands.

    One transaction. An alarm's id follows from (point, rule, onset); what is there already is left as it is.
    """
    done = Recorded()
    with transaction.atomic():
        points = _points_of(transitions)
        fresh = _raise([t for t in transitions if t.kind == "raise"], points, done)
        _tell_of(fresh, at, done)
        _clear([t for t in transitions if t.kind == "clear"], done)
    if done.unknown:
        log.warning("transitions of unknown points", count=done.unknown)
    return done


def _points_of(transitions: Sequence[Transition]) -> dict[str, Point]:
    wanted = {int(t.point) for t in transitions if t.kind == "raise"}
    found = Point.objects.select_related("device__subject__division", "device__subject__organisation")
    return {str(pk): point for pk, point in found.in_bulk(list(wanted)).items()}


def _raise(raises: list[Transition], points: dict[str, Point], done: Recorded) -> list[Alarm]:
    wanted: dict[UUID, Alarm] = {}
    for t in raises:
        point = points.get(t.point)
        if point is None:
            done.unknown += 1
            continue
        alarm = _alarm(t, point)
        wanted.setdefault(alarm.pk, alarm)
    known = set(Alarm.objects.filter(pk__in=list(wanted)).values_list("pk", flat=True))
    Alarm.objects.bulk_create(
        [alarm for pk, alarm in wanted.items() if pk not in known], ignore_conflicts=True, batch_size=2000
    )
    fresh = [alarm for pk, alarm in wanted.items() if pk not in known]
    done.raised += [alarm.pk for alarm in fresh]
    return fresh


def _alarm(t: Transition, point: Point) -> Alarm:
    rule = rule_of(t.rule)
    raised_at = moment(t.ts)
    return Alarm(
        id=alarm_id(t.point, t.rule, t.onset),
        point=point,
        device=point.device,
        subject=point.device.subject,
        programme=point.device.programme,
        rule=t.rule,
        rule_spec=rule.model_dump(mode="json", include={"rule", "source", "measure", "respond_s"}) if rule else {},
        measure=point.measure,
        level=t.level,
        value=None if math.isnan(t.value) else t.value,
        onset=moment(t.onset),
        raised_at=raised_at,
        respond_by=raised_at + timedelta(seconds=rule.respond_s if rule else 600),
    )


def _tell_of(alarms: list[Alarm], at: datetime, done: Recorded) -> None:
    rows = [
        {
            "kind": "alarm.raised",
            "targets": [alarm, alarm.subject, alarm.device],
            "actor": None,
            "at": alarm.raised_at,
            "data": {"rule": alarm.rule, "level": alarm.level, "value": alarm.value, "measure": alarm.measure},
            **alarm.subject.place,
        }
        for alarm in alarms
    ]
    if rows:
        record_many(rows)
    for alarm in alarms:
        rule = rule_of(alarm.rule)
        people = recipients.of_alarm(alarm, rule, at)
        tell(
            people,
            key=f"alarm:{alarm.pk}:raised",
            kind="alarm.raised",
            title=_("Alarm: {rule} at {subject}"),
            body=_("{measure} {value}; respond by {respond_by}. {address}"),
            data=_words(alarm, rule),
            url=reverse("monitoring:alarm", args=[alarm.pk]),
            target=key_of(alarm),
            level=alarm.level,
            at=at,
        )
        open_deadline(
            alarm, kind="alarm.respond", due_at=alarm.respond_by, at=min(alarm.raised_at, alarm.respond_by),
            owner=people[0] if people else None, **alarm.subject.place,
        )  # fmt: skip
        done.commands += _commands(alarm, rule, at)


def _words(alarm: Alarm, rule: AlarmRule | None) -> dict[str, Any]:
    return {
        "rule": rule.name.label("zh-hans") if rule else alarm.rule,
        "subject": alarm.subject.name,
        "measure": registry().label(alarm.measure, kind="measures"),
        "value": "" if alarm.value is None else f"{alarm.value:g} {alarm.point.unit}".strip(),
        "respond_by": timezone.localtime(alarm.respond_by).strftime("%H:%M:%S"),
        "address": alarm.subject.address,
    }


def _commands(alarm: Alarm, rule: AlarmRule | None, at: datetime) -> list[int]:
    """The devices of the subject that the rule tells to act (close the shut-off valve): one row each, once an alarm."""
    made = []
    for act in rule.act if rule else ():
        model = registry().device_model(act.model)
        command = next(c for c in model.commands if c.code == act.command)  # the pack's check saw to it
        for device in Device.objects.active().filter(subject=alarm.subject, model=act.model):
            row, fresh = DeviceCommand.objects.get_or_create(
                alarm=alarm, device=device, command=act.command, asked_by=None,
                defaults={"payload": dict(command.payload), "asked_at": at},
            )  # fmt: skip
            if fresh:
                made.append(row.pk)
    if made:
        with connection.cursor() as cursor:  # heard at the commit
            cursor.execute("SELECT pg_notify('zhenan_commands', '')")
    return made


def _clear(clears: list[Transition], done: Recorded) -> None:
    ends = {alarm_id(t.point, t.rule, t.onset): moment(t.ts) for t in clears}
    waiting = Alarm.objects.filter(pk__in=list(ends), cleared_at=None).select_related("subject__division")
    alarms = list(waiting.select_for_update(of=("self",)).order_by("pk"))
    for alarm in alarms:
        alarm.cleared_at = ends[alarm.pk]
    Alarm.objects.bulk_update(alarms, ["cleared_at"], batch_size=2000)
    done.cleared += [alarm.pk for alarm in alarms]
    rows = [
        {
            "kind": "alarm.cleared",
            "targets": [alarm, alarm.subject],
            "actor": None,
            "at": alarm.cleared_at,
            "data": {"rule": alarm.rule},
            **alarm.subject.place,
        }
        for alarm in alarms
    ]
    if rows:
        record_many(rows)


def store_quarantined(frames: Iterable[QuarantinedFrame]) -> int:
    """Keep frames that could not be taken, for the operator. Writing one again changes nothing; the oldest go first."""
    rows = list(frames)
    with transaction.atomic():
        QuarantinedFrame.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)
        adoption.meet(rows)
    newest = max((row.sequence for row in rows), default=0)
    if newest % 1000 < len(rows):  # now and then, not at every batch
        kept = QuarantinedFrame.objects.order_by("-sequence").values_list("sequence", flat=True)
        edge = kept[QUARANTINE_KEPT : QUARANTINE_KEPT + 1].first()
        if edge is not None:
            QuarantinedFrame.objects.filter(sequence__lte=edge).delete()
    return len(rows)


def mark_seen(seen: dict[int, tuple[datetime, float]]) -> int:
    """Points that reported: id → (time, value). Moves last values and sets devices online. Returns how many came."""
    points = list(Point.objects.filter(pk__in=list(seen)).only("pk", "device_id", "last_at"))
    moved = []
    devices: dict[int, datetime] = {}
    for point in points:
        when, value = seen[point.pk]
        devices[point.device_id] = max(when, devices.get(point.device_id, when))
        if point.last_at is None or when >= point.last_at:
            point.last_at, point.last_value = when, value
            moved.append(point)
    Point.objects.bulk_update(moved, ["last_at", "last_value"], batch_size=2000)
    rows = list(Device.objects.filter(pk__in=list(devices)).only("pk", "last_seen_at", "online"))
    for device in rows:
        device.last_seen_at = max(filter(None, (device.last_seen_at, devices[device.pk])))
    come = sum(not device.online for device in rows)
    for device in rows:
        device.online = True
    Device.objects.bulk_update(rows, ["last_seen_at", "online"], batch_size=2000)
    commands.confirm([point.pk for point in moved])
    return come


def mark_offline(*, at: datetime) -> int:
    """Devices silent for longer than their model's ``offline_after_s``: marked offline. Returns how many."""
    gone = 0
    for model in registry().device_models():
        if model.offline_after_s:
            edge = at - timedelta(seconds=model.offline_after_s)
            gone += Device.objects.filter(model=model.code, online=True, last_seen_at__lt=edge).update(online=False)
    return gone
