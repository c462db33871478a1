"""Load a pack as a whole, or say everything that is wrong with it at once. Needs no Django."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from zhenan.packkit import references
from zhenan.packkit.readable import faults_of
from zhenan.packkit.schema import (
    AlarmRule,
    AlarmsFile,
    Checklist,
    ChecklistsFile,
    DeviceModel,
    DevicesFile,
    DutiesFile,
    Duty,
    PackInfo,
    QualityFile,
    SubjectsFile,
    SubjectType,
)
from zhenan.packkit.schema_indicators import Indicator, IndicatorsFile
from zhenan.packkit.schema_scenarios import Scenario, ScenariosFile
from zhenan.packkit.words import hint
from zhenan.packkit.yamlfile import Document, Fault, YamlFault, read_yaml

FILES: dict[str, type[BaseModel]] = {
    "pack.yaml": PackInfo,
    "subjects.yaml": SubjectsFile,
    "devices.yaml": DevicesFile,
    "alarms.yaml": AlarmsFile,
    "checklists.yaml": ChecklistsFile,
    "duties.yaml": DutiesFile,
    "indicators.yaml": IndicatorsFile,
    "quality.yaml": QualityFile,
}
NEEDED = ("pack.yaml", "quality.yaml")
OTHERS = ("simulate.py", "rules.py", "__init__.py", "README.md", "scenarios", "tests", "locale", "__pycache__")
MAX_SCENARIO_FILES = 200
DIGEST_FORM = "2:"  # digests of different forms cannot be compared

# kind of object → (file, key in the file); the kinds that are synced and may be overridden by the city
KINDS: dict[str, tuple[str, str]] = {
    "subject_type": ("subjects.yaml", "subject_types"),
    "device_model": ("devices.yaml", "device_models"),
    "alarm_rule": ("alarms.yaml", "rules"),
    "checklist": ("checklists.yaml", "checklists"),
    "duty": ("duties.yaml", "duties"),
    "indicator": ("indicators.yaml", "indicators"),
}
MODELS: dict[str, type[BaseModel]] = {
    "subject_type": SubjectType,
    "device_model": DeviceModel,
    "alarm_rule": AlarmRule,
    "checklist": Checklist,
    "duty": Duty,
    "indicator": Indicator,
}

M = TypeVar("M", bound=BaseModel)


class PackFault(ValueError):
    """One or more packs cannot be used; ``faults`` holds every reason, a line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


@dataclass(frozen=True)
class LoadedPack:
    """A sound pack. All codes are in full (``pack.local``)."""

    folder: Path
    info: PackInfo
    subject_types: tuple[SubjectType, ...] = ()
    device_models: tuple[DeviceModel, ...] = ()
    alarm_rules: tuple[AlarmRule, ...] = ()
    checklists: tuple[Checklist, ...] = ()
    duties: tuple[Duty, ...] = ()
    indicators: tuple[Indicator, ...] = ()
    quality: QualityFile | None = None
    scenarios: tuple[Scenario, ...] = ()

    @property
    def code(self) -> str:
        return self.info.code

    def objects(self) -> Iterable[tuple[str, str, Any]]:
        """(kind, full code, model) of everything that is synced and may be overridden."""
        for kind, several in (
            ("subject_type", self.subject_types),
            ("device_model", self.device_models),
            ("alarm_rule", self.alarm_rules),
            ("checklist", self.checklists),
            ("duty", self.duties),
            ("indicator", self.indicators),
        ):
            for one in several:
                yield kind, one.code, one

    @cached_property
    def digest(self) -> str:
        """What the pack says, free of comments and layout, as DIGEST_FORM and 62 hex digits of SHA-256.

        Scenarios and quality are left out. So are defaults: a field that a later platform adds changes no pack.
        """
        said = {"info": _said(self.info)} | {f"{kind} {code}": _said(obj) for kind, code, obj in self.objects()}
        text = json.dumps(said, sort_keys=True, ensure_ascii=False)
        return DIGEST_FORM + hashlib.sha256(text.encode()).hexdigest()[:62]


def _said(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude_defaults=True)


def dump(model: BaseModel) -> dict[str, Any]:
    """A model as JSON data that validates back to an equal model."""
    return model.model_dump(mode="json", exclude_defaults=False)


@dataclass
class Reading:
    """A pack's folder being read."""

    folder: Path
    documents: dict[str, Document] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    scenarios: list[tuple[str, ScenariosFile]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def pack(self) -> str:
        document = self.documents.get("pack.yaml")
        code = document.data.get("code") if document and isinstance(document.data, dict) else None
        return code if isinstance(code, str) and code else self.folder.name


def discover(dirs: Iterable[Path]) -> list[Path]:
    """The pack folders in these directories, by name: each sub-folder that has a pack.yaml."""
    found = [p.parent for folder in dirs if folder.is_dir() for p in sorted(folder.glob("*/pack.yaml"))]
    return sorted(found, key=lambda folder: folder.name)


def problems_in(folder: Path, others: Mapping[str, LoadedPack] | None = None) -> list[str]:
    """Every fault of one pack, a line each: ``pack/file:line: key path: what is wrong``; [] when sound.

    ``others``: sound packs by code, against which references to other packs are checked; without them only
    ``requires`` is looked at.
    """
    reading = _read(folder, others)
    return [f"{folder.name}/{fault}" for fault in sorted(reading.faults, key=lambda f: (f.file, f.line))]


def load_pack(folder: Path, others: Mapping[str, LoadedPack] | None = None) -> LoadedPack:
    """A sound pack. Raises PackFault with every fault of it."""
    reading = _read(folder, others)
    if reading.faults:
        found = sorted(reading.faults, key=lambda f: (f.file, f.line))
        raise PackFault([f"{folder.name}/{fault}" for fault in found])
    models = reading.models

    def part(file: str, key: str) -> tuple[Any, ...]:
        return tuple(getattr(models[file], key)) if file in models else ()

    return LoadedPack(
        folder=folder,
        info=models["pack.yaml"],
        **{_PLURAL[kind]: part(*place) for kind, place in KINDS.items()},
        quality=models.get("quality.yaml"),
        scenarios=tuple(s for _, file in reading.scenarios for s in file.scenarios),
    )


_PLURAL = {
    "subject_type": "subject_types",
    "device_model": "device_models",
    "alarm_rule": "alarm_rules",
    "checklist": "checklists",
    "duty": "duties",
    "indicator": "indicators",
}


def load_all(dirs: Iterable[Path]) -> list[LoadedPack]:
    """All packs, each after those it requires. Raises PackFault with every fault of every pack."""
    folders = discover(dirs)
    faults = _twice(folders)
    waiting, loaded = list(folders), dict[str, LoadedPack]()
    while waiting:
        ready = [f for f in waiting if _required(f) <= set(loaded)]
        if not ready:
            for folder in waiting:
                missing = sorted(_required(folder) - set(loaded))
                faults.append(f"{folder.name}/pack.yaml: requires: no usable pack {', '.join(missing)}")
            break
        for folder in ready:
            waiting.remove(folder)
            try:
                pack = load_pack(folder, loaded)
                loaded[pack.code] = pack
            except PackFault as err:
                faults += err.faults
    if faults:
        raise PackFault(faults)
    return list(loaded.values())


def _twice(folders: Sequence[Path]) -> list[str]:
    names = [folder.name for folder in folders]
    return [
        f"{f.name}: another pack folder has this name too: {f}" for i, f in enumerate(folders) if f.name in names[:i]
    ]


def _required(folder: Path) -> set[str]:
    try:
        data = read_yaml(folder / "pack.yaml").data
    except YamlFault:
        return set()
    requires = data.get("requires") if isinstance(data, dict) else None
    return {code for code in requires if isinstance(code, str)} if isinstance(requires, list) else set()


def _read(folder: Path, others: Mapping[str, LoadedPack] | None) -> Reading:
    reading = Reading(folder)
    if not folder.is_dir():
        reading.faults.append(Fault("pack.yaml", 0, "", f"no such folder: {folder}"))
        return reading
    _look_around(reading)
    for name in FILES:
        if (folder / name).exists():
            _read_one(reading, name)
        elif name in NEEDED:
            reading.faults.append(Fault(name, 0, "", "is missing"))
    for name, model in FILES.items():
        if name in reading.documents:
            checked = _validate(reading, reading.documents[name], model)
            if checked is not None:
                reading.models[name] = checked
    _read_scenarios(reading)
    reading.faults += references.faults(reading, others)
    return reading


def _look_around(reading: Reading) -> None:
    """Files nobody would read: most often a misspelt name."""
    for path in sorted(reading.folder.iterdir()):
        if path.name not in FILES and path.name not in OTHERS and not path.name.startswith("."):
            message = f"no such file in a pack{hint(path.name, [*FILES, *OTHERS[:5]])}"
            reading.faults.append(Fault(path.name, 0, "", message))


def _read_one(reading: Reading, name: str) -> None:
    try:
        document = read_yaml(reading.folder / name, name)
    except YamlFault as err:
        reading.faults += err.faults
        return
    reading.faults += document.faults
    reading.documents[name] = document


def _validate(reading: Reading, document: Document, model: type[M]) -> M | None:
    try:
        return model.model_validate(document.data, context={"pack": reading.pack})
    except ValidationError as err:
        reading.faults += faults_of(err, document, model)
        return None


def _read_scenarios(reading: Reading) -> None:
    paths = sorted((reading.folder / "scenarios").glob("*.y*ml"))
    if len(paths) > MAX_SCENARIO_FILES:
        reading.faults.append(Fault("scenarios", 0, "", f"has {len(paths)} files; {MAX_SCENARIO_FILES} are allowed"))
        return
    for path in paths:
        name = f"scenarios/{path.name}"
        _read_one(reading, name)
        if name in reading.documents:
            checked = _validate(reading, reading.documents[name], ScenariosFile)
            if checked is not None:
                reading.scenarios.append((name, checked))
