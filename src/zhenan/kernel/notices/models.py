"""Notices to people and their deliveries over other channels."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.utils.translation import gettext_lazy as _


class NoticeQuerySet(models.QuerySet["Notice"]):
    def unread(self) -> Self:
        return self.filter(read_at=None)


class Notice(models.Model):
    """One thing told to one person, once: ``key`` is the same for all who are told of the same thing."""

    # No index of its own: that of notice_told_once begins with it.
    recipient = models.ForeignKey("people.User", models.CASCADE, db_index=False, related_name="notices")
    key = models.CharField(max_length=160)
    kind = models.CharField(max_length=60)
    level = models.PositiveSmallIntegerField(default=4)
    title = models.CharField(max_length=300)
    body = models.TextField(blank=True)
    url = models.CharField(max_length=300, blank=True)
    target = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)
    objects = NoticeQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = _("notice")
        constraints = [models.UniqueConstraint(name="notice_told_once", fields=["recipient", "key"])]
        indexes = [
            models.Index(name="notice_unread", fields=["recipient", "-created_at"], condition=models.Q(read_at=None)),
            models.Index(name="notice_target", fields=["target"]),
        ]

    def __str__(self) -> str:
        return self.title


class Delivery(models.Model):
    """The sending of a notice over one channel; the row is written before anything is sent."""

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        SENDING = "sending", _("Sending")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Failed")

    notice = models.ForeignKey(Notice, models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=40)  # the address's scheme: mailto, json, wecombot …
    position = models.PositiveSmallIntegerField()  # which of settings.NOTICE_CHANNELS
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    changed_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(name="delivery_once_per_channel", fields=["notice", "position"])]
        indexes = [models.Index(name="delivery_waiting", fields=["state", "changed_at"])]

    def __str__(self) -> str:
        return f"{self.channel} {self.state}"
