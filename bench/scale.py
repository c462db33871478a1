"""How large: a province simulated in memory, and from what was measured the cores, bytes and machines it needs.

    python -m bench.scale [--json] [--cities 13] [--seconds 60] [--gateway READINGS_PER_S]

The province is CITY times the number of cities: its devices report as often as CITY says, for so many simulated
seconds, through 64 lanes: columns packed and unpacked as the log carries them, judged by three rules a point, held
against duplicates, and a sample of them written to a history table. What the gateway does (sockets, decoding, the log's
disk) is not simulated: `zhenan bench ingest` measures it, and --gateway takes its figure.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from bench.judge import RULES
from numpy.typing import NDArray

from zhenan.telemetry.columns import PARTITIONS, Columns
from zhenan.telemetry.history.lanes import Memory
from zhenan.telemetry.history.table import History, as_table
from zhenan.telemetry.judge.engine import Judge, warm_up
from zhenan.telemetry.judge.rulefile import parse_rules

# readings/s that `zhenan bench ingest` gave for MQTT messages that come one by one, on two cores
GATEWAY = 118_737.0
LOG_COPIES, HEADROOM, DAY_S, T0_MS = 3, 3.0, 86_400, 1_767_225_600_000


@dataclass(frozen=True)
class Fleet:
    """Devices of one kind in a city. `every_s`: between two reports of a device, each a reading of all its points."""

    name: str
    devices: int
    points: int
    every_s: float

    @property
    def readings_per_s(self) -> float:
        return self.devices * self.points / self.every_s


# Counts: the sizes the platform is built for. How often a device reports that nobody prescribes is an assumption.
CITY = (
    Fleet("fire terminals", 83_491, 1, 300),
    Fleet("caterers' gas detectors", 9_385, 1, 60),
    Fleet("bridges", 4_326, 1, 60),
    Fleet("chemical stations", 2_000, 8, 1),
    Fleet("vehicles", 5_000, 1, 10),
    Fleet("checkpoints", 300, 1, 8.64),
)


def demand(cities: int) -> dict[str, float]:
    """Devices, points and readings/s of so many cities."""
    return {
        "devices": float(cities * sum(fleet.devices for fleet in CITY)),
        "points": float(cities * sum(fleet.devices * fleet.points for fleet in CITY)),
        "readings_per_s": cities * sum(fleet.readings_per_s for fleet in CITY),
    }


class Load:
    """Readings second by second. A point's id says its lane (id modulo 64), and its own moment within its interval."""

    def __init__(self, cities: int) -> None:
        each = [np.full(cities * fleet.devices * fleet.points, fleet.every_s) for fleet in CITY]
        self.every_s: NDArray[np.float64] = np.concatenate(each)
        self.rng = np.random.default_rng(1)
        self.phase = self.rng.random(self.every_s.size) * self.every_s

    def second(self, at: int) -> Columns:
        """What is reported in [at, at + 1): values between 5 and 24, one in a thousand beyond the first rule's 25."""
        # floor((at + 1 − phase) / every) − floor((at − phase) / every): how many reports fall into this second
        due = np.floor((at + 1 - self.phase) / self.every_s) > np.floor((at - self.phase) / self.every_s)
        point = np.flatnonzero(due).astype(np.int32)
        value = 5 + 19 * self.rng.random(point.size)
        value[self.rng.random(point.size) < 0.001] = 30.0
        ts = np.full(point.size, T0_MS + at * 1000, np.int64)
        return Columns(point, ts, value, np.zeros(point.size, np.uint8))


def simulate(cities: int, seconds: int) -> dict[str, float]:
    """Run the province for so many seconds; what judging and remembering took, and their bytes."""
    warm_up()
    load, rules = Load(cities), parse_rules(RULES)
    points = load.every_s.size
    began = time.perf_counter()
    judges = [Judge(rules, [str(n) for n in range(lane, points, PARTITIONS)]) for lane in range(PARTITIONS)]
    took = {"build": time.perf_counter() - began, "judge": 0.0, "remember": 0.0, "carry": 0.0}
    memories = [Memory() for _ in range(PARTITIONS)]
    readings = carried = 0
    for at in range(seconds):
        second = load.second(at)
        for lane, part in second.split(second.point % PARTITIONS):
            clock = time.perf_counter()
            packed = part.pack()
            part = Columns.unpack(packed)
            took["carry"] += (now := time.perf_counter()) - clock
            judges[lane].judge(Columns(part.point // PARTITIONS, part.ts, part.value, part.quality))
            took["judge"] += (then := time.perf_counter()) - now
            memories[lane].judge(part)
            took["remember"] += time.perf_counter() - then
            readings, carried = readings + len(part), carried + len(packed)
    clock = time.perf_counter()
    states = [judge.snapshot() for judge in judges]
    took["save"] = time.perf_counter() - clock
    counts = [judge.counters for judge in judges]
    return {
        "points": float(points), "rules_per_point": float(len(rules)), "seconds": float(seconds),
        "readings": float(readings), "judged": float(sum(c.judged for c in counts)),
        "raises": float(sum(c.raises for c in counts)),
        **{f"{what}_s": round(value, 3) for what, value in took.items()},
        "state_bytes": float(sum(judge.state.nbytes() for judge in judges)),
        "snapshot_bytes": float(sum(map(len, states))),
        "memory_bytes": float(sum(len(memory.save("e", 1)) for memory in memories)),
        "points_heard": float(sum(memory.points.size for memory in memories)),
        "log_bytes_per_reading": carried / max(readings, 1),
    }  # fmt: skip


def history_figures(cities: int, seconds: int = 10) -> dict[str, float]:
    """Readings/s that go into a history table, and bytes each takes in it: some seconds of the province."""
    load = Load(cities)
    columns = Columns.concat([load.second(at) for at in range(seconds)])
    with tempfile.TemporaryDirectory() as folder:
        history = History(folder)
        history.create()
        clock = time.perf_counter()
        history.append(as_table(columns, np.arange(len(columns), dtype=np.int64)), "e", 1)
        took = time.perf_counter() - clock
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet"))
    return {"history_readings_per_s": len(columns) / took, "history_bytes_per_reading": size / max(len(columns), 1)}


def sizing(needs: dict[str, float], found: dict[str, float], gateway: float) -> dict[str, float]:
    """Cores (with headroom for a backlog after a failure) and bytes. `found`: of `simulate` and `history_figures`.

    cores = readings/s ÷ readings/s of one core × HEADROOM, at least 1.
    """
    rate = needs["readings_per_s"]
    per_core = {
        "gateway": gateway,
        "judge": found["readings"] / (found["judge_s"] + found["carry_s"]),
        "historian": 1 / (found["remember_s"] / found["readings"] + 1 / found["history_readings_per_s"]),
    }
    return {
        **{f"{part}_readings_per_s_per_core": round(value) for part, value in per_core.items()},
        **{f"{part}_cores": float(max(1, ceil(rate * HEADROOM / value))) for part, value in per_core.items()},
        "log_gb_per_day_and_node": round(rate * DAY_S * found["log_bytes_per_reading"] / 1e9, 1),
        "log_gb_per_day": round(rate * DAY_S * found["log_bytes_per_reading"] * LOG_COPIES / 1e9, 1),
        "history_gb_per_day": round(rate * DAY_S * found["history_bytes_per_reading"] / 1e9, 1),
        "judge_state_bytes_per_point": round(found["state_bytes"] / found["points"], 1),
        "historian_memory_bytes_per_point": round(found["memory_bytes"] / max(found["points_heard"], 1), 1),
    }


def text(all_of_it: dict[str, Any]) -> str:
    """A line a figure, in three groups."""
    lines = []
    for group in ("needs", "measured", "sizing"):
        lines.append(f"{group}:")
        lines += [f"  {name:<36} {value:>18,.10g}" for name, value in all_of_it[group].items()]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--cities", type=int, default=13)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--gateway", type=float, default=GATEWAY, help="readings/s of a gateway with one core")
    asked = parser.parse_args(argv)
    needs = demand(asked.cities)
    measured = {**simulate(asked.cities, asked.seconds), **history_figures(asked.cities)}
    found = {"needs": needs, "measured": measured, "sizing": sizing(needs, measured, asked.gateway)}
    sys.stdout.write((json.dumps(found, indent=1) if asked.json else text(found)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
