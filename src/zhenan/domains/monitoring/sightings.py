"""What the readings say of devices: seen, offline; and the frames that could not be taken."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction

from zhenan.domains.monitoring import adoption, commands
from zhenan.domains.monitoring.models import Device, Point, QuarantinedFrame
from zhenan.packkit.registry import registry

QUARANTINE_KEPT = 100_000  # newest frames kept for the operator; the counts go on


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
