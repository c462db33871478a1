"""What other rooms and processes ask of monitoring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Count, Max, Q, QuerySet
from django.db.models.functions import Coalesce
from numpy.typing import NDArray

from zhenan.domains.monitoring.models import Alarm, Device, Point
from zhenan.kernel.people.models import User
from zhenan.packkit.judging import compiled
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.judge.rules import Rule

PARTITIONS = 64


@dataclass(frozen=True)
class PointRow:
    """How the gateway turns a raw value on a device's channel into a reading of a point."""

    protocol: str
    device_key: str
    device_id: int
    channel: str
    point_id: int
    scale: float
    offset: float
    bit: int | None
    low: float | None
    high: float | None
    states: dict[str, float] | None
    layout: str = ""  # of a JSON payload in a shape of the model's own

    @property
    def partition(self) -> int:
        return self.device_id % PARTITIONS


def rule_of(code: str) -> AlarmRule | None:
    """The alarm rule as it stands today, or None where no pack declares it any more."""
    try:
        return registry().alarm_rule(code)
    except UnknownCode:
        return None


def devices_stamp() -> str:
    """Changes whenever a device or its points changed."""
    seen = Device.objects.aggregate(last=Max("changed_at"), count=Count("pk"))
    return f"{seen['count']}:{seen['last'].isoformat() if seen['last'] else ''}"


def gateway_points() -> Iterator[PointRow]:
    """Every point of every active device, under the identity and id of the device on whose connection it comes."""
    fields = (
        "device__protocol",
        "wire_key",
        "wire_id",
        "channel",
        "id",
        "scale",
        "offset",
        "bit",
        "low",
        "high",
        "states",
        "device__model",
    )
    layouts = {model.code: model.layout for model in registry().device_models() if model.layout}
    rows = (
        Point.objects.filter(device__active=True)
        .annotate(
            wire_key=Coalesce("device__parent__key", "device__key"), wire_id=Coalesce("device__parent_id", "device_id")
        )
        .order_by("wire_id", "id")
        .values_list(*fields)
    )
    for row in rows.iterator(chunk_size=20_000):
        yield PointRow(*(*row[:-1], layouts.get(row[-1], "")))


@dataclass(frozen=True)
class JudgeSetup:
    """What the live judge judges by. A point's key is its id as text; ``registered_at`` is int64 ms, one a point."""

    stamp: str
    rules: tuple[Rule, ...]
    points: list[str]
    registered_at: NDArray[np.int64]


def judge_stamp() -> str:
    return f"{registry().stamp}|{devices_stamp()}"


def judge_setup() -> JudgeSetup:
    """Rules of all packs with the points they apply to, and the points of all active devices."""
    stamp, book = judge_stamp(), registry()
    rows = list(
        Point.objects.filter(device__active=True)
        .order_by("id")
        .values_list("id", "measure", "device__model", "device__created_at")
    )
    applies: dict[str, list[str]] = {}
    for point, measure, model, _created in rows:
        for rule in book.rules_for(model, measure):
            applies.setdefault(rule.code, []).append(str(point))
    written = [
        {"id": code, "level": book.alarm_rule(code).level, "points": points, **book.alarm_rule(code).rule}
        for code, points in applies.items()
    ]
    return JudgeSetup(
        stamp=stamp,
        rules=compiled(written) if written else (),
        points=[str(row[0]) for row in rows],
        registered_at=np.array([int(row[3].timestamp() * 1000) for row in rows], dtype=np.int64),
    )


def alarms_of(subject: Any, *, limit: int = 20) -> list[Alarm]:
    """The newest alarms of a subject."""
    return list(Alarm.objects.filter(subject=subject).select_related("device", "assigned_to")[:limit])


def devices_of(subject: Any) -> list[Device]:
    return list(Device.objects.filter(subject=subject).prefetch_related("points").order_by("name"))


def open_alarms(user: User) -> QuerySet[Alarm]:
    """The user's open alarms, the gravest and newest first."""
    return Alarm.objects.visible_to(user).open().order_by("level", "-raised_at")


def alarm_counts(user: User, at: datetime) -> dict[str, int]:
    """Open alarms that the user may see: all, unacknowledged, past their response time, of level 1 and 2."""
    return Alarm.objects.visible_to(user).aggregate(
        open=Count("pk", filter=~Q(state=Alarm.State.CLOSED)),
        raised=Count("pk", filter=Q(state=Alarm.State.RAISED)),
        late=Count("pk", filter=Q(state=Alarm.State.RAISED, respond_by__lt=at)),
        grave=Count("pk", filter=~Q(state=Alarm.State.CLOSED) & Q(level__lte=2)),
    )
