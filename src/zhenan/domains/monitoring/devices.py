"""Registering devices and taking them out of service."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from django.db import connection, transaction

from zhenan.domains.monitoring.errors import BadPassword, DeviceTaken, NoPassword
from zhenan.domains.monitoring.models import Device, Point
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import require
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import User
from zhenan.packkit.devices import Binding, bindings
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import DeviceModel

PASSWORD = re.compile(r"[0-9A-Za-z]{1,20}")  # the standard has six characters, some makers more; none may end a field


def points_for(device: Device, model: DeviceModel, channels: Iterable[str]) -> list[Point]:
    """The points of a device from its model, for the channels that it has (a model's channel may hold ``*``)."""
    return [_point(device, one) for one in bindings(model, source=device.key, channels=channels)]


def _point(device: Device, one: Binding) -> Point:
    return Point(
        device=device,
        channel=one.channel,
        measure=one.measure,
        unit=one.unit,
        scale=one.scale,
        offset=one.offset,
        bit=one.bit,
        low=None if math.isnan(one.low) else one.low,
        high=None if math.isnan(one.high) else one.high,
        states={text: float(number) for text, number in one.states} or None,
    )


def fixed_channels(model: DeviceModel) -> list[str]:
    """The channels of a model that are written out, without ``*``."""
    return [c.channel for c in model.channels if "*" not in c.channel]


def register_device(
    *,
    subject: Subject,
    model: str,
    key: str,
    name: str,
    by: User | None,
    at: datetime,
    channels: Sequence[str] | None = None,
    installed_on: date | None = None,
    replace_by: date | None = None,
    attributes: dict[str, Any] | None = None,
    parent: Device | None = None,
) -> Device:
    """Register a device with its points; the gateway takes its readings from the next moment on. Raises DeviceTaken."""
    spec = registry().device_model(model)
    with transaction.atomic():
        require(by, "device.edit", subject)
        taken = Device.objects.filter(protocol=spec.protocol, key=key).first()
        if taken:
            raise DeviceTaken(key=key, protocol=taken.get_protocol_display(), name=taken.name)
        device = Device.objects.create(
            protocol=spec.protocol, key=key, model=model, programme=model.partition(".")[0], subject=subject, name=name,
            installed_on=installed_on, replace_by=replace_by or end_of_life(spec, installed_on),
            attributes=attributes or {}, parent=parent,
        )  # fmt: skip
        Point.objects.bulk_create(points_for(device, spec, channels or fixed_channels(spec)))
        record(
            "device.registered", targets=[device, subject], actor=by, at=at, data={"name": name, "key": key},
            **subject.place,
        )  # fmt: skip
        announce_change()
    return device


def end_of_life(spec: DeviceModel, made_on: date | None) -> date | None:
    """The day by which a device of the model is to be replaced; None where the model names no life."""
    if made_on is None or spec.life_years is None:
        return None
    months = round(spec.life_years * 12)
    year, month = made_on.year + (made_on.month - 1 + months) // 12, (made_on.month - 1 + months) % 12 + 1
    return date(year, month, min(made_on.day, 28))


def announce_change() -> None:
    """Tell the gateway and the judge, at commit, that devices changed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('zhenan_devices', '')")


def set_password(device_id: int, *, password: str | None, by: User | None, at: datetime) -> Device:
    """What the frames of an HJ 212 logger must carry (PW): None the city's own, "" anything. Raises NoPassword.

    The timeline says that it was set, never what it is.
    """
    with transaction.atomic():
        device = Device.objects.select_for_update(of=("self",)).select_related("subject__division").get(pk=device_id)
        require(by, "device.edit", device)
        if device.protocol != Device.Protocol.HJ212:
            raise NoPassword(name=device.name, protocol=device.get_protocol_display())
        if password and not PASSWORD.fullmatch(password):
            raise BadPassword()
        if device.attributes.get("password") == password:
            return device
        device.attributes = {name: value for name, value in device.attributes.items() if name != "password"}
        if password is not None:
            device.attributes["password"] = password
        device.save(update_fields=["attributes", "changed_at"])
        record(
            "device.password_set", targets=[device, device.subject], actor=by, at=at, data={"name": device.name},
            **device.subject.place,
        )  # fmt: skip
        announce_change()
    return device


def retire_device(device_id: int, *, by: User | None, at: datetime) -> Device:
    """Take a device out of service; its readings go to quarantine from then on, its history stays."""
    with transaction.atomic():
        device = Device.objects.select_for_update(of=("self",)).select_related("subject__division").get(pk=device_id)
        require(by, "device.edit", device)
        if device.active:
            device.active, device.online = False, False
            device.save(update_fields=["active", "online", "changed_at"])
            record(
                "device.retired",
                targets=[device, device.subject],
                actor=by,
                at=at,
                data={"name": device.name},
                **device.subject.place,
            )
            announce_change()
    return device
