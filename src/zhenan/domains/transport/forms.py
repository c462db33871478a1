"""The form of a fence: what people type, as the service wants it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from zhenan.domains.transport.classes import FIELDS, LABELS, classes_known
from zhenan.domains.transport.models import FenceVersion
from zhenan.kernel.access.scope import scope_of
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.telemetry.tracks.fences import MOST_POINTS

DAYS = [(str(n), word) for n, word in enumerate((_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun")))]
LEVELS = [(1, _("1 red")), (2, _("2 orange")), (3, _("3 yellow")), (4, _("4 blue"))]
WINDOW = re.compile(r"([1-7]{1,7})\s+(\d{1,2})[:：](\d{2})\s*[-–—~]\s*(\d{1,2})[:：](\d{2})", re.ASCII)


class TermsForm(forms.Form):
    """The terms of a version. `points` is filled by drawing on the map, or typed as [[lat, lon], …]."""

    shape = forms.ChoiceField(label=_("Shape"), choices=FenceVersion.Shape.choices)
    points = forms.CharField(
        label=_("Points"), widget=forms.Textarea(attrs={"rows": 3, "class": "font-monospace"}), max_length=60_000,
        help_text=_("Draw on the map, or give [[latitude, longitude], …] in degrees."),
    )  # fmt: skip
    size_m = forms.FloatField(label=_("Radius or half width (m)"), required=False, min_value=0, initial=0)
    hysteresis_m = forms.FloatField(
        label=_("Hysteresis (m)"), initial=30, help_text=_("How far outside a vehicle has left: a fix wanders.")
    )
    days = forms.MultipleChoiceField(
        label=_("Days of the week"), choices=DAYS, required=False, widget=forms.CheckboxSelectMultiple,
        help_text=_("None: always in force."),
    )  # fmt: skip
    begins = forms.TimeField(
        label=_("From (time of day)"), required=False, widget=forms.TimeInput(attrs={"type": "time"})
    )
    ends = forms.TimeField(
        label=_("To (time of day)"), required=False, widget=forms.TimeInput(attrs={"type": "time"}),
        help_text=_("Not after “from”: over midnight."),
    )  # fmt: skip
    further_windows = forms.CharField(
        label=_("Further time windows"), required=False, max_length=500, widget=forms.Textarea(attrs={"rows": 2}),
        help_text=_("One a line: days (1 Monday to 7 Sunday) and times, such as 12345 16:30-18:30."),
    )  # fmt: skip
    vehicle_classes = forms.MultipleChoiceField(
        label=LABELS["vehicle_classes"], required=False, widget=forms.CheckboxSelectMultiple,
        help_text=_("None ticked: all."),
    )  # fmt: skip
    goods_classes = forms.MultipleChoiceField(
        label=LABELS["goods_classes"], required=False, widget=forms.CheckboxSelectMultiple,
        help_text=_("None ticked: all."),
    )  # fmt: skip
    alarm_on_enter = forms.BooleanField(label=_("Alarm when entered"), required=False, initial=True)
    speed_kmh = forms.FloatField(label=_("Speed limit (km/h)"), required=False)
    dwell_min = forms.FloatField(label=_("Longest stay (minutes)"), required=False, min_value=0)
    level = forms.TypedChoiceField(label=_("Level"), choices=LEVELS, coerce=int, initial=3)
    valid_from = forms.DateTimeField(
        label=_("Valid from"), required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        help_text=_("Empty: now."),
    )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, attribute in FIELDS.items():
            known = classes_known(attribute)
            before = {word: word for word in self.initial.get(name, ()) if word not in known}
            field: Any = self.fields[name]
            field.choices = list((known | before).items())
            if not field.choices:
                field.help_text = _("No programme names any, and no vehicle has one: the fence is for all.")

    def clean_points(self) -> list[list[float]]:
        try:
            found = json.loads(self.cleaned_data["points"])
            points = [[float(lat), float(lon)] for lat, lon in found]
        except (ValueError, TypeError) as err:
            raise forms.ValidationError(_("Points are pairs of latitude and longitude: [[32.2, 119.4], …].")) from err
        if len(points) > MOST_POINTS:
            raise forms.ValidationError(_("At most {most} points.").format(most=MOST_POINTS))
        return points

    def clean_further_windows(self) -> list[list[int]]:
        lines = [line.strip() for line in self.cleaned_data["further_windows"].splitlines()]
        return [_window(line) for line in lines if line]

    def clean_vehicle_classes(self) -> list[str]:
        return sorted(self.cleaned_data["vehicle_classes"])

    def clean_goods_classes(self) -> list[str]:
        return sorted(self.cleaned_data["goods_classes"])

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        begins, ends = data.get("begins"), data.get("ends")
        if (begins is None) != (ends is None):
            self.add_error("ends", _("A time window has both times."))
        if begins is not None and not data.get("days"):
            self.add_error("days", _("Choose the days of the time window."))
        if data.get("further_windows") and not data.get("days"):
            self.add_error("days", _("Give the first time window here; further ones come after it."))
        return data

    def terms(self) -> dict[str, Any]:
        """What the service takes."""
        data = dict(self.cleaned_data)
        days = sum(1 << int(day) for day in data.pop("days"))
        begins, ends = data.pop("begins"), data.pop("ends")
        start = 0 if begins is None else begins.hour * 60 + begins.minute
        end = 1440 if ends is None else ends.hour * 60 + ends.minute or 1440
        further = data.pop("further_windows")
        minutes = data.pop("dwell_min")
        return data | {
            "windows": [[days, start, end], *further] if days else [],
            "dwell_s": round(minutes * 60) if minutes else None,
            "size_m": 0 if data["shape"] == "polygon" else data["size_m"] or 0,
        }


class FenceForm(TermsForm):
    """A new fence: name and division besides."""

    name = forms.CharField(label=_("Name"), max_length=60)
    division: Any = forms.ModelChoiceField(Division.objects.none(), label=_("Division"))
    field_order = ("name", "division")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        scope = scope_of(user, "rule.edit")
        rows = Division.objects.filter(active=True, level__in=["city", "county", "town"]).defer("boundary")
        if not scope.everything:
            paths = tuple(reach.path for reach in scope.reaches if reach.path)
            rows = rows.filter(pk__in=[row.pk for row in rows if row.path.startswith(paths)]) if paths else rows.none()
        self.fields["division"].queryset = rows.order_by("code")  # type: ignore[attr-defined]


def window_text(window: Sequence[int]) -> str:
    """A time window as it is typed: 12345 16:30-18:30."""
    days, start, end = window
    named = "".join(str(n + 1) for n in range(7) if days >> n & 1)
    return f"{named} {start // 60:02d}:{start % 60:02d}-{end // 60:02d}:{end % 60:02d}"


def _window(line: str) -> list[int]:
    """[days, start, end] of one typed line. Raises ValidationError with what came and what would be right."""
    found = WINDOW.fullmatch(line)
    hours = [int(part) for part in found.groups()[1:]] if found else []
    if found is None or max(hours[1], hours[3]) > 59 or hours[0] > 23 or hours[2] * 60 + hours[3] > 1440:
        raise forms.ValidationError(
            _("“{line}” is no time window; give it as 12345 16:30-18:30.").format(line=line[:60])
        )
    days = sum(1 << (int(day) - 1) for day in set(found[1]))
    return [days, hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]]
