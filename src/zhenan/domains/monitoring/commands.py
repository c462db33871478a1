"""Commands to devices: rows written with the alarm, sent after the commit, confirmed by the device's own reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from zhenan.domains.monitoring.models import DeviceCommand, Point
from zhenan.kernel.events.services import record
from zhenan.packkit.registry import registry

State = DeviceCommand.State
AGAIN = timedelta(seconds=10)  # sent and not confirmed: sent again
GIVE_UP = timedelta(minutes=5)


@dataclass(frozen=True)
class Outgoing:
    """A command to publish to ``d/{key}/down/cmd/{id}``."""

    id: int
    key: str
    payload: dict[str, Any]


def due_commands(at: datetime, *, limit: int = 500) -> list[Outgoing]:
    """Commands to send now: never sent, or sent a while ago and not confirmed by the device."""
    wanted = Q(state=State.WAITING) | Q(state=State.SENT, sent_at__lt=at - AGAIN)
    rows = DeviceCommand.objects.filter(wanted).select_related("device").order_by("pk")[:limit]
    return [Outgoing(row.pk, row.device.key, row.payload) for row in rows]


def mark_sent(ids: Iterable[int], *, at: datetime) -> None:
    """They are with the broker. The first time it stands on the timelines of the alarm and the device."""
    with transaction.atomic():
        rows = DeviceCommand.objects.select_for_update(of=("self",)).filter(pk__in=list(ids))
        for row in rows.select_related("device__subject__division", "alarm"):
            first = row.state == State.WAITING
            row.state = State.FAILED if at - row.asked_at > GIVE_UP else State.SENT
            row.error = "the device never confirmed" if row.state == State.FAILED else ""
            row.sent_at = at
            row.save(update_fields=["state", "error", "sent_at"])
            if first:
                subject = row.device.subject
                targets = [target for target in (row.alarm, row.device, subject) if target is not None]
                label = f"{row.device.name} · {command_word(row)}"
                record("device.command", targets=targets, actor=None, at=at, data={"command": label}, **subject.place)


def command_word(row: DeviceCommand, language: str = "zh-hans") -> str:
    """The command's name as its device's model gives it."""
    model = registry().device_model(row.device.model)
    return next((c.name.label(language) for c in model.commands if c.code == row.command), row.command)


def confirm(points: Iterable[int]) -> int:
    """Commands whose device now reports what it was told: confirmed. Returns how many."""
    rows = DeviceCommand.objects.filter(
        state__in=(State.WAITING, State.SENT), device__points__in=list(points)
    ).distinct()
    done = []
    for row in rows.select_related("device").prefetch_related("device__points"):
        if all(_reports(point, row) for point in row.device.points.all() if point.channel in row.payload):
            row.state, row.confirmed_at = State.CONFIRMED, timezone.now()
            done.append(row)
    DeviceCommand.objects.bulk_update(done, ["state", "confirmed_at"])
    return len(done)


def _reports(point: Point, row: DeviceCommand) -> bool:
    told = row.payload[point.channel]
    wanted = (point.states or {}).get(str(told), told)
    return point.last_at is not None and point.last_at >= row.asked_at and point.last_value == wanted
