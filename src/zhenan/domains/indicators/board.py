"""The headline figures of all programmes, for the board."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from zhenan.domains.indicators.queries import Question, all_figures, indicators, unit_word
from zhenan.kernel.people.models import User


def headlines(user: User) -> list[dict[str, Any]]:
    """Indicators that their packs call headline figures, within the user's reach, in one query."""
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
                "unit": unit_word(one, language),
                "url": reverse("indicators:detail", args=[one.code]),
                "note": _("target not reached") if figure.met is False else "",
            }
        )
    return tiles
