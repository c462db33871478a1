"""The words for what is tried: parameters of rules, terms of fences, versions."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext, gettext_lazy
from django.utils.translation import gettext_lazy as _

from zhenan.domains.backtest.fences import FENCE, WAS
from zhenan.domains.backtest.models import Trial
from zhenan.domains.backtest.rules import FAMILY
from zhenan.domains.monitoring.rule_words import LABELS
from zhenan.domains.transport.classes import FIELDS, words_known
from zhenan.domains.transport.models import FenceVersion
from zhenan.packkit.registry import registry

TERM_LABELS: dict[str, Any] = {
    "shape": _("Shape"),
    "points": _("Points"),
    "size_m": _("Radius or half width (m)"),
    "hysteresis_m": _("Hysteresis (m)"),
    "windows": _("Time windows"),
    "vehicle_classes": _("Vehicle classes"),
    "goods_classes": _("Goods classes"),
    "alarm_on_enter": _("Alarm when entered"),
    "speed_kmh": _("Speed limit (km/h)"),
    "dwell_s": _("Longest stay (s)"),
    "level": _("Level"),
}
DAYS = (_("Mon"), _("Tue"), _("Wed"), _("Thu"), _("Fri"), _("Sat"), _("Sun"))
ALL = gettext_lazy("all")


def changes(trial: Trial) -> list[tuple[Any, Any, Any]]:
    """(label, as it stands, as tried) of each parameter."""
    if trial.rule.startswith(FENCE):
        stands, tried = (terms(found) for found in (trial.standing, trial.changed))
        return [(label, stands.get(label), tried.get(label)) for label in stands]
    if trial.rule.startswith(FAMILY):
        rows = []
        for code, spec in trial.standing.items():
            name = registry().label(code, kind="alarm_rule")
            tried = trial.changed.get(code, spec)
            rows += [(f"{name} · {label}", a, b) for label, a, b in parameters(spec, tried)]
        return rows
    return parameters(trial.standing, trial.changed)


def parameters(stands: dict[str, Any], tried: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """(label, as it stands, as tried) of the parameters of a rule."""
    keys = [key for key in {**stands, **tried} if key != "kind"]
    return [(LABELS.get(key, key), _plain(stands.get(key)), _plain(tried.get(key))) for key in keys]


def _plain(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def terms(found: dict[str, Any]) -> dict[str, Any]:
    """The terms of a fence by their labels, as a person reads them."""
    return {TERM_LABELS[name]: _term(name, found[name]) for name in TERM_LABELS if name in found}


def _term(name: str, value: Any) -> Any:
    if name == "shape":
        return FenceVersion.Shape(value).label
    if name == "points":
        return "; ".join(f"{lat:.5f}, {lon:.5f}" for lat, lon in value[:6]) + (
            f" … ({len(value)})" if value[6:] else ""
        )
    if name == "windows":
        return "; ".join(window(*row) for row in value) or gettext("always")
    if name in FIELDS:
        names = dict(words_known(FIELDS[name]))
        return ", ".join(names.get(word, word) for word in value) or ALL
    if name == "alarm_on_enter":
        return gettext("yes") if value else gettext("no")
    return int(value) if isinstance(value, float) and value.is_integer() else value


def window(days: int, start: int, end: int) -> str:
    """A time window, such as "Mon, Tue 22:00–06:00".

    >>> window(3, 1320, 360)[-11:]
    '22:00–06:00'
    """
    named = ", ".join(str(name) for n, name in enumerate(DAYS) if days >> n & 1)
    names = gettext("every day") if days == 0b1111111 else named
    clock = "–".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in (start, end))
    return f"{names} {clock}"


def versions(trial: Trial) -> dict[str, Any]:
    """What the two versions of a trial are called."""
    return {
        "standing": version(trial.standing_as) or gettext("As it stands"),
        "changed": version(trial.changed_as) or gettext("As tried"),
    }


def version(what: str) -> str:
    """What a side of a fence's trial is called; "" where it has no name of its own."""
    if what == WAS:
        return gettext("As it was at the time")
    return gettext("Version %(number)s") % {"number": what[1:]} if what.startswith("v") else ""
