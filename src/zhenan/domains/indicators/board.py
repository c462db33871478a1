"""The headline figures of all programmes, for the board."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from zhenan.domains.indicators.queries import Question, all_figures, indicators
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry


def headlines(user: User) -> list[dict[str, Any]]:
    """Indicators that their packs call headline figures, within the user's reach, one query each."""
    wanted = [indicator for indicator in indicators() if indicator.headline]
    asked = Question(user, timezone.localdate())
    language = get_language() or "zh-hans"
    tiles = []
    for figure in all_figures(asked, only=wanted):
        one = figure.indicator
        tiles.append(
            {
                "label": one.name.label(language),
                "value": None if figure.value is None else round(figure.value, 1),
                "unit": "" if one.unit == "count" else registry().label(one.unit, language, kind="units"),
                "url": reverse("indicators:detail", args=[one.code]),
                "note": _("target not reached") if figure.met is False else "",
            }
        )
    return tiles
