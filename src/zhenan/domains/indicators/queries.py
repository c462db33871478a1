"""Figures, counted from records: a total, its breakdowns, and the records behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.db.models import CharField, F, FloatField, Func, IntegerField, Q, QuerySet, Value
from django.db.models.functions import Cast, TruncMonth
from django.utils import timezone

from zhenan.domains.indicators.compile import Compiled
from zhenan.domains.indicators.entities import ENTITIES
from zhenan.kernel.access.scope import ScopedQuerySet, scope_of
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.packkit.schema_indicators import Indicator, Ratio


@dataclass(frozen=True)
class Question:
    """What is asked: by whom (None: the platform itself), of which part of the city, as of when, over which period.

    ``since`` and ``until`` are days, both included; they bound indicators that count what happened in a period.
    """

    user: User | None
    as_of: date
    path: str = ""
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True)
class Figure:
    """One value of an indicator. ``met``: whether the target is reached; None without a target or a value."""

    indicator: Indicator
    value: float | None
    met: bool | None
    records: int


def indicators() -> list[Indicator]:
    return registry().indicators()


def base_rows(indicator: Indicator, asked: Question) -> QuerySet[Any]:
    """The records of the indicator's kind that this question may look at."""
    entity = ENTITIES[indicator.what]
    rows = entity.manager().all()
    if asked.user is not None:
        rows = visible(rows, asked.user, entity.path)
    if asked.path:
        rows = rows.filter(**{f"{entity.path}__startswith": asked.path})
    if indicator.when is not None:
        rows = rows.filter(_period(entity.fields[indicator.when], asked))
    return rows


def visible(rows: QuerySet[Any], user: User, path: str) -> QuerySet[Any]:
    """Rows within the reach of the user's ``indicator.view``; of a kind without a scope of its own, by place alone."""
    if isinstance(rows, ScopedQuerySet):
        return rows.visible_to(user, "indicator.view")
    scope = scope_of(user, "indicator.view")
    if scope.everything:
        return rows
    wanted = Q(pk__in=[])
    for reach in scope.reaches:
        if reach.path:
            wanted |= Q(**{f"{path}__startswith": reach.path})
        elif reach.organisation_id and rows.model._meta.label == "people.Organisation":
            wanted |= Q(pk=reach.organisation_id)
    return rows.filter(wanted)


def _period(lookup: str, asked: Question) -> Q:
    until = min(asked.until or asked.as_of, asked.as_of)
    wanted = Q(**{f"{lookup}__lt": _midnight(date.fromordinal(until.toordinal() + 1))})
    if asked.since:
        wanted &= Q(**{f"{lookup}__gte": _midnight(asked.since)})
    return wanted


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, datetime.min.time()))


def figure(indicator: Indicator, asked: Question) -> Figure:
    """The figure: one query."""
    compiled = Compiled(indicator, asked.as_of)
    rows, aggregates = compiled.aggregates(compiled.rows(base_rows(indicator, asked)))
    found = rows.aggregate(**aggregates)
    value = compiled.figure(found)
    count = found.get("bottom", found.get("value"))
    return Figure(indicator, value, met(indicator, value), int(count or 0))


def met(indicator: Indicator, value: float | None) -> bool | None:
    if indicator.target is None or value is None:
        return None
    low, high = indicator.target.at_least, indicator.target.at_most
    return (low is None or value >= low) and (high is None or value <= high)


def by_division(indicator: Indicator, asked: Question) -> list[tuple[Division, Figure]]:
    """The figure of each part of the division asked (the city: its counties): two queries."""
    compiled = Compiled(indicator, asked.as_of)
    path = asked.path or _city_path()
    depth = path.count("/") + 1
    place = f"{ENTITIES[indicator.what].path}"
    rows = base_rows(indicator, asked).annotate(
        part=Func(F(place), Value("/"), Value(depth), function="SPLIT_PART", output_field=CharField())
    )
    found = _grouped(compiled, rows, "part")
    parts = Division.objects.filter(code__in=[key for key in found if key]).order_by("code")
    return [(division, found[division.code]) for division in parts]


def by_month(indicator: Indicator, asked: Question) -> list[tuple[date, Figure]]:
    """The figure of each month: for indicators with ``when``."""
    if indicator.when is None:
        return []
    lookup = ENTITIES[indicator.what].fields[indicator.when]
    rows = base_rows(indicator, asked).annotate(month=TruncMonth(lookup))
    found = _grouped(Compiled(indicator, asked.as_of), rows, "month")
    return sorted((key.date() if isinstance(key, datetime) else key, value) for key, value in found.items() if key)


def _grouped(compiled: Compiled, rows: QuerySet[Any], key: str) -> dict[Any, Figure]:
    rows, aggregates = compiled.aggregates(compiled.rows(rows))
    found: dict[Any, Figure] = {}
    for row in rows.order_by().values(key).annotate(**{f"agg_{name}": made for name, made in aggregates.items()}):
        values = {name: row[f"agg_{name}"] for name in aggregates}
        value = compiled.figure(values)
        count = values.get("bottom", values.get("value"))
        found[row[key]] = Figure(compiled.indicator, value, met(compiled.indicator, value), int(count or 0))
    return found


def records(indicator: Indicator, asked: Question, *, numerator: bool = False) -> QuerySet[Any]:
    """The records behind the figure; of a ratio all of the denominator, or those that meet the numerator."""
    compiled = Compiled(indicator, asked.as_of)
    base = base_rows(indicator, asked)
    return compiled.meeting(base) if numerator else compiled.rows(base)


def all_figures(asked: Question, *, only: Sequence[Indicator] | None = None) -> list[Figure]:
    """Every indicator's figure, in the order of the boards: one query for all, however many packs there are."""
    wanted = [Compiled(indicator, asked.as_of) for indicator in (indicators() if only is None else only)]
    if not wanted:
        return []
    first, *others = (_as_row(number, compiled, asked) for number, compiled in enumerate(wanted))
    counted = {row["in_order"]: row for row in first.union(*others, all=True)}
    return [_of_row(compiled, counted.get(number)) for number, compiled in enumerate(wanted)]


def _as_row(number: int, compiled: Compiled, asked: Question) -> QuerySet[Any]:
    """One row: the indicator's number and its aggregates, as columns that all indicators have alike."""
    rows, aggregates = compiled.aggregates(compiled.rows(base_rows(compiled.indicator, asked)))
    over, under = aggregates["top" if "top" in aggregates else "value"], aggregates.get("bottom", Value(0))
    return (
        rows.order_by()
        .values(in_order=Value(number, output_field=IntegerField()))
        .annotate(counted_over=Cast(over, FloatField()), counted_under=Cast(under, FloatField()))
    )


def _of_row(compiled: Compiled, row: Mapping[str, Any] | None) -> Figure:
    """The figure of its row. Without one nothing was there to look at: a union leaves out what cannot have rows."""
    ratio = isinstance(compiled.indicator.measure, Ratio)
    over, under = (row["counted_over"], row["counted_under"]) if row else (0 if compiled.counts else None, 0)
    value = compiled.figure({"top": over, "bottom": under} if ratio else {"value": over})
    return Figure(compiled.indicator, value, met(compiled.indicator, value), int((under if ratio else over) or 0))


def _city_path() -> str:
    return str(Division.objects.filter(level="city").values_list("path", flat=True).first() or "")


def unit_word(indicator: Indicator, language: str) -> str:
    """What stands behind the figure: nothing for a count, the sign % for per cent, else the unit's word."""
    if indicator.unit in ("count", "%"):
        return "" if indicator.unit == "count" else "%"
    return registry().label(indicator.unit, language, kind="units")
