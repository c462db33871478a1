"""What happened: one row a change, never altered; an object's timeline is its events in order."""

from __future__ import annotations

import uuid
from functools import cache
from typing import Any

import uuid_utils
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet
from zhenan.kernel.events import kinds


def new_id() -> uuid.UUID:
    """A UUIDv7: sorts by the time it was made."""
    return uuid.UUID(bytes=uuid_utils.uuid7().bytes)


class EventQuerySet(ScopedQuerySet):
    scope_capability = ""
    scope_path = "path"
    scope_organisations = ("organisations__contains",)
    scope_programme = "programme"

    def about(self, target: models.Model | str) -> EventQuerySet:
        """Events of an object, the newest first."""
        return self.filter(targets__contains=[target if isinstance(target, str) else key_of(target)]).order_by(
            "-at", "-id"
        )


class Event(models.Model):
    """``targets`` are keys such as 'hazards.hazard:12' of all the objects that the event belongs to."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=60)
    at = models.DateTimeField(_("at"))
    recorded_at = models.DateTimeField(auto_now_add=True)
    actor = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    targets = ArrayField(models.CharField(max_length=80))
    path = models.CharField(max_length=120, blank=True)
    organisations = ArrayField(models.BigIntegerField(), default=list)
    programme = models.CharField(max_length=60, blank=True)
    data = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            GinIndex(name="event_targets", fields=["targets"]),
            models.Index(name="event_at", fields=["-at"]),
            models.Index(name="event_kind_at", fields=["kind", "-at"]),
            models.Index(name="event_actor", fields=["actor"], condition=models.Q(actor__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.at:%Y-%m-%d %H:%M}"

    @property
    def label(self) -> Any:
        """The kind in the reader's language, its {placeholders} filled from the event's data."""
        return kinds.sentence(self.kind, self.data)

    @property
    def icon(self) -> str:
        return kinds.icon(self.kind)


def key_of(obj: models.Model) -> str:
    """The key under which an object's events are found, such as 'hazards.hazard:12'."""
    return f"{_label(type(obj))}:{obj.pk}"


@cache
def _label(model: type[models.Model]) -> str:
    return model._meta.label_lower
