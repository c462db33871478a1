"""Hazards of the past, closed long ago: written in bulk as the services would have left them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from zhenan.domains.checks.models import Answer
from zhenan.domains.hazards import clocks
from zhenan.domains.hazards.models import Finding, Hazard, Round
from zhenan.domains.hazards.models.hazard import State
from zhenan.domains.monitoring.models import Alarm
from zhenan.kernel.events.models import key_of
from zhenan.kernel.people.models import User
from zhenan.server.demo import photos
from zhenan.server.demo.cases import Case
from zhenan.server.demo.contracts import Posted
from zhenan.server.demo.copying import copy_in
from zhenan.server.demo.plan import CHUNK, Demo, chunks, tell_all

PHOTOGRAPHED = 400  # newest of them with photos before and after
LATE_RATIO = 0.08  # submitted after the time limit


@dataclass
class Closed:
    """A closed hazard in the making, with the people who dealt with it."""

    case: Case
    hazard: Hazard
    round: Round
    head: User
    officer: User
    moments: dict[str, datetime] = field(default_factory=dict)


def write(demo: Demo, people: Posted, cases: Sequence[Case]) -> int:
    """Write the cases as accepted hazards; returns how many. A case without anyone to deal with it is left out."""
    latest: dict[tuple[int, str], Hazard] = {}
    count = 0
    for chunk in chunks(cases):
        made = [one for case in chunk if (one := _closed(demo, people, case, latest)) is not None]
        _give_ids([one.hazard for one in made])
        copy_in([one.hazard for one in made])
        copy_in([_finding(one) for one in made])
        copy_in([one.round for one in made])
        tell_all(event for one in made for event in _told(one))
        _link(made)
        photos.keep(shot for one in made[-PHOTOGRAPHED:] for shot in _shots(one))
        count += len(made)
    return count


def _closed(demo: Demo, people: Posted, case: Case, latest: dict[tuple[int, str], Hazard]) -> Closed | None:
    heads = people.holders(case.subject, "enterprise_head")
    officers = people.holders(case.subject, "district_office" if case.major else "town_office")
    if not heads or not officers:
        return None
    head, officer = heads[0], demo.one_of(officers, "officer", case.key)
    moments = _moments(demo, case)
    hazard = _hazard(demo, people, case, head, officer, moments)
    before = latest.get((case.subject.pk, case.criterion_code)) if case.criterion_code else None
    if before is not None and case.found_at - before.found_at < timedelta(
        days=int(clocks.value("recurrence", "within_days"))
    ):
        hazard.former, hazard.repeat = before, True
    latest[(case.subject.pk, case.criterion_code)] = hazard
    measures, _interim = case.cure
    checked = Round(
        hazard=hazard, number=1, major=case.major, started_at=moments["planned"],
        due_at=hazard.due_at or moments["planned"], rectifier=head,
        submitted_at=moments["submitted"], submitted_by=head, submitted_org_id=case.subject.organisation_id,
        note=f"{measures}，已完成", result=Round.Result.ACCEPTED, verified_at=moments["accepted"], verified_by=officer,
        verified_org_id=people.offices.get(officer.pk), verify_note="现场复查，整改到位",
    )  # fmt: skip
    return Closed(case, hazard, checked, head, officer, moments)


def _moments(demo: Demo, case: Case) -> dict[str, datetime]:
    """When each step was made, in order, none later than now."""
    late = demo.chance("late", case.key) < LATE_RATIO
    days = int(clocks.value("rectify_major" if case.major else "rectify_general"))
    hours = {
        "graded": 2 + 20 * demo.chance("graded", case.key),
        "assigned": 1 + 6 * demo.chance("assigned", case.key),
        "planned": 2 + 30 * demo.chance("planned", case.key),
        "submitted": 24 * (days + 2 if late else days * (0.1 + 0.7 * demo.chance("submitted", case.key))),
        "accepted": 6 + 90 * demo.chance("accepted", case.key),
    }
    there_is = 0.95 * (demo.now - case.found_at) / timedelta(hours=1)
    squeeze = min(1.0, there_is / sum(hours.values()))
    at, found = case.found_at, {"reported": case.found_at}
    for name, more in hours.items():
        at = at + timedelta(seconds=round(3600 * more * squeeze))
        found[name] = at
    return found


def _hazard(demo: Demo, people: Posted, case: Case, head: User, officer: User, moments: dict[str, datetime]) -> Hazard:
    measures, interim = case.cure
    days = int(clocks.value("rectify_major" if case.major else "rectify_general"))
    due = clocks.due_in_days(days, moments["assigned"])
    yuan = Decimal(int(200 + 9_800 * demo.chance("funds", case.key) * (5 if case.major else 1)))
    return Hazard(
        state=State.ACCEPTED, subject=case.subject, source=case.source, source_key=case.source_key, title=case.title,
        description=case.description, severity=case.severity, criterion_code=case.criterion_code,
        criterion_text=case.criterion_text, legal_basis=case.legal_basis, found_at=case.found_at, found_by=case.by,
        found_org_id=people.offices.get(case.by.pk) if case.by else None,
        reported_at=case.found_at, graded_at=moments["graded"], graded_by=officer,
        rectifier=head, rectifier_org_id=case.subject.organisation_id, verifier=officer,
        plan_unit=case.subject.name, plan_person=head.name, plan_post="主要负责人", plan_phone=head.phone,
        measures=measures, interim_measures=interim, funds_yuan=yuan, contingency="发现异常立即停用、疏散人员并报告",
        due_at=due, first_due_at=due, accepted_at=moments["accepted"], closed_at=moments["accepted"],
    )  # fmt: skip


def _give_ids(hazards: Sequence[Hazard]) -> None:
    """Ids and numbers beforehand, from the services' own sequences."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('hazards_hazard', 'id')), nextval('hazards_number')"
            " FROM generate_series(1, %s)",
            [len(hazards)],
        )
        for hazard, (pk, serial) in zip(hazards, cursor.fetchall(), strict=True):
            hazard.pk = pk
            hazard.number = f"H{timezone.localdate(hazard.reported_at):%Y%m%d}-{serial:06d}"


def _finding(one: Closed) -> Finding:
    return Finding(
        hazard=one.hazard, source=one.case.source, source_key=one.case.source_key, found_at=one.case.found_at,
        reported_at=one.case.found_at, found_by=one.case.by, organisation_id=one.hazard.found_org_id,
        description=one.case.description,
    )  # fmt: skip


def _told(one: Closed) -> Iterator[dict[str, Any]]:
    hazard, note = one.hazard, one.round.note
    due = timezone.localdate(hazard.due_at).isoformat()
    steps: Sequence[tuple[str, str, User | None, dict[str, Any]]] = (
        ("reported", "hazard.reported", one.case.by, {"source": one.case.source, "repeat": hazard.repeat}),
        ("graded", "hazard.graded", one.officer, {"severity": hazard.severity, "criterion": hazard.criterion_code}),
        ("assigned", "hazard.assigned", one.officer, {"rectifier": str(one.head)}),
        ("planned", "hazard.plan_filled", one.head, {"due": due}),
        ("submitted", "hazard.submitted", one.head, {"note": note, "round": 1}),
        ("accepted", "hazard.accepted", one.officer, {"note": one.round.verify_note, "round": 1}),
    )
    targets: list[Any] = [hazard, hazard.subject, one.case.source_key]
    for moment, kind, actor, data in steps:
        yield {"kind": kind, "at": one.moments[moment], "targets": targets, "actor_id": actor.pk if actor else None,
               "data": {"number": hazard.number, "title": hazard.title, **data}, **hazard.place}  # fmt: skip


def _link(made: Sequence[Closed]) -> None:
    """The records that they came from point to them."""
    answers = [Answer(pk=one.case.answer_pk, hazard=one.hazard) for one in made if one.case.answer_pk]
    alarms = [Alarm(pk=one.case.alarm.pk, hazard=one.hazard) for one in made if one.case.alarm]
    Answer.objects.bulk_update(answers, ["hazard"], batch_size=CHUNK)
    Alarm.objects.bulk_update(alarms, ["hazard"], batch_size=CHUNK)


def _shots(one: Closed) -> Iterator[photos.Shot]:
    subject, key = one.case.subject, key_of(one.hazard)
    yield photos.Shot(
        key, "before", one.case.by.pk if one.case.by else None, one.case.found_at, subject.lon, subject.lat, 5.0
    )
    yield photos.Shot(key, "after.1", one.head.pk, one.moments["submitted"], subject.lon, subject.lat, 5.0)
