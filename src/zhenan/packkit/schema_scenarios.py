"""Scenarios: small stories that a pack must get right. Readings in, alarms out; check answers in, hazards out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from zhenan.packkit.schema import Code, MeasureCode, Model, Name, Reference


class ExpectedAlarm(Model):
    """One transition of the judge; ``onset_s`` when left out is not compared."""

    rule: Reference
    kind: Literal["raise", "clear"]
    at_s: float
    onset_s: float | None = None


class ExpectedHazard(Model):
    item: Code
    severity: Literal["general", "major"]


class Scenario(Model):
    """Either readings of one point of ``model`` and ``measure`` → ``alarms`` (all of them), or a checklist's
    ``answers`` → ``hazards`` (all of them).

    ``readings``: text of ``second:value`` pairs ("0:2 10:12 20:25"), in the order in which they are accepted.
    ``until_s``: how far the clock runs after the last reading (for silence). Items not answered count as passed.
    """

    code: Code
    name: Name
    model: Reference | None = None
    measure: MeasureCode | None = None
    readings: list[tuple[float, float]] = []
    until_s: float | None = None
    alarms: list[ExpectedAlarm] = []
    checklist: Reference | None = None
    answers: dict[Code, Literal["pass", "fail", "na"]] = {}
    hazards: list[ExpectedHazard] = []

    @field_validator("readings", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = []
        for word in value.split():
            second, colon, number = word.partition(":")
            try:
                pairs.append((float(second), float(number)))
            except ValueError:
                raise ValueError(f"{word!r} is not second:value, such as 10:25.5") from None
            if not colon:
                raise ValueError(f"{word!r} is not second:value, such as 10:25.5")
        return pairs

    @model_validator(mode="after")
    def _one_story(self) -> Scenario:
        judged, checked = bool(self.readings), self.checklist is not None
        if judged == checked:
            raise ValueError("give either readings (with model and measure), or a checklist with answers")
        if judged and (self.model is None or self.measure is None):
            raise ValueError("readings need model and measure")
        if judged and (self.answers or self.hazards):
            raise ValueError("answers and hazards belong to a checklist")
        if checked and (self.alarms or self.model or self.measure or self.until_s is not None):
            raise ValueError("model, measure, alarms and until_s belong to readings")
        if checked and not self.answers:
            raise ValueError("answers are missing")
        return self


class ScenariosFile(Model):
    scenarios: Annotated[list[Scenario], Field(min_length=1)]
