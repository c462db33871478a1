"""Bulk actions: chosen rows, a page that asks once more, then row by row with the result of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction
from django.forms import Form

from zhenan.kernel.errors import DomainError

Text = Any  # str or a lazy translation
AT_MOST = 1000


@dataclass(frozen=True)
class BulkAction:
    """Something done to many rows at once.

    Args:
        code: its name in the form.
        label: the button.
        do: ``do(row, actor, data)`` changes one row by its service and returns a short result ("" is fine);
            a DomainError is shown beside the row and changes nothing. ``data``: the form's cleaned data.
        capability: who may ("" everyone who sees the list).
        form: asks for more on the confirmation page.
        confirm: the question on that page.
        danger: red button.
    """

    code: str
    label: Text
    do: Callable[[Any, Any, dict[str, Any]], Text]
    capability: str = ""
    form: type[Form] | None = None
    confirm: Text = ""
    danger: bool = False
    icon: str = "checks"


@dataclass(frozen=True)
class RowResult:
    """What became of one row."""

    row: Any
    done: bool
    text: str


def run(action: BulkAction, rows: Iterable[models.Model], actor: Any, data: dict[str, Any]) -> list[RowResult]:
    """Do it to each row, each in its own transaction: one refused row leaves the others done."""
    results = []
    for row in rows:
        try:
            with transaction.atomic():
                results.append(RowResult(row, True, str(action.do(row, actor, data) or "")))
        except DomainError as err:
            results.append(RowResult(row, False, str(err)))
    return results
