"""Visits that are due: reminders to the responsible person, then up the chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.duty import queries
from zhenan.domains.duty.models import Contract
from zhenan.domains.duty.services import VISIT, tell_of
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow import ladders
from zhenan.kernel.workflow.models import Deadline

# City practice, no national number: configurable by registering another ladder for the same kind.
RUNGS = ((timedelta(days=1), "above1"), (timedelta(days=3), "above2"), (timedelta(days=7), "above3"))


def contract_of(deadline: Deadline) -> Contract | None:
    key = deadline.target.partition(":")[2]
    return Contract.objects.select_related("subject__division", "person").filter(pk=key).first()


def people(deadline: Deadline, step: str) -> Sequence[User]:
    contract = contract_of(deadline)
    if contract is None or not contract.holds_on(timezone.localdate(deadline.due_at)):
        return []
    if step.isdigit():
        return [contract.person]
    found = queries.above(contract.subject, contract.level, int(step[-1]), deadline.due_at)
    return [person for person in found.people if person.pk != contract.person_id] or [contract.person]


def text(deadline: Deadline, step: str) -> tuple[Any, Any, str]:
    contract = contract_of(deadline)
    url = reverse("duty:contract", args=[contract.pk]) if contract else ""
    # The names are the data's, put in here because a ladder's text has no data of its own.
    names = {"subject": contract.subject, "person": contract.person} if contract else {"subject": "", "person": ""}
    if not step.isdigit():
        return _filled(_("Visit missed: {subject} ({person})"), names), _("Overdue by contract; see to it."), url
    if step == "100":
        return _filled(_("Visit overdue: {subject}"), names), "", url
    return _filled(_("Visit due soon: {subject}"), names), "", url


class _filled:
    """A lazy text with names put in when it is read, in the reader's language; braces in names stay braces."""

    def __init__(self, text: Any, names: dict[str, Any]) -> None:
        self.text, self.names = text, names

    def __str__(self) -> str:
        values = {key: str(value) for key, value in self.names.items()}
        return str(self.text).format(**values).replace("{", "{{").replace("}", "}}")


def missed(deadline: Deadline, step: str, at: datetime) -> None:
    """The minute it is late it is on the timelines of contract and subject."""
    contract = contract_of(deadline)
    if step == "100" and contract is not None and contract.holds_on(timezone.localdate(deadline.due_at)):
        tell_of(contract, "duty.visit_missed", None, at)


def register() -> None:
    ladders.register(
        ladders.Ladder(kind=VISIT, people=people, text=text, reminders=(80, 100), rungs=RUNGS, on_step=missed)
    )
