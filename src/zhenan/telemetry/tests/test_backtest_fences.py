"""Fences over the table of positions: what the live judge would have said of them, when, where and of whom."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from zhenan.telemetry.backtest.fences import FencePlan, Term
from zhenan.telemetry.backtest.found import DWELL, ENTER, NOTED, OPEN, SPEED, Found
from zhenan.telemetry.backtest.plan import BadPlan
from zhenan.telemetry.backtest.pool import run_all
from zhenan.telemetry.history.delta import DAY_MS
from zhenan.telemetry.tests.test_fences import fence
from zhenan.telemetry.tests.test_tracks import LAT, METRE, T0, message, track, writer
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees
from zhenan.telemetry.tracks.judge import FenceJudge, VehicleKind
from zhenan.telemetry.tracks.table import Tracks

NAMES = {ENTER: "enter", DWELL: "dwell", SPEED: "speed", NOTED: "noted"}
HOUR, DAY_S = 3600, 86_400


def plan(folder, *sides, vehicles=(1,), since=T0, until=T0 + DAY_MS, kinds=None):
    """A side is a fence or a list of its versions."""
    terms = tuple(tuple(Term(one, True, 2) for one in (side if isinstance(side, list) else [side])) for side in sides)
    return FencePlan(str(folder), terms, np.array(vehicles, np.int32), kinds or {}, since, until)


def found(asked, *, parts=1, at_once=1):
    outcomes = list(run_all(asked.tasks(parts), at_once=at_once))
    return Found.joined([outcome.found for outcome in outcomes]), outcomes


def told(asked, **how):
    """(side, vehicle, kind, onset, raised, cleared) in seconds from T0."""
    f, _ = found(asked, **how)
    columns = (f.rule, f.point, f.kind, f.onset, f.raised, f.cleared)
    return [
        (side, vehicle, NAMES[kind], *((None if t == OPEN else (t - T0) // 1000) for t in (onset, at, end)))
        for side, vehicle, kind, onset, at, end in zip(*(c.tolist() for c in columns), strict=True)
    ]  # fmt: skip


def store(folder, positions, seq=1):
    Tracks(str(folder)).append(positions, "t", seq)


TRIP = ((1, 0, -500, 30), (1, 60, 5, 30), (1, 120, 50, 55), (1, 180, 60, 20), (1, 700, 70, 0), (1, 800, -500, 30))


def test_a_trip_gives_its_stay_its_overstay_and_its_speeding_with_their_ends_and_places(tmp_path):
    store(tmp_path, track(*TRIP))
    asked = plan(tmp_path, fence(speed_kmh=40.0, dwell_s=600), fence(speed_kmh=50.0))
    assert told(asked) == [
        (0, 1, "enter", 60, 60, 800), (1, 1, "enter", 60, 60, 800),
        (0, 1, "speed", 120, 120, 180), (1, 1, "speed", 120, 120, 180),
        (0, 1, "dwell", 60, 700, 800),
    ]  # fmt: skip
    f, (outcome,) = found(asked)
    assert f.lat.tolist() == pytest.approx([LAT + m * METRE for m in (5, 5, 50, 50, 70)], abs=1e-6)
    assert f.value.tolist() == [30.0, 30.0, 55.0, 55.0, 640.0]
    assert (outcome.readings, outcome.judged, outcome.late) == (6, 6, 0)


def test_a_stay_at_the_end_of_the_period_stands_and_an_entry_may_be_noted_only(tmp_path):
    store(tmp_path, track(*TRIP))
    quiet = FencePlan(str(tmp_path), ((Term(fence(), False, 3),),), np.array([1], np.int32), {}, T0, T0 + 300_000)
    assert told(quiet) == [(0, 1, "noted", 60, 60, None)]
    assert found(quiet)[0].level.tolist() == [3]


def test_each_trip_is_judged_by_the_version_of_its_time_where_it_is_asked_as_it_was(tmp_path):
    store(tmp_path, track((1, 0, 50, 10), (1, HOUR + 60, 50, 10), (1, 2 * HOUR, 50, 10)))
    change = T0 + HOUR * 1000
    moved = tuple((lat + 0.02, lon) for lat, lon in fence().points)
    was = [fence(valid_to_ms=change), fence(version=2, valid_from_ms=change, points=moved)]
    assert told(plan(tmp_path, was, fence(version=9))) == [
        (0, 1, "enter", 0, 0, HOUR + 60), (1, 1, "enter", 0, 0, None),
    ]  # fmt: skip


def test_a_position_that_came_late_is_judged_now_as_little_as_then(tmp_path):
    him = writer(tmp_path, [fence()])
    live = him.take([message(1, track((1, 0, -500, 30), (1, 60, -500, 30), (1, 30, 50, 30)))])
    asyncio.run(him.commit())
    asked = plan(tmp_path / "p", fence())
    assert (live, told(asked)) == ([], [])
    assert found(asked)[1][0].late == 1


def test_who_overstayed_long_before_the_period_is_not_told_of_in_it(tmp_path):
    store(tmp_path, track(*((1, s, 50, 0) for s in range(0, 10 * DAY_S, HOUR))))
    asked = plan(tmp_path, fence(dwell_s=2 * DAY_S), since=T0 + 6 * DAY_MS, until=T0 + 10 * DAY_MS)
    assert told(asked) == []
    early = plan(tmp_path, fence(dwell_s=2 * DAY_S), since=T0 + DAY_MS, until=T0 + 10 * DAY_MS)
    assert told(early) == [(0, 1, "dwell", 0, 2 * DAY_S, None)]


def wander(vehicles, days, seed):
    """Vehicles that go to and fro about the square, a position each 90 s."""
    rng, n = np.random.default_rng(seed), days * 960
    parts = []
    for vehicle in vehicles:
        along = np.cumsum(rng.normal(0, 180, n)) % 3000 - 1000
        parts.append(
            PositionColumns.of(
                np.full(n, vehicle), T0 + np.arange(n) * 90_000 + vehicle, from_degrees(LAT + along * METRE),
                from_degrees(119.45 + rng.normal(0, 0.0002, n)), rng.integers(0, 700, n), np.zeros(n), np.full(n, 3),
                rng.random(n) < 0.01,
            )
        )  # fmt: skip
    return PositionColumns.concat(parts)


def test_over_days_vehicles_and_tasks_it_is_what_the_live_loop_says(tmp_path):
    vehicles, classes = (3, 4, 9, 70), {3: VehicleKind(0), 4: VehicleKind(1), 9: VehicleKind(0)}
    positions = wander(vehicles, 3, 5)
    store(tmp_path, positions)
    terms = fence(id="0", speed_kmh=60.0, dwell_s=900, classes=frozenset([0]))
    order = np.argsort(positions.ts, kind="stable")
    events, _ = FenceJudge([terms], classes).judge(positions.take(order))  # as they came
    begun = sorted(
        (e.vehicle, e.kind, (e.onset - T0) // 1000, (e.ts - T0) // 1000) for e in events if e.kind in NAMES.values()
    )
    assert len({kind for _v, kind, _o, _t in begun}) == 3
    assert {vehicle for vehicle, *_ in begun} == {3, 9}
    asked = plan(tmp_path, terms, vehicles=vehicles, until=T0 + 3 * DAY_MS, kinds=classes)
    one = told(asked)
    assert sorted((v, kind, onset, at) for _s, v, kind, onset, at, _e in one) == begun
    assert told(asked, parts=4) == one


def test_a_vehicle_is_of_the_class_that_it_was_at_each_time(tmp_path):
    """Inside the square all the time; vehicle 1 is of class 0 in hours 1 to 3 and of neither else, 2 always of 1."""
    store(tmp_path, track(*((v, n * HOUR // 2 + v, 50, 10) for v in (1, 2) for n in range(10))))
    terms = fence(classes=frozenset([0])), fence(classes=frozenset([0, 1]))
    change = {1: ((T0 + HOUR * 1000, VehicleKind(0)), (T0 + 3 * HOUR * 1000, VehicleKind(7)))}
    asked = plan(tmp_path, *terms, vehicles=(1, 2), kinds={2: VehicleKind(1)})
    asked = replace(asked, reclassed=change)
    assert told(asked) == told(asked, parts=2) == [
        (1, 2, "enter", 2, 2, None),
        (0, 1, "enter", HOUR + 1, HOUR + 1, 3 * HOUR + 1), (1, 1, "enter", HOUR + 1, HOUR + 1, 3 * HOUR + 1),
    ]  # fmt: skip


def test_changes_of_class_over_days_are_those_of_a_live_loop_that_was_told_of_each(tmp_path):
    vehicles = (3, 4, 9)
    positions = wander(vehicles, 3, 8)
    store(tmp_path, positions)
    terms = fence(id="0", speed_kmh=60.0, dwell_s=900, classes=frozenset([0]))
    moments = [T0 + DAY_MS // 2, T0 + DAY_MS, T0 + DAY_MS + 3 * HOUR * 1000, T0 + 2 * DAY_MS]
    change = {3: tuple((at, VehicleKind(n % 2)) for n, at in enumerate(moments)), 9: ((moments[1], VehicleKind(0)),)}
    order = np.argsort(positions.ts, kind="stable")
    live, events, came = FenceJudge([terms], {3: VehicleKind(1)}), [], positions.take(order)
    for start, end in pairwise([T0, *moments, T0 + 3 * DAY_MS]):
        live.reclass({v: kind for v, many in change.items() for at, kind in many if at == start})
        events += live.judge(came.take((came.ts >= start) & (came.ts < end)))[0]
    begun = sorted((e.vehicle, e.kind, (e.ts - T0) // 1000) for e in events if e.kind in NAMES.values())
    assert {vehicle for vehicle, *_ in begun} == {3, 9}
    asked = plan(tmp_path, terms, vehicles=vehicles, until=T0 + 3 * DAY_MS, kinds={3: VehicleKind(1)})
    assert sorted((v, kind, at) for _s, v, kind, _o, at, _e in told(replace(asked, reclassed=change))) == begun


def test_a_fence_over_no_positions_finds_nothing_and_no_fence_is_refused(tmp_path):
    f, (outcome,) = found(plan(tmp_path, fence()))
    assert (len(f), outcome.readings) == (0, 0)
    with pytest.raises(BadPlan, match="no fence"):
        plan(tmp_path)
    with pytest.raises(BadPlan, match="end after it begins"):
        plan(tmp_path, fence(), until=T0)
    assert plan(tmp_path, fence(), vehicles=()).tasks(3) == []
