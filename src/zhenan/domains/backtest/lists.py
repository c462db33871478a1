"""List pages of back-tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from zhenan.domains.backtest.models import Hit, Trial
from zhenan.domains.backtest.rules import FAMILY, families
from zhenan.domains.backtest.words import versions
from zhenan.domains.transport.queries import measured
from zhenan.kernel.lists import BooleanFilter, ChoiceFilter, Column, DateRangeFilter, DivisionFilter, ListPage
from zhenan.packkit.registry import registry

COLOURS = {"done": "green", "running": "yellow", "waiting": "grey", "failed": "red", "stopped": "grey"}
CAUSES = {"real": "red", "false_alarm": "orange", "test": "blue", "drill": "blue", "fault": "yellow"}


def rule_name(trial: Trial) -> str:
    """What was tried, for people."""
    if trial.fence is not None:
        return gettext("Fence %(name)s") % {"name": trial.fence.name}
    if trial.rule.startswith(FAMILY):
        return family_name(trial.rule, list(trial.standing))
    return registry().label(trial.rule, kind="alarm_rule")


def family_name(code: str, rules: list[str] | None = None) -> str:
    """A family has no name of its own: those of its rules (given as codes, else as it is today)."""
    names = rules or [rule.code for rule in families().get(code, [])]
    return " → ".join(registry().label(name, kind="alarm_rule") for name in names) or code


def count(version: str) -> Any:
    return lambda trial: (trial.summary.get("versions", {}).get(version) or {}).get("alarms")


class TrialList(ListPage):
    """The back-tests made: one's own, or all for those who see the system's state."""

    model = Trial
    title = _("Back-tests")
    lead = _("Try a rule or a fence on history before it goes live: how many alarms, when, where, for whom.")
    capability = "rule.test"
    search = ("rule", "fence__name")
    search_hint = _("Code of the rule, name of the fence")
    columns = (
        Column("rule", _("Rule or fence"), value=rule_name, link=True),
        Column("since", _("From"), kind="date", sort="since"),
        Column("until", _("To"), kind="date"),
        Column("division.name", _("Division"), value=lambda trial: trial.division or gettext("all")),
        Column("standing", _("As it stands"), kind="number", value=count("standing")),
        Column("changed", _("As tried"), kind="number", value=count("changed")),
        Column("state", _("State"), kind="status", colours=COLOURS),
        Column("actor", _("Asked by"), phone=False),
        Column("at", _("Asked at"), kind="datetime", sort="at"),
    )
    filters = (
        ChoiceFilter(name="state", label=_("State"), choices=Trial.State.choices),
        DateRangeFilter(name="asked", label=_("Asked at"), field="at"),
    )
    default_sort = "-at"
    select_related = ("actor", "division", "fence")
    create_url, create_label, create_capability = "backtest:new", _("New back-test"), "rule.test"
    empty_hint = _("No back-test yet. Choose a rule or a fence, a period, and what you would change.")


LEVELS = [("1", _("1 red")), ("2", _("2 orange")), ("3", _("3 yellow")), ("4", _("4 blue"))]
VERSION = ChoiceFilter(name="version", label=_("Version"), choices=Hit.Version.choices)
RECORDED = (
    BooleanFilter(name="only", label=_("In one version only"), when=lambda: Q(in_both=False)),
    BooleanFilter(name="told", label=_("People would have been told"), when=lambda: Q(told_at__isnull=False)),
    ChoiceFilter(name="held", label=_("Held back by"), choices=Hit.Held.choices),
    BooleanFilter(name="recorded", label=_("Was an alarm"), when=lambda: Q(recorded__isnull=False)),
    ChoiceFilter(
        name="cause",
        label=_("Verified cause"),
        choices=[("real", _("True alarm")), ("false_alarm", _("False alarm"))],
        field="recorded__cause",
    ),
    DivisionFilter(name="division", label=_("Division"), field="subject__division"),
    DateRangeFilter(name="raised", label=_("Raised at"), field="raised_at"),
)


def cause(hit: Hit) -> Any:
    return hit.recorded.get_cause_display() if hit.recorded else ""


class HitList(ListPage):
    """The alarms of one back-test of a rule."""

    model = Hit
    capability = "rule.test"
    search: ClassVar[Sequence[str]] = ("subject__name", "device__name", "device__key")
    search_hint = _("Site or device")
    columns = (
        Column("subject.name", _("Site"), sort="subject__name", link=True),
        Column("device.name", _("Device")),
        Column("subject.division.name", _("Division"), phone=False),
        Column("version", _("Version"), value=lambda hit: hit.get_version_display()),
        Column("onset", _("Onset"), kind="datetime", phone=False),
        Column("raised_at", _("Raised at"), sort="raised_at", kind="datetime"),
        Column("cleared_at", _("Cleared at"), kind="datetime"),
        Column("value", _("Value"), kind="number"),
        Column("told_at", _("Told at"), kind="datetime", phone=False),
        Column("get_held_display", _("Held back by"), phone=False),
        Column("level", _("Level"), kind="level"),
        Column("steps", _("Times graver"), kind="number", phone=False),
        Column("cause", _("Verified cause"), value=cause),
    )
    filters = (VERSION, ChoiceFilter(name="level", label=_("Level"), choices=LEVELS), *RECORDED)
    default_sort = "raised_at"
    select_related: ClassVar[Sequence[str]] = ("subject__division", "device", "recorded")

    @cached_property
    def trial(self) -> Trial:
        rows = Trial.objects.visible_to(self.request.user).select_related("fence")
        return get_object_or_404(rows, pk=self.kwargs["pk"])

    @property
    def back(self) -> tuple[str, Any]:
        return self.trial.get_absolute_url(), gettext("Result of the back-test")

    @property
    def title(self) -> str:
        return gettext("Alarms of the back-test of %(rule)s") % {"rule": rule_name(self.trial)}

    def get_queryset(self) -> QuerySet[Any]:
        return Hit.objects.visible_to(self.request.user).filter(trial=self.trial)

    def row_url(self, row: Hit) -> str:
        if row.recorded_id:
            return reverse("monitoring:alarm", args=[row.recorded_id])
        return reverse("monitoring:device", args=[row.device_id])


class EventList(HitList):
    """What vehicles did at the fence of one back-test: when, where, whose."""

    search = ("device__name", "device__key", "subject__name", "subject__organisation__name")
    search_hint = _("Vehicle or organisation")
    columns = (
        Column("device.name", _("Vehicle"), sort="device__name", link=True),
        Column("subject.organisation.name", _("Organisation")),
        Column("version", _("Version"), value=lambda hit: versions(hit.trial)[hit.version]),
        Column("get_kind_display", _("Event")),
        Column("onset", _("Since"), kind="datetime", phone=False),
        Column("raised_at", _("At"), sort="raised_at", kind="datetime"),
        Column("cleared_at", _("Until"), kind="datetime"),
        Column("value", _("Speed or stay"), value=lambda hit: measured(hit.kind, hit.value)),
        Column("told_at", _("Told at"), kind="datetime", phone=False),
        Column("get_held_display", _("Held back by"), phone=False),
        Column("lat", _("Latitude"), value=lambda hit: hit.lat and f"{hit.lat:.5f}", phone=False),
        Column("lon", _("Longitude"), value=lambda hit: hit.lon and f"{hit.lon:.5f}", phone=False),
        Column("cause", _("Verified cause"), value=cause),
    )
    filters = (VERSION, ChoiceFilter(name="kind", label=_("Event"), choices=Hit.Kind.choices), *RECORDED)
    select_related = ("subject__organisation", "device", "recorded", "trial")

    @property
    def title(self) -> str:
        return gettext("Events of the back-test of %(rule)s") % {"rule": rule_name(self.trial)}

    def get_queryset(self) -> QuerySet[Any]:
        return super().get_queryset().defer("trial__summary", "trial__standing", "trial__changed")

    def row_url(self, row: Hit) -> str:
        if row.recorded_id:
            return reverse("monitoring:alarm", args=[row.recorded_id])
        day = timezone.localtime(row.raised_at).date()
        return f"{reverse('transport:day', args=[row.device_id])}?day={day:%Y-%m-%d}"
