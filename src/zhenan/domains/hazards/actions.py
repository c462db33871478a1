"""Every step of the loop in one table: who may, from which states. Services guard with it, pages draw from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards import clocks
from zhenan.domains.hazards.errors import (
    AlreadyListed,
    AlreadySuspended,
    AskerDecides,
    ExtensionRefused,
    NoExtensionAsked,
    NoReviewNeeded,
    NotMajor,
    NotSuspended,
    NotTheReceiver,
    NotTheRectifier,
    SamePerson,
    WrongState,
)
from zhenan.domains.hazards.models import Extension, Hazard, Round
from zhenan.domains.hazards.models.hazard import State
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.access.scope import scope_of
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User

Check = Callable[[Hazard, User | None], DomainError | None]


@dataclass(frozen=True)
class Action:
    """A step. ``moves``: transitions of the model, one of which must be open; ``own``: the named rectifier may too."""

    code: str
    label: Any
    capability: str
    moves: tuple[str, ...]
    own: bool = False
    check: Check | None = None
    danger: bool = False

    def sources(self) -> set[str]:
        """The states from which the model allows it."""
        found: set[str] = set()
        for name in self.moves:
            found |= {str(source) for source in getattr(Hazard, name)._django_fsm.transitions}
        return found


def reaches(user: User, capability: str, hazard: Hazard) -> bool:
    """Whether the hazard is within the user's reach for a capability: the queryset's judgement, without a query."""
    if hazard.department_id is not None:
        posts = [p for p in user.current_posts if p.organisation_id == hazard.department_id]
        if any(capability in p.role_entry.capabilities for p in posts):
            return True
    subject = hazard.subject
    organisations = (
        subject.organisation_id,
        *subject.viewers,
        hazard.found_org_id,
        hazard.rectifier_org_id,
        hazard.department_id,
    )
    scope = scope_of(user, capability)
    known = tuple(o for o in organisations if o is not None)
    return scope.admits(path=subject.division.path, organisations=known, programme=subject.programme)


def refusal(code: str, hazard: Hazard, by: User | None) -> DomainError | None:
    """Why this person may not make this step now; None when they may. ``by`` None is the platform."""
    action = ACTIONS[code]
    if by is not None and not _may(action, hazard, by):
        return NotTheRectifier(actor=by) if action.own else NotAllowed(actor=by, capability=action.capability)
    sources = action.sources()
    if hazard.state not in sources:
        allowed = ", ".join(str(label) for value, label in State.choices if value in sources)
        return WrongState(hazard=hazard.number, state=hazard.get_state_display(), action=action.label, allowed=allowed)
    return action.check(hazard, by) if action.check else None


def guard(code: str, hazard: Hazard, by: User | None) -> None:
    """Raise what ``refusal`` finds."""
    found = refusal(code, hazard, by)
    if found is not None:
        raise found


def _may(action: Action, hazard: Hazard, by: User) -> bool:
    if action.own and by.is_active and by.pk == hazard.rectifier_id:
        return True
    return by.is_active and reaches(by, action.capability, hazard)


def current_round(hazard: Hazard) -> Round | None:
    """The latest round; None before the plan."""
    return hazard.rounds.order_by("-number").first()


def undecided(hazard: Hazard) -> Extension | None:
    return hazard.extensions.filter(granted=None).first()


def _not_own_work(hazard: Hazard, by: User | None) -> DomainError | None:
    """Whoever rectifies or submits does not check (separation of duty)."""
    current = current_round(hazard)
    own = {hazard.rectifier_id, current.submitted_by_id if current else None, current.rectifier_id if current else None}
    return SamePerson(person=by) if by is not None and by.pk in own else None


def _extension_possible(hazard: Hazard, by: User | None) -> DomainError | None:
    if undecided(hazard):
        return ExtensionRefused(why=_("one request is waiting for its decision"))
    if hazard.is_major and not hazard.listed:
        return ExtensionRefused(why=_("a major hazard is extended only under listed supervision"))
    current = current_round(hazard)
    if current is None:
        return ExtensionRefused(why=_("there is no plan yet"))
    times = int(clocks.value("extension", "times_major" if hazard.is_major else "times_general"))
    if hazard.extensions.filter(granted=True, round_number=current.number).count() >= times:
        return ExtensionRefused(why=_("it was extended already"))
    return None


def _extension_decidable(hazard: Hazard, by: User | None) -> DomainError | None:
    asked = undecided(hazard)
    if asked is None:
        return NoExtensionAsked(hazard=hazard.number)
    if by is not None and by.pk in (asked.asked_by_id, hazard.rectifier_id):
        return AskerDecides(person=by)
    if by is not None and hazard.is_major and not reaches(by, "hazard.supervise", hazard):
        return NotAllowed(actor=by, capability="hazard.supervise")  # the graver the hazard, the higher who decides
    return None


def _not_suspended(hazard: Hazard, by: User | None) -> DomainError | None:
    order = hazard.suspensions.filter(lifted_at=None).first() if hazard.suspended else None
    return AlreadySuspended(order=order) if order else None


def _is_suspended(hazard: Hazard, by: User | None) -> DomainError | None:
    return _not_own_work(hazard, by) if hazard.suspended else NotSuspended()


def _listable(hazard: Hazard, by: User | None) -> DomainError | None:
    if not hazard.is_major:
        return NotMajor()
    if hazard.listed:
        return AlreadyListed(hazard=hazard.number, number=hazard.supervision.number)
    return None


def _review_needed(hazard: Hazard, by: User | None) -> DomainError | None:
    return None if hazard.needs_review else NoReviewNeeded(hazard=hazard.number)


def _reviewer(hazard: Hazard, by: User | None) -> DomainError | None:
    asked = hazard.reviews.filter(passed=None).first()
    if by is not None and asked is not None and by.pk == asked.applied_by_id:
        return AskerDecides(person=by)
    return _not_own_work(hazard, by)


def _receiver(hazard: Hazard, by: User | None) -> DomainError | None:
    if by is None or any(post.organisation_id == hazard.department_id for post in by.current_posts):
        return None
    return NotTheReceiver(organisation=hazard.department)


_LIST = (
    Action("grade", _("Grade"), "hazard.grade", ("grade",)),
    Action("assign", _("Name the rectifier"), "hazard.assign", ("assign", "reassign")),
    Action("plan", _("Fill in the plan"), "hazard.rectify", ("start",), own=True),
    Action("submit", _("Submit the rectification"), "hazard.rectify", ("submit",), own=True),
    Action("accept", _("Accept"), "hazard.verify", ("accept",), check=_not_own_work),
    Action("reject", _("Reject"), "hazard.verify", ("check_failed",), check=_not_own_work, danger=True),
    Action(
        "ask_extension", _("Ask for an extension"), "hazard.rectify", ("extend",), own=True, check=_extension_possible
    ),
    Action("decide_extension", _("Decide the extension"), "hazard.extend", ("extend",), check=_extension_decidable),
    Action(
        "suspend",
        _("Order operation to stop"),
        "hazard.extend",
        ("suspend_operation",),
        check=_not_suspended,
        danger=True,
    ),
    Action(
        "resume", _("Lift the order to stop"), "hazard.extend", ("resume", "resume_without_plan"), check=_is_suspended
    ),
    Action(
        "list", _("List for supervision"), "hazard.supervise", ("list_for_supervision",), check=_listable, danger=True
    ),
    Action("apply", _("Apply for review"), "hazard.rectify", ("apply_for_review",), own=True, check=_review_needed),
    Action("delist", _("Review passed: delist"), "hazard.supervise", ("delist",), check=_reviewer),
    Action(
        "refuse_delisting", _("Review failed"), "hazard.supervise", ("review_failed",), check=_reviewer, danger=True
    ),
    Action("transfer", _("Transfer"), "hazard.transfer", ("transfer",)),
    Action("receive", _("Receive the transfer"), "hazard.transfer", ("receive",), check=_receiver),
)
ACTIONS: dict[str, Action] = {action.code: action for action in _LIST}
