"""Divisions, where towns lie, and the grids under them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import shapely
from shapely.geometry import shape

from zhenan.kernel.territory.models import Division
from zhenan.kernel.territory.services import load_city, make_grids, read_rows
from zhenan.packkit import synthetic
from zhenan.packkit.roads import Within
from zhenan.packkit.simulate import Town
from zhenan.server.demo import land
from zhenan.server.demo.plan import Demo

GRIDS = 2_000
LEAST_GRIDS = 2  # of a town, at any scale


def make(demo: Demo) -> str:
    """The city's divisions with boundaries, a place for each town, and its grids."""
    load_city()
    towns = towns_of(demo)
    count = _make_grids(demo, towns)
    return f"{len(towns)} towns, {count} grids"


def towns_of(demo: Demo) -> list[Town]:
    """The towns with their samplers, in the order of their codes."""
    cells = town_cells(demo)
    rows = Division.objects.filter(level="town", code__in=cells).select_related("parent").order_by("code")
    return [
        Town(t.code, t.name, cells[t.code].sample, t.parent.name if t.parent else "",
             centre=(cells[t.code].lon, cells[t.code].lat))
        for t in rows
    ]  # fmt: skip


def within() -> Within:
    """Whether places lie in one of the city's counties."""
    outlines = Division.objects.filter(level="county").exclude(boundary=None).values_list("boundary", flat=True)
    land = shapely.union_all([shapely.make_valid(shape(outline)) for outline in outlines])
    shapely.prepare(land)
    return lambda lon, lat: np.asarray(shapely.contains_xy(land, lon, lat))


def town_cells(demo: Demo) -> dict[str, land.Cell]:
    """Every town's cell in the polygon of the county to which it belongs by law."""
    counties = {d.code: d for d in Division.objects.filter(level="county").exclude(boundary=None)}
    members: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for town in Division.objects.filter(level="town").select_related("parent").order_by("code"):
        county = town.legal_parent_code or (town.parent.code if town.parent else "")
        if county in counties:
            members[county].append((town.code, town.name))
    found: dict[str, land.Cell] = {}
    for code, towns in members.items():
        found |= land.cells(counties[code].boundary or {}, towns, demo.seed)
    return found


def grid_counts(demo: Demo, towns: Sequence[Town]) -> list[int]:
    """How many grids each town has: 2,000 in all at full scale, never fewer than two."""
    total = max(LEAST_GRIDS * len(towns), round(GRIDS * demo.scale))
    return synthetic.shares(total, synthetic.town_weights(towns), least=LEAST_GRIDS)


def _make_grids(demo: Demo, towns: Sequence[Town]) -> int:
    villages: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in read_rows("zhenjiang_villages.csv"):
        villages[row["town"]].append((row["code"], row["name"]))
    divisions = {d.code: d for d in Division.objects.filter(level="town")}
    cells = town_cells(demo)
    placed = list(divisions.values())
    for town, count in zip(towns, grid_counts(demo, towns), strict=True):
        divisions[town.code].lon, divisions[town.code].lat = cells[town.code].lon, cells[town.code].lat
        grids = make_grids(divisions[town.code], grid_names(town, villages[town.code], count))
        rng = demo.rng("grids", town.code)
        for grid in grids:
            grid.lon, grid.lat = town.sample(rng)
        placed += grids
    Division.objects.bulk_update(placed, ["lon", "lat"], batch_size=1000)
    return len(placed) - len(divisions)


def grid_names(town: Town, villages: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """(code, name) of each grid: villages with their twelve-digit codes; several in a village are numbered."""
    if not villages:
        return [(f"{town.code}{i:03d}", f"第{i}网格") for i in range(1, count + 1)]
    if count <= len(villages):
        chosen = [villages[i * len(villages) // count] for i in range(count)]
        return [(code, f"{_short(name)}网格") for code, name in chosen]
    found = []
    for (code, name), several in zip(villages, synthetic.shares(count, [1.0] * len(villages)), strict=True):
        found.append((code, f"{_short(name)}第1网格" if several > 1 else f"{_short(name)}网格"))
        found += [(f"{code}{i:02d}", f"{_short(name)}第{i}网格") for i in range(2, several + 1)]
    return found


def _short(village: str) -> str:
    for ending, stays in (("居民委员会", ""), ("村民委员会", "村"), ("居委会", ""), ("村委会", "村")):
        if village.endswith(ending):
            return village.removesuffix(ending) + stays
    return village
