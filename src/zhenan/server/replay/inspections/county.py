"""Where the records belong: a county outside the city's tree, its towns, its office, the facilities themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from zhenan.domains.register.models import Subject
from zhenan.domains.register.services import Draft, write_many
from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.packkit.schema import Checklist
from zhenan.server.replay.inspections.records import Facility

PACK = "food_premises"
TYPE, FORM = f"{PACK}.food_facility", f"{PACK}.form"
COUNTY = "US-06081"  # San Mateo County, California: its FIPS code
COUNTY_NAME = "San Mateo County"
# The cities and communities of the county; a facility of another address (a caterer's van) is placed at the county.
TOWNS = (
    "Atherton", "Belmont", "Brisbane", "Burlingame", "Colma", "Daly City", "East Palo Alto", "El Granada",
    "Foster City", "Half Moon Bay", "Hillsborough", "La Honda", "Loma Mar", "Menlo Park", "Millbrae", "Montara",
    "Moss Beach", "Pacifica", "Pescadero", "Portola Valley", "Princeton", "Redwood City", "San Bruno", "San Carlos",
    "San Mateo", "South San Francisco", "Woodside", "San Francisco Airport",
)  # fmt: skip
ALSO = {
    "sfo": "San Francisco Airport", "sfia": "San Francisco Airport", "s san francisco": "South San Francisco",
    "princeton-by-the-sea": "Princeton",
}  # fmt: skip
SAID = "（原始记录转入）"


class PackMissing(ValueError):
    """The example pack is not among the packs that were synced."""


@dataclass(frozen=True)
class Place:
    """What is needed to write the records. ``towns``: name in lower case → division."""

    county: Division
    towns: dict[str, Division]
    inspector: User
    operator: User
    form: Checklist

    def division_of(self, city: str) -> Division:
        name = " ".join(city.casefold().split())
        return self.towns.get(ALSO.get(name, name).casefold(), self.county)


def form() -> Checklist:
    """The checklist of the example pack. Raises PackMissing saying how to get it."""
    try:
        return registry().checklist(FORM)
    except UnknownCode:
        raise PackMissing(
            f"no pack {PACK!r}: name its folder's parent in ZHENAN_PACK_DIRS (docs/examples/packs) and run "
            "`zhenan packs sync`"
        ) from None


def prepare() -> Place:
    """Make what is missing of county, towns, office and its two accounts, which nobody can sign in to."""
    checklist = form()
    county = _division(COUNTY, COUNTY_NAME, "county", None)
    towns = {name.casefold(): _division(_code(name), name, "town", county) for name in TOWNS}
    office = _organisation(f"{COUNTY}-health", "district_office", f"{COUNTY_NAME} Environmental Health{SAID}", county)
    trade = _organisation(f"{COUNTY}-trade", "enterprise", f"{COUNTY_NAME} facility operators{SAID}", county)
    inspector = _user(f"{COUNTY.lower()}-inspector", f"检查员{SAID}", office, "district_office", county)
    operator = _user(f"{COUNTY.lower()}-operator", f"经营者{SAID}", trade, "enterprise_safety", county)
    return Place(county, towns, inspector, operator, checklist)


def _code(town: str) -> str:
    """A code of at most 20 characters that stays the same."""
    return f"{COUNTY}-{re.sub(r'[^A-Z]', '', town.upper())[:11]}"


def _division(code: str, name: str, level: str, parent: Division | None) -> Division:
    path = f"{parent.path if parent else ''}{code}/"
    return Division.objects.get_or_create(
        code=code, defaults={"name": name, "level": level, "parent": parent, "path": path}
    )[0]


def _organisation(code: str, kind: str, name: str, division: Division) -> Organisation:
    defaults = {"kind": kind, "name": name, "division": division, "programme": PACK}
    return Organisation.objects.get_or_create(code=code, defaults=defaults)[0]


def _user(username: str, name: str, organisation: Organisation, role: str, division: Division) -> User:
    user, fresh = User.objects.get_or_create(username=username, defaults={"name": name})
    if fresh:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    Post.objects.get_or_create(
        user=user, organisation=organisation, role=role, division=division, defaults={"programmes": [PACK]}
    )
    return user


def register(facilities: Iterable[Facility], place: Place, *, at: datetime) -> tuple[dict[str, Subject], int]:
    """Facility number → its subject, and how many were new."""
    wanted = {one.number: one for one in facilities}
    known = {s.key: s for s in Subject.objects.filter(type=TYPE, key__in=list(wanted)).select_related("division")}
    fresh = [_subject(one, place) for number, one in wanted.items() if number not in known]
    write_many([Draft(subject, note="public inspection records") for subject in fresh], actor=None, at=at)
    return known | {subject.key: subject for subject in fresh}, len(fresh)


def _subject(one: Facility, place: Place) -> Subject:
    return Subject(
        type=TYPE, programme=PACK, key=one.number, name=one.name, address=f"{one.address}, {one.city} {one.zip}"[:300],
        division=place.division_of(one.city), lon=one.lon, lat=one.lat, source="replay",
        attributes={"facility_no": one.number, "city": one.city.title(), "zip": one.zip},
    )  # fmt: skip
