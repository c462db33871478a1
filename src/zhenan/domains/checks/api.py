"""Inspections over the API: what a phone sends when it is back online. A request may be repeated: ids are its own."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from django.utils import timezone
from ninja import Query, Router, Schema
from ninja.errors import HttpError
from pydantic import Field

from zhenan.domains.checks import services
from zhenan.domains.checks.models import Inspection
from zhenan.domains.register.models import Subject
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import UnknownCode

router = Router()
prefix = "/inspections"


class AnswerIn(Schema):
    item: str = Field(max_length=60)
    value: str = Field(max_length=4, description="pass, fail or na")
    note: str = Field("", max_length=1000)
    fixed_on_the_spot: bool = False


class InspectionIn(Schema):
    """``id``: a UUID made on the phone; sending the same inspection again changes nothing."""

    id: UUID
    subject_id: int = Field(ge=1, le=2**63 - 1)
    checklist: str = Field(max_length=120)
    kind: str = Field("routine", max_length=12)
    answers: list[AnswerIn] = Field(default_factory=list, max_length=500)
    submit: bool = False
    note: str = Field("", max_length=1000)
    lon: float | None = Field(None, ge=-180, le=180)
    lat: float | None = Field(None, ge=-90, le=90)


class InspectionOut(Schema):
    id: UUID
    subject_id: int
    checklist: str
    kind: str
    state: str
    started_at: datetime
    done_at: datetime | None
    failed_items: int
    score_ratio: float | None


class Problem(Schema):
    code: str
    detail: str


def _user(request: HttpRequest, capability: str) -> User:
    user = request.user
    if not isinstance(user, User) or not user.can(capability):
        raise HttpError(403, f"{capability} is needed")
    return user


@router.get("", response=list[InspectionOut])
def list_inspections(
    request: HttpRequest,
    subject_id: int | None = Query(None, ge=1, le=2**63 - 1),
    limit: int = Query(100, ge=1, le=1000),
) -> Any:
    """Inspections that the caller may see, the newest first."""
    rows = Inspection.objects.visible_to(_user(request, "inspection.view"))
    if subject_id:
        rows = rows.filter(subject_id=subject_id)
    return list(rows[:limit])


@router.get("/{inspection_id}", response=InspectionOut)
def get_inspection(request: HttpRequest, inspection_id: UUID) -> Any:
    return get_object_or_404(Inspection.objects.visible_to(_user(request, "inspection.view")), pk=inspection_id)


@router.post("", response={200: InspectionOut, 409: Problem, 422: Problem})
def send_inspection(request: HttpRequest, sent: InspectionIn) -> Any:
    """Begin or go on with an inspection: answers given, and submitted when ``submit`` is true."""
    user = _user(request, "inspection.do")
    subject = get_object_or_404(Subject.objects.visible_to(user), pk=sent.subject_id)
    if sent.kind not in Inspection.Kind.values:
        return 422, {"code": "inspection.kind", "detail": f"want one of {', '.join(Inspection.Kind.values)}"}
    at = timezone.now()
    try:
        one = services.start(
            subject=subject, checklist=sent.checklist, by=user, at=at, kind=sent.kind, inspection_id=sent.id
        )
        if one.state == Inspection.State.DONE:
            return one  # it came before
        for given in sent.answers:
            services.answer(
                one.pk,
                given.item,
                given.value,
                by=user,
                at=at,
                note=given.note,
                fixed_on_the_spot=given.fixed_on_the_spot,
            )
        if sent.submit:
            one = services.submit(one.pk, by=user, at=at, note=sent.note, lon=sent.lon, lat=sent.lat)
    except UnknownCode as err:
        return 422, {"code": "inspection.checklist", "detail": str(err)}
    except DomainError as err:
        return 409, {"code": err.code, "detail": str(err)}
    return one
