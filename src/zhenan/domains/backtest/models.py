"""Back-tests that were made, and the alarms that each version of the rule or fence would have given."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.people.models import User


class TrialQuerySet(models.QuerySet["Trial"]):
    def visible_to(self, user: User | AnonymousUser, capability: str = "") -> Self:
        """One's own; all of them for those who see the state of the system."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        return self.all() if user.can("system.view") else self.filter(actor=user)


class Trial(models.Model):
    """One rule, family or fence, as it stands and perhaps changed, over a period of history and a part of the city.

    Only devices that the person may see are judged. ``rule``: the code of a pack's rule, ``family:`` and the family's,
    or ``fence:`` and its number. ``standing``, ``changed``: the parameters judged, of a family by rule, of a fence its
    terms; {} for none. ``standing_as``, ``changed_as`` say what those of a fence are: "was" (each trip by the version
    of its time), "v" and a version's number, or "terms".
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("Waiting")
        RUNNING = "running", _("Running")
        DONE = "done", _("Done")
        FAILED = "failed", _("Failed")
        STOPPED = "stopped", _("Stopped")

    rule = models.CharField(_("rule"), max_length=120)
    fence = models.ForeignKey("transport.Fence", models.PROTECT, null=True, blank=True, related_name="+")
    standing: Any = models.JSONField(_("as it stands"), default=dict)
    changed: Any = models.JSONField(_("as tried"), default=dict, blank=True)
    standing_as = models.CharField(max_length=12, blank=True)
    changed_as = models.CharField(max_length=12, blank=True)
    division = models.ForeignKey("territory.Division", models.PROTECT, null=True, blank=True, related_name="+")
    since = models.DateTimeField(_("from"))
    until = models.DateTimeField(_("to"))
    actor = models.ForeignKey("people.User", models.PROTECT, related_name="+", verbose_name=_("asked by"))
    at = models.DateTimeField(_("asked at"))
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.WAITING)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    points = models.PositiveIntegerField(_("points"), default=0)
    tasks = models.PositiveIntegerField(default=0)
    tasks_done = models.PositiveIntegerField(default=0)
    summary: Any = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    objects = TrialQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name = _("back-test")
        constraints = [
            models.CheckConstraint(name="trial_period", condition=Q(since__lt=models.F("until"))),
            models.CheckConstraint(
                name="trial_finished_has_time",
                condition=~Q(state__in=["done", "failed", "stopped"]) | Q(finished_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="trial_at", fields=["-at", "-id"]),
            models.Index(name="trial_actor", fields=["actor", "-at"]),
        ]

    def __str__(self) -> str:
        return f"{self.rule} {self.since:%Y-%m-%d}"

    def get_absolute_url(self) -> str:
        return reverse("backtest:trial", args=[self.pk])

    @property
    def busy(self) -> bool:
        return self.state in (self.State.WAITING, self.State.RUNNING)


class HitQuerySet(models.QuerySet["Hit"]):
    def visible_to(self, user: User | AnonymousUser, capability: str = "") -> Self:
        return self.filter(trial__in=Trial.objects.visible_to(user))


class Hit(models.Model):
    """An alarm that a version would have given. ``recorded``: the real alarm it coincides with.

    Of a fence, ``kind`` is what the vehicle did and ``lat``, ``lon`` where; an entry that is only noted is no alarm.
    ``level``: the gravest it reached, ``steps``: how often it grew graver. ``told_at``: when people would have been
    told, null: not in the period; ``held``: what held it back, perhaps for a while.
    """

    class Version(models.TextChoices):
        STANDING = "standing", _("As it stands")
        CHANGED = "changed", _("As tried")

    class Kind(models.TextChoices):
        ENTER = "enter", _("entered")
        DWELL = "dwell", _("stayed too long")
        SPEED = "speed", _("too fast")
        NOTED = "noted", _("entered, no alarm")

    class Held(models.TextChoices):
        MAINTENANCE = "maintenance", _("maintenance")
        PARENT = "parent", _("behind a gateway that was gone")

    trial = models.ForeignKey(Trial, models.CASCADE, related_name="hits")
    version = models.CharField(_("version"), max_length=10, choices=Version)
    point = models.ForeignKey("monitoring.Point", models.CASCADE, null=True, related_name="+")
    device = models.ForeignKey("monitoring.Device", models.CASCADE, related_name="+")
    subject = models.ForeignKey("register.Subject", models.CASCADE, related_name="+")
    onset = models.DateTimeField(_("onset"))
    raised_at = models.DateTimeField(_("raised at"))
    cleared_at = models.DateTimeField(_("cleared at"), null=True)
    value = models.FloatField(_("value"), null=True)
    level = models.PositiveSmallIntegerField(_("level"), null=True)
    steps = models.PositiveSmallIntegerField(_("times graver"), default=0)
    kind = models.CharField(_("event"), max_length=10, choices=Kind, blank=True)
    lat = models.FloatField(_("latitude"), null=True)
    lon = models.FloatField(_("longitude"), null=True)
    told_at = models.DateTimeField(_("told at"), null=True)
    held = models.CharField(_("held back by"), max_length=12, choices=Held, blank=True)
    in_both = models.BooleanField(_("in both versions"), default=False)
    recorded = models.ForeignKey("monitoring.Alarm", models.SET_NULL, null=True, related_name="+")
    objects = HitQuerySet.as_manager()

    class Meta:
        ordering = ["raised_at", "pk"]
        verbose_name = _("alarm of a back-test")
        indexes = [models.Index(name="hit_trial", fields=["trial", "version", "raised_at"])]

    def __str__(self) -> str:
        return f"{self.version} {self.device_id} {self.raised_at:%Y-%m-%d %H:%M}"
