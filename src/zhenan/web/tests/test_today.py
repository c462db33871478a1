"""Today: the most urgent first, by level and deadline, from every room."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from zhenan.kernel import slots
from zhenan.kernel.slots import Slot, TodayItem, TodaySource
from zhenan.web.views.today import grouped, urgency

NOON = datetime(2025, 3, 31, 12, 0, tzinfo=ZoneInfo("Asia/Shanghai"))


def item(title, hours=None, level=4):
    due = None if hours is None else NOON + timedelta(hours=hours)
    return TodayItem("hazard", title, "", "/x/", due, level)


@pytest.mark.parametrize(
    ("hours", "part"),
    [
        (-0.01, "overdue"),
        (0, "today"),
        (11.9, "today"),
        (12, "week"),
        (167.9, "week"),
        (168, "later"),
        (None, "undated"),
    ],
)
def test_a_deadline_falls_into_its_part_of_the_week(hours, part):
    assert urgency(item("x", hours), NOON) == part


def test_within_a_part_the_gravest_comes_first_then_the_earliest():
    found = grouped([item("c", 5, 3), item("a", 9, 1), item("late", -1, 4), item("b", 2, 3)], NOON)
    assert [(g.code, [i.title for i in g.items]) for g in found] == [("overdue", ["late"]), ("today", ["a", "b", "c"])]


@pytest.fixture
def sources(monkeypatch):
    """Two rooms with items for the city officer alone."""
    slot: Slot[TodaySource] = Slot("today")

    def mine(title, n):
        return lambda user, at: [item(f"{title}{i}", 1, 2) for i in range(n)] if user.username == "city_officer" else []

    slot.register(TodaySource("alarms", "Alarms", mine("alarm", 3)))
    slot.register(TodaySource("hazards", "Hazards", mine("hazard", 250)))
    monkeypatch.setattr(slots, "today", slot)


@pytest.mark.django_db
def test_the_page_lists_what_the_rooms_give_this_person_and_can_be_limited_to_a_kind(client, personas, sources):
    client.force_login(personas["city_officer"])
    page = client.get("/")
    assert page.context["total"] == 253
    assert "53" in page.content.decode()
    assert [i.title for g in client.get("/?kind=alarms").context["groups"] for i in g.items] == [
        "alarm0",
        "alarm1",
        "alarm2",
    ]
    client.force_login(personas["expert"])
    assert "当前没有待办事项" in client.get("/").content.decode()


@pytest.mark.django_db
def test_an_unknown_kind_shows_everything(client, personas, sources):
    client.force_login(personas["city_officer"])
    assert client.get("/", {"kind": "'\x00"}).context["total"] == 253


@pytest.mark.django_db
def test_a_live_refresh_brings_the_part_alone(client, personas, sources):
    client.force_login(personas["city_officer"])
    part = client.get("/", headers={"HX-Request": "true", "HX-Target": "today"}).content.decode()
    assert part.startswith('<div id="today"')
