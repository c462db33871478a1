"""The loop as it is drawn: where a hazard stands, what is next, who must do it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards import base
from zhenan.domains.hazards.actions import ACTIONS, Action, refusal
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.models.hazard import State
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User

# The main road, with the words for each stop; states beside it stand at the stop that they hold up.
ROAD = (
    ("found", _("Found")),
    ("graded", _("Graded")),
    ("plan_pending", _("Rectifier and plan")),
    ("rectifying", _("Rectification")),
    ("rectified_pending_check", _("Check by another")),
    ("accepted", _("Accepted")),
)
BEYOND = (("gov_review_pending", _("Government review")), ("delisted", _("Delisted")))
BESIDE = {"rejected": "rectifying", "suspended_operation": "rectifying", "transferred": "graded"}
# state → (the step that is next, in words)
NEXT = {
    State.FOUND: _("Grade it: general or major, by which criterion"),
    State.GRADED: _("Name who rectifies"),
    State.PLAN_PENDING: _("Fill in the plan"),
    State.RECTIFYING: _("Rectify, and submit photos before and after"),
    State.REJECTED: _("Rectify again, and submit"),
    State.SUSPENDED_OPERATION: _("Rectify while operation stands still, and submit"),
    State.RECTIFIED_PENDING_CHECK: _("Check on site: accept or reject"),
    State.ACCEPTED: _("Apply for the review on site"),
    State.GOV_REVIEW_PENDING: _("Review on site: delist or send back"),
    State.TRANSFERRED: _("Receive the hazard"),
}


@dataclass(frozen=True)
class Stop:
    """A stop of the road: done, here or ahead."""

    code: str
    label: Any
    where: str


@dataclass(frozen=True)
class Next:
    """The next step and whose it is; ``people`` empty: nobody is responsible."""

    text: Any
    people: list[User]
    due_at: datetime | None


@dataclass(frozen=True)
class Possible:
    """A step on the page: open to this user, or the reason why not."""

    action: Action
    error: DomainError | None

    @property
    def open(self) -> bool:
        return self.error is None


def road(hazard: Hazard) -> list[Stop]:
    """The stops with the place of the hazard among them."""
    stops = [*ROAD, *(BEYOND if hazard.needs_review or hazard.state in dict(BEYOND) else ())]
    at = BESIDE.get(hazard.state, hazard.state)
    here = [code for code, _label in stops].index(at)
    done = hazard.closed_at is not None
    return [
        Stop(code, label, "done" if i < here or (done and i == here) else "here" if i == here else "ahead")
        for i, (code, label) in enumerate(stops)
    ]


def next_step(hazard: Hazard, at: datetime, deadlines: list[Any]) -> Next | None:
    """What must happen now; None when nothing must. ``deadlines``: the hazard's open ones."""
    if hazard.closed_at is not None or hazard.state not in NEXT:
        return None
    running = min(deadlines, key=lambda d: d.due_at, default=None)
    people = _people(hazard, at)
    return Next(NEXT[State(hazard.state)], people, running.due_at if running else None)


def _people(hazard: Hazard, at: datetime) -> list[User]:
    if hazard.state in (
        State.PLAN_PENDING,
        State.RECTIFYING,
        State.REJECTED,
        State.SUSPENDED_OPERATION,
        State.ACCEPTED,
    ):
        return [hazard.rectifier] if hazard.rectifier else []
    if hazard.state == State.GOV_REVIEW_PENDING:
        return base.office(hazard, at, lowest="district")
    if hazard.state == State.TRANSFERRED and hazard.department is not None:
        return [post.user for post in hazard.department.posts.held_on(at.date()).select_related("user")[:5]]
    office = [person for person in base.office(hazard, at) if person.pk != hazard.rectifier_id]
    return [hazard.verifier, *office] if hazard.verifier and hazard.state == State.RECTIFIED_PENDING_CHECK else office


def possible(hazard: Hazard, user: User) -> list[Possible]:
    """The steps that the state allows, each open to this user or with the reason why not."""
    return [
        Possible(action, refusal(action.code, hazard, user))
        for action in ACTIONS.values()
        if hazard.state in action.sources() and not _pointless(action, hazard)
    ]


def _pointless(action: Action, hazard: Hazard) -> bool:
    """Steps that concern other hazards than this: not worth a line on its page."""
    if action.code == "list":
        return not hazard.is_major or hazard.listed
    if action.code == "apply":
        return not hazard.needs_review
    if action.code == "resume":
        return not hazard.suspended
    if action.code == "suspend":
        return bool(hazard.suspended)
    return action.code == "decide_extension" and not hazard.extensions.filter(granted=None).exists()
