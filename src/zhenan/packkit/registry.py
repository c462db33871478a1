"""Typed look-ups over all packs, with the city's own overrides. Codes are ``pack.local``.

``registry()`` reads the database when Django is set up and packs were synced, else the files alone. It is kept in the
process; whether another process changed something is asked at most every CHECK_S seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from zhenan.packkit.loader import LoadedPack, load_all
from zhenan.packkit.schema import AlarmRule, CheckItem, Checklist, DeviceModel, Duty, PackInfo, SubjectType
from zhenan.packkit.schema_indicators import Indicator
from zhenan.packkit.vocabulary import Vocabulary, Word, vocabulary

CHECK_S = 2.0
FILES = "files"  # the stamp of a registry read from the files alone
DEFAULT_DIR = Path(__file__).resolve().parents[1] / "packs"


class UnknownCode(KeyError):
    """No pack declares this code."""

    def __init__(self, kind: str, code: str) -> None:
        super().__init__(code)
        self.kind, self.code = kind, code

    def __str__(self) -> str:
        return f"no {self.kind.replace('_', ' ')} {self.code!r} in any pack"


@dataclass(frozen=True)
class Registry:
    """Everything that packs declare. Look-ups by code also find what was retired; lists hold what is active."""

    packs: Mapping[str, PackInfo]
    all_objects: Mapping[str, Mapping[str, Any]]  # kind → code → model
    retired: frozenset[tuple[str, str]] = frozenset()
    folders: Mapping[str, Path] = field(default_factory=dict)
    stamp: str = ""  # changes whenever something in it may have changed

    def _get(self, kind: str, code: str) -> Any:
        try:
            return self.all_objects[kind][code]
        except KeyError:
            raise UnknownCode(kind, code) from None

    def _list(self, kind: str, pack: str | None) -> list[Any]:
        several = self.all_objects.get(kind, {})
        return [
            one
            for code, one in several.items()
            if (kind, code) not in self.retired and (pack is None or code.partition(".")[0] == pack)
        ]

    def subject_type(self, code: str) -> SubjectType:
        """Raises UnknownCode; so do all look-ups by code."""
        return self._get("subject_type", code)

    def subject_types(self, pack: str | None = None) -> list[SubjectType]:
        return self._list("subject_type", pack)

    def device_model(self, code: str) -> DeviceModel:
        return self._get("device_model", code)

    def device_models(self, pack: str | None = None) -> list[DeviceModel]:
        return self._list("device_model", pack)

    def alarm_rule(self, code: str) -> AlarmRule:
        return self._get("alarm_rule", code)

    def alarm_rules(self, pack: str | None = None) -> list[AlarmRule]:
        return self._list("alarm_rule", pack)

    def checklist(self, code: str) -> Checklist:
        return self._get("checklist", code)

    def checklists(self, pack: str | None = None, *, subject_type: str | None = None) -> list[Checklist]:
        """Checklists, of those that fit a subject type where one is given."""
        return [c for c in self._list("checklist", pack) if subject_type is None or subject_type in c.subject_types]

    def check_item(self, checklist: str, item: str) -> CheckItem:
        found = self.checklist(checklist).item(item)
        if found is None:
            raise UnknownCode("check_item", f"{checklist}/{item}")
        return found

    def duties(self, pack: str | None = None, *, subject_type: str | None = None) -> list[Duty]:
        """Duties, of those that bind a subject type where one is given."""
        return [d for d in self._list("duty", pack) if subject_type is None or subject_type in d.subject_types]

    def indicator(self, code: str) -> Indicator:
        return self._get("indicator", code)

    def indicators(self, pack: str | None = None) -> list[Indicator]:
        """By their place on boards."""
        return sorted(self._list("indicator", pack), key=lambda i: (i.order, i.code))

    def rules_for(self, model: str, measure: str) -> list[AlarmRule]:
        """The alarm rules that judge the points of a measure of a device model."""
        return self._rules_by_point.get((model, measure), [])

    def judged_measures(self) -> list[tuple[str, str]]:
        """Each (device model, measure) that alarm rules judge, in order."""
        return sorted(self._rules_by_point)

    @cached_property
    def _rules_by_point(self) -> dict[tuple[str, str], list[AlarmRule]]:
        found: dict[tuple[str, str], list[AlarmRule]] = {}
        for rule in self.alarm_rules():
            if rule.is_composite:
                continue  # it judges alarms, not readings
            pack = rule.code.partition(".")[0]
            for model in rule.models or [m.code for m in self.device_models(pack)]:
                if rule.measure in self.device_model(model).measures:
                    found.setdefault((model, rule.measure), []).append(rule)
        return found

    @property
    def vocabulary(self) -> Vocabulary:
        return vocabulary()

    def label(self, code: str, lang: str | None = None, *, kind: str | None = None) -> str:
        """The name of a code (``pack``, ``pack.local`` or a word of the vocabulary) in a language; the code if unknown.

        Without ``lang``: the language of the request being served, else Chinese. ``kind`` decides where two kinds
        of objects share a code (subject_type, device_model, alarm_rule, checklist, indicator, or a part of the
        vocabulary such as measures).
        """
        found = self._word(code, kind)
        return found.label(lang or _language()) if found else code

    def citation(self, code: str, source: str, article: str = "", *, lang: str | None = None) -> str:
        """Law or standard with its article, as a checklist or rule (``code``) of a pack cites it."""
        info = self.packs.get(code.partition(".")[0])
        cited = info.sources.get(source) if info else None
        title = cited.title.label(lang or _language()) if cited else source
        return f"{title} {article}".strip()

    def _word(self, code: str, kind: str | None) -> Word | None:
        if code in self.packs and kind in (None, "pack"):
            return self.packs[code].name
        for one_kind, several in self.all_objects.items():
            if code in several and kind in (None, one_kind) and hasattr(several[code], "name"):
                return several[code].name
        if "." in code:
            return None
        for info in self.packs.values():
            for organisation in info.organisations:
                if organisation.code == code and kind in (None, "organisation"):
                    return organisation.name
        parts = [kind] if kind in Vocabulary.model_fields else list(Vocabulary.model_fields)
        tables = [getattr(vocabulary(), part) for part in parts]
        return next((table[code] for table in tables if code in table), None)


def _language() -> str:
    try:
        from django.utils.translation import get_language

        return get_language() or "zh-hans"
    except ImportError:
        return "zh-hans"


def from_packs(packs: Iterable[LoadedPack], stamp: str = FILES) -> Registry:
    """A registry of loaded packs, without a database and without overrides."""
    packs = list(packs)
    objects: dict[str, dict[str, Any]] = {}
    for pack in packs:
        for kind, code, one in pack.objects():
            objects.setdefault(kind, {})[code] = one
    return Registry(
        packs={p.code: p.info for p in packs},
        all_objects=objects,
        folders={p.code: p.folder for p in packs},
        stamp=stamp,
    )


def pack_dirs() -> list[Path]:
    """Where packs are found: settings.PACK_DIRS, or without Django the platform's own and ZHENAN_PACK_DIRS."""
    if _django_is_set_up():
        from django.conf import settings

        return [Path(p) for p in settings.PACK_DIRS]
    named = [Path(p.strip()) for p in os.environ.get("ZHENAN_PACK_DIRS", "").split(",") if p.strip()]
    return [DEFAULT_DIR, *named]


def _django_is_set_up() -> bool:
    from django.apps import apps

    return apps.ready


_lock = threading.RLock()
_current: Registry | None = None
_checked_at = 0.0
_in_doubt = False  # this process changed packs in a transaction that may yet roll back


def registry() -> Registry:
    """The registry of this process. Raises PackFault when files are read and a pack is faulty."""
    global _current, _checked_at
    with _lock:
        now = time.monotonic()
        if _current is None or _in_doubt or now - _checked_at > CHECK_S:
            stamp = _database_stamp()
            if stamp == "":  # nothing was ever synced: what the files say stands
                stamp = FILES
            if _current is None or (stamp is not None and stamp != _current.stamp):
                _current = _load(stamp)
            _checked_at = now
        return _current


def invalidate() -> None:
    """Forget what was read; the next call reads anew."""
    global _current
    with _lock:
        _current = None


def changed_in_transaction() -> None:
    """Packs were changed by this process: look at the stamp on every call until the transaction has ended well."""
    global _in_doubt
    from django.db import transaction

    invalidate()
    _in_doubt = True

    def committed() -> None:
        global _in_doubt
        _in_doubt = False
        invalidate()

    transaction.on_commit(committed)


def _load(stamp: str | None) -> Registry:
    if stamp and stamp != FILES:
        from zhenan.packkit.sync import read_registry

        return read_registry(stamp)
    return from_packs(load_all(pack_dirs()))


def _database_stamp() -> str | None:
    """The database's stamp; "" or None when there is no database to ask, or nothing was synced."""
    if not _django_is_set_up():
        return None
    from zhenan.packkit.stamp import read_stamp

    return read_stamp()
