"""The judge alone: readings a second over ready columns, beside a floor measured in the same run.

    python -m bench.judge [--json] [--readings N] [--points N]

The floor is a memory copy of the same columns into memory already there. Three rules look at each point: a threshold
above, a threshold below with a delay, a silence. `none`: no reading crosses; `third`: a random third does, most of them
raising or clearing. `order`: sequence (device after device) or random. Each figure is the best of `repeats` runs.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge.engine import Judge, warm_up
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.rulefile import parse_rules
from zhenan.telemetry.judge.table import Groups

RULES = """rules:
  - {id: gas_high, kind: threshold, above: 25, clear: 20, level: 2}
  - {id: level_low, kind: threshold, below: 0.5, clear: 0.6, for_s: 60, clear_for_s: 30, level: 3}
  - {id: quiet, kind: silence, after_s: 900, level: 4}
"""
SLICE = 100_000  # readings handed to the judge at a time


def measure(
    readings: int = 10_000_000, points: int = 100_000, repeats: int = 3, restart: int = 1_300_000
) -> dict[str, Any]:
    """All figures of one run. Takes about 10 s and 500 MB as it stands."""
    warm_up()
    readings -= readings % points
    rng = np.random.default_rng(1)
    keys = [f"p{number}" for number in range(points)]
    found: dict[str, Any] = {"readings": readings, "points": points, "rules_per_point": 3, "cases": []}
    for order in ("sequence", "random"):
        for crossing in ("none", "third"):
            columns = _columns(rng, readings, points, order, crossing)
            floor = readings / _best(lambda c=columns: _copy(c), repeats)
            found["cases"].append(_case(order, crossing, columns, keys, floor, repeats))
    found["restart"] = _restart(restart)
    found["state_bytes_per_point"] = Judge(parse_rules(RULES), keys).state.nbytes() / points
    return found


def _case(
    order: str, crossing: str, columns: Columns, keys: list[str], floor: float, repeats: int
) -> dict[str, str | float | int]:
    rules, seconds = parse_rules(RULES), []
    for _ in range(repeats):
        judge = Judge(rules, keys)
        slices = _slices(columns)
        start = time.perf_counter()
        for part in slices:
            judge.judge(part)
        seconds.append(time.perf_counter() - start)
    rate = len(columns) / min(seconds)
    return {
        "order": order,
        "crossing": crossing,
        "transitions": judge.counters.raises + judge.counters.clears,
        "readings_per_s": round(rate),
        "rule_judgements_per_s": round(rate * len(rules)),
        "copy_floor_readings_per_s": round(floor),
        "ratio_to_copy_floor": round(rate / floor, 3),
    }


def _restart(points: int) -> dict[str, float | int]:
    """Seconds to save the live judge's state, and to take it up again in a fresh one, with so many points."""
    keys = [str(number) for number in range(1, points + 1)]
    setup = SimpleNamespace(
        stamp="", rules=parse_rules(RULES), points=keys, registered_at=np.zeros(points, np.int64),
        holidays=np.empty(0, np.int64), groups=Groups([(0, 1, 2)], np.zeros(points, np.int32)), composites=(),
        subjects={},
    )  # fmt: skip
    live = LiveJudge(setup)
    start = time.perf_counter()
    data = live.save()
    saved = time.perf_counter()
    LiveJudge.resume([data], setup)
    done = time.perf_counter()
    return {"points": points, "save_s": round(saved - start, 2), "resume_s": round(done - saved, 2), "bytes": len(data)}


def _columns(rng: np.random.Generator, readings: int, points: int, order: str, crossing: str) -> Columns:
    """Every point once a second, in the same or in another order each second."""
    if order == "sequence":
        point: NDArray[Any] = np.arange(readings, dtype=np.int32) % points
    else:
        point = np.concatenate([rng.permutation(points) for _ in range(readings // points)]).astype(np.int32)
    value = rng.uniform(1, 15, readings)
    if crossing == "third":
        value[rng.random(readings) < 1 / 3] += 25
    ts = 1_700_000_000_000 + np.arange(readings, dtype=np.int64) // points * 1000
    return Columns(point.astype(np.int32), ts, value, np.zeros(readings, dtype=np.uint8))


def _slices(columns: Columns) -> list[Columns]:
    return [columns.take(slice(start, start + SLICE)) for start in range(0, len(columns), SLICE)]  # type: ignore[arg-type]


def _copy(columns: Columns) -> None:
    """The floor: every byte of the columns read once and written once."""
    for name in ("point", "ts", "value", "quality"):
        source = getattr(columns, name)
        target = _TARGETS.setdefault((name, source.size), np.zeros_like(source))
        np.copyto(target, source)


_TARGETS: dict[tuple[str, int], NDArray[Any]] = {}


def _best(work: Callable[[], None], repeats: int) -> float:
    """Seconds of the quickest run after one that touches the memory."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{found['readings']:,} readings, {found['points']:,} points, {found['rules_per_point']} rules a point"]
    for case in found["cases"]:
        lines.append(
            f"{case['order']:<9} {case['crossing']:<6} {case['readings_per_s'] / 1e6:7.1f} M readings/s"
            f" {case['rule_judgements_per_s'] / 1e6:7.1f} M rule judgements/s"
            f" {case['ratio_to_copy_floor']:6.2f} x copy floor ({case['copy_floor_readings_per_s'] / 1e6:.0f} M/s)"
        )
    again = found["restart"]
    lines.append(
        f"restart with {again['points']:,} points: state saved in {again['save_s']} s"
        f" ({again['bytes'] / 1e6:.0f} MB), taken up in {again['resume_s']} s"
    )
    return "\n".join([*lines, f"state: {found['state_bytes_per_point']:.0f} bytes a point"])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench judge", description="The judge alone, beside a memory copy.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--readings", type=int, default=10_000_000)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--restart-points", type=int, default=1_300_000)
    options = parser.parse_args(argv)
    found = measure(options.readings, options.points, restart=options.restart_points)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
