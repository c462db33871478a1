"""Why an alarm ended that no reading ended, in words."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.events.models import Event

WORDS = {  # telemetry.judge.results.WITHDRAWN
    "point": _("its device is in service no more"),
    "rule": _("its rule was changed, or judges this device no more"),
    "over": _("it stands no more by the rule of today, and its end was not on record"),
    "superseded": _("the same rule has raised another alarm here"),
}


def withdrawn_word(code: str) -> str:
    return str(WORDS.get(code, code))


def why_withdrawn(timeline: Iterable[Event]) -> str:
    """Of an alarm's events: why it was withdrawn, in words; "" where it was not."""
    return next((withdrawn_word(e.data["withdrawn"]) for e in timeline if e.kind == "alarm.withdrawn"), "")
