"""Deadlines and the steps that they have reached."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class DeadlineQuerySet(models.QuerySet["Deadline"]):
    def open(self) -> Self:
        return self.filter(closed_at=None)

    def overdue(self, at: datetime) -> Self:
        return self.open().filter(due_at__lt=at)


class Deadline(models.Model):
    """Something that must be done to an object by a time, by one person; it climbs its kind's ladder until closed."""

    target = models.CharField(max_length=80)
    kind = models.CharField(max_length=40)
    owner = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, related_name="deadlines")
    started_at = models.DateTimeField()
    due_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    met = models.BooleanField(null=True)  # None while open or when cancelled
    next_step = models.CharField(max_length=40, blank=True)
    next_step_at = models.DateTimeField(null=True, blank=True)
    extensions = models.PositiveSmallIntegerField(default=0)
    path = models.CharField(max_length=120, blank=True)
    organisations = ArrayField(models.BigIntegerField(), default=list)
    programme = models.CharField(max_length=60, blank=True)
    objects = DeadlineQuerySet.as_manager()

    class Meta:
        ordering = ["due_at"]
        verbose_name = _("deadline")
        constraints = [
            models.CheckConstraint(name="deadline_due_after_start", condition=Q(due_at__gte=F("started_at"))),
            models.UniqueConstraint(
                name="deadline_one_open_per_kind", fields=["target", "kind"], condition=Q(closed_at=None)
            ),
        ]
        indexes = [
            models.Index(name="deadline_next_step", fields=["next_step_at"], condition=Q(closed_at=None)),
            models.Index(name="deadline_target", fields=["target"]),
            models.Index(name="deadline_owner", fields=["owner", "due_at"], condition=Q(closed_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.target} {self.due_at:%Y-%m-%d %H:%M}"

    @property
    def is_overdue(self) -> bool:
        return self.closed_at is None and self.due_at < timezone.now()

    @property
    def elapsed_pct(self) -> int:
        """How much of the period has passed, 0 to 100 and beyond."""
        whole = (self.due_at - self.started_at).total_seconds()
        return round(100 * (timezone.now() - self.started_at).total_seconds() / whole) if whole else 100


class DeadlineStep(models.Model):
    """A step that a deadline reached, and who was told."""

    deadline = models.ForeignKey(Deadline, models.CASCADE, related_name="steps")
    step = models.CharField(max_length=40)  # "50", "80", "100", or a rung of the ladder: "town", "district" …
    planned_at = models.DateTimeField()
    reached_at = models.DateTimeField()
    told = ArrayField(models.CharField(max_length=150), default=list)
    # Keys of the notices by which people were told of it together with many others.
    summaries = ArrayField(models.CharField(max_length=60), default=list)

    class Meta:
        ordering = ["planned_at", "pk"]
        constraints = [models.UniqueConstraint(name="deadline_step_once", fields=["deadline", "step", "planned_at"])]
        indexes = [GinIndex(name="deadline_step_summaries", fields=["summaries"], condition=~Q(summaries=[]))]

    def __str__(self) -> str:
        return f"{self.deadline_id} {self.step}"
