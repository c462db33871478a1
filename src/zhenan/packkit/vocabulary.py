"""The words that packs and pages share: measures, units, levels, roles, states. Read once from vocabulary.yaml."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from zhenan.packkit.yamlfile import YamlFault, read_yaml

FILE = Path(__file__).with_name("vocabulary.yaml")


class Word(BaseModel):
    """A code's name in both languages."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)

    def label(self, lang: str) -> str:
        """The name in a Django language code; anything but English gets the Chinese."""
        return self.en if lang.lower().startswith("en") else self.zh


class Unit(Word):
    quantity: str
    symbol: str


class Level(Word):
    colour: str = Field(pattern=r"^#[0-9a-f]{6}$")


class Measure(Word):
    """What a point measures. ``unit`` is the unit its values are stored and judged in."""

    kind: Literal["number", "state", "count"]
    unit: str
    states: dict[int, Word] = {}

    @model_validator(mode="after")
    def _states_for_states_only(self) -> Measure:
        if bool(self.states) != (self.kind == "state"):
            raise ValueError("a measure of kind state lists its states, others do not")
        return self


class Vocabulary(BaseModel):
    """Everything in vocabulary.yaml, by code."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    units: dict[str, Unit]
    measures: dict[str, Measure]
    levels: dict[int, Level]
    roles: dict[str, Word]
    contract_levels: dict[str, Word]
    hazard_severities: dict[str, Word]
    hazard_states: dict[str, Word]
    hazard_sources: dict[str, Word]
    alarm_states: dict[str, Word]
    alarm_causes: dict[str, Word]
    periods: dict[str, Word]
    quality_rungs: dict[str, Word]

    @model_validator(mode="after")
    def _units_known(self) -> Vocabulary:
        wrong = [f"{code}: {m.unit}" for code, m in self.measures.items() if m.unit not in self.units]
        if wrong:
            raise ValueError(f"measures with a unit that is not declared: {', '.join(wrong)}")
        return self

    def unit_of(self, measure: str) -> Unit:
        return self.units[self.measures[measure].unit]


@lru_cache(maxsize=1)
def vocabulary() -> Vocabulary:
    """The vocabulary; read once a process. Raises YamlFault or pydantic's ValidationError when the file is broken."""
    document = read_yaml(FILE)
    if document.faults:
        raise YamlFault(document.faults)
    return Vocabulary.model_validate(document.data)
