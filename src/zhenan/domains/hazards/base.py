"""What every service of the loop does the same way: lock, record, tell, start and stop clocks."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.duty import queries as duty
from zhenan.domains.hazards import clocks
from zhenan.domains.hazards.errors import BadDueDate, NeedsElements
from zhenan.domains.hazards.models import Hazard, Round
from zhenan.kernel.events import services as events
from zhenan.kernel.events.models import key_of
from zhenan.kernel.notices.services import tell
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.workflow.services import close_deadline, open_deadline

GRADE, ASSIGN, PLAN, RECTIFY = "hazard.grade", "hazard.assign", "hazard.plan", "hazard.rectify"
VERIFY, APPLY, REVIEW, RECEIVE = "hazard.verify", "hazard.apply", "hazard.review", "hazard.receive"
CLOCKS = (GRADE, ASSIGN, PLAN, RECTIFY, VERIFY, APPLY, REVIEW, RECEIVE)
OFFICES = ("town", "district", "city_leader")


def locked(pk: int) -> Hazard:
    """The hazard under a row lock, with what its place needs. Two people acting at once act one after the other."""
    return Hazard.objects.select_for_update(of=("self",)).select_related("subject__division", "rectifier").get(pk=pk)


def office(hazard: Hazard, at: datetime, *, lowest: str = "") -> list[User]:
    """Who grades and checks: the town for a general hazard, the district for a major one; one up for a repeated one."""
    start = OFFICES.index(lowest) if lowest else int(hazard.is_major)
    start = min(start + shift(hazard), len(OFFICES) - 1)
    return list(duty.nearest_responsible(hazard.subject, at, levels=OFFICES[start:]).people)


def shift(hazard: Hazard) -> int:
    """How many rungs a repeated hazard starts higher."""
    return int(hazard.repeat and clocks.value("recurrence", "one_level_up") == "ladder")


def organisation_of(user: User | None, capability: str = "") -> Organisation | None:
    """The organisation for which a person acts: that of the post which grants the capability."""
    if user is None:
        return None
    granting = [p for p in user.current_posts if capability in p.role_entry.capabilities]
    posts = granting or user.current_posts
    return posts[0].organisation if posts else None


def round_of(hazard: Hazard) -> Round:
    """The latest round of a hazard that has one: beyond the plan there always is."""
    return hazard.rounds.order_by("-number")[:1].get()


def due_of(hazard: Hazard) -> datetime:
    """The due date of a hazard that has one: beyond the plan there always is. Raises NeedsElements otherwise."""
    if hazard.due_at is None:
        raise NeedsElements(missing=field_label("due_at"))
    return hazard.due_at


def field_label(name: str) -> str:
    """A field's name in the reader's language."""
    label: Any = getattr(Hazard._meta.get_field(name), "verbose_name", name)
    return str(label)


def note(hazard: Hazard, kind: str, by: User | None, at: datetime, *, also: str = "", **data: Any) -> None:
    """One event on the timelines of the hazard, its subject and the record it came from (and of ``also``, a key)."""
    targets: list[Any] = [hazard, hazard.subject]
    targets += [key[:80] for key in dict.fromkeys((hazard.source_key, also)) if ":" in key]
    events.record(
        kind,
        targets=targets,
        actor=by,
        at=at,
        data={"number": hazard.number, "title": hazard.title, **data},
        **hazard.place,
    )


def start_clock(hazard: Hazard, kind: str, *, due_at: datetime, at: datetime, owner: User | None) -> None:
    open_deadline(hazard, kind=kind, due_at=due_at, at=at, owner=owner, **hazard.place)


def stop_clocks(hazard: Hazard, at: datetime, *, met: bool | None = True, kinds: Iterable[str] = CLOCKS) -> None:
    """Stop the clocks of these kinds; ``met`` None cancels."""
    for kind in kinds:
        close_deadline(hazard, kind=kind, at=at, met=met)


def inform(hazard: Hazard, people: Iterable[User | None], what: str, title: Any, at: datetime, **data: Any) -> None:
    """Tell people about a step, once each. ``what`` names the step within the hazard's life."""
    tell(
        [person for person in people if person is not None],
        key=f"{key_of(hazard)}:{what}",
        kind=f"hazard.{what.split(':')[0]}",
        title=title,
        at=at,
        url=hazard.get_absolute_url(),
        target=key_of(hazard),
        level=2 if hazard.is_major else 4,
        data={"number": hazard.number, "title": hazard.title, "subject": str(hazard.subject), **data},
    )


def check_due(due_at: datetime, *, first: datetime, last: datetime) -> None:
    """Raises BadDueDate unless the date lies within the limits of the table."""
    if not first <= due_at <= last:
        raise BadDueDate(due=_day(due_at), first=_day(first), last=_day(last))


def _day(at: datetime) -> str:
    return timezone.localdate(at).isoformat()


def new_round(hazard: Hazard, *, due_at: datetime, at: datetime) -> Round:
    """Begin a round with a clock of its own."""
    latest = hazard.rounds.order_by("-number").values_list("number", flat=True).first() or 0
    return Round.objects.create(
        hazard=hazard,
        number=latest + 1,
        major=hazard.is_major,
        started_at=at,
        due_at=due_at,
        rectifier=hazard.rectifier,
    )


def rectify_days(hazard: Hazard) -> int:
    """The usual period for a hazard of its kind, in days."""
    return int(clocks.value("rectify_major" if hazard.is_major else "rectify_general"))


TITLES = {
    "reported": _("New hazard to grade: {title} ({subject})"),
    "graded": _("Name a rectifier: {title} ({subject})"),
    "assigned": _("You are to rectify: {title} ({subject})"),
    "submitted": _("Rectification to check: {title} ({subject})"),
    "accepted": _("Rectification accepted: {title} ({subject})"),
    "rejected": _("Rectification rejected, do it again: {title} ({subject})"),
    "extension": _("Extension asked for: {title} ({subject})"),
    "decided": _("Your request for an extension was decided: {title} ({subject})"),
    "suspended": _("Operation must stop: {title} ({subject})"),
    "resumed": _("The order to stop is lifted: {title} ({subject})"),
    "listed": _("Listed for supervision: {title} ({subject})"),
    "applied": _("Review on site within ten days: {title} ({subject})"),
    "delisted": _("Delisted: {title} ({subject})"),
    "transferred": _("A hazard was transferred to you: {title} ({subject})"),
}
