"""Subjects to answer for, and duties that require it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from zhenan.domains.duty import queries, services
from zhenan.domains.register.models import Subject
from zhenan.packkit.schema import DutyLevel

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # Monday, 12:00 in the city
TODAY = date(2026, 3, 2)
DAY = timedelta(days=1)
CATERER = "catering_gas.caterer"


@pytest.fixture(autouse=True)
def _own_evidence(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "evidence"


@pytest.fixture
def make_shop(personas):
    def make(name="Lucky Noodles", division=None, organisation="enterprise-here", **more):
        given = {"type": CATERER, "programme": "catering_gas", "key": name, "lon": 119.57, "lat": 32.0} | more
        return Subject.objects.create(
            name=name, division=division or personas.grid, organisation=personas.organisations[organisation], **given
        )

    return make


@pytest.fixture
def shop(make_shop):
    return make_shop()


@pytest.fixture
def duties(monkeypatch):
    """Caterers need a grid worker (visits every 30 days) and a town officer."""
    needed = {"grid": DutyLevel(level="grid", visit_every_days=30), "town": DutyLevel(level="town")}
    monkeypatch.setattr(queries, "types_by_level", lambda: {"grid": [CATERER], "town": [CATERER]})
    monkeypatch.setattr(queries, "required_levels", lambda kind: needed if kind == CATERER else {})


@pytest.fixture
def sign(personas, shop):
    """Sign for the shop by the town officer; everything can be said otherwise."""

    def do(person="grid_worker", level="grid", **given):
        given = {"subject": shop, "begins_on": TODAY, "by": personas["town_officer_here"], "at": NOON} | given
        return services.sign_contract(level=level, person=personas[person], **given)

    return do
