"""Fences: what they are, and what is wrong with one that is none.

A fence is a circle, a polygon or a corridor (a line with a width), valid from one moment to another, in force in time
windows, for some classes of vehicles and goods, perhaps with a speed limit and a longest stay. Changing a fence makes a
new version; a position is judged by the version that was valid at its time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["circle", "polygon", "corridor"]
MOST_POINTS: Final = 500
MOST_RADIUS_M: Final = 100_000.0
MOST_WIDTH_M: Final = 20_000.0
MOST_EXTENT_DEG: Final = 3.0  # distances are measured on a plane laid at the fence: within 0.3 % on such a span
METRES_LAT: Final = 110_574.0  # of a degree of latitude; of longitude at the equator:
METRES_LON: Final = 111_320.0
FOREVER: Final = 2**62
DAY_MINUTES: Final = 1440


class FenceFault(ValueError):
    """What is wrong with a fence: `code` for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Window:
    """Local times of a week. `days`: bit 0 Monday … bit 6 Sunday; minutes of the day, `end` exclusive.

    `end` not after `start` runs over midnight; the day is that on which it began.
    """

    days: int
    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 < self.days < 128:
            raise FenceFault("window_days", f"a window names one day of the week or more; got {self.days}")
        if not (0 <= self.start < DAY_MINUTES and 0 < self.end <= DAY_MINUTES):
            raise FenceFault("window_times", f"times of day are 00:00 to 24:00; got {self.start} to {self.end} minutes")


@dataclass(frozen=True)
class Fence:
    """One version of a fence.

    Args:
        points: [lat, lon] in degrees: the centre, the corners in order, or the line.
        size_m: radius of a circle, half the width of a corridor; 0 for a polygon.
        hysteresis_m: how far outside a vehicle must be before it has left: a fix wanders by some metres.
        windows: none: always. classes, goods: numbers of vehicle and goods classes it holds for; none: for all.
        speed_kmh: limit inside. dwell_s: the longest stay.
    Raises FenceFault.
    """

    id: str
    version: int
    shape: Shape
    points: tuple[tuple[float, float], ...]
    size_m: float = 0.0
    hysteresis_m: float = 30.0
    windows: tuple[Window, ...] = ()
    classes: frozenset[int] = frozenset()
    goods: frozenset[int] = frozenset()
    speed_kmh: float | None = None
    dwell_s: int | None = None
    valid_from_ms: int = 0
    valid_to_ms: int = FOREVER

    def __post_init__(self) -> None:
        check_points(self.shape, self.points)
        check_size(self.shape, self.size_m)
        if not 0 <= self.hysteresis_m <= 1000:
            raise FenceFault("hysteresis", f"hysteresis is 0 to 1000 m; got {self.hysteresis_m}")
        if self.speed_kmh is not None and not 0 < self.speed_kmh <= 200:
            raise FenceFault("speed", f"a speed limit is above 0, up to 200 km/h; got {self.speed_kmh}")
        if self.dwell_s is not None and not 0 < self.dwell_s <= 30 * 86_400:
            raise FenceFault("dwell", f"the longest stay is 1 second to 30 days; got {self.dwell_s}")
        if self.valid_to_ms <= self.valid_from_ms:
            raise FenceFault("validity", "a fence must be valid from before it ends")
        if any(not 0 <= number < 63 for number in (*self.classes, *self.goods)):
            raise FenceFault("classes", "numbers of classes are 0 to 62")

    @property
    def key(self) -> str:
        return f"{self.id}@{self.version}"


def check_points(shape: str, points: Sequence[Sequence[float]]) -> None:
    """Raises FenceFault where the points make no such shape."""
    least, most = {"circle": (1, 1), "polygon": (3, MOST_POINTS), "corridor": (2, MOST_POINTS)}.get(shape, (0, 0))
    if not most:
        raise FenceFault("shape", f"a fence is a circle, a polygon or a corridor; got {shape!r}")
    distinct = {(float(p[0]), float(p[1])) for p in points if len(p) == 2}
    if not least <= len(points) <= most or len(distinct) < least:
        raise FenceFault("points", f"a {shape} has {least} to {most} different points; got {len(distinct)}")
    array = np.array(points, np.float64)
    if not np.isfinite(array).all() or (np.abs(array) > [90, 180]).any():
        raise FenceFault("range", "points are latitude -90 to 90 and longitude -180 to 180")
    if (np.abs(array[:, 0]) > 80).any():
        raise FenceFault("range", "fences lie between 80 degrees south and north")
    if (np.ptp(array, axis=0) > MOST_EXTENT_DEG).any():
        raise FenceFault("extent", f"a fence spans at most {MOST_EXTENT_DEG} degrees")
    if shape == "polygon" and crosses_itself(array):
        raise FenceFault("crossing", "the sides of a polygon must not cross or touch each other")
    if shape == "polygon" and abs(area_deg2(array)) < 1e-12:
        raise FenceFault("flat", "a polygon must have an area")


def check_size(shape: str, size_m: float) -> None:
    """Raises FenceFault where radius or width do not fit."""
    if shape == "circle" and not 1 <= size_m <= MOST_RADIUS_M:
        raise FenceFault("radius", f"a radius is 1 to {MOST_RADIUS_M:.0f} m; got {size_m}")
    if shape == "corridor" and not 1 <= size_m <= MOST_WIDTH_M:
        raise FenceFault("width", f"half the width of a corridor is 1 to {MOST_WIDTH_M:.0f} m; got {size_m}")
    if shape == "polygon" and size_m:
        raise FenceFault("size", f"a polygon has no radius or width; got {size_m}")


def area_deg2(points: NDArray[np.float64]) -> float:
    """Signed area of a polygon, in square degrees."""
    y, x = points[:, 0] - points[0, 0], points[:, 1] - points[0, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def crosses_itself(points: NDArray[np.float64]) -> bool:
    """Whether any two sides of the polygon that are not neighbours meet, or neighbours fold back. O(n²) in arrays.

    >>> crosses_itself(np.array([[0.0, 0], [1, 1], [1, 0], [0, 1]]))
    True
    """
    n = len(points)
    a, b = points, np.roll(points, -1, axis=0)
    i, j = np.triu_indices(n, 1)
    neighbours = (j - i == 1) | ((i == 0) & (j == n - 1))
    far = ~neighbours
    if far.any() and bool(_meet(a[i[far]], b[i[far]], a[j[far]], b[j[far]]).any()):
        return True
    ahead, back = b - a, np.roll(b - a, 1, axis=0)
    cross = ahead[:, 0] * back[:, 1] - ahead[:, 1] * back[:, 0]
    return bool(((cross == 0) & ((ahead * back).sum(axis=1) <= 0)).any())


def _meet(a: Any, b: Any, c: Any, d: Any) -> NDArray[np.bool_]:
    def side(p: Any, q: Any, r: Any) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.sign(
            (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
        )
        return found

    def within(p: Any, q: Any, r: Any) -> NDArray[np.bool_]:
        low, high = np.minimum(p, q), np.maximum(p, q)
        return np.asarray(((r >= low) & (r <= high)).all(axis=1))

    one, two, three, four = side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)
    crossing = (one * two < 0) & (three * four < 0)
    touching = (
        ((one == 0) & within(a, b, c)) | ((two == 0) & within(a, b, d))
        | ((three == 0) & within(c, d, a)) | ((four == 0) & within(c, d, b))
    )  # fmt: skip
    return np.asarray(crossing | touching)


def plane(points: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """(latitude, longitude, metres of a degree of longitude) of the plane that a fence is measured on."""
    lat = sum(p[0] for p in points) / len(points)
    return lat, sum(p[1] for p in points) / len(points), METRES_LON * math.cos(math.radians(lat))
