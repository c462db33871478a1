"""A synthetic city's gas caterers and what their devices say.

At scale 1.0: 9,385 caterers on gas, 9,376 of them with detector and shut-off valve (99.9 %), as the city published.
Incidents, in expected number a day for each site (assumptions for a demo, not statistics):
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np

from zhenan.packkit import synthetic
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
    local_hour,
    rounded,
    ticks,
    uniform,
)

USERS = 9_385
FITTED = 9_376
FANS_RATIO = 0.35  # of fitted sites with a linked fan that reports

LEAKS_PER_DAY = 0.0008
COOKING_PEAKS_PER_DAY = 0.010  # false alarms from alcohol and steam
CO_PER_DAY = 0.0005
FAULTS_PER_DAY = 0.0020
OFFLINE_PER_DAY = 0.0100
JAMS_PER_DAY = 0.0003
FAN_FAULTS_PER_DAY = 0.0005
LINKAGE_FAILS_RATIO = 0.03  # of leaks
STUCK_RATIO = 0.002  # of detectors

BRANDS = [
    "老镇江",
    "金山",
    "焦山",
    "北固楼",
    "西津渡",
    "千秋桥",
    "京江",
    "谏壁",
    "宝堰",
    "茅山",
    "句曲",
    "扬中江鲜",
    "恒顺坊",
    "运河人家",
    "一品香",
    "福满楼",
    "同乐",
    "鸿运",
    "江南春",
    "新丰",
]
DISHES = [
    "锅盖面馆",
    "饭店",
    "酒家",
    "小吃店",
    "火锅店",
    "烧烤店",
    "农家菜馆",
    "快餐店",
    "早餐店",
    "面馆",
    "江鲜馆",
    "羊肉馆",
    "龙虾馆",
    "食府",
    "茶餐厅",
]
COMPANIES = [
    "市管道燃气有限公司（虚构）",
    "东区燃气有限公司（虚构）",
    "江南液化气有限公司（虚构）",
    "句曲燃气有限公司（虚构）",
]
GAS_KINDS, GAS_CHANCES = ("natural", "lpg_piped", "lpg_bottled"), (0.62, 0.03, 0.35)
PLACES, PLACE_CHANCES = (
    ("street", "mall", "canteen", "hotel", "farmhouse", "market"),
    (0.62, 0.12, 0.11, 0.05, 0.06, 0.04),
)


def population(ctx: SimulationContext) -> Iterator[Spec]:
    """Caterers with their devices, spread over the towns."""
    users = ctx.scaled(USERS)
    fitted = min(users, ctx.scaled(FITTED))
    bare = set(ctx.rng("bare").choice(users, size=users - fitted, replace=False).tolist())
    number = 0
    for town, count in zip(ctx.towns, synthetic.shares(users, synthetic.town_weights(ctx.towns)), strict=True):
        for _ in range(count):
            rng = ctx.rng("caterer", str(number))
            yield from _site(rng, ctx, town, number, fitted=number not in bare)
            number += 1


def _site(rng: np.random.Generator, ctx: SimulationContext, town: Town, number: int, *, fitted: bool) -> Iterator[Spec]:
    key = f"CG{number:05d}"
    attributes = _attributes(rng, ctx.as_of, fitted=fitted)
    lon, lat = town.sample(rng)
    person = synthetic.contact(rng, "经营者")
    attributes["duty_phone"] = person.phone
    yield SubjectSpec(
        type="catering_gas.caterer",
        key=key,
        name=_name(rng, town, number),
        town_code=town.code,
        lon=lon,
        lat=lat,
        address=synthetic.address(rng, town),
        attributes=attributes,
        credit_code=synthetic.credit_code("C", number, town, sole_trader=bool(rng.random() < 0.7)),
        contact=person,
    )
    if fitted:
        made_on = date.fromisoformat(attributes["detector_made_on"])
        installed_on = made_on + timedelta(days=int(rng.integers(20, 120)))
        yield DeviceSpec("catering_gas.gas_detector", f"{key}-D", key, installed_on, made_on)
        yield DeviceSpec("catering_gas.shutoff_valve", f"{key}-V", key, installed_on, made_on)
        if rng.random() < FANS_RATIO:
            yield DeviceSpec("catering_gas.exhaust_fan", f"{key}-F", key, installed_on, made_on)


def _name(rng: np.random.Generator, town: Town, number: int) -> str:
    place = town.name.removesuffix("街道").removesuffix("镇")
    brand, dish = BRANDS[int(rng.integers(0, len(BRANDS)))], DISHES[int(rng.integers(0, len(DISHES)))]
    return f"{place}{brand}{dish}（{number % 97 + 1}店）"


def _attributes(rng: np.random.Generator, as_of: date, *, fitted: bool) -> dict[str, Any]:
    kind = synthetic.pick(rng, GAS_KINDS, GAS_CHANCES)
    place = synthetic.pick(rng, PLACES, PLACE_CHANCES)
    area = round(float(np.clip(rng.lognormal(4.3, 0.8), 8, 5000)), 1)
    cylinders = int(rng.integers(1, 9)) if kind == "lpg_bottled" else 0

    def ago(shortest: int, longest: int) -> str:
        return (as_of - timedelta(days=int(rng.integers(shortest, longest)))).isoformat()

    found: dict[str, Any] = {
        "gas_kind": kind,
        "place_kind": place,
        "floor_area_m2": area,
        "seats": int(area * 0.5),
        "staff": max(1, int(area / 25)),
        "basement": bool(rng.random() < 0.02),
        "gas_company": COMPANIES[2 if kind == "lpg_bottled" else int(rng.choice([0, 1, 3]))],
        "cylinders": cylinders,
        "cylinder_kg": cylinders * 15.0,
        "shutoff_fitted": fitted,
        "hose_kind": synthetic.pick(rng, ("metal", "rubber", "rigid", "other"), (0.6, 0.2, 0.17, 0.03)),
        "hose_installed_on": ago(10, 1500),
        "gas_checked_on": ago(1, 420),
    }
    if fitted:
        found["detector_made_on"] = ago(130, 1115)  # a few are past their three years
        found["linkage_tested_on"] = ago(1, 200)
        found["linkage_result"] = "passed" if rng.random() < 0.985 else "failed"
        found["valve_action_s"] = round(float(rng.uniform(0.5, 9.5)), 1)
        if rng.random() < 0.8:
            found["subsidy_yuan"] = float(rng.choice([300, 500, 800]))
            found["subsidy_on"] = ago(5, 120)
    return found


def readings(points: Sequence[SimPoint], t0_ms: int, t1_ms: int, rng: np.random.Generator) -> Columns:
    """Every reading of the points in [t0, t1): meal rhythm, leaks, cooking peaks, faults, times offline."""
    groups: dict[str, list[SimPoint]] = {}
    for point in points:
        groups.setdefault(point.measure, []).append(point)
    parts = []
    for measure, several in groups.items():
        every_s, value_of = MEASURES[measure]
        index = np.array([p.index for p in several], dtype=np.int32)
        device = np.array([p.device_seed for p in several], dtype=np.uint64)
        site = np.array([p.site_seed for p in several], dtype=np.uint64)
        row, ts = ticks(device, every_s * 1000, t0_ms, t1_ms)
        value = value_of(site[row], device[row], ts, rng)
        there = np.isnan(episode(device[row], ts, 90, OFFLINE_PER_DAY, 2_400, 30_000))
        parts.append(Columns(index[row][there], ts[there], value[there]))
    return joined(parts)


def cooking_ratio(ts: I64) -> F64:
    """How busy the kitchen is, 0-1: peaks at breakfast, noon and evening, nothing at night."""
    hour = local_hour(ts)
    peaks = ((7.0, 0.9, 0.4), (11.8, 1.0, 1.0), (18.2, 1.3, 1.0))
    return np.clip(sum(high * np.exp(-0.5 * ((hour - at) / width) ** 2) for at, width, high in peaks), 0, 1)


def leak_lel(site: U64, ts: I64) -> F64:
    """%LEL of a leak: a ramp to 25-70 in half its time, then the decay after the shut-off; 0 outside a leak."""
    since = episode(site, ts, 10, LEAKS_PER_DAY, 900, 2_700)
    day = (ts + 8 * 3_600_000) // 86_400_000
    length = 900 + 1_800 * uniform(site, day, 10, 1)
    peak = 25 + 45 * uniform(site, day, 10, 9)
    ramp = np.where(since < length / 2, since / (length / 2), np.exp(-(since - length / 2) / 150))
    return np.where(np.isnan(since), 0.0, peak * ramp)


def _gas(site: U64, device: U64, ts: I64, rng: np.random.Generator) -> F64:
    cooking = cooking_ratio(ts)
    value = 0.3 + 1.8 * cooking * uniform(site, 3) + np.abs(rng.normal(0, 0.25, ts.size))
    whiff = episode(site, ts, 20, COOKING_PEAKS_PER_DAY, 30, 240)
    value += np.where(np.isnan(whiff), 0.0, (8 + 18 * uniform(site, ts // 60_000, 21)) * (cooking > 0.15))
    value = np.clip(value + leak_lel(site, ts), 0, 100)
    dead = uniform(device, 30) < STUCK_RATIO
    return rounded(np.where(dead, np.round(3 * uniform(device, 31), 1), value), 2)


def _co(site: U64, device: U64, ts: I64, rng: np.random.Generator) -> F64:
    base = 2 + 9 * cooking_ratio(ts) + np.abs(rng.normal(0, 0.8, ts.size))
    since = episode(device, ts, 40, CO_PER_DAY, 900, 3_600)
    return rounded(base + np.where(np.isnan(since), 0.0, np.clip(since / 3, 0, 240)), 1)


def _linkage(site: U64, device: U64, ts: I64, rng: np.random.Generator) -> F64:
    leaking = leak_lel(site, ts) > 5
    fails = uniform(site, (ts + 8 * 3_600_000) // 86_400_000, 50) < LINKAGE_FAILS_RATIO
    return np.where(leaking, np.where(fails, 2.0, 1.0), 0.0)


def _fault(site: U64, device: U64, ts: I64, rng: np.random.Generator) -> F64:
    return (~np.isnan(episode(device, ts, 60, FAULTS_PER_DAY, 1_800, 20_000))).astype(np.float64)


def _valve(site: U64, device: U64, ts: I64, rng: np.random.Generator) -> F64:
    hour = local_hour(ts)
    opened = (hour >= 6) & (hour < 22) & (_linkage(site, device, ts, rng) != 1)
    jammed = ~np.isnan(episode(device, ts, 70, JAMS_PER_DAY, 3_600, 40_000))
    return np.where(jammed, 3.0, opened.astype(np.float64))


def _fan(site: U64, device: U64, ts: I64, rng: np.random.Generator) -> F64:
    running = (cooking_ratio(ts) > 0.3) | (leak_lel(site, ts) > 5)
    faulty = ~np.isnan(episode(device, ts, 80, FAN_FAULTS_PER_DAY, 3_600, 40_000))
    return np.where(faulty, 2.0, running.astype(np.float64))


# measure → (seconds between reports, value)
MEASURES = {
    "gas_lel": (60, _gas),
    "co_ppm": (60, _co),
    "linkage_state": (300, _linkage),
    "fault_status": (300, _fault),
    "valve_state": (300, _valve),
    "fan_state": (300, _fan),
}
