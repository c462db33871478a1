"""How a hazard reads that comes of a pack's own words: what was found, by which criterion, under which law.

One place, so that a hazard from an inspection, from an alarm or from a list reads the same everywhere. The record is in
Chinese, as the notice to rectify is.
"""

from __future__ import annotations

from typing import TypedDict

from zhenan.packkit.registry import UnknownCode, registry

LANGUAGE = "zh-hans"
TITLE_LENGTH = 200


class HazardWords(TypedDict):
    """The part of a hazard that its criterion gives; keywords of the hazard service."""

    title: str
    criterion_code: str
    criterion_text: str
    legal_basis: str


def of_failed_item(checklist: str, item: str) -> HazardWords:
    """An item says what must be so; the hazard, that it is not. Raises UnknownCode."""
    found = registry().check_item(checklist, item)
    return HazardWords(
        title=f"不符合：{found.text.label(LANGUAGE)}"[:TITLE_LENGTH],
        criterion_code=f"{checklist}/{item}",
        criterion_text=found.criterion.label(LANGUAGE),
        legal_basis=registry().citation(checklist, found.basis.source, found.basis.article, lang=LANGUAGE),
    )


def of_alarm(rule: str) -> HazardWords:
    """The rule that raised the alarm, and what its threshold rests on; its code where no pack declares it any more."""
    try:
        found = registry().alarm_rule(rule)
    except UnknownCode:
        return HazardWords(title=rule[:TITLE_LENGTH], criterion_code=rule, criterion_text="", legal_basis="")
    return HazardWords(
        title=found.name.label(LANGUAGE)[:TITLE_LENGTH],
        criterion_code=rule,
        criterion_text=found.explain.label(LANGUAGE),
        legal_basis=registry().citation(rule, found.source, lang=LANGUAGE),
    )
