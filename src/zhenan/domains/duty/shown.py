"""Where responsibility shows up outside its own pages: kinds of event, evidence, menu, panel, today."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.duty.models import Contract, Visit, level_label
from zhenan.domains.duty.queries import missing_count
from zhenan.domains.duty.services import VISIT
from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.evidence import services as evidence
from zhenan.kernel.workflow.models import Deadline

KINDS = (
    ("duty.signed", _("{person} became responsible ({level} level)"), "signature"),
    ("duty.ended", _("{person} is no longer responsible ({level} level)"), "user-minus"),
    ("duty.withdrawn", _("Contract of {person} withdrawn"), "arrow-back"),
    ("duty.handed_over", _("Handed over from {leaver} to {person}"), "users"),
    ("duty.visited", _("{person} paid a visit"), "walk"),
    ("duty.visit_missed", _("{person} missed a visit"), "alarm"),
)


def may_see(user: Any, pk: str) -> bool:
    """Evidence of a visit is shown to whoever sees its contract."""
    try:
        return Visit.objects.visible_to(user).filter(pk=UUID(pk)).exists()
    except ValueError:
        return False


def register() -> None:
    for code, text, icon in KINDS:
        kinds.register(code, text, icon=icon, topic="duty", words={"level": level_label})
    evidence.viewers["duty.visit"] = may_see
    register_slots()


def chain_panel(request: Any, subject: Any) -> dict[str, Any]:
    """The chain of responsibility of a subject, with a date picker for any past day."""
    from zhenan.domains.duty.views import chain_context  # views are read when pages are

    return chain_context(request, subject)


def visits_due(user: Any, at: datetime) -> Iterator[slots.TodayItem]:
    """The user's visits whose time is 80 % over, or up."""
    running = Deadline.objects.open().filter(kind=VISIT, owner=user).order_by("due_at")
    near = [d for d in running[:200] if at >= d.started_at + (d.due_at - d.started_at) * 0.8]
    contracts = Contract.objects.select_related("subject__division").in_bulk(
        [int(d.target.partition(":")[2]) for d in near]
    )
    for deadline in near:
        contract = contracts.get(int(deadline.target.partition(":")[2]))
        if contract is None or not contract.holds_on(timezone.localdate(at)):
            continue
        yield slots.TodayItem(
            kind="visit", title=_("Visit: {subject}").format(subject=contract.subject), detail=contract.level_label,
            url=contract.get_absolute_url(), due_at=deadline.due_at, level=3 if deadline.due_at < at else 4,
            place=contract.subject.division.name,
        )  # fmt: skip


def gaps_tile(user: Any) -> dict[str, Any]:
    """How many responsibilities are held by nobody; the address opens them by division and level."""
    missing = missing_count(user)
    return {"value": missing, "unit": "", "url": reverse("duty:coverage"), "alert": missing > 0}


def register_slots() -> None:
    slots.nav.register(
        slots.NavItem("duty", _("Contracts"), "duty:contracts", _("Responsibility"), "signature", "contract.view", 40)
    )
    slots.nav.register(
        slots.NavItem(
            "coverage", _("Coverage"), "duty:coverage", _("Responsibility"), "shield-check", "contract.view", 41
        )
    )
    slots.nav.register(
        slots.NavItem("my_load", _("My load"), "duty:my_load", _("Responsibility"), "walk", "visit.do", 42)
    )
    slots.panels.register(
        slots.Panel(
            "contracts",
            _("Responsibility chain"),
            "subject",
            "duty/_chain_panel.html",
            chain_panel,
            "contract.view",
            20,
        )
    )
    slots.today.register(slots.TodaySource("visits", _("Visits"), visits_due, 40))
    slots.board.register(
        slots.BoardTile("coverage", _("Responsibilities held by nobody"), gaps_tile, "contract.view", 60)
    )
