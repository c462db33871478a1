"""Alarms, devices and points over the API: the same services and scopes as the pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from zhenan.domains.monitoring import commands, services
from zhenan.domains.monitoring import series as series_of
from zhenan.domains.monitoring.key_api import router as key_router
from zhenan.domains.monitoring.models import Alarm, Device, DeviceCommand, Point
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User

router = Router()
router.add_router("/keys", key_router)
prefix = "/monitoring"


class Problem(Schema):
    """What was wrong: a stable code and a sentence."""

    code: str
    detail: str


class AlarmOut(Schema):
    id: UUID
    rule: str
    level: int
    measure: str
    value: float | None
    unit: str
    subject_id: int
    subject: str
    device_key: str
    onset: datetime
    raised_at: datetime
    cleared_at: datetime | None
    respond_by: datetime
    state: str
    cause: str
    acknowledged_at: datetime | None
    assigned_to: str | None
    arrived_at: datetime | None
    closed_at: datetime | None
    hazard_id: int | None


class AlarmPage(Schema):
    """``next``: give it as ``before`` to get the following page; null at the end."""

    items: list[AlarmOut]
    next: str | None


class AlarmFilter(Schema):
    state: str | None = Field(None, description="one of raised, acknowledged, assigned, arrived, judged, closed")
    level: int | None = Field(None, ge=1, le=4)
    subject_id: int | None = Field(None, ge=1, le=2**63 - 1)
    since: datetime | None = None
    before: str | None = Field(None, max_length=80, description="cursor from the page before")
    limit: int = Field(100, ge=1, le=1000)


def _out(alarm: Alarm) -> dict[str, Any]:
    names = (
        "id",
        "rule",
        "level",
        "measure",
        "value",
        "subject_id",
        "onset",
        "raised_at",
        "cleared_at",
        "respond_by",
        "state",
        "cause",
        "acknowledged_at",
        "arrived_at",
        "closed_at",
        "hazard_id",
    )
    row = {name: getattr(alarm, name) for name in names}
    return row | {
        "unit": alarm.point.unit,
        "subject": alarm.subject.name,
        "device_key": alarm.device.key,
        "assigned_to": alarm.assigned_to.username if alarm.assigned_to else None,
    }


def _user(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User) or not user.can("alarm.view"):
        raise HttpError(403, "alarm.view is needed")
    return user


@router.get("/alarms", response=AlarmPage)
def list_alarms(request: HttpRequest, asked: Query[AlarmFilter]) -> dict[str, Any]:
    """Alarms that the caller may see, the newest first."""
    rows = Alarm.objects.visible_to(_user(request)).select_related("subject", "point", "device", "assigned_to")
    if asked.state:
        rows = rows.filter(state=asked.state)
    if asked.level:
        rows = rows.filter(level=asked.level)
    if asked.subject_id:
        rows = rows.filter(subject_id=asked.subject_id)
    if asked.since:
        rows = rows.filter(raised_at__gte=_aware(asked.since))
    if asked.before:
        raised_at, pk = _cursor(asked.before)
        rows = rows.filter(raised_at__lte=raised_at).exclude(raised_at=raised_at, pk__gte=pk)
    found = list(rows.order_by("-raised_at", "-id")[: asked.limit + 1])
    page = found[: asked.limit]
    more = f"{page[-1].raised_at.isoformat()}|{page[-1].pk}" if len(found) > asked.limit else None
    return {"items": [_out(alarm) for alarm in page], "next": more}


def _aware(moment: datetime) -> datetime:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _cursor(text: str) -> tuple[datetime, UUID]:
    try:
        when, _bar, pk = text.replace(" ", "+").partition("|")
        return _aware(datetime.fromisoformat(when)), UUID(pk)
    except ValueError as err:
        raise HttpError(422, f"before: came {text!r}; want the next of a page") from err


@router.get("/alarms/{alarm_id}", response=AlarmOut)
def get_alarm(request: HttpRequest, alarm_id: UUID) -> dict[str, Any]:
    rows = Alarm.objects.visible_to(_user(request)).select_related("subject", "point", "device", "assigned_to")
    return _out(get_object_or_404(rows, pk=alarm_id))


class Act(Schema):
    """``action``: acknowledge, assign (``person``: a user name), cause (``cause``, ``note``), close (``note``)."""

    action: str = Field(max_length=20)
    person: str = Field("", max_length=150)
    cause: str = Field("", max_length=20)
    note: str = Field("", max_length=2000)


@router.post("/alarms/{alarm_id}/actions", response={200: AlarmOut, 409: Problem})
def act(request: HttpRequest, alarm_id: UUID, asked: Act) -> Any:
    """Do one thing about an alarm. 409 with the reason when it may not be done."""
    user = _user(request)
    get_object_or_404(Alarm.objects.visible_to(user), pk=alarm_id)
    at = timezone.now()
    try:
        if asked.action == "acknowledge":
            services.acknowledge(alarm_id, by=user, at=at)
        elif asked.action == "assign":
            person = get_object_or_404(User, username=asked.person, is_active=True)
            services.assign(alarm_id, to=person, by=user, at=at)
        elif asked.action == "cause":
            services.judge_cause(alarm_id, cause=asked.cause, by=user, at=at, note=asked.note)
        elif asked.action == "close":
            services.close(alarm_id, by=user, at=at, note=asked.note)
        else:
            raise HttpError(422, f"action: came {asked.action!r}; want acknowledge, assign, cause or close")
    except DomainError as err:
        return 409, {"code": err.code, "detail": str(err)}
    return get_alarm(request, alarm_id)


class PointOut(Schema):
    id: int
    channel: str
    measure: str
    unit: str
    last_value: float | None
    last_at: datetime | None


class DeviceOut(Schema):
    id: int
    key: str
    protocol: str
    model: str
    name: str
    subject_id: int
    active: bool
    online: bool
    last_seen_at: datetime | None
    points: list[PointOut]


@router.get("/devices", response=list[DeviceOut])
def list_devices(
    request: HttpRequest,
    after: int = Query(0, ge=0, le=2**63 - 1, description="id of the last device of the page before"),
    limit: int = Query(100, ge=1, le=1000),
    subject_id: int | None = Query(None, ge=1, le=2**63 - 1),
) -> Any:
    """Devices that the caller may see, in the order of their ids."""
    rows = Device.objects.visible_to(_user(request)).filter(pk__gt=after)
    if subject_id:
        rows = rows.filter(subject_id=subject_id)
    return [_device(d) for d in rows.prefetch_related("points").order_by("pk")[:limit]]


def _device(device: Device) -> dict[str, Any]:
    names = ("id", "key", "protocol", "model", "name", "subject_id", "active", "online", "last_seen_at")
    return {name: getattr(device, name) for name in names} | {"points": list(device.points.all())}


class CommandOut(Schema):
    """``state``: waiting, sent, accepted, confirmed, denied, timed_out or expired. ``reply``: what the device
    answered."""

    id: int
    device_id: int
    alarm_id: UUID | None
    command: str
    payload: dict[str, Any]
    state: str
    error: str
    reply: Any
    tries: int
    asked_at: datetime
    expires_at: datetime | None
    sent_at: datetime | None
    confirmed_at: datetime | None
    ended_at: datetime | None


class CommandIn(Schema):
    """``command`` and ``args`` as the device's possible commands name them; ``keep_s``: how long it may wait for it."""

    command: str = Field(max_length=60)
    args: dict[str, Any] = Field(default_factory=dict, max_length=20)
    alarm_id: UUID | None = None
    keep_s: int = Field(3600, ge=10, le=7 * 86_400)


class Possible(Schema):
    """``args``: name, kind (int, text, time, hex, bool), bounds, default."""

    command: str
    label: str
    grave: bool
    args: list[dict[str, Any]]


@router.get("/devices/{device_id}/commands", response=list[CommandOut])
def list_commands(request: HttpRequest, device_id: int) -> Any:
    """The newest 100 commands of a device."""
    return list(_one_device(request, device_id).commands.all()[:100])


@router.get("/devices/{device_id}/possible", response=list[Possible])
def possible_commands(request: HttpRequest, device_id: int) -> Any:
    """What the device may be told now."""
    return [
        {"command": o.code, "label": o.label, "grave": o.grave,
         "args": [a._asdict() | {"default": o.given.get(a.name, a.default)} for a in o.args]}
        for o in commands.offers_for(_one_device(request, device_id))
    ]  # fmt: skip


@router.post("/devices/{device_id}/commands", response={201: CommandOut, 403: Problem, 409: Problem})
def give_command(request: HttpRequest, device_id: int, asked: CommandIn) -> Any:
    """Tell a device something. 201: it is on its way; ask for the command to learn what became of it."""
    user, device = _user(request), _one_device(request, device_id)
    if asked.alarm_id is not None:
        alarm = get_object_or_404(Alarm.objects.visible_to(user), pk=asked.alarm_id)
        if device.subject_id != alarm.subject_id:
            raise HttpError(422, "alarm_id: that alarm is at another site")
    try:
        row = commands.ask(
            device_id, command=asked.command, args=asked.args, by=user, at=timezone.now(), alarm_id=asked.alarm_id,
            keep=timedelta(seconds=asked.keep_s),
        )  # fmt: skip
    except NotAllowed as err:
        return 403, {"code": err.code, "detail": str(err)}
    except DomainError as err:
        return 409, {"code": err.code, "detail": str(err)}
    return 201, row


@router.get("/commands/{command_id}", response=CommandOut)
def get_command(request: HttpRequest, command_id: int) -> Any:
    """A command as it stands."""
    if not 0 < command_id < 2**63:
        raise HttpError(404, "no such command")
    return get_object_or_404(DeviceCommand.objects.visible_to(_user(request)), pk=command_id)


def _one_device(request: HttpRequest, device_id: int) -> Device:
    if not 0 < device_id < 2**63:
        raise HttpError(404, "no such device")
    rows = Device.objects.visible_to(_user(request)).select_related("parent").prefetch_related("points")
    return get_object_or_404(rows, pk=device_id)


class Series(Schema):
    """What the point's chart shows, by `resolution`.

    raw: readings as [time in ms UTC, value or null], thinned to about 2,000 without losing peaks. hour, day: the mean
    of each hour or day, and `band` as [time, lowest, highest]. A null marks a gap or an unfit reading.
    """

    name: str
    unit: str
    resolution: str
    points: list[list[float | None]]
    band: list[list[float]]
    unfit: int


@router.get("/points/{point_id}/series", response=Series)
def point_series(
    request: HttpRequest, point_id: int, since: datetime | None = None, until: datetime | None = None
) -> Any:
    """A point's readings; without ``since`` the last 24 hours. Up to 400 days; beyond three days hours, then days."""
    if not 0 < point_id < 2**31:
        raise HttpError(404, "no such point")
    devices = Device.objects.visible_to(_user(request))
    point = get_object_or_404(Point.objects.filter(device__in=devices).select_related("device"), pk=point_id)
    end = _aware(until) if until else timezone.now()
    start = _aware(since) if since else end - timedelta(hours=24)
    if not timedelta(0) < end - start <= timedelta(days=400):
        raise HttpError(422, "want since before until, at most 400 days apart")
    return series_of.chart(point, since=start, until=end)
