"""Organisations, people, and the posts that tie a person to an organisation, a role and a part of the city."""

from __future__ import annotations

from datetime import date
from functools import cached_property
from typing import Self

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.people.roles import Role, roles


class Organisation(models.Model):
    """A body that people work for: an office, a department, an enterprise, an insurer, a service centre."""

    kind = models.CharField(_("kind"), max_length=40)  # a word of the vocabulary: packs may add kinds
    code = models.CharField(_("code"), max_length=60, unique=True)
    name = models.CharField(_("name"), max_length=200)
    division = models.ForeignKey("territory.Division", models.PROTECT, related_name="organisations")
    parent = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="children")
    phone = models.CharField(_("phone"), max_length=40, blank=True)
    programme = models.CharField(_("programme"), max_length=60, blank=True)
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        ordering = ["code"]
        verbose_name = _("organisation")
        indexes = [
            models.Index(name="organisation_kind", fields=["kind", "division"]),
            GinIndex(name="organisation_name_trgm", fields=["name"], opclasses=["gin_trgm_ops"]),
        ]

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    """A person who signs in. What they may do comes from their posts of today alone."""

    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    objects = UserManager()  # type: ignore[misc]
    name = models.CharField(_("name"), max_length=100)
    phone = models.CharField(_("phone"), max_length=40, blank=True)
    language = models.CharField(_("language"), max_length=10, default="zh-hans")

    class Meta:
        ordering = ["username"]
        verbose_name = _("person")

    def __str__(self) -> str:
        return self.name or self.username

    def get_full_name(self) -> str:
        return self.name or self.username

    def get_short_name(self) -> str:
        return self.name or self.username

    @cached_property
    def current_posts(self) -> list[Post]:
        """Posts held today, read once per request."""
        if not self.is_active:
            return []
        return list(self.posts.held_on(timezone.localdate()).select_related("organisation", "division"))

    @cached_property
    def capabilities(self) -> frozenset[str]:
        granted: frozenset[str] = frozenset()
        for post in self.current_posts:
            granted |= post.role_entry.capabilities
        return granted

    def can(self, capability: str) -> bool:
        """Whether any post of today grants it; a superuser holds every capability."""
        return self.is_active and (self.is_superuser or capability == "" or capability in self.capabilities)

    @property
    def main_post(self) -> Post | None:
        return self.current_posts[0] if self.current_posts else None


class PostQuerySet(models.QuerySet["Post"]):
    def held_on(self, day: date) -> Self:
        return self.filter(Q(since__lte=day) & (Q(until=None) | Q(until__gt=day)))

    def with_capability(self, capability: str) -> Self:
        return self.filter(role__in=[role.code for role in roles().values() if capability in role.capabilities])


class Post(models.Model):
    """A person in a role at an organisation, from a day (included) to a day (excluded)."""

    user = models.ForeignKey(User, models.CASCADE, related_name="posts")
    organisation = models.ForeignKey(Organisation, models.PROTECT, related_name="posts")
    role = models.CharField(_("role"), max_length=40)
    division = models.ForeignKey("territory.Division", models.PROTECT, related_name="posts")
    programmes = ArrayField(models.CharField(max_length=60), default=list, blank=True)  # empty: all programmes
    title = models.CharField(_("title"), max_length=100, blank=True)
    since = models.DateField(_("since"), default=date(2020, 1, 1))
    until = models.DateField(_("until"), null=True, blank=True)
    objects = PostQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        verbose_name = _("post")
        constraints = [
            models.CheckConstraint(name="post_ends_after_it_begins", condition=Q(until=None) | Q(until__gt=F("since"))),
        ]
        indexes = [models.Index(name="post_by_role", fields=["role", "division"])]

    def __str__(self) -> str:
        return f"{self.user} · {self.organisation} · {self.role_label}"

    @property
    def role_entry(self) -> Role:
        try:
            return roles()[self.role]
        except KeyError:
            return Role(self.role, self.role, self.role, "organisation", frozenset())

    @property
    def role_label(self) -> str:
        return self.role_entry.label(get_language() or "zh-hans")
