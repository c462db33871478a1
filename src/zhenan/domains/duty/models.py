"""Contracts of responsibility: one person on one subject at one level at a time; and the visits made under them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Self

import pghistory
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateRangeField, RangeOperators
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Upper
from django.urls import reverse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet
from zhenan.kernel.events.models import new_id
from zhenan.packkit.vocabulary import vocabulary

# From nearest to the object to farthest: the order in which the chain is shown and climbed (systems.md S03).
LEVELS = ("enterprise", "maintenance", "service_centre", "grid", "town", "district", "department", "city_leader")


def level_label(level: str) -> str:
    """The vocabulary's word for a contract level, in the reader's language; the code when unknown."""
    word = vocabulary().contract_levels.get(level)
    return word.label(get_language() or "zh-hans") if word else level


def level_choices() -> list[tuple[str, str]]:
    """(code, word) of every level of the vocabulary, nearest first."""
    known = vocabulary().contract_levels
    return [(code, level_label(code)) for code in sorted(known, key=rank)]


def rank(level: str) -> int:
    """Place of a level in the chain; a level that packs add comes last."""
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)


class ContractQuerySet(ScopedQuerySet):
    scope_capability = "contract.view"
    scope_path = "subject__division__path"
    scope_organisations = ("subject__organisation_id", "subject__viewers__contains")
    scope_programme = "subject__programme"

    def in_force(self, day: date) -> Self:
        return self.filter(period__contains=day)


@pghistory.track()
class Contract(models.Model):
    """A person answers for a subject at a level from a day (included) to a day (excluded; empty: until ended)."""

    subject = models.ForeignKey("register.Subject", models.PROTECT, related_name="contracts", verbose_name=_("subject"))
    level = models.CharField(_("level"), max_length=40)  # a word of the vocabulary
    person = models.ForeignKey("people.User", models.PROTECT, related_name="contracts", verbose_name=_("person"))
    period = DateRangeField(_("period"))
    visit_every_days = models.PositiveSmallIntegerField(_("visit every (days)"), null=True, blank=True)
    last_visit_at = models.DateTimeField(_("last visit"), null=True, blank=True)
    source = models.CharField(_("source"), max_length=120, blank=True)  # document, import run, pack's duty
    follows = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="followed_by")
    signed_by = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, related_name="+")
    signed_at = models.DateTimeField(_("signed at"))
    ended_by = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, related_name="+")
    ended_at = models.DateTimeField(_("ended at"), null=True, blank=True)
    end_reason = models.CharField(_("why it ended"), max_length=300, blank=True)
    objects = ContractQuerySet.as_manager()

    class Meta:
        ordering = ["-signed_at", "-pk"]
        verbose_name = _("contract")
        constraints = [
            ExclusionConstraint(
                name="contract_one_person_per_subject_and_level",
                expressions=[
                    ("subject", RangeOperators.EQUAL),
                    ("level", RangeOperators.EQUAL),
                    ("period", RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(
                name="contract_period_has_days",
                condition=Q(period__isempty=False) & Q(period__startswith__isnull=False),
            ),
            models.CheckConstraint(
                name="contract_cadence_positive", condition=Q(visit_every_days=None) | Q(visit_every_days__gt=0)
            ),
        ]
        indexes = [
            models.Index(name="contract_person", fields=["person", "level"]),
            models.Index(name="contract_level_subject", fields=["level", "subject"]),
            models.Index(Lower("period"), name="contract_from"),
            models.Index(Upper("period"), name="contract_until"),
            models.Index(name="contract_signed", fields=["-signed_at", "-id"]),
        ]

    def __str__(self) -> str:
        return f"{self.subject} · {self.level_label} · {self.person}"

    def get_absolute_url(self) -> str:
        return reverse("duty:contract", args=[self.pk])

    @property
    def level_label(self) -> str:
        return level_label(self.level)

    @property
    def begins_on(self) -> date:
        day: date = self.period.lower
        return day

    @property
    def ends_on(self) -> date | None:
        """The first day on which it no longer holds; None when open."""
        day: date | None = self.period.upper
        return day

    def holds_on(self, day: date) -> bool:
        return self.begins_on <= day and (self.ends_on is None or day < self.ends_on)

    @property
    def place(self) -> dict[str, Any]:
        """Where it belongs, in the words of ``events.record`` and ``open_deadline``."""
        place: dict[str, Any] = self.subject.place
        return place


class VisitQuerySet(ScopedQuerySet):
    scope_capability = "contract.view"
    scope_path = "contract__subject__division__path"
    scope_organisations = ("contract__subject__organisation_id", "contract__subject__viewers__contains")
    scope_programme = "contract__subject__programme"


class Visit(models.Model):
    """A visit under a contract. ``id`` is made by the phone, so that sending it twice records it once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    contract = models.ForeignKey(Contract, models.PROTECT, related_name="visits")
    person = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    made_at = models.DateTimeField(_("made at"))
    recorded_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(_("was due"), null=True, blank=True)
    lon = models.FloatField(null=True, blank=True)
    lat = models.FloatField(null=True, blank=True)
    distance_m = models.FloatField(_("distance to the object (m)"), null=True, blank=True)
    note = models.TextField(_("note"), blank=True)
    objects = VisitQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-id"]
        verbose_name = _("visit")
        indexes = [models.Index(name="visit_contract", fields=["contract", "-made_at"])]
        constraints = [
            models.CheckConstraint(
                name="visit_place_whole", condition=Q(lon=None, lat=None) | Q(lon__isnull=False, lat__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.contract_id} {self.made_at:%Y-%m-%d}"

    @property
    def in_time(self) -> bool | None:
        """None when nothing was due."""
        due: datetime | None = self.due_at
        return None if due is None else self.made_at <= due
