"""Invented roads between invented places, for vehicles of a simulation. No real road is in it, and none is meant.

Towns are joined to those near them (two towns have a road where no third lies in the circle between them); each road
bends a little and stays on the land that it is given.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Within = Callable[[F64, F64], NDArray[np.bool_]]  # (lon, lat) → whether each place is on the land
METRES_LAT, METRES_LON = 110_574.0, 111_320.0
BEND_RATIO = 0.12  # of a stretch's length, to either side
HALVINGS = 3
TRIES = 8
WATER_COST = 20.0  # a road that leaves the land is only taken where there is no other


def everywhere(lon: F64, lat: F64) -> NDArray[np.bool_]:
    """All of the earth is land."""
    return np.ones(np.shape(lon), np.bool_)


def metres(line: F64) -> F64:
    """Length of each stretch of a line, shape (n, 2) of lon, lat → (n - 1,)."""
    step = np.diff(line, axis=0)
    east = step[:, 0] * METRES_LON * np.cos(np.radians(line[:-1, 1]))
    found: F64 = np.hypot(east, step[:, 1] * METRES_LAT)
    return found


@dataclass(frozen=True)
class Roads:
    """``lines``: the course of the road between two places, by their numbers, the lower first."""

    places: F64
    lines: dict[tuple[int, int], F64]
    _near: dict[int, list[tuple[float, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (a, b), line in self.lines.items():
            length = float(metres(line).sum())
            self._near.setdefault(a, []).append((length, b))
            self._near.setdefault(b, []).append((length, a))

    def way(self, start: int, end: int) -> F64:
        """The shortest way from one place to another, (n, 2) of lon, lat. Raises ValueError where there is none."""
        before: dict[int, int] = {}
        best = {start: 0.0}
        waiting = [(0.0, start)]
        while waiting:
            length, here = heapq.heappop(waiting)
            if here == end:
                break
            for step, there in self._near.get(here, ()):
                if length + step < best.get(there, np.inf):
                    best[there], before[there] = length + step, here
                    heapq.heappush(waiting, (length + step, there))
        if end not in best:
            raise ValueError(f"no road leads from place {start} to place {end}")
        stations = [end]
        while stations[-1] != start:
            stations.append(before[stations[-1]])
        return self._joined(stations[::-1])

    def _joined(self, stations: Sequence[int]) -> F64:
        parts = [self.places[stations[:1]]]
        for a, b in itertools.pairwise(stations):
            line = self.lines[min(a, b), max(a, b)]
            parts.append((line if a < b else line[::-1])[1:])
        return np.concatenate(parts)


def roads_between(
    places: Sequence[tuple[float, float]], rng: np.random.Generator, within: Within = everywhere
) -> Roads:
    """Roads that join all places, (lon, lat) each. O(n³) in arrays: for hundreds of places."""
    points = np.array(places, np.float64).reshape(-1, 2)
    pairs = _neighbours(points)
    lines = {}
    for a, b in pairs:
        line = _bent(points[a], points[b], rng, within)
        if line is not None:
            lines[a, b] = line
    for a, b in _lacking(points, list(lines), within):
        lines[a, b] = np.array([points[a], points[b]])
    return Roads(points, lines)


def _plane(points: F64) -> F64:
    middle = float(points[:, 1].mean()) if len(points) else 0.0
    return points * [METRES_LON * np.cos(np.radians(middle)), METRES_LAT]


def _distances(points: F64) -> F64:
    plane = _plane(points)
    found: F64 = np.hypot(*(plane[:, None, :] - plane[None, :, :]).transpose(2, 0, 1))
    return found


def _neighbours(points: F64) -> list[tuple[int, int]]:
    """Pairs whose circle, drawn over their distance, holds no third place (Gabriel's graph)."""
    square = _distances(points) ** 2
    found = []
    for a in range(len(points)):
        third = square[a][None, :] + square[a + 1 :]  # row b, column c: |ac|² + |bc|²
        third[:, a] = np.inf
        third[np.arange(len(third)), np.arange(a + 1, len(points))] = np.inf
        open_ones = np.flatnonzero((third >= square[a, a + 1 :, None]).all(axis=1))
        found += [(a, a + 1 + int(b)) for b in open_ones]
    return found


def _bent(start: F64, end: F64, rng: np.random.Generator, within: Within) -> F64 | None:
    """A line with bends that stays on the land; None where even the straight one does not."""
    for attempt in range(TRIES + 1):
        amplitude = BEND_RATIO * (1 - attempt / TRIES)
        line = np.array([start, end])
        for _ in range(HALVINGS):
            between = (line[:-1] + line[1:]) / 2
            step = np.diff(line, axis=0)
            aside = np.column_stack([-step[:, 1] / np.cos(np.radians(between[:, 1])), step[:, 0]])
            moved = between + aside * rng.uniform(-amplitude, amplitude, (len(between), 1))
            line = np.insert(line, np.arange(1, len(line)), moved, axis=0)
        if bool(within(*_dense(line).T).all()):
            return line
    return None


def _dense(line: F64) -> F64:
    """Three more points on every stretch, to look where it leads."""
    shares = np.arange(4)[:, None, None] / 4
    found: F64 = (line[None, :-1] * (1 - shares) + line[None, 1:] * shares).transpose(1, 0, 2).reshape(-1, 2)
    return found


def _lacking(points: F64, known: list[tuple[int, int]], within: Within) -> list[tuple[int, int]]:
    """The straight roads that are still needed to join everything: the shortest, and rather over land than not."""
    group = list(range(len(points)))

    def root(n: int) -> int:
        while group[n] != n:
            group[n] = group[group[n]]
            n = group[n]
        return n

    for a, b in known:
        group[root(a)] = root(b)
    if len({root(n) for n in range(len(points))}) <= 1:
        return []
    distance = _distances(points)
    found = []
    order = []
    for a, b in itertools.combinations(range(len(points)), 2):
        if root(a) != root(b):
            wet = not bool(within(*_dense(np.array([points[a], points[b]])).T).all())
            order.append((float(distance[a, b]) * (WATER_COST if wet else 1.0), a, b))
    for _, a, b in sorted(order):
        if root(a) != root(b):
            group[root(a)] = root(b)
            found.append((a, b))
    return found
