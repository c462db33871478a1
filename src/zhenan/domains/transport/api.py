"""Vehicles and fences over the API: the same queries, services and scopes as the pages."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from zhenan.domains.monitoring.models import Device
from zhenan.domains.transport import queries, services
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.telemetry.tracks.fences import DAY_MINUTES, MOST_POINTS
from zhenan.telemetry.tracks.table import Box

router = Router()
prefix = "/transport"
MOST_ID = 2**63 - 1
Text = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00]*$")]


class Problem(Schema):
    """What was wrong: a stable code and a sentence."""

    code: str
    detail: str


class PositionOut(Schema):
    """A usable fix, WGS-84."""

    at: datetime
    lat: float
    lon: float
    speed_kmh: float
    heading: int


class VehicleOut(Schema):
    """``last``: where it was when it last had a usable fix; null when it never had one."""

    id: int
    key: str
    name: str
    model: str
    subject_id: int
    subject: str
    active: bool
    online: bool
    last: PositionOut | None


class BoxFilter(Schema):
    bbox: str | None = Field(None, max_length=100, description="west,south,east,north in degrees")


class VehicleFilter(BoxFilter):
    after: int = Field(0, ge=0, le=MOST_ID, description="id of the last vehicle of the page before")
    limit: int = Field(100, ge=1, le=1000)


def _user(request: HttpRequest, capability: str = "alarm.view") -> User:
    user = request.user
    if not isinstance(user, User) or not user.can(capability):
        raise HttpError(403, f"{capability} is needed")
    return user


def _box(raw: str) -> tuple[float, float, float, float]:
    try:
        west, south, east, north = (float(part) for part in raw.split(","))
        Box(south, west, north, east)
    except ValueError as err:
        raise HttpError(422, f"bbox: came {raw!r}; want west,south,east,north in degrees") from err
    return west, south, east, north


@router.get("/vehicles", response=list[VehicleOut])
def list_vehicles(request: HttpRequest, asked: Query[VehicleFilter]) -> Any:
    """Vehicles that the caller may see with their last positions, by id; with `bbox` those last seen there."""
    rows = queries.vehicles(_user(request)).filter(pk__gt=asked.after)
    if asked.bbox is not None:
        rows = queries.last_seen_in(rows, _box(asked.bbox))
    rows = rows.select_related("subject", "last_position").order_by("pk")
    return [_vehicle(device) for device in rows[: asked.limit]]


def _vehicle(device: Device) -> dict[str, Any]:
    names = ("id", "key", "name", "model", "subject_id", "active", "online")
    return {name: getattr(device, name) for name in names} | {
        "subject": device.subject.name, "last": getattr(device, "last_position", None)
    }  # fmt: skip


def _one_vehicle(request: HttpRequest, pk: int) -> Device:
    rows = queries.vehicles(_user(request)).select_related("subject", "last_position")
    return get_object_or_404(rows, pk=_id(pk))


def _id(pk: int) -> int:
    """An id that the database can hold; anything else is of no record."""
    if not 0 < pk <= MOST_ID:
        raise HttpError(404, "no such record")
    return pk


@router.get("/vehicles/{vehicle_id}", response=VehicleOut)
def get_vehicle(request: HttpRequest, vehicle_id: int) -> Any:
    return _vehicle(_one_vehicle(request, vehicle_id))


class StopOut(Schema):
    t0: int
    t1: int
    lat: float
    lon: float


class TripOut(Schema):
    """``km``: driven; ``max``: the highest speed, km/h."""

    t0: int
    t1: int
    km: float
    max: float


class EventOut(Schema):
    """``value``: km/h of enter, speed and speed_end, seconds of leave and dwell."""

    t: int
    kind: str
    word: str
    fence: str
    version: int
    value: float | None


class DrawnFence(Schema):
    name: str
    version: int
    shape: str
    points: list[list[float]]
    size_m: float


class DayOut(Schema):
    """A vehicle's local day. Times are ms UTC; ``positions``: [ms, lon, lat, km/h, state], state 0 moving, 1 stopped.

    ``count``: positions in all, of which at most 5,000 are given; ``jumps`` and ``unfit`` were left out.
    """

    t0: int
    t1: int
    count: int
    positions: list[tuple[int, float, float, float, int]]
    trips: list[TripOut]
    stops: list[StopOut]
    gaps: list[tuple[int, int]]
    events: list[EventOut]
    fences: list[DrawnFence]
    jumps: int
    unfit: int


@router.get("/vehicles/{vehicle_id}/day", response=DayOut)
def vehicle_day(
    request: HttpRequest, vehicle_id: int, day: date | None = Query(None, description="left out: today")
) -> Any:
    """A vehicle's day: track, trips, stops, gaps, what it did at fences."""
    device, chosen = _one_vehicle(request, vehicle_id), day or timezone.localdate()
    if not 2000 <= chosen.year <= 2200:
        raise HttpError(422, f"day: came {chosen}; want one of the years 2000 to 2200")
    return queries.vehicle_day(device, chosen, _user(request))


class AreaVehicle(Schema):
    """``points``: [ms UTC, lon, lat, km/h] by time."""

    id: int
    name: str
    points: list[tuple[int, float, float, float]]


class AreaOut(Schema):
    at: int
    minutes: int
    vehicles: list[AreaVehicle]
    left_out: int


class AreaFilter(BoxFilter):
    at: datetime | None = Field(None, description="left out: now")
    minutes: int = Field(10, ge=1, le=60)


@router.get("/area", response=AreaOut)
def area(request: HttpRequest, asked: Query[AreaFilter]) -> Any:
    """The caller's vehicles within `bbox` (left out: the city) in the minutes up to `at`, with their tracks."""
    user, at = _user(request), _aware(asked.at) or timezone.now()
    west, south, east, north = queries.city_box() if asked.bbox is None else _box(asked.bbox)
    try:
        return queries.area(user, Box(south, west, north, east), int(at.timestamp() * 1000), asked.minutes)
    except ValueError as err:
        raise HttpError(422, f"bbox: {err}") from err


class WindowOut(Schema):
    """``days``: bit 0 Monday … bit 6 Sunday; minutes of the local day, ``end`` exclusive, not after ``start``: over
    midnight."""

    days: int = Field(ge=1, le=127)
    start: int = Field(ge=0, lt=DAY_MINUTES)
    end: int = Field(gt=0, le=DAY_MINUTES)


class Terms(Schema):
    """What a fence is. ``points``: [lat, lon] in degrees: the centre, the corners in order, or the line. ``size_m``:
    radius of a circle, half the width of a corridor, 0 for a polygon. No windows: always; no classes: all."""

    shape: Literal["circle", "polygon", "corridor"]
    points: list[tuple[float, float]] = Field(min_length=1, max_length=MOST_POINTS)
    size_m: float = Field(0, ge=0)
    hysteresis_m: float = 30
    windows: list[WindowOut] = Field([], max_length=20)
    vehicle_classes: list[Text] = Field([], max_length=63)
    goods_classes: list[Text] = Field([], max_length=63)
    alarm_on_enter: bool = True
    speed_kmh: float | None = None
    dwell_s: int | None = Field(None, ge=1, le=30 * 86_400)
    level: int = Field(3, ge=1, le=4)


class VersionOut(Terms):
    version: int
    valid_from: datetime
    valid_to: datetime | None


class FenceOut(Schema):
    """``versions``: the newest first."""

    id: int
    name: str
    division: str
    made_at: datetime
    ended_at: datetime | None
    versions: list[VersionOut]


def _fence(fence: Fence) -> dict[str, Any]:
    return {
        "id": fence.pk, "name": fence.name, "division": fence.division.code, "made_at": fence.made_at,
        "ended_at": fence.ended_at,
        "versions": [_version(v) for v in sorted(fence.versions.all(), key=lambda v: -v.version)],
    }  # fmt: skip


def _version(version: FenceVersion) -> dict[str, Any]:
    names = (*services.TERMS, "version", "valid_from", "valid_to")
    found = {name: getattr(version, name) for name in names}
    windows = [dict(zip(("days", "start", "end"), row, strict=True)) for row in version.windows]
    return found | {"windows": windows}


def _fences(user: User) -> QuerySet[Fence]:
    return Fence.objects.visible_to(user).select_related("division").prefetch_related("versions")


@router.get("/fences", response=list[FenceOut])
def list_fences(
    request: HttpRequest,
    after: int = Query(0, ge=0, le=MOST_ID, description="id of the last fence of the page before"),
    limit: int = Query(100, ge=1, le=1000),
    ended: bool | None = Query(None, description="only those that ended, or only those that did not"),
) -> Any:
    """Fences that the caller may see with all their versions, by id."""
    rows = _fences(_user(request)).filter(pk__gt=after)
    if ended is not None:
        rows = rows.filter(ended_at__isnull=not ended)
    return [_fence(fence) for fence in rows.order_by("pk")[:limit]]


@router.get("/fences/{fence_id}", response=FenceOut)
def get_fence(request: HttpRequest, fence_id: int) -> Any:
    return _fence(get_object_or_404(_fences(_user(request)), pk=_id(fence_id)))


class FenceIn(Schema):
    """``valid_from`` left out: from now on."""

    name: Text
    division: str = Field(pattern=r"^[0-9A-Za-z]{1,20}$", description="code of the division that it belongs to")
    terms: Terms
    valid_from: datetime | None = None


class VersionIn(Schema):
    terms: Terms
    valid_from: datetime | None = None


REFUSED: dict[Any, Any] = {403: Problem, 409: Problem}


@router.post("/fences", response={201: FenceOut} | REFUSED)
def make_fence(request: HttpRequest, asked: FenceIn) -> Any:
    """A new fence with its first version. 409 with the reason for what is no fence."""
    user, at = _user(request, "rule.edit"), timezone.now()
    division = get_object_or_404(Division.objects.filter(active=True), code=asked.division)
    try:
        made = services.make_fence(
            name=asked.name, division=division, terms=_terms(asked.terms), valid_from=_aware(asked.valid_from) or at,
            by=user, at=at,
        )  # fmt: skip
    except DomainError as err:
        return _refused(err)
    return 201, _fence(get_object_or_404(_fences(user), pk=made.pk))


@router.post("/fences/{fence_id}/versions", response={201: FenceOut} | REFUSED)
def change_fence(request: HttpRequest, fence_id: int, asked: VersionIn) -> Any:
    """A new version from `valid_from` on; earlier trips stay judged by the earlier one."""
    user, at = _user(request), timezone.now()
    get_object_or_404(_fences(user), pk=_id(fence_id))
    try:
        services.change_fence(
            fence_id, terms=_terms(asked.terms), valid_from=_aware(asked.valid_from) or at, by=user, at=at
        )
    except DomainError as err:
        return _refused(err)
    return 201, get_fence(request, fence_id)


@router.post("/fences/{fence_id}/end", response={200: FenceOut} | REFUSED)
def end_fence(request: HttpRequest, fence_id: int) -> Any:
    """End a fence now; its versions stay for the trips of their time."""
    user = _user(request)
    get_object_or_404(_fences(user), pk=_id(fence_id))
    try:
        services.end_fence(fence_id, by=user, at=timezone.now())
    except DomainError as err:
        return _refused(err)
    return 200, get_fence(request, fence_id)


def _refused(err: DomainError) -> tuple[int, dict[str, str]]:
    return 403 if isinstance(err, NotAllowed) else 409, {"code": err.code, "detail": str(err)}


def _aware(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    if not 2000 <= moment.year <= 2200:
        raise HttpError(422, f"came {moment}; want a time of the years 2000 to 2200")
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _terms(asked: Terms) -> dict[str, Any]:
    found = asked.model_dump()
    found["points"] = [list(point) for point in asked.points]
    found["windows"] = [[w.days, w.start, w.end] for w in asked.windows]
    return found


class RecordOut(Schema):
    """``value``: km/h of enter, speed and speed_end, seconds of leave and dwell. ``since``: when the stay began."""

    id: str
    vehicle_id: int
    vehicle: str
    fence_id: int
    fence: str
    version: int
    kind: str
    at: datetime
    since: datetime
    value: float | None


class RecordFilter(Schema):
    vehicle_id: int | None = Field(None, ge=1, le=MOST_ID)
    fence_id: int | None = Field(None, ge=1, le=MOST_ID)
    since: datetime | None = None
    until: datetime | None = None
    limit: int = Field(100, ge=1, le=1000)


@router.get("/events", response=list[RecordOut])
def list_events(request: HttpRequest, asked: Query[RecordFilter]) -> Any:
    """What vehicles did at fences, the newest first; for older ones give `until`."""
    rows = FenceRecord.objects.visible_to(_user(request)).select_related("device", "version__fence")
    wanted = {
        "device_id": asked.vehicle_id, "version__fence_id": asked.fence_id, "at__gte": _aware(asked.since),
        "at__lt": _aware(asked.until),
    }  # fmt: skip
    rows = rows.filter(**{name: value for name, value in wanted.items() if value is not None})
    return [_event(row) for row in rows.order_by("-at", "id")[: asked.limit]]


def _event(row: FenceRecord) -> dict[str, Any]:
    return {
        "id": str(row.pk), "vehicle_id": row.device_id, "vehicle": row.device.name, "fence_id": row.version.fence_id,
        "fence": row.version.fence.name, "version": row.version.version, "kind": row.kind, "at": row.at,
        "since": row.onset, "value": row.value,
    }  # fmt: skip
