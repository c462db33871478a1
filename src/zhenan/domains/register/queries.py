"""Reading the register: what other rooms call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.db.models import Count, F, FloatField, QuerySet, Value
from django.db.models.functions import Cos, Power, Radians, Sqrt

from zhenan.domains.register.attributes import kind_of, type_label
from zhenan.domains.register.models import Subject, SubjectQuerySet
from zhenan.kernel.people.models import User

METRES_A_DEGREE = 111_195.0  # of a great circle, mean radius 6,371,008.8 m


@dataclass(frozen=True)
class Summary:
    """A subject in a line, for other rooms' lists."""

    pk: int
    name: str
    type: str
    type_label: str
    division: str
    address: str
    url: str


def visible(user: User, capability: str = "") -> SubjectQuerySet:
    """Every subject that the user may see (or act on with the capability)."""
    found: SubjectQuerySet = Subject.objects.visible_to(user, capability)
    return found


def by_id(pk: int, *, user: User | None = None) -> Subject | None:
    """One subject with its division; None when there is none, or the user may not see it."""
    rows = Subject.objects.all() if user is None else Subject.objects.visible_to(user)
    return rows.select_related("division", "organisation", "owner").filter(pk=pk).first()


def by_key(type: str, key: str) -> Subject | None:
    """The subject with this identity within its type."""
    return Subject.objects.select_related("division").filter(type=type, key=key).first()


def attributes_over_time(
    subjects: Iterable[int], names: Sequence[str], *, until: datetime
) -> dict[int, list[tuple[datetime, tuple[Any, ...]]]]:
    """What the record of changes tells of these attributes of each subject before `until`: (since when, their values in
    the order of `names`, None for one that it had not), from the first record on, where one of them changed.

    A subject without any record in that time is left out.
    """
    records = apps.get_model("register", "SubjectEvent").objects
    rows = records.filter(pgh_obj__in=set(subjects), pgh_created_at__lt=until)
    rows = rows.order_by("pgh_obj", "pgh_created_at", "pgh_id")
    found: dict[int, list[tuple[datetime, tuple[Any, ...]]]] = {}
    for pk, at, *values in rows.values_list("pgh_obj", "pgh_created_at", *(f"attributes__{name}" for name in names)):
        before = found.setdefault(pk, [])
        if not before or before[-1][1] != tuple(values):
            before.append((at, tuple(values)))
    return found


def in_division(path: str, *, types: Iterable[str] = (), active: bool = True) -> QuerySet[Subject]:
    """Subjects in a division (by its path) and below it."""
    rows = Subject.objects.filter(division__path__startswith=path)
    if active:
        rows = rows.filter(status=Subject.Status.ACTIVE)
    return rows.filter(type__in=list(types)) if types else rows


def counts_by_status(user: User, *, types: Iterable[str] = ()) -> dict[str, int]:
    """How many the user may see, by status; a status without any is 0."""
    rows = Subject.objects.visible_to(user)
    if types:
        rows = rows.filter(type__in=list(types))
    counted = dict(rows.order_by().values_list("status").annotate(n=Count("pk")))
    return {status: counted.get(status, 0) for status in Subject.Status.values}


def counts_by_type(user: User) -> dict[str, int]:
    """How many of each type the user may see, closed ones left out."""
    rows = Subject.objects.visible_to(user).exclude(status=Subject.Status.CLOSED)
    return dict(rows.order_by().values_list("type").annotate(n=Count("pk")))


def near(
    lon: float, lat: float, *, radius_m: float, user: User | None = None, limit: int = 50
) -> list[tuple[Subject, float]]:
    """Active subjects within a radius with their distance in metres (plane approximation), the nearest first.

    lon, lat in degrees, WGS-84; the radius is meant for a town, not for a continent (error below 0.1 % at 10 km).
    """
    rows = Subject.objects.all() if user is None else Subject.objects.visible_to(user)
    high = radius_m / METRES_A_DEGREE
    wide = high / max(math.cos(math.radians(lat)), 0.01)
    rows = rows.filter(
        status=Subject.Status.ACTIVE, lat__range=(lat - high, lat + high), lon__range=(lon - wide, lon + wide)
    )
    squeeze = Cos(Radians(Value(lat, FloatField())))
    metres = METRES_A_DEGREE * Sqrt(Power((F("lon") - lon) * squeeze, 2) + Power(F("lat") - lat, 2))
    found = rows.annotate(distance_m=metres).filter(distance_m__lte=radius_m).order_by("distance_m", "pk")
    return [(subject, subject.distance_m) for subject in found.select_related("division")[:limit]]


def summaries(pks: Iterable[int]) -> dict[int, Summary]:
    """Lines for many subjects with one query; the caller has checked that they may be seen."""
    rows = Subject.objects.filter(pk__in=list(pks)).select_related("division")
    return {row.pk: summary(row) for row in rows}


def summary(row: Subject) -> Summary:
    return Summary(
        row.pk, row.name, row.type, type_label(row.type), row.division.name, row.address, row.get_absolute_url()
    )


def facts(subject: Subject) -> list[tuple[str, str]]:
    """(name, value in words) of each attribute that has a value, in the pack's order."""
    from zhenan.domains.register.attributes import lang, shown

    kind = kind_of(subject.type)
    if kind is None:
        return [(code, str(value)) for code, value in subject.attributes.items()]
    return [
        (field.name.label(lang()), shown(field, subject.attributes[field.code]))
        for field in kind.fields
        if subject.attributes.get(field.code) is not None
    ]


def attributes_of(pks: Iterable[int]) -> Mapping[int, dict[str, Any]]:
    """Attributes of many subjects by id."""
    return dict(Subject.objects.filter(pk__in=list(pks)).values_list("pk", "attributes"))
