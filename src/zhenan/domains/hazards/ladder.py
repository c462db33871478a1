"""Reminders at 50, 80 and 100 % to whoever must act, then up: town, district, city, listed supervision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils.translation import gettext_lazy as _

from zhenan.domains.duty import queries as duty
from zhenan.domains.hazards import base, clocks
from zhenan.domains.hazards.models import Hazard
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow import ladders
from zhenan.kernel.workflow.models import Deadline

RUNG_LEVELS = {"town": "town", "district": "district", "city": "city_leader", "listed": "city_leader"}
RUNG_ORDER = tuple(RUNG_LEVELS)
# The offices' own clocks climb without the town: it is the town that is late.
OFFICE_RUNGS = ((1, "district"), (3, "city"))

WORDS = {
    base.GRADE: _("Grade the hazard"),
    base.ASSIGN: _("Name the rectifier"),
    base.PLAN: _("Fill in the plan"),
    base.RECTIFY: _("Rectify the hazard"),
    base.VERIFY: _("Check the rectification"),
    base.APPLY: _("Apply for the review"),
    base.REVIEW: _("Review on site"),
    base.RECEIVE: _("Receive the transferred hazard"),
}


class Said:
    """A lazy text with the hazard's words put in when it is read, in the reader's language; braces stay braces."""

    def __init__(self, text: Any, **values: Any) -> None:
        self.text, self.values = text, values

    def __str__(self) -> str:
        filled = str(self.text).format(**{name: str(value) for name, value in self.values.items()})
        return filled.replace("{", "{{").replace("}", "}}")


def hazard_of(deadline: Deadline) -> Hazard | None:
    key = deadline.target.partition(":")[2]
    return Hazard.objects.select_related("subject__division", "rectifier", "department").filter(pk=key).first()


def people(deadline: Deadline, step: str) -> Sequence[User]:
    """Reminders: the owner, from 80 % the unit's head, at 100 % the office as well. Rungs: owner and that level."""
    hazard = hazard_of(deadline)
    if hazard is None:
        return []
    told: list[User] = [deadline.owner] if deadline.owner is not None else []
    if not step.isdigit():
        return _unique([*told, *_rung(hazard, step, deadline.due_at)])
    if deadline.kind in (base.RECTIFY, base.PLAN, base.APPLY):
        if int(step) >= 80:
            told += duty.people_at(hazard.subject, "enterprise", deadline.due_at).people
        if int(step) >= 100:
            told += base.office(hazard, deadline.due_at)
    elif not told:
        told = base.office(hazard, deadline.due_at)
    return _unique(told)


def text(deadline: Deadline, step: str) -> tuple[Any, Any, str]:
    hazard = hazard_of(deadline)
    if hazard is None:
        return "", "", ""
    template = _("Due soon: {what} ({title}, {subject})")
    if not step.isdigit():
        template = _("Overdue, now before you: {what} ({title}, {subject})")
    elif int(step) >= 100:
        template = _("Due now: {what} ({title}, {subject})")
    said = Said(template, what=WORDS[deadline.kind], title=hazard.title, subject=hazard.subject)
    return said, Said(_("Hazard {number}"), number=hazard.number), hazard.get_absolute_url()


def reached(deadline: Deadline, step: str, at: datetime) -> None:
    """Rungs of the rectification's clock are marked on the hazard; the moment it is overdue is on its timeline."""
    hazard = hazard_of(deadline)
    if hazard is None or deadline.kind != base.RECTIFY:
        return
    if step == "100":
        base.note(hazard, "hazard.overdue", None, at)
    elif not step.isdigit():
        Hazard.objects.filter(pk=hazard.pk).update(escalated_to=raised(hazard, step))
        base.note(hazard, "hazard.escalated", None, at, rung=raised(hazard, step))


def raised(hazard: Hazard, rung: str) -> str:
    """The rung that a step stands for: a repeated hazard starts one higher."""
    return RUNG_ORDER[min(RUNG_ORDER.index(rung) + base.shift(hazard), len(RUNG_ORDER) - 1)]


def _rung(hazard: Hazard, step: str, at: datetime) -> list[User]:
    rung = raised(hazard, step)
    found = list(duty.nearest_responsible(hazard.subject, at, levels=_from(RUNG_LEVELS[rung])).people)
    if rung in ("city", "listed"):
        found += duty.people_at(hazard.subject, "department", at).people
    return found


def _from(level: str) -> tuple[str, ...]:
    return base.OFFICES[base.OFFICES.index(level) :]


def _unique(people: Sequence[User]) -> list[User]:
    return list({person.pk: person for person in people}.values())


def register() -> None:
    percents = tuple(int(p) for p in clocks.value("reminders", "percent"))
    rungs = tuple((timedelta(days=int(clocks.value("rungs", rung))), rung) for rung in RUNG_ORDER)
    offices = tuple((timedelta(days=days), rung) for days, rung in OFFICE_RUNGS)
    for kind in base.CLOCKS:
        full = kind == base.RECTIFY
        ladders.register(
            ladders.Ladder(
                kind=kind, people=people, text=text, on_step=reached,
                reminders=percents if full else (80, 100), rungs=rungs if full else offices,
            )
        )  # fmt: skip
