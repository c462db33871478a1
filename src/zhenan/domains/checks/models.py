"""Inspections of subjects by a checklist, and the answers to its items."""

from __future__ import annotations

from typing import Any, Self

import pghistory
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet
from zhenan.kernel.events.models import new_id


class InspectionQuerySet(ScopedQuerySet):
    scope_capability = "inspection.view"
    scope_path = "subject__division__path"
    scope_organisations = ("subject__organisation_id", "subject__viewers__contains", "organisation_id")
    scope_programme = "subject__programme"

    def done(self) -> Self:
        return self.filter(state=Inspection.State.DONE)


@pghistory.track(exclude=["updated_at"])
class Inspection(models.Model):
    """One visit with one checklist. The id may be made by the phone (UUIDv7), so that sending twice changes nothing.

    ``spec`` is the checklist as it stood when the inspection began: an old record stays readable under its own version.
    """

    class State(models.TextChoices):
        DRAFT = "draft", _("Under way")
        DONE = "done", _("Done")
        CANCELLED = "cancelled", _("Cancelled")

    class Kind(models.TextChoices):
        ROUTINE = "routine", _("Routine")
        SELF_CHECK = "self_check", _("Self-check")
        FOLLOW_UP = "followup", _("Recheck")
        COMPLAINT = "complaint", _("On a report")
        JOINT = "joint", _("Joint action")
        OTHER = "other", _("Other")

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    subject = models.ForeignKey("register.Subject", models.PROTECT, related_name="inspections")
    checklist = models.CharField(_("checklist"), max_length=120)
    checklist_version = models.PositiveIntegerField()
    spec: Any = models.JSONField(default=dict)
    kind = models.CharField(_("kind"), max_length=12, choices=Kind, default=Kind.ROUTINE)
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.DRAFT)
    inspector = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="inspections")
    organisation = models.ForeignKey("people.Organisation", models.PROTECT, null=True, related_name="+")
    started_at = models.DateTimeField(_("started"))
    done_at = models.DateTimeField(_("done"), null=True)
    lon = models.FloatField(null=True)
    lat = models.FloatField(null=True)
    distance_m = models.FloatField(_("distance to the site (m)"), null=True)
    score_ratio = models.FloatField(_("score"), null=True)  # weight passed / weight judged, 0-1
    failed_items = models.PositiveIntegerField(_("items failed"), default=0)
    result = models.CharField(_("result"), max_length=40, blank=True)  # the word of the source system, where one has it
    note = models.TextField(_("note"), blank=True)
    source_key = models.CharField(max_length=120, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    objects = InspectionQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at", "-id"]
        verbose_name = _("inspection")
        constraints = [
            models.CheckConstraint(name="inspection_done_has_time", condition=Q(state="done") ^ Q(done_at=None)),
            models.CheckConstraint(
                name="inspection_score_is_ratio", condition=Q(score_ratio=None) | Q(score_ratio__range=(0, 1))
            ),
            models.CheckConstraint(
                name="inspection_ends_after_start", condition=Q(done_at=None) | Q(done_at__gte=F("started_at"))
            ),
            models.UniqueConstraint(
                name="inspection_once_per_source", fields=["source_key"], condition=~Q(source_key="")
            ),
        ]
        indexes = [
            models.Index(name="inspection_subject", fields=["subject", "-done_at"]),
            models.Index(name="inspection_started", fields=["-started_at", "-id"]),
            models.Index(name="inspection_checklist", fields=["checklist", "-done_at"]),
            models.Index(name="inspection_inspector", fields=["inspector"], condition=Q(state="draft")),
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.started_at:%Y-%m-%d}"

    def get_absolute_url(self) -> str:
        return reverse("checks:inspection", args=[self.pk])


class Answer(models.Model):
    """The answer to one item: pass, fail or does not apply; a failed one becomes a hazard at submission."""

    class Value(models.TextChoices):
        PASS = "pass", _("Passes")
        FAIL = "fail", _("Fails")
        NA = "na", _("Does not apply")

    inspection = models.ForeignKey(Inspection, models.CASCADE, related_name="answers")
    item = models.CharField(max_length=60)
    value = models.CharField(max_length=4, choices=Value)
    note = models.CharField(max_length=1000, blank=True)
    fixed_on_the_spot = models.BooleanField(default=False)
    answered_at = models.DateTimeField()
    hazard = models.ForeignKey("hazards.Hazard", models.PROTECT, null=True, related_name="answers")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(name="answer_once_per_item", fields=["inspection", "item"]),
            models.CheckConstraint(
                name="answer_only_fail_is_fixed", condition=Q(fixed_on_the_spot=False) | Q(value="fail")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.item}: {self.value}"
