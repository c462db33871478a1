"""Alarms of the last weeks, drawn from the packs' own rules, each with what people did about it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from zhenan.domains.monitoring.models import Alarm, Device, DeviceCommand, Point
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.models import key_of
from zhenan.kernel.people.models import User
from zhenan.kernel.people.roles import roles
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule
from zhenan.server.demo import photos
from zhenan.server.demo.contracts import Posted
from zhenan.server.demo.copying import copy_in
from zhenan.server.demo.plan import ALARM_DAYS, SOURCE, Demo, chunks, tell_all
from zhenan.telemetry.judge.ids import alarm_id

# Alarms a day for each (point, rule), by the rule's level: assumptions for a demo, not statistics.
PER_DAY = {1: 0.00015, 2: 0.0006, 3: 0.0012, 4: 0.0008}
IN_TIME_RATIO = 0.94
PHOTOGRAPHED = 150  # newest arrivals with a photo
State, Cause = Alarm.State, Alarm.Cause
FAULTS = {Cause.FAULT: 0.84, Cause.TEST: 0.11, Cause.FALSE: 0.05}
FIRES = {Cause.FALSE: 0.62, Cause.TEST: 0.14, Cause.DRILL: 0.06, Cause.REAL: 0.10, Cause.FAULT: 0.08}
OTHERS = {Cause.FALSE: 0.45, Cause.REAL: 0.32, Cause.TEST: 0.12, Cause.FAULT: 0.11}
NOTES = {
    Cause.REAL: ("现场确认属实，已排除", "已切断并通风，恢复正常后复查", "责任人已到场处置，无人员伤亡"),
    Cause.FALSE: ("油烟、水汽引发，现场无异常", "现场核查未发现异常", "施工粉尘引起，已提醒遮护"),
    Cause.TEST: ("维保单位测试，已提前告知", "联动测试，一切正常"),
    Cause.DRILL: ("单位组织演练", "社区消防演练"),
    Cause.FAULT: ("探测器故障，已报修", "供电或网络中断，已恢复", "传感器老化，列入更换计划"),
}
DRIVERS = {Cause.REAL: 0.66, Cause.FALSE: 0.26, Cause.FAULT: 0.08}
DRIVER_NOTES = {
    Cause.REAL: ("已电话提醒驾驶员，就近停车休息", "已语音提醒减速，列入当月约谈", "监控回放属实，按制度处理驾驶员"),
    Cause.FALSE: ("回放视频，未见违规", "逆光误识别", "定位漂移，实际未超速"),
    Cause.FAULT: ("终端接触不良，已返厂检修", "摄像头偏移，已校准"),
}


@dataclass(frozen=True)
class Drawn:
    """An alarm to come: which point, by which rule, since when."""

    point: Point
    rule: AlarmRule
    onset: datetime


def make(demo: Demo, people: Posted) -> tuple[int, list[Alarm]]:
    """Write the closed alarms of the last weeks; returns how many, and the true ones that call for a hazard."""
    grave: list[Alarm] = []
    count = 0
    for chunk in chunks(_drawn(demo)):
        alarms = [_alarm(demo, people, one) for one in chunk]
        copy_in(alarms)
        _command(alarms, {one.rule.code: one.rule for one in chunk})
        tell_all(event for alarm in alarms for event in _told(alarm))
        rules = {one.rule.code: one.rule for one in chunk}
        grave += [a for a in alarms if a.cause == Cause.REAL and rules[a.rule].hazard]
        count += len(alarms)
    _photograph(demo)
    return count, grave


def _drawn(demo: Demo) -> Iterator[Drawn]:
    """Which point raises what and when; the oldest first."""
    applies: dict[str, list[int]] = defaultdict(list)
    points = Point.objects.filter(device__subject__source=SOURCE, device__active=True).order_by("pk")
    for pk, measure, model in points.values_list("pk", "measure", "device__model"):
        for rule in registry().rules_for(model, measure):
            applies[rule.code].append(pk)
    rows: list[tuple[datetime, int, str]] = []
    for code, pks in sorted(applies.items()):
        rng = demo.rng("alarms", code)
        number = int(rng.poisson(len(pks) * PER_DAY[registry().alarm_rule(code).level] * ALARM_DAYS))
        for place in rng.integers(0, len(pks), number):
            seconds = int(rng.uniform(0.5, ALARM_DAYS) * 86_400)
            rows.append((demo.now - timedelta(seconds=seconds), pks[int(place)], code))
    for several in chunks(sorted(rows)):
        found = (
            Point.objects.select_related("device__subject__division")
            .defer("device__subject__division__boundary")
            .in_bulk([pk for _, pk, _ in several])
        )
        for onset, pk, code in several:
            yield Drawn(found[pk], registry().alarm_rule(code), onset.replace(microsecond=0))


def _alarm(demo: Demo, people: Posted, one: Drawn) -> Alarm:
    rule, point = one.rule, one.point
    rng = demo.rng("alarm", point.device.key, point.measure, rule.code, one.onset.isoformat())
    raised_at = one.onset + timedelta(seconds=float(rule.rule.get("for_s") or rule.rule.get("after_s") or 0))
    lasted_s = float(rng.lognormal(6.5 if rule.level <= 2 else 7.6, 0.7))
    alarm = Alarm(
        id=alarm_id(str(point.pk), rule.code, int(one.onset.timestamp() * 1000)),
        point=point,
        device=point.device,
        subject=point.device.subject,
        programme=point.device.programme,
        rule=rule.code,
        rule_spec=rule.model_dump(mode="json", include={"rule", "source", "measure", "respond_s"}),
        measure=point.measure,
        level=rule.level,
        value=value_of(rule, point, rng),
        onset=one.onset,
        raised_at=min(raised_at, demo.now - timedelta(hours=6)),
    )
    alarm.onset = min(alarm.onset, alarm.raised_at)
    alarm.respond_by = alarm.raised_at + timedelta(seconds=rule.respond_s)
    alarm.cleared_at = alarm.raised_at + timedelta(seconds=60 + round(min(lasted_s, 14_400)))
    _handle(demo, people, alarm, rule, rng)
    return alarm


def value_of(rule: AlarmRule, point: Point, rng: np.random.Generator) -> float | None:
    """A reading that raises the rule; None where the rule looks at something else than one value."""
    spec = rule.rule
    over = 1.02 + 0.35 * float(rng.random())
    if spec["kind"] == "state":
        return float(spec["in"][0])
    if spec["kind"] not in ("threshold", "band", "repeats"):
        return None
    high = spec.get("above", spec.get("high"))
    low = spec.get("below", spec.get("low"))
    value = high * over if high is not None else low / over if low is not None else None
    if value is None:
        return None
    value = min(
        max(value, -math.inf if point.low is None else point.low), math.inf if point.high is None else point.high
    )
    return round(value, 1)


def _handle(demo: Demo, people: Posted, alarm: Alarm, rule: AlarmRule, rng: np.random.Generator) -> None:
    """What was done about it, from the acknowledgement to the end."""
    subject = alarm.subject
    operator = handler(people, subject, rule, rng)
    late = rng.random() > IN_TIME_RATIO
    seconds = rule.respond_s * (1.05 + float(rng.random()) if late else min(0.95, float(rng.lognormal(-1.2, 0.6))))
    at = alarm.raised_at + timedelta(seconds=min(seconds, 43_200))
    alarm.acknowledged_at, alarm.acknowledged_by = at, operator
    driving = alarm.device.protocol == "jt808"
    alarm.cause = _drawn_from(DRIVERS, rng) if driving else _cause(rule, rng)
    worker = None if driving else next(iter(people.holders(subject, "grid_worker")), None)
    if worker and (rule.level <= 2 or alarm.cause == Cause.REAL) and alarm.cause not in (Cause.TEST, Cause.DRILL):
        alarm.assigned_to, alarm.assigned_at = worker, at + _minutes(rng, 0.5, 4)
        alarm.arrived_by, alarm.arrived_at = worker, alarm.assigned_at + _minutes(rng, 5, 26)
        at = alarm.arrived_at
    alarm.judged_at, alarm.judged_by = at + _minutes(rng, 3, 20), operator
    end = max(alarm.judged_at, alarm.cleared_at or at) + _minutes(rng, 2, 90)
    alarm.closed_at = end
    alarm.closed_by, alarm.state = operator, State.CLOSED
    alarm.note = demo.one_of(
        (DRIVER_NOTES if driving else NOTES)[Cause(alarm.cause)], "note", alarm.device.key, alarm.onset
    )
    _squeeze(alarm, min(1.0, (demo.now - _minutes(rng, 5, 90) - alarm.raised_at) / (end - alarm.raised_at)))


def _squeeze(alarm: Alarm, squeeze: float) -> None:
    """Bring the steps closer together, where the end would else come after now."""
    for name in ("cleared_at", "acknowledged_at", "assigned_at", "arrived_at", "judged_at", "closed_at"):
        moment = getattr(alarm, name)
        if moment is not None:
            setattr(alarm, name, alarm.raised_at + (moment - alarm.raised_at) * squeeze)


def handler(people: Posted, subject: Subject, rule: AlarmRule, rng: np.random.Generator) -> User | None:
    """Who answers: of the roles that the rule tells the first that may handle alarms, else the town's office."""
    told = [role for role in rule.tell if "alarm.handle" in roles()[role].capabilities]
    for role in (*told, "service_centre_operator", "town_office", "district_office"):
        several = people.holders(subject, role)
        if several:
            return several[int(rng.integers(0, len(several)))]
    return None


def _cause(rule: AlarmRule, rng: np.random.Generator) -> str:
    kind = str(rule.rule["kind"])
    chances = OTHERS
    if rule.measure == "fire_status":
        chances = FIRES
    elif kind in ("silence", "stuck") or rule.measure.endswith("_status") or rule.level == 4:
        chances = FAULTS
    return _drawn_from(chances, rng)


def _drawn_from(chances: Mapping[Alarm.Cause, float], rng: np.random.Generator) -> str:
    place = int(np.searchsorted(np.cumsum(list(chances.values())), rng.random(), side="right"))
    return str(list(chances)[min(place, len(chances) - 1)])


def _minutes(rng: np.random.Generator, least: float, most: float) -> timedelta:
    return timedelta(seconds=round(60 * float(rng.uniform(least, most))))


def _told(alarm: Alarm) -> Iterator[dict[str, Any]]:
    """The alarm's timeline."""
    raised = {"rule": alarm.rule, "level": alarm.level, "value": alarm.value, "measure": alarm.measure}
    steps: Sequence[tuple[str, datetime | None, User | None, dict[str, Any]]] = (
        ("alarm.raised", alarm.raised_at, None, raised),
        ("alarm.acknowledged", alarm.acknowledged_at, alarm.acknowledged_by, {}),
        ("alarm.assigned", alarm.assigned_at, alarm.acknowledged_by, {"person": str(alarm.assigned_to)}),
        ("alarm.arrived", alarm.arrived_at, alarm.arrived_by, {"note": "", "photos": 1, "distance_m": None}),
        ("alarm.cleared", alarm.cleared_at, None, {"rule": alarm.rule}),
        ("alarm.judged", alarm.judged_at, alarm.judged_by, {"cause": alarm.get_cause_display(), "note": alarm.note}),
        ("alarm.closed", alarm.closed_at, alarm.closed_by, {"note": alarm.note}),
    )
    place = alarm.subject.place
    for kind, at, actor, data in steps:
        if at is not None:
            targets = [alarm, alarm.subject, *([alarm.device] if kind == "alarm.raised" else [])]
            actor_id = actor.pk if actor else None
            yield {"kind": kind, "at": at, "targets": targets, "actor_id": actor_id, "data": data, **place}


def _command(alarms: Sequence[Alarm], rules: dict[str, AlarmRule]) -> None:
    """What the rules told other devices of the place to do: sent at once, confirmed seconds later."""
    acting = [a for a in alarms if rules[a.rule].act]
    devices: dict[tuple[int, str], Device] = {
        (d.subject_id, d.model): d
        for d in Device.objects.filter(subject__in={a.subject_id for a in acting}).order_by("pk")
    }
    rows = []
    for alarm in acting:
        for act in rules[alarm.rule].act:
            command = next((c for c in registry().device_model(act.model).commands if c.code == act.command), None)
            device = devices.get((alarm.subject_id, act.model))
            if device is not None and command is not None:
                sent = alarm.raised_at + timedelta(milliseconds=400)
                rows.append(
                    DeviceCommand(
                        device=device, alarm=alarm, command=act.command, payload=dict(command.payload),
                        state=DeviceCommand.State.CONFIRMED, asked_at=alarm.raised_at, sent_at=sent,
                        confirmed_at=sent + timedelta(seconds=5),
                    )
                )  # fmt: skip
    copy_in(rows)


def _photograph(demo: Demo) -> None:
    """Photos of the newest arrivals."""
    rows = Alarm.objects.filter(subject__source=SOURCE).exclude(arrived_at=None).select_related("subject")
    photos.keep(
        photos.Shot(key_of(a), "arrival", a.arrived_by_id, a.arrived_at, a.subject.lon, a.subject.lat, 0.0)
        for a in rows.order_by("-arrived_at", "point_id")[:PHOTOGRAPHED]
        if a.arrived_at
    )
