"""List pages of back-tests."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from zhenan.domains.backtest.models import Hit, Trial
from zhenan.kernel.lists import BooleanFilter, ChoiceFilter, Column, DateRangeFilter, DivisionFilter, ListPage
from zhenan.packkit.registry import registry

COLOURS = {"done": "green", "running": "yellow", "waiting": "grey", "failed": "red", "stopped": "grey"}
CAUSES = {"real": "red", "false_alarm": "orange", "test": "blue", "drill": "blue", "fault": "yellow"}


def rule_name(trial: Trial) -> str:
    return registry().label(trial.rule, kind="alarm_rule")


def count(version: str) -> Any:
    return lambda trial: (trial.summary.get("versions", {}).get(version) or {}).get("alarms")


class TrialList(ListPage):
    """The back-tests made: one's own, or all for those who see the system's state."""

    model = Trial
    title = _("Back-tests")
    lead = _("Try a rule on history before it goes live: how many alarms, when, where, for whom.")
    capability = "rule.test"
    search = ("rule",)
    search_hint = _("Code of the rule")
    columns = (
        Column("rule", _("Rule"), value=rule_name, link=True),
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
    select_related = ("actor", "division")
    create_url, create_label, create_capability = "backtest:new", _("New back-test"), "rule.test"
    empty_hint = _("No back-test yet. Choose a rule, a period, and what you would change.")


class HitList(ListPage):
    """The alarms of one back-test."""

    model = Hit
    capability = "rule.test"
    search = ("subject__name", "device__name", "device__key")
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
        Column(
            "cause", _("Verified cause"), value=lambda hit: hit.recorded.get_cause_display() if hit.recorded else ""
        ),
    )
    filters = (
        ChoiceFilter(name="version", label=_("Version"), choices=Hit.Version.choices),
        BooleanFilter(name="only", label=_("In one version only"), when=lambda: Q(in_both=False)),
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
    default_sort = "raised_at"
    select_related = ("subject__division", "device", "recorded")

    @cached_property
    def trial(self) -> Trial:
        return get_object_or_404(Trial.objects.visible_to(self.request.user), pk=self.kwargs["pk"])

    @property
    def title(self) -> str:
        return gettext("Alarms of the back-test of %(rule)s") % {"rule": rule_name(self.trial)}

    def get_queryset(self) -> QuerySet[Any]:
        return Hit.objects.visible_to(self.request.user).filter(trial=self.trial)

    def row_url(self, row: Hit) -> str:
        if row.recorded_id:
            return reverse("monitoring:alarm", args=[row.recorded_id])
        return reverse("monitoring:device", args=[row.device_id])
