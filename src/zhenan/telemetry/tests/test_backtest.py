"""Rules over history say what the live judge would have said."""

import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhenan.telemetry.backtest.compare import counterpart
from zhenan.telemetry.backtest.fences import FencePlan, Term
from zhenan.telemetry.backtest.found import OPEN
from zhenan.telemetry.backtest.plan import BadPlan, Plan
from zhenan.telemetry.backtest.pool import run_all
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.dedupe import LATE, Dedupe
from zhenan.telemetry.history.table import DAY_MS, History, as_table
from zhenan.telemetry.judge.rules import Silence, Threshold
from zhenan.telemetry.tests.test_fences import fence
from zhenan.telemetry.tests.test_tracks import T0, track
from zhenan.telemetry.tracks.table import Tracks


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


DAY = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
S = 1000
HIGH = Threshold(id="high", kind="threshold", above=25.0, clear=20.0, level=2)
LOWER = Threshold(id="lower", kind="threshold", above=20.0, clear=15.0, level=2)
QUIET = Silence(id="quiet", kind="silence", after_s=3600, level=4)


def write(folder, rows):
    """(point, ts, value) in the order of arrival."""
    point, ts, value = zip(*rows, strict=True)
    columns = Columns.of(point, ts, value, [0] * len(rows))
    late = Dedupe().judge(columns) == LATE
    History(str(folder)).append(as_table(columns, np.arange(1, len(rows) + 1), late), "e", len(rows))


def alarms(folder, rules, points, since, until, *, parts=1, at_once=1):
    plan = Plan(str(folder), tuple(rules), np.array(points, np.int32), since, until)
    outcomes = list(run_all(plan.tasks(parts), at_once=at_once))
    rows = []
    for outcome in outcomes:
        f = outcome.found
        columns = (f.point.tolist(), f.rule.tolist(), f.raised.tolist(), f.cleared.tolist())
        rows += [
            (p, plan.rules[r].id, t - since, None if c == OPEN else c - since)
            for p, r, t, c in zip(*columns, strict=True)
        ]
    return sorted(rows), sum(outcome.late for outcome in outcomes)


def test_two_versions_are_judged_in_one_pass_over_several_days(tmp_path):
    noon = DAY + DAY_MS // 2
    write(tmp_path, [(1, noon, 10), (1, noon + S, 22), (1, noon + 2 * S, 14), (1, noon + DAY_MS, 30), (2, noon, 26)])
    found, _ = alarms(tmp_path, [HIGH, LOWER], [1, 2], DAY, DAY + 2 * DAY_MS)
    half = DAY_MS // 2
    assert found == [
        (1, "high", half + DAY_MS, None),
        (1, "lower", half + S, half + 2 * S),
        (1, "lower", half + DAY_MS, None),
        (2, "high", half, None),
        (2, "lower", half, None),
    ]


def test_what_stood_before_the_period_is_no_alarm_of_it(tmp_path):
    write(tmp_path, [(1, DAY - 60 * S, 30), (1, DAY + 60 * S, 30), (1, DAY + 120 * S, 10), (1, DAY + 180 * S, 30)])
    found, _ = alarms(tmp_path, [HIGH], [1], DAY, DAY + DAY_MS)
    assert found == [(1, "high", 180 * S, None)]


def test_a_late_reading_is_not_judged_as_it_was_not_when_it_came(tmp_path):
    write(tmp_path, [(1, DAY + 10 * S, 10), (1, DAY + 30 * S, 10), (1, DAY + 20 * S, 99)])
    assert alarms(tmp_path, [HIGH], [1], DAY, DAY + DAY_MS) == ([], 1)


def test_a_silence_is_seen_at_the_end_of_the_period_too(tmp_path):
    write(tmp_path, [(1, DAY, 1), (1, DAY + 3 * 3600 * S, 1)])
    found, _ = alarms(tmp_path, [QUIET], [1], DAY, DAY + 12 * 3600 * S)
    assert found == [(1, "quiet", 3600 * S, 3 * 3600 * S), (1, "quiet", 4 * 3600 * S, None)]


def test_more_tasks_and_more_processes_find_the_same(tmp_path):
    rng = np.random.default_rng(7)
    rows = [(int(p), DAY + i * 60 * S, float(v)) for i in range(300) for p, v in enumerate(rng.uniform(0, 30, 7))]
    write(tmp_path, rows)
    one = alarms(tmp_path, [HIGH, LOWER], range(7), DAY, DAY + DAY_MS)
    assert len(one[0]) > 100
    assert alarms(tmp_path, [HIGH, LOWER], range(7), DAY, DAY + DAY_MS, parts=3, at_once=2) == one


def test_rules_that_name_points_look_at_those_alone(tmp_path):
    write(tmp_path, [(1, DAY, 30), (2, DAY, 30), (3, DAY, 30)])
    one = HIGH.model_copy(update={"points": ["2"]})
    found, _ = alarms(tmp_path, [one], [1, 2, 3], DAY, DAY + DAY_MS, parts=3)
    assert found == [(2, "high", 0, None)]


def test_an_empty_history_and_no_points_give_nothing(tmp_path):
    assert alarms(tmp_path, [HIGH], [1], DAY, DAY + DAY_MS) == ([], 0)
    assert Plan(str(tmp_path), (HIGH,), np.empty(0, np.int32), DAY, DAY + 1).tasks(4) == []


@pytest.mark.parametrize(
    ("rules", "since", "until", "said"),
    [
        ((), 0, DAY_MS, "no rule"),
        ((HIGH, HIGH), 0, DAY_MS, "differ"),
        ((HIGH,), DAY_MS, DAY_MS, "end after it begins"),
        ((HIGH,), 0, 4000 * DAY_MS, "at most 3660 days"),
    ],
)
def test_an_impossible_plan_is_refused(rules, since, until, said):
    with pytest.raises(BadPlan, match=said):
        Plan("x", rules, np.array([1], np.int32), since, until)


def boom_task():
    class Boom:
        def run(self):
            raise OSError("disk gone")

    return Boom()


def test_a_failing_task_is_not_swallowed():
    with pytest.raises(OSError, match="disk gone"):
        list(run_all([boom_task()], at_once=1))


INTERVALS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.integers(0, 10)), max_size=12)


def apart(rows):
    """Intervals of one point that do not touch each other."""
    kept, ends = [], {}
    for point, start, length in sorted(rows):
        if start > ends.get(point, -1):
            kept.append((point, start, start + length))
            ends[point] = start + length
    return kept


@settings(max_examples=300)
@given(INTERVALS, INTERVALS)
def test_counterparts_are_those_that_a_plain_search_finds(ones, others):
    ones, others = [(p, s, s + n) for p, s, n in ones], apart(others)
    a = [np.array([row[i] for row in ones], np.int64) for i in range(3)]
    b = [np.array([row[i] for row in others], np.int64) for i in range(3)]
    found = counterpart(*a, *b).tolist()
    for (point, start, end), place in zip(ones, found, strict=True):
        touching = [i for i, (p, s, e) in enumerate(others) if p == point and s <= end and e >= start]
        assert place == (min(touching, key=lambda i: others[i][1]) if touching else -1)


@pytest.fixture
def ray_address(tmp_path, monkeypatch):
    """A Ray of one node, started as its operator would, and stopped."""
    ray = pytest.importorskip("ray", reason="requirements/ray.txt is not installed")
    port = free_port()
    command = ["start", "--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    environment = {**os.environ, "RAY_TMPDIR": "/tmp", "RAY_USAGE_STATS_ENABLED": "0"}  # its sockets' paths are long
    with (tmp_path / "ray.log").open("w") as out:
        node = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *command], stdout=out, stderr=out, env=environment
        )
    address = f"127.0.0.1:{port}"
    until = time.monotonic() + 60
    while "Ray runtime started" not in (tmp_path / "ray.log").read_text("utf-8"):
        assert node.poll() is None, (tmp_path / "ray.log").read_text("utf-8")
        assert time.monotonic() < until
        time.sleep(0.1)
    monkeypatch.setenv("RAY_ADDRESS", address)
    yield address
    ray.shutdown()
    node.terminate()
    node.wait(20)


def test_on_a_ray_cluster_the_same_is_found(tmp_path, ray_address):
    rows = [(p, DAY + i * 60 * S, float((i * 7 + p) % 31)) for i in range(100) for p in range(4)]
    write(tmp_path / "h", rows)
    there = alarms(tmp_path / "h", [HIGH], range(4), DAY, DAY + DAY_MS, parts=3)
    tracks = Tracks(str(tmp_path / "p"))
    tracks.append(track(*((v, s, s % 700 - 300, 30) for v in range(4) for s in range(0, 3000, 10))), "t", 1)
    fences = FencePlan(tracks.url, ((Term(fence(), True, 2),),), np.arange(4, dtype=np.int32), {}, T0, T0 + DAY_MS)
    events = [len(outcome.found) for outcome in run_all(fences.tasks(2), at_once=2)]
    assert sum(events) == 4 * 4  # each comes in at 300 s, and every 700 s from there
    os.environ.pop("RAY_ADDRESS")
    assert there == alarms(tmp_path / "h", [HIGH], range(4), DAY, DAY + DAY_MS)
    assert there[0]
