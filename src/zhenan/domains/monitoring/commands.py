"""Commands to devices: rows written first, sent after the commit, and moved on by what is heard of them, each step
once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import get_language, override

from zhenan.domains.monitoring.command_words import COMMANDS
from zhenan.domains.monitoring.errors import AlreadyAsked, BadArgument, NotPossible, OutOfService
from zhenan.domains.monitoring.models import Alarm, Device, DeviceCommand, Point
from zhenan.kernel.access import require
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.telemetry.codecs import commands as wire
from zhenan.telemetry.gateway.downlink import Told, patience_of

State = DeviceCommand.State
MQTT = "mqtt_json"
AGAIN = (10, 10, 20, 30, 60)  # over MQTT: seconds until what is sent and not confirmed is looked at again
GIVE_UP = timedelta(minutes=5)  # what a rule orders is worth nothing after this
KEPT = timedelta(hours=1)  # what a person orders waits so long for a device that is away
MARGIN = timedelta(seconds=35)  # a gateway has told the end of an exchange so long after it, or is no more
OUTCOME = timedelta(seconds=90)  # the same for what a device does after it said it would
OPTIONS = ("password", "overtime_s", "recount")
ABSENT = (5, 15, 30, 60)  # seconds until a device that no gateway has is asked for again


@dataclass(frozen=True)
class Offer:
    """A command that may be given to a device now. `about`: the device whose row it becomes. `given`: known
    arguments."""

    code: str
    label: str
    hint: str
    about: Device
    grave: bool = False
    args: tuple[wire.Arg, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict)


def offers_for(device: Device) -> list[Offer]:
    """What this device may be told: by its model, and, where it stands on a connection of its own, by its protocol."""
    if not device.active:
        return []
    try:
        model = registry().device_model(device.model)
    except UnknownCode:
        return []
    language = get_language() or "zh-hans"
    found = [Offer(c.code, c.name.label(language), "", device, True) for c in model.commands]
    allowed = model.downlink
    for command in wire.CATALOGUE.get(device.protocol, {}).values():
        about_itself = command.about == "device"
        if about_itself != (device.parent_id is None) or (allowed is not None and command.code not in allowed):
            continue
        given = {} if about_itself else address_of(device)
        if given is None:
            continue
        label, hint = COMMANDS[device.protocol][command.code]
        wanted = {name: value for name, value in given.items() if name in {a.name for a in command.args}}
        found.append(Offer(command.code, str(label), str(hint), device, command.grave, command.args, wanted))
    return found


def offers_at(alarm: Alarm) -> list[Offer]:
    """What may be told in answer to an alarm: its device, the one it reports through, the site's actuators."""
    found = offers_for(alarm.device)
    if alarm.device.parent is not None:
        found += offers_for(alarm.device.parent)
    acting = [model.code for model in registry().device_models() if model.commands]
    devices = Device.objects.active().filter(subject=alarm.subject_id, model__in=acting)
    for device in devices.exclude(pk=alarm.device_id).select_related("parent").order_by("pk"):
        found += [offer for offer in offers_for(device) if not offer.args]
    return found


def address_of(device: Device) -> dict[str, int] | None:
    """System and component of a device behind a transmission device, as its channels have them, or None."""
    for point in device.points.all():
        parts = point.channel.split(".")
        kind, _, address = parts[0].removeprefix("sys").partition("-")
        if not (parts[0].startswith("sys") and kind.isdigit()):
            continue
        if len(parts) == 3 and parts[1].isdigit():  # the system's own state: sys1.1.status
            return {"sys_type": int(kind), "sys_addr": int(parts[1])}
        if len(parts) == 4 and parts[2].isdigit():
            system = int(address) if address.isdigit() else 1
            return {"sys_type": int(kind), "sys_addr": system, "comp_addr": int(parts[2])}
    return None


def ask(
    device_id: int, *, command: str, args: Mapping[str, Any], by: User, at: datetime, alarm_id: UUID | None = None,
    keep: timedelta = KEPT,
) -> DeviceCommand:  # fmt: skip
    """Tell a device something: now if it is here, when it comes otherwise, never once `keep` has passed.

    Raises NotAllowed, OutOfService, NotPossible, BadArgument, AlreadyAsked.
    """
    with transaction.atomic():
        # The lock keeps two presses of a button from being two orders.
        device = (
            Device.objects.select_for_update(of=("self",))
            .select_related("subject__division", "parent")
            .get(pk=device_id)
        )
        require(by, "device.command", device)
        if not device.active:
            raise OutOfService(name=device.name)
        offer = next((offer for offer in offers_for(device) if offer.code == command), None)
        if offer is None:
            raise NotPossible(name=device.name, command=command)
        payload = _payload(device, offer, args)
        if DeviceCommand.objects.filter(
            device=device, command=command, state__in=DeviceCommand.OPEN, asked_by__isnull=False
        ).exists():
            raise AlreadyAsked(name=device.name, command=offer.label)
        row = DeviceCommand.objects.create(
            device=device, alarm_id=alarm_id, command=command, payload=payload, asked_by=by, asked_at=at, next_at=at,
            expires_at=at + keep,
        )  # fmt: skip
        _event(row, "device.asked", by=by, at=at)
        with connection.cursor() as cursor:  # heard at the commit
            cursor.execute("SELECT pg_notify('zhenan_commands', '')")
    return row


def _payload(device: Device, offer: Offer, args: Mapping[str, Any]) -> dict[str, Any]:
    spec = wire.find(device.protocol, offer.code)
    if spec is None:
        if args:
            raise BadArgument(faults="; ".join(f"{name}: is no argument of this command" for name in args))
        model = registry().device_model(device.model)
        return dict(next(c.payload for c in model.commands if c.code == offer.code))
    try:
        return wire.checked(spec, {**offer.given, **args})
    except wire.BadArguments as err:
        raise BadArgument(faults=str(err)) from err


# sending


@dataclass(frozen=True)
class Outgoing:
    """A command to send: over MQTT as JSON, or as an order to the gateway that has the device's connection."""

    id: int
    protocol: str
    key: str
    command: str
    payload: dict[str, Any]
    options: dict[str, Any]
    until_ms: int
    retained: bool = False  # over MQTT: kept by the broker for whoever subscribes, until it has ended


def claim(at: datetime, *, limit: int = 500) -> list[Outgoing]:
    """Commands to send now, each put off for a while, so that of two senders one has it; what is too late is ended."""
    rows = DeviceCommand.objects.filter(state__in=DeviceCommand.OPEN).filter(Q(next_at=None) | Q(next_at__lte=at))
    found = []
    with transaction.atomic():
        locked = rows.select_for_update(of=("self",), skip_locked=True).select_related(
            "device__parent", "device__subject__division", "alarm"
        )
        for row in locked.order_by("pk")[:limit]:
            if _too_late(row, at):
                continue
            row.tries += 1
            row.next_at = at + _pause(row)
            row.save(update_fields=["tries", "next_at"])
            found.append(_outgoing(row))
    return found


def until(row: DeviceCommand) -> datetime:
    """When a command is worth nothing any more."""
    return row.expires_at or row.asked_at + GIVE_UP


def _too_late(row: DeviceCommand, at: datetime) -> bool:
    if row.state == State.ACCEPTED:
        _end(row, State.TIMED_OUT, "guard_silent" if row.command == "patrol" else "no_outcome", at=at)
        return True
    if at < until(row):
        return False
    if row.state == State.WAITING:
        _end(row, State.EXPIRED, "expired", at=at)
    else:
        _end(row, State.TIMED_OUT, "no_answer", at=at)
    return True


def _pause(row: DeviceCommand) -> timedelta:
    if row.device.protocol == MQTT:
        return timedelta(seconds=AGAIN[min(row.tries, len(AGAIN)) - 1])
    return _exchange(row) if row.state == State.SENT else timedelta(seconds=ABSENT[min(row.tries, len(ABSENT)) - 1])


def _exchange(row: DeviceCommand) -> timedelta:
    """How long a gateway may be at it: every sending with the wait after it."""
    bearer = row.device.parent or row.device
    waits = patience_of(bearer.protocol, _options(bearer)).waits(bearer.protocol)
    return timedelta(seconds=sum(waits)) + MARGIN


def _options(bearer: Device) -> dict[str, Any]:
    """What belongs to the device and not to the command: its password, and how patient it was told to be."""
    return {name: value for name in OPTIONS if (value := bearer.attributes.get(name))}


def _outgoing(row: DeviceCommand) -> Outgoing:
    bearer = row.device.parent or row.device
    return Outgoing(
        row.pk, bearer.protocol, bearer.key, row.command, row.payload, _options(bearer),
        int(until(row).timestamp() * 1000), bearer.protocol == MQTT and _retained(row),
    )  # fmt: skip


def _retained(row: DeviceCommand) -> bool:
    try:
        model = registry().device_model(row.device.model)
    except UnknownCode:
        return False
    return any(command.code == row.command and command.retained for command in model.commands)


def published(ids: Iterable[int], *, at: datetime) -> None:
    """MQTT commands that are with the broker: sent, as far as that can be known."""
    for pk in ids:
        heard(Told(MQTT, "", "sent", pk, at_ms=int(at.timestamp() * 1000)), at=at, checked=False)


def delivered(ids: Iterable[int], *, at: datetime) -> None:
    """MQTT commands that the broker kept for a device that was away, and that it has taken since."""
    for pk in ids:
        heard(Told(MQTT, "", "accepted", pk, at_ms=int(at.timestamp() * 1000)), at=at, checked=False)


def ended_among(ids: Sequence[int], *, at: datetime) -> set[int]:
    """Which of these commands nobody wants done any more: ended, too late, or unknown."""
    rows = DeviceCommand.objects.filter(pk__in=list(ids), state__in=DeviceCommand.OPEN)
    return set(ids) - {row.pk for row in rows if at < until(row)}


# what is heard


def heard(told: Told, *, at: datetime, checked: bool = True) -> None:
    """What a gateway tells of a command, or of a device. The same word again changes nothing.

    Args:
        checked: whether `told.key` must be the device's: a device may only speak of its own commands.
    """
    if not told.id:
        _of_device(told, at)
        return
    with transaction.atomic():
        rows = DeviceCommand.objects.select_for_update(of=("self",)).select_related(
            "device__parent", "device__subject__division", "alarm"
        )
        row = rows.filter(pk=told.id, state__in=DeviceCommand.OPEN).first()
        if row is None:
            return
        bearer = row.device.parent or row.device
        if checked and (told.protocol, told.key) != (bearer.protocol, bearer.key):
            return
        _move(row, told, at)


def _move(row: DeviceCommand, told: Told, at: datetime) -> None:
    when = min(at, datetime.fromtimestamp(told.at_ms / 1000, UTC)) if told.at_ms else at
    if told.state == "lost":
        if row.state != State.ACCEPTED:  # not done: it waits for the device to come back
            row.state, row.next_at = State.WAITING, at + timedelta(seconds=2)
            row.save(update_fields=["state", "next_at"])
        return
    if row.sent_at is None:
        row.sent_at = when
        _event(row, "device.command", by=None, at=when)
    if told.state == "sent":
        if row.state == State.WAITING:
            row.state = State.SENT
            row.next_at = at + (_pause(row) if row.device.protocol == MQTT else _exchange(row))
        row.save(update_fields=["state", "sent_at", "next_at"])
    elif told.state == "accepted":
        wait = timedelta(minutes=int(row.payload["minutes"]), seconds=30) if row.command == "patrol" else OUTCOME
        if row.state != State.ACCEPTED:
            row.state, row.accepted_at, row.next_at = State.ACCEPTED, when, at + wait
        row.reply = storable(told.data) if told.data is not None else row.reply
        row.save(update_fields=["state", "sent_at", "accepted_at", "next_at", "reply"])
    elif told.state in (State.CONFIRMED, State.DENIED, State.TIMED_OUT):
        row.reply = storable(told.data) if told.data is not None else row.reply
        _end(row, State(told.state), told.error, at=when)


ENDS = {
    State.CONFIRMED: "device.command_done",
    State.DENIED: "device.command_denied",
    State.TIMED_OUT: "device.command_silent",
    State.EXPIRED: "device.command_expired",
}


def _end(row: DeviceCommand, state: DeviceCommand.State, error: str, *, at: datetime) -> None:
    row.state, row.ended_at, row.error = state, at, storable(error)[:300]
    row.confirmed_at = at if state == State.CONFIRMED else None
    row.save(update_fields=["state", "sent_at", "ended_at", "confirmed_at", "error", "reply"])
    if state == State.CONFIRMED and row.command == "set_timeout":  # from now on we wait as we told the device to
        row.device.attributes |= row.payload
        row.device.save(update_fields=["attributes"])
    _event(row, ENDS[state], by=None, at=at, error=row.error)


def _event(row: DeviceCommand, kind: str, *, by: User | None, at: datetime, error: str = "") -> None:
    subject = row.device.subject
    targets = [target for target in (row.alarm, row.device, subject) if target is not None]
    data = {"command": f"{row.device.name} · {command_word(row)}"} | ({"error": error} if error else {})
    record(kind, targets=targets, actor=by, at=at, data=data, **subject.place)


def storable(value: Any) -> Any:
    """A device's words as PostgreSQL takes them: no zero bytes, no halves of characters."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list) else value


def _of_device(told: Told, at: datetime) -> None:
    if told.state in ("online", "offline") and told.protocol == MQTT:
        online = told.state == "online"
        changes: dict[str, Any] = {"online": online} | ({"last_seen_at": at} if online else {})
        Device.objects.active().filter(protocol=MQTT, key=told.key).update(**changes)
        if online:  # without a session the broker kept nothing for it
            devices_came([(MQTT, told.key)], at=at)
        return
    if told.state == "here":
        devices_came([(told.protocol, told.key)], at=at)
    elif told.state == "guard":
        mine = _borne_by(told.protocol, [told.key])
        with transaction.atomic():
            rows = DeviceCommand.objects.select_for_update(of=("self",)).select_related(
                "device__subject__division", "alarm"
            )
            for row in rows.filter(mine, command="patrol", state=State.ACCEPTED):
                row.reply = {"answered": True}
                _end(row, State.CONFIRMED, "", at=at)


def _borne_by(protocol: str, keys: Sequence[str]) -> Q:
    """Commands of devices on these connections, their own or those of what reports through them."""
    own = Q(device__protocol=protocol, device__key__in=keys, device__parent=None)
    return own | Q(device__parent__protocol=protocol, device__parent__key__in=keys)


def devices_came(devices: Iterable[tuple[str, str]], *, at: datetime) -> None:
    """(protocol, key) of devices that have just connected: what waited for them is due now."""
    by_protocol: dict[str, list[str]] = {}
    for protocol, key in devices:
        by_protocol.setdefault(protocol, []).append(key)
    for protocol, keys in by_protocol.items():
        waiting = [State.WAITING, State.SENT] if protocol == MQTT else [State.WAITING]
        DeviceCommand.objects.filter(_borne_by(protocol, keys), state__in=waiting).update(next_at=at)


def command_word(row: DeviceCommand, language: str = "zh-hans") -> str:
    """The command's name: as its device's model gives it, or its protocol's, in the language in force."""
    words = COMMANDS.get(row.device.protocol, {}).get(row.command)
    if words is not None:
        with override(language):
            return str(words[0])
    try:
        model = registry().device_model(row.device.model)
    except UnknownCode:
        return row.command
    return next((c.name.label(language) for c in model.commands if c.code == row.command), row.command)


def confirm(points: Iterable[int]) -> int:
    """Commands whose device now reports what it was told: confirmed. Returns how many."""
    done = 0
    with transaction.atomic():
        rows = DeviceCommand.objects.filter(
            state__in=DeviceCommand.OPEN, device__protocol=MQTT, pk__in=_open_of(points)
        ).select_for_update(of=("self",))
        for row in rows.select_related("device__subject__division", "alarm").prefetch_related("device__points"):
            told = [point for point in row.device.points.all() if point.channel in row.payload]
            if told and all(_reports(point, row) for point in told):
                row.sent_at = row.sent_at or timezone.now()
                _end(row, State.CONFIRMED, "", at=timezone.now())
                done += 1
    return done


def _open_of(points: Iterable[int]) -> Any:
    return (
        DeviceCommand.objects.filter(state__in=DeviceCommand.OPEN, device__points__in=list(points))
        .order_by()
        .values("pk")
        .distinct()
    )


def _reports(point: Point, row: DeviceCommand) -> bool:
    told = row.payload[point.channel]
    wanted = (point.states or {}).get(str(told), told)
    return point.last_at is not None and point.last_at >= row.asked_at and point.last_value == wanted
