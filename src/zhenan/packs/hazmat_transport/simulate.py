"""A synthetic city's carriers of dangerous goods, their vehicles, and what the terminals on board say.

At scale 1.0: 250 carriers and 5,000 vehicles. Plates have the letter I, which no real plate has behind its first two
signs; roads are invented (zhenan.packkit.roads). Rates are assumptions for a demo, not statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np

from zhenan.packkit import synthetic
from zhenan.packkit.moving import Course, Places, courses, moving_ticks
from zhenan.packkit.roads import Roads, roads_between
from zhenan.packkit.simulate import (
    F64,
    I64,
    U64,
    Columns,
    DeviceSpec,
    SimPoint,
    SimulationContext,
    Spec,
    SubjectSpec,
    Town,
    episode,
    joined,
    rounded,
)

CARRIERS = 250
VEHICLES = 5_000
WAYS = (2, 4)  # of a vehicle: at least, fewer than
PARTNERS = 6  # places that a carrier delivers to
EVERY_S, PARKED_S = 10, 300  # between reports, driving and in the yard
LOCAL_RATIO = 0.82
OFFLINE_PER_DAY = 0.02
LIMIT_KMH = 80.0  # as set in the terminals
PHONES = 19_900_000_000  # the terminals' invented numbers begin here

ELSEWHERE = (("苏", "K"), ("苏", "D"), ("苏", "A"), ("皖", "E"), ("浙", "A"), ("沪", "B"))
BRANDS = (
    "京江",
    "金山",
    "焦山",
    "北固",
    "丹徒",
    "云阳",
    "大港",
    "句曲",
    "扬中",
    "谏壁",
    "南山",
    "长江",
    "宝堰",
    "谷阳",
)


class Goods(NamedTuple):
    """A class of goods, its share, the body it goes in, and what is usually carried: (name, UN number)."""

    code: str
    chance: float
    body: str
    usual: tuple[tuple[str, str], ...]


GOODS = (
    Goods(
        "3", 0.52, "tanker", (("汽油", "1203"), ("柴油", "1202"), ("甲醇", "1230"), ("乙醇", "1170"), ("甲苯", "1294"))
    ),
    Goods("2.1", 0.15, "tanker", (("液化石油气", "1075"), ("液化天然气", "1972"))),
    Goods("2.2", 0.06, "cylinder", (("压缩氧", "1072"), ("压缩氮", "1066"))),
    Goods("2.3", 0.03, "tanker", (("液氯", "1017"), ("无水氨", "1005"))),
    Goods("8", 0.14, "tanker", (("盐酸", "1789"), ("氢氧化钠溶液", "1824"), ("硫酸", "1830"))),
    Goods("5", 0.03, "van", (("过氧化氢溶液", "2014"),)),
    Goods("6.1", 0.03, "van", (("苯酚溶液", "2821"),)),
    Goods("9", 0.03, "stake", (("锂离子电池", "3480"),)),
    Goods("1", 0.01, "van", (("烟花", "0336"),)),
)


def population(ctx: SimulationContext) -> Iterator[Spec]:
    """Carriers with their vehicles, each vehicle with a terminal and the ways it drives."""
    roads = roads_between([_centre(ctx, town) for town in ctx.towns], ctx.rng("roads"), ctx.within)
    carriers = min(ctx.scaled(CARRIERS), ctx.scaled(VEHICLES))
    weights = list(ctx.rng("fleets").lognormal(0, 0.6, carriers))
    fleets = synthetic.shares(ctx.scaled(VEHICLES), weights, least=1)
    number = vehicle = 0
    for place, count in enumerate(synthetic.shares(carriers, synthetic.town_weights(ctx.towns))):
        for _ in range(count):
            carrier = _carrier(ctx, ctx.towns[place], number, fleets[number])
            yield carrier
            partners = list(_partners(ctx, roads, place, number))
            for _ in range(fleets[number]):
                yield from _vehicle(ctx, carrier, partners, vehicle)
                vehicle += 1
            number += 1


def _centre(ctx: SimulationContext, town: Town) -> tuple[float, float]:
    return town.centre or town.sample(ctx.rng("centre", town.code))


def _carrier(ctx: SimulationContext, town: Town, number: int, vehicles: int) -> SubjectSpec:
    rng = ctx.rng("carrier", str(number))
    lon, lat = town.sample(rng)
    person = synthetic.contact(rng, "主要负责人")
    drivers = max(1, round(vehicles * 1.3))
    return SubjectSpec(
        type="hazmat_transport.carrier",
        key=f"HT{number:04d}",
        name=f"{town.name.removesuffix('街道').removesuffix('镇')}{BRANDS[number % len(BRANDS)]}危险品运输有限公司",
        town_code=town.code,
        lon=lon,
        lat=lat,
        address=synthetic.address(rng, town),
        attributes={
            "licence": f"演示交运管许可危字{number:06d}号",
            "licence_until": (ctx.as_of + timedelta(days=int(rng.integers(-20, 1_400)))).isoformat(),
            "vehicles_own": vehicles,
            "drivers": drivers,
            "escorts": drivers,
            "monitors": max(1, -(-vehicles // 100)),
            "rating": synthetic.pick(rng, ("aaa", "aa", "a", "b"), (0.3, 0.4, 0.25, 0.05)),
            "duty_phone": person.phone,
        },
        credit_code=synthetic.credit_code("H", number, town),
        contact=person,
    )


class Partner(NamedTuple):
    """A place that a carrier delivers to, with the way there from its town, (n, 2) of lon, lat."""

    town: str
    way: F64


def _partners(ctx: SimulationContext, roads: Roads, place: int, number: int) -> Iterator[Partner]:
    rng = ctx.rng("partners", str(number))
    others = [n for n in range(len(ctx.towns)) if n != place]
    for there in rng.permutation(others)[:PARTNERS].tolist():
        end = ctx.towns[there].sample(rng)
        yield Partner(ctx.towns[there].name, np.concatenate([roads.way(place, there), [end]]))


def _vehicle(ctx: SimulationContext, carrier: SubjectSpec, partners: Sequence[Partner], number: int) -> Iterator[Spec]:
    rng = ctx.rng("vehicle", str(number))
    goods = GOODS[_chosen(rng, [g.chance for g in GOODS])]
    local = bool(rng.random() < LOCAL_RATIO)
    province, letter = ("苏", "L") if local else ELSEWHERE[int(rng.integers(0, len(ELSEWHERE)))]
    plate = f"{province}{letter}I{number:04d}"
    wanted = int(rng.integers(*WAYS))
    chosen = [partners[int(n)] for n in rng.permutation(len(partners))[:wanted]]
    attributes = _attributes(rng, ctx, goods, plate) | {"local": local, "usual_from": carrier.name[:20]}
    if chosen:
        attributes["usual_to"] = chosen[0].town
    yield SubjectSpec(
        type="hazmat_transport.vehicle",
        key=f"HV{number:05d}",
        name=plate,
        town_code=carrier.town_code,
        lon=carrier.lon,
        lat=carrier.lat,
        address=carrier.address,
        attributes=attributes,
        contact=carrier.contact,
        parent_key=carrier.key,
    )
    yard = [(carrier.lon, carrier.lat)]
    ways = [np.round(np.concatenate([yard, p.way]), 5).tolist() for p in chosen]
    yield DeviceSpec(
        model="hazmat_transport.terminal",
        key=str(PHONES + number),
        subject_key=f"HV{number:05d}",
        installed_on=ctx.as_of - timedelta(days=int(rng.integers(30, 1_500))),
        attributes={"ways": ways, "plate": plate, "version": 2019 if rng.random() < 0.6 else 2013},
        name=plate,
    )


def _chosen(rng: np.random.Generator, chances: Sequence[float]) -> int:
    return int(synthetic.pick(rng, [str(n) for n in range(len(chances))], list(chances)))


def _attributes(rng: np.random.Generator, ctx: SimulationContext, goods: Goods, plate: str) -> dict[str, Any]:
    def until(soonest: int, latest: int) -> str:
        return (ctx.as_of + timedelta(days=int(rng.integers(soonest, latest)))).isoformat()

    name, un_number = goods.usual[int(rng.integers(0, len(goods.usual)))]
    found = {
        "plate": plate,
        "plate_province": plate[0],
        "plate_letter": plate[1],
        "plate_colour": "yellow" if rng.random() < 0.94 else "yellow_green",
        "vehicle_class": goods.body,
        "goods_class": goods.code,
        "goods_name": name,
        "un_number": un_number,
        "load_t": round(float(rng.uniform(8, 31)), 1),
        "certificate": f"演示交运管{int(rng.integers(0, 10**8)):08d}号",
        "certificate_until": until(-10, 1_400),
        "inspected_until": until(-5, 360),
        "insured_until": until(-3, 360),
        "driver": synthetic.person(rng),
        "driver_certificate": f"YS{int(rng.integers(0, 10**8)):08d}",
        "escort": synthetic.person(rng),
        "escort_certificate": f"YY{int(rng.integers(0, 10**8)):08d}",
    }
    if goods.body == "tanker":
        found["tank_until"] = until(-8, 360)
    return found


# What the terminals say


_COURSES: dict[tuple[int, str], tuple[Any, Course | None]] = {}


def _course_of(point: SimPoint) -> Course | None:
    """The point's course, made once for the attributes that it has."""
    known = _COURSES.get((point.seed, point.device_key))
    if known is None or known[0] is not point.attributes:
        (course,) = courses([point.device_seed], [point.attributes.get("ways") or ()])
        known = _COURSES[point.seed, point.device_key] = (point.attributes, course)
    return known[1]


def places(points: Sequence[SimPoint], ts: I64) -> Places:
    """Where the vehicle of each point is at each moment."""
    found = Places(*(np.full(ts.size, np.nan) for _ in Places._fields))
    mine: dict[str, list[int]] = {}
    for n, point in enumerate(points):
        mine.setdefault(point.device_key, []).append(n)
    for several in mine.values():
        course = _course_of(points[several[0]])
        if course is not None:
            rows = np.array(several)
            for column, part in zip(found, course.where(ts[rows]), strict=True):
                column[rows] = part
    return found


def readings(points: Sequence[SimPoint], t0_ms: int, t1_ms: int, rng: np.random.Generator) -> Columns:
    """Every reading of the points in [t0, t1): speed and alarm bits at each report, safety alarms as they change."""
    vehicles: dict[str, dict[str, SimPoint]] = {}
    for point in points:
        vehicles.setdefault(point.device_key, {})[point.measure] = point
    firsts = [next(iter(several.values())) for several in vehicles.values()]
    seeds, drives = np.array([point.device_seed for point in firsts], np.uint64), [_course_of(p) for p in firsts]
    row, ts, place = moving_ticks(seeds, drives, t0_ms, t1_ms, every_s=EVERY_S, parked_s=PARKED_S)
    there = np.isnan(episode(seeds[row], ts, 90, OFFLINE_PER_DAY, 2_000, 15_000))
    row, ts, speed = row[there], ts[there], place.speed_kmh[there]
    parts = []
    wanted = {point.measure for point in points}
    for measure, value_of in VALUES.items():
        if measure not in wanted:
            continue
        index = np.array([v[measure].index if measure in v else -1 for v in vehicles.values()], np.int32)[row]
        value = value_of(seeds[row], ts, speed)
        kept = (index >= 0) & ~np.isnan(value)
        parts.append(Columns(index[kept], ts[kept], value[kept]))
    return joined(parts)


Value = Callable[[U64, I64, F64], F64]


def _speed(seed: U64, ts: I64, speed: F64) -> F64:
    return rounded(speed, 1)


def _too_fast(seed: U64, ts: I64, speed: F64) -> F64:
    return (speed > LIMIT_KMH).astype(np.float64)


def _bit(tag: int, per_day: float, shortest_s: float, longest_s: float) -> Value:
    """An alarm bit: on while the day's incident lasts and the vehicle drives."""

    def value(seed: U64, ts: I64, speed: F64) -> F64:
        since = episode(seed, ts, tag, per_day, shortest_s, longest_s)
        return (~np.isnan(since) & (speed > 0)).astype(np.float64)

    return value


def _safety(tag: int, per_day: float) -> Value:
    """An active-safety alarm: its level as it begins, 0 as it ends, NaN (no report) at all other times."""

    def on(seed: U64, ts: I64) -> Any:
        return ~np.isnan(episode(seed, ts, tag, per_day, 15, 60))

    def value(seed: U64, ts: I64, speed: F64) -> F64:
        now, before = on(seed, ts), on(seed, ts - EVERY_S * 1000)
        level = np.where(speed > 50, 2.0, 1.0)
        begins, ends = now & ~before & (speed > 0), before & ~now
        return np.where(begins, level, np.where(ends, 0.0, np.nan))

    return value


VALUES: dict[str, Value] = {
    "speed": _speed,
    "overspeed_status": _too_fast,
    "emergency_status": _bit(10, 0.0004, 600, 1_200),
    "driving_fatigue_status": _bit(11, 0.008, 900, 3_600),
    "fatigue_warning_status": _bit(12, 0.02, 600, 1_800),
    "driving_time_status": _bit(13, 0.003, 1_800, 7_200),
    "gnss_fault_status": _bit(14, 0.003, 900, 3_600),
    "power_lost_status": _bit(15, 0.003, 300, 3_600),
    "off_route_status": _bit(16, 0.008, 300, 2_400),
    "collision_status": _bit(17, 0.0008, 600, 1_800),
    "rollover_status": _bit(18, 0.0001, 1_800, 7_200),
    "adas_collision": _safety(21, 0.12),
    "adas_lane": _safety(22, 0.24),
    "adas_headway": _safety(23, 0.24),
    "adas_pedestrian": _safety(24, 0.06),
    "dsm_fatigue": _safety(31, 0.15),
    "dsm_phone": _safety(32, 0.18),
    "dsm_smoking": _safety(33, 0.09),
    "dsm_distraction": _safety(34, 0.18),
    "dsm_absent": _safety(35, 0.03),
}
