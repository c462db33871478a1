"""Finding and grading: the same open hazard is one hazard; a closed one that comes back is a new one, linked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards import base, clocks
from zhenan.domains.hazards.actions import guard, reaches
from zhenan.domains.hazards.errors import (
    FoundInTheFuture,
    NeedsCriterion,
    NeedsPhotos,
    NeedsTitle,
    SamePerson,
    UnknownSeverity,
    UnknownSource,
)
from zhenan.domains.hazards.models import Finding, Hazard
from zhenan.domains.hazards.models.hazard import Severity
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import require
from zhenan.kernel.evidence import services as evidence
from zhenan.kernel.people.models import User
from zhenan.packkit.vocabulary import vocabulary

EARLY = timedelta(minutes=5)
_LACKING = {"before": _("before the rectification"), "after": _("after the rectification")}


def report_hazard(
    *,
    subject: Subject,
    source: str,
    title: str,
    by: User | None,
    at: datetime,
    source_key: str = "",
    description: str = "",
    severity: str = "general",
    criterion_code: str = "",
    criterion_text: str = "",
    legal_basis: str = "",
    location: str = "",
    lon: float | None = None,
    lat: float | None = None,
    found_at: datetime | None = None,
    photos: Sequence[UploadedFile] = (),
    merge: bool = True,
) -> Hazard:
    """Enter a hazard; the hazard that it is. ``severity`` is the finder's proposal until it is graded.

    Idempotent by (source, source_key). With ``merge``, an open hazard of the subject with the same criterion and
    location takes the report as one more finding. A closed one found within the recurrence period makes this one a
    repeat: a hazard and a clock of its own, linked to the former.
    Raises NotAllowed, UnknownSource, UnknownSeverity, FoundInTheFuture, NeedsTitle.
    """
    require(by, "hazard.report", subject)
    found_at = found_at or at
    _check_report(source, severity, title, found_at, at)
    with transaction.atomic():
        # One report at a time per subject: the judgement of what is the same must see the other's row.
        subject = (
            Subject.objects.select_for_update(no_key=True, of=("self",)).select_related("division").get(pk=subject.pk)
        )
        known = Finding.objects.filter(source=source, source_key=source_key).first() if source_key else None
        if known is not None:
            return known.hazard
        same = _same(subject, criterion_code, location)
        # A correction in the same minute is the same find; the open one takes it, whoever found it.
        current = same.open().order_by("-found_at").first() if merge else None
        fresh = current is None
        hazard = current or _create(
            subject=subject, former=_former(same, found_at), found_at=found_at, reported_at=at, by=by, source=source,
            source_key=source_key, title=title.strip()[:200], description=description, severity=severity,
            criterion_code=criterion_code, criterion_text=criterion_text, legal_basis=legal_basis,
            location=location.strip(), lon=lon, lat=lat,
        )  # fmt: skip
        Finding.objects.create(
            hazard=hazard, source=source, source_key=source_key, found_at=found_at, reported_at=at, found_by=by,
            organisation=base.organisation_of(by, "hazard.report"), description=description,
        )  # fmt: skip
        # The hazard's own place is the phone's: what its photos are measured against is the subject.
        spot = (subject.lon, subject.lat) if subject.lon is not None and subject.lat is not None else None
        keep_photos(hazard, photos, "before", by, at, lon=lon, lat=lat, near=spot)
        if not fresh:
            base.note(hazard, "hazard.found_again", by, at, also=source_key, source=source)
            return hazard
        base.note(hazard, "hazard.reported", by, at, source=source, repeat=hazard.repeat)
        _ask_for_grading(hazard, at)
    return hazard


def grade_hazard(
    pk: int,
    *,
    severity: str,
    by: User | None,
    at: datetime,
    criterion_code: str | None = None,
    criterion_text: str | None = None,
    legal_basis: str | None = None,
    note: str = "",
) -> Hazard:
    """Confirm a hazard: general or major, by which criterion. None keeps what the finder wrote.

    Raises NeedsCriterion, UnknownSeverity, WrongState, NotAllowed.
    """
    if severity not in Severity.values:
        raise UnknownSeverity(severity=severity)
    with transaction.atomic():
        hazard = base.locked(pk)
        guard("grade", hazard, by)
        given = {"criterion_code": criterion_code, "criterion_text": criterion_text, "legal_basis": legal_basis}
        for name, value in given.items():
            if value is not None:
                setattr(hazard, name, value.strip())
        hazard.severity = severity
        _mark_repeat(hazard)
        if hazard.repeat and clocks.value("recurrence", "one_level_up") == "severity":
            hazard.severity = Severity.MAJOR
        _check_criterion(hazard)
        hazard.grade()
        hazard.graded_at, hazard.graded_by = at, by
        hazard.save()
        base.stop_clocks(hazard, at, kinds=[base.GRADE])
        owners = base.office(hazard, at)
        base.start_clock(
            hazard, base.ASSIGN, due_at=clocks.due("assign", at), at=at, owner=owners[0] if owners else None
        )
        base.note(hazard, "hazard.graded", by, at, severity=hazard.severity, criterion=hazard.criterion_code, note=note)
        base.inform(hazard, owners, "graded", base.TITLES["graded"], at)
    return hazard


def report_fixed_on_spot(
    *,
    subject: Subject,
    source: str,
    title: str,
    by: User | None,
    at: datetime,
    before: Sequence[UploadedFile],
    after: Sequence[UploadedFile],
    rectified_by: User | None = None,
    done_by_name: str = "",
    note: str = "",
    **found: Any,
) -> Hazard:
    """A general hazard removed while its finder looked on; counted apart from those rectified by a deadline.

    A finder who inspects or checks (inspection.do or hazard.verify) and did not rectify it accepts it at once; else it
    waits for its check. ``done_by_name``: who removed it, when that person has no account. ``found``: further
    arguments of ``report_hazard``. Raises NeedsPhotos and what ``report_hazard`` raises.
    """
    missing = [
        str(_LACKING[name]) for name, files in (("before", before), ("after", after)) if by is not None and not files
    ]
    if missing:
        raise NeedsPhotos(missing=", ".join(missing))
    with transaction.atomic():
        hazard = report_hazard(
            subject=subject, source=source, title=title, by=by, at=at, photos=before, merge=False, **found
        )  # fmt: skip
        hazard = base.locked(hazard.pk)
        if hazard.fixed_on_the_spot or hazard.rounds.exists():
            return hazard  # sent twice
        worker = rectified_by or (None if done_by_name else by)
        hazard.fix_on_the_spot()
        hazard.severity, hazard.fixed_on_the_spot = Severity.GENERAL, True
        hazard.rectifier, hazard.graded_at, hazard.graded_by = worker, at, by
        hazard.rectifier_org = base.organisation_of(worker)
        hazard.due_at = hazard.first_due_at = clocks.due("rectify_on_the_spot", at)
        hazard.save()
        base.stop_clocks(hazard, at)
        done = base.new_round(hazard, due_at=hazard.due_at, at=hazard.found_at if hazard.found_at < at else at)
        done.submitted_at, done.submitted_by, done.done_by_name, done.note = at, worker, done_by_name, note
        done.submitted_org = hazard.rectifier_org
        done.save()
        keep_photos(hazard, after, "after.1", by, at, lon=found.get("lon"), lat=found.get("lat"))
        base.note(hazard, "hazard.fixed_on_the_spot", by, at, note=note, done_by=done_by_name or str(worker or ""))
        finish_on_spot(hazard, by, at)
    return hazard


def finish_on_spot(hazard: Hazard, by: User | None, at: datetime) -> None:
    """Accept at once when the finder may witness it, else let the office check it."""
    from zhenan.domains.hazards.rectifying import ask_for_check, settle  # they build on this module

    try:
        witnessed = may_witness(hazard, by)
    except SamePerson:
        witnessed = False
    if witnessed:
        settle(hazard, by, at, note="", experts=[])
    else:
        ask_for_check(hazard, at)


def may_witness(hazard: Hazard, by: User | None) -> bool:
    """Whether the finder's own eyes count as the check. Raises SamePerson for whoever rectified it."""
    if by is None:
        return True
    if by.pk == hazard.rectifier_id:
        raise SamePerson(person=by)
    return any(reaches(by, capability, hazard) for capability in ("hazard.verify", "inspection.do"))


def keep_photos(
    hazard: Hazard,
    photos: Sequence[UploadedFile],
    purpose: str,
    by: User | None,
    at: datetime,
    *,
    lon: float | None = None,
    lat: float | None = None,
    taken_at: datetime | None = None,
    near: tuple[float, float] | None = None,
) -> None:
    """Store photos of the hazard; the distance is measured from ``near``, else from the hazard's place."""
    for photo in photos:
        evidence.store(
            photo,
            target=hazard,
            purpose=purpose,
            actor=by,
            at=at,
            taken_at=taken_at,
            lon=lon,
            lat=lat,
            near=near or hazard.point,
        )


def location_key(text: str) -> str:
    """A location as recurrence compares it: without spaces, punctuation and case.

    >>> location_key(" Kitchen, 2nd floor ") == location_key("kitchen 2ND floor")
    True
    """
    return re.sub(r"[\W_]+", "", text).casefold()[:200]


def _check_report(source: str, severity: str, title: str, found_at: datetime, at: datetime) -> None:
    sources = vocabulary().hazard_sources
    if source not in sources:
        raise UnknownSource(source=source, known=", ".join(sources))
    if severity not in Severity.values:
        raise UnknownSeverity(severity=severity)
    if not title.strip():
        raise NeedsTitle()
    if found_at > at + EARLY:
        raise FoundInTheFuture(found_at=timezone.localtime(found_at), now=timezone.localtime(at))


def _same(subject: Subject, criterion: str, location: str) -> Any:
    """The subject's hazards with the same criterion and place; none without a criterion, which alone says so."""
    if not criterion:
        return Hazard.objects.none()
    return Hazard.objects.filter(subject=subject, criterion_code=criterion, location_key=location_key(location))


def _former(same: Any, found_at: datetime) -> Hazard | None:
    since = found_at - timedelta(days=int(clocks.value("recurrence", "within_days")))
    former: Hazard | None = same.filter(found_at__gte=since, found_at__lte=found_at).order_by("-found_at").first()
    return former


def _mark_repeat(hazard: Hazard) -> None:
    """The grader's criterion may differ from the finder's: judge recurrence by it."""
    same = _same(hazard.subject, hazard.criterion_code, hazard.location).exclude(pk=hazard.pk)
    hazard.former = _former(same, hazard.found_at)
    hazard.repeat = hazard.former is not None


def _create(
    *, subject: Subject, former: Hazard | None, reported_at: datetime, by: User | None, **fields: Any
) -> Hazard:
    hazard = Hazard(
        subject=subject, former=former, repeat=former is not None, reported_at=reported_at, found_by=by,
        found_org=base.organisation_of(by, "hazard.report"), location_key=location_key(fields["location"]), **fields,
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('hazards_number')")
        (serial,) = cursor.fetchone()
    hazard.number = f"H{timezone.localdate(reported_at):%Y%m%d}-{serial:06d}"
    hazard.save(force_insert=True)
    return hazard


def _ask_for_grading(hazard: Hazard, at: datetime) -> None:
    owners = base.office(hazard, at)
    base.start_clock(hazard, base.GRADE, due_at=clocks.due("grade", at), at=at, owner=owners[0] if owners else None)
    base.inform(hazard, owners, "reported", base.TITLES["reported"], at)


def _check_criterion(hazard: Hazard) -> None:
    wanted: list[tuple[str, Any]] = [("criterion_text", hazard.criterion_code or hazard.criterion_text)]
    if hazard.is_major:
        wanted = [("criterion_code", hazard.criterion_code), ("legal_basis", hazard.legal_basis)]
    missing = [base.field_label(name) for name, value in wanted if not value]
    if missing:
        raise NeedsCriterion(missing=", ".join(missing))
