"""Who changed which field from what to what: read from the rows that the database's own triggers wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zhenan.domains.register import attributes as typed
from zhenan.domains.register import services
from zhenan.domains.register.models import Subject
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.territory.models import Division

SHOWN = 50
FIELDS = (
    "name", "status", "key", "credit_code", "division_id", "address", "lon", "lat", "owner_id", "organisation_id",
    "viewers", "contact", "phone", "source",
)  # fmt: skip


@dataclass(frozen=True)
class Difference:
    label: str
    before: str
    after: str


@dataclass(frozen=True)
class Change:
    """One write. ``actor`` None: the platform, or someone at the database."""

    at: datetime
    actor: User | None
    created: bool
    differences: list[Difference]
    import_run: int | None = None


def changes_of(subject: Subject, *, limit: int = SHOWN) -> list[Change]:
    """The newest changes, newest first: four queries at most, whatever their number."""
    model: Any = Subject.events.rel.related_model  # type: ignore[attr-defined]
    rows = list(
        model.objects.filter(pgh_obj_id=subject.pk).select_related("pgh_context").order_by("-pgh_id")[: limit + 1]
    )
    names = _Names(rows)
    changes = []
    for at, row in enumerate(rows[:limit]):
        before = rows[at + 1] if at + 1 < len(rows) else None
        context = row.pgh_context.metadata if row.pgh_context else {}
        differences = _differences(subject.type, before, row, names) if before is not None else []
        if before is not None and not differences:
            continue
        actor = names.users.get(context.get("user") or 0)
        changes.append(Change(row.pgh_created_at, actor, before is None, differences, context.get("import_run")))
    return changes


class _Names:
    """Names of what the rows refer to, read at once."""

    def __init__(self, rows: Sequence[Any]) -> None:
        def ids(attribute: str) -> set[int]:
            return {value for row in rows if (value := getattr(row, attribute)) is not None}

        contexts = [row.pgh_context.metadata for row in rows if row.pgh_context]
        self.users: Mapping[Any, User] = User.objects.in_bulk({c["user"] for c in contexts if c.get("user")})
        self.tables: dict[str, Mapping[int, Any]] = {
            "division_id": Division.objects.only("name").in_bulk(ids("division_id")),
            "organisation_id": Organisation.objects.only("name").in_bulk(
                ids("organisation_id") | {o for row in rows for o in row.viewers or []}
            ),
            "owner_id": Subject.objects.only("name").in_bulk(ids("owner_id")) if ids("owner_id") else {},
        }

    def of(self, attribute: str, value: Any) -> str:
        """The value in words."""
        if value is None or value == "" or value == []:
            return ""
        if attribute in self.tables:
            return str(self.tables[attribute].get(value, value))
        if attribute == "viewers":
            return ", ".join(str(self.tables["organisation_id"].get(o, o)) for o in value)
        if attribute == "status":
            return str(dict(Subject.Status.choices).get(value, value))
        return str(value)


def _differences(type_code: str, before: Any, after: Any, names: _Names) -> list[Difference]:
    found = []
    for attribute in FIELDS:
        old, new = getattr(before, attribute), getattr(after, attribute)
        if old != new:
            label = services.label_of(attribute.removesuffix("_id"))
            found.append(Difference(label, names.of(attribute, old), names.of(attribute, new)))
    kind = typed.kind_of(type_code)
    for code in dict.fromkeys([*(before.attributes or {}), *(after.attributes or {})]):
        old, new = (before.attributes or {}).get(code), (after.attributes or {}).get(code)
        if old != new:
            found.append(_attribute(kind.field(code) if kind else None, code, old, new))
    return found


def _attribute(field: Any, code: str, old: Any, new: Any) -> Difference:
    if field is None:
        return Difference(code, "" if old is None else str(old), "" if new is None else str(new))
    return Difference(field.name.label(typed.lang()), typed.shown(field, old), typed.shown(field, new))
