"""Asking, watching, reading a back-test."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from zhenan.domains.backtest import services, words
from zhenan.domains.backtest.fences import FENCE, WAS, terms_of
from zhenan.domains.backtest.forms import Choices, QuestionForm, form_for, things
from zhenan.domains.backtest.lists import COLOURS, rule_name
from zhenan.domains.backtest.models import Hit, Trial
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.packkit.registry import registry

MOST_DRAWN = 2000  # events of each version on the map


def _form(request: AuthedRequest, choices: Choices) -> QuestionForm | None:
    """The form of what was chosen; None where that is nothing, or nothing that the user may see."""
    first = choices[0][1][0][0] if choices else ""
    code = request.POST.get("rule") or request.GET.get("rule") or first
    try:
        return form_for(code, request.POST or None, request.user, choices) if code else None
    except DomainError:
        return None


@needs("rule.test")
def new(request: AuthedRequest) -> HttpResponse:
    """Choose a rule or a fence, change it, choose a period; the worker judges."""
    choices = things(request.user)
    form = _form(request, choices)
    if form and request.method == "POST" and form.is_valid():
        since, until = form.period()
        try:
            trial = services.begin(
                rule=form.code, division=form.cleaned_data["division"], since=since, until=until, by=request.user,
                at=timezone.now(), **form.asked(),
            )  # fmt: skip
            return redirect(trial)
        except DomainError as err:
            form.add_error(None, str(err))
    context = {
        "form": form,
        "choices": choices,
        "code": form.code if form else "",
        "title": _("New back-test"),
        "explain": form.explain if form else "",
        "config": _map(draw=True) if form and form.fence else None,
    }
    return render(request, "backtest/new.html", context, status=422 if form and form.errors else 200)


def _map(**more: Any) -> dict[str, Any]:
    """What the maps of transport want to know."""
    found = {"noGl": _("This browser cannot draw the map (no WebGL2).")}
    tianditu = getattr(settings, "TIANDITU_KEY", "")
    return {"divisions": reverse("web:map-divisions"), "tianditu": tianditu, "words": found, **more}


def _trial(request: AuthedRequest, pk: int) -> Trial:
    rows = Trial.objects.visible_to(request.user).select_related("actor", "division", "fence")
    return get_object_or_404(rows, pk=pk)


@needs("rule.test")
@require_GET
def trial(request: AuthedRequest, pk: int) -> HttpResponse:
    """What a back-test found, or how far it is."""
    found = _trial(request, pk)
    figures = found.summary.get("versions", {})
    labels = words.versions(found)
    fence = found.rule.startswith(FENCE)
    context = {
        "trial": found,
        "title": rule_name(found),
        "colour": COLOURS[found.state],
        "changes": words.changes(found),
        "labels": labels,
        "versions": [(code, labels[code], _shown(figures[code])) for code in labels if code in figures],
        "days": {code: figures[code]["by_day"] for code in figures},
        "fence": fence,
        "rows": reverse("backtest:events" if fence else "backtest:hits", args=[pk]),
        "staged": any(figures[code].get("steps") for code in figures),
        "config": _drawn(found, labels) if fence and figures else None,
    }
    return render(request, "backtest/trial.html", context)


def _drawn(trial: Trial, labels: dict[str, Any]) -> dict[str, Any]:
    """The fence in its versions and where the events were, for the map: [lon, lat] by version."""
    shapes: dict[str, list[dict[str, Any]]] = {
        "standing": [trial.standing],
        "changed": [trial.changed] if trial.changed else [],
    }
    if trial.standing_as == WAS and trial.fence is not None:
        shapes["standing"] = [terms_of(version) for version in trial.fence.versions.order_by("version")]
    fences = [
        {"name": labels[code], "version": code, **{key: terms[key] for key in ("shape", "points", "size_m")}}
        for code, several in shapes.items()
        for terms in several
    ]
    places = {}
    for code in shapes:
        rows = Hit.objects.filter(trial=trial, version=code, lat__isnull=False).order_by("raised_at", "pk")
        places[code] = [[lon, lat] for lat, lon in rows.values_list("lat", "lon")[:MOST_DRAWN]]
    return _map(shapes=fences, places=places)


def _shown(figures: dict[str, Any]) -> dict[str, Any]:
    precision = figures["precision"]
    roles = [[name, registry().label(role), n] for name, role, n in figures["by_person"]]
    kinds = [(label, figures.get("by_kind", {}).get(kind, 0)) for kind, label in Hit.Kind.choices]
    percent = None if precision is None else round(100 * precision, 1)
    return {**figures, "by_person": roles, "percent": percent, "kinds": kinds}


@needs("rule.test")
@require_GET
def progress(request: AuthedRequest, pk: int) -> HttpResponse:
    """The part of the page that asks again while the worker is at it."""
    found = _trial(request, pk)
    response = render(request, "backtest/_progress.html", {"trial": found})
    if not found.busy:
        response["HX-Refresh"] = "true"
    return response


@needs("rule.test")
@require_POST
def stop(request: AuthedRequest, pk: int) -> HttpResponse:
    """Give it up."""
    found = _trial(request, pk)
    try:
        services.stop(found.pk, by=request.user, at=timezone.now())
        messages.success(request, _("Stopped."))
    except DomainError as err:
        messages.error(request, str(err))
    return redirect(found)
