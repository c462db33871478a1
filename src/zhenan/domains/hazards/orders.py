"""Beside the round: extension, order to stop, listed supervision, review and delisting, transfer."""

from __future__ import annotations

from datetime import date, datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.duty import queries as duty
from zhenan.domains.hazards import base, clocks
from zhenan.domains.hazards.actions import guard
from zhenan.domains.hazards.errors import ExtensionRefused, NeedsNote, NumberTaken
from zhenan.domains.hazards.models import Extension, Hazard, Review, Supervision, Suspension, Transfer
from zhenan.domains.hazards.rectifying import begin_again
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.workflow import calendar
from zhenan.kernel.workflow.services import move_deadline


def request_extension(pk: int, *, days: int, reason: str, by: User | None, at: datetime) -> Extension:
    """Ask for more time before the time is up: a general hazard once, a major one only under listed supervision.

    Raises ExtensionRefused, NeedsNote, WrongState, NotTheRectifier.
    """
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("ask_extension", hazard, by)
        limit = int(clocks.value("extension"))
        if not 1 <= days <= limit:
            raise ExtensionRefused(
                why=_("{days} days were asked for; 1 to {limit} are possible").format(days=days, limit=limit)
            )
        _want(reason, _("why more time is needed"))
        if base.due_of(hazard) < at:
            raise ExtensionRefused(why=_("the time is up already"))
        asked = Extension.objects.create(
            hazard=hazard, round_number=base.round_of(hazard).number, days=days, reason=reason.strip(),
            old_due_at=base.due_of(hazard), asked_at=at, asked_by=by,
        )  # fmt: skip
        base.note(hazard, "hazard.extension_asked", by, at, days=days, note=reason)
        base.inform(hazard, base.office(hazard, at), f"extension:{asked.pk}", base.TITLES["extension"], at)
    return asked


def decide_extension(pk: int, *, granted: bool, note: str, by: User | None, at: datetime) -> Extension:
    """Grant or refuse; never by whoever asked. Raises NoExtensionAsked, AskerDecides, NeedsNote, WrongState, …"""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("decide_extension", hazard, by)
        if not granted:
            _want(note, _("why it is refused"))
        asked = hazard.extensions.get(granted=None)
        asked.granted, asked.decided_at, asked.decided_by, asked.decision_note = granted, at, by, note.strip()
        if granted:
            asked.new_due_at = calendar.due_at(asked.old_due_at, asked.days)
            _move_due(hazard, asked.new_due_at)
        asked.save()
        kind = "hazard.extended" if granted else "hazard.extension_refused"
        base.note(hazard, kind, by, at, days=asked.days, note=note)
        base.inform(hazard, [asked.asked_by], f"decided:{asked.pk}", base.TITLES["decided"], at)
    return asked


def suspend_operation(pk: int, *, order_number: str, reason: str, by: User | None, at: datetime) -> Suspension:
    """Order operation to stop (WSL art 65); the clock runs on. Raises AlreadySuspended, NeedsNote, …"""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("suspend", hazard, by)
        _want(order_number, _("the number of the order"))
        _want(reason, _("why operation must stop"))
        order = Suspension.objects.create(
            hazard=hazard, order_number=order_number.strip(), reason=reason.strip(), ordered_at=at, ordered_by=by
        )
        hazard.suspend_operation()
        hazard.suspended = True
        hazard.save()
        base.note(hazard, "hazard.suspended", by, at, order=order.order_number, note=reason)
        head = duty.people_at(hazard.subject, "enterprise", at).people
        base.inform(hazard, [hazard.rectifier, *head], f"suspended:{order.pk}", base.TITLES["suspended"], at)
    return order


def resume_operation(pk: int, *, note: str, by: User | None, at: datetime) -> Hazard:
    """Lift the order to stop after an on-site review. Raises NotSuspended, SamePerson, NeedsNote, WrongState, …"""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("resume", hazard, by)
        _want(note, _("the finding of the on-site review"))
        if hazard.rounds.exists():
            hazard.resume()
        else:
            hazard.resume_without_plan()
        _lift(hazard, note, by, at)
        hazard.save()
        base.note(hazard, "hazard.resumed", by, at, note=note)
        base.inform(hazard, [hazard.rectifier], f"resumed:{at:%Y%m%d%H%M%S}", base.TITLES["resumed"], at)
    return hazard


def list_for_supervision(
    pk: int,
    *,
    number: str,
    body: str,
    due_on: date,
    leader_name: str,
    by: User | None,
    at: datetime,
    leader: User | None = None,
    department: Organisation | None = None,
    publicity_url: str = "",
) -> Supervision:
    """List a major hazard for supervision (挂牌督办). The legal periods are set by the province: the date is given.

    Raises NotMajor, AlreadyListed, NumberTaken, BadDueDate, NeedsNote, WrongState, NotAllowed.
    """
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("list", hazard, by)
        _want(number, _("the listing number"))
        _want(leader_name or str(leader or ""), _("the responsible leader"))
        if Supervision.objects.filter(number=number.strip()).exists():
            raise NumberTaken(number=number.strip())
        due = clocks.end_of(due_on)
        base.check_due(due, first=at, last=clocks.due_in_days(366, at))
        listing = Supervision.objects.create(
            hazard=hazard, number=number.strip(), body=Supervision.Body(body), listed_at=at, listed_by=by, due_at=due,
            leader=leader, leader_name=leader_name or str(leader), department=department, publicity_url=publicity_url,
        )  # fmt: skip
        hazard.list_for_supervision()
        hazard.listed = True
        hazard.save()
        base.note(hazard, "hazard.listed", by, at, listing=listing.number, leader=listing.leader_name)
        head = duty.people_at(hazard.subject, "enterprise", at).people
        base.inform(hazard, [hazard.rectifier, leader, *head], "listed", base.TITLES["listed"], at)
    return listing


def apply_for_review(pk: int, *, application: str, by: User | None, at: datetime) -> Review:
    """After acceptance, the unit applies to resume or be delisted. Raises NoReviewNeeded, NeedsNote, WrongState, …"""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("apply", hazard, by)
        _want(application, _("the application"))
        review = Review.objects.create(hazard=hazard, application=application.strip(), applied_at=at, applied_by=by)
        hazard.apply_for_review()
        hazard.save()
        base.stop_clocks(hazard, at, kinds=[base.APPLY])
        people = base.office(hazard, at, lowest="district")
        base.start_clock(
            hazard, base.REVIEW, due_at=clocks.due("review", at), at=at, owner=people[0] if people else None
        )
        base.note(hazard, "hazard.review_applied", by, at, note=application)
        base.inform(hazard, people, f"applied:{review.pk}", base.TITLES["applied"], at)
    return review


def delist(pk: int, *, finding: str, notice_number: str, by: User | None, at: datetime) -> Hazard:
    """The review on site passed: delisted, the order to stop lifted. Raises SamePerson, AskerDecides, NeedsNote, …"""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("delist", hazard, by)
        _want(finding, _("the finding of the on-site review"))
        _want(notice_number, _("the number of the notice"))
        _decide_review(hazard, passed=True, finding=finding, by=by, at=at, notice_number=notice_number)
        hazard.delist()
        hazard.closed_at = at
        if hazard.suspended:
            _lift(hazard, finding, by, at)
        if hazard.listed:
            Supervision.objects.filter(hazard=hazard).update(delisted_at=at)
        hazard.save()
        base.stop_clocks(hazard, at)
        base.note(hazard, "hazard.delisted", by, at, notice=notice_number, note=finding)
        base.inform(hazard, [hazard.rectifier], "delisted", base.TITLES["delisted"], at)
    return hazard


def refuse_delisting(pk: int, *, finding: str, by: User | None, at: datetime, due_on: date | None = None) -> Hazard:
    """The review failed: a new round with its own clock. Raises SamePerson, AskerDecides, NeedsNote, WrongState, …"""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("refuse_delisting", hazard, by)
        _want(finding, _("the finding of the on-site review"))
        _decide_review(hazard, passed=False, finding=finding, by=by, at=at)
        hazard.review_failed()
        base.stop_clocks(hazard, at)
        begin_again(hazard, due_on, at)
        base.note(hazard, "hazard.review_failed", by, at, note=finding)
        what = f"rejected:{base.round_of(hazard).number - 1}:review"
        base.inform(hazard, [hazard.rectifier], what, base.TITLES["rejected"], at)
    return hazard


def transfer(pk: int, *, to: Organisation, reason: str, by: User | None, at: datetime, document: str = "") -> Transfer:
    """Hand a hazard to the department that it belongs to (WSL art 69); our clocks stop, the receiver's starts."""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("transfer", hazard, by)
        _want(reason, _("why it belongs to another department"))
        made = Transfer.objects.create(
            hazard=hazard, to=to, reason=reason.strip(), document=document.strip(), made_at=at, made_by=by
        )
        hazard.transfer()
        hazard.department = to
        hazard.save()
        base.stop_clocks(hazard, at, met=None)
        people = [
            p.user
            for p in to.posts.held_on(timezone.localdate(at)).with_capability("hazard.transfer").select_related("user")
        ]
        base.start_clock(
            hazard, base.RECEIVE, due_at=clocks.due("receive", at), at=at, owner=people[0] if people else None
        )
        base.note(hazard, "hazard.transferred", by, at, to=str(to), note=reason)
        base.inform(hazard, people, f"transferred:{made.pk}", base.TITLES["transferred"], at)
    return made


def receive_transfer(pk: int, *, by: User | None, at: datetime) -> Hazard:
    """The receiver takes it over, and grades it anew with a clock of its own. Raises NotTheReceiver, WrongState, …"""
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("receive", hazard, by)
        Transfer.objects.filter(hazard=hazard, received_at=None).update(received_at=at, received_by=by)
        hazard.receive()
        hazard.rectifier = hazard.verifier = hazard.rectifier_org = None
        hazard.due_at, hazard.graded_at, hazard.graded_by = None, None, None
        hazard.save()
        base.stop_clocks(hazard, at)
        base.start_clock(hazard, base.GRADE, due_at=clocks.due("grade", at), at=at, owner=by)
        base.note(hazard, "hazard.received", by, at, to=str(hazard.department))
    return hazard


def reown(subject: object, leaver: User, successor: User, at: datetime) -> int:
    """A contract changed hands: the successor takes the leaver's open hazards of the subject. Returns how many."""
    from zhenan.kernel.workflow.models import Deadline

    moved = 0
    for pk in Hazard.objects.open().filter(subject=subject).values_list("pk", flat=True):
        hazard = base.locked(pk)
        clocks_of = Deadline.objects.open().filter(target=f"hazards.hazard:{pk}", owner=leaver)
        theirs = clocks_of.update(owner=successor)
        if hazard.rectifier_id == leaver.pk:
            hazard.rectifier, hazard.rectifier_org = successor, base.organisation_of(successor)
            hazard.rounds.filter(result="", submitted_at=None).update(rectifier=successor)
            theirs += 1
        if hazard.verifier_id == leaver.pk:
            hazard.verifier = successor
            theirs += 1
        if theirs:
            hazard.save()
            base.note(hazard, "hazard.handed_over", None, at, leaver=str(leaver), successor=str(successor))
            moved += 1
    return moved


def _want(text: str, what: object) -> None:
    if not text.strip():
        raise NeedsNote(what=what)


def _move_due(hazard: Hazard, due: datetime) -> None:
    hazard.due_at = due
    hazard.save()
    hazard.rounds.filter(submitted_at=None).update(due_at=due)
    move_deadline(hazard, kind=base.RECTIFY, due_at=due)


def _lift(hazard: Hazard, note: str, by: User | None, at: datetime) -> None:
    hazard.suspensions.filter(lifted_at=None).update(lifted_at=at, lifted_by=by, lift_note=note.strip())
    hazard.suspended = False


def _decide_review(
    hazard: Hazard, *, passed: bool, finding: str, by: User | None, at: datetime, notice_number: str = ""
) -> None:
    review = hazard.reviews.filter(passed=None).get()
    review.passed, review.reviewed_at, review.reviewed_by = passed, at, by
    review.finding, review.notice_number = finding.strip(), notice_number.strip()
    review.save()
