"""Fences with their versions, what vehicles did at them, and where each vehicle is."""

from __future__ import annotations

from typing import Any

import pghistory
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet


class FenceQuerySet(ScopedQuerySet):
    scope_capability = "alarm.view"
    scope_path = "division__path"


@pghistory.track()
class Fence(models.Model):
    """A place that some vehicles must not enter, stay in or hurry through. Its shape and terms are in its versions."""

    name = models.CharField(_("name"), max_length=60)
    division = models.ForeignKey("territory.Division", models.PROTECT, related_name="+", verbose_name=_("division"))
    made_at = models.DateTimeField(_("made at"))
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    objects = FenceQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        verbose_name = _("fence")
        indexes = [models.Index(name="fence_name", fields=["name"])]

    def __str__(self) -> str:
        return self.name


@pghistory.track()
class FenceVersion(models.Model):
    """A fence as it stood from one moment to another; `points` are [lat, lon] in degrees."""

    class Shape(models.TextChoices):
        CIRCLE = "circle", _("circle")
        POLYGON = "polygon", _("polygon")
        CORRIDOR = "corridor", _("corridor")

    fence = models.ForeignKey(Fence, models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField(_("version"))
    shape = models.CharField(_("shape"), max_length=10, choices=Shape)
    points: Any = models.JSONField(_("points"))
    size_m = models.FloatField(_("radius or half width (m)"), default=0)
    hysteresis_m = models.FloatField(_("hysteresis (m)"), default=30)
    windows: Any = models.JSONField(_("time windows"), default=list, blank=True)  # [[days, start, end], …] in minutes
    vehicle_classes: Any = models.JSONField(_("vehicle classes"), default=list, blank=True)
    goods_classes: Any = models.JSONField(_("goods classes"), default=list, blank=True)
    alarm_on_enter = models.BooleanField(_("alarm when entered"), default=True)
    speed_kmh = models.FloatField(_("speed limit (km/h)"), null=True, blank=True)
    dwell_s = models.PositiveIntegerField(_("longest stay (s)"), null=True, blank=True)
    level = models.PositiveSmallIntegerField(_("level"), default=3)
    valid_from = models.DateTimeField(_("valid from"))
    valid_to = models.DateTimeField(_("valid to"), null=True, blank=True)
    made_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    made_at = models.DateTimeField()

    class Meta:
        ordering = ["fence", "version"]
        constraints = [
            models.UniqueConstraint(name="fence_version_once", fields=["fence", "version"]),
            models.CheckConstraint(name="fence_level", condition=Q(level__range=(1, 4))),
            models.CheckConstraint(
                name="fence_valid_before_it_ends", condition=Q(valid_to=None) | Q(valid_to__gte=F("valid_from"))
            ),
        ]

    def __str__(self) -> str:
        return f"{self.fence_id}@{self.version}"


class FenceRecordQuerySet(ScopedQuerySet):
    scope_capability = "alarm.view"
    scope_path = "device__subject__division__path"
    scope_organisations = ("device__subject__organisation_id", "device__subject__viewers__contains")
    scope_programme = "device__programme"


class FenceRecord(models.Model):
    """What a vehicle did at a fence. ``id`` follows from vehicle, fence, version, kind and onset."""

    class Kind(models.TextChoices):
        ENTER = "enter", _("entered")
        LEAVE = "leave", _("left")
        DWELL = "dwell", _("stayed too long")
        SPEED = "speed", _("too fast")
        SPEED_END = "speed_end", _("no longer too fast")

    id = models.UUIDField(primary_key=True)
    device = models.ForeignKey("monitoring.Device", models.PROTECT, related_name="+")
    version = models.ForeignKey(FenceVersion, models.PROTECT, related_name="records")
    kind = models.CharField(_("kind"), max_length=10, choices=Kind)
    at = models.DateTimeField(_("at"))
    onset = models.DateTimeField(_("since"))
    value = models.FloatField(null=True)  # km/h of enter and speed, seconds of leave and dwell
    objects = FenceRecordQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "id"]
        verbose_name = _("fence event")
        indexes = [
            models.Index(name="fence_record_device", fields=["device", "-at"]),
            models.Index(name="fence_record_at", fields=["-at", "id"]),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.kind} {self.at:%Y-%m-%d %H:%M:%S}"


class LastPosition(models.Model):
    """Where a vehicle was when it last had a usable fix, as the tracks process knew it some seconds ago."""

    device = models.OneToOneField("monitoring.Device", models.CASCADE, primary_key=True, related_name="last_position")
    at = models.DateTimeField()
    lat = models.FloatField()
    lon = models.FloatField()
    speed_kmh = models.FloatField()
    heading = models.PositiveSmallIntegerField()

    class Meta:
        indexes = [models.Index(name="last_position_place", fields=["lat", "lon"])]

    def __str__(self) -> str:
        return f"{self.device_id} {self.at:%Y-%m-%d %H:%M:%S}"
