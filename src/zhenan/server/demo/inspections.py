"""Inspections of the last months, made on visits that call for a checklist; failed items are kept for the hazards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from zhenan.domains.checks.models import Answer, Inspection
from zhenan.domains.duty.models import Visit
from zhenan.domains.duty.queries import required_levels
from zhenan.kernel.events.models import key_of, new_id
from zhenan.packkit.checks import score_ratio
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import CheckItem, Checklist
from zhenan.server.demo import photos
from zhenan.server.demo.contracts import Posted
from zhenan.server.demo.copying import copy_in
from zhenan.server.demo.plan import CHUNK, HISTORY_DAYS, SOURCE, Demo, chunks, tell_all

INSPECTED_RATIO = 0.4  # of visits that call for a checklist
AT_MOST = 4_000  # inspections: each carries its checklist as it stood
FAIL_RATIO = 0.012  # of items; a major one fails less often
MAJOR_FACTOR = 0.4
AGAIN_RATIO = 0.25  # an item that failed at this subject before
REMARKS = ("现场发现，已告知负责人", "已拍照取证，责令限期整改", "与上次检查对照，仍不到位", "现场演示整改方法", "")


@dataclass(frozen=True)
class Found:
    """A failed item of an inspection that was just written."""

    visit: Visit
    inspection: Inspection
    answer: Answer
    checklist: Checklist
    item: CheckItem


def make(demo: Demo, people: Posted) -> tuple[int, list[Found]]:
    """Write the inspections; returns how many, and what they found, the oldest first."""
    visits = list(_visits(demo))
    share = min(INSPECTED_RATIO, AT_MOST / max(1, len(visits)))
    chosen = [(v, c) for v, c in visits if demo.chance("inspect", *_words(v)) < share]
    failed_before: dict[int, set[str]] = {}
    found: list[Found] = []
    specs = {c.code: c.model_dump(mode="json") for _visit, c in chosen}
    for chunk in chunks(chosen, CHUNK // 4):
        rows = [_inspection(visit, checklist, specs[checklist.code], people) for visit, checklist in chunk]
        answers: list[Answer] = []
        for row, (visit, checklist) in zip(rows, chunk, strict=True):
            mine = _answers(demo, visit, row, checklist, failed_before.setdefault(row.subject_id, set()))
            _judge(row, checklist, mine)
            answers += mine
            found += [
                Found(visit, row, a, checklist, item)
                for a in mine
                if a.value == "fail" and (item := checklist.item(a.item)) is not None
            ]
        copy_in(rows)
        copy_in(answers)
        tell_all(
            event for row, (visit, checklist) in zip(rows, chunk, strict=True) for event in _told(row, visit, checklist)
        )
    return len(chosen), found


def photograph(found: list[Found]) -> int:
    """The photos that the failed items ask for."""
    return photos.keep(
        photos.Shot(key_of(f.answer), "answer", f.inspection.inspector_id, f.answer.answered_at, f.visit.lon,
                    f.visit.lat, f.visit.distance_m)
        for f in found
        if f.item.evidence != "none"
    )  # fmt: skip


def _visits(demo: Demo) -> Iterator[tuple[Visit, Checklist]]:
    """The visits of the last months at levels whose duty names a checklist, the oldest first."""
    book = registry()
    rows = Visit.objects.filter(contract__subject__source=SOURCE, made_at__gte=demo.now - timedelta(days=HISTORY_DAYS))
    rows = rows.select_related("person", "contract__subject__division").defer("contract__subject__division__boundary")
    named: dict[tuple[str, str], Checklist | None] = {}
    for visit in rows.order_by("made_at", "contract_id"):
        key = (visit.contract.subject.type, visit.contract.level)
        if key not in named:
            asked = required_levels(key[0]).get(key[1])
            named[key] = book.checklist(asked.checklist) if asked and asked.checklist else None
        checklist = named[key]
        if checklist is not None:
            yield visit, checklist


def _words(visit: Visit) -> tuple[object, ...]:
    """What the draws about a visit depend on: the same at every build."""
    return visit.contract.subject.key, visit.contract.level, visit.made_at.date()


def _inspection(visit: Visit, checklist: Checklist, spec: dict[str, Any], people: Posted) -> Inspection:
    minutes = 15 + 2 * len(checklist.items)
    return Inspection(
        id=new_id(),
        subject=visit.contract.subject,
        checklist=checklist.code,
        checklist_version=checklist.version,
        spec=spec,
        kind=Inspection.Kind.JOINT if checklist.about == "joint_action" else Inspection.Kind.ROUTINE,
        state=Inspection.State.DONE,
        inspector=visit.person,
        organisation_id=people.offices.get(visit.person_id or 0),
        started_at=visit.made_at - timedelta(minutes=minutes),
        done_at=visit.made_at,
        lon=visit.lon,
        lat=visit.lat,
        distance_m=visit.distance_m,
    )


def _answers(demo: Demo, visit: Visit, row: Inspection, checklist: Checklist, before: set[str]) -> list[Answer]:
    made = []
    for place, item in enumerate(checklist.items):
        words = (*_words(visit), item.code)
        value = _value(demo, item, f"{checklist.code}/{item.code}", before, *words)
        if value == "fail":
            before.add(f"{checklist.code}/{item.code}")
        made.append(
            Answer(
                inspection=row,
                item=item.code,
                value=value,
                answered_at=row.started_at + timedelta(minutes=5 + 2 * place),
                note=demo.one_of(REMARKS, "remark", *words) if value == "fail" else "",
            )
        )
    return made


def _value(demo: Demo, item: CheckItem, code: str, before: set[str], *words: object) -> str:
    ratio = FAIL_RATIO * (MAJOR_FACTOR if item.severity_if_failed == "major" else 1.5)
    if code in before:
        ratio = AGAIN_RATIO
    draw = demo.chance("answer", *words)
    if draw < ratio:
        return "fail"
    return "na" if "na" in item.answers and draw > 0.93 else "pass"


def _judge(row: Inspection, checklist: Checklist, answers: list[Answer]) -> None:
    values: dict[str, Any] = {a.item: a.value for a in answers}
    row.score_ratio = score_ratio(checklist, values)
    row.failed_items = sum(a.value == "fail" for a in answers)


def _told(row: Inspection, visit: Visit, checklist: Checklist) -> Iterator[dict[str, Any]]:
    subject = visit.contract.subject
    common = {"targets": [row, subject], "actor_id": row.inspector_id, **subject.place}
    yield {"kind": "inspection.started", "at": row.started_at, "data": {"checklist": checklist.name.zh}, **common}
    score = None if row.score_ratio is None else round(row.score_ratio * 100)
    data = {"failed": row.failed_items, "items": len(checklist.items), "note": "", "score": score}
    yield {"kind": "inspection.done", "at": row.done_at, "data": data, **common}
