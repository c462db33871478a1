"""Vehicles: the fences of the city, some days of positions, what happened at the fences, and where everyone is now."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import shapely
from django.conf import settings

from zhenan.domains.monitoring.models import Point
from zhenan.domains.transport import queries, services
from zhenan.domains.transport.models import Fence
from zhenan.kernel.people.models import Post, User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.packkit.simulate import SimPoint, module_of
from zhenan.server.demo.live import readings
from zhenan.server.demo.plan import SOURCE, Demo
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees
from zhenan.telemetry.tracks.judge import FenceEvent, FenceJudge

PAST_DAYS = 2
AT_MOST = 300  # vehicles with a past; the others begin with the simulator
EPOCH = "demo"  # not the log's: the tracks process's own place in the log stays as it is
DRIVING, STANDING = 0b11, 0b10  # status words: positioned, with ignition or without
HOUR_MS = 3_600_000


def make(demo: Demo) -> str:
    """Write fences, positions, fence events and last positions; nothing where no pack has vehicles."""
    points = _points(demo)
    if not points:
        return "no vehicles"
    fences = _fences(demo, points)
    now_ms = int(demo.now.timestamp() * 1000)
    past = positions(demo, points[:AT_MOST], now_ms - PAST_DAYS * 24 * HOUR_MS, now_ms)
    if len(past):
        queries.tracks(settings.HISTORY_URL).append(past, EPOCH, demo.seed)
    events = _events(demo, past)
    services.record_past_events(events)
    recent = positions(demo, points, now_ms - HOUR_MS, now_ms)
    services.save_last_positions(_newest(recent))
    return f"{fences} fences, {len(past)} positions of {min(len(points), AT_MOST)} vehicles, {len(events)} fence events"


def _points(demo: Demo) -> list[SimPoint]:
    """A point a vehicle, whose index is the device's id."""
    rows = Point.objects.filter(device__subject__source=SOURCE, device__protocol="jt808", measure="speed")
    fields = ("device_id", "device__key", "device__subject__key", "device__model", "measure", "device__attributes")
    found = rows.order_by("device__key").values_list(*fields)
    return [SimPoint(pk, key, site, model, measure, demo.seed, more) for pk, key, site, model, measure, more in found]


def positions(demo: Demo, points: list[SimPoint], t0_ms: int, t1_ms: int) -> PositionColumns:
    """What the terminals of vehicles report in [t0, t1), as the table keeps it, by time."""
    found = readings(points, t0_ms, t1_ms, demo)
    by_device = {point.index: point for point in points}
    parts = []
    for pack in sorted({point.model.partition(".")[0] for point in points}):
        module = module_of(registry().folders[pack])
        mine = np.array([by_device[pk].model.startswith(f"{pack}.") for pk in found.point.tolist()], bool)
        vehicle, ts = found.point[mine], found.ts[mine]
        if module is None or not ts.size:
            continue
        there = module.places([by_device[pk] for pk in vehicle.tolist()], ts)
        status = np.where(there.speed_kmh > 0, DRIVING, STANDING)
        parts.append(
            PositionColumns.of(
                vehicle, ts, from_degrees(there.lat), from_degrees(there.lon), np.round(there.speed_kmh * 10),
                np.round(there.heading) % 360, status, np.isnan(there.lat),
            )
        )  # fmt: skip
    whole = PositionColumns.concat(parts)
    return whole.take(np.lexsort((whole.vehicle, whole.ts)))


def _newest(found: PositionColumns) -> PositionColumns:
    last = {vehicle: row for row, vehicle in enumerate(found.vehicle.tolist())}
    return found.take(np.array(sorted(last.values()), np.int64))


def _events(demo: Demo, past: PositionColumns) -> list[FenceEvent]:
    """Stays that were over before now: one that goes on begins anew for the process that watches from here on."""
    setup = queries.fence_setup(demo.now)
    events, _verdict = FenceJudge(setup.fences, setup.kinds).judge(past)
    over = {(e.vehicle, e.fence, e.version, e.onset) for e in events if e.kind == "leave"}
    ended = {(e.vehicle, e.fence, e.version, e.onset) for e in events if e.kind == "speed_end"}
    whole = over | ended
    return [e for e in events if (e.vehicle, e.fence, e.version, e.onset) in whole]


# Fences


def _fences(demo: Demo, points: list[SimPoint]) -> int:
    office = Post.objects.filter(role="city_office").select_related("user").order_by("pk").first()
    city = Division.objects.filter(level="city").order_by("code").first()
    if office is None or city is None:
        return 0
    by = User.objects.get(pk=office.user_id)
    began = demo.now - timedelta(days=40)
    for name, terms in _wanted(points):
        services.make_fence(name=name, division=city, terms=terms, valid_from=began, by=by, at=began)
    _narrowed(demo, by)
    return Fence.objects.filter(versions__made_by=by).distinct().count()


def _wanted(points: list[SimPoint]) -> list[tuple[str, dict[str, Any]]]:
    core = _core()
    found: list[tuple[str, dict[str, Any]]] = []
    if core:
        daytime = [[0b1111111, 7 * 60, 19 * 60]]
        found.append(("主城区爆炸品、毒性气体限行区（演示）", {
            "shape": "polygon", "points": core, "windows": daytime, "goods_classes": ["1", "2.3"],
            "level": 3,
        }))  # fmt: skip
    town = Division.objects.filter(level="town", name__endswith="镇").exclude(lon=None).order_by("code").first()
    if town is not None and town.lat is not None and town.lon is not None:
        found.append((f"{town.name}水源地保护区（演示）", {
            "shape": "circle", "points": [[town.lat, town.lon]], "size_m": 1500.0, "alarm_on_enter": False,
            "dwell_s": 20 * 60, "level": 2,
        }))  # fmt: skip
    way = _trunk(points)
    if way:
        found.append(("危货运输通道限速（演示）", {
            "shape": "corridor", "points": way, "size_m": 150.0, "alarm_on_enter": False, "speed_kmh": 80.0, "level": 3,
        }))  # fmt: skip
    return found


def _core() -> list[list[float]]:
    """The hull of the streets of the two inner districts, [lat, lon]; [] where there are too few."""
    streets = Division.objects.filter(level="town", name__endswith="街道", parent__name__in=("京口区", "润州区"))
    places = list(streets.exclude(lon=None).order_by("code").values_list("lon", "lat"))
    hull = (
        shapely.MultiPoint(places).convex_hull.buffer(0.004, quad_segs=2).simplify(0.001) if len(places) > 2 else None
    )
    if hull is None or hull.geom_type != "Polygon":
        return []
    return [[round(lat, 5), round(lon, 5)] for lon, lat in list(hull.exterior.coords)[:-1]]


def _trunk(points: list[SimPoint]) -> list[list[float]]:
    """The middle of a way that a vehicle drives, [lat, lon]."""
    for point in points:
        for way in point.attributes.get("ways", ()):
            if len(way) >= 12:
                return [[lat, lon] for lon, lat in way[2:-2]][:30]
    return []


def _narrowed(demo: Demo, by: User) -> None:
    """One fence was changed since, so that it has a version for the trips before and one for those after."""
    fence = Fence.objects.filter(versions__shape="circle", versions__made_by=by).order_by("pk").first()
    if fence is None:
        return
    version = fence.versions.latest("version")
    terms = {name: getattr(version, name) for name in services.TERMS} | {"dwell_s": 10 * 60, "size_m": 2000.0}
    at = demo.now - timedelta(days=2)
    services.change_fence(fence.pk, terms=terms, valid_from=at, by=by, at=at)
