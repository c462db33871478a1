"""A rule in words: what its parameters are called, and how sure its source is."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from zhenan.packkit.registry import registry

LABELS: dict[str, Any] = {
    "kind": _("Kind of rule"),
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
    "rules": _("Made of the alarms"),
    "n": _("How many of them (empty: all)"),
    "within_s": _("Raised within (s) of each other (empty: standing together)"),
    "active": _("In force"),
}
KINDS: dict[str, Any] = {
    "threshold": _("threshold"),
    "band": _("band"),
    "state": _("state"),
    "rate": _("rate of change"),
    "repeats": _("repeats in a time"),
    "silence": _("silence"),
    "stuck": _("stuck value"),
    "all_of": _("all of several alarms"),
    "n_of": _("some of several alarms"),
}
STATUS: dict[str, Any] = {
    "confirmed": _("confirmed"),
    "known": _("known, text not at hand"),
    "configurable": _("configurable"),
    "unverified": _("not verified"),
    "city": _("the city's own"),
}


def parameters(code: str, spec: dict[str, Any]) -> list[tuple[Any, Any]]:
    """(label, text) of the parameters of a rule, as a person reads them; ``code`` says whose pack its parts are of."""
    return [(LABELS.get(key, key), _text(code, key, value)) for key, value in spec.items()]


def _text(code: str, key: str, value: Any) -> Any:
    if key == "kind":
        return KINDS.get(value, value)
    if key == "rules":
        pack = code.rpartition(".")[0]
        return ", ".join(
            registry().label(name if "." in name else f"{pack}.{name}", kind="alarm_rule") for name in value
        )
    if key == "active":
        return "; ".join(f"{window.get('from', '')}–{window.get('to', '')}" for window in value)
    return ", ".join(map(str, value)) if isinstance(value, list) else value
