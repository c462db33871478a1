"""Simulations: published numbers at full scale, windows that fit together, incidents at the rates that are stated."""

from collections import Counter
from datetime import date

import numpy as np
import pytest

from zhenan.packkit import synthetic
from zhenan.packkit.contract import T0_MS, trial_context
from zhenan.packkit.registry import DEFAULT_DIR
from zhenan.packkit.simulate import (
    DAY_MS,
    DeviceSpec,
    OrganisationSpec,
    SimPoint,
    SimulationContext,
    SubjectSpec,
    Town,
    episode,
    module_of,
    ticks,
    uniform,
)
from zhenan.rules.credit_code import is_valid

TOWNS = [
    Town(f"3211020{i:02d}", f"第{i}{'街道' if i % 2 else '镇'}", lambda rng: (119.4, 32.2), "京口区") for i in range(67)
]


def city(pack, scale, seed=7):
    module = module_of(DEFAULT_DIR / pack)
    return list(module.population(SimulationContext(seed, scale, TOWNS, date(2023, 1, 31))))


def test_at_full_scale_catering_has_the_published_numbers():
    specs = city("catering_gas", 1.0)
    models = Counter(s.model for s in specs if isinstance(s, DeviceSpec))
    sites = [s for s in specs if isinstance(s, SubjectSpec)]
    assert len(sites) == 9_385
    assert models["catering_gas.gas_detector"] == models["catering_gas.shutoff_valve"] == 9_376
    codes = [s.credit_code for s in sites]
    assert len(set(codes)) == len(codes)
    assert all(is_valid(code) for code in codes)
    assert len({s.town_code for s in sites}) == 67


def test_at_full_scale_smart_fire_has_the_published_numbers():
    specs = city("smart_fire", 1.0)
    devices = [s for s in specs if isinstance(s, DeviceSpec)]
    sites = {s.key for s in specs if isinstance(s, SubjectSpec)}
    assert sum(isinstance(s, OrganisationSpec) for s in specs) == 17
    assert len(sites) == 9_297
    assert len(devices) == 83_491
    assert {d.subject_key for d in devices} == sites
    assert len({d.key for d in devices}) == len(devices)


@pytest.mark.parametrize(("scale", "sites", "terminals"), [(0.02, 186, 1_670), (0.0, 1, 2)])
def test_a_smaller_city_is_rounded_and_never_empty(scale, sites, terminals):
    kinds = Counter(type(s).__name__ for s in city("smart_fire", scale))
    assert kinds == {"OrganisationSpec": 1, "SubjectSpec": sites, "DeviceSpec": terminals}


def test_another_seed_gives_another_city():
    assert city("catering_gas", 0.01) != city("catering_gas", 0.01, seed=8)


def test_ticks_of_neighbouring_windows_are_those_of_the_whole():
    seeds = np.array([0, 1, 59_999, 60_000, 2**63 + 5], dtype=np.uint64)
    whole = set(zip(*map(np.ndarray.tolist, ticks(seeds, 60_000, T0_MS, T0_MS + 600_000)), strict=True))
    parts = set()
    for t in range(T0_MS, T0_MS + 600_000, 7_000):
        parts |= set(
            zip(*map(np.ndarray.tolist, ticks(seeds, 60_000, t, min(t + 7_000, T0_MS + 600_000))), strict=True)
        )
    assert parts == whole
    assert len(whole) == 5 * 10


def test_incidents_come_at_the_stated_rate_and_length():
    seeds = np.arange(20_000, dtype=np.uint64)
    started = 0
    minutes = np.arange(T0_MS, T0_MS + DAY_MS, 600_000)
    inside = np.zeros(seeds.size, dtype=bool)
    for ts in minutes:
        inside |= ~np.isnan(episode(seeds, np.full(seeds.size, ts), 3, 0.05, 3_600, 7_200))
    started = inside.mean()
    # A window of a day touches two of China's days: both may hold an incident, each with 5 %, minus what is cut off.
    assert 0.03 < started < 0.10


def test_uniform_numbers_are_uniform_and_differ_by_key():
    seeds = np.arange(50_000, dtype=np.uint64)
    one, two = uniform(seeds, 1), uniform(seeds, 2)
    assert abs(one.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
    assert one.min() >= 0
    assert one.max() < 1


def test_a_leak_crosses_the_alarm_and_the_shut_off_acts_at_that_site():
    module = module_of(DEFAULT_DIR / "catering_gas")
    points = [
        SimPoint(2 * i + j, f"CG{i:05d}-D", f"CG{i:05d}", "catering_gas.gas_detector", measure)
        for i in range(4_000)
        for j, measure in enumerate(("gas_lel", "linkage_state"))
    ]
    columns = module.readings(points, T0_MS, T0_MS + DAY_MS, np.random.default_rng(1))
    gas = columns.point % 2 == 0
    # Cooking alone stays below 35 %LEL.
    leaking = set((columns.point[gas & (columns.value >= 35)] // 2).tolist())
    acted = set((columns.point[~gas & (columns.value > 0)] // 2).tolist())
    assert leaking
    assert leaking <= acted


def test_shares_add_up_and_keep_their_least():
    assert sum(synthetic.shares(1_001, [1, 2, 3.5], least=2)) == 1_001
    assert synthetic.shares(6, [0.0001, 1, 1], least=2) == [2, 2, 2]
    with pytest.raises(ValueError, match="cannot give"):
        synthetic.shares(5, [1, 1, 1], least=2)


def test_the_trial_city_lies_in_its_towns():
    ctx = trial_context()
    lon, lat = ctx.towns[0].sample(ctx.rng("x"))
    assert 119.45 <= lon <= 119.5
    assert 32.19 <= lat <= 32.24
