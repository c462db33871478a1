"""Maintenance windows, and what the judge raised that is not (yet) an alarm for people."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models.alarms import Alarm
from zhenan.domains.monitoring.models.devices import Device, Point
from zhenan.kernel.access.scope import ScopedQuerySet


class MaintenanceQuerySet(ScopedQuerySet):
    scope_capability = "alarm.view"
    scope_path = "path"
    scope_organisations = ("organisations__contains",)
    scope_programme = "programme"

    def lasting(self, at: datetime) -> Self:
        return self.filter(starts_at__lte=at, ends_at__gt=at)


class Maintenance(models.Model):
    """From ``starts_at`` (included) to ``ends_at`` (excluded) nobody is told of what is raised at the device, at the
    subject, or in the whole programme where neither is named. What still stands at the end is raised then."""

    subject = models.ForeignKey("register.Subject", models.PROTECT, null=True, related_name="maintenance")
    device = models.ForeignKey(Device, models.PROTECT, null=True, related_name="maintenance")
    programme = models.CharField(_("programme"), max_length=60)
    reason = models.CharField(_("reason"), max_length=300)
    starts_at = models.DateTimeField(_("from"))
    ends_at = models.DateTimeField(_("until"))
    made_by = models.ForeignKey("people.User", models.PROTECT, verbose_name=_("by"), related_name="+")
    made_at = models.DateTimeField()
    ended_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    path = models.CharField(max_length=120, blank=True)
    organisations = ArrayField(models.BigIntegerField(), default=list)
    objects = MaintenanceQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at", "-pk"]
        verbose_name = _("maintenance")
        constraints = [
            # An end before its beginning: ended early, before it began. It silences nothing.
            models.CheckConstraint(name="maintenance_of_one_thing", condition=Q(subject=None) | Q(device=None)),
            models.CheckConstraint(name="maintenance_has_reason", condition=~Q(reason="")),
            models.CheckConstraint(name="maintenance_ends_after", condition=Q(ends_at__gte=F("starts_at"))),
        ]
        indexes = [models.Index(name="maintenance_end", fields=["ends_at"])]

    def __str__(self) -> str:
        return f"{self.scope_label} {self.starts_at:%Y-%m-%d %H:%M}"

    @property
    def scope_label(self) -> str:
        return self.device.name if self.device else self.subject.name if self.subject else self.programme

    @property
    def stage(self) -> str:
        """planned, lasting or over, now."""
        now = timezone.now()
        return "planned" if now < self.starts_at else "lasting" if now < self.ends_at else "over"


class HeldAlarm(models.Model):
    """A raise of which nobody is told: because of maintenance, or because its device's parent is, or may be, gone.

    ``id`` is the alarm's that it would be. Over when ``cleared_at`` or ``released_at`` (then the alarm exists) is set;
    kept, so that a replay finds it.
    """

    class Why(models.TextChoices):
        MAINTENANCE = "maintenance", _("Maintenance")
        PARENT = "parent", _("Its connection is gone")

    id = models.UUIDField(primary_key=True)
    point = models.ForeignKey(Point, models.PROTECT, related_name="+")
    device = models.ForeignKey(Device, models.PROTECT, related_name="held_alarms")
    subject = models.ForeignKey("register.Subject", models.PROTECT, related_name="+")
    rule = models.CharField(_("rule"), max_length=120)
    level = models.PositiveSmallIntegerField(_("level"))
    value = models.FloatField(null=True)
    onset = models.DateTimeField(_("onset"))
    raised_at = models.DateTimeField(_("raised at"))
    recorded_at = models.DateTimeField(auto_now_add=True)
    parts: Any = models.JSONField(default=list)
    why = models.CharField(max_length=12, choices=Why)
    maintenance = models.ForeignKey(Maintenance, models.PROTECT, null=True, related_name="held")
    parent = models.ForeignKey(Device, models.PROTECT, null=True, related_name="+")
    under = models.ForeignKey(Alarm, models.PROTECT, null=True, related_name="folded")  # the parent's alarm
    until = models.DateTimeField(null=True)  # None: until the parent's alarm clears
    cleared_at = models.DateTimeField(_("cleared at"), null=True)
    released_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["raised_at", "pk"]
        verbose_name = _("held alarm")
        indexes = [
            models.Index(name="held_until", fields=["until"], condition=Q(cleared_at=None, released_at=None)),
            models.Index(name="held_parent", fields=["parent"], condition=Q(cleared_at=None, released_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.raised_at:%Y-%m-%d %H:%M:%S} {self.why}"
