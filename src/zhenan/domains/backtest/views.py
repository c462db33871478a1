"""Asking, watching, reading a back-test."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from zhenan.domains.backtest import services
from zhenan.domains.backtest.forms import LABELS, QuestionForm, rules
from zhenan.domains.backtest.lists import COLOURS, rule_name
from zhenan.domains.backtest.models import Trial
from zhenan.domains.backtest.question import rule_named
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule


def _chosen(request: HttpRequest) -> AlarmRule | None:
    code = request.POST.get("rule") or request.GET.get("rule") or ""
    if not code:
        groups = rules()
        code = groups[0][1][0][0] if groups else ""
    try:
        return rule_named(code) if code else None
    except DomainError:
        return None


@needs("rule.test")
def new(request: AuthedRequest) -> HttpResponse:
    """Choose a rule, change its parameters, choose a period; the worker judges."""
    rule = _chosen(request)
    initial = {"rule": rule.code if rule else ""}
    form = QuestionForm(request.POST or None, rule=rule, initial=initial)
    if request.method == "POST" and form.is_valid():
        since, until = form.period()
        try:
            trial = services.begin(
                rule=form.cleaned_data["rule"], changed=form.spec(), division=form.cleaned_data["division"],
                since=since, until=until, by=request.user, at=timezone.now(),
            )  # fmt: skip
            return redirect(trial)
        except DomainError as err:
            form.add_error(None, str(err))
    context = {
        "form": form,
        "rule": rule,
        "title": _("New back-test"),
        "explain": rule.explain.label(request.LANGUAGE_CODE) if rule else "",
    }
    return render(request, "backtest/new.html", context, status=422 if form.errors else 200)


def _trial(request: HttpRequest, pk: int) -> Trial:
    return get_object_or_404(Trial.objects.visible_to(request.user).select_related("actor", "division"), pk=pk)


def _changes(trial: Trial) -> list[tuple[Any, Any, Any]]:
    """(label, as it stands, as tried) of each parameter."""
    keys = [key for key in {**trial.standing, **trial.changed} if key != "kind"]
    return [(LABELS.get(key, key), trial.standing.get(key), trial.changed.get(key)) for key in keys]


@needs("rule.test")
@require_GET
def trial(request: AuthedRequest, pk: int) -> HttpResponse:
    """What a back-test found, or how far it is."""
    found = _trial(request, pk)
    figures = found.summary.get("versions", {})
    context = {
        "trial": found,
        "title": rule_name(found),
        "colour": COLOURS[found.state],
        "changes": _changes(found),
        "versions": [
            (code, label, _shown(figures[code]))
            for code, label in (("standing", _("As it stands")), ("changed", _("As tried")))
            if code in figures
        ],
        "days": {code: figures[code]["by_day"] for code in figures},
        "labels": {"standing": _("As it stands"), "changed": _("As tried")},
    }
    return render(request, "backtest/trial.html", context)


def _shown(figures: dict[str, Any]) -> dict[str, Any]:
    precision = figures["precision"]
    roles = [[name, registry().label(role), n] for name, role, n in figures["by_person"]]
    return {**figures, "by_person": roles, "percent": None if precision is None else round(100 * precision, 1)}


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
