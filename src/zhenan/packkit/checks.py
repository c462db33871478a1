"""From the answers of an inspection to hazards: pure, no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from zhenan.packkit.schema import Basis, Checklist
from zhenan.packkit.vocabulary import Word
from zhenan.packkit.words import hint

Answer = Literal["pass", "fail", "na"]


class BadAnswer(ValueError):
    """An answer that the checklist does not allow; ``faults`` holds all of them."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True)
class FoundHazard:
    """A hazard that a failed item stands for."""

    checklist: str
    checklist_version: int
    item: str
    severity: str
    text: Word
    criterion: Word
    basis: Basis
    rectify_days: int | None
    evidence: str


def problems_of_answers(checklist: Checklist, answers: Mapping[str, str], *, complete: bool = False) -> list[str]:
    """What is wrong with a set of answers; with ``complete`` unanswered items are wrong too."""
    codes = [item.code for item in checklist.items]
    found = [f"no item {code!r}{hint(code, codes)}" for code in answers if code not in codes]
    for item in checklist.items:
        answer = answers.get(item.code)
        if answer is None and complete:
            found.append(f"{item.code}: is not answered")
        elif answer is not None and answer not in item.answers:
            found.append(f"{item.code}: {answer!r} is not allowed; want one of {', '.join(item.answers)}")
    return found


def hazards_from(checklist: Checklist, answers: Mapping[str, str]) -> list[FoundHazard]:
    """A hazard for each failed item, in the checklist's order. Raises BadAnswer. Unanswered items give none."""
    faults = problems_of_answers(checklist, answers)
    if faults:
        raise BadAnswer(faults)
    return [
        FoundHazard(
            checklist.code,
            checklist.version,
            item.code,
            item.severity_if_failed,
            item.text,
            item.criterion,
            item.basis,
            item.rectify_days,
            item.evidence,
        )
        for item in checklist.items
        if answers.get(item.code) == "fail"
    ]


def score_ratio(checklist: Checklist, answers: Mapping[str, str]) -> float | None:
    """Weight passed / weight judged, 0-1; None when nothing was judged (all na or unanswered)."""
    judged = sum(item.weight for item in checklist.items if answers.get(item.code) in ("pass", "fail"))
    passed = sum(item.weight for item in checklist.items if answers.get(item.code) == "pass")
    return passed / judged if judged else None
