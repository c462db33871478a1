"""Carrying out an inspection: begin, answer, submit. A failed item becomes a hazard, once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.utils.translation import gettext_lazy as _

from zhenan.domains.checks.errors import (
    AnotherInspector,
    AnswerNotAllowed,
    AnswersMissing,
    EvidenceMissing,
    NotUnderWay,
    WrongChecklist,
)
from zhenan.domains.checks.models import Answer, Inspection
from zhenan.domains.hazards import services as hazards
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import require
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.evidence.services import distance_m, store
from zhenan.kernel.people.models import User
from zhenan.packkit import hazard_words
from zhenan.packkit.checks import FoundHazard, hazards_from, problems_of_answers, score_ratio
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import Checklist

State = Inspection.State


def start(
    *,
    subject: Subject,
    checklist: str,
    by: User,
    at: datetime,
    kind: str = Inspection.Kind.ROUTINE,
    inspection_id: UUID | None = None,
) -> Inspection:
    """Begin an inspection; the same id again gives the one that is there. Raises WrongChecklist, NotAllowed."""
    require(by, "inspection.do", subject)
    if inspection_id:
        known = Inspection.objects.filter(pk=inspection_id, subject=subject).first()
        if known:
            return known
    spec = registry().checklist(checklist)
    if subject.type not in spec.subject_types:
        raise WrongChecklist(
            checklist=registry().label(checklist, kind="checklist"),
            type=registry().label(subject.type, kind="subject_type"),
        )
    with transaction.atomic():
        inspection = Inspection.objects.create(
            **({"id": inspection_id} if inspection_id else {}),
            subject=subject,
            checklist=checklist,
            checklist_version=spec.version,
            spec=spec.model_dump(mode="json"),
            kind=kind,
            inspector=by,
            organisation=by.main_post.organisation if by.main_post else None,
            started_at=at,
        )
        record(
            "inspection.started",
            targets=[inspection, subject],
            actor=by,
            at=at,
            data={"checklist": registry().label(checklist, "zh-hans", kind="checklist")},
            **subject.place,
        )
    return inspection


def checklist_of(inspection: Inspection) -> Checklist:
    """The checklist as it stood when the inspection began."""
    return Checklist.model_validate(inspection.spec, context={"pack": inspection.checklist.partition(".")[0]})


def _mine(inspection_id: UUID, by: User) -> Inspection:
    rows = Inspection.objects.select_for_update(of=("self",)).select_related("subject__division", "inspector")
    inspection = rows.get(pk=inspection_id)
    require(by, "inspection.do", inspection)
    if inspection.state != State.DRAFT:
        raise NotUnderWay(state=inspection.get_state_display())
    if inspection.inspector_id != by.pk:
        raise AnotherInspector(person=inspection.inspector)
    return inspection


def answer(
    inspection_id: UUID,
    item: str,
    value: str,
    *,
    by: User,
    at: datetime,
    note: str = "",
    fixed_on_the_spot: bool = False,
    photos: Sequence[UploadedFile] = (),
    lon: float | None = None,
    lat: float | None = None,
) -> Answer:
    """Answer an item, or answer it anew. Raises AnswerNotAllowed, NotUnderWay, AnotherInspector, UnfitFile."""
    with transaction.atomic():
        inspection = _mine(inspection_id, by)
        problems = problems_of_answers(checklist_of(inspection), {item: value})
        if problems:
            raise AnswerNotAllowed(problem=problems[0])
        given, _created = Answer.objects.update_or_create(
            inspection=inspection,
            item=item,
            defaults={
                "value": value,
                "note": note[:1000],
                "fixed_on_the_spot": fixed_on_the_spot and value == Answer.Value.FAIL,
                "answered_at": at,
            },
        )
        for photo in photos:
            store(
                photo,
                target=given,
                purpose="answer",
                actor=by,
                at=at,
                taken_at=None,
                lon=lon,
                lat=lat,
                near=_place(inspection.subject),
            )
    return given


def _place(subject: Subject) -> tuple[float, float] | None:
    return (subject.lon, subject.lat) if subject.lon is not None and subject.lat is not None else None


def submit(
    inspection_id: UUID,
    *,
    by: User,
    at: datetime,
    note: str = "",
    lon: float | None = None,
    lat: float | None = None,
) -> Inspection:
    """End the inspection: every item answered, evidence where it is asked for; failed items become hazards.

    Raises AnswersMissing, EvidenceMissing and then changes nothing.
    """
    with transaction.atomic():
        inspection = _mine(inspection_id, by)
        checklist = checklist_of(inspection)
        answers = {a.item: a for a in inspection.answers.all()}
        values = {code: a.value for code, a in answers.items()}
        _complete(checklist, answers, by)
        near = _place(inspection.subject)
        inspection.state, inspection.done_at, inspection.note = State.DONE, at, note
        inspection.lon, inspection.lat = lon, lat
        inspection.distance_m = distance_m((lon, lat), near) if near and lon is not None and lat is not None else None
        inspection.score_ratio = score_ratio(checklist, values)
        found = hazards_from(checklist, values)
        inspection.failed_items = len(found)
        inspection.save()
        for one in found:
            _open_hazard(inspection, answers[one.item], one, by=by, at=at)
        record(
            "inspection.done",
            targets=[inspection, inspection.subject],
            actor=by,
            at=at,
            data={
                "failed": len(found),
                "items": len(values),
                "note": note,
                "score": None if inspection.score_ratio is None else round(inspection.score_ratio * 100),
            },
            **inspection.subject.place,
        )
    return inspection


def _complete(checklist: Checklist, answers: dict[str, Answer], by: User) -> None:
    missing = [item.text.label(by.language) for item in checklist.items if item.code not in answers]
    if missing:
        raise AnswersMissing(count=len(missing), items="; ".join(missing[:5]))
    wanted = {
        key_of(answers[item.code]): item.text.label(by.language)
        for item in checklist.items
        if item.evidence != "none" and answers[item.code].value == Answer.Value.FAIL
    }
    proven = set(Evidence.objects.filter(target__in=list(wanted)).values_list("target", flat=True))
    unproven = [text for key, text in wanted.items() if key not in proven]
    if unproven:
        raise EvidenceMissing(items="; ".join(unproven[:5]))


def _open_hazard(inspection: Inspection, given: Answer, one: FoundHazard, *, by: User, at: datetime) -> None:
    hazard = hazards.report_hazard(
        subject=inspection.subject,
        source="self_check" if inspection.kind == Inspection.Kind.SELF_CHECK else "inspection",
        source_key=key_of(given),
        description=given.note,
        severity=one.severity,
        by=by,
        at=at,
        **hazard_words.of_failed_item(one.checklist, one.item),
    )
    given.hazard = hazard
    given.save(update_fields=["hazard"])


def cancel(inspection_id: UUID, *, by: User, at: datetime, note: str) -> Inspection:
    """Give an inspection up; its answers stay readable."""
    with transaction.atomic():
        inspection = _mine(inspection_id, by)
        inspection.state, inspection.note = State.CANCELLED, note
        inspection.save(update_fields=["state", "note", "updated_at"])
        record(
            "inspection.cancelled",
            targets=[inspection, inspection.subject],
            actor=by,
            at=at,
            data={"note": note},
            **inspection.subject.place,
        )
    return inspection


KINDS = {
    "inspection.started": (_("Inspection begun: {checklist}"), "clipboard-list"),
    "inspection.done": (_("Inspection done: {failed} of {items} items failed, score {score} %"), "clipboard-check"),
    "inspection.cancelled": (_("Inspection cancelled"), "clipboard-x"),
}
