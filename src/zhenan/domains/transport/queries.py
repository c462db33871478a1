"""What the tracks process and the pages ask: fences with classes, vehicles, a vehicle's day, an area's minutes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Max, Min, Q, QuerySet
from django.utils import timezone
from django.utils.translation import get_language

from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.domains.register.models import Subject
from zhenan.domains.transport.classes import CLASS, GOODS
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion
from zhenan.domains.transport.services import RAISES, fence_rules, shape_of
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns
from zhenan.telemetry.tracks.fences import Fence as Shape
from zhenan.telemetry.tracks.judge import VehicleKind
from zhenan.telemetry.tracks.table import Box, Tracks
from zhenan.telemetry.tracks.trips import LEFT_OUT, Track, track_of

MOST_DRAWN = 5_000  # positions of a vehicle's day that a page gets
MOST_IN_AREA = 20_000


@dataclass(frozen=True)
class FenceSetup:
    """Everything that the judge of fences needs. `stamp` changes whenever it would."""

    stamp: str
    fences: tuple[Shape, ...]
    kinds: dict[int, VehicleKind]


def fences_stamp() -> str:
    """Changes whenever a fence, a version or a vehicle did."""
    seen = FenceVersion.objects.aggregate(last=Max("made_at"), count=Count("pk"), ended=Max("valid_to"))
    fences = Fence.objects.aggregate(last=Max("ended_at"))
    vehicles = Device.objects.filter(protocol="jt808").aggregate(
        last=Max("changed_at"), subject=Max("subject__updated_at"), count=Count("pk")
    )
    return "|".join(str(value) for found in (seen, fences, vehicles) for value in found.values())


def fence_setup(at: datetime) -> FenceSetup:
    """Versions that are valid now or later, or ended less than a week ago: positions come late."""
    stamp = fences_stamp()
    rows = FenceVersion.objects.filter(Q(valid_to=None) | Q(valid_to__gt=at - timedelta(days=7)))
    versions = list(rows.order_by("fence_id", "version"))
    classes, goods = _numbers(versions, "vehicle_classes"), _numbers(versions, "goods_classes")
    vehicles = Device.objects.filter(protocol="jt808", active=True).values_list("pk", "subject__attributes")
    kinds = {
        pk: VehicleKind(classes.get(str(found.get(CLASS)), -1), goods.get(str(found.get(GOODS)), -1))
        for pk, found in vehicles
    }
    return FenceSetup(stamp, tuple(shape_of(v, classes, goods) for v in versions), kinds)


def _numbers(versions: Sequence[FenceVersion], field: str) -> dict[str, int]:
    words = sorted({word for version in versions for word in getattr(version, field)})
    return {word: number for number, word in enumerate(words)}


@lru_cache(maxsize=4)
def tracks(url: str) -> Tracks:
    """The table of positions, beside the history's."""
    return Tracks(f"{url.rstrip('/')}-positions")


def vehicles(user: User) -> QuerySet[Device]:
    """Vehicles that the user may see: devices that speak JT/T 808."""
    return Device.objects.visible_to(user).filter(protocol="jt808")


def measured(kind: str, value: float | None) -> str:
    """What an event measured, with its unit: the speed, or how long the stay was.

    >>> measured("enter", 61.74), measured("dwell", 1980), measured("leave", 40)
    ('61.7 km/h', '33 min', '40 s')
    """
    if value is None:
        return ""
    if kind in ("leave", "dwell"):
        return f"{value:.0f} s" if value < 60 else f"{value / 60:.0f} min"
    return f"{value:.3g} km/h" if value < 10 else f"{value:.1f} km/h".replace(".0 ", " ")


def belongs_to(device: Device) -> str:
    """Whose vehicle it is: the owner of the subject that the terminal is on, else that itself."""
    return (device.subject.owner or device.subject).name


def word_of(subject: Subject, field: str) -> str:
    """What a choice of the subject's type is called; the code itself where its type names none."""
    code = subject.attributes.get(field)
    if code is None:
        return ""
    known = registry().all_objects.get("subject_type", {}).get(subject.type)
    declared = known.field(field) if known else None
    found = next((choice for choice in declared.choices if choice.code == code), None) if declared else None
    return found.name.label(get_language() or "zh-hans") if found else str(code)


def goods_of(device: Device) -> str:
    return word_of(device.subject, GOODS)


def last_seen_in(rows: QuerySet[Device], box: tuple[float, float, float, float]) -> QuerySet[Device]:
    """Of the vehicles those whose last position lies in `box`: west, south, east, north."""
    west, south, east, north = box
    return rows.filter(last_position__lat__range=(south, north), last_position__lon__range=(west, east))


def live(user: User, box: tuple[float, float, float, float] | None) -> dict[str, Any]:
    """Where the user's vehicles are, as GeoJSON; `box`: west, south, east, north."""
    rows = vehicles(user).filter(active=True).exclude(last_position=None).select_related("last_position", "subject")
    if box is not None:
        rows = last_seen_in(rows, box)
    features = []
    for device in rows.order_by("pk")[:MOST_IN_AREA]:
        last = device.last_position
        local = timezone.localtime(last.at)
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [last.lon, last.lat]},
                "properties": {
                    "id": device.pk, "name": device.name, "speed": last.speed_kmh, "heading": last.heading,
                    "at": last.at.isoformat(), "detail": f"{last.speed_kmh:.0f} km/h · {local:%m-%d %H:%M:%S}",
                },
            }
        )  # fmt: skip
    return {"type": "FeatureCollection", "features": features}


def day_span(day: date) -> tuple[int, int]:
    """First moment of a local day and of the next, ms UTC."""
    begin = timezone.make_aware(datetime.combine(day, time()))
    end = timezone.make_aware(datetime.combine(day + timedelta(days=1), time()))
    return int(begin.timestamp() * 1000), int(end.timestamp() * 1000)


def vehicle_day(device: Device, day: date, user: User) -> dict[str, Any]:
    """A vehicle's day for the page: positions [ms, lon, lat, km/h, state], trips, stops, gaps, fences and events.

    Of fences those that the user may see, and those at which this vehicle did something.
    """
    t0, t1 = day_span(day)
    track = track_of(tracks(settings.HISTORY_URL).read([device.pk], t0, t1))
    begin, end = (datetime.fromtimestamp(t / 1000, timezone.get_current_timezone()) for t in (t0, t1))
    events = FenceRecord.objects.filter(device=device, at__gte=begin, at__lt=end).select_related("version__fence")
    versions = FenceVersion.objects.filter(valid_from__lt=end).filter(Q(valid_to=None) | Q(valid_to__gt=begin))
    mine = Q(fence__in=Fence.objects.visible_to(user)) | Q(pk__in=events.values("version"))
    versions = versions.filter(mine)
    return {
        "t0": t0, "t1": t1, **_drawn(track), "jumps": track.jumps, "unfit": track.unfit, "gaps": track.gaps,
        "stops": [{"t0": s.t0_ms, "t1": s.t1_ms, "lat": s.lat, "lon": s.lon} for s in track.stops],
        "trips": [{"t0": t.t0_ms, "t1": t.t1_ms, "km": t.metres / 1000, "max": t.most_kmh} for t in track.trips],
        "events": [
            {"t": int(e.at.timestamp() * 1000), "kind": e.kind, "word": e.get_kind_display(),
             "fence": e.version.fence.name, "version": e.version.version, "value": e.value}
            for e in events.order_by("at", "pk")[:500]
        ],
        "fences": [drawn_fence(v) for v in versions.select_related("fence").order_by("pk")[:500]],
    }  # fmt: skip


def warm_up() -> None:
    """Load the compiled loops behind a vehicle's day: the first use in a process takes the better part of a second."""
    track_of(PositionColumns.of([1, 1], [0, 1000], *([0, 0] for _column in range(6))))


def _drawn(track: Track) -> dict[str, Any]:
    """At most MOST_DRAWN positions: evenly left out, never one at which moving and stopping change."""
    n = len(track.positions)
    keep = np.zeros(n, bool)
    if n:
        keep[:: max(1, -(-n // MOST_DRAWN))] = True
        keep[np.flatnonzero(np.diff(track.state) != 0)[:MOST_DRAWN]] = True
        keep[[0, -1]] = True
        keep &= track.state != LEFT_OUT
    p = track.positions.take(keep)
    columns = (p.ts.tolist(), (p.lon / DEGREE).tolist(), (p.lat / DEGREE).tolist(), (p.speed / 10).tolist(),
               track.state[keep].tolist())  # fmt: skip
    return {"positions": [list(row) for row in zip(*columns, strict=True)], "count": n}


def drawn_fence(version: FenceVersion) -> dict[str, Any]:
    """A version as the map draws it."""
    return {
        "name": version.fence.name, "version": version.version, "shape": version.shape, "points": version.points,
        "size_m": version.size_m,
    }  # fmt: skip


def fence_of_alarm(alarm: Alarm, user: User | AnonymousUser) -> Fence | None:
    """The fence that an alarm was raised at, where the user may see it: the one whose event began with it."""
    began = FenceRecord.objects.filter(device=alarm.device_id, onset=alarm.onset, kind__in=list(RAISES))
    rows = Fence.objects.visible_to(user).filter(pk__in=began.values("version__fence"))
    return next((fence for fence in rows if alarm.rule in fence_rules(fence)), None)


def city_box() -> tuple[float, float, float, float]:
    """West, south, east, north of the divisions' places, a little wider."""
    ends = Division.objects.filter(active=True, lon__isnull=False, lat__isnull=False).aggregate(
        Min("lon"), Min("lat"), Max("lon"), Max("lat")
    )
    if ends["lon__min"] is None:
        return -0.1, -0.1, 0.1, 0.1  # no division has a place yet: an area without anybody
    return ends["lon__min"] - 0.1, ends["lat__min"] - 0.1, ends["lon__max"] + 0.1, ends["lat__max"] + 0.1


def area(user: User, box: Box, at_ms: int, minutes: int) -> dict[str, Any]:
    """All of the user's vehicles in an area in the minutes up to a moment: tracks by vehicle. Raises ValueError."""
    found = tracks(settings.HISTORY_URL).read_area(box, at_ms - minutes * 60_000, at_ms + 1)
    mine = dict(vehicles(user).filter(pk__in=np.unique(found.vehicle).tolist()).values_list("pk", "name"))
    found = found.take(np.isin(found.vehicle, list(mine)))
    return {"at": at_ms, "minutes": minutes, "vehicles": _by_vehicle(found, mine), "left_out": max(
        0, len(found) - MOST_IN_AREA)}  # fmt: skip


def _by_vehicle(found: PositionColumns, names: dict[int, str]) -> list[dict[str, Any]]:
    step = max(1, -(-len(found) // MOST_IN_AREA))
    grouped = []
    for vehicle in np.unique(found.vehicle).tolist():
        part = found.take(found.vehicle == vehicle)
        place = np.unique(np.append(np.arange(0, len(part), step), len(part) - 1))
        part = part.take(place)
        columns = (part.ts.tolist(), (part.lon / DEGREE).tolist(), (part.lat / DEGREE).tolist(),
                   (part.speed / 10).tolist())  # fmt: skip
        points = [list(row) for row in zip(*columns, strict=True)]
        grouped.append({"id": vehicle, "name": names[vehicle], "points": points})
    return grouped
