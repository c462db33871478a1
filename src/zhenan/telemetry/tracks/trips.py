"""Trips and stops of one vehicle from its positions, by thresholds that are stated and may be set.

The thresholds are conventions of fleet systems, not of law: configurable. What is odd has a defined effect: unusable
positions and places that cannot have been reached (as in fence_core.accept) are left out and counted; wandering of a
parked vehicle stays within the radius of its stop; a second position of the same time is dropped; the order of
arrival does not matter, for a track is read by time: what a terminal sent later from a dead zone stands where it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.tracks import fence_core as core
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns
from zhenan.telemetry.tracks.judge import MOST_KMH

MOVING: Final = core.MOVING
STOPPED: Final = core.STOPPED
LEFT_OUT: Final = 2


@dataclass(frozen=True)
class Thresholds:
    """A stop: at least `stop_s` within `stop_radius_m` of where it began. Longer than `gap_s` without a position ends
    whatever was going on. A trip: at least `trip_m` long."""

    stop_radius_m: float = 60.0
    stop_s: int = 180
    gap_s: int = 1800
    trip_m: float = 300.0
    most_kmh: float = MOST_KMH

    def __post_init__(self) -> None:
        values = (self.stop_radius_m, self.stop_s, self.gap_s, self.trip_m, self.most_kmh)
        if any(not value > 0 for value in values):
            raise ValueError(f"thresholds are above 0; got {self}")


@dataclass(frozen=True)
class Stop:
    t0_ms: int
    t1_ms: int
    lat: float
    lon: float


@dataclass(frozen=True)
class Trip:
    t0_ms: int
    t1_ms: int
    metres: float
    most_kmh: float


@dataclass(frozen=True, eq=False)
class Track:
    """A vehicle's course. `positions` by time; `state` of each: moving, stopped or left out."""

    positions: PositionColumns
    state: NDArray[np.uint8]
    stops: list[Stop]
    trips: list[Trip]
    jumps: int
    unfit: int
    gaps: list[tuple[int, int]]


def track_of(positions: PositionColumns, limits: Thresholds | None = None) -> Track:
    """Trips and stops of one vehicle's positions, in any order."""
    limits = limits or Thresholds()
    if len(positions) and int(positions.vehicle.min()) != int(positions.vehicle.max()):
        raise ValueError("a track is of one vehicle")
    positions = positions.take(np.argsort(positions.ts, kind="stable"))
    verdict = np.empty(len(positions), np.uint8)
    core.accepted(positions.ts, positions.lat, positions.lon, positions.quality, limits.most_kmh, verdict)
    positions, verdict = positions.take(verdict != core.DUPLICATE), verdict[verdict != core.DUPLICATE]
    good = np.flatnonzero(verdict == core.JUDGED)
    fit = positions.take(good)
    within = np.zeros(good.size, np.uint8)
    core.stopped(fit.ts, fit.lat, fit.lon, limits.stop_radius_m, limits.stop_s * 1000, limits.gap_s * 1000, within)
    state = np.full(len(positions), LEFT_OUT, np.uint8)
    state[good] = within
    gap_at = np.flatnonzero(np.diff(fit.ts) > limits.gap_s * 1000)
    return Track(
        positions, state, _stops(fit, within, limits), _trips(fit, within, limits),
        int(np.count_nonzero(verdict == core.JUMP)), int(np.count_nonzero(verdict == core.UNFIT)),
        [(int(fit.ts[i]), int(fit.ts[i + 1])) for i in gap_at],
    )  # fmt: skip


def _runs(fit: PositionColumns, within: NDArray[np.uint8], limits: Thresholds) -> list[tuple[int, int, int]]:
    """(state, first, last) of stretches of one state without a gap."""
    if not len(fit):
        return []
    cut = (np.diff(within) != 0) | (np.diff(fit.ts) > limits.gap_s * 1000)
    starts = np.concatenate([[0], np.flatnonzero(cut) + 1])
    ends = np.append(starts[1:], len(fit)) - 1
    return [(int(within[a]), int(a), int(b)) for a, b in zip(starts, ends, strict=True)]


def _stops(fit: PositionColumns, within: NDArray[np.uint8], limits: Thresholds) -> list[Stop]:
    found = []
    for state, first, last in _runs(fit, within, limits):
        if state == STOPPED:
            lat, lon = fit.lat[first : last + 1].mean() / DEGREE, fit.lon[first : last + 1].mean() / DEGREE
            found.append(Stop(int(fit.ts[first]), int(fit.ts[last]), float(lat), float(lon)))
    return found


def _trips(fit: PositionColumns, within: NDArray[np.uint8], limits: Thresholds) -> list[Trip]:
    """Stretches of movement, from the end of the stop before to the beginning of the stop after."""
    steps = metres_between(fit)
    found = []
    for state, first, last in _runs(fit, within, limits):
        if state != MOVING:
            continue
        near = first > 0 and fit.ts[first] - fit.ts[first - 1] <= limits.gap_s * 1000
        begin = first - 1 if near else first
        near = last + 1 < len(fit) and fit.ts[last + 1] - fit.ts[last] <= limits.gap_s * 1000
        end = last + 1 if near else last
        metres = float(steps[begin:end].sum())
        if metres >= limits.trip_m:
            kmh = float(fit.speed[begin : end + 1].max()) / 10
            found.append(Trip(int(fit.ts[begin]), int(fit.ts[end]), metres, kmh))
    return found


def metres_between(positions: PositionColumns) -> NDArray[np.float64]:
    """Distances from each position to the next, shape (n - 1,)."""
    lat, lon = positions.lat / DEGREE, positions.lon / DEGREE
    dy = np.diff(lat) * 110_574.0
    dx = np.diff(lon) * 111_320.0 * np.cos(np.radians(lat[:-1]))
    found: NDArray[np.float64] = np.hypot(dx, dy)
    return found
