"""Fences: what is none, who is in one (beside shapely and a slow reference), and the same events after any replay."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from zhenan.telemetry.tests.test_tracks import LAT, LON, METRE, T0, track
from zhenan.telemetry.tracks import fence_core as core
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees
from zhenan.telemetry.tracks.fences import METRES_LAT, Fence, FenceFault, Window, crosses_itself, plane
from zhenan.telemetry.tracks.judge import SHAPES, FenceJudge, VehicleKind

SQUARE = ((LAT, LON - 0.01), (LAT, LON + 0.01), (LAT + 0.01, LON + 0.01), (LAT + 0.01, LON - 0.01))
H = 3_600_000


def fence(**more):
    given = {"id": "f", "version": 1, "shape": "polygon", "points": SQUARE} | more
    return Fence(**given)


def told(judge, positions):
    return [(e.vehicle, e.fence, e.kind, (e.ts - T0) // 1000) for e in judge.judge(positions)[0]]


@pytest.mark.parametrize(
    ("code", "more"),
    [
        ("points", {"points": SQUARE[:2]}),
        ("points", {"points": (SQUARE[0],) * 4}),
        ("points", {"points": tuple((LAT + k / 1e4, LON) for k in range(501))}),
        ("crossing", {"points": (SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3])}),
        ("crossing", {"points": (SQUARE[0], SQUARE[1], SQUARE[0], SQUARE[2])}),
        ("crossing", {"points": ((LAT, LON), (LAT, LON + 0.01), (LAT, LON + 0.02))}),
        ("range", {"points": ((91, 0), (0, 0), (0, 1))}),
        ("range", {"points": ((math.nan, 0), (0, 0), (0, 1))}),
        ("range", {"points": ((85, 0), (84, 0), (84, 1))}),
        ("extent", {"points": ((0, 0), (4, 0), (0, 1))}),
        ("shape", {"shape": "star"}),
        ("size", {"size_m": 5}),
        ("radius", {"shape": "circle", "points": (SQUARE[0],), "size_m": 0}),
        ("width", {"shape": "corridor", "points": SQUARE[:2], "size_m": math.inf}),
        ("speed", {"speed_kmh": 0}),
        ("dwell", {"dwell_s": -1}),
        ("hysteresis", {"hysteresis_m": math.nan}),
        ("validity", {"valid_from_ms": 5, "valid_to_ms": 5}),
        ("classes", {"classes": frozenset([63])}),
    ],
)
def test_what_is_no_fence_is_refused_with_its_reason(code, more):
    with pytest.raises(FenceFault) as fault:
        fence(**more)
    assert fault.value.code == code


def test_what_is_no_window_is_refused():
    for days, start, end in ((0, 0, 60), (128, 0, 60), (1, -1, 60), (1, 0, 1441), (1, 1440, 60)):
        with pytest.raises(FenceFault):
            Window(days, start, end)


corners = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=3, max_size=9, unique=True)


@settings(max_examples=150, deadline=None)
@given(corners)
def test_crossing_polygons_are_those_that_shapely_finds_invalid(points):
    polygon = shapely.Polygon(points)
    assert crosses_itself(np.array(points, np.float64)) == (not polygon.is_valid)


@settings(max_examples=120, deadline=None)
@given(
    corners, st.sampled_from(["circle", "polygon", "corridor"]), st.integers(1, 900),
    st.lists(st.tuples(st.integers(-20, 60), st.integers(-20, 60)), min_size=1, max_size=20),
)  # fmt: skip
def test_distance_from_a_fence_is_what_shapely_says(points, shape, size, asked):
    if shape == "polygon" and not shapely.Polygon(points).is_valid:
        return
    places = [(LAT + y / 2000, LON + x / 2000) for x, y in points]
    if shape == "circle":
        places = places[:1]
    made = fence(shape=shape, points=tuple(places), size_m=0 if shape == "polygon" else size)
    lat0, lon0, per_degree = plane(made.points)
    flat = [((lon - lon0) * per_degree, (lat - lat0) * METRES_LAT) for lat, lon in places]
    xs, ys = (np.array(part) for part in zip(*flat, strict=True))
    drawn = {"circle": shapely.Point, "polygon": shapely.Polygon, "corridor": shapely.LineString}[shape]
    area = drawn(flat[0] if shape == "circle" else flat)
    for x, y in asked:
        px, py = (LON + x / 2000 - lon0) * per_degree, (LAT + y / 2000 - lat0) * METRES_LAT
        spot = shapely.Point(px, py)
        away = area.distance(spot) - made.size_m
        if shape == "polygon" and area.contains(spot):
            away = -area.exterior.distance(spot)
        assert core.outside_m(SHAPES[shape], px, py, made.size_m, xs, ys) == pytest.approx(away, abs=1e-6)


def test_in_and_out_with_hysteresis_and_a_fix_that_wanders_on_the_border():
    judge = FenceJudge([fence(hysteresis_m=30)])
    steps = [(1, 0, -50, 30), (1, 10, 0.5, 30), (1, 20, -20, 30), (1, 30, 5, 30), (1, 40, -29, 30), (1, 50, -31, 30)]
    assert told(judge, track(*steps)) == [(1, "f", "enter", 10), (1, "f", "leave", 50)]
    assert judge.inside() == []


def test_longest_stay_and_speed_are_told_once_each():
    judge = FenceJudge([fence(dwell_s=60, speed_kmh=30)])
    rows = [(1, 0, 9, 20), (1, 30, 9, 31), (1, 59, 9, 45), (1, 60, 9, 30), (1, 90, 9, 10), (1, 200, -900, 10)]
    assert told(judge, track(*rows)) == [
        (1, "f", "enter", 0), (1, "f", "speed", 30), (1, "f", "dwell", 60), (1, "f", "speed_end", 60),
        (1, "f", "leave", 200),
    ]  # fmt: skip


def test_late_double_unfit_and_impossible_positions_are_not_judged():
    judge = FenceJudge([fence()])
    rows = [
        (1, 0, -500, 30), (1, 10, 9, 30, 1), (1, 20, -400, 30), (1, 20, 9, 30), (1, 15, 9, 30),
        (1, 30, 300_000, 30), (1, 40, -300, 30),
    ]  # fmt: skip
    events, verdict = judge.judge(track(*rows))
    assert events == []
    assert verdict.tolist() == [
        core.JUDGED, core.UNFIT, core.JUDGED, core.DUPLICATE, core.LATE, core.JUMP, core.JUDGED,
    ]  # fmt: skip
    # Two that agree with each other are believed: the vehicle was carried, or its first fix was wrong.
    assert judge.judge(track((1, 50, 300_000, 0), (1, 60, 300_100, 0)))[1].tolist() == [core.JUMP, core.JUDGED]


def test_windows_run_in_local_time_and_over_midnight():
    # 2026-03-05 is a Thursday; T0 is its 08:00 in China.
    night = fence(windows=(Window(1 << 3, 22 * 60, 6 * 60),))
    judge = FenceJudge([night])
    hours = [0, 13.9, 14, 18, 21.9, 22.1, 38]  # 08:00 21:54 22:00 02:00 05:54 06:06 and 22:00 of Friday
    assert told(judge, track(*((1, h * 3600, 9, 0) for h in hours))) == [
        (1, "f", "enter", 14 * 3600), (1, "f", "leave", int(22.1 * 3600)),
    ]  # fmt: skip


def test_classes_and_goods_limit_whom_a_fence_holds_for():
    kinds = {1: VehicleKind(2, 5), 2: VehicleKind(2, -1), 3: VehicleKind(0, 5)}
    judge = FenceJudge([fence(classes=frozenset([2]), goods=frozenset([5, 6]))], kinds)
    assert told(judge, track(*((v, 0, 9, 0) for v in range(1, 5)))) == [(1, "f", "enter", 0)]


def test_a_trip_is_judged_by_the_version_of_its_time():
    first = fence(valid_to_ms=T0 + 100_000)
    second = fence(version=2, points=tuple((lat + 1, lon) for lat, lon in SQUARE), valid_from_ms=T0 + 100_000)
    judge = FenceJudge([first, second])
    events, _ = judge.judge(track((1, 0, 9, 0), (1, 99, 9, 0), (1, 100, 9, 0), (2, 200, 9, 0)))
    assert [(e.version, e.kind, (e.ts - T0) // 1000) for e in events] == [(1, "enter", 0), (1, "leave", 100)]


def slow(fences, positions):
    """Every position against every fence, with shapely; without kinds, windows, dwell and speed."""
    inside, events, last = set(), [], {}
    for v, ts, lat, lon, q in zip(
        *(c.tolist() for c in (positions.vehicle, positions.ts, positions.lat, positions.lon, positions.quality)),
        strict=True,
    ):  # fmt: skip
        if ts <= last.get(v, -1):
            continue
        last[v] = ts
        if q == 1:
            continue
        for leaving in (True, False):
            for n, f in enumerate(fences):
                if ((v, n) in inside) != leaving:
                    continue
                lat0, lon0, per = plane(f.points)
                flat = [((b - lon0) * per, (a - lat0) * METRES_LAT) for a, b in f.points]
                area = {"circle": lambda p: shapely.Point(p[0]), "polygon": shapely.Polygon,
                        "corridor": shapely.LineString}[f.shape](flat)  # fmt: skip
                away = area.distance(shapely.Point((lon / 1e7 - lon0) * per, (lat / 1e7 - lat0) * METRES_LAT))
                hold = away - f.size_m <= (f.hysteresis_m if leaving else 0)
                if leaving and not hold:
                    inside.discard((v, n))
                    events.append((v, f.id, "leave", ts))
                elif not leaving and hold and (v, n) not in inside:
                    inside.add((v, n))
                    events.append((v, f.id, "enter", ts))
    return sorted(events)


def walk(seed, vehicles=6, steps=120):
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 0.06, (vehicles, 2))
    rows = []
    for step in range(steps):
        place = np.clip(place + rng.normal(0, 0.004, place.shape), -0.01, 0.07)
        for v in range(vehicles):
            q = int(rng.random() < 0.05)
            rows.append((v, T0 + (step - int(rng.random() < 0.05)) * 30_000, LAT + place[v, 0], LON + place[v, 1], q))
    v, ts, lat, lon, q = zip(*rows, strict=True)
    n = len(rows)
    return PositionColumns.of(v, ts, from_degrees(lat), from_degrees(lon), [0] * n, [0] * n, [0] * n, q)


def some_fences(seed):
    rng = np.random.default_rng(seed)
    found = []
    for n in range(12):
        lat, lon = LAT + rng.uniform(0, 0.06), LON + rng.uniform(0, 0.06)
        if n % 3 == 0:
            found.append(fence(id=f"c{n}", shape="circle", points=((lat, lon),), size_m=float(rng.uniform(100, 2000))))
        elif n % 3 == 1:
            turns = np.sort(rng.uniform(0, 2 * math.pi, 7))
            points = tuple((lat + 0.01 * math.sin(a), lon + 0.012 * math.cos(a)) for a in turns)
            found.append(fence(id=f"p{n}", points=points))
        else:
            points = ((lat, lon), (lat + 0.02, lon + 0.01), (lat + 0.02, lon + 0.03))
            found.append(fence(id=f"k{n}", shape="corridor", points=points, size_m=200.0))
    return found


@settings(max_examples=12, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.integers(0, 10_000), st.integers(1, 700))
def test_the_grid_and_the_loop_find_what_a_slow_count_finds_and_a_restart_changes_nothing(seed, cut):
    fences, positions = some_fences(seed), walk(seed + 1)
    judge = FenceJudge(fences, most_kmh=10_000)
    events = judge.judge(positions)[0]
    assert sorted((e.vehicle, e.fence, e.kind, e.ts) for e in events) == slow(fences, positions)
    assert len({e.id for e in events}) == len(events) > 0
    first = FenceJudge(fences, most_kmh=10_000)
    again = first.judge(positions.take(np.arange(len(positions)) < cut))[0]
    second = FenceJudge(list(reversed(fences)), most_kmh=10_000)
    assert second.restore(first.snapshot()) == []
    again += second.judge(positions.take(np.arange(len(positions)) >= cut))[0]
    assert sorted(e.id for e in again) == sorted(e.id for e in events)
    assert second.inside() == judge.inside()


def test_a_fence_that_goes_lets_its_vehicles_out():
    judge = FenceJudge([fence(speed_kmh=10), fence(id="g")])
    judge.judge(track((1, 0, 9, 50), (1, 5, 9, 50)))
    after = FenceJudge([fence(id="g")])
    left = after.restore(judge.snapshot())
    assert [(e.vehicle, e.fence, e.kind, (e.ts - T0) // 1000) for e in left] == [
        (1, "f", "speed_end", 5), (1, "f", "leave", 5),
    ]  # fmt: skip
    assert after.inside() == [(1, "g", 1, T0)]


def test_a_vehicle_in_more_fences_than_are_followed_is_counted():
    judge = FenceJudge([fence(id=str(n)) for n in range(core.SLOTS + 3)])
    events, _ = judge.judge(track((1, 0, 9, 0)))
    assert len(events) == core.SLOTS
    assert judge.counts.crowded == 3


def test_a_fence_over_a_whole_province_is_judged_too():
    wide = fence(shape="circle", points=((LAT, LON),), size_m=100_000.0)
    far = FenceJudge([wide, fence(id="d", shape="polygon", points=((31, 118), (31, 121), (34, 121), (34, 118)))])
    assert told(far, track((1, 0, 0, 0))) == [(1, "f", "enter", 0), (1, "d", "enter", 0)]


def test_an_empty_set_of_fences_judges_nothing():
    judge = FenceJudge([])
    events, verdict = judge.judge(track((1, 0, 0, 0)))
    assert (events, verdict.tolist()) == ([], [core.JUDGED])
    assert datetime.fromtimestamp(T0 / 1000, UTC).year == 2026
    assert abs(METRE * METRES_LAT - 1) < 1e-9
