"""Scenarios: small stories that a pack must get right. Readings in, alarms out; check answers in, hazards out."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from zhenan.packkit.schema import Code, MeasureCode, Model, Name, Reference

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_WORD = re.compile(rf"{_NUMBER}(?:\.\.{_NUMBER}/{_NUMBER})?:{_NUMBER}")
MAX_REPEATED = 10_000


class ExpectedAlarm(Model):
    """One transition of the judge; ``onset_s`` when left out is not compared."""

    rule: Reference
    kind: Literal["raise", "clear"]
    at_s: float
    onset_s: float | None = None


class ExpectedHazard(Model):
    item: Code
    severity: Literal["general", "major"]


def _pairs_of(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs: list[tuple[float, float]] = []
    for word in value.split():
        found = _WORD.fullmatch(word)
        if found is None:
            raise ValueError(f"{word!r} is not second:value, such as 10:25.5, or first..last/step:value")
        first, last, step, number = (float(part) if part else None for part in found.groups())
        if step is not None and (step <= 0 or (last or 0) < (first or 0) or (last or 0) / step > MAX_REPEATED):
            raise ValueError(f"{word!r} repeats wrongly or too often")
        at = first or 0.0
        while at <= (last if last is not None else first or 0.0):
            pairs.append((at, number or 0.0))
            at += step or float("inf")
    return pairs


Readings = Annotated[list[tuple[float, float]], BeforeValidator(_pairs_of)]


class OtherPoint(Model):
    """A further point of the same subject, for composites of alarms of several points."""

    model: Reference
    measure: MeasureCode
    readings: Annotated[Readings, Field(min_length=1)]


class Scenario(Model):
    """Either readings of one point of ``model`` and ``measure`` → ``alarms`` (all of them), or a checklist's
    ``answers`` → ``hazards`` (all of them).

    ``readings``: text of ``second:value`` pairs ("0:2 10:12 20:25"), in the order in which they are accepted;
    ``first..last/step:value`` repeats one value ("0..3600/60:5").
    ``until_s``: how far the clock runs after the last reading (for silence). Items not answered count as passed.
    ``others``: further points of the same subject. Each point's readings are in its own order.
    ``start``: local time of second 0 ("2026-03-02T21:50"), for rules with windows; ``holidays``: which days are ones.
    """

    code: Code
    name: Name
    model: Reference | None = None
    measure: MeasureCode | None = None
    readings: Readings = []
    others: list[OtherPoint] = []
    until_s: float | None = None
    start: datetime | None = None
    holidays: list[date] = []
    alarms: list[ExpectedAlarm] = []
    checklist: Reference | None = None
    answers: dict[Code, Literal["pass", "fail", "na"]] = {}
    hazards: list[ExpectedHazard] = []

    @field_validator("start", mode="before")
    @classmethod
    def _local_time(cls, value: Any) -> Any:
        try:
            found = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError(f"{value!r} is no local time such as 2026-03-02T21:50") from None
        if isinstance(found, datetime) and found.tzinfo is not None:
            raise ValueError("is local time (UTC+8): write it without a zone")
        return found

    @field_validator("holidays", mode="before")
    @classmethod
    def _dates(cls, value: Any) -> Any:
        return [date.fromisoformat(day) if isinstance(day, str) else day for day in value]

    @model_validator(mode="after")
    def _one_story(self) -> Scenario:
        judged, checked = bool(self.readings), self.checklist is not None
        if judged == checked:
            raise ValueError("give either readings (with model and measure), or a checklist with answers")
        if judged and (self.model is None or self.measure is None):
            raise ValueError("readings need model and measure")
        if judged and (self.answers or self.hazards):
            raise ValueError("answers and hazards belong to a checklist")
        if checked and (self.alarms or self.model or self.measure or self.until_s is not None or self.start):
            raise ValueError("model, measure, alarms, until_s and start belong to readings")
        if checked and not self.answers:
            raise ValueError("answers are missing")
        return self


class ScenariosFile(Model):
    scenarios: Annotated[list[Scenario], Field(min_length=1)]
