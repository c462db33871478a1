"""Readings into the history tables: around every alarm, so that its chart shows why, and a day of some points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from zhenan.domains.monitoring.models import Alarm, Point
from zhenan.packkit.registry import registry
from zhenan.packkit.simulate import Columns as Simulated
from zhenan.packkit.simulate import SimPoint
from zhenan.server.demo import accounts
from zhenan.server.demo.live import readings
from zhenan.server.demo.plan import SOURCE, Demo
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.table import DAY_MS, History, as_table

AT_MOST = 3_000  # newest alarms with a chart
SAMPLED = 200  # further points with a day of readings
AROUND_MS = 45 * 60_000
EPOCH = "demo"  # not the log's: the historian's own place in the log stays as it is
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Episode:
    """While an alarm stood: from ``t0_ms`` until ``t1_ms`` the readings were at or beyond the threshold."""

    t0_ms: int
    t1_ms: int
    kind: str
    threshold: float | None
    value: float | None

    def over(self, ts: I64, value: F64) -> tuple[F64, NDArray[np.bool_]]:
        """The readings with the episode laid over them, and which of them there are at all (a silence has none)."""
        inside = (ts >= self.t0_ms) & (ts < self.t1_ms)
        if self.kind == "silence":
            return value, ~inside
        if self.kind == "stuck" and inside.any():
            return np.where(inside, value[inside][0], value), np.ones(ts.size, np.bool_)
        if self.value is None:
            return value, np.ones(ts.size, np.bool_)
        edge = self.value if self.threshold is None else self.threshold
        place = np.clip((ts - self.t0_ms) / max(1, self.t1_ms - self.t0_ms), 0, 1)
        risen = edge + (self.value - edge) * np.sqrt(np.sin(np.pi * np.clip(place, 0.03, 0.97)))
        return np.where(inside, np.round(risen, 2), value), np.ones(ts.size, np.bool_)


def make(demo: Demo) -> str:
    """Write the readings; returns what was written."""
    now_ms = int(demo.now.timestamp() * 1000)
    episodes: dict[int, list[Episode]] = defaultdict(list)
    points: dict[int, SimPoint] = {}
    rows = (
        Alarm.objects.filter(subject__source=SOURCE)
        .select_related("point__device__subject")
        .order_by("-raised_at", "pk")
    )
    for alarm in rows[:AT_MOST]:
        episodes[alarm.point_id].append(_episode(alarm))
        points[alarm.point_id] = _sim_point(demo, alarm.point)
    whole = {point.pk: _sim_point(demo, point) for point in _sampled(demo)}
    parts = []
    for pk, point in sorted((points | whole).items()):
        spans = [(e.t0_ms - AROUND_MS, min(now_ms, e.t1_ms + AROUND_MS)) for e in episodes[pk]]
        spans += [(now_ms - DAY_MS, now_ms)] if pk in whole else []
        for t0_ms, t1_ms in merged(spans):
            parts.append(_laid_over(readings([point], t0_ms, t1_ms, demo), episodes[pk]))
    columns = Columns.concat(parts)
    if len(columns):
        History(settings.HISTORY_URL).append(as_table(columns, np.zeros(len(columns), np.int64)), EPOCH, demo.seed)
    return f"{len(columns)} readings in the history of {len(points | whole)} points"


def merged(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans of time without overlap, in order.

    >>> list(merged([(5, 9), (0, 2), (8, 12)]))
    [(0, 2), (5, 12)]
    """
    waiting: tuple[int, int] | None = None
    for t0, t1 in sorted(spans):
        if waiting is not None and t0 <= waiting[1]:
            waiting = (waiting[0], max(waiting[1], t1))
            continue
        if waiting is not None:
            yield waiting
        waiting = (t0, t1)
    if waiting is not None:
        yield waiting


def _sim_point(demo: Demo, point: Point) -> SimPoint:
    device = point.device
    return SimPoint(point.pk, device.key, device.subject.key, device.model, point.measure, demo.seed, device.attributes)


def _sampled(demo: Demo) -> list[Point]:
    """All points of the chosen places, and some of others."""
    _grid, subjects = accounts.chosen_place()
    rows = Point.objects.filter(device__subject__source=SOURCE).select_related("device__subject").order_by("pk")
    pks = list(rows.values_list("pk", flat=True))
    some = demo.rng("sampled").choice(len(pks), size=min(SAMPLED, len(pks)), replace=False)
    return [*rows.filter(device__subject__in=subjects), *rows.filter(pk__in=[pks[int(place)] for place in some])]


def _episode(alarm: Alarm) -> Episode:
    spec = registry().alarm_rule(alarm.rule).rule
    threshold = next((float(spec[key]) for key in ("above", "below", "high", "low") if key in spec), None)
    end = alarm.cleared_at or alarm.raised_at
    return Episode(
        int(alarm.onset.timestamp() * 1000), int(end.timestamp() * 1000), str(spec["kind"]), threshold, alarm.value
    )


def _laid_over(found: Simulated, episodes: Sequence[Episode]) -> Columns:
    value, there = found.value, np.ones(found.ts.size, np.bool_)
    for episode in episodes:
        value, kept = episode.over(found.ts, value)
        there &= kept
    quality = np.zeros(found.ts.size, np.uint8)
    return Columns.of(found.point, found.ts, value, quality).take(there)
