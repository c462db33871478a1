"""Pages of figures: all of them, one with its breakdowns, and the records behind it."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.indicators import queries
from zhenan.domains.indicators.compile import indicator_of, url_of
from zhenan.domains.indicators.entities import ENTITIES
from zhenan.kernel.access import AuthedRequest, needs, scope_of
from zhenan.kernel.lists import ChoiceFilter, Column, ListPage, TextFilter
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.packkit.schema_indicators import Indicator, Ratio


def question(request: AuthedRequest) -> tuple[queries.Question, list[str]]:
    """The question in the address, and what in it could not be read (left out, and said)."""
    problems: list[str] = []
    days: dict[str, date | None] = {}
    for name in ("as_of", "since", "until"):
        text = request.GET.get(name, "")
        try:
            days[name] = date.fromisoformat(text) if text else None
        except ValueError:
            days[name] = None
            problems.append(_("“{came}” is not a date; write it as 2026-01-31.").format(came=text[:40]))
    path, code = "", request.GET.get("division", "")
    if code:
        division = Division.objects.filter(code=code).first()
        if division is None:
            problems.append(_("There is no division {came}.").format(came=code[:40]))
        else:
            path = division.path
    asked = queries.Question(
        request.user, days["as_of"] or timezone.localdate(), path=path, since=days["since"], until=days["until"]
    )
    return asked, problems


def divisions_for(request: AuthedRequest) -> list[Division]:
    """The counties and towns that the user may ask about."""
    rows = Division.objects.filter(level__in=["county", "town"]).order_by("path")
    scope = scope_of(request.user, "indicator.view")
    return [d for d in rows if scope.everything or any(r.path and d.path.startswith(r.path) for r in scope.reaches)]


@needs("indicator.view")
def overview(request: AuthedRequest) -> HttpResponse:
    """Every figure for what the user may see, by programme."""
    asked, problems = question(request)
    book = registry()
    groups: dict[str, dict[str, Any]] = {}
    for figure in queries.all_figures(asked):
        pack = figure.indicator.code.partition(".")[0]
        group = groups.setdefault(pack, {"name": book.label(pack, kind="pack"), "figures": []})
        group["figures"].append(shown(figure, request))
    context = {
        "groups": list(groups.values()),
        "asked": asked,
        "problems": problems,
        "divisions": divisions_for(request),
        "division": request.GET.get("division", ""),
        "query": _carried(request),
    }
    return render(request, "indicators/overview.html", context)


def shown(figure: queries.Figure, request: HttpRequest) -> dict[str, Any]:
    """A figure in the reader's words."""
    indicator = figure.indicator
    return {
        "code": indicator.code,
        "figure": indicator.figure,
        "name": indicator.name.label(request.LANGUAGE_CODE),
        "definition": indicator.definition.label(request.LANGUAGE_CODE),
        "value": None if figure.value is None else round(figure.value, 2),
        "unit": queries.unit_word(indicator, request.LANGUAGE_CODE),
        "met": figure.met,
        "target": target_word(indicator),
        "records": figure.records,
        "ratio": isinstance(indicator.measure, Ratio),
    }


def target_word(indicator: Indicator) -> str:
    if indicator.target is None:
        return ""
    low, high = indicator.target.at_least, indicator.target.at_most
    return " ".join(f"{sign} {limit:g}" for sign, limit in (("≥", low), ("≤", high)) if limit is not None)


def _carried(request: HttpRequest) -> str:
    kept = {k: request.GET[k] for k in ("as_of", "since", "until", "division") if request.GET.get(k)}
    return urlencode(kept)


def _indicator(code: str) -> Indicator:
    found = indicator_of(code)
    if found is None:
        raise Http404(code)
    return found


@needs("indicator.view")
def detail(request: AuthedRequest, code: str) -> HttpResponse:
    """One figure: its definition, its value, each part of the city, each month."""
    indicator = _indicator(code)
    asked, problems = question(request)
    parts = [
        {"division": division, **shown(figure, request)} for division, figure in queries.by_division(indicator, asked)
    ]
    months = [{"month": month, **shown(figure, request)} for month, figure in queries.by_month(indicator, asked)]
    context = {
        "one": shown(queries.figure(indicator, asked), request),
        "indicator": indicator,
        "parts": parts,
        "months": months,
        "asked": asked,
        "problems": problems,
        "divisions": divisions_for(request),
        "division": request.GET.get("division", ""),
        "query": _carried(request),
        "spec": indicator.model_dump(mode="json", include={"what", "when", "where", "measure"}, exclude_none=True),
    }
    return render(request, "indicators/detail.html", context)


class Carried(TextFilter):
    """A part of the question in the address: kept while one searches and sorts, and open to be changed."""

    def condition(self, raw: dict[str, str], request: HttpRequest) -> None:
        return None


class RecordList(ListPage):
    """The records behind a figure: a list like any other, with its search, sorting and export."""

    filters = (
        Carried(name="division", label=gettext_lazy("Division")),
        Carried(name="as_of", label=gettext_lazy("As of")),
        Carried(name="since", label=gettext_lazy("Period from")),
        Carried(name="until", label=gettext_lazy("to")),
        ChoiceFilter(
            name="part",
            label=gettext_lazy("Records"),
            choices=[("numerator", gettext_lazy("those that count for it"))],
            where=lambda value: Q(),
        ),
    )

    capability = "indicator.view"
    indicator: Indicator
    default_sort = "id"
    columns = (
        Column("id", gettext_lazy("Number"), sort="pk"),
        Column("name", gettext_lazy("Record"), value=str, link=True),
    )

    def get_queryset(self) -> QuerySet[Any]:
        asked, problems = question(self.request)  # type: ignore[arg-type]
        self.problems += [problem for problem in problems if problem not in self.problems]
        return queries.records(self.indicator, asked, numerator=self.request.GET.get("part") == "numerator")

    def row_url(self, row: Any) -> str:
        return record_url(self.indicator.what, row)


def record_url(what: str, row: Any) -> str:
    """Where a record of this kind is shown."""
    if what == "alarm":
        return reverse("monitoring:alarm", args=[row.pk])
    if what == "device":
        return reverse("monitoring:device", args=[row.pk])
    return url_of(row)


# Columns of the records of each kind, besides what every list has.
COLUMNS: dict[str, tuple[Column, ...]] = {
    "subject": (
        Column("name", gettext_lazy("Name"), sort="name", link=True),
        Column("key", gettext_lazy("Identity"), sort="key", kind="code"),
        Column("division.name", gettext_lazy("Division"), sort="division__code"),
        Column("address", gettext_lazy("Address"), phone=False),
    ),
    "device": (
        Column("name", gettext_lazy("Name"), sort="name", link=True),
        Column("key", gettext_lazy("Identity"), sort="key", kind="code"),
        Column("subject.name", gettext_lazy("Site"), sort="subject__name"),
        Column("online", gettext_lazy("Online"), sort="online", kind="bool"),
    ),
    "alarm": (
        Column("rule", gettext_lazy("Alarm"), value=lambda a: registry().label(a.rule, kind="alarm_rule"), link=True),
        Column("subject.name", gettext_lazy("Site"), sort="subject__name"),
        Column("raised_at", gettext_lazy("Raised at"), sort="raised_at", kind="datetime"),
        Column("get_state_display", gettext_lazy("State"), sort="state"),
        Column("get_cause_display", gettext_lazy("Cause"), sort="cause"),
    ),
    "organisation": (
        Column("name", gettext_lazy("Name"), sort="name", link=True),
        Column("code", gettext_lazy("Code"), sort="code", kind="code"),
        Column("division.name", gettext_lazy("Division"), sort="division__code"),
    ),
}
RELATED = {"subject": ("division",), "device": ("subject",), "alarm": ("subject",), "organisation": ("division",)}
SEARCH = {"subject": ("name", "key"), "device": ("name", "key"), "alarm": ("subject__name",), "organisation": ("name",)}


def records(request: HttpRequest, code: str) -> HttpResponseBase:
    """The records behind a figure."""
    indicator = _indicator(code)
    what = indicator.what
    page: Any = type(
        "Records",
        (RecordList,),
        {
            "indicator": indicator,
            "model": ENTITIES[what].manager().model,
            "title": indicator.name.label(request.LANGUAGE_CODE),
            "lead": indicator.definition.label(request.LANGUAGE_CODE),
            "columns": COLUMNS.get(what, RecordList.columns),
            "default_sort": COLUMNS[what][0].key if what in COLUMNS and COLUMNS[what][0].sort else _first_sort(what),
            "select_related": RELATED.get(what, ("subject",)),
            "search": SEARCH.get(what, ("subject__name",)),
        },
    )
    return page.as_view()(request, code=code)


def _first_sort(what: str) -> str:
    return next((c.key for c in COLUMNS.get(what, ()) if c.sort), "id")
