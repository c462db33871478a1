"""Making, changing and ending fences; writing what vehicles did at them. One writer a change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from zhenan.domains.monitoring.models import Device, Point
from zhenan.domains.monitoring.services import record_transitions
from zhenan.domains.transport.classes import FIELDS, check_classes
from zhenan.domains.transport.errors import WORDS, FenceEnded, NoFence, NotBefore, TooManyClasses
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion, LastPosition
from zhenan.kernel.access import require
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.telemetry.judge.results import Transition
from zhenan.telemetry.tracks import fences as shapes
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns
from zhenan.telemetry.tracks.judge import FenceEvent as Found

TERMS = (
    "shape", "points", "size_m", "hysteresis_m", "windows", "vehicle_classes", "goods_classes", "alarm_on_enter",
    "speed_kmh", "dwell_s", "level",
)  # fmt: skip
MOST_CLASSES = 63
RAISES = {"enter": "驶入", "dwell": "停留超时", "speed": "超速"}


def fence_rule(fence: Fence, kind: str) -> str:
    """The rule of the alarms of what a vehicle does at the fence, as the console shows it."""
    return f"围栏「{fence.name}」{RAISES[kind]}"


def fence_rules(fence: Fence) -> list[str]:
    return [fence_rule(fence, kind) for kind in RAISES]


def make_fence(*, name: str, division: Division, terms: dict[str, Any], valid_from: datetime, by: User | None,
               at: datetime) -> Fence:  # fmt: skip
    """A fence with its first version. `terms`: the fields named in TERMS. Raises NoFence, UnknownClass, NotAllowed,
    NotBefore."""
    with transaction.atomic():
        fence = Fence(name=name, division=division, made_at=at)
        if by is not None:
            require(by, "rule.edit")
        fence.save()
        require(by, "rule.edit", fence)
        _add_version(fence, 1, terms, valid_from, by, at)
        record("fence.made", targets=[fence], actor=by, at=at, data={"name": name}, path=division.path)
    return fence


def change_fence(
    pk: int, *, terms: dict[str, Any], valid_from: datetime, by: User | None, at: datetime
) -> FenceVersion:
    """A new version from `valid_from` on; the one before it ends there. Raises NoFence, UnknownClass, FenceEnded,
    NotBefore."""
    with transaction.atomic():
        fence = Fence.objects.select_for_update().select_related("division").get(pk=pk)
        require(by, "rule.edit", fence)
        if fence.ended_at is not None:
            raise FenceEnded
        last = fence.versions.latest("version")
        if valid_from <= last.valid_from or valid_from < at:
            raise NotBefore(before=timezone.localtime(max(last.valid_from, at)).strftime("%Y-%m-%d %H:%M"))
        last.valid_to = valid_from
        last.save(update_fields=["valid_to"])
        made = _add_version(fence, last.version + 1, terms, valid_from, by, at)
        data = {"name": fence.name, "version": made.version}
        record("fence.changed", targets=[fence], actor=by, at=at, data=data, path=fence.division.path)
    return made


def end_fence(pk: int, *, by: User | None, at: datetime) -> Fence:
    """End a fence now. Its versions stay for the trips of their time. Raises FenceEnded."""
    with transaction.atomic():
        fence = Fence.objects.select_for_update().select_related("division").get(pk=pk)
        require(by, "rule.edit", fence)
        if fence.ended_at is not None:
            raise FenceEnded
        fence.ended_at = at
        fence.save(update_fields=["ended_at"])
        for version in fence.versions.filter(valid_to=None):
            version.valid_to = max(at, version.valid_from)
            version.save(update_fields=["valid_to"])
        record("fence.ended", targets=[fence], actor=by, at=at, data={"name": fence.name}, path=fence.division.path)
        _say_changed()
    return fence


def _add_version(fence: Fence, number: int, terms: dict[str, Any], valid_from: datetime, by: User | None,
                 at: datetime) -> FenceVersion:  # fmt: skip
    check_classes(terms, kept=fence.versions.values(*FIELDS) if number > 1 else ())
    version = FenceVersion(fence=fence, version=number, valid_from=valid_from, made_by=by, made_at=at)
    for name in TERMS:
        if name in terms:
            setattr(version, name, terms[name])
    try:
        shape_of(version, {}, {})
    except shapes.FenceFault as fault:
        raise NoFence(why=str(WORDS.get(fault.code, fault))) from fault
    version.save()
    for field in ("vehicle_classes", "goods_classes"):
        lists = FenceVersion.objects.values_list(field, flat=True)
        if len({word for words in lists for word in words}) > MOST_CLASSES:
            raise TooManyClasses
    _say_changed()
    return version


def _say_changed() -> None:
    with connection.cursor() as cursor:  # heard at the commit
        cursor.execute("SELECT pg_notify('zhenan_fences', '')")


def shape_of(version: FenceVersion, classes: dict[str, int], goods: dict[str, int]) -> shapes.Fence:
    """The version as the judge knows it. Raises FenceFault. `classes`, `goods`: their numbers by word."""
    end = version.valid_to
    return shapes.Fence(
        id=str(version.fence_id or 0), version=version.version, shape=version.shape,  # type: ignore[arg-type]
        points=tuple((float(p[0]), float(p[1])) for p in version.points), size_m=float(version.size_m or 0),
        hysteresis_m=float(version.hysteresis_m), windows=tuple(shapes.Window(*row) for row in version.windows),
        classes=frozenset(classes[word] for word in version.vehicle_classes if word in classes),
        goods=frozenset(goods[word] for word in version.goods_classes if word in goods),
        speed_kmh=version.speed_kmh, dwell_s=version.dwell_s,
        valid_from_ms=int(version.valid_from.timestamp() * 1000),
        valid_to_ms=shapes.FOREVER if end is None else max(int(end.timestamp() * 1000),
                                                           int(version.valid_from.timestamp() * 1000) + 1),
    )  # fmt: skip


def record_fence_events(events: Sequence[Found], *, at: datetime) -> int:
    """Write events, and those that alarm into the monitoring console; returns how many are new. May be called twice."""
    with transaction.atomic():
        versions = _versions_of(events)
        devices = set(Device.objects.filter(pk__in={e.vehicle for e in events}).values_list("pk", flat=True))
        known = [e for e in events if (e.fence, e.version) in versions and e.vehicle in devices]
        rows = [_record(e, versions[e.fence, e.version]) for e in known]
        there = set(FenceRecord.objects.filter(pk__in=[row.pk for row in rows]).values_list("pk", flat=True))
        fresh = [row for row in {row.pk: row for row in rows}.values() if row.pk not in there]
        FenceRecord.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=2000)
        transitions = _transitions(known, versions)
        if transitions:
            record_transitions(transitions, at=at)
    return len(fresh)


def record_past_events(events: Sequence[Found]) -> int:
    """Write events of the past into the record alone: nobody is alarmed about what was over before it was known."""
    versions = _versions_of(events)
    rows = {e.id: _record(e, versions[e.fence, e.version]) for e in events if (e.fence, e.version) in versions}
    return len(FenceRecord.objects.bulk_create(rows.values(), ignore_conflicts=True, batch_size=2000))


def _versions_of(events: Sequence[Found]) -> dict[tuple[str, int], FenceVersion]:
    rows = FenceVersion.objects.filter(fence_id__in={int(e.fence) for e in events}).select_related("fence")
    return {(str(v.fence_id), v.version): v for v in rows}


def _record(e: Found, version: FenceVersion) -> FenceRecord:
    return FenceRecord(
        id=e.id, device_id=e.vehicle, version=version, kind=e.kind, at=_moment(e.ts), onset=_moment(e.onset),
        value=None if e.value != e.value else e.value,
    )  # fmt: skip


def _transitions(events: Sequence[Found], versions: dict[tuple[str, int], FenceVersion]) -> list[Transition]:
    """Alarms of events: a stay that should not begin or lasts too long, and speed; each ends with its stay."""
    points: dict[int, int] = {}
    wanted = {e.vehicle for e in events}
    for pk, device, channel in Point.objects.filter(device_id__in=wanted).values_list("pk", "device_id", "channel"):
        if channel == "speed_kmh" or device not in points:
            points[device] = pk
    found = []
    for e in events:
        version = versions[e.fence, e.version]
        if e.vehicle not in points:
            continue  # a vehicle without any point has no place in the console: its events are on its own page
        for kind, way in _alarms_of(e, version):
            rule = fence_rule(version.fence, kind)
            value = e.value if kind == "speed" else float("nan")
            found.append(Transition(str(points[e.vehicle]), rule, way, e.ts, e.onset, value, version.level))
    return found


def _alarms_of(e: Found, version: FenceVersion) -> list[tuple[str, str]]:
    if e.kind == "enter":
        return [("enter", "raise")] if version.alarm_on_enter else []
    if e.kind == "leave":  # the onset of a stay is that of its entry and of its overstay
        return [("enter", "clear"), ("dwell", "clear")]
    return {"dwell": [("dwell", "raise")], "speed": [("speed", "raise")]}.get(e.kind, [("speed", "clear")])


def save_last_positions(positions: PositionColumns) -> None:
    """Bring the table of last positions up to date; older ones than those there change nothing."""
    devices = set(Device.objects.filter(pk__in=positions.vehicle.tolist()).values_list("pk", flat=True))
    columns = (positions.vehicle, positions.ts, positions.lat, positions.lon, positions.speed, positions.heading)
    rows = [
        LastPosition(device_id=v, at=_moment(ts), lat=lat / DEGREE, lon=lon / DEGREE, speed_kmh=speed / 10, heading=h)
        for v, ts, lat, lon, speed, h in zip(*(column.tolist() for column in columns), strict=True)
        if v in devices
    ]
    LastPosition.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["device"], batch_size=2000,
        update_fields=["at", "lat", "lon", "speed_kmh", "heading"],
    )  # fmt: skip


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
