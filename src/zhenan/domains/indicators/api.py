"""Figures over the API."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import Query, Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from zhenan.domains.indicators.compile import indicator_of
from zhenan.domains.indicators.queries import Figure, Question, all_figures, by_division, by_month, figure
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division

router = Router()
prefix = "/indicators"


class FigureOut(Schema):
    """``value`` is null where there is nothing to count over. ``met``: whether the target is reached."""

    code: str
    figure: str | None
    name: dict[str, str]
    unit: str
    value: float | None
    met: bool | None
    records: int


class Asked(Schema):
    as_of: date | None = None
    since: date | None = None
    until: date | None = None
    division: str = Field("", max_length=20, description="a division's code, such as 321181")


class Part(Schema):
    key: str
    name: str
    value: float | None
    records: int


class Detail(FigureOut):
    by_division: list[Part]
    by_month: list[Part]


def _question(request: HttpRequest, asked: Asked) -> Question:
    user = request.user
    if not isinstance(user, User) or not user.can("indicator.view"):
        raise HttpError(403, "indicator.view is needed")
    path = ""
    if asked.division:
        division = Division.objects.filter(code=asked.division).first()
        if division is None:
            raise HttpError(422, f"division: no division {asked.division!r}")
        path = division.path
    for name in ("as_of", "since", "until"):
        day = getattr(asked, name)
        if day is not None and not 1949 <= day.year <= 2999:
            raise HttpError(422, f"{name}: came {day}; want a day from 1949 to 2999")
    return Question(user, asked.as_of or timezone.localdate(), path=path, since=asked.since, until=asked.until)


def _out(found: Figure) -> dict[str, Any]:
    one = found.indicator
    return {
        "code": one.code,
        "figure": one.figure,
        "name": {"zh": one.name.label("zh-hans"), "en": one.name.label("en")},
        "unit": one.unit,
        "value": found.value,
        "met": found.met,
        "records": found.records,
    }


@router.get("", response=list[FigureOut])
def list_figures(request: HttpRequest, asked: Query[Asked]) -> Any:
    """Every figure, within the caller's reach."""
    return [_out(found) for found in all_figures(_question(request, asked))]


@router.get("/{code}", response=Detail)
def get_figure(request: HttpRequest, code: str, asked: Query[Asked]) -> Any:
    """One figure with its parts."""
    question = _question(request, asked)
    one = indicator_of(code)
    if one is None:
        raise HttpError(404, f"no indicator {code[:80]!r}")
    parts = [
        {"key": d.code, "name": d.name, "value": f.value, "records": f.records} for d, f in by_division(one, question)
    ]
    months = [
        {"key": m.isoformat()[:7], "name": m.isoformat()[:7], "value": f.value, "records": f.records}
        for m, f in by_month(one, question)
    ]
    return _out(figure(one, question)) | {"by_division": parts, "by_month": months}
