"""From a pack's declarative indicator to one aggregate query."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.db.models import Aggregate, Avg, Count, Exists, FloatField, Max, Model, OuterRef, Q, QuerySet, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import Cast

from zhenan.domains.indicators.entities import ENTITIES, FOLLOWS, AsOf, Entity
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.packkit.schema_indicators import AS_OF, Condition, Indicator, Ratio

OPS = {"eq": "exact", "in": "in", "gte": "gte", "lte": "lte", "is_null": "isnull"}


class Median(Aggregate):
    """PostgreSQL's continuous median; nulls are left out."""

    function = "PERCENTILE_CONT"
    name = "Median"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


AGGREGATES: dict[str, Any] = {"sum": Sum, "mean": Avg, "median": Median, "max": Max}


class Compiled:
    """An indicator bound to a date: the rows that it counts, and its measure over them."""

    def __init__(self, indicator: Indicator, as_of: date) -> None:
        self.indicator = indicator
        self.as_of = AsOf(as_of)
        self.entity = ENTITIES[indicator.what]

    def rows(self, base: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of ``base`` that the figure counts (of a ratio: its denominator)."""
        rows = self._where(base, self.entity, self.indicator.where, self.indicator.what)
        if self.indicator.when is None:
            rows = rows.filter(self.entity.existed(self.as_of))
        if isinstance(self.indicator.measure, Ratio) and self.indicator.measure.denominator:
            rows = self._where(rows, self.entity, self.indicator.measure.denominator, self.indicator.what)
        return rows

    def meeting(self, base: QuerySet[Any]) -> QuerySet[Any]:
        """Of a ratio, the rows that also meet its numerator; of anything else, all rows."""
        measure = self.indicator.measure
        rows = self.rows(base)
        if isinstance(measure, Ratio):
            rows = self._where(rows, self.entity, measure.numerator, self.indicator.what)
        return rows

    def aggregates(self, rows: QuerySet[Any]) -> tuple[QuerySet[Any], dict[str, Any]]:
        """The rows with what the measure needs, and its aggregates: ``value``, or ``top`` and ``bottom`` of a ratio."""
        measure = self.indicator.measure
        if isinstance(measure, Ratio):
            condition, rows = self._conditions(rows, self.entity, measure.numerator, self.indicator.what)
            return rows, {"top": Count("pk", filter=condition), "bottom": Count("pk")}
        if measure.kind == "count":
            return rows, {"value": Count("pk")}
        path, rows = self._path(
            rows, self.entity, measure.field, self.indicator.what, number=measure.kind != "distinct"
        )
        if measure.kind == "distinct":
            return rows, {"value": Count(path, distinct=True)}
        return rows, {"value": AGGREGATES[measure.kind](path)}

    @property
    def counts(self) -> bool:
        """Whether the measure is a count, which is zero and not nothing where there are no rows."""
        return self.indicator.measure.kind in ("count", "distinct", "ratio")

    def figure(self, found: dict[str, Any]) -> float | None:
        """The figure of one row of aggregates; None where there is nothing to divide by or to average."""
        if "top" in found:
            if not found["bottom"]:
                return None
            ratio = found["top"] / found["bottom"]
            return ratio * 100 if self.indicator.unit == "%" else ratio
        value = found["value"]
        if value is None:
            return 0.0 if self.indicator.measure.kind == "sum" else None
        return float(value)

    # ---- conditions

    def _where(self, rows: QuerySet[Any], entity: Entity, conditions: list[Condition], name: str) -> QuerySet[Any]:
        condition, rows = self._conditions(rows, entity, conditions, name)
        return rows.filter(condition)

    def _conditions(
        self, rows: QuerySet[Any], entity: Entity, conditions: list[Condition], name: str
    ) -> tuple[Q, QuerySet[Any]]:
        whole = Q()
        for condition in conditions:
            part, rows = self._condition(rows, entity, condition, name)
            whole &= part
        return whole, rows

    def _condition(
        self, rows: QuerySet[Any], entity: Entity, condition: Condition, name: str
    ) -> tuple[Q, QuerySet[Any]]:
        if condition.op in ("exists", "not_exists"):
            found = self._related(entity, condition)
            return (Q(found) if condition.op == "exists" else ~Q(found)), rows
        head, _dot, leaf = condition.field.rpartition(".")
        owner, prefix = self._follow(entity, head)
        if leaf in owner.yes:
            return self._yes(owner, leaf, prefix, condition), rows
        number = condition.op in ("gte", "lte") and isinstance(condition.value, (int, float))
        path, rows = self._path(rows, entity, condition.field, name, number=number)
        return Q(**{f"{path}__{OPS[condition.op]}": self._value(condition)}), rows

    def _yes(self, owner: Entity, leaf: str, prefix: str, condition: Condition) -> Q:
        if condition.op == "is_null":
            return (
                Q(**{f"{prefix}{owner.known[leaf]}__isnull": condition.value})
                if leaf in owner.known
                else (Q(pk__in=[]) if condition.value else Q())
            )
        q = owner.yes[leaf](self.as_of)
        moved = _prefixed(q, prefix) if prefix else q
        return moved if condition.value else ~moved

    def _follow(self, entity: Entity, head: str) -> tuple[Entity, str]:
        """The entity at the end of a dotted head (attributes stay with theirs), and its ORM prefix."""
        prefix, here = "", entity
        for part in head.split(".") if head else ():
            if part == "attributes":
                break
            prefix += f"{here.fields[part]}__"
            here = ENTITIES[FOLLOWS[part]]
        return here, prefix

    def _path(
        self, rows: QuerySet[Any], entity: Entity, dotted: str, name: str, *, number: bool = False
    ) -> tuple[str, QuerySet[Any]]:
        """The ORM path of a field, annotated onto the rows where it has to be made."""
        head, _dot, leaf = dotted.rpartition(".")
        owner, prefix = self._follow(entity, head)
        if head.split(".")[-1:] == ["attributes"]:
            alias = f"attr_{leaf}{'_n' if number else ''}"
            text = KT(f"{prefix}attributes__{leaf}")
            return alias, rows.annotate(**{alias: Cast(text, FloatField()) if number else text})
        if leaf in owner.made:
            if prefix:
                raise ValueError(f"{dotted}: {leaf} cannot be followed to from {name}")
            return f"made_{leaf}", rows.annotate(**{f"made_{leaf}": owner.made[leaf](self.as_of)})
        return f"{prefix}{owner.fields[leaf]}", rows

    def _related(self, entity: Entity, condition: Condition) -> Exists:
        head, _dot, leaf = condition.field.rpartition(".")
        owner, prefix = self._follow(entity, head)
        reached, back = owner.relations[leaf]
        other = ENTITIES[reached]
        inner = other.manager().filter(**{back: OuterRef(f"{prefix}pk")})
        return Exists(self._where(inner, other, condition.where, reached))

    def _value(self, condition: Condition) -> Any:
        value = condition.value
        if isinstance(value, bool) and condition.op == "eq" and ".attributes." in f".{condition.field}":
            return "true" if value else "false"  # as JSON writes it
        if isinstance(value, (int, float)) and condition.op in ("eq",) and ".attributes." in f".{condition.field}":
            return str(value)
        if isinstance(value, str) and condition.op in ("gte", "lte"):
            return self._moment(value, condition)
        return value

    def _moment(self, text: str, condition: Condition) -> Any:
        relative = AS_OF.fullmatch(text)
        day = self.as_of.day + timedelta(days=int(relative[1] or 0)) if relative else None
        if ".attributes." in f".{condition.field}":
            return day.isoformat() if day else text  # dates in attributes are ISO text and sort as such
        return day or text


def _prefixed(q: Q, prefix: str) -> Q:
    """The condition with a prefix before each look-up."""
    made = Q(_connector=q.connector, _negated=q.negated)
    for child in q.children:
        if isinstance(child, Q):
            made.children.append(_prefixed(child, prefix))
        else:
            lookup, value = child  # type: ignore[misc]
            made.children.append((f"{prefix}{lookup}", value))
    return made


def indicator_of(code: str) -> Indicator | None:
    try:
        return registry().indicator(code)
    except UnknownCode:
        return None


def url_of(obj: Model) -> str:
    """Where a record is shown; "" where it has no page."""
    return obj.get_absolute_url() if hasattr(obj, "get_absolute_url") else ""
