"""Devices and their points, and what came from them and could not be taken."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet


class DeviceQuerySet(ScopedQuerySet):
    scope_capability = "alarm.view"
    scope_path = "subject__division__path"
    scope_organisations = ("subject__organisation_id", "subject__viewers__contains")
    scope_programme = "programme"

    def active(self) -> Self:
        return self.filter(active=True)


class Device(models.Model):
    """Something that reports readings. ``key`` is its identity on the wire, unique within the protocol."""

    class Protocol(models.TextChoices):
        GB26875 = "gb26875", "GB/T 26875.3"
        MQTT_JSON = "mqtt_json", "MQTT JSON"
        JT808 = "jt808", "JT/T 808"
        HJ212 = "hj212", "HJ 212"

    protocol = models.CharField(_("protocol"), max_length=20, choices=Protocol)
    key = models.CharField(_("device identity"), max_length=64)
    model = models.CharField(_("model"), max_length=80)  # a pack's device model
    programme = models.CharField(_("programme"), max_length=60)
    subject = models.ForeignKey("register.Subject", models.PROTECT, related_name="devices")
    # The device on whose connection it reports: a terminal behind a transmission device. Its channels come there.
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="terminals")
    name = models.CharField(_("name"), max_length=200)
    active = models.BooleanField(_("active"), default=True)
    installed_on = models.DateField(_("installed on"), null=True, blank=True)
    replace_by = models.DateField(_("replace by"), null=True, blank=True)
    last_seen_at = models.DateTimeField(_("last seen"), null=True, blank=True)
    online = models.BooleanField(_("online"), default=False)
    attributes = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)  # moves with its points too: the gateway asks what changed
    objects = DeviceQuerySet.as_manager()

    class Meta:
        ordering = ["programme", "key"]
        verbose_name = _("device")
        constraints = [models.UniqueConstraint(name="device_key_once_per_protocol", fields=["protocol", "key"])]
        indexes = [
            models.Index(name="device_subject", fields=["subject"]),
            models.Index(name="device_programme", fields=["programme", "active", "online"]),
            models.Index(name="device_last_seen", fields=["last_seen_at"]),
            models.Index(name="device_changed", fields=["changed_at"]),
            GinIndex(name="device_key_trgm", fields=["key"], opclasses=["gin_trgm_ops"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.key})"


class Point(models.Model):
    """One measure of one device: what a reading is a reading of. Its id (int32) is what the readings log carries.

    ``value = raw · scale + offset``; where ``bit`` is set, the value is that bit (0 or 1) of the raw status word.
    """

    id = models.AutoField(primary_key=True)
    device = models.ForeignKey(Device, models.PROTECT, related_name="points")
    channel = models.CharField(_("channel"), max_length=80)
    measure = models.CharField(_("measure"), max_length=60)
    unit = models.CharField(_("unit"), max_length=20, blank=True)
    scale = models.FloatField(default=1.0)
    offset = models.FloatField(default=0.0)
    bit = models.PositiveSmallIntegerField(null=True, blank=True)
    low = models.FloatField(null=True, blank=True)  # a value outside low..high is unfit: the sensor cannot give it
    high = models.FloatField(null=True, blank=True)
    states = models.JSONField(null=True, blank=True)  # a text that comes for a state → its number
    last_value = models.FloatField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        verbose_name = _("point")
        constraints = [models.UniqueConstraint(name="point_once_per_device", fields=["device", "channel", "measure"])]

    def __str__(self) -> str:
        return f"{self.device_id}.{self.measure}"


class QuarantinedFrame(models.Model):
    """What came and could not be taken: an unknown device's frame, a malformed one, a reading from the future.

    ``sequence`` is its place in the quarantine log, so that writing it twice changes nothing. Kept bounded.
    ``state`` is of frames of unknown devices: once the device is adopted, the gateway takes what its frames say.
    """

    class State(models.TextChoices):
        KEPT = "kept", _("Kept")
        DUE = "due", _("To be taken")
        TAKEN = "taken", _("Taken")
        USELESS = "useless", _("Nothing to take")

    sequence = models.BigIntegerField(primary_key=True)
    reason = models.CharField(_("reason"), max_length=40)
    protocol = models.CharField(_("protocol"), max_length=20)
    device_key = models.CharField(_("device identity"), max_length=64, blank=True)
    peer = models.CharField(_("from"), max_length=80, blank=True)
    received_at = models.DateTimeField(_("received"))
    raw = models.BinaryField()
    decoded: Any = models.JSONField(null=True)
    detail = models.CharField(_("detail"), max_length=300, blank=True)
    count = models.PositiveIntegerField(default=1)
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.KEPT)

    class Meta:
        ordering = ["-sequence"]
        indexes = [
            models.Index(name="quarantine_due", fields=["sequence"], condition=models.Q(state="due")),
            models.Index(name="quarantine_reason", fields=["reason", "-sequence"]),
            models.Index(name="quarantine_device", fields=["protocol", "device_key"]),
        ]

    def __str__(self) -> str:
        return f"{self.protocol} {self.reason} {self.device_key}"


class UnknownDevice(models.Model):
    """An identity that reports and is not registered, with what was seen of it; kept by what the gateway refuses.

    Adopted or ignored it stays, so that the same stranger is not met twice; forgotten it goes with its frames.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        ADOPTED = "adopted", _("Adopted")
        IGNORED = "ignored", _("Ignored")

    protocol = models.CharField(_("protocol"), max_length=20, choices=Device.Protocol)
    key = models.CharField(_("device identity"), max_length=64)
    peer = models.CharField(_("from"), max_length=80, blank=True)
    frames = models.PositiveIntegerField(_("frames kept"), default=0)
    first_at = models.DateTimeField(_("first seen"))
    last_at = models.DateTimeField(_("last seen"))
    last_sequence = models.BigIntegerField(default=0)  # of its newest frame counted
    channels: Any = models.JSONField(default=list)  # names of what it reports, at most CHANNELS of them
    state = models.CharField(_("state"), max_length=8, choices=State, default=State.WAITING)
    reason = models.CharField(_("reason"), max_length=300, blank=True)
    decided_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(_("decided at"), null=True)
    device = models.ForeignKey(Device, models.SET_NULL, null=True, related_name="+")

    CHANNELS = 64

    class Meta:
        ordering = ["-last_at", "-pk"]
        verbose_name = _("unknown device")
        constraints = [models.UniqueConstraint(name="unknown_once_per_protocol", fields=["protocol", "key"])]
        indexes = [
            models.Index(name="unknown_state_last", fields=["state", "-last_at"]),
            models.Index(name="unknown_last", fields=["-last_at", "-id"]),
            models.Index(name="unknown_first", fields=["-first_at", "-id"]),
            models.Index(name="unknown_frames", fields=["-frames", "-id"]),
            GinIndex(name="unknown_key_trgm", fields=["key"], opclasses=["gin_trgm_ops"]),
        ]

    def __str__(self) -> str:
        return f"{self.get_protocol_display()} {self.key}"
