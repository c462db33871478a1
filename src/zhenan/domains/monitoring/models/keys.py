"""Keys of programs that send readings over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.access.scope import ScopedQuerySet


class ApiKeyQuerySet(ScopedQuerySet):
    scope_capability = "key.edit"
    scope_path = "division__path"
    scope_organisations = ("organisation_id",)

    def good(self, at: datetime) -> Self:
        """Neither revoked nor run out."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=at), revoked_at=None)


class ApiKey(models.Model):
    """What a program shows to send readings of the devices within a division, or of one organisation there.

    Only the hash of its text is kept: the text is shown once, when it is made.
    """

    name = models.CharField(_("name"), max_length=120)
    prefix = models.CharField(_("begins with"), max_length=12)
    digest = models.BinaryField(max_length=32, unique=True)
    division = models.ForeignKey("territory.Division", models.PROTECT, related_name="+")
    organisation = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    readings_per_s = models.PositiveIntegerField(_("readings per second"))
    burst = models.PositiveIntegerField(_("readings at once"))
    made_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    made_at = models.DateTimeField(_("made"))
    expires_at = models.DateTimeField(_("good until"), null=True, blank=True)
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)
    revoked_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at", "-pk"]
        verbose_name = _("API key")
        constraints = [
            models.CheckConstraint(
                name="key_limits", condition=Q(readings_per_s__gte=1) & Q(burst__gte=F("readings_per_s"))
            )
        ]
        indexes = [models.Index(name="key_made", fields=["-made_at", "-id"])]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
