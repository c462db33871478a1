"""What a device was told to do."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models.alarms import Alarm
from zhenan.domains.monitoring.models.devices import Device
from zhenan.kernel.access.scope import ScopedQuerySet


class CommandQuerySet(ScopedQuerySet):
    scope_capability = "alarm.view"
    scope_path = "device__subject__division__path"
    scope_organisations = ("device__subject__organisation_id", "device__subject__viewers__contains")
    scope_programme = "device__programme"


class DeviceCommand(models.Model):
    """What a device was told to do, by a rule or a person; the row comes first, then the message, then its proof.

    ``command`` is of the device's model (an actuator over MQTT, ``payload`` is published) or of its protocol
    (``payload`` holds the arguments). ``device`` is whom it is about: behind a transmission device, its parent is told.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENT = "sent", _("Sent")
        ACCEPTED = "accepted", _("Accepted")
        CONFIRMED = "confirmed", _("Confirmed")
        DENIED = "denied", _("Denied")
        TIMED_OUT = "timed_out", _("No answer")
        EXPIRED = "expired", _("Expired before the device came")

    OPEN = (State.WAITING, State.SENT, State.ACCEPTED)

    device = models.ForeignKey(Device, models.PROTECT, related_name="commands")
    alarm = models.ForeignKey(Alarm, models.PROTECT, null=True, related_name="commands")
    command = models.CharField(_("command"), max_length=60)
    payload: Any = models.JSONField(default=dict)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    asked_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    asked_at = models.DateTimeField(_("asked at"))
    next_at = models.DateTimeField(null=True)  # when it is to be looked at again; null: at once
    expires_at = models.DateTimeField(null=True)  # worth nothing after this; null: five minutes after it was asked
    tries = models.PositiveIntegerField(default=0)  # how often it was asked of the gateways
    sent_at = models.DateTimeField(null=True)
    accepted_at = models.DateTimeField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)  # confirmed, denied or given up
    reply: Any = models.JSONField(null=True)  # what the device answered
    error = models.CharField(max_length=300, blank=True)  # a code of command_words.ERRORS, or the device's own words
    objects = CommandQuerySet.as_manager()

    class Meta:
        ordering = ["-asked_at", "-pk"]
        verbose_name = _("command")
        constraints = [
            models.UniqueConstraint(  # what a rule orders; a person may order it again
                name="command_once_per_alarm",
                fields=["alarm", "device", "command"],
                condition=~Q(alarm=None) & Q(asked_by=None),
            ),
            models.UniqueConstraint(  # two presses of a button are one order
                name="command_once_open",
                fields=["device", "command"],
                condition=Q(state__in=["waiting", "sent", "accepted"], asked_by__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="command_waiting", fields=["state", "asked_at"]),
            models.Index(
                name="command_open", fields=["next_at"], condition=Q(state__in=["waiting", "sent", "accepted"])
            ),
        ]

    def __str__(self) -> str:
        return f"{self.device_id} {self.command} {self.state}"
