"""Hazards over the API: the same services, scopes and checks as the pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from ninja import File, Form, Query, Router, Schema, Status
from ninja.files import UploadedFile
from pydantic import AwareDatetime, Field

from zhenan.domains.hazards import services, steps
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.models.hazard import Severity, State
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division

router = Router()
TEXT = r"^[^\x00]*$"


class HazardOut(Schema):
    """A hazard. ``overdue``: past the due date and not accepted."""

    id: int
    number: str
    state: str
    severity: str
    title: str
    description: str
    subject_id: int
    subject_name: str
    division: str
    source: str
    source_key: str
    criterion_code: str
    legal_basis: str
    location: str
    lon: float | None
    lat: float | None
    found_at: datetime
    reported_at: datetime
    due_at: datetime | None
    accepted_at: datetime | None
    closed_at: datetime | None
    overdue: bool
    repeat: bool
    former_id: int | None
    fixed_on_the_spot: bool
    listed: bool
    rectifier: str | None


class HazardsOut(Schema):
    """A page of hazards, the newest first; ``next`` is the cursor of the next page, null on the last."""

    items: list[HazardOut]
    next: int | None


class StepOut(Schema):
    """A step of the loop: open to the caller, or why not."""

    action: str
    open: bool
    why_not: str


class HazardDetail(HazardOut):
    steps: list[StepOut]


class HazardProblem(Schema):
    """Why nothing was changed."""

    code: str
    detail: str


class HazardFilter(Schema):
    state: State | None = None
    severity: Severity | None = None
    source: str = Field("", max_length=20, pattern=TEXT)
    division: str = Field("", max_length=20, pattern=TEXT, description="code; everything below it too")
    overdue: bool | None = None
    subject_id: int | None = Field(None, ge=1, lt=2**63)
    cursor: int | None = Field(None, ge=1, lt=2**63, description="from ``next`` of the page before")
    limit: int = Field(100, ge=1, le=1000)


class HazardIn(Schema):
    """A find. (source, source_key) sent twice is one hazard."""

    subject_id: int = Field(ge=1, lt=2**63)
    source: str = Field(max_length=20, pattern=TEXT)
    source_key: str = Field("", max_length=120, pattern=TEXT)
    title: str = Field(min_length=1, max_length=200, pattern=TEXT)
    description: str = Field("", max_length=4000, pattern=TEXT)
    severity: Severity = Severity.GENERAL
    criterion_code: str = Field("", max_length=120, pattern=TEXT)
    criterion_text: str = Field("", max_length=2000, pattern=TEXT)
    legal_basis: str = Field("", max_length=400, pattern=TEXT)
    location: str = Field("", max_length=200, pattern=TEXT)
    lon: float | None = Field(None, ge=-180, le=180)
    lat: float | None = Field(None, ge=-90, le=90)
    found_at: AwareDatetime | None = None


class VerifyIn(Schema):
    accepted: bool
    note: str = Field("", max_length=4000, pattern=TEXT)
    experts: list[str] = Field(default_factory=list, max_length=20)


Answer = Status[Any]
PROBLEMS: dict[int, Any] = {403: HazardProblem, 404: HazardProblem, 422: HazardProblem}


def _user(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User):
        raise NotAllowed(actor=user, capability="hazard.view")
    return user


def _out(row: Hazard) -> dict[str, Any]:
    plain = {name: getattr(row, name) for name in HazardOut.model_fields if hasattr(row, name)}
    return plain | {
        "subject_name": row.subject.name, "division": row.subject.division.code, "overdue": row.is_overdue,
        "rectifier": row.rectifier.username if row.rectifier else None,
    }  # fmt: skip


def _detail(row: Hazard, user: User) -> dict[str, Any]:
    possible = [
        {"action": s.action.code, "open": s.open, "why_not": "" if s.error is None else str(s.error)}
        for s in steps.possible(row, user)
    ]
    return _out(row) | {"steps": possible}


def _rows(user: User) -> Any:
    return Hazard.objects.visible_to(user).select_related("subject__division", "rectifier", "department")


def _find(user: User, pk: int) -> Hazard | None:
    found: Hazard | None = _rows(user).filter(pk=pk).first() if 0 < pk < 2**63 else None
    return found


NOT_THERE: Answer = Status(404, {"code": "hazard.not_there", "detail": "no such hazard"})


def _problem(err: DomainError) -> Answer:
    return Status(403 if isinstance(err, NotAllowed) else 422, {"code": err.code, "detail": str(err)})


@router.get("/", response={200: HazardsOut, **PROBLEMS})
def list_hazards(request: HttpRequest, wanted: Query[HazardFilter]) -> Answer:
    """Hazards that one may see, the newest first, a page at a time."""
    user = _user(request)
    if not user.can("hazard.view"):
        return _problem(NotAllowed(actor=user, capability="hazard.view"))
    rows = _rows(user)
    for name in ("state", "severity", "source", "subject_id"):
        value = getattr(wanted, name)
        if value:
            rows = rows.filter(**{name: value})
    if wanted.overdue is not None:
        late = Hazard.objects.overdue(timezone.now()).values("pk")
        rows = rows.filter(pk__in=late) if wanted.overdue else rows.exclude(pk__in=late)
    if wanted.division:
        place = Division.objects.filter(code=wanted.division).first()
        if place is None:
            return Status(422, {"code": "division.unknown", "detail": f"no division has the code {wanted.division!r}"})
        rows = rows.filter(subject__division__path__startswith=place.path)
    if wanted.cursor is not None:
        rows = rows.filter(pk__lt=wanted.cursor)
    page = list(rows.order_by("-pk")[: wanted.limit + 1])
    more = len(page) > wanted.limit
    page = page[: wanted.limit]
    return Status(200, {"items": [_out(row) for row in page], "next": page[-1].pk if more else None})


@router.get("/{int:pk}", response={200: HazardDetail, **PROBLEMS})
def read_hazard(request: HttpRequest, pk: int) -> Answer:
    """One hazard, with the steps of the loop that its state allows."""
    user = _user(request)
    row = _find(user, pk)
    return NOT_THERE if row is None else Status(200, _detail(row, user))


@router.post("/", response={201: HazardDetail, **PROBLEMS})
def report(request: HttpRequest, data: HazardIn) -> Answer:
    """Report a find."""
    user = _user(request)
    subject = Subject.objects.visible_to(user, "hazard.report").filter(pk=data.subject_id).first()
    if subject is None:
        return Status(404, {"code": "subject.not_there", "detail": "no such subject"})
    given = data.dict(exclude={"subject_id", "severity"})
    if (given["lon"] is None) != (given["lat"] is None):
        return Status(422, {"code": "hazard.half_a_place", "detail": "give both lon and lat, or neither"})

    def do(at: datetime) -> int:
        found = services.report_hazard(subject=subject, severity=str(data.severity), by=user, at=at, **given)
        return int(found.pk)

    return _done(user, do, 201)


@router.post("/{int:pk}/rectification", response={200: HazardDetail, **PROBLEMS})
def submit(
    request: HttpRequest,
    pk: int,
    note: Form[str],
    after: File[list[UploadedFile]],
    before: File[list[UploadedFile]] = [],  # noqa: B006 - the framework reads the default
) -> Answer:
    """Submit a rectification with photos (multipart)."""
    user = _user(request)
    if _find(user, pk) is None:
        return NOT_THERE

    def do(at: datetime) -> int:
        services.submit_rectification(
            pk, note=note.replace("\x00", "")[:4000], before=before, after=after, by=user, at=at
        )
        return pk

    return _done(user, do, 200)


@router.post("/{int:pk}/verification", response={200: HazardDetail, **PROBLEMS})
def verify(request: HttpRequest, pk: int, data: VerifyIn) -> Answer:
    """Accept or reject a rectification."""
    user = _user(request)
    if _find(user, pk) is None:
        return NOT_THERE

    def do(at: datetime) -> int:
        if data.accepted:
            services.accept(pk, note=data.note, experts=data.experts, by=user, at=at)
        else:
            services.reject(pk, note=data.note, by=user, at=at)
        return pk

    return _done(user, do, 200)


def _done(user: User, do: Callable[[datetime], int], status: int) -> Answer:
    try:
        pk = do(timezone.now())
    except DomainError as err:
        return _problem(err)
    row = _find(user, pk)
    return NOT_THERE if row is None else Status(status, _detail(row, user))
