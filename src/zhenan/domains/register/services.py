"""Changing the register: what pages, API, imports and other rooms call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pghistory
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.register import attributes as typed
from zhenan.domains.register.models import Subject
from zhenan.domains.register.names import initials
from zhenan.kernel.access import NotAllowed, require, scope_of
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.services import record, record_many
from zhenan.kernel.people.models import User
from zhenan.kernel.rows.copying import create_many
from zhenan.kernel.territory.models import Division
from zhenan.packkit.schema import SubjectType

# What a change may name besides ``attributes``; type and key are a subject's identity and never change.
FIELDS = (
    "name", "credit_code", "status", "division", "address", "lon", "lat",
    "owner", "organisation", "viewers", "contact", "phone", "source",
)  # fmt: skip
REFERENCES = ("division", "owner", "organisation")


class BadSubject(DomainError):
    """``errors``: field or "attributes.CODE" → message, for forms and the API."""

    code = "subject.invalid"
    message = gettext_lazy("The record cannot be kept: {text}")

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__(text="; ".join(f"{label_of(name)}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)


class Changed(DomainError):
    code = "subject.changed"
    message = gettext_lazy("{name} was changed by someone else meanwhile. Look at it again before you save.")


class Outside(DomainError):
    code = "subject.outside"
    message = gettext_lazy("{place} lies outside the area or programme in which you may change records.")


def label_of(name: str) -> str:
    """A field's name in words."""
    if "." in name or name not in {field.name for field in Subject._meta.get_fields()}:
        return name.removeprefix("attributes.")
    return str(getattr(Subject._meta.get_field(name), "verbose_name", name))


def faults_of(subject: Subject, kind: SubjectType) -> dict[str, str]:
    """Everything wrong with a record about to be written; the same judgement for form, API and import."""
    errors: dict[str, str] = {}
    try:
        subject.clean_fields(exclude=[*REFERENCES, "viewers", "attributes"])
    except ValidationError as err:
        errors = {name: " ".join(messages) for name, messages in err.message_dict.items()}
    if (subject.lon is None) != (subject.lat is None):
        errors["lon"] = _("longitude and latitude are given together or not at all")
    for name, low, high in (("lon", -180, 180), ("lat", -90, 90)):
        value = getattr(subject, name)
        if value is not None and not low <= value <= high:
            errors[name] = _("{value} is not between {low} and {high}").format(value=value, low=low, high=high)
    if subject.credit_code:
        try:
            typed.unified_code(subject.credit_code)
        except ValueError as err:
            errors["credit_code"] = str(err)
    for code, text in typed.missing(kind, subject.attributes).items():
        errors[f"attributes.{code}"] = text
    return errors


def may_place(actor: User | None, subject: Subject) -> bool:
    """Whether the actor may add or change a record at this place, of this programme, of this organisation."""
    if actor is None:
        return True
    place = subject.place
    scope = scope_of(actor, "subject.edit")
    return scope.admits(path=place["path"], organisations=tuple(place["organisations"]), programme=place["programme"])


def identity(kind: SubjectType, *, key: str, name: str, credit: str, attributes: Mapping[str, Any]) -> str:
    """The key: as given, else the value of the type's code field, else the credit code, else the name."""
    by_field = attributes.get(kind.code_field) if kind.code_field else None
    return (key or (str(by_field) if by_field is not None else "") or credit or name)[:80]


def kind_or_fault(code: str) -> SubjectType:
    kind = typed.kind_of(code)
    if kind is None:
        raise BadSubject({"type": _("no programme has the subject type “{code}”").format(code=code)})
    return kind


def create_subject(
    *,
    actor: User | None,
    at: datetime,
    type: str,
    name: str,
    division: Division,
    key: str = "",
    attributes: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Subject:
    """Add a subject. ``fields``: of FIELDS. Raises BadSubject, Outside, NotAllowed; then nothing is written."""
    require(actor, "subject.edit")
    kind = kind_or_fault(type)
    values, errors = typed.check_all(kind, attributes or {})
    subject = Subject(
        type=type,
        programme=type.partition(".")[0],
        name=name.strip(),
        division=division,
        attributes=typed.laid_over({}, values),
        **_known(fields),
    )
    subject.key = identity(kind, key=key, name=subject.name, credit=subject.credit_code, attributes=subject.attributes)
    errors = {f"attributes.{code}": text for code, text in errors.items()}
    errors = {**faults_of(subject, kind), **errors}
    if errors:
        raise BadSubject(errors)
    _check_place(actor, subject)
    with transaction.atomic(), pghistory.context(**_who(actor)):
        if Subject.objects.filter(type=type, key=subject.key).exists():
            text = _("a record of this type with the identity “{key}” exists already").format(key=subject.key)
            raise BadSubject({"key": text})
        subject.initials = initials(subject.name)
        subject.save(force_insert=True)
        _tell("subject.created", [subject], actor, at)
    return subject


def update_subject(
    pk: int,
    *,
    actor: User | None,
    at: datetime,
    changes: Mapping[str, Any],
    seen: datetime | None = None,
    note: str = "",
) -> Subject:
    """Change fields (FIELDS, and ``attributes``: codes that are not named stay as they are, None removes one).

    ``seen``: ``updated_at`` of the record that the person looked at; a later change of someone else raises Changed.
    Raises BadSubject, Outside, NotAllowed. Nothing is recorded when nothing differs.
    """
    with transaction.atomic(), pghistory.context(**_who(actor)):
        subject = Subject.objects.select_for_update(of=("self",)).select_related("division").get(pk=pk)
        require(actor, "subject.edit", subject)
        if seen is not None and abs((subject.updated_at - seen).total_seconds()) > 0.001:
            raise Changed(name=subject.name)
        kind = kind_or_fault(subject.type)
        was = subject.division
        values, errors = typed.check_all(kind, changes.get("attributes") or {})
        differing = _lay(subject, _known({k: v for k, v in changes.items() if k != "attributes"}), values)
        errors = {f"attributes.{code}": text for code, text in errors.items()}
        errors = {**{k: v for k, v in faults_of(subject, kind).items() if _touched(k, differing)}, **errors}
        if errors:
            raise BadSubject(errors)
        if not differing:
            return subject
        _check_place(actor, subject)
        subject.initials = initials(subject.name)
        subject.save()
        _tell_change(subject, differing, was, actor, at, note)
    return subject


def _touched(name: str, differing: Sequence[str]) -> bool:
    """An old fault elsewhere in the record does not keep a person from correcting something else."""
    return name in differing or (name == "lon" and "lat" in differing)


def set_status(pk: int, status: str, *, actor: User | None, at: datetime, note: str = "") -> Subject:
    """Suspend, close or take up again. Raises BadSubject when it has that status already."""
    with transaction.atomic(), pghistory.context(**_who(actor)):
        subject = Subject.objects.select_for_update(of=("self",)).select_related("division").get(pk=pk)
        require(actor, "subject.edit", subject)
        if status not in Subject.Status.values:
            raise BadSubject({"status": _("no such status: {came}").format(came=status)})
        if subject.status == status:
            raise BadSubject({"status": _("it is “{status}” already").format(status=subject.get_status_display())})
        subject.status = status
        subject.save(update_fields=["status", "updated_at"])
        _tell(f"subject.{status}", [subject], actor, at, note=note)
    return subject


def close_subject(pk: int, *, actor: User | None, at: datetime, note: str = "") -> Subject:
    """Mark a subject as closed down; its records stay."""
    return set_status(pk, Subject.Status.CLOSED, actor=actor, at=at, note=note)


def move_subject(pk: int, division: Division, *, actor: User | None, at: datetime, note: str = "") -> Subject:
    """Place a subject in another division (a grid, mostly), both within the actor's reach."""
    return update_subject(pk, actor=actor, at=at, changes={"division": division}, note=note)


# Many at once: imports


@dataclass(frozen=True)
class Draft:
    """A record to be written that was judged: ``subject`` as it will be, ``differing`` fields of an existing one."""

    subject: Subject
    differing: tuple[str, ...] = ()
    note: str = ""

    @property
    def new(self) -> bool:
        return self.subject.pk is None


def write_many(drafts: Sequence[Draft], *, actor: User | None, at: datetime) -> None:
    """Write judged drafts with a handful of statements, in the caller's transaction; an event each."""
    require(actor, "subject.edit")
    for draft in drafts:
        _check_place(actor, draft.subject)
        draft.subject.initials = initials(draft.subject.name)
    fresh = [draft.subject for draft in drafts if draft.new]
    old = [draft.subject for draft in drafts if not draft.new]
    create_many(fresh)
    if old:
        for subject in old:
            subject.updated_at = timezone.now()
        changed = {name.partition(".")[0] for draft in drafts for name in draft.differing}
        Subject.objects.bulk_update(old, sorted(changed | {"initials", "updated_at"}), batch_size=500)
    fresh_ids = {id(subject) for subject in fresh}
    rows = []
    for draft in drafts:
        created = id(draft.subject) in fresh_ids
        data = {"name": draft.subject.name, "note": draft.note, "fields": words(draft.subject, draft.differing)}
        rows.append(_event("subject.created" if created else "subject.updated", draft.subject, actor, at, data))
    if rows:
        record_many(rows)


def lay_over(subject: Subject, fields: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Set fields and attributes on a record in memory; the names of those that differ from before."""
    return tuple(_lay(subject, fields, values))


# Inside


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    wrong = sorted(set(fields) - set(FIELDS))
    if wrong:
        raise BadSubject({name: _("cannot be set") for name in wrong})
    return {name: value.strip() if isinstance(value, str) else value for name, value in fields.items()}


def _lay(subject: Subject, fields: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    differing = []
    for name, value in fields.items():
        attribute = f"{name}_id" if name in REFERENCES else name
        new = getattr(value, "pk", None) if name in REFERENCES else value
        if getattr(subject, attribute) != new:
            setattr(subject, name, value)
            differing.append(name)
    for code, value in values.items():
        if subject.attributes.get(code) != value:
            differing.append(f"attributes.{code}")
    subject.attributes = typed.laid_over(subject.attributes, values)
    return differing


def _check_place(actor: User | None, subject: Subject) -> None:
    """The rights of the form path, for every path."""
    if actor is None:
        return
    if not actor.can("subject.edit"):
        raise NotAllowed(actor=actor, capability="subject.edit")
    if not may_place(actor, subject):
        raise Outside(place=subject.division.name)


def _who(actor: User | None) -> dict[str, Any]:
    """The history's context; a request's own context names the person already."""
    return {"user": actor.pk} if actor is not None else {}


def words(subject: Subject, differing: Sequence[str]) -> str:
    """The changed fields in words, for the event."""
    kind = typed.kind_of(subject.type)
    names = []
    for name in differing:
        field = kind.field(name.removeprefix("attributes.")) if kind and name.startswith("attributes.") else None
        names.append(field.name.label(typed.lang()) if field else label_of(name))
    return "、".join(names) if typed.lang().startswith("zh") else ", ".join(names)


def _event(kind: str, subject: Subject, actor: User | None, at: datetime, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "targets": [subject], "actor": actor, "at": at, "data": dict(data), **subject.place}


def _tell(kind: str, subjects: Sequence[Subject], actor: User | None, at: datetime, **data: Any) -> None:
    record_many([_event(kind, subject, actor, at, {"name": subject.name, **data}) for subject in subjects])


def _tell_change(
    subject: Subject, differing: Sequence[str], was: Division, actor: User | None, at: datetime, note: str
) -> None:
    if "division" in differing:
        data = {"name": subject.name, "before": was.name, "after": subject.division.name, "note": note}
        record("subject.moved", targets=[subject], actor=actor, at=at, data=data, **subject.place)
    others = [name for name in differing if name != "division"]
    if others:
        _tell("subject.updated", [subject], actor, at, fields=words(subject, others), note=note)
