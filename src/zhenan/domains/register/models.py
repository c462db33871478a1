"""The register: one table of everything supervised, typed by packs, placed in the division tree."""

from __future__ import annotations

from typing import Any, Self

import pghistory
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet


class SubjectQuerySet(ScopedQuerySet):
    scope_capability = "subject.view"
    scope_path = "division__path"
    scope_organisations = ("organisation_id", "viewers__contains")
    scope_programme = "programme"

    def active(self) -> Self:
        return self.filter(status=Subject.Status.ACTIVE)

    def of_type(self, *types: str) -> Self:
        return self.filter(type__in=types)


@pghistory.track(exclude=["updated_at", "initials"])
class Subject(models.Model):
    """An enterprise, site, installation, vehicle, house …: whatever contracts, devices and hazards hang on.

    ``type`` is a pack's subject type ("catering_gas.caterer"); ``key`` is its identity in the system that it came from
    (a unified social credit code, a facility number), unique within the type. ``organisation`` is the body whose own
    people may see it; ``viewers`` are further organisations that may (its service centre, its insurer).
    """

    class Status(models.TextChoices):
        ACTIVE = "active", _("In operation")
        SUSPENDED = "suspended", _("Suspended")
        CLOSED = "closed", _("Closed down")

    type = models.CharField(_("type"), max_length=80)
    programme = models.CharField(_("programme"), max_length=60)
    key = models.CharField(_("identity"), max_length=80)
    name = models.CharField(_("name"), max_length=200)
    credit_code = models.CharField(_("unified social credit code"), max_length=18, blank=True)
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.ACTIVE)
    division = models.ForeignKey(
        "territory.Division", models.PROTECT, related_name="subjects", verbose_name=_("division")
    )
    address = models.CharField(_("address"), max_length=300, blank=True)
    lon = models.FloatField(_("longitude (WGS-84)"), null=True, blank=True)
    lat = models.FloatField(_("latitude (WGS-84)"), null=True, blank=True)
    owner = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="owned", verbose_name=_("belongs to")
    )
    organisation = models.ForeignKey(
        "people.Organisation",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="subjects",
        verbose_name=_("organisation"),
    )
    viewers = ArrayField(models.BigIntegerField(), default=list, blank=True)
    contact = models.CharField(_("contact person"), max_length=100, blank=True)
    phone = models.CharField(_("phone"), max_length=40, blank=True)
    attributes = models.JSONField(_("attributes"), default=dict, blank=True)
    source = models.CharField(_("source"), max_length=60, blank=True)
    # First letters of the name's pinyin, for searching; written by services.
    initials = models.CharField(max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    objects = SubjectQuerySet.as_manager()

    class Meta:
        ordering = ["name", "pk"]
        verbose_name = _("subject")
        constraints = [
            models.UniqueConstraint(name="subject_key_once_per_type", fields=["type", "key"]),
            models.CheckConstraint(name="subject_lon_on_earth", condition=Q(lon=None) | Q(lon__range=(-180, 180))),
            models.CheckConstraint(name="subject_lat_on_earth", condition=Q(lat=None) | Q(lat__range=(-90, 90))),
        ]
        indexes = [
            models.Index(name="subject_type_division", fields=["type", "division", "status"]),
            models.Index(name="subject_type_name", fields=["type", "name", "id"]),
            models.Index(name="subject_name", fields=["name", "id"]),
            models.Index(name="subject_updated", fields=["updated_at", "id"]),
            models.Index(name="subject_place", fields=["lat", "lon"], condition=Q(lat__isnull=False)),
            models.Index(name="subject_credit_code", fields=["credit_code"], condition=~Q(credit_code="")),
            models.Index(name="subject_organisation", fields=["organisation"]),
            GinIndex(name="subject_name_trgm", fields=["name"], opclasses=["gin_trgm_ops"]),
            GinIndex(name="subject_address_trgm", fields=["address"], opclasses=["gin_trgm_ops"]),
            GinIndex(name="subject_key_trgm", fields=["key"], opclasses=["gin_trgm_ops"]),
            GinIndex(name="subject_initials_trgm", fields=["initials"], opclasses=["gin_trgm_ops"]),
            GinIndex(name="subject_attributes", fields=["attributes"], opclasses=["jsonb_path_ops"]),
            GinIndex(name="subject_viewers", fields=["viewers"]),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("register:detail", args=[self.pk])

    @property
    def place(self) -> dict[str, Any]:
        """Where its records happen, in the words of ``events.record`` and ``open_deadline``."""
        return {
            "path": self.division.path,
            "organisations": [o for o in (self.organisation_id, *self.viewers) if o is not None],
            "programme": self.programme,
        }
