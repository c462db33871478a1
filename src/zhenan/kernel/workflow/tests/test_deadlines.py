"""A deadline reminds at 50, 80 and 100 per cent, then climbs; each step is told once."""

from datetime import UTC, datetime, timedelta

import pytest

from zhenan.kernel.notices.models import Notice
from zhenan.kernel.workflow import ladders
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import close_deadline, move_deadline, open_deadline, tick

START = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
DUE = START + timedelta(days=10)


@pytest.fixture
def ladder(personas, monkeypatch):
    def people(deadline, step):
        return [personas["town_officer_here"]] if step == "town" else [deadline.owner]

    made = ladders.Ladder(
        kind="test",
        people=people,
        text=lambda d, s: ("{step}", "", "/x"),
        rungs=((timedelta(days=1), "town"), (timedelta(days=3), "district")),
    )
    made = ladders.Ladder(**{**made.__dict__, "text": lambda d, s: (s, "", "/x")})
    monkeypatch.setitem(ladders.LADDERS, "test", made)
    return made


@pytest.fixture
def deadline(ladder, personas):
    return open_deadline("thing:1", kind="test", due_at=DUE, at=START, owner=personas["enterprise_head_here"])


def told():
    return list(Notice.objects.order_by("pk").values_list("recipient__username", "title"))


def test_steps_are_told_in_order_and_once(deadline):
    assert tick(START + timedelta(days=4, hours=23)) == 0
    assert tick(START + timedelta(days=5)) == 1
    assert tick(START + timedelta(days=5, hours=1)) == 0
    assert tick(DUE + timedelta(days=1)) == 3
    assert told() == [
        ("enterprise_head_here", "50"),
        ("enterprise_head_here", "80"),
        ("enterprise_head_here", "100"),
        ("town_officer_here", "town"),
    ]


def test_a_walker_that_was_away_catches_up_on_every_step(deadline):
    assert tick(DUE + timedelta(days=30)) == 5
    assert Deadline.objects.get().next_step_at is None


def test_a_closed_deadline_tells_nobody(deadline):
    close_deadline("thing:1", kind="test", at=START + timedelta(days=6))
    assert tick(DUE + timedelta(days=30)) == 0
    assert Deadline.objects.get().met is True


def test_closing_late_is_not_met(deadline):
    close_deadline("thing:1", kind="test", at=DUE + timedelta(seconds=1))
    assert Deadline.objects.get().met is False


def test_an_extension_plans_the_steps_anew(deadline):
    tick(START + timedelta(days=8))
    move_deadline("thing:1", kind="test", due_at=DUE + timedelta(days=10))
    assert tick(START + timedelta(days=9)) == 0
    assert tick(START + timedelta(days=10)) == 1  # half of the longer period
    assert [t for _, t in told()] == ["50", "80", "50"]
