"""A point's readings for a chart: history and what is not yet in it, thinned without losing peaks."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from django.conf import settings
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from zhenan.domains.monitoring.models import Point
from zhenan.packkit.registry import registry
from zhenan.telemetry.history.recent import recent
from zhenan.telemetry.history.table import History

MOST = 2000
BAD = 1  # quality of a reading that no rule judges
COLOURS = {1: "#d63939", 2: "#f76707", 3: "#b08900", 4: "#206bc4"}


def chart(point: Point, *, since: datetime, until: datetime) -> dict[str, Any]:
    """What the page's chart draws: points [[ms, value or null], …], set-points and times, name and unit."""
    ts, value = readings(point, since=since, until=until)
    kept = thinned(ts, value, MOST)
    alarms = point.alarms.filter(raised_at__range=(since, until)).order_by("raised_at")[:20]
    times = []
    for alarm in alarms:
        if alarm.onset != alarm.raised_at:
            times.append({"at": _ms(alarm.onset), "label": _("onset"), "colour": "#f76707"})
        times.append({"at": _ms(alarm.raised_at), "label": _("raised"), "colour": COLOURS[alarm.level]})
        if alarm.cleared_at:
            times.append({"at": _ms(alarm.cleared_at), "label": _("cleared"), "colour": "#2fb344"})
    return {
        "since": _ms(since),
        "until": _ms(until),
        "name": registry().label(point.measure, kind="measures"),
        "unit": point.unit,
        "stepped": point.bit is not None,
        "points": [[int(ts[i]), None if np.isnan(value[i]) else float(value[i])] for i in kept],
        "set_points": set_points(point),
        "times": times,
    }


def readings(point: Point, *, since: datetime, until: datetime) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times (ms UTC) and values of the point, by time; unfit ones as NaN. The last seconds come from the log."""
    found = recent(settings.NATS_URL, _history(settings.HISTORY_URL), [point.pk], _ms(since), _ms(until))
    return found.ts, np.where(found.quality == BAD, np.nan, found.value)


@lru_cache(maxsize=4)
def _history(url: str) -> History:
    return History(url)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def set_points(point: Point) -> list[dict[str, Any]]:
    """The thresholds of the rules that judge the point, with their level's colour."""
    found = []
    for rule in registry().rules_for(point.device.model, point.measure):
        for key in ("above", "below", "low", "high"):
            if isinstance(rule.rule.get(key), (int, float)):
                found.append(
                    {
                        "value": rule.rule[key],
                        "label": registry().label(rule.code, kind="alarm_rule"),
                        "colour": COLOURS[rule.level],
                    }
                )
    return found


def thinned(ts: NDArray[np.int64], value: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """Indices of at most about ``most`` readings: of each stretch the first, the lowest, the highest and the last.

    >>> thinned(np.arange(5), np.zeros(5), 10).tolist()
    [0, 1, 2, 3, 4]
    """
    n = ts.size
    if n <= most:
        return np.arange(n)
    edges = np.linspace(0, n, max(most // 4, 1) + 1).astype(np.intp)
    kept: set[int] = set()
    clean = np.where(np.isnan(value), 0.0, value)
    for start, end in pairwise(edges):
        if end > start:
            part = clean[start:end]
            kept |= {int(start), int(end - 1), int(start + part.argmin()), int(start + part.argmax())}
    return np.array(sorted(kept), dtype=np.intp)
