"""The round: rectifier, plan, submission, check; a rejection begins a new round with a clock of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards import base, clocks
from zhenan.domains.hazards.actions import current_round, guard, undecided
from zhenan.domains.hazards.errors import (
    NeedsElements,
    NeedsNote,
    NeedsPhotos,
    RectifierCannotSee,
    RectifierGone,
    SameOrganisation,
)
from zhenan.domains.hazards.models import Hazard, Round
from zhenan.domains.hazards.models.hazard import State
from zhenan.domains.hazards.reporting import keep_photos
from zhenan.kernel.events.models import key_of
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.people.models import User

GENERAL_ELEMENTS = ("plan_person", "measures")
MAJOR_ELEMENTS = ("plan_unit", "plan_person", "plan_post", "plan_phone", "measures", "interim_measures", "contingency")
PLAN_FIELDS = (*MAJOR_ELEMENTS, "funds_yuan", "funds_materials", "funds_reason")


def assign(
    pk: int, *, rectifier: User, by: User | None, at: datetime, verifier: User | None = None, due_on: date | None = None
) -> Hazard:
    """Name who rectifies, and tell them. A general hazard's clock starts now (``due_on``, else the usual period);
    a major one's starts with its plan. Raises RectifierGone, BadDueDate, WrongState, NotAllowed."""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("assign", hazard, by)
        _check_rectifier(rectifier)
        hazard.rectifier, hazard.rectifier_org = rectifier, base.organisation_of(rectifier)
        hazard.verifier = verifier or hazard.verifier
        if hazard.state in (State.GRADED, State.PLAN_PENDING):
            hazard.assign()
            _start_plan(hazard, due_on, at)
        else:
            hazard.reassign()
            hazard.rounds.filter(result="", submitted_at=None).update(rectifier=rectifier)
            base.start_clock(hazard, base.RECTIFY, due_at=base.due_of(hazard), at=at, owner=rectifier)
        hazard.save()
        base.stop_clocks(hazard, at, kinds=[base.ASSIGN])
        base.note(hazard, "hazard.assigned", by, at, rectifier=str(rectifier))
        base.inform(hazard, [rectifier], f"assigned:{rectifier.pk}:{at:%Y%m%d%H%M%S}", base.TITLES["assigned"], at)
    return hazard


def fill_plan(pk: int, *, by: User | None, at: datetime, due_on: date | None = None, **plan: Any) -> Hazard:
    """Fill in the elements of rectification and begin. ``plan``: fields of PLAN_FIELDS.

    A general hazard wants person, measures and date; a major one all five elements (O16 art 15).
    Raises NeedsElements naming every missing one, BadDueDate, WrongState, NotAllowed.
    """
    unknown = set(plan) - set(PLAN_FIELDS)
    if unknown:
        raise TypeError(f"fill_plan knows no {', '.join(sorted(unknown))}; there are {', '.join(PLAN_FIELDS)}")
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("plan", hazard, by)
        for name, value in plan.items():
            setattr(hazard, name, value.strip() if isinstance(value, str) else value)
        if not hazard.plan_person and hazard.rectifier is not None:
            hazard.plan_person = str(hazard.rectifier)
        _set_due(hazard, due_on, at)
        check_elements(hazard)
        hazard.start()
        hazard.save()
        base.new_round(hazard, due_at=base.due_of(hazard), at=at)
        base.stop_clocks(hazard, at, kinds=[base.PLAN])
        if hazard.is_major:
            base.start_clock(hazard, base.RECTIFY, due_at=base.due_of(hazard), at=at, owner=hazard.rectifier)
        base.note(hazard, "hazard.plan_filled", by, at, due=timezone.localdate(base.due_of(hazard)).isoformat())
    return hazard


def submit_rectification(
    pk: int,
    *,
    note: str,
    by: User | None,
    at: datetime,
    before: Sequence[UploadedFile] = (),
    after: Sequence[UploadedFile] = (),
    lon: float | None = None,
    lat: float | None = None,
    taken_at: datetime | None = None,
    done_by_name: str = "",
) -> Hazard:
    """Say that it is done, with photos before (or those of the report) and after. Only the platform itself (``by``
    None: records taken over from elsewhere) may submit without photos.

    Raises NeedsPhotos, NeedsNote, NeedsElements, WrongState, NotTheRectifier.
    """
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("submit", hazard, by)
        check_elements(hazard)
        if not note.strip():
            raise NeedsNote(what=_("what was done"))
        current = _open_round(hazard) or base.new_round(hazard, due_at=base.due_of(hazard), at=at)
        before_purpose, after_purpose, _check = current.purposes
        keep_photos(hazard, before, before_purpose, by, at, lon=lon, lat=lat, taken_at=taken_at)
        keep_photos(hazard, after, after_purpose, by, at, lon=lon, lat=lat, taken_at=taken_at)
        if by is not None:
            _check_photos(hazard, current)
        current.submitted_at, current.submitted_by, current.note = at, by, note.strip()
        current.submitted_org, current.done_by_name = base.organisation_of(by), done_by_name
        current.major, current.rectifier = hazard.is_major, hazard.rectifier
        current.save()
        hazard.submit()
        hazard.save()
        base.stop_clocks(hazard, at, kinds=[base.RECTIFY, base.PLAN])
        _drop_extension(hazard, at)
        base.note(hazard, "hazard.submitted", by, at, note=note, round=current.number)
        ask_for_check(hazard, at)
    return hazard


def accept(
    pk: int,
    *,
    by: User | None,
    at: datetime,
    note: str = "",
    photos: Sequence[UploadedFile] = (),
    experts: Sequence[str] = (),
) -> Hazard:
    """Accept a rectification. Whoever rectified or submitted never does; a major hazard wants another organisation or
    named experts. It closes the hazard, unless a listing or an order to stop asks for a review first.

    Raises SamePerson, SameOrganisation, NeedsNote, WrongState, NotAllowed.
    """
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("accept", hazard, by)
        if hazard.is_major and by is not None and not note.strip():
            raise NeedsNote(what=_("the finding of the check"))
        current = base.round_of(hazard)
        keep_photos(hazard, photos, current.purposes[2], by, at)
        settle(hazard, by, at, note=note, experts=experts)
    return hazard


def reject(
    pk: int,
    *,
    note: str,
    by: User | None,
    at: datetime,
    due_on: date | None = None,
    photos: Sequence[UploadedFile] = (),
) -> Hazard:
    """Send a rectification back: a new round with its own clock (``due_on``, else the usual period).

    Raises NeedsNote, SamePerson, BadDueDate, WrongState, NotAllowed.
    """
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("reject", hazard, by)
        if not note.strip():
            raise NeedsNote(what=_("why it is sent back"))
        current = base.round_of(hazard)
        keep_photos(hazard, photos, current.purposes[2], by, at)
        _judge(current, Round.Result.REJECTED, by, at, note, [])
        hazard.check_failed()
        base.stop_clocks(hazard, at, kinds=[base.VERIFY])
        begin_again(hazard, due_on, at)
        base.note(hazard, "hazard.rejected", by, at, note=note, round=current.number)
        base.inform(hazard, [hazard.rectifier], f"rejected:{current.number}", base.TITLES["rejected"], at)
    return hazard


def settle(hazard: Hazard, by: User | None, at: datetime, *, note: str, experts: Sequence[str]) -> None:
    """Accept the submitted round of a locked hazard."""
    current = base.round_of(hazard)
    names = [name.strip() for name in experts if name.strip()]
    _check_outside(hazard, current, by, names)
    _judge(current, Round.Result.ACCEPTED, by, at, note, names)
    hazard.accept()
    hazard.accepted_at = at
    if not hazard.needs_review:
        hazard.closed_at = at
    hazard.save()
    base.stop_clocks(hazard, at, kinds=[base.VERIFY])
    if hazard.needs_review:
        base.start_clock(hazard, base.APPLY, due_at=clocks.due("apply", at), at=at, owner=hazard.rectifier)
    base.note(hazard, "hazard.accepted", by, at, note=note, round=current.number)
    base.inform(hazard, [hazard.rectifier], f"accepted:{current.number}", base.TITLES["accepted"], at)


def ask_for_check(hazard: Hazard, at: datetime) -> None:
    """Start the verifier's clock and tell the office; whoever rectifies is not asked to check."""
    current = base.round_of(hazard)
    own = {hazard.rectifier_id, current.submitted_by_id}
    named = [hazard.verifier] if hazard.verifier is not None else []
    people = [person for person in [*named, *base.office(hazard, at)] if person.pk not in own]
    base.start_clock(hazard, base.VERIFY, due_at=clocks.due("verify", at), at=at, owner=people[0] if people else None)
    base.inform(hazard, people, f"submitted:{current.number}", base.TITLES["submitted"], at)


def begin_again(hazard: Hazard, due_on: date | None, at: datetime) -> None:
    """A new round of a locked hazard after a check or a review failed."""
    days = base.rectify_days(hazard)
    due = clocks.due_in_days(days, at) if due_on is None else clocks.end_of(due_on)
    base.check_due(due, first=at, last=_latest(hazard, at))
    hazard.due_at, hazard.escalated_to, hazard.accepted_at = due, "", None
    hazard.save()
    base.new_round(hazard, due_at=due, at=at)
    base.start_clock(hazard, base.RECTIFY, due_at=due, at=at, owner=hazard.rectifier)


def check_elements(hazard: Hazard) -> None:
    """Raises NeedsElements naming everything that the plan lacks."""
    wanted = MAJOR_ELEMENTS if hazard.is_major else GENERAL_ELEMENTS
    missing = [base.field_label(name) for name in wanted if not getattr(hazard, name)]
    if hazard.is_major:
        if hazard.funds_yuan is None or hazard.funds_yuan < 0:
            missing.append(str(_("funds (yuan)")))
        elif hazard.funds_yuan == Decimal(0) and not hazard.funds_reason:
            missing.append(str(_("why no funds are needed")))
    if hazard.due_at is None:
        missing.append(str(_("due date")))
    if missing:
        raise NeedsElements(missing=", ".join(missing))


def _check_rectifier(rectifier: User) -> None:
    if not rectifier.is_active:
        raise RectifierGone(person=rectifier)
    if not rectifier.current_posts:
        raise RectifierCannotSee(person=rectifier)


def _start_plan(hazard: Hazard, due_on: date | None, at: datetime) -> None:
    if hazard.is_major:
        base.start_clock(hazard, base.PLAN, due_at=clocks.due("plan_major", at), at=at, owner=hazard.rectifier)
        if due_on is not None:
            _set_due(hazard, due_on, at)
        return
    _set_due(hazard, due_on, at)
    base.start_clock(hazard, base.RECTIFY, due_at=base.due_of(hazard), at=at, owner=hazard.rectifier)


def _set_due(hazard: Hazard, due_on: date | None, at: datetime) -> None:
    """The time limit: as named and within the limits; else what stands already; else the usual period."""
    if due_on is not None:
        due = clocks.end_of(due_on)
        base.check_due(due, first=at, last=_latest(hazard, at))
        hazard.due_at = due
    elif hazard.due_at is None:
        if hazard.is_major:
            return  # a major hazard's date is part of its plan
        hazard.due_at = clocks.due_in_days(base.rectify_days(hazard), at)
    hazard.first_due_at = hazard.first_due_at or hazard.due_at


def _latest(hazard: Hazard, at: datetime) -> datetime:
    """The latest date that may be set now: never beyond the supervising body's."""
    if hazard.listed:
        last: datetime = hazard.supervision.due_at
        if last > at:
            return last
    days = int(clocks.value("rectify_major", "at_most")) if hazard.is_major else base.rectify_days(hazard)
    return clocks.due_in_days(days, at)


def _open_round(hazard: Hazard) -> Round | None:
    current = current_round(hazard)
    return current if current is not None and current.submitted_at is None else None


def _check_photos(hazard: Hazard, current: Round) -> None:
    have = set(Evidence.objects.filter(target=key_of(hazard)).values_list("purpose", flat=True))
    before, after, _check = current.purposes
    missing = []
    if not have & {"before", before}:
        missing.append(str(_("before the rectification")))
    if after not in have:
        missing.append(str(_("after the rectification")))
    if missing:
        raise NeedsPhotos(missing=", ".join(missing))


def _check_outside(hazard: Hazard, current: Round, by: User | None, experts: Sequence[str]) -> None:
    if not hazard.is_major or by is None:
        return
    wanted = int(clocks.value("separation", "experts_instead_of_another_organisation"))
    own = base.organisation_of(by, "hazard.verify")
    same = own is None or own.pk in (current.submitted_org_id, hazard.rectifier_org_id)
    if same and len(set(experts)) < wanted:
        raise SameOrganisation(count=wanted)


def _judge(current: Round, result: str, by: User | None, at: datetime, note: str, experts: Sequence[str]) -> None:
    current.result, current.verified_at, current.verified_by = result, at, by
    current.verified_org = base.organisation_of(by, "hazard.verify")
    current.verify_note, current.experts = note.strip(), list(experts)
    current.save()


def _drop_extension(hazard: Hazard, at: datetime) -> None:
    """A request that nobody decided has no object once the work is submitted."""
    asked = undecided(hazard)
    if asked is not None:
        asked.granted, asked.decided_at, asked.decision_note = False, at, str(_("submitted before it was decided"))
        asked.save()
