"""What inspections put into the slots."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from zhenan.domains.checks.models import Answer, Inspection
from zhenan.domains.checks.services import KINDS
from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.evidence.services import viewers
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry


def register() -> None:
    for code, (text, icon) in KINDS.items():
        kinds.register(code, text, icon=icon)
    slots.nav.register(
        slots.NavItem(
            "inspections",
            _("Inspections"),
            "checks:inspections",
            _("Hazards"),  # the section of the loop that a failed item enters
            "clipboard-check",
            "inspection.view",
            33,
        )
    )
    slots.panels.register(
        slots.Panel("inspections", _("Inspections"), "subject", "checks/_panel.html", panel, "inspection.view", 40)
    )
    slots.today.register(slots.TodaySource("inspections", _("Inspections under way"), today, 40))
    viewers["checks.answer"] = lambda user, pk: Answer.objects.filter(
        pk=pk, inspection__in=Inspection.objects.visible_to(user)
    ).exists()


def panel(request: HttpRequest, subject: Any) -> dict[str, Any] | None:
    """The subject's inspections, and the checklists that fit it for those who inspect."""
    may = request.user.can("inspection.do")  # type: ignore[union-attr]
    return {
        "inspections": Inspection.objects.filter(subject=subject).select_related("inspector")[:10],
        "checklists": registry().checklists(subject_type=subject.type) if may else [],
        "subject": subject,
    }


def today(user: User, at: datetime) -> Iterable[slots.TodayItem]:
    """Inspections that this person began and has not submitted."""
    for one in Inspection.objects.filter(inspector=user, state=Inspection.State.DRAFT).select_related("subject")[:20]:
        yield slots.TodayItem(
            kind="inspection",
            title=one.subject.name,
            detail=registry().label(one.checklist, kind="checklist"),
            url=one.get_absolute_url(),
            due_at=None,
            place=one.subject.address,
        )
