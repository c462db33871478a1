"""The loop from report to closure, and every way of not being allowed."""

from datetime import timedelta

import pytest

from zhenan.domains.hazards.models.hazard import State
from zhenan.domains.hazards.tests.conftest import NOON
from zhenan.kernel.events.services import timeline_of


def kinds_of(hazard):
    return [event.kind for event in reversed(timeline_of(hazard))]


@pytest.mark.parametrize("state", [str(s) for s in State])
def test_every_state_is_reached_by_those_whose_step_it_is(loop, state):
    assert loop.to(state).state == state


def test_a_general_hazard_closes_and_its_timeline_tells_it_all(loop, shop):
    hazard = loop.to("accepted")
    assert hazard.closed_at == NOON
    told = [
        "hazard.reported",
        "hazard.graded",
        "hazard.assigned",
        "hazard.plan_filled",
        "hazard.submitted",
        "hazard.accepted",
    ]
    assert kinds_of(hazard) == told
    assert kinds_of(shop) == told


def test_a_listed_major_hazard_closes_only_by_delisting(loop):
    waiting = loop.to("gov_review_pending")
    assert (waiting.accepted_at, waiting.closed_at) == (NOON, None)
    loop.at = NOON + timedelta(days=1)
    closed = loop.to("delisted")
    assert closed.closed_at == loop.at
    assert closed.supervision.delisted_at == loop.at
