"""Visits as inspections of the platform: done, with the failed items and the source's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zhenan.domains.checks.models import Answer, Inspection
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.services import record_many
from zhenan.server.replay.inspections.county import FORM, Place
from zhenan.server.replay.inspections.items import OTHER, Items
from zhenan.server.replay.inspections.lives import is_mark
from zhenan.server.replay.inspections.records import Violation, Visit

Kind = Inspection.Kind
KINDS = {"routine": Kind.ROUTINE, "followup": Kind.FOLLOW_UP, "complaint": Kind.COMPLAINT}  # all else: OTHER
BATCH = 1000


def key_of_visit(visit: Visit, place: Place) -> str:
    """The inspection's source_key."""
    return f"{place.county.code}/{visit.number}"


def key_of_violation(violation: Violation, place: Place) -> str:
    """The source_key of the finding that the violation is."""
    return f"{place.county.code}/{violation.number}"


def known_visits(visits: Sequence[Visit], place: Place) -> set[str]:
    """The visits' numbers that were written before."""
    keys = {key_of_visit(visit, place): visit.number for visit in visits}
    rows = Inspection.objects.filter(source_key__in=list(keys)).values_list("source_key", flat=True)
    return {keys[key] for key in rows}


def write(
    visits: Sequence[Visit], subjects: Mapping[str, Subject], items: Items, place: Place, hazards: Mapping[str, Hazard]
) -> None:
    """Write visits with their answers and events. ``hazards``: violation number → the hazard it led to."""
    specs = _Specs(place)
    post = place.inspector.main_post
    rows = [
        _inspection(visit, subjects[visit.facility], specs, items, place, post.organisation if post else None)
        for visit in visits
    ]
    Inspection.objects.bulk_create(rows, batch_size=BATCH)
    answers = [
        answer for visit, row in zip(visits, rows, strict=True) for answer in _answers(visit, row, items, hazards)
    ]
    Answer.objects.bulk_create(answers, batch_size=BATCH)
    record_many(
        [
            {
                "kind": "inspection.done", "targets": [row, row.subject], "actor": place.inspector, "at": row.done_at,
                "data": _told(row, place), **row.subject.place,
            }
            for row in rows
        ]
    )  # fmt: skip


def _told(row: Inspection, place: Place) -> dict[str, Any]:
    score = "–" if row.score_ratio is None else round(row.score_ratio * 100)
    return {"failed": row.failed_items, "items": len(place.form.items), "note": row.note, "score": score}


class _Specs:
    """The checklist as an inspection keeps it, cut to the items that the record speaks of."""

    def __init__(self, place: Place) -> None:
        self.whole = place.form.model_dump(mode="json")
        self.items = {item["code"]: item for item in self.whole["items"]}

    def of(self, codes: Sequence[str]) -> dict[str, Any]:
        return {**self.whole, "items": [self.items[code] for code in codes or [OTHER]]}


def _inspection(
    visit: Visit, subject: Subject, specs: _Specs, items: Items, place: Place, organisation: Any
) -> Inspection:
    failed = list(dict.fromkeys(items.code_of(v.words) for v in visit.violations if not is_mark(v)))
    marks = [violation.words for violation in visit.violations if is_mark(violation)]
    return Inspection(
        subject=subject, checklist=FORM, checklist_version=place.form.version, spec=specs.of(failed),
        kind=KINDS.get(visit.reason, Kind.OTHER), state=Inspection.State.DONE, inspector=place.inspector,
        organisation=organisation, started_at=visit.at, done_at=visit.at, score_ratio=visit.score_ratio,
        failed_items=len(failed), result=visit.result[:40], note="; ".join([f"reason: {visit.reason}", *marks]),
        source_key=key_of_visit(visit, place),
    )  # fmt: skip


def _answers(visit: Visit, row: Inspection, items: Items, hazards: Mapping[str, Hazard]) -> list[Answer]:
    """A failed item a criterion; when the record names nothing, `other` passes: nothing else is said."""
    by_item: dict[str, list[Violation]] = {}
    for violation in visit.violations:
        if not is_mark(violation):
            by_item.setdefault(items.code_of(violation.words), []).append(violation)
    if not by_item:
        return [Answer(inspection=row, item=OTHER, value=Answer.Value.PASS, answered_at=visit.at)]
    return [
        Answer(
            inspection=row, item=code, value=Answer.Value.FAIL, answered_at=visit.at,
            note="; ".join(f"{v.words} ({v.degree or 'no degree'})" for v in lines)[:1000],
            fixed_on_the_spot=all(v.corrected for v in lines), hazard=hazards.get(lines[0].number),
        )
        for code, lines in by_item.items()
    ]  # fmt: skip
