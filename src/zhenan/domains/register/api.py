"""The register over the API: the same services, scopes and checks as the pages."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import quote_etag
from ninja import Query, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import Field

from zhenan.domains.register import services
from zhenan.domains.register.attributes import type_label
from zhenan.domains.register.models import Subject
from zhenan.domains.register.services import BadSubject
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division

router = Router()
prefix = "/subjects"
TEXT = r"^[^\x00]*$"


class SubjectOut(Schema):
    """A subject. ``attributes``: as its type's fields say; ``updated_at`` is also its version (ETag)."""

    id: int
    type: str
    type_label: str
    programme: str
    key: str
    name: str
    status: str
    credit_code: str
    division: str
    division_name: str
    address: str
    lon: float | None
    lat: float | None
    owner_id: int | None
    contact: str
    phone: str
    attributes: dict[str, Any]
    updated_at: datetime


class SubjectsOut(Schema):
    """A page of subjects by name; ``next`` is the cursor of the next page, null on the last."""

    items: list[SubjectOut]
    next: str | None


class SubjectProblem(Schema):
    """Why nothing was changed; ``errors``: a text for each field at fault."""

    code: str
    detail: str
    errors: dict[str, str] = {}


class SubjectFilter(Schema):
    q: str = Field(
        "", max_length=100, pattern=TEXT, description="words of name, address, identity, credit code, initials"
    )
    type: str = Field("", max_length=120, pattern=TEXT)
    division: str = Field("", max_length=20, pattern=TEXT, description="code; everything below it too")
    status: str = Field("", max_length=10, pattern=TEXT)
    cursor: str = Field("", max_length=1000, pattern=TEXT)
    limit: int = Field(100, ge=1, le=1000)


class SubjectChange(Schema):
    """Fields to be set; those left out stay. ``attributes``: null takes one away."""

    name: str | None = Field(None, max_length=200, pattern=TEXT)
    credit_code: str | None = Field(None, max_length=40, pattern=TEXT)
    division: str | None = Field(None, max_length=20, pattern=TEXT)
    address: str | None = Field(None, max_length=300, pattern=TEXT)
    lon: float | None = Field(None, ge=-180, le=180)
    lat: float | None = Field(None, ge=-90, le=90)
    contact: str | None = Field(None, max_length=100, pattern=TEXT)
    phone: str | None = Field(None, max_length=40, pattern=TEXT)
    attributes: dict[str, str | int | float | bool | None] = Field(default_factory=dict, max_length=200)


class SubjectIn(SubjectChange):
    type: str = Field(max_length=120, pattern=TEXT)
    name: str = Field(max_length=200, min_length=1, pattern=TEXT)
    division: str = Field(max_length=20, pattern=TEXT)
    key: str = Field("", max_length=80, pattern=TEXT)


def _user(request: HttpRequest, capability: str) -> User:
    user = request.user
    if not isinstance(user, User) or not user.can(capability):
        raise HttpError(403, f"{capability} is needed")
    return user


def _out(row: Subject) -> SubjectOut:
    same = {name: getattr(row, name) for name in SubjectOut.model_fields if hasattr(row, name) and name != "division"}
    return SubjectOut(
        **same, type_label=type_label(row.type), division=row.division.code, division_name=row.division.name
    )


def etag_of(row: Subject) -> str:
    return quote_etag(f"{row.pk}-{row.updated_at.timestamp():.6f}")


def _problem(err: DomainError) -> Status[SubjectProblem]:
    status = (
        403 if isinstance(err, NotAllowed | services.Outside) else 409 if isinstance(err, services.Changed) else 422
    )
    errors = err.errors if isinstance(err, BadSubject) else {}
    return Status(status, SubjectProblem(code=err.code, detail=str(err), errors=errors))


@router.get("/", response=SubjectsOut)
def list_subjects(request: HttpRequest, wanted: Query[SubjectFilter]) -> SubjectsOut:
    """Subjects that one may see, by name, a page at a time."""
    rows = Subject.objects.visible_to(_user(request, "subject.view")).select_related("division")
    for word in wanted.q.split():
        found = Q()
        for field in ("name", "address", "key", "credit_code", "initials"):
            found |= Q(**{f"{field}__ilike": word})
        rows = rows.filter(found)
    if wanted.type:
        rows = rows.filter(type=wanted.type)
    if wanted.status:
        rows = rows.filter(status=wanted.status)
    if wanted.division:
        place = Division.objects.filter(code=wanted.division).first()
        if place is None:
            raise HttpError(422, f"no division has the code {wanted.division!r}")
        rows = rows.filter(division__path__startswith=place.path)
    if wanted.cursor:
        name, pk = _read_cursor(wanted.cursor)
        rows = rows.filter(Q(name__gte=name) & (Q(name__gt=name) | Q(pk__gt=pk)))
    page = list(rows.order_by("name", "pk")[: wanted.limit + 1])
    more = len(page) > wanted.limit
    page = page[: wanted.limit]
    return SubjectsOut(items=[_out(row) for row in page], next=_cursor(page[-1]) if more else None)


def _cursor(row: Subject) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.name, row.pk]).encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[str, int]:
    try:
        name, pk = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(name, str) and "\x00" not in name and isinstance(pk, int) and 0 <= pk < 2**63:
            name.encode()
            return name, pk
    except (ValueError, TypeError, UnicodeError, binascii.Error, RecursionError):
        pass
    raise HttpError(422, "the cursor cannot be read; start without one")


def _found(request: HttpRequest, pk: int, capability: str) -> Subject:
    rows = Subject.objects.visible_to(_user(request, capability), capability).select_related("division")
    row = rows.filter(pk=pk).first() if 0 < pk < 2**63 else None
    if row is None:
        raise HttpError(404, "no such subject")
    return row


@router.get("/{int:pk}", response={200: SubjectOut, 304: None})
def read_subject(request: HttpRequest, response: HttpResponse, pk: int) -> Any:
    """One subject. If-None-Match with its ETag answers 304 while it is unchanged."""
    row = _found(request, pk, "subject.view")
    response["ETag"] = etag_of(row)
    if request.headers.get("If-None-Match") == etag_of(row):
        return Status(304, None)
    return _out(row)


@router.post("/", response={201: SubjectOut, 403: SubjectProblem, 409: SubjectProblem, 422: SubjectProblem})
def create_subject(request: HttpRequest, data: SubjectIn) -> Any:
    """Add a subject."""
    user = _user(request, "subject.edit")
    try:
        given = _given(data)
        division = given.pop("division")
        row = services.create_subject(
            actor=user, at=timezone.now(), type=data.type, key=data.key, division=division, source="api", **given
        )
    except DomainError as err:
        return _problem(err)
    return Status(201, _out(row))


@router.patch("/{int:pk}", response={200: SubjectOut, 403: SubjectProblem, 409: SubjectProblem, 422: SubjectProblem})
def change_subject(request: HttpRequest, response: HttpResponse, pk: int, data: SubjectChange) -> Any:
    """Change a subject. With If-Match, someone else's change since then answers 409."""
    row = _found(request, pk, "subject.edit")
    matched = request.headers.get("If-Match")
    try:
        if matched and matched != etag_of(row):
            raise services.Changed(name=row.name)
        seen = row.updated_at if matched else None
        row = services.update_subject(pk, actor=request.user, at=timezone.now(), changes=_given(data), seen=seen)  # type: ignore[arg-type]
    except DomainError as err:
        return _problem(err)
    response["ETag"] = etag_of(row)
    return _out(row)


def _given(data: SubjectChange) -> dict[str, Any]:
    """What the request sets, the division looked up. A null clears lon and lat, and is an empty text elsewhere."""
    given = data.model_dump(exclude_unset=True, exclude={"type", "key"})
    for name in ("credit_code", "address", "contact", "phone", "name"):
        if name in given and given[name] is None:
            given[name] = ""
    if "division" in given:
        place = Division.objects.filter(code=given["division"] or "").first()
        if place is None:
            raise BadSubject({"division": f"no division has the code {given['division']!r}"})
        given["division"] = place
    return given
