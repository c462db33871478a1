"""Parsing of single cells: what people write in spreadsheets, to typed values; a CellFault says what would be right.

An empty cell is None. Numbers: thousands separators and full-width digits are read; a unit is not.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from django.utils.translation import gettext as _

Parser = Callable[[str], Any]
YES = {"1", "是", "有", "yes", "y", "true", "√", "✓"}
NO = {"0", "否", "无", "no", "n", "false", "×", "✗"}
DAY = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[ T]\d{1,2}:\d{2}(?::\d{2})?)?")
NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)?(\.\d+)?([eE][+-]?\d{1,3})?")


class CellFault(ValueError):
    """What is wrong with a cell, in words for its row's message."""


def folded(text: str) -> str:
    """Full-width letters and digits made plain, ends stripped."""
    return unicodedata.normalize("NFKC", text).strip()


def text(limit: int) -> Parser:
    """Text of at most ``limit`` characters."""

    def parse(cell: str) -> str:
        if len(cell) > limit:
            raise CellFault(_("has %(came)s characters, at most %(limit)s fit") % {"came": len(cell), "limit": limit})
        return cell

    return parse


def number(cell: str, *, low: float | None = None, high: float | None = None) -> float | None:
    """A finite number, within the limits given."""
    plain = folded(cell)
    if not plain:
        return None
    if not NUMBER.fullmatch(plain) or not any(c.isdigit() for c in plain):
        raise CellFault(_("“%(came)s” is not a number") % {"came": cell[:40]})
    value = float(plain.replace(",", ""))
    if not math.isfinite(value):
        raise CellFault(_("“%(came)s” is not a number") % {"came": cell[:40]})
    within(value, low, high)
    return value


def within(value: float, low: float | None, high: float | None) -> None:
    """Raises CellFault outside the limits (both allowed)."""
    if low is not None and value < low:
        raise CellFault(_("%(came)s is below %(limit)s") % {"came": f"{value:g}", "limit": f"{low:g}"})
    if high is not None and value > high:
        raise CellFault(_("%(came)s is above %(limit)s") % {"came": f"{value:g}", "limit": f"{high:g}"})


def integer(cell: str, *, low: float | None = None, high: float | None = None) -> int | None:
    value = number(cell, low=low, high=high)
    if value is None:
        return None
    if not value.is_integer() or abs(value) > 2**53:
        raise CellFault(_("“%(came)s” is not a whole number") % {"came": cell[:40]})
    return int(value)


def day(cell: str) -> date | None:
    """2025-03-01, 2025/3/1, 2025.3.1, 2025年3月1日 or 20250301; a time of day behind it is left out."""
    plain = folded(cell)
    if not plain:
        return None
    try:
        if re.fullmatch(r"\d{8}", plain):
            return datetime.strptime(plain, "%Y%m%d").date()  # noqa: DTZ007 - a day has no zone
        if found := DAY.fullmatch(plain):
            year, month, of_month = (int(part) for part in found.groups())
            if 1800 <= year <= 2200:
                return date(year, month, of_month)
    except ValueError:
        pass
    raise CellFault(_("“%(came)s” is not a day; write 2025-03-31") % {"came": cell[:40]})


def yes_no(cell: str) -> bool | None:
    plain = folded(cell).casefold()
    if not plain:
        return None
    if plain in YES:
        return True
    if plain in NO:
        return False
    raise CellFault(_("“%(came)s” is neither yes nor no") % {"came": cell[:40]})


def choice(names: Mapping[str, str]) -> Parser:
    """One of several values. ``names``: every accepted way to write it (folded, lower case) → its code."""
    labels = list(dict.fromkeys(names))

    def parse(cell: str) -> str | None:
        plain = folded(cell).casefold()
        if not plain:
            return None
        if plain not in names:
            shown = ", ".join(labels[:12])
            raise CellFault(_("“%(came)s” is not one of: %(known)s") % {"came": cell[:40], "known": shown})
        return names[plain]

    return parse
