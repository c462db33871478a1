"""What a device was told to do."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models.alarms import Alarm
from zhenan.domains.monitoring.models.devices import Device


class DeviceCommand(models.Model):
    """What a device was told to do, by a rule or a person; the row comes first, then the message, then its proof."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent")
        CONFIRMED = "confirmed", _("Confirmed")
        FAILED = "failed", _("Failed")

    device = models.ForeignKey(Device, models.PROTECT, related_name="commands")
    alarm = models.ForeignKey(Alarm, models.PROTECT, null=True, related_name="commands")
    command = models.CharField(_("command"), max_length=60)
    payload: Any = models.JSONField(default=dict)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    asked_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    asked_at = models.DateTimeField(_("asked at"))
    sent_at = models.DateTimeField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-asked_at", "-pk"]
        verbose_name = _("command")
        constraints = [
            models.UniqueConstraint(
                name="command_once_per_alarm", fields=["alarm", "device", "command"], condition=~Q(alarm=None)
            )
        ]
        indexes = [models.Index(name="command_waiting", fields=["state", "asked_at"])]

    def __str__(self) -> str:
        return f"{self.device_id} {self.command} {self.state}"
