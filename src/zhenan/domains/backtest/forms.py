"""The question as a form: the rule's own parameters become fields."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.judge.rules import keys_of

DAYS = 30
LABELS = {
    "above": _("At or above"),
    "below": _("At or below"),
    "clear": _("Back to normal beyond"),
    "low": _("Lower limit"),
    "high": _("Upper limit"),
    "margin": _("Margin inside the limits"),
    "for_s": _("For at least (s)"),
    "clear_for_s": _("Normal for at least (s)"),
    "in": _("States (numbers, with commas)"),
    "per_s": _("Change per (s)"),
    "max_gap_s": _("Longest gap between readings (s)"),
    "count": _("How many"),
    "window_s": _("Within (s)"),
    "after_s": _("Silent for more than (s)"),
    "eps": _("Change counted as none"),
}
WHOLE = ("count",)
NOT_FIELDS = ("id", "level", "points", "kind")


def rules() -> list[tuple[str, list[tuple[str, str]]]]:
    """Rules by programme, for a select."""
    book = registry()
    return [
        (book.label(pack, kind="pack"), [(rule.code, book.label(rule.code, kind="alarm_rule")) for rule in found])
        for pack in book.packs
        if (found := book.alarm_rules(pack))
    ]


class QuestionForm(forms.Form):
    """Rule, part of the city, period, and the rule's parameters as they would be."""

    rule = forms.ChoiceField(label=_("Rule"))
    division = forms.ModelChoiceField(
        Division.objects.none(), label=_("Division"), required=False, to_field_name="code"
    )
    since = forms.DateField(label=_("From"), widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}))
    until = forms.DateField(
        label=_("To"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        help_text=_("This day is included."),
    )

    def __init__(self, *args: Any, rule: AlarmRule | None, **kwargs: Any) -> None:
        today = timezone.localdate()
        kwargs["initial"] = {"since": today - timedelta(days=DAYS), "until": today, **(kwargs.get("initial") or {})}
        super().__init__(*args, **kwargs)
        self.chosen = rule
        choices: Any = self.fields["rule"]
        choices.choices = rules()
        division: Any = self.fields["division"]
        division.queryset = Division.objects.filter(level__in=["county", "town"]).defer("boundary").order_by("path")
        division.empty_label = _("All that I may see")
        for key in _keys(rule) if rule else []:
            self.fields[f"p_{key}"] = _field(key, rule.rule.get(key) if rule else None)

    @property
    def parameters(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name.startswith("p_")]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        since, until = data.get("since"), data.get("until")
        if since and until and since > until:
            self.add_error("until", _("The period ends before it begins."))
        return data

    def period(self) -> tuple[datetime, datetime]:
        """From the first day's midnight to the last day's end, by now at the latest."""
        first, last = self.cleaned_data["since"], self.cleaned_data["until"] + timedelta(days=1)
        zone = timezone.get_current_timezone()
        ends = [datetime.combine(day, time.min, zone) for day in (first, last)]
        return ends[0], min(ends[1], timezone.now())

    def spec(self) -> dict[str, Any]:
        """The rule as tried; equal to the rule itself when nothing was changed."""
        if self.chosen is None:
            return {}
        found: dict[str, Any] = {"kind": self.chosen.rule["kind"]}
        for name in self.fields:
            if name.startswith("p_") and (value := self.cleaned_data.get(name)) not in (None, ""):
                found[name[2:]] = int(value) if isinstance(value, float) and value.is_integer() else value
        return found


def _keys(rule: AlarmRule) -> list[str]:
    """Parameters that the rule may have; of two sides, the one it looks at."""
    other = {"above": "below", "below": "above"}
    return [
        key
        for key in keys_of(rule.rule["kind"])
        if key not in NOT_FIELDS and not (other.get(key) in rule.rule and key not in rule.rule)
    ]


def _field(key: str, value: Any) -> forms.Field:
    label = LABELS.get(key, key)
    if key == "in":
        text = ", ".join(str(one) for one in value or [])
        return StatesField(label=label, initial=text, required=True)
    if key in WHOLE:
        return forms.IntegerField(label=label, initial=value, required=False, min_value=0)
    return forms.FloatField(label=label, initial=value, required=False, widget=forms.NumberInput(attrs={"step": "any"}))


class StatesField(forms.CharField):
    """Whole numbers with commas between them."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return [int(part) for part in str(text).replace("，", ",").split(",") if part.strip()]
        except ValueError as err:
            raise forms.ValidationError(_("Whole numbers with commas between them, such as 2, 3.")) from err
