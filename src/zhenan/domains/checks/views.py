"""Pages of inspections: phone first; each answer is sent as it is given."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from zhenan.domains.checks import services
from zhenan.domains.checks.models import Answer, Inspection
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.models import key_of
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.lists import ChoiceFilter, Column, DateRangeFilter, DivisionFilter, ListPage
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import Checklist

STATE_COLOURS = {"draft": "orange", "done": "green", "cancelled": "grey"}


def _score(inspection: Inspection) -> int | None:
    return None if inspection.score_ratio is None else round(inspection.score_ratio * 100)


def _checklists(request: HttpRequest) -> list[tuple[str, str]]:
    return [(c.code, registry().label(c.code, kind="checklist")) for c in registry().checklists()]


class InspectionList(ListPage):
    model = Inspection
    title = gettext_lazy("Inspections")
    lead = gettext_lazy("To begin one, open the site and choose a checklist.")
    capability = "inspection.view"
    search = ("subject__name", "subject__address")
    columns = (
        Column("subject.name", gettext_lazy("Site"), sort="subject__name", link=True),
        Column("checklist", gettext_lazy("Checklist"), value=lambda i: registry().label(i.checklist, kind="checklist")),
        Column("kind", gettext_lazy("Kind"), sort="kind", phone=False),
        Column("inspector", gettext_lazy("Inspector"), phone=False),
        Column("started_at", gettext_lazy("Begun"), sort="started_at", kind="datetime"),
        Column("state", gettext_lazy("State"), sort="state", kind="status", colours=STATE_COLOURS),
        Column("failed_items", gettext_lazy("Items failed"), sort="failed_items", kind="number"),
        Column("score", gettext_lazy("Score"), value=_score, kind="number", unit="%"),
    )
    filters = (
        ChoiceFilter(name="state", label=gettext_lazy("State"), choices=Inspection.State.choices),
        ChoiceFilter(name="kind", label=gettext_lazy("Kind"), choices=Inspection.Kind.choices),
        ChoiceFilter(name="checklist", label=gettext_lazy("Checklist"), choices=_checklists),
        DivisionFilter(name="division", label=gettext_lazy("Division"), field="subject__division"),
        DateRangeFilter(name="started", label=gettext_lazy("Begun"), field="started_at"),
    )
    default_sort = "-started_at"
    select_related = ("subject", "inspector")
    empty_hint = gettext_lazy("No inspection here. Open a site and begin one from its checklist.")
    live_topic = "inspection"


class PlaceForm(forms.Form):
    """The phone's place, where it gives one, and a note."""

    note = forms.CharField(required=False, max_length=1000)
    lon = forms.FloatField(required=False, min_value=-180, max_value=180)
    lat = forms.FloatField(required=False, min_value=-90, max_value=90)


@require_POST
@needs("inspection.do")
def begin(request: AuthedRequest, subject: int) -> HttpResponse:
    found = get_object_or_404(Subject.objects.visible_to(request.user), pk=subject)
    kind = request.POST.get("kind", "")
    try:
        made = services.start(
            subject=found,
            checklist=request.POST.get("checklist", ""),
            by=request.user,
            at=timezone.now(),
            kind=kind if kind in Inspection.Kind.values else Inspection.Kind.ROUTINE,
        )
    except (DomainError, KeyError) as err:
        messages.error(request, str(err))
        return redirect(request.headers.get("Referer") or "checks:inspections")
    return redirect(made)


def _visible(request: AuthedRequest, pk: UUID) -> Inspection:
    rows = Inspection.objects.visible_to(request.user).select_related("subject__division", "inspector", "organisation")
    return get_object_or_404(rows, pk=pk)


def rows_of(inspection: Inspection, checklist: Checklist, language: str) -> list[dict[str, Any]]:
    """Each item with its answer, evidence and hazard: three queries however long the list."""
    answers = {a.item: a for a in inspection.answers.select_related("hazard")}
    keys = {key_of(a): a.item for a in answers.values()}
    photos: dict[str, list[Evidence]] = {}
    for proof in Evidence.objects.filter(target__in=list(keys)).defer("thumbnail"):
        photos.setdefault(keys[proof.target], []).append(proof)
    return [
        {
            "item": item,
            "text": item.text.label(language),
            "criterion": item.criterion.label(language),
            "basis": registry().citation(checklist.code, item.basis.source, item.basis.article, lang=language),
            "answer": answers.get(item.code),
            "photos": photos.get(item.code, []),
            "number": number,
        }
        for number, item in enumerate(checklist.items, 1)
    ]


@needs("inspection.view")
def inspection(request: AuthedRequest, pk: UUID) -> HttpResponse:
    return _page(request, _visible(request, pk))


def _page(request: AuthedRequest, one: Inspection, problem: str = "") -> HttpResponse:
    rows = rows_of(one, services.checklist_of(one), request.LANGUAGE_CODE)
    mine = one.state == Inspection.State.DRAFT and one.inspector_id == request.user.pk
    context = {
        "inspection": one,
        "title": registry().label(one.checklist, kind="checklist"),
        "rows": rows,
        "answered": sum(row["answer"] is not None for row in rows),
        "mine": mine,
        "score": _score(one),
        "problem": problem,
    }
    return render(request, "checks/inspection.html", context, status=422 if problem else 200)


@require_POST
@needs("inspection.do")
def answer(request: AuthedRequest, pk: UUID, item: str) -> HttpResponse:
    """Take one answer; an htmx request gets the item's card back, another the whole page."""
    one = _visible(request, pk)
    place = PlaceForm(request.POST)
    problem = ""
    try:
        data = place.cleaned_data if place.is_valid() else {}
        services.answer(
            pk,
            item,
            request.POST.get("value", ""),
            by=request.user,
            at=timezone.now(),
            note=data.get("note", ""),
            fixed_on_the_spot=request.POST.get("fixed") == "1",
            photos=request.FILES.getlist("photos"),
            lon=data.get("lon"),
            lat=data.get("lat"),
        )
    except DomainError as err:
        problem = str(err)
    if not request.headers.get("HX-Request"):
        return _page(request, one, problem) if problem else redirect(one)
    rows = rows_of(one, services.checklist_of(one), request.LANGUAGE_CODE)
    row = next((r for r in rows if r["item"].code == item), None)
    if row is None:
        return HttpResponse(problem, status=422)
    context = {
        "row": row,
        "inspection": one,
        "mine": True,
        "problem": problem,
        "swapped": True,
        "answered": sum(r["answer"] is not None for r in rows),
        "rows": rows,
    }
    return render(request, "checks/_item.html", context, status=422 if problem else 200)


@require_POST
@needs("inspection.do")
def pass_the_rest(request: AuthedRequest, pk: UUID) -> HttpResponse:
    """Everything not answered yet passes: the fast path of a clean site."""
    one = _visible(request, pk)
    answered = set(one.answers.values_list("item", flat=True))
    try:
        for item in services.checklist_of(one).items:
            if item.code not in answered:
                services.answer(pk, item.code, Answer.Value.PASS, by=request.user, at=timezone.now())
    except DomainError as err:
        return _page(request, one, str(err))
    return redirect(one)


@require_POST
@needs("inspection.do")
def submit(request: AuthedRequest, pk: UUID) -> HttpResponse:
    one = _visible(request, pk)
    place = PlaceForm(request.POST)
    data = place.cleaned_data if place.is_valid() else {}
    try:
        services.submit(
            pk, by=request.user, at=timezone.now(), note=data.get("note", ""), lon=data.get("lon"), lat=data.get("lat")
        )
    except DomainError as err:
        return _page(request, one, str(err))
    messages.success(request, _("Inspection submitted."))
    return redirect(one)


@require_POST
@needs("inspection.do")
def cancel(request: AuthedRequest, pk: UUID) -> HttpResponse:
    one = _visible(request, pk)
    try:
        services.cancel(pk, by=request.user, at=timezone.now(), note=request.POST.get("note", "")[:1000])
    except DomainError as err:
        return _page(request, one, str(err))
    messages.success(request, _("Inspection cancelled."))
    return redirect("checks:inspections")
