"""The division tree: province, city, county, town, grid; with the codes that other systems give the same place."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models.functions import Length
from django.utils.translation import gettext_lazy as _


class DivisionQuerySet(models.QuerySet["Division"]):
    def under(self, path: str) -> Self:
        """The division with this path and everything below it."""
        return self.filter(path__startswith=path)

    def at_level(self, level: str) -> Self:
        return self.filter(level=level)

    def chain_of(self, path: str) -> Self:
        """The divisions on the path, the top one first."""
        return self.filter(code__in=path.strip("/").split("/")).order_by(Length("path"))


class Division(models.Model):
    """A node of the tree. ``path`` is the codes from the top, each followed by a slash: 320000/321100/321181/."""

    class Level(models.TextChoices):
        PROVINCE = "province", _("Province")
        CITY = "city", _("City")
        COUNTY = "county", _("District or county")
        TOWN = "town", _("Town or street")
        GRID = "grid", _("Grid")

    code = models.CharField(_("code"), max_length=20, unique=True)
    name = models.CharField(_("name"), max_length=100)
    level = models.CharField(_("level"), max_length=10, choices=Level)
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    path = models.CharField(max_length=120, unique=True)
    legal_parent_code = models.CharField(
        max_length=20, blank=True, help_text=_("GB/T 2260 parent where the tree follows a statistical unit instead")
    )
    lon = models.FloatField(null=True, blank=True)
    lat = models.FloatField(null=True, blank=True)
    boundary = models.JSONField(null=True, blank=True, help_text=_("GeoJSON geometry, WGS-84"))
    active = models.BooleanField(default=True)
    objects = DivisionQuerySet.as_manager()

    class Meta:
        ordering = ["code"]
        verbose_name = _("division")
        constraints = [
            models.CheckConstraint(
                name="division_path_ends_with_its_code",
                condition=models.Q(path__endswith=models.functions.Concat(models.F("code"), models.Value("/"))),
            ),
        ]
        indexes = [
            models.Index(name="division_path_prefix", fields=["path"], opclasses=["text_pattern_ops"]),
            models.Index(name="division_level", fields=["level", "code"]),
        ]

    def __str__(self) -> str:
        return self.name


class DivisionCode(models.Model):
    """The code that another system gives a division: 'nbs', 'areacity', 'register' (the company register's)."""

    system = models.CharField(max_length=20)
    code = models.CharField(max_length=20)
    division = models.ForeignKey(Division, models.CASCADE, related_name="codes")

    class Meta:
        constraints = [models.UniqueConstraint(name="division_code_once_per_system", fields=["system", "code"])]

    def __str__(self) -> str:
        return f"{self.system}:{self.code}"
