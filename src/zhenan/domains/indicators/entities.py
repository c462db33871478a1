"""How the fields of each kind of record are asked of the database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import Case, DurationField, ExpressionWrapper, F, FloatField, Q, Value, When
from django.db.models.functions import Cast, Extract
from django.utils import timezone


@dataclass(frozen=True)
class AsOf:
    """The date asked: its last moment, and the date itself."""

    day: date

    @property
    def end(self) -> datetime:
        return timezone.make_aware(datetime.combine(self.day, datetime.max.time()))


@dataclass(frozen=True)
class Entity:
    """A kind of record. ``fields``: indicator field → ORM path; ``made``: an expression that a field stands for;
    ``yes``: a bool field as a condition; ``relations``: name → (entity, path of its link back)."""

    model: str
    path: str  # to a division's path
    fields: dict[str, str]
    made: dict[str, Callable[[AsOf], Any]] = field(default_factory=dict)
    yes: dict[str, Callable[[AsOf], Q]] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)  # bool field → the path that is null while it is not known
    relations: dict[str, tuple[str, str]] = field(default_factory=dict)
    existed: Callable[[AsOf], Q] = lambda _as_of: Q()

    def manager(self) -> Any:
        return apps.get_model(self.model)._default_manager


def seconds_between(start: str, end: str) -> Any:
    """Seconds from one time field to another; null while either is."""
    return Cast(Extract(ExpressionWrapper(F(end) - F(start), output_field=DurationField()), "epoch"), FloatField())


def flag_of(condition: Q) -> Any:
    """A condition as a boolean value, for grouping and for following through a relation."""
    return Case(When(condition, then=Value(True)), default=Value(False), output_field=models.BooleanField())


ENTITIES: dict[str, Entity] = {
    "subject": Entity(
        "register.Subject",
        "division__path",
        {"id": "pk", "type": "type", "created_at": "created_at", "division": "division__code", "parent": "owner"},
        yes={"active": lambda _: Q(status="active")},
        relations={
            "devices": ("device", "subject"),
            "alarms": ("alarm", "subject"),
            "hazards": ("hazard", "subject"),
            "inspections": ("inspection", "subject"),
            "contracts": ("contract", "subject"),
            "children": ("subject", "owner"),
        },
    ),
    "device": Entity(
        "monitoring.Device",
        "subject__division__path",
        {"id": "pk", "model": "model", "pack": "programme", "installed_on": "installed_on", "subject": "subject"},
        yes={
            "active": lambda _: Q(active=True),
            "online": lambda _: Q(online=True),
            "expired": lambda as_of: Q(replace_by__lt=as_of.day),
        },
        relations={"alarms": ("alarm", "device")},
    ),
    "alarm": Entity(
        "monitoring.Alarm",
        "subject__division__path",
        {
            "id": "pk",
            "rule": "rule",
            "pack": "programme",
            "level": "level",
            "state": "state",
            "cause": "cause",
            "raised_at": "raised_at",
            "closed_at": "closed_at",
            "subject": "subject",
            "device": "device",
        },
        made={
            "respond_s": lambda _: seconds_between("raised_at", "acknowledged_at"),
            "arrive_s": lambda _: seconds_between("raised_at", "arrived_at"),
        },
        yes={"in_time": lambda _: Q(acknowledged_at__lte=F("respond_by"))},
        known={"in_time": "acknowledged_at"},
        existed=lambda as_of: Q(raised_at__lte=as_of.end),
    ),
    "hazard": Entity(
        "hazards.Hazard",
        "subject__division__path",
        {
            "id": "pk",
            "pack": "subject__programme",
            "severity": "severity",
            "state": "state",
            "source": "source",
            "found_at": "found_at",
            "due_at": "due_at",
            "closed_at": "closed_at",
            "subject": "subject",
        },
        yes={"overdue": lambda as_of: Q(closed_at=None, due_at__lt=as_of.end)},
        existed=lambda as_of: Q(found_at__lte=as_of.end),
    ),
    "inspection": Entity(
        "checks.Inspection",
        "subject__division__path",
        {
            "id": "pk",
            "checklist": "checklist",
            "pack": "subject__programme",
            "state": "state",
            "done_at": "done_at",
            "failed_items": "failed_items",
            "score_ratio": "score_ratio",
            "subject": "subject",
        },
    ),
    "organisation": Entity(
        "people.Organisation",
        "division__path",
        {"id": "pk", "kind": "kind", "division": "division__code"},
        yes={"active": lambda _: Q(active=True)},
    ),
    "contract": Entity(
        "duty.Contract",
        "subject__division__path",
        {
            "id": "pk",
            "level": "level",
            "begins_on": "period__startswith",
            "ends_on": "period__endswith",
            "subject": "subject",
        },
        yes={"active": lambda as_of: Q(period__contains=as_of.day)},
    ),
}
# To-one relations that a dot may follow: entity reached.
FOLLOWS = {"subject": "subject", "device": "device", "parent": "subject"}
