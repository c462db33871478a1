"""The contract every pack must meet, as one list of faults: what `zhenan packs check` and the tests run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np

from zhenan.packkit.attributes import problems_of_attributes
from zhenan.packkit.devices import bindings
from zhenan.packkit.loader import LoadedPack, load_pack, problems_in
from zhenan.packkit.registry import from_packs
from zhenan.packkit.scenarios import faults_of_scenarios
from zhenan.packkit.schema import DeviceModel
from zhenan.packkit.simulate import (
    DAY_MS,
    Columns,
    DeviceSpec,
    OrganisationSpec,
    SimPoint,
    SimulationContext,
    Spec,
    SubjectSpec,
    Town,
    module_of,
)
from zhenan.rules.credit_code import problem_of

TRIAL_SCALE = 0.002
T0_MS = 1_675_123_200_000  # 2023-01-31 08:00 in China


def contract_faults(folder: Path, others: Mapping[str, LoadedPack] | None = None) -> list[str]:
    """Every fault of a pack: of its files first; when these are sound, of its scenarios, simulation and quality."""
    faults = problems_in(folder, others)
    if faults:
        return faults
    pack = load_pack(folder, others)
    return [*faults_of_scenarios(pack, others), *faults_of_simulation(pack, others), *faults_of_quality(pack)]


def faults_of_quality(pack: LoadedPack) -> list[str]:
    """Rungs said to be done that the pack shows not to be."""
    if pack.quality is None:
        return []
    done = {code for code, rung in pack.quality.rungs.items() if rung.state == "done"}
    empty = {
        "subjects": not pack.subject_types,
        "devices": not pack.device_models,
        "alarms": not pack.alarm_rules,
        "checklists": not pack.checklists,
        "duties": not pack.duties,
        "indicators": not pack.indicators,
        "scenarios": not pack.scenarios,
        "simulation": not (pack.folder / "simulate.py").exists(),
        "sources_confirmed": any(s.status == "unverified" for s in pack.info.sources.values()),
    }
    return [
        f"{pack.code}/quality.yaml: rungs.{code}: is not done"
        for code, lacking in empty.items()
        if lacking and code in done
    ]


def trial_context(seed: int = 1, scale: float = TRIAL_SCALE) -> SimulationContext:
    """Three towns with square outlines, to try a simulation on."""

    def town(code: str, name: str, lon: float, lat: float) -> Town:
        return Town(code, name, lambda rng: (lon + 0.05 * rng.random(), lat + 0.05 * rng.random()), "京口区")

    towns = [
        town("321102001", "正东路街道", 119.45, 32.19),
        town("321112100", "高桥镇", 119.60, 32.25),
        town("321181100", "司徒镇", 119.50, 32.00),
    ]
    return SimulationContext(seed, scale, towns, date(2023, 1, 31))


def faults_of_simulation(pack: LoadedPack, others: Mapping[str, LoadedPack] | None = None) -> list[str]:
    """Whether simulate.py is repeatable, refers only to what exists, and yields sound attributes and readings."""
    module = module_of(pack.folder)
    if module is None:
        return []
    place = f"{pack.code}/simulate.py"
    missing = [name for name in ("population", "readings") if not callable(getattr(module, name, None))]
    if missing:
        return [f"{place}: has no function {name}" for name in missing]
    try:
        specs = list(module.population(trial_context()))
        again = list(module.population(trial_context()))
        faults = [f"{place}: population: {text}" for text in _population(pack, others, specs)]
        if specs != again:
            faults.append(f"{place}: population: two runs with one seed differ")
        if not faults:
            faults += [f"{place}: readings: {text}" for text in _readings(pack, others, specs, module.readings)]
            faults += [f"{place}: places: {text}" for text in _places(pack, others, specs, module)]
    except Exception as err:  # a pack is the city's own code: whatever it raises is a fault of the pack, by name
        return [f"{place}: raised {type(err).__name__}: {err}"]
    return faults


def _population(pack: LoadedPack, others: Mapping[str, LoadedPack] | None, specs: list[Spec]) -> Iterator[str]:
    registry = from_packs([*(others or {}).values(), pack])
    types = {t.code: t for t in registry.subject_types()}
    models = {m.code: m for m in registry.device_models()}
    kinds = {kind.code for info in registry.packs.values() for kind in info.organisations}
    subjects: set[str] = set()
    devices: set[str] = set()
    towns = {town.code for town in trial_context().towns}
    for spec in specs:
        if isinstance(spec, OrganisationSpec):
            if spec.kind not in kinds:
                yield f"{spec.key}: no organisation kind {spec.kind!r} in pack.yaml"
        elif isinstance(spec, SubjectSpec):
            if spec.type not in types:
                yield f"{spec.key}: no subject type {spec.type!r}"
                continue
            yield from (f"{spec.key}: {text}" for text in problems_of_attributes(types[spec.type], spec.attributes))
            if spec.credit_code is not None and (why := problem_of(spec.credit_code)):
                yield f"{spec.key}: credit code {spec.credit_code} is wrong: {why}"
            if spec.town_code not in towns:
                yield f"{spec.key}: town {spec.town_code!r} is not of the context"
            if spec.key in subjects:
                yield f"{spec.key}: is given twice"
            subjects.add(spec.key)
        else:
            yield from _device(spec, models, subjects, devices)
    if not subjects:
        yield "gives no subject"


def _device(
    spec: DeviceSpec, models: Mapping[str, DeviceModel], subjects: set[str], devices: set[str]
) -> Iterator[str]:
    if spec.model not in models:
        yield f"{spec.key}: no device model {spec.model!r}"
    elif not bindings(models[spec.model], source=spec.key, channels=spec.channels or None):
        yield f"{spec.key}: none of its channels fits model {spec.model}"
    if spec.subject_key not in subjects:
        yield f"{spec.key}: subject {spec.subject_key!r} does not come before it"
    if spec.parent_key is not None and spec.parent_key not in devices:
        yield f"{spec.key}: parent device {spec.parent_key!r} does not come before it"
    if spec.key in devices:
        yield f"{spec.key}: is given twice"
    devices.add(spec.key)


def points_of(pack: LoadedPack, specs: list[Spec], others: Mapping[str, LoadedPack] | None = None) -> list[SimPoint]:
    """A point for each binding of each device."""
    registry = from_packs([*(others or {}).values(), pack])
    found: list[SimPoint] = []
    for spec in specs:
        if isinstance(spec, DeviceSpec):
            model = registry.device_model(spec.model)
            for binding in bindings(model, source=spec.parent_key or spec.key, channels=spec.channels or None):
                found.append(
                    SimPoint(len(found), spec.key, spec.subject_key, spec.model, binding.measure, 1, spec.attributes)
                )
    return found


def _places(
    pack: LoadedPack, others: Mapping[str, LoadedPack] | None, specs: list[Spec], module: ModuleType
) -> Iterator[str]:
    """Vehicles are somewhere on the earth, and at one moment in one place."""
    registry = from_packs([*(others or {}).values(), pack])
    mine = [p for p in points_of(pack, specs, others) if registry.device_model(p.model).protocol == "jt808"]
    if not mine:
        return
    if not callable(getattr(module, "places", None)):
        yield "there is no such function, and devices that speak jt808 report where they are"
        return
    ts = T0_MS + np.arange(len(mine), dtype=np.int64) * 60_000
    found, again = module.places(mine, ts), module.places(mine, ts)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, again, strict=True)):
        yield "asked twice, they differ"
    known = ~np.isnan(found.lat)
    if not known.any():
        yield "no vehicle is anywhere"
    if (np.abs(found.lat[known]) > 90).any() or (np.abs(found.lon[known]) > 180).any():
        yield "lie outside the earth"
    if (found.speed_kmh[known] < 0).any() or (found.heading[known] < 0).any() or (found.heading[known] >= 360).any():
        yield "have a speed below 0, or a heading that is not 0 to 360"


def _readings(
    pack: LoadedPack, others: Mapping[str, LoadedPack] | None, specs: list[Spec], readings: Callable[..., Columns]
) -> Iterator[str]:
    points = points_of(pack, specs, others)
    if not points:
        return

    def run(t0: int, t1: int) -> Columns:
        return readings(points, t0, t1, np.random.default_rng(5))

    day = run(T0_MS, T0_MS + DAY_MS)
    if not day.ts.size:
        yield "none in a whole day"
        return
    again = run(T0_MS, T0_MS + DAY_MS)
    if not all(np.array_equal(getattr(day, name), getattr(again, name)) for name in Columns._fields):
        yield "two runs with one seed differ"
    if not np.all(np.diff(day.ts) >= 0):
        yield "are not sorted by time"
    if day.ts.min() < T0_MS or day.ts.max() >= T0_MS + DAY_MS:
        yield "lie outside the window asked for"
    if not np.isfinite(day.value).all():
        yield "hold values that are not numbers"
    half = T0_MS + DAY_MS // 2
    count = run(T0_MS, half).ts.size + run(half, T0_MS + DAY_MS).ts.size
    if count != day.ts.size:
        yield f"two half days have {count} readings, the whole day {day.ts.size}"
    unknown = set(np.unique(day.point).tolist()) - set(range(len(points)))
    if unknown:
        yield f"name points that do not exist: {list(itertools.islice(sorted(unknown), 5))}"
