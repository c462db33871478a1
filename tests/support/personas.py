"""The people that tests act as: a small city with an officer of this district, one of another, an insurer …

``city``: the division tree. ``personas``: a Personas with every role once, and the organisations they work for.
Danyang (321181) with its town Situ is "here"; Jurong (321183) is "elsewhere".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import pytest

from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.territory.models import Division
from zhenan.kernel.territory.services import load_city, make_grids

PASSWORD = "test-only-Passw0rd"


@dataclass
class Personas:
    """Users by name; ``here`` and ``elsewhere`` are towns of two different counties; ``grid`` lies in ``here``."""

    here: Division
    elsewhere: Division
    grid: Division
    organisations: dict[str, Organisation] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)

    def __getitem__(self, name: str) -> User:
        """A fresh copy of the user, as each request would read it."""
        return User.objects.get(pk=self.users[name].pk)

    def add(
        self, name: str, role: str, organisation: Organisation, division: Division, programmes: list[str] | None = None
    ) -> User:
        user = User(username=name, name=name, language="en")
        user.set_unusable_password()
        user.save()
        Post.objects.create(
            user=user,
            organisation=organisation,
            role=role,
            division=division,
            programmes=programmes or [],
            since=date(2020, 1, 1),
        )
        self.users[name] = user
        return user

    def organisation(self, code: str, kind: str, division: Division) -> Organisation:
        made = Organisation.objects.create(code=code, name=code, kind=kind, division=division)
        self.organisations[code] = made
        return made


@pytest.fixture
def city(db: None) -> Division:
    """The division tree without boundaries; returns the city."""
    return make_city()


@pytest.fixture
def personas(city: Division) -> Personas:
    """Every role once, here and elsewhere."""
    return make_personas(city)


def make_city() -> Division:
    """Load the division tree without boundaries; returns the city."""
    load_city(boundaries=False)
    return Division.objects.get(code="321100")


def make_personas(city: Division) -> Personas:
    """Every role once, here and elsewhere, in the database of the moment."""
    county_here, county_there = Division.objects.get(code="321181"), Division.objects.get(code="321183")
    here = Division.objects.filter(parent=county_here).order_by("code")[0]
    there = Division.objects.filter(parent=county_there).order_by("code")[0]
    grid = make_grids(here, [(f"{here.code}001001", "first grid")])[0]
    p = Personas(here=here, elsewhere=there, grid=grid)
    office = p.organisation("city-office", "city_office", city)
    p.add("city_officer", "city_office", office, city)
    p.add("administrator", "administrator", office, city)
    p.add("discipline_inspector", "discipline_inspector", p.organisation("discipline", "discipline", city), city)
    p.add("gas_department", "department", p.organisation("housing", "department", city), city, ["catering_gas"])
    for name, county, town in (("here", county_here, here), ("elsewhere", county_there, there)):
        district = p.organisation(f"district-{name}", "district_office", county)
        p.add(f"district_officer_{name}", "district_office", district, county)
        office = p.organisation(f"town-{name}", "town_office", town)
        p.add(f"town_officer_{name}", "town_office", office, town)
        enterprise = p.organisation(f"enterprise-{name}", "enterprise", town)
        p.add(f"enterprise_head_{name}", "enterprise_head", enterprise, town)
        p.add(f"enterprise_safety_{name}", "enterprise_safety", enterprise, town)
    p.add("town_officer_2_here", "town_office", p.organisations["town-here"], here)
    p.add("grid_worker", "grid_worker", p.organisations["town-here"], grid)
    p.add("insurer", "insurer", p.organisation("insurer", "insurer", city), city)
    p.add("expert", "expert", p.organisation("experts", "expert_team", city), city)
    p.add(
        "service_centre_operator",
        "service_centre_operator",
        p.organisation("fire-centre", "service_centre", county_here),
        county_here,
    )
    nobody = User(username="no_post", name="no_post", language="en")
    nobody.set_unusable_password()
    nobody.save()
    p.users["no_post"] = nobody
    return p
