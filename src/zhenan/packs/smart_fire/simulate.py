"""A synthetic city's smart-fire centres, sites and terminals, and what the terminals say.

At scale 1.0: 17 centres, 9,297 sites, 83,491 terminals (transmission devices included), as the city published.
Incidents, in expected number a day (assumptions for a demo, not statistics):
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import numpy as np

from zhenan.packkit import synthetic
from zhenan.packkit.simulate import (
    CHINA_MS,
    DAY_MS,
    F64,
    I64,
    U64,
    Columns,
    DeviceSpec,
    OrganisationSpec,
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

CENTRES = 17
SITES = 9_297
TERMINALS = 83_491

SMOKE_PER_DAY = 0.0004  # a detector: mostly cooking, smoking, dust
BUTTONS_PER_DAY = 0.00005
FAULTS_PER_DAY = 0.0008
SHIELDED_PER_DAY = 0.0003
LEAKAGE_PER_DAY = 0.0020  # residual current rising above 300 mA
HOT_CABLES_PER_DAY = 0.0010
OVERLOADS_PER_DAY = 0.0040
LOW_PRESSURE_PER_DAY = 0.0015
DRAINED_PER_DAY = 0.0008
MAINS_CUTS_PER_DAY = 0.0030
OFFLINE_PER_DAY = 0.0050
TAMPER_PER_DAY = 0.0001
STANDALONE_RATIO = 0.35  # of small sites: stand-alone detectors only, no transmission device


class Kind(NamedTuple):
    """How often a kind of place occurs, its typical number of terminals, and words for names."""

    code: str
    chance: float
    terminals: float
    words: tuple[str, ...]


KINDS = (
    Kind("small_shop", 0.24, 5, ("超市", "便利店", "百货店", "五金店", "服装店")),
    Kind("small_restaurant", 0.15, 5, ("面馆", "小吃店", "饭店")),
    Kind("small_hotel", 0.06, 9, ("旅馆", "宾馆", "民宿")),
    Kind("small_entertainment", 0.02, 8, ("歌舞厅", "量贩歌城")),
    Kind("small_internet", 0.02, 8, ("网吧", "网咖")),
    Kind("small_beauty", 0.06, 5, ("美容院", "足浴店", "浴室")),
    Kind("small_clinic", 0.04, 5, ("诊所", "口腔门诊部")),
    Kind("small_school", 0.06, 7, ("幼儿园", "培训中心", "托管班")),
    Kind("small_workshop", 0.12, 6, ("加工厂", "木业作坊", "制衣坊")),
    Kind("rented_house", 0.07, 6, ("出租公寓", "自建房商铺")),
    Kind("high_rise", 0.05, 32, ("大厦", "商务楼", "花园高层")),
    Kind("mall", 0.02, 45, ("购物中心", "农贸市场", "商城")),
    Kind("hotel", 0.02, 30, ("大酒店", "国际饭店")),
    Kind("school", 0.02, 26, ("小学", "中学", "职业学校")),
    Kind("hospital", 0.01, 45, ("医院", "卫生院")),
    Kind("elderly_home", 0.01, 18, ("养老院", "护理院")),
    Kind("warehouse", 0.01, 20, ("物流园", "仓储中心")),
    Kind("factory", 0.015, 22, ("机械有限公司", "化纤有限公司", "电器有限公司")),
    Kind("heritage", 0.005, 12, ("古建筑群", "纪念馆")),
)
BRANDS = [
    "金山",
    "焦山",
    "北固",
    "京江",
    "润州",
    "丹徒",
    "谷阳",
    "云阳",
    "三茅",
    "华阳",
    "茅山",
    "宝华",
    "大港",
    "丁卯",
    "新区",
    "南山",
    "恒顺",
    "江南",
    "长江",
    "朝阳",
]

# (terminal model, share behind a transmission device, component type)
BEHIND = (
    ("smoke_detector", 0.55, 42),
    ("heat_detector", 0.08, 31),
    ("call_point", 0.10, 23),
    ("smart_electricity", 0.17, 16),
    ("water_pressure_sensor", 0.07, 99),
    ("water_level_sensor", 0.03, 92),
)
SYSTEM_OF = {"smart_electricity": 0, "water_pressure_sensor": 11, "water_level_sensor": 11}


def population(ctx: SimulationContext) -> Iterator[Spec]:
    """Centres, then sites with their terminals, spread over the towns."""
    centres = list(_centres(ctx))
    yield from centres
    sites = ctx.scaled(SITES)
    kinds = [_kind(ctx.rng("kind", str(i))) for i in range(sites)]
    sizes = synthetic.shares(max(2 * sites, ctx.scaled(TERMINALS)), _sizes(ctx, kinds), least=2)
    number = 0
    for town, count in zip(ctx.towns, synthetic.shares(sites, synthetic.town_weights(ctx.towns)), strict=True):
        for _ in range(count):
            rng = ctx.rng("site", str(number))
            centre = _centre_of(town, ctx, centres)
            yield from _site(rng, ctx, town, number, kinds[number], sizes[number], centre)
            number += 1


def _centres(ctx: SimulationContext) -> Iterator[OrganisationSpec]:
    """Centres in the first towns of each stretch of the list; 17 at full scale."""
    count = min(len(ctx.towns), ctx.scaled(CENTRES))
    for i in range(count):
        town = ctx.towns[i * len(ctx.towns) // count]
        yield OrganisationSpec(
            kind="service_centre",
            key=f"SFC{i + 1:02d}",
            name=f"{town.district}{town.name}智慧消防服务中心",
            division_code=town.code,
            phone=synthetic.phone(ctx.rng("centre", str(i))),
        )


def _centre_of(town: Town, ctx: SimulationContext, centres: Sequence[OrganisationSpec]) -> OrganisationSpec:
    place = next(i for i, other in enumerate(ctx.towns) if other.code == town.code)
    return centres[place * len(centres) // len(ctx.towns)]


def _kind(rng: np.random.Generator) -> Kind:
    total = sum(kind.chance for kind in KINDS)
    code = synthetic.pick(rng, [k.code for k in KINDS], [k.chance / total for k in KINDS])
    return next(k for k in KINDS if k.code == code)


def _sizes(ctx: SimulationContext, kinds: Sequence[Kind]) -> list[float]:
    """Relative numbers of terminals: the kind's typical number, log-normally spread."""
    spread = ctx.rng("sizes").lognormal(0, 0.35, len(kinds))
    return [kind.terminals * float(s) for kind, s in zip(kinds, spread, strict=True)]


def _site(
    rng: np.random.Generator,
    ctx: SimulationContext,
    town: Town,
    number: int,
    kind: Kind,
    terminals: int,
    centre: OrganisationSpec,
) -> Iterator[Spec]:
    key = f"SF{number:05d}"
    lon, lat = town.sample(rng)
    person = synthetic.contact(rng, "消防安全责任人")
    attributes = _attributes(rng, ctx.as_of, kind, terminals)
    attributes |= {"centre": centre.key, "fire_phone": person.phone, "micro_station": f"{town.name}微型消防站"}
    yield SubjectSpec(
        type="smart_fire.site",
        key=key,
        name=_name(rng, town, kind, number),
        town_code=town.code,
        lon=lon,
        lat=lat,
        address=synthetic.address(rng, town),
        attributes=attributes,
        credit_code=synthetic.credit_code("F", number, town, sole_trader=kind.code.startswith("small_")),
        contact=person,
    )
    connected_on = date.fromisoformat(attributes["connected_on"])
    small = attributes["nine_small"] or kind.code == "rented_house"
    if small and uniform(np.array([number], dtype=np.uint64), ctx.seed, 5)[0] < STANDALONE_RATIO:
        for i in range(terminals):
            yield DeviceSpec("smart_fire.standalone_smoke", f"{key}-S{i + 1:03d}", key, connected_on)
    else:
        yield from _behind_a_device(rng, key, number, terminals, connected_on)


def _name(rng: np.random.Generator, town: Town, kind: Kind, number: int) -> str:
    place = town.name.removesuffix("街道").removesuffix("镇")
    brand, word = BRANDS[int(rng.integers(0, len(BRANDS)))], kind.words[int(rng.integers(0, len(kind.words)))]
    return f"{place}{brand}{word}（{number % 89 + 1}号）"


def _attributes(rng: np.random.Generator, as_of: date, kind: Kind, terminals: int) -> dict[str, Any]:
    small = kind.code.startswith("small_")
    floors = int(rng.integers(11, 34)) if kind.code == "high_rise" else int(rng.integers(1, 4 if small else 8))
    area = round(float(terminals * rng.uniform(18, 60)), 1)
    connected_on = as_of - timedelta(days=int(rng.integers(20, 900)))
    return {
        "place_kind": kind.code,
        "nine_small": small,
        "key_unit": not small and kind.code != "rented_house" and bool(rng.random() < 0.5),
        "floor_area_m2": area,
        "floors": floors,
        "height_m": round(floors * 3.2, 1),
        "people": max(2, int(area / 4)),
        "sprinklers": not small and bool(rng.random() < 0.8),
        "control_room": terminals > 25,
        "sleeping": kind.code in ("small_hotel", "hotel", "hospital", "elderly_home", "rented_house"),
        "connected_on": connected_on.isoformat(),
        "tested_on": (as_of - timedelta(days=int(rng.integers(1, 420)))).isoformat(),
    }


def _behind_a_device(
    rng: np.random.Generator, site: str, number: int, terminals: int, connected_on: date
) -> Iterator[DeviceSpec]:
    """One transmission device and terminals - 1 components behind it, a controller first on larger sites."""
    source = f"{0x3211_0000_0000 + number:012x}"
    yield DeviceSpec("smart_fire.transmission_device", source, site, connected_on, channels=("status",))
    left = terminals - 1
    if left >= 12:
        left -= 1
        yield DeviceSpec(
            "smart_fire.fire_panel", f"{source}-000", site, connected_on, parent_key=source, channels=("sys1.1.status",)
        )
    models, chances = [m for m, _, _ in BEHIND], [c for _, c, _ in BEHIND]
    for address in range(1, left + 1):
        model = synthetic.pick(rng, models, chances)
        yield DeviceSpec(
            model=f"smart_fire.{model}",
            key=f"{source}-{address:03d}",
            subject_key=site,
            installed_on=connected_on,
            parent_key=source,
            channels=_channels(model, address),
        )


def _channels(model: str, address: int) -> tuple[str, ...]:
    component = next(t for m, _, t in BEHIND if m == model)
    system = f"sys{SYSTEM_OF.get(model, 1)}"
    status = f"{system}.{component}.{address}.status"
    if model == "smart_electricity":
        return (f"{system}.17.{address}.a9", f"{system}.18.{address}.a3", f"{system}.16.{address}.a128", status)
    if model == "water_pressure_sensor":
        return (f"{system}.{component}.{address}.a5", status)
    if model == "water_level_sensor":
        return (f"{system}.{component}.{address}.a2", status)
    return (status,)


def readings(points: Sequence[SimPoint], t0_ms: int, t1_ms: int, rng: np.random.Generator) -> Columns:
    """Every reading of the points in [t0, t1): daily load, leakage, hot cables, low pressure, fire signals, silence."""
    groups: dict[tuple[int, str], list[SimPoint]] = {}
    for point in points:
        model = point.model.removeprefix("smart_fire.")
        groups.setdefault((EVERY_S.get((model, point.measure), STATUS_S.get(model, 3_600)), point.measure), []).append(
            point
        )
    parts = []
    for (every_s, measure), several in groups.items():
        index = np.array([p.index for p in several], dtype=np.int32)
        device = np.array([p.device_seed for p in several], dtype=np.uint64)
        site = np.array([p.site_seed for p in several], dtype=np.uint64)
        rate = np.array([_fire_rate(p.model) for p in several])
        row, ts = ticks(device, every_s * 1000, t0_ms, t1_ms)
        value = VALUES[measure](device[row], ts, rng, rate[row])
        there = np.isnan(episode(site[row], ts, 90, OFFLINE_PER_DAY, 8_000, 40_000))
        parts.append(Columns(index[row][there], ts[there], value[there]))
    return joined(parts)


def _fire_rate(model: str) -> float:
    """Fire signals a day of a device of this model."""
    name = model.removeprefix("smart_fire.")
    if name in ("smoke_detector", "standalone_smoke"):
        return SMOKE_PER_DAY
    return BUTTONS_PER_DAY if name in ("call_point", "heat_detector") else 0.0


def _busy(ts: I64) -> F64:
    """Electric load over the day, 0-1: low at night, high by day and highest in the evening."""
    hour = local_hour(ts)
    return np.clip(
        0.25 + 0.45 * np.exp(-0.5 * ((hour - 11) / 3) ** 2) + 0.7 * np.exp(-0.5 * ((hour - 19) / 2) ** 2), 0, 1
    )


def _bump(device: U64, ts: I64, tag: int, per_day: float, shortest_s: float, longest_s: float) -> F64:
    """0 outside the day's incident; inside it rises to 1 within 10 minutes and stays."""
    since = episode(device, ts, tag, per_day, shortest_s, longest_s)
    return np.where(np.isnan(since), 0.0, np.clip(since / 600, 0, 1))


def _on(device: U64, ts: I64, tag: int, per_day: float | F64, shortest_s: float, longest_s: float) -> F64:
    """1 during the day's incident, else 0."""
    since = episode(device, ts, tag, 1.0, shortest_s, longest_s)
    happens = uniform(device, (ts + CHINA_MS) // DAY_MS, tag, 7) < per_day
    return (happens & ~np.isnan(since)).astype(np.float64)


def _residual(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    natural = 20 + 150 * uniform(device, 1)
    drift = 25 * _busy(ts) + 10 * np.sin(ts / DAY_MS * 2 * np.pi / 9 + 6.28 * uniform(device, 2))
    high = (200 + 350 * uniform(device, (ts + CHINA_MS) // DAY_MS, 11)) * _bump(
        device, ts, 10, LEAKAGE_PER_DAY, 3_600, 30_000
    )
    return rounded(np.clip(natural + drift + high + rng.normal(0, 4, ts.size), 0, 3000), 0)


def _cable(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    normal = 16 + 8 * uniform(device, 3) + 14 * _busy(ts)
    hot = (28 + 20 * uniform(device, (ts + CHINA_MS) // DAY_MS, 21)) * _bump(
        device, ts, 20, HOT_CABLES_PER_DAY, 3_600, 20_000
    )
    return rounded(normal + hot + rng.normal(0, 0.4, ts.size), 1)


def _load(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    normal = 12 + 60 * _busy(ts) * (0.4 + 0.6 * uniform(device, 4))
    over = 60 * _bump(device, ts, 30, OVERLOADS_PER_DAY, 900, 7_200)
    return rounded(np.clip(normal + over + rng.normal(0, 2, ts.size), 0, 300), 0)


def _pressure(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    normal = 250 + 250 * uniform(device, 5)
    low = _bump(device, ts, 40, LOW_PRESSURE_PER_DAY, 3_600, 40_000)
    return rounded(np.clip(normal * (1 - 0.85 * low) + rng.normal(0, 3, ts.size), 0, 3000), 1)


def _level(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    since = episode(device, ts, 50, DRAINED_PER_DAY, 10_000, 40_000)
    fall = np.where(np.isnan(since), 0.0, np.clip(since / 3_600 * 0.7, 0, 2.6))
    return rounded(np.clip(2.6 + 0.6 * uniform(device, 6) - fall + rng.normal(0, 0.01, ts.size), 0, 50), 2)


def _fire(device: U64, ts: I64, rng: np.random.Generator, rate: F64) -> F64:
    return _on(device, ts, 60, rate, 3_700, 9_000)


def _fault(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    return _on(device, ts, 61, FAULTS_PER_DAY, 7_200, 60_000)


def _shielded(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    return _on(device, ts, 62, SHIELDED_PER_DAY, 7_200, 60_000)


def _mains(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    return _on(device, ts, 63, MAINS_CUTS_PER_DAY, 1_800, 20_000)


def _seldom(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    return _on(device, ts, 64, FAULTS_PER_DAY / 4, 3_600, 30_000)


def _tamper(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    return _on(device, ts, 65, TAMPER_PER_DAY, 43_200, 80_000)


def _battery(device: U64, ts: I64, rng: np.random.Generator, _: F64) -> F64:
    days = (ts + CHINA_MS) / DAY_MS + 1_000 * uniform(device, 8)
    return rounded(100 - (days % 1_000) * 0.082, 0)  # from full to 18 % in a thousand days, then a new battery


VALUES: dict[str, Callable[[U64, I64, np.random.Generator, F64], F64]] = {
    "residual_current": _residual,
    "cable_temperature": _cable,
    "load_ratio": _load,
    "water_pressure": _pressure,
    "water_level": _level,
    "fire_status": _fire,
    "fault_status": _fault,
    "shielded_status": _shielded,
    "mains_fault_status": _mains,
    "standby_fault_status": _seldom,
    "link_fault_status": _seldom,
    "line_fault_status": _seldom,
    "tamper_status": _tamper,
    "battery": _battery,
}
STATUS_S = {"transmission_device": 600, "standalone_smoke": 43_200}  # others: 3,600
EVERY_S = {
    ("smart_electricity", "residual_current"): 300,
    ("smart_electricity", "cable_temperature"): 300,
    ("smart_electricity", "load_ratio"): 300,
    ("water_pressure_sensor", "water_pressure"): 600,
    ("water_level_sensor", "water_level"): 600,
    ("standalone_smoke", "fire_status"): 3_600,  # the demo does not wait half a day for a fire
}
