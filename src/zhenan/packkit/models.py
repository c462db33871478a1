"""What was synced from packs, and what the city changed of it."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class PackVersion(models.Model):
    """A pack as last synced."""

    code = models.CharField(_("code"), max_length=48, unique=True)
    version = models.PositiveIntegerField(_("version"))
    digest = models.CharField(_("digest"), max_length=64)
    info = models.JSONField(_("what pack.yaml says"))
    folder = models.TextField(_("folder"))
    active = models.BooleanField(_("active"), default=True)
    synced_at = models.DateTimeField(_("synced at"))

    class Meta:
        verbose_name = _("programme pack")
        verbose_name_plural = _("programme packs")

    def __str__(self) -> str:
        return f"{self.code} {self.version}"


class PackObject(models.Model):
    """One object of a pack: ``spec`` as the pack says, ``overrides`` the city's changes. Never deleted."""

    pack = models.ForeignKey(PackVersion, models.PROTECT, related_name="parts", verbose_name=_("pack"))
    kind = models.CharField(_("kind"), max_length=24)
    code = models.CharField(_("code"), max_length=100)
    place = models.PositiveIntegerField(_("place in the file"), default=0)
    spec = models.JSONField(_("as the pack says"))
    overrides = models.JSONField(_("the city's changes"), default=dict, blank=True)
    overridden_at = models.DateTimeField(_("changed by the city at"), null=True, blank=True)
    overridden_by = models.CharField(_("changed by"), max_length=150, blank=True)
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("pack object")
        verbose_name_plural = _("pack objects")
        constraints = [models.UniqueConstraint(name="packobject_kind_code", fields=["kind", "code"])]
        ordering = ["kind", "pack_id", "place"]

    def __str__(self) -> str:
        return f"{self.kind} {self.code}"


class SyncState(models.Model):
    """One row: its stamp changes with every sync and override, so that every process knows to read anew."""

    stamp = models.CharField(max_length=36)

    class Meta:
        verbose_name = _("pack sync state")
        verbose_name_plural = _("pack sync states")
        constraints = [models.CheckConstraint(name="packkit_one_syncstate", condition=models.Q(pk=1))]
