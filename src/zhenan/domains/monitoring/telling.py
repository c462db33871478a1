"""What follows from alarms that began, grew graver or ended: events, notices, deadlines, commands; set by set."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.episodes import Episodes
from zhenan.domains.monitoring.models import Alarm, AlarmStage, Device, DeviceCommand
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.monitoring.recipients import Recipients
from zhenan.domains.monitoring.storms import Calling, folded
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record_many
from zhenan.kernel.notices.services import Telling, reword_many, tell_many
from zhenan.kernel.people.models import User
from zhenan.kernel.rows.among import among
from zhenan.kernel.rows.building import built
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import move_deadline, open_deadlines
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule


class Plan:
    """Who is told of what a batch changed. Made before the alarms are written: it marks those told in a summary."""

    def __init__(self, episodes: Episodes, at: datetime) -> None:
        self.concerned = [*episodes.fresh, *(stage.alarm for stage in episodes.graver)]
        if not self.concerned:
            return
        self.people = Recipients([(alarm, episodes.rule_of(alarm.rule)) for alarm in self.concerned], at)
        fresh = [Calling(alarm, self.people.of(alarm)) for alarm in sorted(episodes.fresh, key=lambda a: a.level)]
        graver = [
            Calling(s.alarm, self.people.of(s.alarm), s) for s in episodes.graver if s.alarm_id not in episodes.made
        ]
        self.singly, self.summaries = folded([*fresh, *graver], at)


def tell_of(episodes: Episodes, plan: Plan, at: datetime) -> list[int]:
    """Everything that follows from what the batch changed; ids of the commands made."""
    rows = [*_raised(episodes), *_staged(episodes), *_cleared(episodes)]
    if rows:
        record_many(rows)
    if not plan.concerned:
        return []
    tell_many([*map(_telling, plan.singly), *plan.summaries.fresh], at=at)
    reword_many(plan.summaries.grown)
    _open_deadlines(episodes.fresh, plan.people)
    for stage in (stage for stage in episodes.graver if stage.alarm_id not in episodes.made):
        _hurry(stage.alarm, stage, episodes.rule_of(stage.rule))
    return _commands(plan.concerned, episodes, at)


def _raised(episodes: Episodes) -> list[dict[str, Any]]:
    return [
        {
            "kind": "alarm.raised",
            "targets": [alarm, alarm.subject, alarm.device],
            "actor": None,
            "at": alarm.raised_at,
            "data": {"rule": made.rule, "level": made.level, "value": made.value, "measure": alarm.measure},
            **alarm.subject.place,
        }
        for alarm, made in ((alarm, episodes.made[alarm.id]) for alarm in episodes.fresh)
    ]


def _staged(episodes: Episodes) -> list[dict[str, Any]]:
    """The steps up and down of staged alarms."""
    steps = [("alarm.graver", stage, stage.level, stage.raised_at, "") for stage in episodes.graver]
    steps += [
        ("alarm.stage_withdrawn" if why else "alarm.lighter", stage, level, at, why)
        for stage, level, at, why in episodes.lighter
    ]
    return [
        {
            "kind": kind,
            "targets": [stage.alarm, stage.alarm.subject],
            "actor": None,
            "at": at,
            "data": {"rule": stage.rule, "level": level, "value": stage.value, **_because(why)},
            **stage.alarm.subject.place,
        }
        for kind, stage, level, at, why in steps
    ]


def _cleared(episodes: Episodes) -> list[dict[str, Any]]:
    return [
        {
            "kind": "alarm.withdrawn" if why else "alarm.cleared",
            "targets": [alarm, alarm.subject],
            "actor": None,
            "at": alarm.cleared_at,
            "data": {"rule": alarm.rule, **_because(why)},
            **alarm.subject.place,
        }
        for alarm, why in ((alarm, episodes.withdrawn.get(alarm.pk, "")) for alarm in episodes.cleared)
    ]


def _because(why: str) -> dict[str, str]:
    return {"withdrawn": why} if why else {}


def _telling(calling: Calling) -> Telling:
    alarm, stage = calling.alarm, calling.stage
    title = _("Alarm: {rule} at {subject}") if stage is None else _("Alarm now level {level}: {rule} at {subject}")
    return Telling(
        people=calling.people,
        key=f"alarm:{alarm.pk}:raised" if stage is None else f"alarm:{alarm.pk}:stage:{stage.pk}",
        kind="alarm.raised",
        title=title,
        body=_("{measure} {value}; respond by {respond_by}. {address}"),
        data=_words(alarm, rule_of(alarm.rule if stage is None else stage.rule)),
        url=reverse("monitoring:alarm", args=[alarm.pk]),
        target=key_of(alarm),
        level=alarm.level,
    )


def _words(alarm: Alarm, rule: AlarmRule | None) -> dict[str, Any]:
    return {
        "rule": rule.name.label("zh-hans") if rule else alarm.rule,
        "level": alarm.level,
        "subject": alarm.subject.name,
        "measure": registry().label(alarm.measure, kind="measures"),
        "value": "" if alarm.value is None else f"{alarm.value:g} {alarm.point.unit}".strip(),
        "respond_by": timezone.localtime(alarm.respond_by).strftime("%H:%M:%S"),
        "address": alarm.subject.address,
    }


def _open_deadlines(alarms: Sequence[Alarm], people: Recipients) -> None:
    rows = []
    for alarm in alarms:
        told: list[User] = people.of(alarm)
        place = alarm.subject.place
        rows.append(
            built(
                Deadline, {"owner": told[0] if told else None}, target=key_of(alarm), kind="alarm.respond",
                started_at=min(alarm.raised_at, alarm.respond_by), due_at=alarm.respond_by, **place,
            )
        )  # fmt: skip
    open_deadlines(rows)


def _hurry(alarm: Alarm, stage: AlarmStage, rule: AlarmRule | None) -> None:
    """A graver stage wants an answer sooner, where nobody has answered yet."""
    if rule is None or alarm.state != Alarm.State.RAISED:
        return
    sooner = stage.raised_at + timedelta(seconds=rule.respond_s)
    if sooner < alarm.respond_by:
        alarm.respond_by = sooner
        alarm.save(update_fields=["respond_by"])
        move_deadline(alarm, kind="alarm.respond", due_at=sooner)


def _commands(alarms: Sequence[Alarm], episodes: Episodes, at: datetime) -> list[int]:
    """The devices of the subjects that the rules tell to act (close the shut-off valve): a row each, once an alarm."""
    acts = [(alarm, act) for alarm in alarms for act in getattr(episodes.rule_of(alarm.rule), "act", ())]
    if not acts:
        return []
    wanted = Device.objects.active().filter(
        subject__among=among({alarm.subject_id for alarm, _act in acts}),
        model__in={act.model for _alarm, act in acts},
    )
    devices: dict[tuple[int, str], list[Device]] = {}
    for device in wanted.order_by("pk"):
        devices.setdefault((device.subject_id, device.model), []).append(device)
    rows = DeviceCommand.objects.filter(alarm__among=among({alarm.id for alarm, _act in acts}), asked_by=None)
    known = set(rows.values_list("alarm_id", "device_id", "command"))
    fresh: dict[Any, DeviceCommand] = {}
    for alarm, act in acts:
        model = registry().device_model(act.model)
        command = next(c for c in model.commands if c.code == act.command)  # the pack's check saw to it
        for device in devices.get((alarm.subject_id, act.model), ()):
            place = (alarm.id, device.id, act.command)
            if place not in known:
                fresh[place] = DeviceCommand(
                    alarm=alarm, device=device, command=act.command, payload=dict(command.payload), asked_at=at
                )
    made = DeviceCommand.objects.bulk_create(list(fresh.values()))
    if made:
        with connection.cursor() as cursor:  # heard at the commit
            cursor.execute("SELECT pg_notify('zhenan_commands', '')")
    return [row.pk for row in made]
