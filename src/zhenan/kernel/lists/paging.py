"""Pages by key, not by offset: the last page of 720,000 rows costs what the first one costs.

A position is a short text in the address: "" (first page), "last", or "after:TOKEN" and "before:TOKEN", where the token
holds the sort value and the key of the row beside the page. Rows that come or go meanwhile never shift a page.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db.models import F, Field, Model, Q, QuerySet
from django.db.models.expressions import OrderBy

EXACT_UP_TO = 10_000
SORT_VALUE = "list_sort_value"


class BadPosition(ValueError):
    """The position in the address cannot be read."""


@dataclass(frozen=True)
class Count:
    """How many rows match; beyond EXACT_UP_TO the planner's estimate, which costs nothing."""

    value: int
    exact: bool


@dataclass(frozen=True)
class Sort:
    """The order of a list: an ORM path, then the key in the same direction, empty values always last."""

    key: str
    path: str
    descending: bool = False

    @property
    def param(self) -> str:
        return f"-{self.key}" if self.descending else self.key


@dataclass(frozen=True)
class Page:
    """One page of rows, and the positions of its neighbours ("" with ``has_…`` false where there is none)."""

    rows: list[Any]
    has_previous: bool
    has_next: bool
    previous: str
    next: str
    first_at: int | None  # ordinal of the first row from 1; None when only an estimate is known

    @property
    def last_at(self) -> int | None:
        return None if self.first_at is None else self.first_at + len(self.rows) - 1


@dataclass(frozen=True)
class Position:
    """A parsed position."""

    where: str  # "first", "last", "after" or "before"
    value: Any = None
    pk: Any = None
    at: int | None = None  # ordinal, from 0, of the first row after (or the row behind) the page


def count_of(rows: QuerySet[Any], *, exact_up_to: int = EXACT_UP_TO) -> Count:
    """Count up to a cap, then estimate: at most two queries, neither of which reads the whole table."""
    plain = rows.order_by()
    seen = plain.values("pk")[: exact_up_to + 1].count()
    if seen <= exact_up_to:
        return Count(seen, exact=True)
    plan = json.loads(plain.explain(format="json"))
    return Count(max(int(plan[0]["Plan"]["Plan Rows"]), seen), exact=False)


def ordered(rows: QuerySet[Any], sort: Sort, *, backwards: bool = False) -> QuerySet[Any]:
    """The rows in the list's order (or exactly reversed), each annotated with its sort value."""
    rows = rows.annotate(**{SORT_VALUE: F(sort.path)})
    nullable = is_nullable(rows.model, sort.path)
    return rows.order_by(
        _order(SORT_VALUE, descending=sort.descending != backwards, nulls_first=backwards if nullable else None),
        _order("pk", descending=sort.descending != backwards, nulls_first=None),
    )


def _order(path: str, *, descending: bool, nulls_first: bool | None) -> OrderBy:
    # Naming the place of NULL for a column that has none would keep PostgreSQL from using a plain index.
    if nulls_first is None:
        return OrderBy(F(path), descending=descending)
    return OrderBy(F(path), descending=descending, nulls_first=nulls_first or None, nulls_last=not nulls_first or None)


def is_nullable(model: type[Model], path: str) -> bool:
    """Whether the sort value may be NULL; an annotation is taken to be."""
    for step in path.split("__"):
        try:
            field = model._meta.get_field("id" if step == "pk" else step) if step != "pk" else model._meta.pk
        except FieldDoesNotExist:
            return True
        if not isinstance(field, Field) or field.null:
            return True
        if field.is_relation and field.related_model is not None:
            model = field.related_model
    return False


def page_of(rows: QuerySet[Any], sort: Sort, position: str, size: int, count: Count) -> Page:
    """One page: a single query. Raises BadPosition."""
    at = parse_position(rows, sort, position)
    backwards = at.where in ("last", "before")
    listed = ordered(rows, sort, backwards=backwards)
    if at.where in ("after", "before"):
        listed = listed.filter(_beyond(rows.model, sort, at, backwards=backwards))
    wanted = size
    if at.where == "last" and count.exact:
        wanted = count.value % size or size
    found = list(listed[: wanted + 1])
    more = len(found) > wanted
    found = found[:wanted]
    if backwards:
        found.reverse()
    first = _first_at(at, found, count)
    return Page(
        rows=found,
        has_previous=more if backwards else at.where == "after",
        has_next=at.where == "before" if backwards else more,
        previous=_token("before", found[0], first) if found else "",
        next=_token("after", found[-1], None if first is None else first + len(found)) if found else "",
        first_at=None if first is None else first + 1,
    )


def _first_at(at: Position, found: list[Any], count: Count) -> int | None:
    if at.where == "first":
        return 0
    if at.where == "last":
        return max(count.value - len(found), 0) if count.exact else None
    if at.at is None:
        return None
    return at.at if at.where == "after" else max(at.at - len(found), 0)


def _beyond(model: type[Model], sort: Sort, at: Position, *, backwards: bool) -> Q:
    """Rows that come strictly behind the position in the direction of reading; empty values are last in the list."""
    op = "lt" if sort.descending != backwards else "gt"
    same_value = Q(**{f"pk__{op}": at.pk})
    if at.value is None:
        inside = Q(**{f"{SORT_VALUE}__isnull": True}) & same_value
        return inside | Q(**{f"{SORT_VALUE}__isnull": False}) if backwards else inside
    # The first condition is implied by the second; it gives the index its range.
    further = Q(**{f"{SORT_VALUE}__{op}e": at.value}) & (
        Q(**{f"{SORT_VALUE}__{op}": at.value}) | (Q(**{SORT_VALUE: at.value}) & same_value)
    )
    if is_nullable(model, sort.path) and not backwards:
        return further | Q(**{f"{SORT_VALUE}__isnull": True})
    return further


def _token(where: str, row: Any, at: int | None) -> str:
    value = getattr(row, SORT_VALUE)
    if isinstance(value, date | datetime):
        value = value.isoformat()
    elif isinstance(value, Decimal) or not (isinstance(value, str | int | float | bool) or value is None):
        value = str(value)
    packed = json.dumps([value, str(row.pk), at], ensure_ascii=False, separators=(",", ":"))
    return f"{where}:{base64.urlsafe_b64encode(packed.encode()).decode().rstrip('=')}"


def parse_position(rows: QuerySet[Any], sort: Sort, position: str) -> Position:
    """Read a position from the address. Raises BadPosition on anything this module did not write."""
    if position in ("", "first"):
        return Position("first")
    if position == "last":
        return Position("last")
    where, _colon, token = position.partition(":")
    if where not in ("after", "before") or len(token) > 2000:
        raise BadPosition(position[:40])
    try:
        padded = token + "=" * (-len(token) % 4)
        value, pk, at = json.loads(base64.urlsafe_b64decode(padded.encode("ascii", "strict")))
        if isinstance(value, list | dict) or (isinstance(value, str) and "\x00" in value):
            raise BadPosition(position[:40])
        field = _sort_field(rows, sort)
        value = None if value is None else field.to_python(value)
        pk = rows.model._meta.pk.to_python(pk)
        at = int(at) if isinstance(at, int) and 0 <= at < 2**53 else None
    except (ValueError, TypeError, UnicodeError, binascii.Error, ValidationError, OverflowError, RecursionError) as err:
        raise BadPosition(position[:40]) from err
    if pk is None or (isinstance(pk, int) and abs(pk) >= 2**63) or (isinstance(value, int) and abs(value) >= 2**63):
        raise BadPosition(position[:40])
    return Position(where, value, pk, at)


def _sort_field(rows: QuerySet[Any], sort: Sort) -> Any:
    annotated = rows.annotate(**{SORT_VALUE: F(sort.path)})
    field = annotated.query.annotations[SORT_VALUE].output_field
    return getattr(field, "target_field", field)
