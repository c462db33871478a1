"""References inside a pack: every name it uses must be declared, in the pack or in one it requires."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zhenan.packkit.schema import AlarmRule, Checklist, DeviceModel, Duty, SubjectType
from zhenan.packkit.schema_indicators import Condition, Indicator, Over, Ratio, kind_of, reached
from zhenan.packkit.schema_scenarios import Scenario
from zhenan.packkit.vocabulary import vocabulary
from zhenan.packkit.words import hint
from zhenan.packkit.yamlfile import Fault, Path_

if TYPE_CHECKING:
    from zhenan.packkit.loader import LoadedPack, Reading

Found = Iterator[tuple[Path_, str]]


class Known:
    """What a pack may refer to: its own objects and those of the packs it requires."""

    def __init__(self, reading: Reading, others: Mapping[str, LoadedPack] | None) -> None:
        info = reading.models.get("pack.yaml")
        self.pack = reading.pack
        self.sources: dict[str, Any] = dict(info.sources) if info else {}
        self.sources_known = info is not None
        self.requires: list[str] = list(info.requires) if info else []
        self.organisations = [kind.code for kind in info.organisations] if info else []
        self.foreign_unknown = others is None
        usable = [(others or {}).get(code) for code in self.requires]
        packs = [pack for pack in usable if pack is not None]
        self.types = _by_code(reading, "subjects.yaml", "subject_types", packs)
        self.models = _by_code(reading, "devices.yaml", "device_models", packs)
        self.rules = _by_code(reading, "alarms.yaml", "rules", packs, "alarm_rules")
        self.checklists = _by_code(reading, "checklists.yaml", "checklists", packs)
        # A file that failed says nothing about what it declares: do not report its names as unknown too.
        self.broken = {path.name for path in reading.folder.glob("*.yaml") if path.name not in reading.models}

    def missing(self, code: str, known: Mapping[str, Any], file: str, what: str) -> str | None:
        """The message when a reference leads nowhere."""
        if code in known or file in self.broken:
            return None
        pack = code.split(".")[0]
        if pack != self.pack:
            if pack not in self.requires:
                return f"{what} {code!r} is of pack {pack!r}, which is not in requires of pack.yaml"
            if self.foreign_unknown:
                return None
        local = [c.removeprefix(f"{self.pack}.") for c in known]
        return f"no {what} {code.removeprefix(self.pack + '.')!r}{hint(code.removeprefix(self.pack + '.'), local)}"

    def source(self, code: str) -> str | None:
        if code in self.sources or not self.sources_known:
            return None
        return f"no source {code!r} in pack.yaml{hint(code, self.sources)}"


def _by_code(
    reading: Reading, file: str, key: str, packs: list[LoadedPack], attribute: str | None = None
) -> dict[str, Any]:
    own = getattr(reading.models[file], key) if file in reading.models else []
    foreign = [one for pack in packs for one in getattr(pack, attribute or key)]
    return {one.code: one for one in [*foreign, *own]}


def faults(reading: Reading, others: Mapping[str, LoadedPack] | None) -> list[Fault]:
    """Every reference that leads nowhere, every code given twice, every unit that does not fit its measure."""
    known = Known(reading, others)
    found: list[Fault] = []

    def report(file: str, entries: Found) -> None:
        document = reading.documents[file]
        found.extend(Fault(file, document.line(path), document.key(path), text) for path, text in entries)

    if "pack.yaml" in reading.models:
        report("pack.yaml", _pack(reading, known, others))
    checks: list[tuple[str, str, Callable[[Any, Known], Found]]] = [
        ("subjects.yaml", "subject_types", _subject_type),
        ("devices.yaml", "device_models", _device_model),
        ("alarms.yaml", "rules", _alarm_rule),
        ("checklists.yaml", "checklists", _checklist),
        ("duties.yaml", "duties", _duty),
        ("indicators.yaml", "indicators", _indicator),
    ]
    for file, key, check in checks:
        if file in reading.models:
            report(file, _each(getattr(reading.models[file], key), key, known, check))
    for file, scenarios in reading.scenarios:
        report(file, _each(scenarios.scenarios, "scenarios", known, _scenario))
    return found


def _each(several: list[Any], key: str, known: Known, check: Callable[[Any, Known], Found]) -> Found:
    seen: set[str] = set()
    for i, one in enumerate(several):
        if one.code in seen:
            yield (key, i), f"code {one.code.rpartition('.')[2]!r} is given twice"
        seen.add(one.code)
        pack = one.code.partition(".")[0] if "." in one.code else known.pack
        if pack != known.pack:
            yield (key, i), f"code {one.code!r} is of another pack"
        for path, text in check(one, known):
            yield (key, i, *path), text


def _pack(reading: Reading, known: Known, others: Mapping[str, LoadedPack] | None) -> Found:
    if known.pack != reading.folder.name:
        yield ("code",), f"is {known.pack!r}, but the folder is {reading.folder.name!r}"
    for i, code in enumerate(known.requires):
        if others is not None and code not in others:
            yield ("requires", i), f"no usable pack {code!r}{hint(code, others)}"


def _subject_type(one: SubjectType, _: Known) -> Found:
    codes = [f.code for f in one.fields]
    for i, code in enumerate(codes):
        if code in codes[:i]:
            yield ("fields", i), f"field {code!r} is given twice"
    if one.code_field and one.code_field not in codes:
        yield ("code_field",), f"no field {one.code_field!r}{hint(one.code_field, codes)}"


def _device_model(one: DeviceModel, known: Known) -> Found:
    words = vocabulary()
    if one.part_of and (text := known.missing(one.part_of, known.models, "", "device model")):
        yield ("part_of",), text
    if one.life_source and (text := known.source(one.life_source)):
        yield ("life_source",), text
    for i, channel in enumerate(one.channels):
        if channel.measure and channel.unit:
            right = words.measures[channel.measure].unit
            if channel.unit != right:
                quantity = words.units[channel.unit].quantity
                same = quantity == words.units[right].quantity
                why = "bring it to that unit by scale" if same else f"{channel.unit!r} measures {quantity}"
                yield ("channels", i, "unit"), f"{channel.measure} is kept in {right!r}, came {channel.unit!r}; {why}"
        if channel.states and channel.measure:
            declared = words.measures[channel.measure].states
            for text_value, state in channel.states.items():
                if state not in declared:
                    allowed = ", ".join(map(str, declared)) or "none"
                    yield (
                        ("channels", i, "states", text_value),
                        f"{channel.measure} has no state {state}; it has {allowed}",
                    )
        for measure in channel.bits:
            if words.measures[measure].kind != "state":
                yield (
                    ("channels", i, "bits", measure),
                    f"a bit is 0 or 1, but {measure} is a {words.measures[measure].kind}",
                )


def _alarm_rule(one: AlarmRule, known: Known) -> Found:
    for i, code in enumerate(one.models):
        if text := known.missing(code, known.models, "devices.yaml", "device model"):
            yield ("models", i), text
        elif code in known.models and one.measure not in known.models[code].measures:
            yield ("models", i), f"has no {one.measure}{hint(one.measure, known.models[code].measures)}"
    own = [m for code, m in known.models.items() if code.startswith(known.pack + ".")]
    if not one.models and "devices.yaml" not in known.broken and not any(one.measure in m.measures for m in own):
        measures = [m for model in own for m in model.measures]
        yield ("measure",), f"no device model of this pack measures {one.measure}{hint(one.measure, measures)}"
    yield from _states_exist(one)
    for i, act in enumerate(one.act):
        if text := known.missing(act.model, known.models, "devices.yaml", "device model"):
            yield ("act", i, "model"), text
        elif act.model in known.models:
            commands = [c.code for c in known.models[act.model].commands]
            if act.command not in commands:
                yield ("act", i, "command"), f"no command {act.command!r}{hint(act.command, commands)}"
    if text := known.source(one.source):
        yield ("source",), text


def _states_exist(one: AlarmRule) -> Found:
    measure = vocabulary().measures[one.measure]
    if one.rule.get("kind") == "state" and measure.kind == "state":
        for state in one.rule["in"]:
            if state not in measure.states:
                yield (
                    ("rule", "in"),
                    f"{one.measure} has no state {state}; it has {', '.join(map(str, measure.states))}",
                )


def _checklist(one: Checklist, known: Known) -> Found:
    for i, code in enumerate(one.subject_types):
        if text := known.missing(code, known.types, "subjects.yaml", "subject type"):
            yield ("subject_types", i), text
    codes = [item.code for item in one.items]
    for i, item in enumerate(one.items):
        if item.code in codes[:i]:
            yield ("items", i), f"item {item.code!r} is given twice"
        if text := known.source(item.basis.source):
            yield ("items", i, "basis", "source"), text


def _duty(one: Duty, known: Known) -> Found:
    for i, code in enumerate(one.subject_types):
        if text := known.missing(code, known.types, "subjects.yaml", "subject type"):
            yield ("subject_types", i), text
    if text := known.source(one.source):
        yield ("source",), text
    places: list[tuple[str, int, str | None]] = [("levels", i, e.checklist) for i, e in enumerate(one.levels)]
    places += [("tasks", i, e.checklist) for i, e in enumerate(one.tasks)]
    for key, i, checklist in places:
        if checklist and (text := known.missing(checklist, known.checklists, "checklists.yaml", "checklist")):
            yield (key, i, "checklist"), text
    levels = [entry.level for entry in one.levels]
    for i, task in enumerate(one.tasks):
        if task.level not in levels:
            yield ("tasks", i, "level"), f"no one is responsible at level {task.level!r}{hint(task.level, levels)}"
        if text := known.source(task.basis.source):
            yield ("tasks", i, "basis", "source"), text


def _indicator(one: Indicator, known: Known) -> Found:
    if one.when and kind_of(one.what, one.when) not in ("time", "date"):
        yield ("when",), f"{one.what} has no time field {one.when!r}"
    yield from _conditions(one.what, one.where, ("where",), known)
    measure = one.measure
    if isinstance(measure, Ratio):
        yield from _conditions(one.what, measure.numerator, ("measure", "numerator"), known)
        yield from _conditions(one.what, measure.denominator, ("measure", "denominator"), known)
    elif measure.kind != "count":
        kind = _field_kind(one.what, measure.field, known)
        if kind is None:
            yield ("measure", "field"), f"{one.what} has no field {measure.field!r}"
        elif isinstance(measure, Over) and kind != "number":
            yield ("measure", "field"), f"{measure.kind} needs a number; {measure.field} is a {kind}"
    for i, path in enumerate(one.by):
        if path not in ("division", "month") and _field_kind(one.what, path, known) not in ("text", "bool", "record"):
            yield ("by", i), f"want division, month or a text field of {one.what}; came {path!r}"


def _conditions(entity: str, conditions: list[Condition], path: Path_, known: Known) -> Found:
    for i, condition in enumerate(conditions):
        here = (*path, i)
        if condition.op in ("exists", "not_exists"):
            below = reached(entity, condition.field)
            if below is None:
                yield (*here, "field"), f"{entity} has no related records {condition.field!r}"
            else:
                yield from _conditions(below, condition.where, (*here, "where"), known)
            continue
        kind = _field_kind(entity, condition.field, known)
        if kind is None:
            yield (*here, "field"), f"{entity} has no field {condition.field!r}"
        elif kind == "bool" and condition.op == "eq" and not isinstance(condition.value, bool):
            yield (*here, "value"), f"{condition.field} is true or false; came {condition.value!r}"
        else:
            yield from _values(condition, here, known)


def _values(condition: Condition, here: Path_, known: Known) -> Found:
    """Codes among the values must exist: of packs, or of the vocabulary."""
    words = vocabulary()
    last = condition.field.rpartition(".")[2]
    if "attributes." in condition.field or condition.op == "is_null":
        return
    values = condition.value if isinstance(condition.value, list) else [condition.value]
    tables: dict[str, tuple[Mapping[str, Any], str]] = {
        "type": (known.types, "subjects.yaml"),
        "model": (known.models, "devices.yaml"),
        "rule": (known.rules, "alarms.yaml"),
        "checklist": (known.checklists, "checklists.yaml"),
    }
    vocab: dict[str, Mapping[str, Any]] = {"severity": words.hazard_severities, "cause": words.alarm_causes}
    for value in values:
        if last in tables and (text := known.missing(str(value), *tables[last], last)):
            yield (*here, "value"), text
        elif last in vocab and value not in vocab[last]:
            yield (*here, "value"), f"no {last} {value!r}{hint(str(value), vocab[last])}"


def _field_kind(entity: str, path: str, known: Known) -> str | None:
    """As kind_of, with the kind of a subject's attribute taken from the types that declare it."""
    kind = kind_of(entity, path)
    head, _, attribute = path.rpartition(".")
    if kind is None or not (head == "attributes" or head.endswith(".attributes")):
        return kind
    if "subjects.yaml" in known.broken:
        return None
    declared = [f for t in known.types.values() if (f := t.field(attribute))]
    if not declared:
        return None
    return {"int": "number", "number": "number", "bool": "bool", "date": "date"}.get(declared[0].type, "text")


def _scenario(one: Scenario, known: Known) -> Found:
    if one.model and (text := known.missing(one.model, known.models, "devices.yaml", "device model")):
        yield ("model",), text
    elif one.model in known.models and one.measure not in known.models[one.model].measures:
        yield (
            ("measure",),
            f"{one.model} has no {one.measure}{hint(str(one.measure), known.models[one.model].measures)}",
        )
    for i, alarm in enumerate(one.alarms):
        if text := known.missing(alarm.rule, known.rules, "alarms.yaml", "alarm rule"):
            yield ("alarms", i, "rule"), text
    if one.checklist is None:
        return
    if text := known.missing(one.checklist, known.checklists, "checklists.yaml", "checklist"):
        yield ("checklist",), text
    elif one.checklist in known.checklists:
        items = [item.code for item in known.checklists[one.checklist].items]
        for code in one.answers:
            if code not in items:
                yield ("answers", code), f"no item {code!r}{hint(code, items)}"
        for i, hazard in enumerate(one.hazards):
            if hazard.item not in items:
                yield ("hazards", i, "item"), f"no item {hazard.item!r}{hint(hazard.item, items)}"
