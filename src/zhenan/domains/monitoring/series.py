"""A point's course for a chart and for export: history and what is not yet in it.

Short spans show readings, thinned without losing peaks; longer ones hours or days, as their means with the band from
lowest to highest. A gap is a gap: the line breaks where readings stayed away for longer than they usually do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from numpy.typing import NDArray

from zhenan.domains.monitoring.models import Point
from zhenan.packkit.registry import registry
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.chart import (
    EXPORT_RAW,
    EXPORT_SUMMARY,
    Course,
    Resolution,
    Series,
    as_csv,
    as_parquet,
    resolution_of,
    tables,
)
from zhenan.telemetry.history.delta import DAY_MS
from zhenan.telemetry.history.recent import recent
from zhenan.telemetry.history.summaries import BAD, HOUR_MS, Summaries

MOST = 2000
FRESH_S = 8 * 86_400.0  # the log is looked at for spans that end within this time before now: it is no deeper
SHOWN: Final = {
    "raw": gettext_lazy("Readings"),
    "hour": gettext_lazy("Hours: mean, lowest to highest"),
    "day": gettext_lazy("Days: mean, lowest to highest"),
}
FORMS: Final[dict[str, Callable[[Iterator[pa.Table], pa.Schema], Iterator[bytes]]]] = {
    "csv": as_csv,
    "parquet": as_parquet,
}
COLOURS = {1: "#d63939", 2: "#f76707", 3: "#b08900", 4: "#206bc4"}


def chart(point: Point, *, since: datetime, until: datetime) -> dict[str, Any]:
    """What the page's chart draws: points [[ms, value or null], …], set-points and times, name and unit.

    `resolution`: raw, hour or day. Of hours and days `points` are the means and `band` is [[ms, lowest, highest], …];
    `unfit` counts the readings left out of both.
    """
    found = course(point).series(_ms(since), _ms(until))
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
        "resolution": found.resolution,
        "shown": SHOWN[found.resolution],
        **(drawn_readings(found.readings) if found.resolution == "raw" else drawn_summary(found)),
        "set_points": set_points(point),
        "times": times,
    }


def course(point: Point) -> Course:
    """The point's course, the last seconds from the log included."""
    kept = summaries(settings.HISTORY_URL)

    def newest(t0_ms: int, t1_ms: int) -> Columns:
        fresh = t1_ms >= (time.time() - FRESH_S) * 1000
        return recent(settings.NATS_URL if fresh else "", kept.history, [point.pk], t0_ms, t1_ms)

    return Course(kept, point.pk, newest)


@lru_cache(maxsize=4)
def summaries(url: str) -> Summaries:
    """The history's tables. Local days are of the time zone of the settings."""
    offset = timezone.localtime(datetime(2026, 1, 1, tzinfo=UTC)).utcoffset() or timedelta(0)
    return Summaries.beside(url, offset_ms=int(offset.total_seconds() * 1000))


def drawn_readings(readings: Columns) -> dict[str, Any]:
    """Points of readings, unfit ones as null, broken at gaps."""
    value = np.where(readings.quality == BAD, np.nan, readings.value)
    value = np.where(np.isfinite(value), value, np.nan)
    kept = thinned(readings.ts, value, MOST)
    pairs = [[int(readings.ts[i]), None if np.isnan(value[i]) else float(value[i])] for i in kept]
    unfit = int(np.count_nonzero(np.isnan(value)))
    return {"points": broken(pairs, gaps(readings.ts)), "band": [], "unfit": unfit}


def drawn_summary(found: Series) -> dict[str, Any]:
    """Points and band of hours or days, broken where one is missing."""
    summary, step = found.summary, HOUR_MS if found.resolution == "hour" else DAY_MS
    rows = zip(summary.ts.tolist(), summary.mean.tolist(), summary.low.tolist(), summary.high.tolist(), strict=True)
    points, band = [], []
    for ts, mean, low, high in rows:
        empty = mean != mean
        points.append([ts, None if empty else mean])
        if not empty:
            band.append([ts, low, high])
    left_at = np.flatnonzero(np.diff(summary.ts) > step)
    return {
        "points": broken(points, (summary.ts[left_at] + step).tolist()),
        "band": band,
        "unfit": int(summary.unfit.sum()),
    }


def gaps(ts: NDArray[np.int64]) -> list[int]:
    """Moments in stretches without readings that are longer than usual: than five median steps and ten seconds.

    >>> gaps(np.array([0, 60, 120, 180, 9000, 9060]) * 1000)
    [181000]
    """
    steps = np.diff(ts)
    if not steps.size:
        return []
    usual = max(float(np.median(steps)) * 5, 10_000.0)
    return [int(ts[i]) + 1000 for i in np.flatnonzero(steps > usual)]


def broken(pairs: list[list[Any]], at: list[int]) -> list[list[Any]]:
    """The points with a null put in at each of these moments."""
    return sorted([*pairs, *([moment, None] for moment in at[:MOST])], key=lambda pair: pair[0]) if at else pairs


def export(point: Point, *, since: datetime, until: datetime, form: str, resolution: str = "") -> Iterator[bytes]:
    """The chart's rows, all of them, as CSV or Parquet, piece by piece.

    `resolution` raw, hour or day; empty: what the chart of this span shows. Raises ValueError for anything else.
    """
    t0_ms, t1_ms = _ms(since), _ms(until)
    if form not in FORMS or resolution not in ("", *SHOWN):
        raise ValueError(f"want csv or parquet, and raw, hour, day or nothing; got {form!r}, {resolution!r}")
    which = cast(Resolution, resolution or resolution_of(t0_ms, t1_ms))
    schema = EXPORT_RAW if which == "raw" else EXPORT_SUMMARY
    return FORMS[form](tables(course(point), t0_ms, t1_ms, which), schema)


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
