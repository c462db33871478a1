"""Pages of responsibility: signing, a contract with its visits, a person's load, coverage, the chain of a past day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q
from django.forms import Form
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from zhenan.domains.duty import queries, services
from zhenan.domains.duty.forms import DayForm, EndForm, HandOverForm, SignForm, VisitForm, WithdrawForm
from zhenan.domains.duty.models import Contract, level_label
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.access.scope import scope_of
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.models import new_id
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.kernel.workflow.models import Deadline

VISITS_SHOWN = 50


def _visit(pk: int, form: Any, by: User, at: datetime) -> Any:
    data = form.cleaned_data
    return services.record_visit(
        pk, by=by, at=at, note=data["note"], photos=data["photos"], visit_id=data["visit_id"], **form.place()
    )


# action → (its form, capability "" for the contract's own person, label, what it does)
ACTIONS: dict[str, tuple[type[Form], str, Any, Callable[[int, Any, User, datetime], Any]]] = {
    "visit": (VisitForm, "", gettext_lazy("Record a visit"), _visit),
    "hand-over": (
        HandOverForm, "contract.edit", gettext_lazy("Hand over"),
        lambda pk, form, by, at: services.hand_over(pk, by=by, at=at, **form.cleaned_data),
    ),
    "end": (
        EndForm, "contract.edit", gettext_lazy("End the contract"),
        lambda pk, form, by, at: services.end_contract(pk, by=by, at=at, **form.cleaned_data),
    ),
    "withdraw": (
        WithdrawForm, "contract.edit", gettext_lazy("Withdraw it: signed by mistake"),
        lambda pk, form, by, at: services.withdraw_contract(pk, by=by, at=at, **form.cleaned_data),
    ),
}  # fmt: skip


@needs("contract.edit")
def sign(request: AuthedRequest, subject_pk: int | None = None) -> HttpResponse:
    """Sign one contract: first for which subject, then who and from when."""
    visible = Subject.objects.visible_to(request.user, "contract.edit")
    back = reverse("duty:contracts")
    if subject_pk is None:
        text = request.GET.get("q", "").replace("\x00", "").strip()[:100]
        rows = visible.active().select_related("division").order_by("name", "pk")
        for word in text.split():
            rows = rows.filter(name__ilike=word)
        found: dict[str, Any] = {"title": _("Sign a contract"), "q": text, "subjects": list(rows[:20]), "back": back}
        return render(request, "duty/sign_subject.html", found)
    subject = get_object_or_404(visible.select_related("division"), pk=subject_pk)
    form = SignForm(request.POST or None, initial={"level": request.GET.get("level", "")[:40]})
    if request.method == "POST" and form.is_valid():
        try:
            done = services.sign_contract(subject=subject, by=request.user, at=timezone.now(), **form.cleaned_data)
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("%(person)s is responsible now.") % {"person": done.person})
            return redirect(done.get_absolute_url())
    context: dict[str, Any] = {"title": _("Sign a contract"), "subject": subject, "form": form, "back": back}
    return render(request, "duty/sign.html", context, status=422 if form.errors else 200)


@needs("contract.view")
def contract(request: AuthedRequest, pk: int) -> HttpResponse:
    return _page(request, _visible(request, pk))


@require_POST
@needs("contract.view")
def act(request: AuthedRequest, pk: int, action: str) -> HttpResponse:
    """A visit, a hand-over, an end; what is wrong is shown at its form, and nothing changes."""
    if action not in ACTIONS:
        raise Http404(action)
    shown = _visible(request, pk)
    form_class, _capability, label, do = ACTIONS[action]
    form = form_class(request.POST, request.FILES, prefix=action)
    if form.is_valid():
        try:
            do(pk, form, request.user, timezone.now())
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("Done: %(step)s") % {"step": label})
            return redirect("duty:contracts") if action == "withdraw" else redirect("duty:contract", pk=pk)
    return _page(request, shown, tried=action, form=form, status=422)


def _visible(request: AuthedRequest, pk: int) -> Contract:
    """A contract that one may see; one's own always."""
    seen = Contract.objects.visible_to(request.user).filter(pk=pk)
    rows = Contract.objects.filter(Q(pk__in=seen.values("pk")) | Q(person=request.user))
    return get_object_or_404(
        rows.select_related("subject__division", "person", "signed_by", "ended_by", "follows__person"), pk=pk
    )


def _page(
    request: AuthedRequest, shown: Contract, *, tried: str = "", form: Form | None = None, status: int = 200
) -> HttpResponse:
    today = timezone.localdate()
    ended = shown.ends_on is not None and shown.ends_on <= today
    steps = []
    for code, (form_class, capability, label, _do) in ACTIONS.items():
        mine = code == "visit" and shown.person_id == request.user.pk and shown.holds_on(today)
        if mine or (capability and request.user.can(capability) and not ended):
            fresh = form_class(prefix=code, initial={"visit_id": new_id()} if code == "visit" else None)
            steps.append(
                {
                    "code": code,
                    "label": label,
                    "form": form if code == tried and form else fresh,
                    "tried": code == tried,
                }
            )
    context = {
        "title": str(shown), "contract": shown, "in_force": shown.holds_on(today), "ended": ended, "steps": steps,
        "due": Deadline.objects.open().filter(target=f"duty.contract:{shown.pk}", kind=services.VISIT).first(),
        "visits": _visits(shown),
        "lost": form if form is not None and tried not in {step["code"] for step in steps} else None,
    }  # fmt: skip
    return render(request, "duty/contract.html", context, status=status)


def _visits(shown: Contract) -> list[dict[str, Any]]:
    visits = list(shown.visits.select_related("person")[:VISITS_SHOWN])
    photos = Evidence.objects.filter(target__in=[f"duty.visit:{v.pk}" for v in visits]).defer("thumbnail")
    by_visit: dict[str, list[Evidence]] = {}
    for photo in photos.select_related("uploaded_by"):
        by_visit.setdefault(photo.target, []).append(photo)
    return [{"visit": visit, "photos": by_visit.get(f"duty.visit:{visit.pk}", [])} for visit in visits]


@needs("")
def load(request: AuthedRequest, pk: int | None = None) -> HttpResponse:
    """What one person answers for: their own page, or that of another for those who see contracts."""
    person = request.user if pk is None else get_object_or_404(User, pk=pk)
    at = timezone.now()
    rows = queries.load_of(person, at)
    if person.pk != request.user.pk:
        if not request.user.can("contract.view"):
            raise PermissionDenied("contract.view")
        rows = rows.filter(pk__in=Contract.objects.visible_to(request.user).filter(person=person).values("pk"))
    rows = rows.order_by(F("last_visit_at").asc(nulls_first=True), "pk")
    contracts = list(rows[:500])
    running = Deadline.objects.open().filter(
        kind=services.VISIT, target__in=[f"duty.contract:{c.pk}" for c in contracts]
    )
    due = {deadline.target: deadline.due_at for deadline in running}
    items = [{"contract": c, "due_at": due.get(f"duty.contract:{c.pk}")} for c in contracts]
    items.sort(key=lambda item: (item["due_at"] is None, item["due_at"] or at))
    context = {
        "title": _("Load of %(person)s") % {"person": person}, "person": person, "items": items,
        "total": len(contracts), "overdue": sum(1 for when in due.values() if when < at), "due": len(due),
    }  # fmt: skip
    return render(request, "duty/load.html", context)


@needs("contract.view")
def coverage(request: AuthedRequest) -> HttpResponse:
    """For every required level, how many subjects have nobody, division by division."""
    top = _top(request)
    paths = Division.objects.filter(active=True)
    asked = request.GET.get("division", "")
    here = paths.filter(code=asked[:20]).first() if asked else None
    if here is None or not here.path.startswith(top.path):
        here = top
    table = queries.coverage(request.user, here.path)
    levels = list(queries.types_by_level())
    names = {d.code: d for d in paths.filter(code__in=[code for code in table if code])}
    rows = [
        {"code": code, "name": names[code].name if code in names else _("placed here itself"), "deeper": code in names,
         "cells": [table[code].get(level) for level in levels]}
        for code in sorted(table)
    ]  # fmt: skip
    totals = [_total(table, level) for level in levels]
    context = {
        "title": _("Coverage"), "here": here, "up": here.parent if here.path != top.path else None, "rows": rows,
        "levels": [(level, level_label(level)) for level in levels], "totals": totals,
        "missing": sum(cell.missing for cell in totals), "required": sum(cell.required for cell in totals),
    }  # fmt: skip
    return render(request, "duty/coverage.html", context)


def _total(table: dict[str, dict[str, queries.Cell]], level: str) -> queries.Cell:
    cells = [row[level] for row in table.values() if level in row]
    return queries.Cell(level, sum(c.required for c in cells), sum(c.missing for c in cells))


def _top(request: AuthedRequest) -> Division:
    """The highest division of the user's reach; the city for those who see everything or have none."""
    scope = scope_of(request.user, "contract.view")
    paths = [] if scope.everything else [reach.path for reach in scope.reaches if reach.path]
    rows = (
        Division.objects.filter(path=min(paths, key=len)) if len(paths) == 1 else Division.objects.filter(level="city")
    )
    return rows.order_by("path").select_related("parent")[:1].get()


@needs("contract.view")
def chain(request: AuthedRequest, subject_pk: int) -> HttpResponse:
    """Who was responsible on a day: the panel's inside, asked again by its date picker."""
    subject = get_object_or_404(Subject.objects.visible_to(request.user).select_related("division"), pk=subject_pk)
    return render(request, "duty/_chain.html", chain_context(request, subject))


def chain_context(request: Any, subject: Subject) -> dict[str, Any]:
    """The chain of the day asked for; an unreadable day says so and shows today."""
    form = DayForm(request.GET if "day" in request.GET else {"day": timezone.localdate()})
    day = form.cleaned_data["day"] if form.is_valid() else timezone.localdate()
    links = queries.chain_on(subject, day, gaps=True)
    nearest = None if any(link.person for link in links) else queries.nearest_responsible(subject, day)
    return {
        "subject": subject, "day": day, "day_form": form, "links": links, "nearest": nearest,
        "past": day != timezone.localdate(), "may_sign": request.user.can("contract.edit"),
    }  # fmt: skip
