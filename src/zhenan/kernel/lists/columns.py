"""Columns of a list page: what a cell shows, how it sorts, what the export writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any, Literal

from django.db.models import Model
from django.utils import timezone
from django.utils.translation import gettext as _

Text = Any  # str or a lazy translation
Kind = Literal["text", "code", "number", "date", "datetime", "bool", "level", "status", "deadline"]


def follow(obj: Any, path: str) -> Any:
    """The value at a dotted path; None as soon as a step is None. A method at the end is called.

    >>> follow("abc", "upper")
    'ABC'
    """
    for step in path.split("."):
        if obj is None:
            return None
        obj = getattr(obj, step)
    return obj() if callable(obj) else obj


def shown(obj: Any, path: str) -> Any:
    """As ``follow``, with the words for a value where its field has choices."""
    head, _dot, leaf = path.rpartition(".")
    owner = follow(obj, head) if head else obj
    if isinstance(owner, Model) and hasattr(owner, f"get_{leaf}_display"):
        return follow(owner, f"get_{leaf}_display")
    return follow(obj, path)


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        key: dotted path of the value on the row ("name", "division.name"); also the column's name in ``?sort=``.
        label: its heading.
        sort: ORM path to sort by ("name", "division__code"); empty: not sortable.
            Sort big tables by indexed columns only.
        kind: how the value is shown. "level" wants 1-4, "deadline" a datetime, "status" a value with ``colours``.
        link: the cell opens the row.
        value: takes the row, gives the value, in place of ``key``.
        export: whether exported; a callable takes the row and gives the exported value.
        phone: whether the card on a phone shows it.
        template: a template for the cell, with ``row`` and ``value``.
        colours: for "status": raw value → "red", "orange", "yellow", "blue", "green" or "grey".
        closed: for "deadline": takes the row, says whether the clock has stopped.
        unit: written behind a number.
    """

    key: str
    label: Text
    sort: str = ""
    kind: Kind = "text"
    link: bool = False
    value: Callable[[Any], Any] | None = None
    export: bool | Callable[[Any], Any] = True
    phone: bool = True
    template: str = ""
    colours: Mapping[Any, str] = field(default_factory=dict)
    closed: Callable[[Any], bool] | None = None
    unit: Text = ""

    def raw(self, row: Any) -> Any:
        return self.value(row) if self.value else follow(row, self.key)

    def shown(self, row: Any) -> Any:
        return self.value(row) if self.value else shown(row, self.key)

    def exported(self, row: Any) -> Any:
        """The cell of an export: str, int, float, Decimal, date, datetime (aware), bool or None."""
        if callable(self.export):
            return self.export(row)
        return _plain(self.shown(row))

    def exporter(self, model: type[Model]) -> Callable[[Any], Any]:
        """As ``exported``, prepared once for many rows: an export of 720,000 rows asks it millions of times."""
        if callable(self.export):
            return self.export
        if self.value is not None:
            value = self.value
            return lambda row: _plain(value(row))
        words = _words_of(model, self.key)
        read = attrgetter(self.key)

        def cell(row: Any) -> Any:
            try:
                found = read(row)
            except AttributeError:
                found = follow(row, self.key)
            if callable(found):
                found = found()
            return _plain(words.get(found, found) if words else found)

        return cell


PLAIN = frozenset({str, int, float, Decimal, date, datetime, bool, type(None)})


def _plain(value: Any) -> Any:
    return value if type(value) in PLAIN else str(value)


def _words_of(model: type[Model], path: str) -> dict[Any, str]:
    """The words for the values of the field at a dotted path; {} where it has no choices, or is no field."""
    *steps, leaf = path.split(".")
    for step in steps:
        related = getattr(model._meta.get_field(step), "related_model", None) if _is_field(model, step) else None
        if related is None:
            return {}
        model = related
    if not _is_field(model, leaf):
        return {}
    return {value: str(label) for value, label in getattr(model._meta.get_field(leaf), "flatchoices", ())}


def _is_field(model: type[Model], name: str) -> bool:
    return any(field.name == name for field in model._meta.get_fields())


@dataclass(frozen=True)
class Cell:
    """A column's value on one row, for the template."""

    column: Column
    row: Any

    @property
    def value(self) -> Any:
        return self.column.shown(self.row)

    @property
    def raw(self) -> Any:
        return self.column.raw(self.row)

    @property
    def empty(self) -> bool:
        return self.value is None or self.value == ""

    @property
    def colour(self) -> str:
        return self.column.colours.get(self.raw, "grey")

    @property
    def closed(self) -> bool:
        return bool(self.column.closed and self.column.closed(self.row))


def as_text(value: Any) -> str:
    """A value as an export writes it in text: local time, yes and no in words, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, datetime):
        local = timezone.localtime(value) if timezone.is_aware(value) else value
        return local.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.isoformat()
    return str(value)
