"""What the files of a pack may say: frozen models, unknown keys refused. docs: one class a YAML object.

Codes are written local in a pack's files (``caterer``) and are ``pack.local`` (``catering_gas.caterer``) once loaded.
Indicators and scenarios have modules of their own (schema_indicators, schema_scenarios).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from zhenan.packkit.judging import is_composite, problems_of_rule
from zhenan.packkit.vocabulary import Word, vocabulary
from zhenan.packkit.words import hint
from zhenan.telemetry.codecs.commands import CATALOGUE
from zhenan.telemetry.gateway.mapping import Layout, path_fault, written


def full_code(code: str, info: ValidationInfo) -> str:
    """``caterer`` → ``catering_gas.caterer`` when read from a pack's files (the loader gives the pack as context)."""
    pack = (info.context or {}).get("pack")
    return f"{pack}.{code}" if pack and "." not in code else code


def _word_of(part: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        known = [str(code) for code in getattr(vocabulary(), part)]
        if value not in known:
            text = f"no {part.replace('_', ' ')[:-1]} {value!r} in the vocabulary{hint(value, known)}"
            raise PydanticCustomError("word", "{text}", {"text": text})
        return value

    return check


Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,47}$")]
_ANY_CODE = Field(pattern=r"^[a-z][a-z0-9_]{0,47}(\.[a-z][a-z0-9_]{0,47})?$")
# Written ``caterer`` in a pack's own files, ``catering_gas.caterer`` everywhere after loading.
OwnCode = Annotated[str, _ANY_CODE, AfterValidator(full_code)]
Reference = Annotated[str, _ANY_CODE, AfterValidator(full_code)]
Name = Word


class Model(BaseModel):
    """Base of everything in a pack."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


Role = Annotated[str, AfterValidator(_word_of("roles"))]
MeasureCode = Annotated[str, AfterValidator(_word_of("measures"))]
ContractLevel = Annotated[str, AfterValidator(_word_of("contract_levels"))]
UnitCode = Annotated[str, AfterValidator(_word_of("units"))]
Period = Annotated[str, AfterValidator(_word_of("periods"))]
RungCode = Annotated[str, AfterValidator(_word_of("quality_rungs"))]


# ---- pack.yaml ---------------------------------------------------------------------------------------------------


class Source(Model):
    """A law, standard or decision that thresholds and items cite."""

    title: Name
    status: Literal["confirmed", "known", "configurable", "unverified", "city"]
    note: str = ""


class OrganisationKind(Model):
    """A kind of organisation the programme works with (service centre, gas company …)."""

    code: Code
    name: Name


class PackInfo(Model):
    """pack.yaml. ``version`` goes up by one at every change of any file of the pack."""

    code: Code
    version: int = Field(ge=1)
    name: Name
    summary: Name
    department: Name
    systems: list[Annotated[str, Field(pattern=r"^S\d{2}$")]] = []
    requires: list[Code] = []
    organisations: list[OrganisationKind] = []
    sources: dict[str, Source] = Field(min_length=1)


# ---- subjects.yaml -----------------------------------------------------------------------------------------------


class Choice(Model):
    code: str = Field(min_length=1, max_length=48)
    name: Name


class SubjectField(Model):
    """One typed attribute. Stored in Subject.attributes[code]; absent or null = not known."""

    code: Code
    name: Name
    type: Literal["text", "int", "number", "choice", "bool", "date", "phone", "credit_code"]
    unit: UnitCode | None = None
    required: bool = False
    choices: list[Choice] = []
    min: float | None = None
    max: float | None = None
    filter: bool = False
    in_list: bool = False
    help: Name | None = None

    @model_validator(mode="after")
    def _fits_its_type(self) -> SubjectField:
        if bool(self.choices) != (self.type == "choice"):
            raise ValueError("choices are given for type choice, and for no other")
        if self.type not in ("int", "number") and (self.unit or self.min is not None or self.max is not None):
            raise ValueError("unit, min and max belong to types int and number")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        codes = [choice.code for choice in self.choices]
        if len(set(codes)) != len(codes):
            raise ValueError("a choice's code is given twice")
        return self


class SubjectType(Model):
    """A kind of supervised object. ``code_field`` names the field that identifies one in imports (else: the name)."""

    code: OwnCode
    name: Name
    icon: str = Field(default="building", pattern=r"^[a-z0-9-]+$")
    colour: str = Field(default="#206bc4", pattern=r"^#[0-9a-f]{6}$")
    fields: list[SubjectField] = []
    code_field: str | None = None
    panels: list[Literal["devices", "alarms", "hazards", "inspections", "contracts", "children", "timeline"]] = [
        "devices",
        "alarms",
        "hazards",
        "inspections",
        "contracts",
        "timeline",
    ]

    def field(self, code: str) -> SubjectField | None:
        return next((f for f in self.fields if f.code == code), None)


class SubjectsFile(Model):
    subject_types: list[SubjectType] = []


# ---- devices.yaml ------------------------------------------------------------------------------------------------


def _path(path: str) -> str:
    return _sound_path(path, one=False)


def _single_path(path: str) -> str:
    return _sound_path(path, one=True)


def _sound_path(path: str, *, one: bool) -> str:
    fault = path_fault(path, one=one)
    if fault:
        raise PydanticCustomError("path", "{text}", {"text": fault})
    return path


AnyPath = Annotated[str, AfterValidator(_path)]
SinglePath = Annotated[str, AfterValidator(_single_path)]


class PayloadShape(Model):
    """Where a JSON payload of the maker's own shape has its samples and their time. All are JSONPath (RFC 9535).

    ``samples``: to the samples, each of which ``ts`` and the channels' ``path`` begin at; ``$``: the payload is one
    sample. ``ts_unit``: auto takes numbers below 10^11 for seconds. ``local_time``: ISO times without a zone are UTC+8.
    ``numeric_text``: numbers may be written as text ("12.3").
    """

    samples: AnyPath = "$"
    ts: SinglePath | None = None
    ts_unit: Literal["auto", "ms", "s"] = "auto"
    local_time: bool = False
    numeric_text: bool = False


class Channel(Model):
    """One channel of a device, yielding one point (``measure``) or several (``bits`` of a status word).

    ``channel``: the decoder's name with ``*`` or ``[0-4]`` for what varies: a JSON key; or for GB/T 26875.3
    ``sys{system}.{component type}.{component address}.a{analogue type}`` or ``….status``, and ``status`` for the
    transmission device itself; for JT/T 808 the keys of its readings (``speed_kmh``, ``alarm``, ``dsm.t1``). Value of a
    point: raw x scale + offset, in the measure's unit; a bit gives 0 or 1.
    ``path`` is the channel's place in a JSON payload of the maker's own shape (JSONPath within a sample, see
    PayloadShape). ``states`` turns a JSON text into a state's number. A value outside ``range`` is unfit (quality
    bad), never judged.
    """

    channel: str = Field(pattern=r"^[A-Za-z0-9_*\[\]-]+(\.[A-Za-z0-9_*\[\]-]+)*$", max_length=64)
    measure: MeasureCode | None = None
    unit: UnitCode | None = None
    scale: float = 1.0
    offset: float = 0.0
    range: tuple[float, float] | None = None
    bits: dict[MeasureCode, Annotated[int, Field(ge=0, le=31)]] = {}
    states: dict[str, int] = {}
    every_s: float | None = Field(default=None, gt=0)  # how often it normally reports; None: only on change
    path: SinglePath | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Channel:
        if bool(self.bits) == (self.measure is not None):
            raise ValueError("give either measure, or bits (measure: bit number), not both and not neither")
        if self.measure is not None and self.unit is None:
            raise ValueError("unit is missing: say in which unit the value is after scale and offset")
        if self.scale == 0:
            raise ValueError("scale is 0; every reading would be lost")
        if self.range and self.range[0] >= self.range[1]:
            raise ValueError(f"range runs from {self.range[0]} to {self.range[1]}; want low before high")
        if self.bits and (self.range or self.states or self.unit):
            raise ValueError("bits give 0 or 1; range, states and unit do not apply")
        return self

    @property
    def measures(self) -> list[str]:
        return [self.measure] if self.measure else list(self.bits)

    def matches(self, name: str) -> bool:
        """Whether a decoder's channel name is this channel; ``*`` stands for one dotted part."""
        mine, theirs = self.channel.split("."), name.split(".")
        return len(mine) == len(theirs) and all(fnmatchcase(t, m) for m, t in zip(mine, theirs, strict=True))


class Command(Model):
    """What an actuator can be told; ``payload`` is published as JSON to ``d/{device key}/down/cmd/{id}`` with QoS 1.

    ``retained``: the broker also gives it to a device that subscribes later, until the command has ended: for a state
    to be in (a limit, a text on a display), not for something to do once.
    """

    code: Code
    name: Name
    payload: dict[str, str | int | float | bool] = Field(min_length=1)
    retained: bool = False


class DeviceModel(Model):
    """A model of device. ``part_of``: reports through a device of that model (terminal behind a transmission device).

    ``offline_after_s``: without a reading for so long it counts as offline. ``life_years`` from the date of making.
    ``downlink``: the commands of its protocol that it may be given; left out, all of them.
    """

    code: OwnCode
    name: Name
    protocol: Literal["gb26875", "mqtt_json", "jt808", "hj212"]
    function: Literal["sensor", "actuator", "gateway"] = "sensor"
    part_of: Reference | None = None
    channels: list[Channel] = Field(min_length=1)
    commands: list[Command] = []
    downlink: list[str] | None = None
    payload: PayloadShape | None = None
    life_years: float | None = Field(default=None, gt=0)
    life_source: str | None = None
    offline_after_s: float | None = Field(default=None, gt=0)

    @property
    def measures(self) -> list[str]:
        return [m for channel in self.channels for m in channel.measures]

    @model_validator(mode="after")
    def _sound(self) -> DeviceModel:
        twice = sorted({m for m in self.measures if self.measures.count(m) > 1})
        if twice:
            raise ValueError(f"measure {', '.join(twice)} comes from two channels; a point is (device, measure)")
        if bool(self.commands) != (self.function == "actuator"):
            raise ValueError("commands are given for function actuator, and for no other")
        if (self.life_years is None) != (self.life_source is None):
            raise ValueError("life_years and life_source go together")
        self._check_paths()
        known = list(CATALOGUE.get(self.protocol, {}))
        for code in self.downlink or ():
            if code not in known:
                raise ValueError(f"downlink: {self.protocol} has no command {code!r}{hint(code, known)}")
        return self

    def _check_paths(self) -> None:
        """Either the payload is flat, or it has a shape and every channel its place in it."""
        placed = [c.channel for c in self.channels if c.path is not None]
        if not placed and self.payload is None:
            return
        if self.protocol != "mqtt_json":
            raise ValueError(f"path and payload belong to protocol mqtt_json; got {self.protocol}")
        lacking = [c.channel for c in self.channels if c.path is None]
        if lacking:
            raise ValueError(f"channels without a path: {', '.join(lacking)}; give all of them one, or none")
        varying = [c.channel for c in self.channels if "*" in c.channel or "[" in c.channel]
        if varying:
            raise ValueError(f"a channel with a path has a plain name; got {', '.join(varying)}")

    @property
    def layout(self) -> str:
        """How its JSON payload is laid out, as the gateway takes it; "" for a flat one."""
        if not any(c.path for c in self.channels):
            return ""
        shape = self.payload or PayloadShape()
        return written(
            Layout(
                {c.channel: c.path for c in self.channels if c.path}, shape.samples, shape.ts or "", shape.ts_unit,
                shape.local_time, shape.numeric_text,
            )
        )  # fmt: skip


class DevicesFile(Model):
    device_models: list[DeviceModel] = []


# ---- alarms.yaml -------------------------------------------------------------------------------------------------


class Act(Model):
    """On raise, tell the subject's devices of this model to do this."""

    model: Reference
    command: Code


class AlarmRule(Model):
    """A rule of the judge (docs: kinds and exact meaning as in the judge), with what to do when it is raised.

    Of kind ``all_of`` or ``n_of`` it is a composite: ``rules`` names others of the file, ``measure`` is one of theirs.

    Applies to the points of ``measure`` of the pack's own models, or of ``models`` where given.
    ``respond_s``: within which the alarm must be acknowledged.
    ``family``: rules of one family on one point make one alarm that goes up and down in level.
    ``covers_children``: while the alarm stands on a device, the silence of those that report through it is folded
    into it (main power lost). A silence always does.
    """

    id: OwnCode
    measure: MeasureCode
    models: list[Reference] = []
    rule: dict[str, Any]
    level: Literal[1, 2, 3, 4]
    name: Name
    explain: Name
    tell: list[Role] = Field(min_length=1)
    respond_s: int = Field(gt=0)
    act: list[Act] = []
    hazard: Literal["general", "major"] | None = None  # the severity proposed when turned into a hazard
    source: str
    family: Code | None = None
    covers_children: bool = False

    @property
    def code(self) -> str:
        return self.id

    @property
    def is_composite(self) -> bool:
        return is_composite(self.rule)

    @property
    def is_silence(self) -> bool:
        return self.rule.get("kind") == "silence"

    @property
    def covers(self) -> bool:
        """Whether an alarm of it takes the silences of the device's children."""
        return self.is_silence or self.covers_children

    @field_validator("rule")
    @classmethod
    def _judge_takes_it(cls, rule: dict[str, Any]) -> dict[str, Any]:
        problems = problems_of_rule(rule)
        if problems:
            raise ValueError("; ".join(problems))
        return rule

    def judge_rule(self, rule_id: str | None = None) -> dict[str, Any]:
        """The rule as the judge's rules file writes it."""
        return {"id": rule_id or self.id, **self.rule, "level": self.level}


class AlarmsFile(Model):
    rules: list[AlarmRule] = []

    @model_validator(mode="after")
    def _composites_name_rules(self) -> AlarmsFile:
        simple = {rule.id.rpartition(".")[2]: rule for rule in self.rules if not rule.is_composite}
        for rule in self.rules:
            for name in rule.rule.get("rules", ()) if rule.is_composite else ():
                if name not in simple:
                    raise ValueError(f"{rule.id}: rule.rules: no rule {name!r} of readings in this file")
        return self


# ---- checklists.yaml ---------------------------------------------------------------------------------------------


class Basis(Model):
    """A source of pack.yaml and the article or clause within it."""

    source: str
    article: str = Field(min_length=1)


class CheckItem(Model):
    """One thing to look at. ``criterion``: what must be so for a pass. ``weight``: its share in a score."""

    code: Code
    text: Name
    criterion: Name
    basis: Basis
    severity_if_failed: Literal["general", "major"]
    evidence: Literal["none", "photo", "document"] = "none"
    weight: float = Field(default=1.0, gt=0)
    answers: list[Literal["pass", "fail", "na"]] = ["pass", "fail", "na"]
    rectify_days: int | None = Field(default=None, ge=0)

    @field_validator("answers")
    @classmethod
    def _can_pass_and_fail(cls, answers: list[str]) -> list[str]:
        if not {"pass", "fail"} <= set(answers):
            raise ValueError("an item can at least pass and fail")
        return answers


class Checklist(Model):
    """A list of checks for subject types. ``about``: hazards of the place, responsibilities, or both."""

    code: OwnCode
    version: int = Field(ge=1)
    name: Name
    about: Literal["hazards", "responsibilities", "joint_action"] = "hazards"
    subject_types: list[Reference] = Field(min_length=1)
    items: list[CheckItem] = Field(min_length=1)

    def item(self, code: str) -> CheckItem | None:
        return next((i for i in self.items if i.code == code), None)


class ChecklistsFile(Model):
    checklists: list[Checklist] = []


# ---- duties.yaml -------------------------------------------------------------------------------------------------


class DutyLevel(Model):
    """At this level exactly one person is responsible; visits at least every so many days (None: no visits)."""

    level: ContractLevel
    visit_every_days: int | None = Field(default=None, ge=1)
    checklist: Reference | None = None


class DutyTask(Model):
    """A recurring task of one level, made once in each period."""

    code: Code
    name: Name
    level: ContractLevel
    every: Period
    checklist: Reference | None = None
    basis: Basis


class Duty(Model):
    """Who must be responsible for every subject of the types, and how often each level looks."""

    code: OwnCode
    subject_types: list[Reference] = Field(min_length=1)
    levels: list[DutyLevel] = Field(min_length=1)
    tasks: list[DutyTask] = []
    source: str

    @field_validator("levels")
    @classmethod
    def _one_entry_a_level(cls, levels: list[DutyLevel]) -> list[DutyLevel]:
        codes = [entry.level for entry in levels]
        if len(set(codes)) != len(codes):
            raise ValueError("a level is given twice")
        return levels


class DutiesFile(Model):
    duties: list[Duty] = []


# ---- quality.yaml ------------------------------------------------------------------------------------------------


class Rung(Model):
    state: Literal["done", "todo", "exempt"]
    reason: str = ""

    @model_validator(mode="after")
    def _says_why_not(self) -> Rung:
        if self.state != "done" and not self.reason:
            raise ValueError(f"a rung that is {self.state} says why in reason")
        return self


class QualityFile(Model):
    rungs: dict[RungCode, Rung]

    @field_validator("rungs")
    @classmethod
    def _every_rung(cls, rungs: Mapping[str, Rung]) -> Mapping[str, Rung]:
        missing = [code for code in vocabulary().quality_rungs if code not in rungs]
        if missing:
            raise ValueError(f"no word on {', '.join(missing)}")
        return rungs
