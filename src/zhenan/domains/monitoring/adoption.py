"""Devices that reported before anyone registered them: met, adopted, ignored, forgotten; what they said is taken
then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef

from zhenan.domains.monitoring.devices import points_for, register_device
from zhenan.domains.monitoring.errors import AlreadyDecided, NoChannels, WhyMissing, WrongModel
from zhenan.domains.monitoring.models import Device, QuarantinedFrame, UnknownDevice
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import require
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import User
from zhenan.packkit.devices import channel_of
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import DeviceModel
from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.gateway.mapping import compiled

State = UnknownDevice.State
Frame = QuarantinedFrame.State
UNKNOWN = "unknown_device"
LOOKED_AT = 200  # newest frames of a device that say which channels it has
LATE = timedelta(minutes=10)  # frames refused by a gateway that had not yet heard of the adoption


# met


def meet(frames: Iterable[QuarantinedFrame]) -> None:
    """Keep account of who sent frames of unknown devices. A frame met before counts for nothing."""
    by_device: dict[tuple[str, str], list[QuarantinedFrame]] = {}
    for frame in frames:
        if frame.reason == UNKNOWN and frame.device_key and frame.protocol in Device.Protocol.values:
            by_device.setdefault((frame.protocol, frame.device_key), []).append(frame)
    for protocol, key in sorted(by_device):  # in one order, lest two writers wait for each other
        rows = sorted(by_device[protocol, key], key=lambda row: row.sequence)
        row, _ = UnknownDevice.objects.select_for_update().get_or_create(
            protocol=protocol, key=key, defaults={"first_at": rows[0].received_at, "last_at": rows[0].received_at}
        )
        fresh = [one for one in rows if one.sequence > row.last_sequence]
        if not fresh:
            continue
        row.frames += len(fresh)
        row.peer = fresh[-1].peer or row.peer
        row.first_at = min(row.first_at, *(one.received_at for one in fresh))
        row.last_at = max(row.last_at, *(one.received_at for one in fresh))
        row.last_sequence = fresh[-1].sequence
        row.channels = list(dict.fromkeys([*row.channels, *(c for one in fresh for c in channels_of(one))]))
        row.channels = row.channels[: UnknownDevice.CHANNELS]
        row.save()


def channels_in(decoded: Any) -> list[str]:
    """The channels that a kept frame's readings carry."""
    readings = decoded.get("readings") if isinstance(decoded, dict) else None
    found = [one.get("channel") for one in readings if isinstance(one, dict)] if isinstance(readings, list) else []
    return [channel for channel in found if isinstance(channel, str) and 0 < len(channel) <= 80]


def channels_of(frame: QuarantinedFrame) -> list[str]:
    """The channels that a frame reports, also those that only a model with a payload shape of its own can find."""
    found = channels_in(frame.decoded)
    if frame.protocol == Device.Protocol.MQTT_JSON:
        for model in registry().device_models():
            if model.layout:
                with contextlib.suppress(CodecError):
                    payload = compiled(model.layout).decode(bytes(frame.raw), 0)
                    found += [reading.channel for reading in payload.readings]
    return found


def suggested(unknown: UnknownDevice) -> DeviceModel | None:
    """The model of its protocol that knows most of its channels; None when none knows any."""
    best: tuple[float, DeviceModel] | None = None
    for model in registry().device_models():
        if model.protocol != unknown.protocol:
            continue
        known = sum(channel_of(model, channel) is not None for channel in unknown.channels)
        score = known - len(model.channels) / 1000  # of two that know as much, the one with less besides
        if known and (best is None or score > best[0]):
            best = (score, model)
    return best[1] if best else None


# decided


def adopt(
    unknown_id: int, *, model: str, subject: Subject, by: User | None, at: datetime, name: str = ""
) -> Device:  # fmt: skip
    """Register an unknown device at a subject; the gateway takes what its kept frames say.

    The device has the model's points for the channels that it was heard to report, or all of the model's own. Raises
    WrongModel, NoChannels, DeviceTaken, AlreadyDecided, NotAllowed; then nothing has changed.
    """
    spec = registry().device_model(model)
    with transaction.atomic():
        unknown = UnknownDevice.objects.select_for_update().get(pk=unknown_id)
        if unknown.state == State.ADOPTED:
            raise AlreadyDecided(key=unknown.key)
        if spec.protocol != unknown.protocol:
            raise WrongModel(model=model, protocol=spec.protocol, came=unknown.protocol)
        channels = [channel for channel in unknown.channels if channel_of(spec, channel)]
        if not channels and not points_for(Device(key=unknown.key), spec, _fixed(spec)):
            raise NoChannels(key=unknown.key, model=spec.name.label(by.language if by else "zh-hans"))
        device = register_device(
            subject=subject,
            model=model,
            key=unknown.key,
            name=name or f"{spec.name.label(by.language if by else 'zh-hans')} {unknown.key[-6:]}",
            by=by,
            at=at,
            channels=channels or None,
        )
        unknown.state, unknown.device, unknown.reason = State.ADOPTED, device, ""
        unknown.decided_by, unknown.decided_at = by, at
        unknown.save()
        _frames(unknown).filter(state=Frame.KEPT).update(state=Frame.DUE)
    return device


def _fixed(spec: DeviceModel) -> list[str]:
    return [c.channel for c in spec.channels if "*" not in c.channel and "[" not in c.channel]


def ignore(unknown_id: int, *, reason: str, by: User, at: datetime) -> UnknownDevice:
    """Nobody wants to hear of it again; what it sends is still kept aside. Raises WhyMissing, AlreadyDecided."""
    return _decide(unknown_id, State.IGNORED, reason, by=by, at=at)


def reconsider(unknown_id: int, *, by: User, at: datetime) -> UnknownDevice:
    """An ignored device waits for a decision again."""
    return _decide(unknown_id, State.WAITING, "", by=by, at=at)


def _decide(unknown_id: int, state: UnknownDevice.State, reason: str, *, by: User, at: datetime) -> UnknownDevice:
    with transaction.atomic():
        require(by, "device.edit")
        unknown = UnknownDevice.objects.select_for_update().get(pk=unknown_id)
        if unknown.state == State.ADOPTED:
            raise AlreadyDecided(key=unknown.key)
        if state == State.IGNORED and not reason.strip():
            raise WhyMissing()
        unknown.state, unknown.reason, unknown.decided_by, unknown.decided_at = state, reason.strip(), by, at
        unknown.save(update_fields=["state", "reason", "decided_by", "decided_at"])
        kind = "device.ignored" if state == State.IGNORED else "device.reconsidered"
        record(kind, targets=[unknown], actor=by, at=at, data={"key": unknown.key, "reason": unknown.reason})
    return unknown


def forget(unknown_id: int, *, reason: str, by: User, at: datetime) -> None:
    """Delete it and its kept frames; if it reports again it is met again. Raises WhyMissing, AlreadyDecided."""
    with transaction.atomic():
        unknown = _decide(unknown_id, State.IGNORED, reason, by=by, at=at)
        _frames(unknown).delete()
        unknown.delete()


def _frames(unknown: UnknownDevice) -> Any:
    return QuarantinedFrame.objects.filter(protocol=unknown.protocol, device_key=unknown.key, reason=UNKNOWN)


def frames_of(unknown: UnknownDevice, *, limit: int = LOOKED_AT) -> list[QuarantinedFrame]:
    """Its newest kept frames."""
    return list(_frames(unknown).order_by("-sequence")[:limit])


# taken


@dataclass(frozen=True)
class Due:
    """A frame that the gateway is to take now that its device is registered."""

    sequence: int
    protocol: str
    device_key: str
    raw: bytes
    received_ms: int


def frames_due(at: datetime, *, limit: int = 500) -> list[Due]:
    """Frames of adopted devices that nobody has taken yet, the oldest first."""
    registered = Device.objects.active().filter(
        protocol=OuterRef("protocol"), key=OuterRef("device_key"), created_at__gte=at - timedelta(days=1)
    )
    late = QuarantinedFrame.objects.filter(reason=UNKNOWN, state=Frame.KEPT, received_at__gte=at - LATE)
    late.filter(Exists(registered)).update(state=Frame.DUE)
    rows = QuarantinedFrame.objects.filter(state=Frame.DUE).order_by("sequence")[:limit]
    return [
        Due(row.sequence, row.protocol, row.device_key, bytes(row.raw), int(row.received_at.timestamp() * 1000))
        for row in rows
    ]


def frames_taken(taken: Sequence[int], useless: Sequence[int]) -> None:
    """What the gateway says became of frames that were due: in the log, or without anything to take."""
    QuarantinedFrame.objects.filter(pk__in=list(taken), state=Frame.DUE).update(state=Frame.TAKEN)
    QuarantinedFrame.objects.filter(pk__in=list(useless), state=Frame.DUE).update(state=Frame.USELESS)
