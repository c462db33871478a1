"""Changes of responsibility: signing, handing over, ending; visits and what happens when one is missed.

Other rooms register in ``HANDOVERS`` what must change its owner when a contract changes hands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import IntegrityError, transaction
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import timezone

from zhenan.domains.duty import queries
from zhenan.domains.duty.errors import (
    AlreadyEnded,
    BadPeriod,
    HasVisits,
    InTheFuture,
    LevelTaken,
    NobodyInPost,
    NoProof,
    NotInForce,
    NotTheirVisit,
    PersonGone,
    SamePerson,
    SeveralInPost,
    UnknownLevel,
)
from zhenan.domains.duty.models import Contract, Visit, level_label
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import require
from zhenan.kernel.events import services as events
from zhenan.kernel.events.models import key_of
from zhenan.kernel.evidence import services as evidence
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow import calendar
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import close_deadline, open_deadline
from zhenan.packkit.vocabulary import vocabulary

VISIT = "duty.visit"
EARLY = timedelta(minutes=5)  # how far a phone's clock may be ahead
# room's label → (subject, leaver, successor, at): give the leaver's open work on the subject to the successor.
HANDOVERS: dict[str, Callable[[Subject, User, User, datetime], int]] = {}


def sign_contract(
    *,
    subject: Subject,
    level: str,
    person: User,
    begins_on: date,
    by: User | None,
    at: datetime,
    ends_on: date | None = None,
    visit_every_days: int | None = None,
    source: str = "",
    follows: Contract | None = None,
) -> Contract:
    """Make a person responsible for a subject at a level, from a day (included) to a day (excluded, None: open).

    ``visit_every_days`` None takes what the packs ask of the level; 0 means no visits.
    Raises LevelTaken where someone holds a day of the period, BadPeriod, UnknownLevel, PersonGone, NotAllowed.
    """
    require(by, "contract.edit", subject)
    contract = new_contract(
        subject=subject, level=level, person=person, begins_on=begins_on, ends_on=ends_on,
        visit_every_days=visit_every_days, source=source, follows=follows, by=by, at=at,
    )  # fmt: skip
    with transaction.atomic():
        try:
            with transaction.atomic():
                contract.save(force_insert=True)
        except IntegrityError as err:
            if "contract_one_person_per_subject_and_level" not in str(err):
                raise
            raise taken(contract) from err
        _begin_visits(contract)
        tell_of(contract, "duty.signed", by, at)
    return contract


def new_contract(
    *,
    subject: Subject,
    level: str,
    person: User,
    begins_on: date,
    ends_on: date | None,
    visit_every_days: int | None,
    by: User | None,
    at: datetime,
    source: str = "",
    follows: Contract | None = None,
) -> Contract:
    """A checked contract that is not stored yet. Raises what ``sign_contract`` raises, but for LevelTaken."""
    if level not in vocabulary().contract_levels:
        raise UnknownLevel(level=level, known=", ".join(vocabulary().contract_levels))
    if not person.is_active:
        raise PersonGone(person=person)
    if ends_on is not None and ends_on <= begins_on:
        raise BadPeriod(begins=begins_on, ends=ends_on)
    if visit_every_days is None:
        required = queries.required_levels(subject.type).get(level)
        visit_every_days = required.visit_every_days if required else None
    return Contract(
        subject=subject, level=level, person=person, period=DateRange(begins_on, ends_on, "[)"),
        visit_every_days=visit_every_days or None, source=source, follows=follows, signed_by=by, signed_at=at,
    )  # fmt: skip


def taken(wanted: Contract) -> LevelTaken:
    """Names the contract that stands in the way."""
    holder = (
        Contract.objects.filter(subject=wanted.subject, level=wanted.level, period__overlap=wanted.period)
        .exclude(pk=wanted.pk)
        .select_related("person")
        .first()
    )
    return LevelTaken(
        person=holder.person if holder else "?",
        subject=wanted.subject,
        level=level_label(wanted.level),
        begins=holder.begins_on if holder else "?",
        ends=(holder.ends_on or "…") if holder else "?",
    )


def end_contract(pk: int, *, ends_on: date, reason: str, by: User | None, at: datetime) -> Contract:
    """End a contract: ``ends_on`` is the first day on which it no longer holds. Raises BadPeriod, AlreadyEnded."""
    with transaction.atomic():
        contract = _locked(pk, by)
        _cut(contract, ends_on, reason, by, at)
        tell_of(contract, "duty.ended", by, at, reason=reason)
    return contract


def withdraw_contract(pk: int, *, reason: str, by: User | None, at: datetime) -> None:
    """Take back a contract signed by mistake, as long as nothing was done under it. Its history is kept."""
    with transaction.atomic():
        contract = _locked(pk, by)
        visits = contract.visits.count()
        if visits:
            raise HasVisits(count=visits)
        close_deadline(contract, kind=VISIT, at=at, met=None)
        tell_of(contract, "duty.withdrawn", by, at, reason=reason)
        contract.delete()


def hand_over(pk: int, *, to: User, on: date, by: User | None, at: datetime, reason: str = "") -> Contract:
    """End one person's contract and begin another's on the same day, with the leaver's open work; all or nothing."""
    with transaction.atomic():
        old = _locked(pk, by)
        if old.person_id == to.pk:
            raise SamePerson(person=to)
        ends_on = old.ends_on
        _cut(old, on, reason, by, at)
        fresh = sign_contract(
            subject=old.subject, level=old.level, person=to, begins_on=on, ends_on=ends_on, by=by, at=at,
            visit_every_days=old.visit_every_days or 0, source=old.source, follows=old,
        )  # fmt: skip
        moved = _reown(fresh, at) if on <= timezone.localdate(at) else 0
        tell_of(fresh, "duty.handed_over", by, at, leaver=str(old.person), moved=moved, reason=reason)
    return fresh


def hand_over_all(
    *, leaver: User, to: User, on: date, by: User | None, at: datetime, reason: str = ""
) -> list[Contract]:
    """Give a person's whole load to another: the contracts that ``by`` may change and that hold on the day."""
    contracts = Contract.objects.filter(person=leaver).in_force(on)
    if by is not None:
        contracts = contracts.visible_to(by, "contract.edit")
    with transaction.atomic():
        return [
            hand_over(pk, to=to, on=on, by=by, at=at, reason=reason) for pk in contracts.values_list("pk", flat=True)
        ]


def sign_by_post(subject: Subject, level: str, *, by: User | None, at: datetime) -> Contract:
    """Make the one person in post responsible. Raises NobodyInPost, SeveralInPost."""
    people = queries.in_post(subject, level, timezone.localdate(at))
    if not people:
        raise NobodyInPost(subject=subject, level=level_label(level))
    if len(people) > 1:
        names = ", ".join(str(person) for person in people[:5])
        raise SeveralInPost(count=len(people), subject=subject, level=level_label(level), people=names)
    return sign_contract(
        subject=subject, level=level, person=people[0], begins_on=timezone.localdate(at), by=by, at=at, source="post"
    )


def record_visit(
    pk: int,
    *,
    by: User | None,
    at: datetime,
    made_at: datetime | None = None,
    lon: float | None = None,
    lat: float | None = None,
    note: str = "",
    photos: Sequence[UploadedFile] = (),
    visit_id: UUID | None = None,
) -> Visit:
    """A visit of the responsible person, proved by place or photo; the next one falls due a cadence later.

    ``visit_id`` made by the phone: sent twice, it is recorded once. ``lon``, ``lat``: WGS-84 degrees.
    Raises NotTheirVisit, NoProof, NotInForce, InTheFuture.
    """
    made_at = made_at or at
    with transaction.atomic():
        contract = (
            Contract.objects.select_for_update(of=("self",)).select_related("subject__division", "person").get(pk=pk)
        )
        known = Visit.objects.filter(pk=visit_id, contract=contract).first() if visit_id else None
        if known is not None:
            return known
        _check_visit(contract, by, made_at, at, proved=bool(photos) or (lon is not None and lat is not None))
        due = Deadline.objects.open().filter(target=key_of(contract), kind=VISIT).first()
        visit = Visit(contract=contract, person=by or contract.person, made_at=made_at, note=note,
                      due_at=due.due_at if due else None)  # fmt: skip
        if visit_id:
            visit.id = visit_id
        spot = _spot(contract.subject)
        if lon is not None and lat is not None:
            visit.lon, visit.lat = lon, lat
            visit.distance_m = evidence.distance_m((lon, lat), spot) if spot else None
        visit.save(force_insert=True)
        for photo in photos:
            evidence.store(photo, target=visit, purpose="visit", actor=by, at=at, lon=lon, lat=lat, near=spot)
        if contract.last_visit_at is None or made_at > contract.last_visit_at:
            contract.last_visit_at = made_at
            contract.save(update_fields=["last_visit_at"])
            close_deadline(contract, kind=VISIT, at=made_at)
            _begin_visits(contract, after=made_at)
        tell_of(contract, "duty.visited", by, at, note=note, **_distance(visit))
    return visit


def daily(at: datetime) -> int:
    """What the calendar does to contracts: the clock of an ended one stops, work goes over on its day.

    Returns how many contracts were touched; safe to run again.
    """
    today, touched = timezone.localdate(at), 0
    ended = Contract.objects.filter(period__endswith__lte=today, visit_every_days__isnull=False)
    keys = [f"duty.contract:{pk}" for pk in ended.values_list("pk", flat=True)]
    for deadline in Deadline.objects.open().filter(kind=VISIT, target__in=keys):
        touched += close_deadline(deadline.target, kind=VISIT, at=at, met=None)
    begun = Contract.objects.filter(follows__isnull=False, period__startswith__range=(today - timedelta(days=7), today))
    for contract in begun.select_related("subject__division", "person", "follows__person"):
        with transaction.atomic():
            touched += bool(_reown(contract, at))
    return touched


def _locked(pk: int, by: User | None) -> Contract:
    contract = Contract.objects.select_for_update(of=("self",)).select_related("subject__division", "person").get(pk=pk)
    require(by, "contract.edit", contract)
    return contract


def _cut(contract: Contract, ends_on: date, reason: str, by: User | None, at: datetime) -> None:
    if contract.ends_on is not None and contract.ends_on <= ends_on:
        raise AlreadyEnded(day=contract.ends_on)
    if ends_on <= contract.begins_on:
        raise BadPeriod(begins=contract.begins_on, ends=ends_on)
    contract.period = DateRange(contract.begins_on, ends_on, "[)")
    contract.ended_by, contract.ended_at, contract.end_reason = by, at, reason
    contract.save(update_fields=["period", "ended_by", "ended_at", "end_reason"])
    if ends_on <= timezone.localdate(at):
        close_deadline(contract, kind=VISIT, at=at, met=None)


def visit_due(contract: Contract, after: datetime) -> datetime | None:
    """When the next visit falls due; None when none does before the contract ends."""
    if not contract.visit_every_days:
        return None
    due = calendar.due_at(after, contract.visit_every_days)
    return due if contract.holds_on(timezone.localdate(due)) else None


def first_day(contract: Contract) -> datetime:
    """When its clock starts: when it was signed, or at the first second of its first day where that comes later."""
    begins = timezone.make_aware(datetime.combine(contract.begins_on, time.min), timezone.get_default_timezone())
    return max(contract.signed_at, begins)


def _begin_visits(contract: Contract, after: datetime | None = None) -> None:
    start = after or first_day(contract)
    due = visit_due(contract, start)
    if due is not None:
        open_deadline(contract, kind=VISIT, due_at=due, at=start, owner=contract.person, **contract.place)


def _reown(contract: Contract, at: datetime) -> int:
    old = contract.follows
    if old is None:
        return 0
    return sum(move(contract.subject, old.person, contract.person, at) for move in HANDOVERS.values())


def _check_visit(contract: Contract, by: User | None, made_at: datetime, at: datetime, *, proved: bool) -> None:
    if by is not None and by.pk != contract.person_id:
        raise NotTheirVisit(person=contract.person)
    if made_at > at + EARLY:
        raise InTheFuture(made_at=timezone.localtime(made_at), now=timezone.localtime(at))
    day = timezone.localdate(made_at)
    if not contract.holds_on(day):
        raise NotInForce(person=contract.person, subject=contract.subject, day=day)
    if by is not None and not proved:
        raise NoProof()


def _spot(subject: Subject) -> tuple[float, float] | None:
    return (subject.lon, subject.lat) if subject.lon is not None and subject.lat is not None else None


def _distance(visit: Visit) -> dict[str, Any]:
    return {} if visit.distance_m is None else {"distance_m": round(visit.distance_m)}


def tell_of(contract: Contract, kind: str, by: User | None, at: datetime, **data: Any) -> None:
    events.record(
        kind,
        targets=[contract, contract.subject],
        actor=by,
        at=at,
        data={"person": str(contract.person), "level": contract.level, "subject": str(contract.subject), **data},
        **contract.place,
    )
