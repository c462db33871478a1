"""Where the towns of the demo city lie: towns have no published polygons, so each county is divided among its own.

Pure geometry in degrees (WGS-84); the same seed gives the same land.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from zhenan.packkit.simulate import seed_of

ROUNDS = 3  # of moving each centre towards the middle of its cell
GATHERED_RATIO = 0.7  # of places near the town's centre; the others anywhere in the town


@dataclass(frozen=True)
class Cell:
    """A town's part of its county."""

    outline: BaseGeometry
    lon: float
    lat: float

    def sample(self, rng: np.random.Generator) -> tuple[float, float]:
        """A place in the town, (lon, lat): mostly near its centre."""
        west, south, east, north = self.outline.bounds
        gathered = rng.random() < GATHERED_RATIO
        for _ in range(60):
            if gathered:
                lon = self.lon + rng.normal(0, (east - west) / 7)
                lat = self.lat + rng.normal(0, (north - south) / 7)
            else:
                lon, lat = rng.uniform(west, east), rng.uniform(south, north)
            lon, lat = round(float(lon), 6), round(float(lat), 6)
            if shapely.contains_xy(self.outline, lon, lat):
                return lon, lat
        return self.lon, self.lat


def cells(county: dict[str, Any], towns: Sequence[tuple[str, str]], seed: int) -> dict[str, Cell]:
    """Divide a county (GeoJSON) among its towns, (code, name): cells around seeded centres, streets close together."""
    whole = shapely.make_valid(shape(county))
    centres = [_first_centre(whole, code, name, seed) for code, name in towns]
    for _ in range(ROUNDS):
        parts = _divide(whole, centres)
        centres = [_middle(part) for part in parts]
    found = {}
    for (code, _name), part in zip(towns, _divide(whole, centres), strict=True):
        shapely.prepare(part)
        lon, lat = _middle(part)
        found[code] = Cell(part, lon, lat)
    return found


def _first_centre(whole: BaseGeometry, code: str, name: str, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng([seed, seed_of(code) & 0xFFFFFFFF])
    west, south, east, north = whole.bounds
    heart = whole.representative_point()
    while True:
        if name.endswith("街道"):  # the built-up streets lie around the county's seat
            lon, lat = rng.normal(heart.x, (east - west) / 14), rng.normal(heart.y, (north - south) / 14)
        else:
            lon, lat = rng.uniform(west, east), rng.uniform(south, north)
        if shapely.contains_xy(whole, lon, lat):
            return float(lon), float(lat)


def _divide(whole: BaseGeometry, centres: Sequence[tuple[float, float]]) -> list[BaseGeometry]:
    """The part of the county that is nearest to each centre, in the centres' order."""
    if len(centres) == 1:
        return [whole]
    diagram = shapely.voronoi_polygons(shapely.MultiPoint(list(centres)), extend_to=whole)
    pieces = list(diagram.geoms)
    order = [next(p for p in pieces if shapely.intersects_xy(p, lon, lat)) for lon, lat in centres]
    return [piece.intersection(whole) for piece in order]


def _middle(part: BaseGeometry) -> tuple[float, float]:
    """The centroid where it lies inside the part, else a point that does."""
    point = part.centroid if part.contains(part.centroid) else part.representative_point()
    return round(point.x, 5), round(point.y, 5)
