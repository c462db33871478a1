"""Deadlines, reminders and the ladder, walked on a simulated clock."""

from datetime import UTC, datetime, timedelta

import pytest

from zhenan.domains.duty.services import hand_over, sign_contract
from zhenan.domains.hazards import services
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.tests.conftest import DAY, NOON, photo
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import tick


def open_clocks(hazard):
    return dict(Deadline.objects.open().filter(target=f"hazards.hazard:{hazard.pk}").values_list("kind", "due_at"))


def told_by(kind, since=0):
    rows = Notice.objects.filter(kind=f"deadline.{kind}", pk__gt=since).order_by("pk")
    return sorted(rows.values_list("recipient__username", flat=True))


def last_notice():
    return Notice.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


@pytest.mark.parametrize(
    ("state", "kind", "due"),
    [
        # NOON is Monday 2 March 2026; due times are the end of the day in the city (UTC+8)
        ("found", "hazard.grade", datetime(2026, 3, 4, 15, 59, 59, tzinfo=UTC)),  # 2 working days
        ("graded", "hazard.assign", datetime(2026, 3, 3, 15, 59, 59, tzinfo=UTC)),  # 1 working day
        ("plan_pending", "hazard.rectify", datetime(2026, 3, 17, 15, 59, 59, tzinfo=UTC)),  # 15 days
        ("rectifying", "hazard.rectify", datetime(2026, 3, 17, 15, 59, 59, tzinfo=UTC)),
        ("rectified_pending_check", "hazard.verify", datetime(2026, 3, 12, 15, 59, 59, tzinfo=UTC)),  # 10 days
        ("transferred", "hazard.receive", datetime(2026, 3, 5, 15, 59, 59, tzinfo=UTC)),  # 3 working days
        ("gov_review_pending", "hazard.review", datetime(2026, 3, 12, 15, 59, 59, tzinfo=UTC)),  # 10 days
    ],
)
def test_each_waiting_state_has_one_clock(loop, state, kind, due):
    assert open_clocks(loop.to(state)) == {kind: due}


def test_a_closed_hazard_has_no_clock(loop):
    assert open_clocks(loop.to("accepted")) == {}
    loop.shop.key = "S2"
    assert open_clocks(loop.to("delisted", location="store")) == {}


def test_a_rejection_starts_a_clock_of_its_own(loop):
    loop.to("rectified_pending_check")
    loop.at = NOON + 10 * DAY
    hazard = Hazard.objects.get()
    services.reject(hazard.pk, note="still leaks", by=loop.p["town_officer_here"], at=loop.at)
    # 12 March + 15 days = Friday 27 March
    assert open_clocks(hazard) == {"hazard.rectify": datetime(2026, 3, 27, 15, 59, 59, tzinfo=UTC)}
    assert [(r.number, r.started_at) for r in Hazard.objects.get().rounds.all()] == [(1, NOON), (2, loop.at)]


def test_reminders_then_town_district_city_and_listing(loop):
    hazard = loop.to("rectifying")
    start, due = NOON, hazard.due_at
    whole = due - start
    steps = [
        (start + whole * 0.5, {"enterprise_safety_here"}),
        (start + whole * 0.8, {"enterprise_safety_here", "enterprise_head_here"}),
        (due, {"enterprise_safety_here", "enterprise_head_here", "town_officer_here", "town_officer_2_here"}),
        (due + 1 * DAY, {"enterprise_safety_here", "town_officer_here", "town_officer_2_here"}),
        (due + 3 * DAY, {"enterprise_safety_here", "district_officer_here"}),
        (due + 7 * DAY, {"enterprise_safety_here", "city_officer", "gas_department"}),
        (due + 15 * DAY, {"enterprise_safety_here", "city_officer", "gas_department"}),
    ]
    for when, people in steps:
        seen = last_notice()
        assert tick(when - timedelta(seconds=1)) == 0
        assert tick(when) == 1
        assert set(told_by("hazard.rectify", seen)) == people, when
    assert Hazard.objects.get().escalated_to == "listed"
    assert tick(due + 400 * DAY) == 0


def test_the_chain_of_contracts_comes_before_posts(loop):
    town = loop.p["town_officer_2_here"]
    sign_contract(subject=loop.shop, level="town", person=town, begins_on=NOON.date(), by=None, at=NOON)
    hazard = loop.to("rectifying")
    seen = last_notice()
    tick(hazard.due_at)
    told_by_then = last_notice()
    tick(hazard.due_at + DAY)
    assert set(told_by("hazard.rectify", told_by_then)) == {"enterprise_safety_here", "town_officer_2_here"}
    assert seen < told_by_then


def test_a_repeated_hazard_climbs_one_rung_higher(loop):
    loop.to("accepted")
    loop.at = NOON + 20 * DAY
    hazard = loop.to("rectifying")
    assert hazard.repeat
    tick(hazard.due_at)
    seen = last_notice()
    tick(hazard.due_at + DAY)
    assert "district_officer_here" in told_by("hazard.rectify", seen)
    assert Hazard.objects.get(pk=hazard.pk).escalated_to == "district"


def test_the_clock_stops_when_submitted_and_says_whether_it_was_met(loop):
    hazard = loop.to("rectifying")
    late = hazard.due_at + timedelta(seconds=1)
    services.submit_rectification(
        hazard.pk, note="done", after=[photo("blue")], by=loop.p["enterprise_safety_here"], at=late
    )
    closed = Deadline.objects.get(target=f"hazards.hazard:{hazard.pk}", kind="hazard.rectify")
    assert (closed.closed_at, closed.met) == (late, False)


def test_overdue_is_a_flag_and_the_queryset_agrees(loop):
    hazard = loop.to("rectifying")
    moment = timedelta(seconds=1)
    for at, late in ((hazard.due_at, False), (hazard.due_at + moment, True)):
        assert hazard.overdue_at(at) is late
        assert Hazard.objects.overdue(at).exists() is late
    assert hazard.state == "rectifying"


def test_open_work_goes_over_with_the_contract(loop):
    safety, head = loop.p["enterprise_safety_here"], loop.p["enterprise_head_here"]
    contract = sign_contract(
        subject=loop.shop, level="enterprise", person=safety, begins_on=NOON.date(), by=None, at=NOON
    )
    hazard = loop.to("rectifying")
    hand_over(contract.pk, to=head, on=(NOON + DAY).date(), by=None, at=NOON + DAY)
    hazard = loop.fresh(hazard)
    assert hazard.rectifier == head
    assert Deadline.objects.open().get(target=f"hazards.hazard:{hazard.pk}").owner == head
    assert hazard.rounds.get().rectifier == head
