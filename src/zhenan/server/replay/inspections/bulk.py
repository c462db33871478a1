"""The lives of hazards written with a handful of statements: what the services would have written, for volume.

The services make some 100 statements a hazard: right for a person's click, an hour for ten thousand records. This
writes the same hazards, findings, rounds and events; a test compares the two row by row. It leaves out what only
concerns the moment itself: notices to people and clocks that have stopped since.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from zhenan.domains.hazards import base, clocks
from zhenan.domains.hazards.models import Finding, Hazard, Round
from zhenan.domains.hazards.models.hazard import Severity, State
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record_many
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import open_deadlines
from zhenan.server.replay.inspections.county import Place
from zhenan.server.replay.inspections.items import Items
from zhenan.server.replay.inspections.lives import Life, Step
from zhenan.server.replay.inspections.loop import (
    CLAIMED,
    FIVE,
    PLAN,
    SEEN,
    STILL,
    Words,
    major_due_on,
    why_of,
    words_of,
)
from zhenan.server.replay.inspections.records import Violation
from zhenan.server.replay.inspections.visits import BATCH, key_of_violation


@dataclass
class Written:
    """Rows gathered before they are written."""

    hazards: list[Hazard] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    deadlines: list[Deadline] = field(default_factory=list)


def carry_out(lives: Mapping[str, Sequence[Life]], subjects: Mapping[str, Subject], items: Items, place: Place
              ) -> dict[str, Hazard]:  # fmt: skip
    """Write the lives of many facilities in the caller's transaction; violation number → its hazard."""
    ids = iter(_next("pg_get_serial_sequence('hazards_hazard', 'id')", sum(map(len, lives.values()))))
    serials = iter(_next("'hazards_number'", sum(map(len, lives.values()))))
    written, found = Written(), dict[str, Hazard]()
    for number, of_facility in lives.items():
        earlier: list[Hazard] = []
        for life in of_facility:
            writer = Writer(life, subjects[number], items, place, written)
            hazard = writer.write(next(ids), next(serials), earlier)
            earlier.append(hazard)
            found.update({s.violation.number: hazard for s in life.steps if s.violation is not None})
    Hazard.objects.bulk_create(written.hazards, batch_size=BATCH)
    Finding.objects.bulk_create(written.findings, batch_size=BATCH)
    Round.objects.bulk_create(written.rounds, batch_size=BATCH)
    open_deadlines(written.deadlines)
    record_many(written.events)
    return found


def _next(sequence: str, count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT nextval({sequence}) FROM generate_series(1, %s)", [count])  # noqa: S608  our own words
        return [row[0] for row in cursor.fetchall()]


def former_of(earlier: Iterable[Hazard], criterion: str, at: datetime) -> Hazard | None:
    """The latest hazard of the same criterion within the recurrence period, as reporting looks it up."""
    since = at - timedelta(days=int(clocks.value("recurrence", "within_days")))
    same = [one for one in earlier if one.criterion_code == criterion and since <= one.found_at <= at]
    return max(same, key=lambda one: one.found_at, default=None)


class Writer:
    """Writes one life: its hazard as it stands at the end, and everything on the way."""

    def __init__(self, life: Life, subject: Subject, items: Items, place: Place, written: Written) -> None:
        self.life, self.subject, self.items, self.place, self.written = life, subject, items, place, written
        self.office = base.organisation_of(place.inspector, "hazard.report")
        self.trade = base.organisation_of(place.operator)
        self.round: Round | None = None

    def write(self, pk: int, serial: int, earlier: Sequence[Hazard]) -> Hazard:
        """Gather the rows; ``earlier``: hazards of the facility found before."""
        at, violation = self.life.found.visit.at, self.life.violation
        words, spot = words_of(violation, self.life, self.items), self.life.found.kind == "on_the_spot"
        former = former_of(earlier, words.criterion_code, at)
        self.hazard = self._hazard(pk, serial, words, violation, former, spot, at)
        self.written.hazards.append(self.hazard)
        self._finding(violation, at, None if spot else self.place.inspector)
        self._note(
            "hazard.reported",
            at,
            None if spot else self.place.inspector,
            source="inspection",
            repeat=self.hazard.repeat,
        )
        if spot:
            self._on_the_spot(at)
        else:
            self._graded(at)
        for step in self.life.steps[1:]:
            self._step(step)
        if self.hazard.closed_at is None:
            self._clock()
        return self.hazard

    def _hazard(
        self, pk: int, serial: int, words: Words, violation: Violation, former: Hazard | None, spot: bool, at: datetime
    ) -> Hazard:
        severity = Severity.MAJOR if self.life.is_major else Severity.GENERAL
        plan = {} if spot else FIVE if self.life.is_major else PLAN
        finder = None if spot else self.place.inspector
        return Hazard(
            pk=pk, number=f"H{timezone.localdate(at):%Y%m%d}-{serial:06d}", state=State.RECTIFYING,
            subject=self.subject, source="inspection", source_key=key_of_violation(violation, self.place),
            title=words.title, description=words.description, severity=severity, criterion_code=words.criterion_code,
            criterion_text=words.criterion_text, legal_basis=words.legal_basis, found_at=at, found_by=finder,
            found_org=None if spot else self.office, reported_at=at, graded_at=at, graded_by=finder,
            repeat=former is not None, former_id=former.pk if former else None, **plan,
        )  # fmt: skip

    def _graded(self, at: datetime) -> None:
        """Graded, assigned and planned on the day it was found."""
        hazard, by = self.hazard, self.place.inspector
        self._note("hazard.graded", at, by, severity=hazard.severity, criterion=hazard.criterion_code, note="")
        hazard.rectifier, hazard.rectifier_org = self.place.operator, self.trade
        self._note("hazard.assigned", at, by, rectifier=str(self.place.operator))
        due = clocks.end_of(major_due_on(at)) if hazard.is_major else clocks.due_in_days(base.rectify_days(hazard), at)
        hazard.due_at = hazard.first_due_at = due
        self._begin(at, due)
        self._note("hazard.plan_filled", at, None, due=timezone.localdate(due).isoformat())

    def _on_the_spot(self, at: datetime) -> None:
        hazard, name = self.hazard, str(self.place.operator)
        hazard.fixed_on_the_spot = True
        hazard.due_at = hazard.first_due_at = clocks.due("rectify_on_the_spot", at)
        self._begin(at, hazard.due_at)
        self._submit(at, SEEN)
        self._note("hazard.fixed_on_the_spot", at, None, note=SEEN, done_by=name)
        self._judge(Round.Result.ACCEPTED, at, None, "")
        self._close(at, None, "")

    def _step(self, step: Step) -> None:
        at, by = step.visit.at, self.place.inspector
        if step.violation is not None:
            self._finding(step.violation, at, by)
            self._note("hazard.found_again", at, by, source="inspection")
            return
        number = self._submit(at, CLAIMED).number
        self._note("hazard.submitted", at, None, note=CLAIMED, round=number)
        if step.kind == "accepted":
            why = why_of(step, self.life)
            self._judge(Round.Result.ACCEPTED, at, by, why)
            self._close(at, by, why)
            return
        self._judge(Round.Result.REJECTED, at, by, STILL)
        due = clocks.due_in_days(base.rectify_days(self.hazard), at)
        self.hazard.due_at = due
        self._state(State.REJECTED)
        self._begin(at, due)
        self._note("hazard.rejected", at, by, note=STILL, round=number)

    def _close(self, at: datetime, by: Any, note: str) -> None:
        self._state(State.ACCEPTED)
        self.hazard.accepted_at = self.hazard.closed_at = at
        self._note("hazard.accepted", at, by, note=note, round=self._round().number)

    def _state(self, state: State) -> None:
        """Of a row that is not written yet; afterwards the state moves by the services alone."""
        self.hazard.__dict__["state"] = str(state)

    def _begin(self, at: datetime, due: datetime) -> None:
        number = self.round.number + 1 if self.round else 1
        self.round = Round(
            hazard=self.hazard, number=number, major=self.hazard.is_major, started_at=at, due_at=due,
            rectifier=self.hazard.rectifier,
        )  # fmt: skip
        self.written.rounds.append(self.round)

    def _round(self) -> Round:
        if self.round is None:
            raise ValueError(f"{self.hazard}: no round has begun")
        return self.round

    def _submit(self, at: datetime, note: str) -> Round:
        current = self._round()
        current.submitted_at, current.note, current.done_by_name = at, note, str(self.place.operator)
        return current

    def _judge(self, result: str, at: datetime, by: Any, note: str) -> None:
        current = self._round()
        current.result, current.verified_at, current.verified_by, current.verify_note = result, at, by, note
        current.verified_org = self.office if by is not None else None

    def _finding(self, violation: Violation, at: datetime, by: Any) -> None:
        self.written.findings.append(
            Finding(
                hazard=self.hazard, source="inspection", source_key=key_of_violation(violation, self.place),
                found_at=at, reported_at=at, found_by=by, organisation=self.office if by is not None else None,
                description=words_of(violation, self.life, self.items).description,
            )
        )  # fmt: skip

    def _clock(self) -> None:
        hazard = self.hazard
        place = hazard.place
        self.written.deadlines.append(
            Deadline(
                target=key_of(hazard), kind=base.RECTIFY, owner=hazard.rectifier, started_at=self._round().started_at,
                due_at=base.due_of(hazard), path=place["path"], organisations=place["organisations"],
                programme=place["programme"],
            )
        )  # fmt: skip

    def _note(self, kind: str, at: datetime, by: Any, **data: Any) -> None:
        hazard = self.hazard
        self.written.events.append(
            {
                "kind": kind, "targets": [hazard, self.subject], "actor": by, "at": at,
                "data": {"number": hazard.number, "title": hazard.title, **data}, **hazard.place,
            }
        )  # fmt: skip
