"""Filters of a list page. A value that cannot be read gives a message beside its filter and filters nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any

from django.apps import apps
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _

Text = Any  # str or a lazy translation
Choice = tuple[str, Text]
MAX_LENGTH = 100


class FilterError(ValueError):
    """What was wrong with a filter's value, and what would be right: shown beside the filter."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A filter. ``name``: its key in the address; ``field``: ORM path (``name`` when empty)."""

    name: str
    label: Text
    field: str = ""
    widget: str = "text"

    @property
    def path(self) -> str:
        return self.field or self.name

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the query string that belong to this filter."""
        return (self.name,)

    def bind(self, request: HttpRequest) -> BoundFilter:
        raw = {key: _clean(request.GET.get(key, "")) for key in self.keys}
        bound = BoundFilter(self, raw, request)
        try:
            if any("\x00" in text or len(text) > MAX_LENGTH for text in raw.values()):
                raise FilterError(_("Unreadable value; at most %(n)s characters.") % {"n": MAX_LENGTH})
            bound.condition = self.condition(raw, request) if any(raw.values()) else None
        except FilterError as err:
            bound.error = str(err)
        return bound

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        """The rows to keep. Raises FilterError."""
        raise NotImplementedError

    def choices_for(self, request: HttpRequest) -> list[Choice]:
        return []


@dataclass
class BoundFilter:
    """A filter with what this request says about it."""

    filter: Filter
    raw: dict[str, str]
    request: HttpRequest
    condition: Q | None = None
    error: str = ""
    _choices: list[Choice] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return self.filter.name

    @property
    def label(self) -> Text:
        return self.filter.label

    @property
    def widget(self) -> str:
        return self.filter.widget

    @property
    def value(self) -> str:
        return self.raw.get(self.filter.name, "")

    @property
    def since(self) -> str:
        return self.raw.get(f"{self.filter.name}_from", "")

    @property
    def until(self) -> str:
        return self.raw.get(f"{self.filter.name}_to", "")

    @property
    def given(self) -> bool:
        return any(self.raw.values())

    @property
    def choices(self) -> list[Choice]:
        if self._choices is None:
            self._choices = self.filter.choices_for(self.request)
        return self._choices


@dataclass(frozen=True, kw_only=True)
class ChoiceFilter(Filter):
    """One of a list of values. ``choices``: (value, label) pairs, or a function of the request that gives them.

    ``where`` gives the rows of a value where they are more than "field equals value". It must not join to many rows:
    use a sub-select, lest a row be listed twice.
    """

    choices: Iterable[Choice] | Callable[[HttpRequest], Iterable[Choice]] = ()
    where: Callable[[str], Q] | None = None
    widget: str = "select"

    def choices_for(self, request: HttpRequest) -> list[Choice]:
        given = self.choices(request) if callable(self.choices) else self.choices
        return [(str(value), label) for value, label in given]

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        value = raw[self.name]
        known = [code for code, _label in self.choices_for(request)]
        if value not in known:
            raise FilterError(_("“%(came)s” is not one of the choices.") % {"came": value[:40]})
        return self.where(value) if self.where else Q(**{self.path: value})


@dataclass(frozen=True, kw_only=True)
class BooleanFilter(Filter):
    """Yes or no. ``when``: the rows that "yes" keeps ("no" keeps the others); else the boolean ``field``."""

    when: Q | Callable[[], Q] | None = None
    widget: str = "select"

    def choices_for(self, request: HttpRequest) -> list[Choice]:
        return [("1", _("yes")), ("0", _("no"))]

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        value = raw[self.name]
        if value not in ("1", "0"):
            raise FilterError(_("“%(came)s” is neither 1 (yes) nor 0 (no).") % {"came": value[:40]})
        kept = self.when() if callable(self.when) else self.when
        if kept is None:
            kept = Q(**{self.path: True})
        return kept if value == "1" else ~kept


@dataclass(frozen=True, kw_only=True)
class TextFilter(Filter):
    """Rows whose field contains the text (or meets another look-up)."""

    lookup: str = "ilike"

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        return Q(**{f"{self.path}__{self.lookup}": raw[self.name]})


@dataclass(frozen=True, kw_only=True)
class DateRangeFilter(Filter):
    """From one day to another, both included, as local days. ``timed``: the field is a datetime, not a date."""

    timed: bool = True
    widget: str = "dates"

    @property
    def keys(self) -> tuple[str, ...]:
        return (f"{self.name}_from", f"{self.name}_to")

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        first, last = (_day(raw[key]) for key in self.keys)
        if first and last and first > last:
            raise FilterError(_("The first day is after the last."))
        kept = Q()
        if first:
            kept &= Q(**{f"{self.path}__gte": _midnight(first) if self.timed else first})
        if last:
            kept &= Q(
                **{f"{self.path}__lt": _midnight(last + timedelta(days=1)) if self.timed else last + timedelta(days=1)}
            )
        return kept


@dataclass(frozen=True, kw_only=True)
class DivisionFilter(Filter):
    """Everything in a division and below it: choices down to the town. ``field``: path to the division's foreign key.

    A list of many thousands of rows wants its own text column of the division's path: name it with ``path_field``.
    """

    path_field: str = ""
    widget: str = "division"

    def choices_for(self, request: HttpRequest) -> list[Choice]:
        return [(code, label) for code, label, _path in _divisions(request)]

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q | None:
        for code, _label, path in _divisions(request):
            if code == raw[self.name]:
                return Q(**{f"{self.path_field or self.path + '__path'}__startswith": path})
        raise FilterError(_("No division has the code “%(came)s”.") % {"came": raw[self.name][:40]})


def _divisions(request: HttpRequest) -> list[tuple[str, str, str]]:
    """(code, indented name, path) of the city's divisions down to the town, those below the user's posts alone.

    Read once a request; the list of a city is under a hundred rows.
    """
    kept: list[tuple[str, str, str]] | None = getattr(request, "_list_divisions", None)
    if kept is None:
        model = apps.get_model("territory", "Division")
        rows = model._default_manager.filter(level__in=["city", "county", "town"], active=True).order_by("path")
        paths = [post.division.path for post in getattr(request.user, "current_posts", [])]
        depth = {"city": 0, "county": 1, "town": 2}
        kept = [
            (code, f"{'　' * depth[level]}{name}", path)
            for code, name, level, path in rows.values_list("code", "name", "level", "path")
            if not paths or any(path.startswith(own) or own.startswith(path) for own in paths)
        ]
        request._list_divisions = kept  # type: ignore[attr-defined]
    return kept


def _clean(raw: str) -> str:
    return raw.strip()


def _day(raw: str) -> date | None:
    if not raw:
        return None
    try:
        day = date.fromisoformat(raw)
    except ValueError as err:
        raise FilterError(_("“%(came)s” is not a day; write 2025-03-31.") % {"came": raw[:40]}) from err
    if not 1900 <= day.year <= 2200:
        raise FilterError(_("“%(came)s” is not a day between 1900 and 2200.") % {"came": raw[:40]})
    return day


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
