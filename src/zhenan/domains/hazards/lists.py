"""The list of hazards, with grading and naming of rectifiers in bulk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards import services
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.models.hazard import AWAY, Severity, State
from zhenan.domains.hazards.queries import before
from zhenan.kernel.lists import (
    BooleanFilter,
    BulkAction,
    ChoiceFilter,
    Column,
    DateRangeFilter,
    DivisionFilter,
    ListPage,
)
from zhenan.kernel.people.forms import PersonField
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry
from zhenan.packkit.vocabulary import vocabulary

COLOURS = {
    "found": "red", "graded": "orange", "plan_pending": "orange", "rectifying": "yellow", "suspended_operation": "red",
    "rectified_pending_check": "blue", "accepted": "green", "rejected": "red", "gov_review_pending": "blue",
    "delisted": "green", "transferred": "grey",
}  # fmt: skip
CLOSED_STATES = [str(state) for state in AWAY]


def overdue() -> Q:
    """The same judgement as the queryset's ``overdue``."""
    waiting = ~Q(state__in=[*CLOSED_STATES, str(State.GOV_REVIEW_PENDING)])
    return Q(closed_at=None, due_at__lt=timezone.now()) & waiting


def is_open() -> Q:
    return Q(closed_at=None) & ~Q(state=State.TRANSFERRED)


def programmes(request: HttpRequest) -> Iterable[tuple[str, Any]]:
    """Every pack by its name."""
    known = registry()
    return [(code, known.label(code, kind="pack")) for code in sorted(known.packs)]


def sources(request: HttpRequest) -> Iterable[tuple[str, Any]]:
    language = get_language() or "zh-hans"
    return [(code, word.label(language)) for code, word in vocabulary().hazard_sources.items()]


class GradeForm(forms.Form):
    """What grading many at once asks for; each keeps the criterion that its finder wrote, where nothing is given."""

    severity = forms.ChoiceField(label=_("Severity"), choices=Severity.choices)
    criterion_code = forms.CharField(label=_("Criterion"), required=False, max_length=120)
    legal_basis = forms.CharField(label=_("Legal basis"), required=False, max_length=400)


class AssignForm(forms.Form):
    """Who rectifies, and by when."""

    rectifier = PersonField(label=_("Rectifier"))
    due_on = forms.DateField(
        label=_("Due"), required=False, widget=forms.DateInput(attrs={"type": "date"}),
        help_text=_("Empty: the usual period."),
    )  # fmt: skip


def grade(hazard: Hazard, actor: Any, data: dict[str, Any]) -> Any:
    given = {name: data[name] for name in ("criterion_code", "legal_basis") if data[name]}
    done = services.grade_hazard(hazard.pk, severity=data["severity"], by=actor, at=timezone.now(), **given)
    return done.get_severity_display()


def assign(hazard: Hazard, actor: Any, data: dict[str, Any]) -> Any:
    done = services.assign(hazard.pk, rectifier=data["rectifier"], due_on=data["due_on"], by=actor, at=timezone.now())
    return done.rectifier


class HazardList(ListPage):
    model = Hazard
    title = _("Hazards")
    capability = "hazard.view"
    search = ("number", "title", "subject__name")
    search_hint = _("Number, title or subject")
    columns = (
        Column("number", _("Number"), sort="number", kind="code", link=True),
        Column("title", _("Title"), link=True),
        Column("subject.name", _("Subject"), sort="subject__name"),
        Column("severity", _("Severity"), sort="severity", kind="status", colours={"major": "red", "general": "blue"}),
        Column("state", _("State"), sort="state", kind="status", colours=COLOURS),
        Column("due_at", _("Due"), sort="due_at", kind="deadline", closed=lambda h: h.closed_at or h.accepted_at),
        Column("rectifier", _("Rectifier"), phone=False),
        Column("source_label", _("Source of the find"), phone=False),
        Column("subject.division.name", _("Division"), sort="subject__division__code", phone=False),
        Column("found_at", _("Found"), sort="found_at", kind="datetime", phone=False),
    )
    filters = (
        ChoiceFilter(name="state", label=_("State"), choices=State.choices),
        BooleanFilter(name="open", label=_("Still open"), when=is_open),
        BooleanFilter(name="overdue", label=_("Overdue"), when=overdue),
        ChoiceFilter(name="severity", label=_("Severity"), choices=Severity.choices),
        DivisionFilter(name="division", label=_("Division"), field="subject__division"),
        ChoiceFilter(name="source", label=_("Source of the find"), choices=sources),
        ChoiceFilter(name="programme", label=_("Programme"), field="subject__programme", choices=programmes),
        BooleanFilter(name="repeat", label=_("Repeated")),
        BooleanFilter(name="on_the_spot", label=_("Fixed on the spot"), field="fixed_on_the_spot"),
        BooleanFilter(name="accepted", label=_("Accepted"), when=Q(accepted_at__isnull=False)),
        DateRangeFilter(name="found", label=_("Found"), field="found_at"),
        DateRangeFilter(name="due", label=_("Due"), field="due_at"),
    )
    default_sort = "-found_at"
    select_related = ("subject__division", "rectifier")
    actions = (
        BulkAction("grade", _("Grade"), do=grade, capability="hazard.grade", form=GradeForm, icon="scale"),
        BulkAction("assign", _("Name the rectifier"), do=assign, capability="hazard.assign", form=AssignForm),
    )  # fmt: skip
    create_url, create_label, create_capability = "hazards:report", _("Report a hazard"), "hazard.report"
    empty_hint = _("No hazard is listed here. Report one, or widen the filters.")
    live_topic = "hazard"


class MyHazards(HazardList):
    """What waits for this person."""

    title = _("Hazards before me")

    def get_queryset(self) -> Any:
        return before(cast(User, self.request.user))
