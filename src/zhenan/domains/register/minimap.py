"""A small map drawn on the server as SVG: the county's boundary and the point. Works on paper and without a script."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from zhenan.domains.register.models import Subject
from zhenan.kernel.territory.models import Division

WIDTH, HEIGHT, MARGIN = 320, 220, 8
SIDE_KM = 12.0  # how much a map shows where no boundary is at hand


@dataclass(frozen=True)
class Drawn:
    """SVG pieces in pixels of WIDTH x HEIGHT; ``scale_px`` is the length of a bar of ``scale_km``."""

    outline: str
    x: float
    y: float
    scale_px: float
    scale_km: int
    county: str
    width: int = WIDTH
    height: int = HEIGHT


def draw(subject: Subject) -> Drawn | None:
    """The map, or None when the subject has no place."""
    if subject.lon is None or subject.lat is None:
        return None
    codes = subject.division.path.strip("/").split("/")
    county = (
        Division.objects.filter(code__in=codes, boundary__isnull=False)
        .order_by("-level", "-path")
        .only("name", "boundary")
        .first()
    )
    rings = list(_rings(county.boundary)) if county is not None else []
    lons = [lon for ring in rings for lon, _lat in ring] + [subject.lon]
    lats = [lat for ring in rings for _lon, lat in ring] + [subject.lat]
    west, east, south, north = min(lons), max(lons), min(lats), max(lats)
    squeeze = math.cos(math.radians((south + north) / 2))
    if not rings:
        half = SIDE_KM / 111.195 / 2
        south, north, west, east = south - half, north + half, west - half / squeeze, east + half / squeeze
    scale = min(
        (WIDTH - 2 * MARGIN) / max((east - west) * squeeze, 1e-9), (HEIGHT - 2 * MARGIN) / max(north - south, 1e-9)
    )  # pixels a degree of latitude

    def at(lon: float, lat: float) -> tuple[float, float]:
        x = WIDTH / 2 + (lon - (west + east) / 2) * squeeze * scale
        y = HEIGHT / 2 - (lat - (south + north) / 2) * scale
        return round(x, 1), round(y, 1)

    outline = " ".join("M" + "L".join(f"{x} {y}" for x, y in (at(*p) for p in ring)) + "Z" for ring in rings)
    x, y = at(subject.lon, subject.lat)
    km = _round_km(WIDTH / 4 / (scale / 111.195))
    return Drawn(outline, x, y, round(km * scale / 111.195, 1), km, county.name if county else "")


def _round_km(km: float) -> int:
    """The largest of 1, 2, 5, 10, 20, 50 that is not longer."""
    return max((step for step in (1, 2, 5, 10, 20, 50) if step <= km), default=1)


def _rings(geometry: dict[str, Any] | None) -> list[list[tuple[float, float]]]:
    """The outer rings of a GeoJSON Polygon or MultiPolygon."""
    if not geometry:
        return []
    polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    return [[(float(p[0]), float(p[1])) for p in polygon[0]] for polygon in polygons]
