"""Bring packs from their folders into the database, keeping what the city changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from pydantic import BaseModel, ValidationError

from zhenan.kernel.events import services as events
from zhenan.kernel.people.models import User
from zhenan.packkit.loader import DIGEST_FORM, MODELS, LoadedPack, PackFault, dump, load_all
from zhenan.packkit.models import PackObject, PackVersion, SyncState
from zhenan.packkit.readable import faults_of
from zhenan.packkit.registry import Registry, UnknownCode, changed_in_transaction, pack_dirs
from zhenan.packkit.schema import PackInfo
from zhenan.packkit.yamlfile import Document

_LOCK = 0x7A68_7061  # one sync at a time, in any process
FIXED = ("code", "id", "version")  # what an override may not touch


@dataclass
class SyncReport:
    """What a sync did. ``dropped``: overrides that no longer fit and were left unused, with the reason."""

    packs: int = 0
    created: int = 0
    updated: int = 0
    retired: int = 0
    dropped: list[str] = field(default_factory=list)

    @property
    def changed(self) -> bool:
        return bool(self.created or self.updated or self.retired)


class BadOverride(ValueError):
    """The changes do not fit the object; ``faults`` says why, a line each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def sync_packs(dirs: Iterable[Path] | None = None, *, at: datetime | None = None) -> SyncReport:
    """Upsert every pack by its stable codes. Idempotent; all or nothing.

    Raises PackFault when a pack is faulty, or when a pack's contents changed and its version did not go up.
    """
    packs = load_all(dirs if dirs is not None else pack_dirs())
    report = SyncReport(packs=len(packs))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        _refuse_silent_changes(packs)
        for pack in packs:
            _sync_one(pack, report, at or timezone.now())
        gone = PackVersion.objects.filter(active=True).exclude(code__in=[p.code for p in packs])
        report.retired += PackObject.objects.filter(pack__in=gone, active=True).update(active=False)
        gone.update(active=False)
        if report.changed or not SyncState.objects.exists():
            _touch()
    return report


def _refuse_silent_changes(packs: list[LoadedPack]) -> None:
    stored = {row.code: row for row in PackVersion.objects.all()}
    faults = []
    for pack in packs:
        row = stored.get(pack.code)
        if row is None or row.digest == pack.digest or pack.info.version > row.version:
            continue
        if not row.digest.startswith(DIGEST_FORM):  # synced by an earlier platform
            continue
        faults.append(
            f"{pack.code}/pack.yaml: version: the pack changed since version {row.version} was synced, "
            f"but its version is {pack.info.version}; make it {row.version + 1} or more"
        )
    if faults:
        raise PackFault(faults)


def _sync_one(pack: LoadedPack, report: SyncReport, at: datetime) -> None:
    said = {
        "version": pack.info.version,
        "digest": pack.digest,
        "info": dump(pack.info),
        "folder": str(pack.folder),
        "active": True,
    }
    row = PackVersion.objects.filter(code=pack.code).first()
    if row is None:
        row = PackVersion.objects.create(code=pack.code, synced_at=at, **said)
    elif any(getattr(row, key) != value for key, value in said.items()):
        report.updated += row.digest != pack.digest or not row.active
        PackVersion.objects.filter(pk=row.pk).update(synced_at=at, **said)
    stored = {(one.kind, one.code): one for one in PackObject.objects.filter(pack=row)}
    fresh, seen = [], set[tuple[str, str]]()
    for place, (kind, code, model) in enumerate(pack.objects()):
        seen.add((kind, code))
        spec = dump(model)
        one = stored.get((kind, code))
        if one is None:
            fresh.append(PackObject(pack=row, kind=kind, code=code, place=place, spec=spec))
        elif (one.spec, one.place, one.active) != (spec, place, True):
            one.spec, one.place, one.active = spec, place, True
            one.save(update_fields=["spec", "place", "active"])
            report.updated += 1
        if one is not None and one.overrides:
            report.dropped += [f"{code}: {fault}" for fault in _faults_of_override(kind, spec, one.overrides)]
    PackObject.objects.bulk_create(fresh)
    report.created += len(fresh)
    gone = [one.pk for key, one in stored.items() if key not in seen and one.active]
    report.retired += PackObject.objects.filter(pk__in=gone).update(active=False)


def _touch() -> None:
    SyncState.objects.update_or_create(pk=1, defaults={"stamp": str(uuid.uuid4())})
    changed_in_transaction()


def merged(spec: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with changes laid over it: maps are merged, all else (lists too) replaced; null in ``rule`` removes."""
    result = dict(spec)
    for key, value in changes.items():
        here = result.get(key)
        result[key] = merged(here, value) if isinstance(here, dict) and isinstance(value, Mapping) else value
    if isinstance(result.get("rule"), dict):
        result["rule"] = {key: value for key, value in result["rule"].items() if value is not None}
    return result


def _faults_of_override(kind: str, spec: Mapping[str, Any], changes: Mapping[str, Any]) -> list[str]:
    fixed = [f"{key}: cannot be overridden" for key in changes if key in FIXED]
    data = merged(spec, changes)
    try:
        MODELS[kind].model_validate(data)
    except ValidationError as err:
        document = Document("override", data)
        return fixed + [f"{f.key}: {f.message}" if f.key else f.message for f in faults_of(err, document, MODELS[kind])]
    return fixed


def override(
    kind: str, code: str, changes: Mapping[str, Any], actor: User | None = None, *, at: datetime | None = None
) -> Any:
    """Lay the city's changes over an object, such as ``{"rule": {"above": 15}}``; ``{}`` takes all of them back.

    Returns the object as it now is. Raises UnknownCode, or BadOverride when the changed object would not be valid.
    """
    changes = json.loads(json.dumps(changes))  # only what JSON can hold, and no shared references
    with transaction.atomic():
        row = PackObject.objects.select_for_update().filter(kind=kind, code=code, active=True).first()
        if row is None:
            raise UnknownCode(kind, code)
        faults = _faults_of_override(kind, row.spec, changes)
        if faults:
            raise BadOverride([f"{code}: {fault}" for fault in faults])
        before, when = row.overrides, at or timezone.now()
        row.overrides, row.overridden_at, row.overridden_by = changes, when, str(actor) if actor is not None else ""
        row.save(update_fields=["overrides", "overridden_at", "overridden_by"])
        data = {"code": code, "kind": kind, "before": before, "after": changes}
        events.record("pack.overridden", targets=[row], actor=actor, at=when, data=data, programme=row.pack.code)
        _touch()
    return MODELS[kind].model_validate(merged(row.spec, changes))


def _valid(model: type[BaseModel], data: dict[str, Any]) -> BaseModel | None:
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def read_registry(stamp: str) -> Registry:
    """The registry as the database has it. An override that no longer fits is left unused (the sync has said so)."""
    packs = {row.code: row for row in PackVersion.objects.all()}
    objects: dict[str, dict[str, Any]] = {}
    retired = set()
    for row in PackObject.objects.order_by("pack__code", "kind", "place"):
        model = MODELS[row.kind]
        one = _valid(model, merged(row.spec, row.overrides)) or _valid(model, row.spec)
        if one is None and row.active:
            raise PackFault([f"{row.code}: as synced it no longer fits this platform; run zhenan packs sync"])
        if one is None:  # retired long ago, under an older schema: its code is shown in place of its name
            continue
        objects.setdefault(row.kind, {})[row.code] = one
        if not row.active:
            retired.add((row.kind, row.code))
    return Registry(
        packs={code: PackInfo.model_validate(row.info) for code, row in packs.items() if row.active},
        all_objects=objects,
        retired=frozenset(retired),
        folders={code: Path(row.folder) for code, row in packs.items() if row.active},
        stamp=stamp,
    )
