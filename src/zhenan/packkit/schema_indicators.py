"""Indicators: declarative figures, compiled to aggregate SQL by the indicators room.

An indicator counts or adds up records of one entity (``what``) that meet every condition of ``where``.

Fields. Each entity has the closed list of FIELDS below. A dotted path follows a to-one relation
(``subject.type`` of an alarm). ``attributes.<code>`` is a typed attribute of a subject, declared by its pack.
To-many relations (RELATIONS) are asked with ``op: exists`` or ``not_exists`` and a nested ``where``.

Time. With ``when: null`` the indicator is a stock: the state of the records as of the date asked. With ``when: <time
field>`` it is a flow: records whose time lies in the period asked (from the campaign's start when none is given), and
``by: month`` groups on it.

Measure. ``count`` records; ``distinct`` values of a field; ``sum``, ``mean``, ``median``, ``max`` of a number field,
nulls left out; ``ratio`` = records that also meet ``numerator`` / records that also meet ``denominator`` (default:
all of ``where``); null when the denominator is 0; times 100 where the unit is %.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from zhenan.packkit.schema import Model, Name, OwnCode, UnitCode, full_code

Entity = Literal["subject", "device", "alarm", "hazard", "inspection", "organisation", "contract"]
Kind = Literal["text", "bool", "number", "time", "date", "record"]

# Field → kind. "record" fields are to-one relations: compared by code/key, or followed with a dot.
FIELDS: dict[str, dict[str, Kind]] = {
    "subject": {
        "id": "record",
        "type": "text",  # pack.local code of the subject type
        "active": "bool",
        "created_at": "time",
        "division": "record",
        "parent": "record",
    },
    "device": {
        "id": "record",
        "model": "text",  # pack.local code of the device model
        "pack": "text",
        "active": "bool",  # in service: installed, not removed, not marked out of order
        "online": "bool",  # a reading within the model's offline_after_s
        "expired": "bool",  # past installed_on (or made_on) + the model's life_years
        "installed_on": "date",
        "subject": "record",
    },
    "alarm": {
        "id": "record",
        "rule": "text",  # pack.local code of the rule
        "pack": "text",
        "level": "number",
        "state": "text",  # vocabulary alarm_states
        "cause": "text",  # vocabulary alarm_causes; null until known
        "raised_at": "time",
        "closed_at": "time",
        "respond_s": "number",  # raised → acknowledged, seconds; null until acknowledged
        "arrive_s": "number",  # raised → arrived on site, seconds
        "in_time": "bool",  # acknowledged within the rule's respond_s; null until acknowledged
        "subject": "record",
        "device": "record",
    },
    "hazard": {
        "id": "record",
        "pack": "text",
        "severity": "text",  # vocabulary hazard_severities
        "state": "text",  # vocabulary hazard_states
        "source": "text",  # vocabulary hazard_sources
        "found_at": "time",
        "due_at": "time",
        "closed_at": "time",
        "overdue": "bool",
        "subject": "record",
    },
    "inspection": {
        "id": "record",
        "checklist": "text",  # pack.local code of the checklist
        "pack": "text",
        "state": "text",
        "done_at": "time",
        "failed_items": "number",
        "score_ratio": "number",
        "subject": "record",
    },
    "organisation": {"id": "record", "kind": "text", "active": "bool", "created_at": "time", "division": "record"},
    "contract": {
        "id": "record",
        "level": "text",  # vocabulary contract_levels
        "active": "bool",  # in force on the date asked
        "begins_on": "date",
        "ends_on": "date",
        "subject": "record",
    },
}

# To-many relations: entity → name → entity reached.
RELATIONS: dict[str, dict[str, str]] = {
    "subject": {
        "devices": "device",
        "alarms": "alarm",
        "hazards": "hazard",
        "inspections": "inspection",
        "contracts": "contract",
        "children": "subject",
    },
    "device": {"alarms": "alarm"},
    "organisation": {},
    "alarm": {},
    "hazard": {},
    "inspection": {},
    "contract": {},
}

# To-one relations that a dot may follow.
FOLLOWS: dict[str, dict[str, str]] = {
    entity: {"subject": "subject", "device": "device", "parent": "subject"} for entity in FIELDS
}

CODED = ("type", "model", "rule", "checklist")  # fields whose values are codes of packs: local ones get their pack


AS_OF = re.compile(r"as_of(?:([+-]\d{1,5})d)?")
ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}.*")


class Condition(Model):
    """``{field, op, value}``; or ``{field: <relation>, op: exists, where: […]}``.

    ``eq`` equals; ``in`` is one of; ``gte``/``lte`` at least/at most; ``is_null`` with value true or false;
    ``exists``/``not_exists`` at least one/no related record meets every condition of ``where``.
    A date or time is ISO text, or ``as_of``, ``as_of-180d``, ``as_of+30d``: counted from the date asked.
    """

    field: str = Field(pattern=r"^[a-z_]+(\.[a-z][a-z0-9_]*)*$")
    op: Literal["eq", "in", "gte", "lte", "is_null", "exists", "not_exists"] = "eq"
    value: Any = None
    where: list[Condition] = []

    @field_validator("value")
    @classmethod
    def _codes_in_full(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("field", "").rpartition(".")[2] not in CODED:
            return value
        if isinstance(value, list):
            return [full_code(v, info) if isinstance(v, str) else v for v in value]
        return full_code(value, info) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _value_fits_op(self) -> Condition:
        related = self.op in ("exists", "not_exists")
        if related and self.value is not None:
            raise ValueError(f"{self.op} takes where, not value")
        if not related and self.where:
            raise ValueError("where belongs to exists and not_exists")
        if self.op == "in" and (not isinstance(self.value, list) or not self.value):
            raise ValueError("in takes a list of one value or more")
        if self.op == "is_null" and not isinstance(self.value, bool):
            raise ValueError("is_null takes true or false")
        scalar = isinstance(self.value, bool | int | float | str)
        if self.op == "eq" and not scalar:
            raise ValueError("eq takes one value; for “unknown” use is_null")
        if self.op in ("gte", "lte") and isinstance(self.value, str):
            if not (AS_OF.fullmatch(self.value) or ISO_DATE.fullmatch(self.value)):
                raise ValueError(f"{self.value!r} is not a date; want 2023-01-31, as_of or as_of-180d")
        elif self.op in ("gte", "lte") and (not scalar or isinstance(self.value, bool)):
            raise ValueError(f"{self.op} takes a number, or a date or time as text")
        return self


class Count(Model):
    kind: Literal["count"]


class Distinct(Model):
    kind: Literal["distinct"]
    field: str


class Over(Model):
    """An aggregate of a number field."""

    kind: Literal["sum", "mean", "median", "max"]
    field: str


class Ratio(Model):
    kind: Literal["ratio"]
    numerator: list[Condition] = Field(min_length=1)
    denominator: list[Condition] = []


class Target(Model):
    """The value to reach: ``at_least``, ``at_most`` or both."""

    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Target:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a target gives at_least, at_most or both")
        return self


class Indicator(Model):
    """One figure. ``figure``: its id in the city's list of published figures (F24), where it has one.

    ``by``: how it may be broken down besides the total: ``division``, ``month`` (needs ``when``) or a text path
    such as ``subject.attributes.centre``. ``order``: its place on boards. ``headline``: shown on the board.
    """

    code: OwnCode
    figure: Annotated[str, Field(pattern=r"^F\d{2}$")] | None = None
    name: Name
    definition: Name
    what: Entity
    when: str | None = None
    where: list[Condition] = []
    measure: Annotated[Count | Distinct | Over | Ratio, Field(discriminator="kind")]
    unit: UnitCode
    target: Target | None = None
    by: list[str] = ["division"]
    headline: bool = False
    order: int = 100

    @field_validator("by")
    @classmethod
    def _once_each(cls, by: list[str]) -> list[str]:
        if len(set(by)) != len(by):
            raise ValueError("a breakdown is given twice")
        return by

    @model_validator(mode="after")
    def _month_needs_a_time(self) -> Indicator:
        if "month" in self.by and self.when is None:
            raise ValueError("by month needs when: the time field that places a record in a month")
        return self


class IndicatorsFile(Model):
    indicators: list[Indicator] = []


def kind_of(entity: str, path: str) -> Kind | None:
    """The kind of a field path from an entity; "text" for attributes (their own type is the pack's); None = no such."""
    here, parts = entity, path.split(".")
    for i, part in enumerate(parts):
        if part == "attributes" and here == "subject":
            return "text" if len(parts) == i + 2 else None
        kind = FIELDS.get(here, {}).get(part)
        if i == len(parts) - 1 or kind is None:
            return kind
        follow = FOLLOWS[here].get(part)
        if follow is None:
            return None
        here = follow
    return None


def reached(entity: str, path: str) -> str | None:
    """The entity of the to-many relation that a path names (``subject.devices`` of an alarm → ``device``), or None."""
    here, parts = entity, path.split(".")
    for part in parts[:-1]:
        if FIELDS[here].get(part) != "record" or part not in FOLLOWS[here]:
            return None
        here = FOLLOWS[here][part]
    return RELATIONS[here].get(parts[-1])
