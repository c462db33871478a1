"""The loop's periods and limits, read from one table with their sources (clocks.yaml and the city's own file)."""

from __future__ import annotations

from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from django.conf import settings
from django.utils import timezone

from zhenan.kernel.workflow import calendar

FILE = Path(__file__).with_name("clocks.yaml")


@lru_cache(maxsize=1)
def table() -> dict[str, dict[str, Any]]:
    """Every entry by name; the city's file replaces single values. Raises ValueError for an unknown entry or value."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text("utf-8"))
    own = getattr(settings, "HAZARD_CLOCKS", None)
    if own:
        for name, values in (yaml.safe_load(Path(own).read_text("utf-8")) or {}).items():
            unknown = [name] if name not in found else [f"{name}.{key}" for key in values if key not in found[name]]
            if unknown:
                raise ValueError(f"{own}: no {', '.join(unknown)}; known: {', '.join(found)}")
            found[name] |= values
    return found


def value(name: str, key: str = "days") -> Any:
    return table()[name][key]


def due(name: str, start: datetime) -> datetime:
    """The end of a period of the table that begins at ``start``."""
    return calendar.due_at(start, value(name), working=bool(table()[name].get("working", False)))


def end_of(day: date) -> datetime:
    """The last second of a day, in the city's time."""
    return timezone.make_aware(datetime.combine(day, time(23, 59, 59)), timezone.get_default_timezone())


def due_in_days(days: int, start: datetime) -> datetime:
    """The end of a period of so many calendar days."""
    return calendar.due_at(start, days)
