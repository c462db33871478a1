"""The lives of hazards carried out by the platform's own services, each step as of its day: one transaction a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from zhenan.domains.hazards import clocks, services
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.register.models import Subject
from zhenan.packkit.registry import registry
from zhenan.server.replay.inspections.county import PACK, Place
from zhenan.server.replay.inspections.items import Items
from zhenan.server.replay.inspections.lives import Life, Step
from zhenan.server.replay.inspections.records import Violation
from zhenan.server.replay.inspections.visits import key_of_violation

UNSAID = "原始记录未载明 (not in the source's records)"
CLAIMED = "以复查时间为整改完成时间 (taken as rectified by the day of the visit)"
GONE = "复查未再列出 (no longer listed)"
STILL = "复查仍列出 (still listed)"
SEEN = "检查人员当场见证整改 (corrected before the inspector's eyes)"
# What a major hazard's plan must hold; the records have none of it.
FIVE: dict[str, Any] = {
    "plan_unit": UNSAID, "plan_person": UNSAID, "plan_post": UNSAID, "plan_phone": "–", "measures": UNSAID,
    "interim_measures": UNSAID, "contingency": UNSAID, "funds_yuan": 0, "funds_reason": UNSAID,
}  # fmt: skip
PLAN: dict[str, Any] = {"plan_person": UNSAID, "measures": UNSAID}


@dataclass(frozen=True)
class Words:
    """How a violation is written as a hazard."""

    title: str
    description: str
    criterion_code: str
    criterion_text: str
    legal_basis: str


def words_of(violation: Violation, life: Life, items: Items) -> Words:
    """Title and criterion of a hazard from the line that found it."""
    item = items.form.item(items.code_of(violation.words))
    source = registry().packs[PACK].sources["calcode"].title.label("zh-hans")
    return Words(
        violation.words[:200],
        f"degree: {violation.degree or 'none given'}; status: {'corrected' if violation.corrected else 'open'}",
        life.criterion,
        item.text.label("zh-hans") if item else violation.words,
        f"{source} {item.basis.article if item else ''}".strip(),
    )


def major_due_on(at: datetime) -> Any:
    """The usual period of a major hazard, as the date of its plan."""
    return (at + timedelta(days=int(clocks.value("rectify_major")))).date()


def carry_out(lives: Iterable[Life], subject: Subject, items: Items, place: Place) -> dict[str, Hazard]:
    """Every step through the services, in the order of the visits; violation number → its hazard."""
    found: dict[str, Hazard] = {}
    known: dict[int, int] = {}
    steps = [(step, life) for life in lives for step in life.steps]
    # At one visit what is gone is closed before what is found is entered.
    steps.sort(key=lambda entry: (entry[0].visit.at, entry[0].visit.number, entry[0].kind == "found"))
    for step, life in steps:
        hazard = _do(step, life, known.get(id(life)), subject, items, place)
        known[id(life)] = hazard.pk
        if step.violation is not None:
            found[step.violation.number] = hazard
    return found


def _do(step: Step, life: Life, pk: int | None, subject: Subject, items: Items, place: Place) -> Hazard:
    at = step.visit.at
    if step.violation is not None:
        return _enter(step, step.violation, life, subject, items, place)
    if pk is None:
        raise ValueError(f"{life.criterion}: {step.kind} before it was found")
    services.submit_rectification(pk, note=CLAIMED, by=None, at=at, done_by_name=str(place.operator))
    if step.kind == "accepted":
        return services.accept(pk, by=place.inspector, at=at, note=why_of(step, life))
    return services.reject(pk, by=place.inspector, at=at, note=STILL)


def why_of(step: Step, life: Life) -> str:
    """Seen by the inspector, where the same visit lists it as corrected; else no longer listed."""
    seen = any(s.visit is step.visit and s.violation is not None and s.violation.corrected for s in life.steps)
    return SEEN if seen else GONE


def _enter(step: Step, line: Violation, life: Life, subject: Subject, items: Items, place: Place) -> Hazard:
    """The line of a visit: a hazard, or one more finding of the one that stands."""
    words, at, by = words_of(line, life, items), step.visit.at, place.inspector
    given: dict[str, Any] = {
        "subject": subject, "source": "inspection", "source_key": key_of_violation(line, place), "at": at,
        "title": words.title, "description": words.description, "criterion_code": words.criterion_code,
        "criterion_text": words.criterion_text, "legal_basis": words.legal_basis,
    }  # fmt: skip
    if step.kind == "on_the_spot":
        # Without photos only the platform itself may enter it: records taken over from elsewhere.
        return services.report_fixed_on_spot(
            by=None, before=(), after=(), done_by_name=str(place.operator), note=SEEN, **given
        )
    severity = "major" if life.is_major else "general"
    hazard = services.report_hazard(by=by, severity=severity, **given)
    if step.kind == "found_again":
        return hazard
    services.grade_hazard(hazard.pk, severity=severity, by=by, at=at)
    services.assign(hazard.pk, rectifier=place.operator, by=by, at=at)
    if life.is_major:
        return services.fill_plan(hazard.pk, by=None, at=at, due_on=major_due_on(at), **FIVE)
    return services.fill_plan(hazard.pk, by=None, at=at, **PLAN)
