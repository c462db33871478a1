"""Which division an address or a name of a place means: counties and towns as people write them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from zhenan.kernel.territory.models import Division, DivisionCode

TOWN_ENDINGS = ("街道办事处", "街道", "镇", "乡", "办事处")
# After a bare town name these make it a road, a bridge, a market … and no place to live in.
NOT_BEHIND = "路街桥巷道大场"


@dataclass(frozen=True)
class Found:
    """What an address names: at most one county and one town of it."""

    county: Division | None = None
    town: Division | None = None


class PlaceIndex:
    """The divisions of the city in memory (a few thousand rows), with the ways they are written."""

    def __init__(self) -> None:
        rows = list(Division.objects.filter(active=True).defer("boundary").order_by("path"))
        self.by_code = {row.code: row for row in rows}
        self.by_pk = {row.pk: row for row in rows}
        self.city = next((row for row in rows if row.level == Division.Level.CITY), None)
        self.counties = [row for row in rows if row.level == Division.Level.COUNTY]
        self.towns = [row for row in rows if row.level == Division.Level.TOWN]
        self._register = {
            code: self.by_pk[pk]
            for code, pk in DivisionCode.objects.filter(system="register").values_list("code", "division_id")
            if pk in self.by_pk
        }
        self._county_names = [(name, county) for county in self.counties for name in county_names(county.name)]
        self._towns_of: dict[int, list[tuple[str, Division]]] = defaultdict(list)
        for town in self.towns:
            for name in town_names(town.name):
                for county in self._counties_of(town):
                    self._towns_of[county].append((name, town))
        self._by_name = self._names(rows)

    def _counties_of(self, town: Division) -> list[int]:
        """The county in the tree, and the lawful one where the tree follows a statistical unit."""
        lawful = self.by_code.get(town.legal_parent_code)
        return [pk for pk in (town.parent_id, lawful.pk if lawful else None) if pk is not None]

    def _names(self, rows: list[Division]) -> dict[str, list[Division]]:
        """Names, alone and behind those of their parents: "司徒镇", "丹阳市司徒镇", "镇江市丹阳市司徒镇"."""
        found: dict[str, list[Division]] = defaultdict(list)
        for row in rows:
            chain = [self.by_code[code].name for code in row.path.strip("/").split("/") if code in self.by_code]
            for start in range(len(chain)):
                found["".join(chain[start:])].append(row)
        return found

    def by_register(self, code: str) -> Division | None:
        """The division that the company register calls by this six-digit code."""
        return self._register.get(code)

    def named(self, text: str) -> Division | None:
        """The division that a cell means: its code, or its name alone (if only one has it) or behind its parents'."""
        plain = re.sub(r"[\s/>·\-]", "", text)
        if plain in self.by_code:
            return self.by_code[plain]
        rows = self._by_name.get(plain, [])
        return rows[0] if len(rows) == 1 else None

    def in_address(self, address: str, within: Division | None = None) -> Found:
        """The county and the town that an address names. ``within``: a county known otherwise, for bare town names."""
        county, rest = self._county(address)
        for place in (within, county):
            if place is not None and place.level == Division.Level.COUNTY:
                behind = rest if place == county or county is None else ""
                town = self._town(address, place, bare_in=behind)
                if town is not None:
                    return Found(county or place, town)
        if county is None:
            return self._town_anywhere(address)
        return Found(county)

    def _county(self, address: str) -> tuple[Division | None, str]:
        """The county named first, and the address behind its name (the whole address when none is named)."""
        best: tuple[int, int, Division] | None = None
        for name, county in self._county_names:
            at = address.find(name)
            if at >= 0 and address[at + len(name) : at + len(name) + 1] not in ("场", "路"):
                rank = (at, -len(name), county)
                best = rank if best is None or rank[:2] < best[:2] else best
        if best is None:
            return None, re.sub(r"^(江苏省|江苏)?(镇江市|镇江)?", "", address)
        return best[2], address[best[0] - best[1] :]

    def _town(self, address: str, county: Division, *, bare_in: str) -> Division | None:
        best: tuple[int, int, Division] | None = None
        for name, town in self._towns_of[county.pk]:
            if name.endswith(TOWN_ENDINGS) or len(name) > 4:
                at = address.find(name)
            else:
                bare = bare_in.startswith(name) and bare_in[len(name) : len(name) + 1] not in (*NOT_BEHIND, "")
                at = len(address) - len(bare_in) if bare else -1
            if at >= 0:
                rank = (at, -len(name), town)
                best = rank if best is None or rank[:2] < best[:2] else best
        return best[2] if best else None

    def _town_anywhere(self, address: str) -> Found:
        """A town whose full name only one county has, and that says what it is (镇, 街道)."""
        hits = {
            town.pk: town
            for towns in self._towns_of.values()
            for name, town in towns
            if name.endswith(TOWN_ENDINGS) and name in address
        }
        if len(hits) != 1:
            return Found()
        town = next(iter(hits.values()))
        return Found(self.by_pk.get(town.parent_id or 0), town)

    def is_lawfully_in(self, town: Division, county: Division) -> bool:
        return county.pk in self._counties_of(town)


def county_names(name: str) -> list[str]:
    """A county's name and its older one.

    >>> county_names("丹阳市"), county_names("丹徒区"), county_names("镇江新区")
    (['丹阳市', '丹阳县'], ['丹徒区', '丹徒县'], ['镇江新区', '镇江市新区'])
    """
    if name.endswith("新区"):
        return [name, f"{name[:-2]}市新区"]
    return [name, f"{name[:-1]}县"]


def town_names(name: str) -> list[str]:
    """A town's name, as it is called since or was called before (镇 became 街道), and bare.

    >>> town_names("华阳街道")
    ['华阳街道', '华阳街道办事处', '华阳镇', '华阳乡', '华阳办事处', '华阳']
    """
    stem = stem_of(name)
    if stem == name:
        return [name]
    return list(dict.fromkeys([name, *(stem + ending for ending in TOWN_ENDINGS), stem]))


def stem_of(name: str) -> str:
    """A division's bare name.

    >>> stem_of("司徒镇"), stem_of("丹阳市"), stem_of("镇江新区"), stem_of("经济开发区")
    ('司徒', '丹阳', '镇江新区', '经济开发区')
    """
    if not name.endswith(("新区", "开发区", "园区", "资源区", "风景区", "产业园")):
        for ending in (*TOWN_ENDINGS, "市", "区", "县"):
            if name.endswith(ending) and len(name) - len(ending) >= 2:
                return name[: -len(ending)]
    return name
