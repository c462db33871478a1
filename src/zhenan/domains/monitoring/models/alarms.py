"""Alarms with what was done about them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Mod
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models.devices import Device, Point
from zhenan.kernel.access.scope import ScopedQuerySet


class AlarmQuerySet(ScopedQuerySet):
    scope_capability = "alarm.view"
    scope_path = "subject__division__path"
    scope_organisations = ("subject__organisation_id", "subject__viewers__contains")
    scope_programme = "programme"

    def open(self) -> Self:
        return self.exclude(state=Alarm.State.CLOSED)

    def unanswered(self, at: datetime) -> Self:
        """Raised, not acknowledged, past the response time."""
        return self.filter(state=Alarm.State.RAISED, respond_by__lt=at)


BY = ("acknowledged_by", "assigned_to", "arrived_by", "judged_by", "closed_by")


def _unsought(to: Any, *, null: bool = False) -> models.ForeignKey[Any, Any]:
    """A key in the history of alarms, which is found by its alarm and by nothing else."""
    return models.ForeignKey(
        to, models.DO_NOTHING, null=null, db_constraint=False, db_index=False, related_name="+", related_query_name="+"
    )


# A batch of alarms is one statement, and so is its history.
@pghistory.track(
    level=pghistory.Statement,
    attrs={
        "point": _unsought(Point),
        "device": _unsought(Device),
        "subject": _unsought("register.Subject"),
        "hazard": _unsought("hazards.Hazard", null=True),
        **{name: _unsought("people.User", null=True) for name in BY},
    },
)
class Alarm(models.Model):
    """One episode of one rule at one point. ``id`` follows from (point, rule, onset): writing it again changes nothing.

    ``state`` is what people did about it; ``cleared_at`` is when the readings went back. Both are needed to close.
    """

    class State(models.TextChoices):
        RAISED = "raised", _("Raised")
        ACKNOWLEDGED = "acknowledged", _("Acknowledged")
        ASSIGNED = "assigned", _("Someone sent")
        ARRIVED = "arrived", _("On the scene")
        JUDGED = "judged", _("Cause judged")
        CLOSED = "closed", _("Closed")

    class Cause(models.TextChoices):
        REAL = "real", _("True alarm")
        FALSE = "false_alarm", _("False alarm")
        TEST = "test", _("Test")
        DRILL = "drill", _("Drill")
        FAULT = "fault", _("Device fault")

    id = models.UUIDField(primary_key=True)
    point = models.ForeignKey(Point, models.PROTECT, related_name="alarms")
    device = models.ForeignKey(Device, models.PROTECT, related_name="alarms")
    subject = models.ForeignKey("register.Subject", models.PROTECT, db_index=False, related_name="alarms")
    programme = models.CharField(_("programme"), max_length=60)
    rule = models.CharField(_("rule"), max_length=120)  # a pack's alarm rule
    rule_spec: Any = models.JSONField(default=dict)  # the rule as it stood: threshold, durations, source
    measure = models.CharField(_("measure"), max_length=60)
    level = models.PositiveSmallIntegerField(_("level"))  # of a staged alarm: the gravest stage that stands, or stood
    peak_level = models.PositiveSmallIntegerField(_("gravest level"), null=True)  # None: it never changed
    value = models.FloatField(_("value"), null=True)
    onset = models.DateTimeField(_("onset"))
    raised_at = models.DateTimeField(_("raised at"))
    recorded_at = models.DateTimeField(auto_now_add=True)
    cleared_at = models.DateTimeField(_("cleared at"), null=True)
    respond_by = models.DateTimeField(_("respond by"))
    state = models.CharField(_("state"), max_length=14, choices=State, default=State.RAISED)
    cause = models.CharField(_("cause"), max_length=20, choices=Cause, blank=True)
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.ForeignKey("people.User", models.PROTECT, null=True, db_index=False, related_name="+")
    assigned_to = models.ForeignKey(
        "people.User", models.PROTECT, null=True, db_index=False, related_name="alarms_assigned"
    )
    assigned_at = models.DateTimeField(null=True)
    arrived_at = models.DateTimeField(null=True)
    arrived_by = models.ForeignKey("people.User", models.PROTECT, null=True, db_index=False, related_name="+")
    judged_at = models.DateTimeField(null=True)
    judged_by = models.ForeignKey("people.User", models.PROTECT, null=True, db_index=False, related_name="+")
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey("people.User", models.PROTECT, null=True, db_index=False, related_name="+")
    hazard = models.ForeignKey("hazards.Hazard", models.PROTECT, null=True, db_index=False, related_name="alarms")
    note = models.TextField(_("note"), blank=True)
    # Of a composite: the alarms it is made of, [{"rule": …, "point": …, "onset": ms}].
    parts: Any = models.JSONField(default=list)
    # Keys of the summaries (StormSummary) by which people were told of it in a storm.
    summaries = ArrayField(models.CharField(max_length=60), default=list)
    objects = AlarmQuerySet.as_manager()

    class Meta:
        ordering = ["-raised_at", "-id"]
        verbose_name = _("alarm")
        constraints = [
            models.CheckConstraint(name="alarm_level_1_to_4", condition=Q(level__range=(1, 4))),
            models.CheckConstraint(name="alarm_closed_iff_time", condition=Q(state="closed") ^ Q(closed_at=None)),
            models.CheckConstraint(
                name="alarm_judged_has_cause", condition=~Q(state__in=["judged", "closed"]) | ~Q(cause="")
            ),
            models.CheckConstraint(name="alarm_onset_before_raise", condition=Q(onset__lte=F("raised_at"))),
        ]
        indexes = [
            models.Index(name="alarm_open", fields=["level", "-raised_at"], condition=~Q(state="closed")),
            models.Index(name="alarm_subject", fields=["subject", "-raised_at"]),
            models.Index(name="alarm_raised", fields=["-raised_at", "-id"]),
            models.Index(name="alarm_programme", fields=["programme", "-raised_at"]),
            # By partition of the log, in whose lanes judges look at what stands (monitoring.standing).
            models.Index(Mod(F("subject"), 64), F("id"), name="alarm_standing", condition=Q(cleared_at=None)),
            # Empty while an alarm is fresh: in a storm an entry in each of them would cost as much as the row.
            *(
                models.Index(name=f"alarm_{name}", fields=[name], condition=Q(**{f"{name}__isnull": False}))
                for name in (*BY, "hazard")
            ),
            GinIndex(name="alarm_summaries", fields=["summaries"], condition=~Q(summaries=[])),
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.raised_at:%Y-%m-%d %H:%M:%S}"


class AlarmStage(models.Model):
    """One rule of a family within a staged alarm. ``id`` follows from (point, rule, onset), as an alarm's does."""

    id = models.UUIDField(primary_key=True)
    alarm = models.ForeignKey(Alarm, models.CASCADE, related_name="stages")
    point = models.ForeignKey(Point, models.PROTECT, related_name="+")
    family = models.CharField(_("family"), max_length=120)
    rule = models.CharField(_("rule"), max_length=120)
    level = models.PositiveSmallIntegerField(_("level"))
    value = models.FloatField(_("value"), null=True)
    onset = models.DateTimeField(_("onset"))
    raised_at = models.DateTimeField(_("raised at"))
    recorded_at = models.DateTimeField(auto_now_add=True)
    cleared_at = models.DateTimeField(_("cleared at"), null=True)

    class Meta:
        ordering = ["raised_at", "-level"]
        verbose_name = _("stage")
        indexes = [models.Index(name="stage_standing", fields=["point", "family"], condition=Q(cleared_at=None))]

    def __str__(self) -> str:
        return f"{self.rule} {self.raised_at:%Y-%m-%d %H:%M:%S}"


class StormSummary(models.Model):
    """The alarms of one minute that one person was told of in one notice. ``key`` is the notice's key."""

    key = models.CharField(primary_key=True, max_length=60)
    recipient = models.ForeignKey("people.User", models.CASCADE, related_name="+")
    count = models.PositiveIntegerField()
    level = models.PositiveSmallIntegerField()  # the gravest

    class Meta:
        verbose_name = _("summary of a storm")

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"
