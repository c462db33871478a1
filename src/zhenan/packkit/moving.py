"""How a simulated vehicle moves: from its yard over a way to a place, a stay there, and back, some times a day.

Where a vehicle is follows from its seed, its ways and the time alone, so that neighbouring windows fit together. All
rates are assumptions for a demo, not statistics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from zhenan.packkit.roads import METRES_LAT, METRES_LON, metres
from zhenan.packkit.simulate import CHINA_MS, DAY_MS, F64, I64, U64, uniform

HOUR_MS = 3_600_000
NIGHT_RATIO = 0.3  # of vehicles that begin in the evening
REST_RATIO = 0.08  # of days without a trip
FAST_RATIO = 0.05  # of legs driven too fast
CRUISE_KMH, FAST_KMH = (44.0, 62.0), (72.0, 84.0)  # mean speed of a leg
MOST_TRIPS = 4
LATEST_MS = 22 * HOUR_MS  # of the vehicle's own day: by then it is back in its yard
GRID = 240  # steps of a leg's speed profile
FIX_M = 4.0  # a fix wanders by so much


class Leg(NamedTuple):
    """A drive: from ``t0`` to ``t1`` (ms UTC) over way number ``way``, ``back`` from its end to its beginning."""

    t0: int
    t1: int
    way: int
    back: bool
    seed: int


class Places(NamedTuple):
    """Where vehicles are, side by side; NaN where that is not known."""

    lat: F64
    lon: F64
    speed_kmh: F64
    heading: F64


@dataclass(frozen=True)
class Course:
    """One vehicle's ways, each shape (n, 2) of lon, lat from its yard to a place."""

    seed: int
    ways: tuple[F64, ...]

    def where(self, ts: I64) -> Places:
        """Where it is at each moment, ms UTC, in any order."""
        found = Places(*(np.zeros(ts.size) for _ in Places._fields))
        day = (ts + CHINA_MS - self._shift_ms) // DAY_MS
        for one in np.unique(day).tolist():
            mine = np.flatnonzero(day == one)
            self._of_day(int(one), ts[mine], mine, found)
        seeds = np.full(ts.size, self.seed, np.uint64)
        found.lat[:] += FIX_M * (2 * uniform(seeds, ts, 81) - 1) / METRES_LAT
        found.lon[:] += FIX_M * (2 * uniform(seeds, ts, 82) - 1) / METRES_LON
        return found

    def legs(self, day: int) -> list[Leg]:
        """The drives of a day of its own (which begins in the evening for some)."""
        return list(_legs(self.seed, tuple(_length(way) for way in self.ways), day, self._shift_ms))

    @property
    def _shift_ms(self) -> int:
        return 12 * HOUR_MS if _draw(self.seed, 70) < NIGHT_RATIO else 0

    def _of_day(self, day: int, ts: I64, rows: I64, found: Places) -> None:
        yard = self.ways[0][0]
        found.lon[rows], found.lat[rows] = yard
        legs = self.legs(day)
        for number, leg in enumerate(legs):
            driving = (ts >= leg.t0) & (ts < leg.t1)
            if driving.any():
                self._drive(leg, ts[driving], rows[driving], found)
            until = legs[number + 1].t0 if number + 1 < len(legs) else leg.t1
            there = (ts >= leg.t1) & (ts < until)
            if not leg.back and there.any():
                found.lon[rows[there]], found.lat[rows[there]] = self.ways[leg.way][-1]

    def _drive(self, leg: Leg, ts: I64, rows: I64, found: Places) -> None:
        line = self.ways[leg.way][::-1] if leg.back else self.ways[leg.way]
        along = np.concatenate([[0.0], np.cumsum(metres(line))])
        share = (ts - leg.t0) / (leg.t1 - leg.t0)
        profile = _profile(leg.seed)
        done = np.concatenate([[0.0], np.cumsum((profile[1:] + profile[:-1]) / 2)])
        at = np.interp(share * GRID, np.arange(GRID + 1), done / done[-1]) * along[-1]
        mean_kmh = along[-1] / ((leg.t1 - leg.t0) / 1000) * 3.6
        found.lon[rows] = np.interp(at, along, line[:, 0])
        found.lat[rows] = np.interp(at, along, line[:, 1])
        found.speed_kmh[rows] = mean_kmh * np.interp(share * GRID, np.arange(GRID + 1), profile) / profile.mean()
        ahead, behind = np.minimum(at + 15, along[-1]), np.maximum(at - 15, 0)
        east = np.interp(ahead, along, line[:, 0]) - np.interp(behind, along, line[:, 0])
        north = np.interp(ahead, along, line[:, 1]) - np.interp(behind, along, line[:, 1])
        found.heading[rows] = np.degrees(np.arctan2(east * np.cos(np.radians(line[0, 1])), north)) % 360


def _draw(seed: int, *keys: int) -> float:
    return float(uniform(np.array([seed], np.uint64), *keys)[0])


def _length(way: F64) -> float:
    return float(metres(way).sum())


@lru_cache(maxsize=40_000)
def _legs(seed: int, lengths: tuple[float, ...], day: int, shift_ms: int) -> tuple[Leg, ...]:
    if _draw(seed, day, 71) < REST_RATIO:
        return ()
    began = day * DAY_MS - CHINA_MS + shift_ms
    at = began + round((5 + 4 * _draw(seed, day, 72)) * HOUR_MS)
    found: list[Leg] = []
    for trip in range(MOST_TRIPS):
        way = int(_draw(seed, day, trip, 73) * len(lengths))
        out, home = (_duration_ms(seed, lengths[way], day, 2 * trip + n) for n in (0, 1))
        stay = round((25 + 40 * _draw(seed, day, trip, 74)) * 60_000)
        if at + out + stay + home > began + LATEST_MS:
            break
        found.append(Leg(at, at + out, way, False, _leg_seed(seed, day, 2 * trip)))
        found.append(Leg(at + out + stay, at + out + stay + home, way, True, _leg_seed(seed, day, 2 * trip + 1)))
        at = found[-1].t1 + round((20 + 60 * _draw(seed, day, trip, 75)) * 60_000)
    return tuple(found)


def _leg_seed(seed: int, day: int, number: int) -> int:
    return int(_draw(seed, day, number, 76) * 2**53)


def _duration_ms(seed: int, length_m: float, day: int, number: int) -> int:
    low, high = FAST_KMH if _draw(seed, day, number, 77) < FAST_RATIO else CRUISE_KMH
    kmh = low + (high - low) * _draw(seed, day, number, 78)
    return max(60_000, round(length_m / (kmh / 3.6) * 1000))


@lru_cache(maxsize=4_000)
def _profile(seed: int) -> F64:
    """Relative speed over the leg, shape (GRID + 1,): from a stand, up and down on the way, to a stand."""
    share = np.linspace(0, 1, GRID + 1)
    waves = np.ones(GRID + 1)
    for number, turns in enumerate((2, 5, 9)):
        waves += 0.09 * np.sin(2 * np.pi * (turns * share + _draw(seed, number, 79)))
    ends = np.clip(np.minimum(share, 1 - share) / 0.04 + 0.08, 0, 1)
    found: F64 = waves * ends
    return found


def courses(seeds: Sequence[int], ways: Sequence[Sequence[Sequence[Sequence[float]]]]) -> list[Course | None]:
    """A course for each vehicle; None for one whose ways are not known."""
    return [
        Course(seed, tuple(np.array(way, np.float64) for way in several)) if several else None
        for seed, several in zip(seeds, ways, strict=True)
    ]


def moving_ticks(seeds: U64, courses_: Sequence[Course | None], t0_ms: int, t1_ms: int, *, every_s: int, parked_s: int
                 ) -> tuple[I64, I64, Places]:  # fmt: skip
    """(row of seeds, ts, places) of every report in [t0, t1): each so often while it drives, less often in its yard.

    Reports fall on whole seconds, as the terminals' clocks count.
    """
    rows, times, places = [], [], []
    for row, course in enumerate(courses_):
        if course is None:
            continue
        phase = int(seeds[row] % np.uint64(every_s)) * 1000
        first = t0_ms + (phase - t0_ms) % (every_s * 1000)
        ts = np.arange(first, t1_ms, every_s * 1000, dtype=np.int64)
        if not ts.size:
            continue
        there = course.where(ts)
        kept = (there.speed_kmh > 0) | ((ts // (every_s * 1000)) % (parked_s // every_s) == 0)
        rows.append(np.full(int(kept.sum()), row, np.int64))
        times.append(ts[kept])
        places.append([part[kept] for part in there])
    if not rows:
        empty = np.empty(0)
        return np.empty(0, np.int64), np.empty(0, np.int64), Places(empty, empty, empty, empty)
    joined = Places(*(np.concatenate(part) for part in zip(*places, strict=True)))
    return np.concatenate(rows), np.concatenate(times), joined
