"""Back-tests over the API: the same services and scopes as the pages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from zhenan.domains.backtest import services
from zhenan.domains.backtest.models import Trial
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division

router = Router()
prefix = "/backtests"


class Problem(Schema):
    """What was wrong: a stable code and a sentence."""

    code: str
    detail: str


class Ask(Schema):
    """``rule``: a rule's code, ``family:`` and a family's, or ``fence:`` and a fence's number or name.

    ``changed``: of a rule its parameters as tried, as a pack writes them (kind included); of a family the same by
    rule; of a fence those of its terms that differ; empty for what stands alone. Of fences, ``standing_as`` is "was"
    (each trip by the version of its time), a version ("v2"), or empty for the one in force; ``changed_as`` a version
    to compare with, instead of ``changed``.
    """

    rule: str = Field(max_length=120)
    changed: dict[str, Any] = {}
    standing_as: str = Field("", max_length=12, pattern=r"^(was|v[1-9][0-9]{0,8})?$")
    changed_as: str = Field("", max_length=12, pattern=r"^(v[1-9][0-9]{0,8})?$")
    division: str = Field("", max_length=20, description="a division's code; empty for all that the caller may see")
    since: datetime
    until: datetime


class TrialOut(Schema):
    """``summary.versions``: by version (standing, changed) the figures that the page shows."""

    id: int
    rule: str
    standing: dict[str, Any]
    changed: dict[str, Any]
    standing_as: str
    changed_as: str
    since: datetime
    until: datetime
    state: str
    points: int
    tasks: int
    tasks_done: int
    summary: dict[str, Any]
    error: str


def _user(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User) or not user.can("rule.test"):
        raise HttpError(403, "rule.test is needed")
    return user


def _aware(moment: datetime) -> datetime:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


@router.post("", response={201: TrialOut, 409: Problem})
def ask(request: HttpRequest, asked: Ask) -> Any:
    """Ask for a back-test; the worker does it. 409 with the reason when it cannot be made."""
    user = _user(request)
    division = get_object_or_404(Division, code=asked.division) if asked.division else None
    try:
        trial = services.begin(
            rule=asked.rule, changed=asked.changed, division=division, since=_aware(asked.since),
            until=_aware(asked.until), by=user, at=timezone.now(), standing_as=asked.standing_as,
            changed_as=asked.changed_as,
        )  # fmt: skip
    except DomainError as err:
        return 409, {"code": err.code, "detail": str(err)}
    return 201, trial


@router.get("", response=list[TrialOut])
def list_trials(request: HttpRequest, limit: int = Query(50, ge=1, le=500)) -> Any:
    """Back-tests that the caller may see, the newest first."""
    return Trial.objects.visible_to(_user(request)).order_by("-at", "-pk")[:limit]


@router.get("/{trial_id}", response=TrialOut)
def get_trial(request: HttpRequest, trial_id: int) -> Any:
    if not 0 < trial_id < 2**63:
        raise HttpError(404, "no such back-test")
    return get_object_or_404(Trial.objects.visible_to(_user(request)), pk=trial_id)
