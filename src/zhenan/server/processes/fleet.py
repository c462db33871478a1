"""Synthetic devices: what the packs' simulate.py say they measure, an incident now and then, as wire messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zhenan.domains.monitoring.models import Point
from zhenan.packkit.registry import pack_dirs, registry
from zhenan.packkit.schema import AlarmRule
from zhenan.packkit.simulate import SimPoint, module_of
from zhenan.server.processes import vehicles
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.codecs.gb26875_units import ANALOGUES

INCIDENT_STEP_S: Final = 10
LONGEST_INCIDENT_S: Final = 300
SYSTEM, COMPONENT, ANALOGUE, DEVICE = 1, 2, 3, 21  # application unit types of GB/T 26875.3


@dataclass(frozen=True)
class Wire:
    """Where a point's readings go: the inverse of the gateway's mapping."""

    protocol: str
    key: str  # of the device on whose connection it reports
    channel: str
    scale: float
    offset: float
    bit: int | None

    def raw(self, value: float) -> float:
        return (value - self.offset) / self.scale


@dataclass
class Incident:
    """Values of one point over time in place of its usual ones: (ts ms, value), ascending."""

    index: int
    steps: list[tuple[int, float]]


@dataclass
class Readings:
    """Readings by place in the fleet: index int32, ts int64 ms, value float64, shape (n,)."""

    index: NDArray[np.int32]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass
class Fleet:
    """All simulated points. `words`: the state words that (device, channel) last reported; `held`: values of channels
    that are told when they change, or that an incident holds."""

    points: list[SimPoint]
    wires: list[Wire]
    modules: dict[str, tuple[ModuleType, list[SimPoint]]]
    rng: np.random.Generator
    incidents: dict[int, Incident] = field(default_factory=dict)
    words: dict[tuple[str, str], int] = field(default_factory=dict)
    held: dict[tuple[str, str], float] = field(default_factory=dict)
    share: float = 1.0
    _last: dict[int, float] = field(default_factory=dict)

    @classmethod
    def load(cls, seed: int) -> Fleet:
        """Every point of every active device whose pack can simulate it."""
        folders = {path.name: path for folder in pack_dirs() for path in sorted(folder.iterdir()) if path.is_dir()}
        modules: dict[str, tuple[ModuleType, list[SimPoint]]] = {}
        points: list[SimPoint] = []
        wires: list[Wire] = []
        found = Point.objects.filter(device__active=True, device__protocol__in=("mqtt_json", "gb26875", "jt808"))
        for row in found.select_related("device__parent", "device__subject").order_by("device_id", "id").iterator():
            device = row.device
            name = device.model.partition(".")[0]
            if name not in modules:
                module = module_of(folders[name]) if name in folders else None
                if module is None:
                    continue
                modules[name] = (module, [])
            site = device.subject.key
            point = SimPoint(len(points), device.key, site, device.model, row.measure, seed, device.attributes)
            points.append(point)
            modules[name][1].append(point)
            wire_key = device.parent.key if device.parent else device.key
            wires.append(Wire(device.protocol, wire_key, row.channel, row.scale, row.offset, row.bit))
        return cls(points, wires, modules, np.random.default_rng(seed))

    def usual_per_s(self, at_ms: int, *, over_s: int = 600) -> float:
        """Readings a second that the devices give by themselves."""
        return len(self._natural(at_ms - over_s * 1000, at_ms).ts) / over_s

    def limit(self, per_s: float, at_ms: int) -> None:
        """Let only so many devices report that about `per_s` readings a second come."""
        usual = self.usual_per_s(at_ms)
        self.share = min(1.0, per_s / usual) if usual else 1.0

    def _natural(self, t0_ms: int, t1_ms: int) -> Readings:
        parts = [module.readings(points, t0_ms, t1_ms, self.rng) for module, points in self.modules.values() if points]
        if not parts:
            return Readings(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0))
        index, ts, value = (np.concatenate([part[n] for part in parts]) for n in range(3))
        order = np.argsort(ts, kind="stable")
        return Readings(index[order], ts[order], value[order])

    def window(self, t0_ms: int, t1_ms: int, *, at_least_per_s: float = 0.0) -> Readings:
        """Readings with t0 <= ts < t1: the usual ones, incidents in their place, more of the last ones up to a rate."""
        found = self._natural(t0_ms, t1_ms)
        keep = np.ones(len(found.ts), bool)
        if self.share < 1.0:
            seeds = np.array([point.device_seed for point in self.points], dtype=np.uint64)
            keep &= (seeds[found.index] % np.uint64(10_000)) < self.share * 10_000
        if self.incidents:
            keep &= ~np.isin(found.index, list(self.incidents))
        rows = list(zip(found.index[keep].tolist(), found.ts[keep].tolist(), found.value[keep].tolist(), strict=True))
        rows += self._of_incidents(t0_ms, t1_ms)
        self._last.update((index, value) for index, _, value in rows)
        rows += self._more(t0_ms, t1_ms, round(at_least_per_s * (t1_ms - t0_ms) / 1000) - len(rows))
        rows.sort(key=lambda row: row[1])
        index, ts, value = zip(*rows, strict=True) if rows else ((), (), ())
        return Readings(np.array(index, np.int32), np.array(ts, np.int64), np.array(value, np.float64))

    def _more(self, t0_ms: int, t1_ms: int, count: int) -> list[tuple[int, int, float]]:
        """Further reports of what was last measured, spread over the window."""
        if count <= 0 or not self._last:
            return []
        known = list(self._last)
        chosen = self.rng.integers(0, len(known), count).tolist()
        times = np.linspace(t0_ms, t1_ms - 1, count).astype(np.int64).tolist()
        free = [(known[n], ts) for n, ts in zip(chosen, times, strict=True) if known[n] not in self.incidents]
        return [(index, ts, self._last[index]) for index, ts in free]

    def _of_incidents(self, t0_ms: int, t1_ms: int) -> list[tuple[int, int, float]]:
        rows = []
        for index, incident in list(self.incidents.items()):
            rows += [(index, ts, value) for ts, value in incident.steps if t0_ms <= ts < t1_ms]
            if incident.steps[-1][0] < t1_ms:
                del self.incidents[index]
        return rows

    def begin_incident(self, at_ms: int) -> tuple[str, str] | None:
        """Let one rule be broken at one point for some minutes; returns (rule, device), None where nothing can be."""
        book = registry()
        for _ in range(200):
            if not self.points:
                return None
            point = self.points[int(self.rng.integers(0, len(self.points)))]
            rules = [rule for rule in book.rules_for(point.model, point.measure) if values_of(rule)]
            if rules and point.index not in self.incidents:
                rule = rules[int(self.rng.integers(0, len(rules)))]
                self.incidents[point.index] = Incident(point.index, steps_of(rule, at_ms))
                return rule.code, point.device_key
        return None

    # on the wire

    def jt808(self, found: Readings) -> Iterator[tuple[Mapping[str, Any], str, dict[str, Any]]]:
        """(attributes, device, fields of a location) of each report of a vehicle, by time."""
        reports: dict[tuple[str, int], dict[str, float]] = {}
        firsts: dict[str, SimPoint] = {}
        for index, ts, value in zip(found.index.tolist(), found.ts.tolist(), found.value.tolist(), strict=True):
            wire = self.wires[index]
            if wire.protocol != "jt808":
                continue
            firsts.setdefault(wire.key, self.points[index])
            said = reports.setdefault((wire.key, ts // 1000 * 1000), {})
            if wire.bit is None:
                said[wire.channel] = wire.raw(value)
            else:
                place = (wire.key, wire.channel)
                self.words[place] = self.words.get(place, 0) & ~(1 << wire.bit) | (int(value) & 1) << wire.bit
                said[wire.channel] = self.words[place]
        held = {self.wires[n].key for n in self.incidents if self.wires[n].channel == vehicles.SPEED}
        there = self._places([firsts[key] for key, _ in reports], [ts for _, ts in reports])
        for (key, ts), said, lat, lon, kmh, heading in zip(reports, reports.values(), *there, strict=True):
            if not np.isnan(lat):
                speed = said.get(vehicles.SPEED, self.held.get((key, vehicles.SPEED), kmh) if key in held else kmh)
                self.held[key, vehicles.SPEED] = speed
                word = int(said.get(vehicles.ALARM, self.words.get((key, vehicles.ALARM), 0)))
                fields = vehicles.location(key, ts, (lat, lon, speed, heading), word, self._news(key, said))
                yield firsts[key].attributes, key, fields

    def _news(self, key: str, said: Mapping[str, float]) -> dict[str, float]:
        """The active-safety channels that changed since they were last told."""
        news = {}
        for channel, value in said.items():
            if "." in channel and self.held.get((key, channel), 0.0) != value:
                self.held[key, channel] = news[channel] = value
        return news

    def _places(self, points: Sequence[SimPoint], ts: Sequence[int]) -> list[NDArray[np.float64]]:
        """Latitude, longitude, speed and heading of each report; NaN where a vehicle's way is not known."""
        found = [np.full(len(points), np.nan) for _ in range(4)]
        for name, (module, _points) in self.modules.items():
            rows = np.flatnonzero([point.model.startswith(f"{name}.") for point in points])
            if rows.size and hasattr(module, "places"):
                there = module.places([points[n] for n in rows.tolist()], np.array(ts, np.int64)[rows])
                for column, part in zip(found, there, strict=True):
                    column[rows] = part
        return found

    def mqtt(self, found: Readings) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """(device, samples) of each MQTT device."""
        samples: dict[str, dict[int, dict[str, float]]] = {}
        for index, ts, value in zip(found.index.tolist(), found.ts.tolist(), found.value.tolist(), strict=True):
            wire = self.wires[index]
            if wire.protocol == "mqtt_json":
                raw = wire.raw(value) if wire.bit is None else value
                samples.setdefault(wire.key, {}).setdefault(ts, {})[wire.channel] = round(raw, 6)
        for key, by_time in samples.items():
            yield key, [{"ts": ts, "values": values} for ts, values in sorted(by_time.items())]

    def gb26875(self, found: Readings) -> Iterator[tuple[str, int, list[dict[str, Any]]]]:
        """(device, unit type, objects) of each transmission device."""
        units: dict[tuple[str, int], dict[tuple[str, int], dict[str, Any]]] = {}
        for index, ts, value in zip(found.index.tolist(), found.ts.tolist(), found.value.tolist(), strict=True):
            wire = self.wires[index]
            if wire.protocol != "gb26875":
                continue
            place = (wire.key, wire.channel)
            if wire.bit is not None:
                word = self.words.get(place, 1) & ~(1 << wire.bit) | (int(value) & 1) << wire.bit
                self.words[place] = word
            else:
                word = 0
            kind, made = unit_of(wire, value, word)
            units.setdefault((wire.key, kind), {})[(wire.channel, ts)] = made | {"time": local_from_ms(ts)}
        for (key, kind), objects in units.items():
            yield key, kind, list(objects.values())


def unit_of(wire: Wire, value: float, word: int) -> tuple[int, dict[str, Any]]:
    """(unit type, object without its time) that reports a channel; `word`: its status bits."""
    if wire.channel == "status":
        return DEVICE, {"status": word}
    parts = wire.channel.split(".")
    system, _, address = parts[0].removeprefix("sys").partition("-")
    where = {"sys_type": int(system), "sys_addr": int(address or 1)}
    if len(parts) == 3:
        return SYSTEM, {"sys_type": int(system), "sys_addr": int(parts[1]), "status": word}
    where |= {"comp_type": int(parts[1]), "comp_addr": int(parts[2])}
    if parts[3] == "status":
        return COMPONENT, where | {"status": word, "desc": ""}
    kind = int(parts[3].removeprefix("a"))
    raw = round(wire.raw(value) * ANALOGUES.get(kind, ("", 1))[1])
    return ANALOGUE, where | {"analog_type": kind, "raw": max(-32_768, min(32_767, raw))}


def values_of(rule: AlarmRule) -> tuple[float, float] | None:
    """(a value that breaks the rule, one that does not); None for rules that a few minutes cannot break."""
    given = rule.rule
    if given.get("for_s", 0) + given.get("clear_for_s", 0) > LONGEST_INCIDENT_S:
        return None
    if given["kind"] == "state" and given["in"]:
        broken = given["in"][0]
        return float(broken), float(next(n for n in range(100) if n not in given["in"]))
    if given["kind"] == "threshold" and given.get("above") is not None:
        calm = given.get("clear", given["above"])
        return given["above"] * 1.15, calm * 0.6
    if given["kind"] == "threshold" and given.get("below") is not None:
        return given["below"] * 0.7, given.get("clear", given["below"]) * 1.3
    return None


def steps_of(rule: AlarmRule, at_ms: int) -> list[tuple[int, float]]:
    """A rise, a while beyond the set-point, and back to calm for long enough that the alarm clears."""
    broken, calm = values_of(rule) or (0.0, 0.0)
    hold = int(rule.rule.get("for_s", 0) // INCIDENT_STEP_S) + 9
    rest = int(rule.rule.get("clear_for_s", 0) // INCIDENT_STEP_S) + 3
    rise = [] if rule.rule["kind"] == "state" else [calm + (broken - calm) * n / 3 for n in (1, 2)]
    values: Sequence[float] = [*rise, *[broken] * hold, *[calm] * rest]
    return [(at_ms + n * INCIDENT_STEP_S * 1000, float(value)) for n, value in enumerate(values)]
