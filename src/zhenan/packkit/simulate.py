"""What a pack's simulate.py provides: a synthetic population and its readings. Pure: no Django, no clock, no I/O.

A pack's module has two functions::

    def population(ctx: SimulationContext) -> Iterator[OrganisationSpec | SubjectSpec | DeviceSpec]
    def readings(points: Sequence[SimPoint], t0_ms: int, t1_ms: int, rng: np.random.Generator) -> Columns

``population`` yields an organisation or subject before what refers to it. The same context gives the same population.
A pack of vehicles has a third one, ``def places(points: Sequence[SimPoint], ts: I64) -> Places`` (see packkit.moving):
where the vehicle of each point is at each moment, both of shape (n,); NaN where it is not known.
``readings`` gives every reading with t0_ms <= ts < t1_ms, sorted by time; what happens (rhythm, incidents) depends on
the points' seeds and the time alone, so that neighbouring windows fit together; ``rng`` adds the noise.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.packkit.roads import Within, everywhere

DAY_MS = 86_400_000
CHINA_MS = 8 * 3_600_000
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

Sampler = Callable[[np.random.Generator], tuple[float, float]]


@dataclass(frozen=True)
class Town:
    """A town of the demo city; ``sample(rng)`` gives a place in it, (lon, lat) in WGS-84. ``centre``: its middle."""

    code: str
    name: str
    sample: Sampler
    district: str = ""
    weight: float = 1.0  # relative share of people and business
    centre: tuple[float, float] | None = None


@dataclass(frozen=True)
class SimulationContext:
    """``scale`` 1.0 is the real city's size. ``as_of``: the day on which the population stands."""

    seed: int
    scale: float
    towns: Sequence[Town]
    as_of: date
    within: Within = everywhere  # whether places (lon, lat) lie in the city

    def rng(self, *words: str) -> np.random.Generator:
        """A generator of its own for each use, so that one part's draws do not shift another's."""
        return np.random.default_rng([self.seed, *(seed_of(word) & 0xFFFFFFFF for word in words)])

    def scaled(self, count: int) -> int:
        """A published count at this scale: rounded, at least 1."""
        return max(1, round(count * self.scale))


@dataclass(frozen=True)
class OrganisationSpec:
    kind: str
    key: str
    name: str
    division_code: str
    credit_code: str | None = None
    phone: str = ""


@dataclass(frozen=True)
class Contact:
    name: str
    phone: str
    post: str = ""


@dataclass(frozen=True)
class SubjectSpec:
    """``key``: stable within the pack. ``attributes``: typed as the subject type says, dates as ISO text."""

    type: str
    key: str
    name: str
    town_code: str
    lon: float
    lat: float
    address: str
    attributes: dict[str, Any]
    credit_code: str | None = None
    contact: Contact | None = None
    parent_key: str | None = None


@dataclass(frozen=True)
class DeviceSpec:
    """``key``: what the device calls itself on the wire. ``parent_key``: the device through which it reports.

    ``name``: how people call it; left out, by its model and the end of its key.
    """

    model: str
    key: str
    subject_key: str
    installed_on: date
    made_on: date | None = None
    parent_key: str | None = None
    channels: tuple[str, ...] = ()  # decoder's names; empty: all of the model's
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""


Spec = OrganisationSpec | SubjectSpec | DeviceSpec


@dataclass(frozen=True)
class SimPoint:
    """A point to simulate. ``index`` is returned in the columns; keys and ``seed`` decide what happens to it.

    ``attributes``: those of its device, as ``population`` gave them.
    """

    index: int
    device_key: str
    subject_key: str  # devices of one site share its incidents
    model: str
    measure: str
    seed: int = 0  # the demo's seed
    attributes: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def device_seed(self) -> int:
        return seed_of(f"{self.seed}/{self.device_key}")

    @property
    def site_seed(self) -> int:
        return seed_of(f"{self.seed}/{self.subject_key}")


class Columns(NamedTuple):
    """Readings side by side: point int32, ts int64 (ms UTC), value float64 in the measure's unit."""

    point: NDArray[np.int32]
    ts: I64
    value: F64


def seed_of(text: str) -> int:
    """A 64-bit number from a text, the same in every process (FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def uniform(seeds: U64, *keys: int | I64) -> F64:
    """Numbers in [0, 1) that depend on seeds and keys alone (splitmix64); shapes broadcast."""
    with np.errstate(over="ignore"):
        x = seeds.astype(np.uint64)
        for key in keys:
            k = (
                np.asarray(key, dtype=np.int64).view(np.uint64)
                if np.ndim(key) == 0
                else np.asarray(key).astype(np.uint64)
            )
            x = _mix(x ^ _mix(k + np.uint64(0x9E3779B97F4A7C15)))
    return (x >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def _mix(x: Any) -> Any:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def ticks(seeds: U64, every_ms: int, t0_ms: int, t1_ms: int) -> tuple[I64, I64]:
    """(row of seeds, ts) of each report in [t0, t1) of devices that report every so often, each with its own phase."""
    phase = (seeds % np.uint64(every_ms)).astype(np.int64)
    first = -(-(t0_ms - phase) // every_ms)
    counts = np.maximum(0, -(-(t1_ms - phase) // every_ms) - first)
    row = np.repeat(np.arange(seeds.size, dtype=np.int64), counts)
    step = np.arange(row.size, dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
    return row, phase[row] + (first[row] + step) * every_ms


def local_hour(ts: I64) -> F64:
    """Hour of the day in China, 0 ≤ h < 24."""
    return ((ts + CHINA_MS) % DAY_MS) / 3_600_000


def episode(seeds: U64, ts: I64, tag: int, per_day: float, shortest_s: float, longest_s: float) -> F64:
    """Seconds since the start of the day's incident of this sort; NaN outside one.

    Each device has one in a day (China time) with probability ``per_day``, of a length between the two bounds, wholly
    inside that day.
    """
    day = (ts + CHINA_MS) // DAY_MS
    length = shortest_s + (longest_s - shortest_s) * uniform(seeds, day, tag, 1)
    start = (86_400 - length) * uniform(seeds, day, tag, 2)
    since = ((ts + CHINA_MS) % DAY_MS) / 1000 - start
    inside = (uniform(seeds, day, tag, 0) < per_day) & (since >= 0) & (since < length)
    return np.where(inside, since, np.nan)


def rounded(value: Any, digits: int) -> F64:
    """Values to so many decimals, as a device would report them."""
    return np.asarray(np.round(value, digits), dtype=np.float64)


def joined(parts: Sequence[Columns]) -> Columns:
    """All parts together, sorted by time, then point."""
    if not parts:
        return Columns(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64))
    point, ts, value = (np.concatenate([part[i] for part in parts]) for i in range(3))
    order = np.lexsort((point, ts))
    return Columns(point[order].astype(np.int32), ts[order], value[order])


def module_of(folder: Path, name: str = "simulate") -> ModuleType | None:
    """A pack's simulate.py or rules.py as a module; None when the pack has none."""
    path = folder / f"{name}.py"
    if not path.exists():
        return None
    full = f"zhenan_pack_{folder.name}_{name}_{seed_of(str(path.resolve())):016x}"
    if full in sys.modules:
        return sys.modules[full]
    spec = importlib.util.spec_from_file_location(full, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[full] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[full]
        raise
    return module
