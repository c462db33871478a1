"""What it costs a judge to hold what it has standing against the record: CPU time of each step of a round.

    python -m bench.standing [--json] [--points N] [--open N]

A city's points under three rules, so many of them standing. A round looks once at what stands, and at each page of
2,000 rows of the record between two turns; what it asks the database beside the judging is not measured here.
"""

import argparse
import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
from bench.judge import RULES

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.rulefile import parse_rules
from zhenan.telemetry.judge.standing import OnRecord, settle

T = TypeVar("T")
PAGE = 2_000  # as server/processes/reconciling.py asks
TS = 1_800_000_000_000


class Times(dict[str, float]):
    """CPU milliseconds by what took them."""

    def of(self, what: str, call: Callable[[], T]) -> T:
        began = time.process_time()
        found = call()
        self[what] = round(1000 * (time.process_time() - began), 1)
        return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--points", type=int, default=1_300_000)
    parser.add_argument("--open", type=int, default=83_000)
    asked = parser.parse_args(argv)
    warm_up()
    setup: Any = SimpleNamespace(
        stamp="s", rules=parse_rules(RULES), points=[str(n) for n in range(asked.points)], composites=(), subjects={},
        registered_at=np.full(asked.points, TS, np.int64), holidays=np.empty(0, np.int64), groups=None,
    )  # fmt: skip
    live = LiveJudge(setup)
    high = np.linspace(0, asked.points - 1, asked.open).astype(np.int32)
    live.judge(Columns.of(high, np.full(high.size, TS), np.full(high.size, 99.0), np.zeros(high.size)), 1)
    times = Times()
    rows = times.of("what stands", lambda: [*live.engine.state.raised_rows()])
    assert len(rows) == asked.open
    page = [live.engine.standing(*row.tolist()) for row in rows[:PAGE]]
    times.of("identities of a page, beside the judging", lambda: [alarm_id(t.point, t.rule, t.onset) for t in page])
    agreed = [OnRecord(t.point, t.rule, t.onset, t.ts, t.value, t.level, t.ts) for t in page]
    times.of("a page that agrees", lambda: settle(live, agreed, now_ms=TS))
    stranded = [row._replace(onset=row.onset - 1) for row in agreed]
    found = times.of("a page that should be open no more", lambda: settle(live, stranded, now_ms=TS))
    assert len(found) == len(page)
    times.of("the state saved before they are recorded", live.save)
    if asked.json:
        print(json.dumps({"points": asked.points, "open": asked.open, "page": PAGE, "cpu_ms": times}))
        return 0
    print(f"{asked.points:,} points, {asked.open:,} alarms stand, {PAGE:,} a page")
    for what, took in times.items():
        print(f"{what:<42} {took:8.1f} ms CPU")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
