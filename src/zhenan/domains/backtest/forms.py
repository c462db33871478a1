"""The question as a form: the parameters of what is tried become fields."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from zhenan.domains.backtest.errors import UnknownRule
from zhenan.domains.backtest.fences import FENCE, TRIED, WAS, fence_named, terms_of
from zhenan.domains.backtest.lists import family_name
from zhenan.domains.backtest.rules import FAMILY, families, rule_named
from zhenan.domains.monitoring.rule_words import LABELS
from zhenan.domains.transport.forms import TermsForm
from zhenan.domains.transport.models import Fence
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.judge.rules import keys_of

DAYS = 30
MOST_FENCES = 500
WHOLE = ("count",)
NOT_FIELDS = ("id", "level", "points", "kind", "active")
Choices = list[tuple[str, list[tuple[str, Any]]]]


def things(user: User) -> Choices:
    """What can be tried, for a select: rules by programme, families of stages, the fences that the user may see."""
    book = registry()
    found: Choices = [
        (book.label(pack, kind="pack"), [(rule.code, book.label(rule.code, kind="alarm_rule")) for rule in rules])
        for pack in book.packs
        if (rules := book.alarm_rules(pack))
    ]
    staged = [(code, family_name(code)) for code in families()]
    fences = [
        (f"{FENCE}{pk}", name)
        for pk, name in Fence.objects.visible_to(user).order_by("name", "pk").values_list("pk", "name")[:MOST_FENCES]
    ]
    return [*found, *([(gettext("Staged alarms"), staged)] if staged else []),
            *([(gettext("Fences"), fences)] if fences else [])]  # fmt: skip


def form_for(code: str, data: Any, user: User, choices: Choices) -> QuestionForm:
    """The form of what is tried. Raises UnknownRule, UnknownFence."""
    kind: type[QuestionForm] = RuleForm
    if code.startswith(FENCE):
        kind = FenceForm
    elif code.startswith(FAMILY):
        kind = FamilyForm
    elif rule_named(code).is_composite:
        kind = CompositeForm
    return kind(data, code=code, user=user, choices=choices)


class QuestionForm(forms.Form):
    """Rule or fence, part of the city, period; subclasses add what of it may be changed."""

    rule = forms.ChoiceField(label=_("Rule or fence"))
    division = forms.ModelChoiceField(
        Division.objects.none(), label=_("Division"), required=False, to_field_name="code"
    )
    since = forms.DateField(label=_("From"), widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}))
    until = forms.DateField(
        label=_("To"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        help_text=_("This day is included."),
    )
    fence: Fence | None = None
    explain = ""

    def __init__(self, data: Any, *, code: str, user: User, choices: Choices) -> None:
        today = timezone.localdate()
        super().__init__(data, initial={"rule": code, "since": today - timedelta(days=DAYS), "until": today})
        self.code, self.user = code, user
        rule: Any = self.fields["rule"]
        listed = {option for _group, options in choices for option, _name in options}
        rule.choices = choices if code in listed else [*choices, (code, code)]  # a fence beyond MOST_FENCES
        division: Any = self.fields["division"]
        division.queryset = Division.objects.filter(level__in=["county", "town"]).defer("boundary").order_by("path")
        division.empty_label = _("All that I may see")

    @property
    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        """(title, fields) of what may be changed; "" for a single one."""
        return [("", [self[name] for name in self.fields if name.startswith("p_")])]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        since, until = data.get("since"), data.get("until")
        if since and until and since > until:
            self.add_error("until", _("The period ends before it begins."))
        if since and since > timezone.localdate():
            self.add_error("since", _("The period lies in the future: nothing is recorded of it yet."))
        return data

    def period(self) -> tuple[datetime, datetime]:
        """From the first day's midnight to the last day's end, by now at the latest."""
        first, last = self.cleaned_data["since"], self.cleaned_data["until"] + timedelta(days=1)
        zone = timezone.get_current_timezone()
        ends = [datetime.combine(day, time.min, zone) for day in (first, last)]
        return ends[0], min(ends[1], timezone.now())

    def asked(self) -> dict[str, Any]:
        """What the service takes: ``changed``, and of fences the versions. As it stands when nothing was changed."""
        raise NotImplementedError


class RuleForm(QuestionForm):
    """The parameters of a rule."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.chosen = rule_named(self.code)
        self.explain = self.chosen.explain.label(get_language() or "zh-hans")
        self.fields.update(self._fields())

    def _fields(self) -> dict[str, forms.Field]:
        return fields_of(self.chosen, "p_")

    def asked(self) -> dict[str, Any]:
        return {"changed": spec_of(self.chosen, "p_", self.cleaned_data)}


class CompositeForm(RuleForm):
    """Which alarms a composite is made of, how many of them, within what time."""

    def _fields(self) -> dict[str, forms.Field]:
        return composite_fields(self.chosen, "p_")

    def asked(self) -> dict[str, Any]:
        return {"changed": composite_spec(self.chosen, "p_", self.cleaned_data)}


class FamilyForm(QuestionForm):
    """The parameters of each rule of a family."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.members = families().get(self.code, [])
        if not self.members:
            raise UnknownRule(rule=self.code, hint="")
        for rule in self.members:
            made = composite_fields if rule.is_composite else fields_of
            self.fields.update(made(rule, self._prefix(rule)))

    @staticmethod
    def _prefix(rule: AlarmRule) -> str:
        return f"p_{rule.code.rpartition('.')[2]}__"

    @property
    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [
            (
                registry().label(rule.code, kind="alarm_rule"),
                [self[name] for name in self.fields if name.startswith(self._prefix(rule))],
            )
            for rule in self.members
        ]

    def asked(self) -> dict[str, Any]:
        specs = {}
        for rule in self.members:
            read = composite_spec if rule.is_composite else spec_of
            specs[rule.code] = read(rule, self._prefix(rule), self.cleaned_data)
        return {"changed": specs}


class TriedTerms(TermsForm):
    """The terms of a fence as tried: over the whole period."""

    valid_from = None  # type: ignore[assignment]


class FenceForm(QuestionForm):
    """Which version of a fence, and what to compare it with: nothing, changed terms, another version."""

    standing_as = forms.ChoiceField(label=_("Judge by"), required=False)
    changed_as = forms.ChoiceField(label=_("Compare with"), required=False)

    def __init__(self, data: Any, **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        self.fence = fence_named(self.code.removeprefix(FENCE), user=self.user)
        history = list(self.fence.versions.order_by("-version"))
        now = next((v for v in history if v.valid_from <= timezone.now()), history[-1])
        self.standing = terms_of(now)
        versions = [(f"v{v.version}", gettext("Version %(number)s") % {"number": v.version}) for v in history]
        standing: Any = self.fields["standing_as"]
        standing.choices = [("", gettext("the version in force (%(number)s)") % {"number": now.version}),
                            (WAS, gettext("as it was: each trip by the version of its time")), *versions]  # fmt: skip
        changed: Any = self.fields["changed_as"]
        changed.choices = [("", gettext("nothing")), (TRIED, gettext("the terms below")), *versions]
        self.initial["changed_as"] = TRIED
        self.terms = TriedTerms(data, initial=typed(self.standing))

    @property
    def groups(self) -> list[tuple[str, list[forms.BoundField]]]:
        return [("", [self["standing_as"], self["changed_as"]])]

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if data.get("changed_as") == TRIED and not self.terms.is_valid():
            self.add_error("changed_as", _("The terms below are not right yet."))
        return data

    def asked(self) -> dict[str, Any]:
        data = self.cleaned_data
        asked: dict[str, Any] = {"changed": {}, "standing_as": data["standing_as"], "changed_as": data["changed_as"]}
        if data["changed_as"] == TRIED:
            touched = set(self.terms.changed_data)
            tried = self.terms.terms()
            if not touched & {"days", "begins", "ends"}:  # a version may have more windows than the form shows
                tried["windows"] = self.standing["windows"]
            if "dwell_min" not in touched:
                tried["dwell_s"] = self.standing["dwell_s"]
            asked |= {"changed": tried, "changed_as": ""}
        return asked


def typed(terms: dict[str, Any]) -> dict[str, Any]:
    """Terms as a person types them."""
    found = {name: _whole(value) for name, value in terms.items()} | {"points": json.dumps(terms["points"])}
    found |= {"dwell_min": _whole(terms["dwell_s"] / 60) if terms["dwell_s"] else None}
    for days, start, end in terms["windows"][:1]:
        found["days"] = [str(n) for n in range(7) if days >> n & 1]
        if (start, end) != (0, 1440):
            found |= {"begins": time(start // 60, start % 60), "ends": time(end // 60 % 24, end % 60)}
    return found


def fields_of(rule: AlarmRule, prefix: str) -> dict[str, forms.Field]:
    """A field for each parameter that the rule may have."""
    return {f"{prefix}{key}": _field(key, rule.rule.get(key)) for key in _keys(rule)}


def composite_fields(rule: AlarmRule, prefix: str) -> dict[str, forms.Field]:
    """Which alarms it is made of, how many of them, within what time."""
    pack, book, spec = rule.code.rpartition(".")[0], registry(), rule.rule
    parts = [
        (part.code.rpartition(".")[2], book.label(part.code, kind="alarm_rule"))
        for part in book.alarm_rules(pack)
        if not part.is_composite
    ]
    return {
        f"{prefix}rules": forms.MultipleChoiceField(
            label=LABELS["rules"], choices=parts, initial=[name.rpartition(".")[2] for name in spec["rules"]],
            widget=forms.CheckboxSelectMultiple,
        ),
        f"{prefix}n": forms.IntegerField(label=LABELS["n"], initial=spec.get("n"), required=False, min_value=2),
        f"{prefix}within_s": _number("within_s", spec.get("within_s")),
    }  # fmt: skip


def composite_spec(rule: AlarmRule, prefix: str, data: dict[str, Any]) -> dict[str, Any]:
    """The rule made of alarms as tried; equal to the rule itself when nothing was changed."""
    rules, n, within = (data[f"{prefix}{key}"] for key in ("rules", "n", "within_s"))
    standing = rule.rule["rules"]
    found: dict[str, Any] = {"kind": "n_of" if n else "all_of", "rules": rules}
    if set(rules) == {name.rpartition(".")[2] for name in standing}:
        found["rules"] = standing
    if n:
        found["n"] = n
    if within is not None:
        found["within_s"] = _whole(within)
    return found


def spec_of(rule: AlarmRule, prefix: str, data: dict[str, Any]) -> dict[str, Any]:
    """The rule as tried; equal to the rule itself when nothing was changed."""
    kept = {key: rule.rule[key] for key in ("kind", "active") if key in rule.rule}
    return kept | {key: _whole(value) for key in _keys(rule) if (value := data.get(f"{prefix}{key}")) not in (None, "")}


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
        return StatesField(label=label, initial=_joined(value or []), required=True)
    if key in WHOLE:
        return forms.IntegerField(label=label, initial=value, required=False, min_value=0)
    return _number(key, value)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def _number(key: str, value: Any) -> forms.Field:
    widget = forms.NumberInput(attrs={"step": "any"})
    return forms.FloatField(label=LABELS.get(key, key), initial=value, required=False, widget=widget)


class StatesField(forms.CharField):
    """Whole numbers with commas between them."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        try:
            return [int(part) for part in str(text).replace("，", ",").split(",") if part.strip()]
        except ValueError as err:
            raise forms.ValidationError(_("Whole numbers with commas between them, such as 2, 3.")) from err
