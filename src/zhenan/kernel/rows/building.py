"""Objects by the thousand: ``built(Alarm, point_id=7, ...)`` is ``Alarm(point_id=7, ...)`` at a tenth of its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.base import ModelState

M = TypeVar("M", bound=models.Model)


def built(model: type[M], related: Mapping[str, Any] | None = None, /, **values: Any) -> M:
    """A new object with these fields, by the names of their columns (``point_id``), the others as the model has them.

    ``related``: objects, or None, by the names of their foreign keys. Nothing is checked or converted and no signal is
    sent: the values must be of the fields' own types.
    """
    plain, made = _defaults(model)
    fresh = {name: default() for name, default in made if name not in values}
    return _filled(model, {**plain, **fresh, **values}, related or {}, adding=True)


def known(model: type[M], related: Mapping[str, Any] | None = None, /, **values: Any) -> M:
    """An object of which these fields were read, as ``only()`` gives it: another is read when it is asked for."""
    return _filled(model, values, related or {}, adding=False)


def _filled(model: type[M], values: dict[str, Any], related: Mapping[str, Any], *, adding: bool) -> M:
    row, state = model.__new__(model), ModelState()
    state.adding, state.fields_cache = adding, dict(related)
    if not adding:
        state.db = DEFAULT_DB_ALIAS
    for name, other in related.items():
        values[f"{name}_id"] = None if other is None else other.pk
    row.__dict__ = {"_state": state, **values}
    return row


@cache
def _defaults(model: type[models.Model]) -> tuple[dict[str, Any], list[tuple[str, Callable[[], Any]]]]:
    """(Defaults that all rows share, those that are made for each.)"""
    plain: dict[str, Any] = {}
    made: list[tuple[str, Callable[[], Any]]] = []
    for field in model._meta.concrete_fields:
        if callable(field.default) and field.has_default():
            made.append((field.attname, field.default))
        else:
            plain[field.attname] = field.get_default()
    return plain, made
