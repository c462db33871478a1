"""Invented roads join all places and stay on the land; vehicles stay on their ways and come home."""

import itertools

import numpy as np
import pytest

from zhenan.packkit.moving import Course, courses, moving_ticks
from zhenan.packkit.roads import metres, roads_between

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
NOON = 1_675_137_600_000  # 2023-01-31 12:00 in China
LINE = np.array([[119.40, 32.20], [119.50, 32.20], [119.50, 32.30]])  # 9.4 km east, then 11.1 km north


def rng(seed=3):
    return np.random.default_rng(seed)


def test_a_degree_is_as_long_as_it_is_at_its_latitude():
    # 0.1° x 111,320 m x cos 32.2° = 9,420 m; 0.1° x 110,574 m = 11,057 m
    assert metres(LINE) == pytest.approx([9420, 11057.4], abs=1)


def test_two_places_have_no_road_of_their_own_where_a_third_lies_between():
    roads = roads_between([(119.0, 32.0), (119.1, 32.001), (119.2, 32.0)], rng())
    assert sorted(roads.lines) == [(0, 1), (1, 2)]
    way = roads.way(0, 2)
    assert (way[0].tolist(), way[-1].tolist()) == ([119.0, 32.0], [119.2, 32.0])
    assert [119.1, 32.001] in way.tolist()


def test_every_place_is_reached_and_no_road_leaves_the_land_unless_it_must():
    def land(lon, lat):
        """Two squares with a strait between them, from 119.45 to 119.55."""
        return ((lon < 119.45) | (lon > 119.55)) & (lat > 31.9) & (lat < 32.4)

    draw = rng(5)
    west, east = ([(w + draw.uniform(0, 0.4), draw.uniform(32, 32.3)) for _ in range(12)] for w in (119.0, 119.6))
    roads = roads_between([*west, *east], rng(), land)
    wet = [
        pair for pair, line in roads.lines.items() if not land(*line[:, :2].T).all() or (pair[0] < 12) != (pair[1] < 12)
    ]
    assert len(wet) == 1
    for a, b in itertools.combinations(range(24), 2):
        assert metres(roads.way(a, b)).sum() >= metres(np.array([roads.places[a], roads.places[b]])).sum() - 1


def off_the_way_m(course, ts):
    """Metres from the nearest of many points along the ways."""
    there = course.where(ts)
    shares = np.linspace(0, 1, 2000)[:, None]
    dense = np.concatenate([a + (b - a) * shares for way in course.ways for a, b in itertools.pairwise(way)])
    dy = (there.lat[:, None] - dense[None, :, 1]) * 110_574
    dx = (there.lon[:, None] - dense[None, :, 0]) * 111_320 * np.cos(np.radians(32.2))
    return np.hypot(dx, dy).min(axis=1)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_vehicle_stays_on_its_way_as_fast_as_it_says_and_comes_home(seed):
    course = Course(seed, (LINE,))
    day = next(d for d in range(19_000, 19_010) if course.legs(d))
    legs = course.legs(day)
    ts = np.arange(legs[0].t0 - HOUR_MS, legs[-1].t1 + HOUR_MS, 1000, dtype=np.int64)
    assert off_the_way_m(course, ts[::97]).max() < 10
    there = course.where(ts)
    moved = metres(np.column_stack([there.lon, there.lat]))
    driven = sum(leg.t1 - leg.t0 for leg in legs) / 1000
    assert np.count_nonzero(there.speed_kmh) == pytest.approx(driven, abs=len(legs))
    # the way out and back is 2 x 20,477 m; the speed that is told adds up to it
    told = there.speed_kmh.sum() / 3.6
    assert told == pytest.approx(len(legs) * 20_477, rel=0.01)
    assert moved[there.speed_kmh[1:] == 0].max() < 12  # only the fix wanders
    assert there.lat[[0, -1]] == pytest.approx([32.20, 32.20], abs=1e-4)
    assert all(a.t1 < b.t0 for a, b in itertools.pairwise(legs))


def test_a_vehicle_heads_where_it_drives():
    course = Course(7, (LINE,))
    leg = next(leg for day in range(19_000, 19_010) for leg in course.legs(day))
    ts = leg.t0 + np.array([0.1, 0.9]) * (leg.t1 - leg.t0)
    assert course.where(ts.astype(np.int64)).heading == pytest.approx([90, 0], abs=1)


def test_reports_come_often_while_driving_seldom_in_the_yard_and_windows_fit_together():
    seeds = np.array([11, 12, 13], np.uint64)
    drives = courses([11, 12, 13], [[LINE.tolist()], [LINE.tolist()], []])

    def reports(t0, t1):
        row, ts, place = moving_ticks(seeds, drives, t0, t1, every_s=10, parked_s=300)
        return sorted(zip(row.tolist(), ts.tolist(), place.speed_kmh.tolist(), strict=True))

    whole = reports(NOON, NOON + DAY_MS)
    assert {row for row, _, _ in whole} == {0, 1}  # of one without ways nothing is known
    assert whole == sorted(reports(NOON, NOON + 5 * HOUR_MS + 7) + reports(NOON + 5 * HOUR_MS + 7, NOON + DAY_MS))
    assert all(ts % 1000 == 0 for _, ts, _ in whole)
    steps = {(b[1] - a[1]) // 1000 for a, b in itertools.pairwise(whole) if a[0] == b[0] and a[2] > 0 and b[2] > 0}
    assert 10 in steps
    parked = [b[1] - a[1] for a, b in itertools.pairwise(whole) if a[0] == b[0] and a[2] == b[2] == 0]
    assert max(parked) == 300_000
