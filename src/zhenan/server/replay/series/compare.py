"""Alarms in the database beside the labels of the series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.packkit.registry import registry
from zhenan.server.replay.series.sets import Series, Window
from zhenan.server.replay.tables import say, share, table

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Episode:
    """An alarm as the judge gave it. Times in ms UTC; ``cleared`` None: still standing."""

    rule: str
    kind: str
    onset: int
    raised: int
    cleared: int | None

    def stands_in(self, window: Window) -> bool:
        return self.raised <= window.end and (self.cleared is None or self.cleared > window.start)


def episodes_of(device: Device, series: Series) -> list[Episode]:
    """The device's alarms within the series' own time, by their onset."""
    first, last = (_moment(int(series.ts[i])) for i in (0, -1))
    rows = Alarm.objects.filter(device=device, onset__gte=first, onset__lte=last).order_by("onset", "rule")
    return [
        Episode(a.rule, a.rule_spec.get("rule", {}).get("kind", ""), _ms(a.onset), _ms(a.raised_at),
                _ms(a.cleared_at) if a.cleared_at else None)
        for a in rows
    ]  # fmt: skip


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def print_all(series: Series, device: Device, *, learned: int) -> None:
    """Everything about one series. ``learned``: rows that the set-points came from; they are not scored."""
    episodes = episodes_of(device, series)
    quiet = [one for one in episodes if one.kind in ("silence", "stuck")]  # about the sensor, not what it measures
    loud = [one for one in episodes if one not in quiet]
    days = (int(series.ts[-1]) - int(series.ts[0])) / DAY_MS
    say(f"\nAlarms of {device.key} over {days:,.1f} days")
    counts = Counter(one.rule for one in episodes)
    rules = [r for m in registry().device_model(device.model).measures for r in registry().rules_for(device.model, m)]
    table(["rule", "kind", "alarms"], [[r.code.partition(".")[2], r.rule["kind"], counts[r.code]] for r in rules])
    start = int(series.ts[min(learned, len(series) - 1)])
    if series.windows:
        print_windows(series, [one for one in loud if one.raised >= start], start)
    if series.labelled is not None and series.windows:
        print_rows(series, loud)
    elif series.labelled is not None:
        print_flags(series, loud)
    print_silences(series, [one for one in quiet if one.kind == "silence"], device)


def print_windows(series: Series, episodes: Sequence[Episode], start: int) -> None:
    """Hit or miss of each labelled window, and false alarms a day outside of them."""
    say("\nLabelled windows (silence and stuck readings left out)")
    rows = []
    for window in series.windows:
        inside = [one for one in episodes if one.stands_in(window)]
        first = min((max(one.raised, window.start) for one in inside), default=None)
        rows.append(
            [
                f"{_moment(window.start):%Y-%m-%d %H:%M} … {_moment(window.end):%Y-%m-%d %H:%M}",
                "hit" if inside else "MISS", len(inside),
                None if first is None else _after(first - window.start),
                None if first is None or window.at is None else _around(first - window.at),
            ]
        )  # fmt: skip
    table(["window (UTC)", "", "alarms", "after its start", "against the labelled moment"], rows)
    false = [one for one in episodes if not any(one.stands_in(window) for window in series.windows)]
    outside = max(0, int(series.ts[-1]) - start) - sum(
        max(0, min(w.end, int(series.ts[-1])) - max(w.start, start)) for w in series.windows
    )
    days = outside / DAY_MS
    per_day = f"{len(false) / days:.3f} a day" if days > 0 else "no time outside the windows"
    say(f"  false alarms: {len(false)} in {days:,.2f} days outside the windows: {per_day}")


def _after(ms: int) -> str:
    return f"{ms / 3_600_000:.1f} h" if ms >= 3_600_000 else f"{ms / 1000:.0f} s"


def _around(ms: int) -> str:
    return f"{_after(abs(ms))} {'before' if ms < 0 else 'after'}"


def standing(series: Series, episodes: Iterable[Episode]) -> NDArray[np.bool_]:
    """Rows during which any of the alarms stood."""
    found = np.zeros(len(series), bool)
    for one in episodes:
        found |= (series.ts >= one.raised) & (True if one.cleared is None else series.ts < one.cleared)
    return found


def print_rows(series: Series, episodes: Sequence[Episode]) -> None:
    """Precision and recall row by row, each rule alone and all together."""
    label = series.labelled
    if label is None:
        return
    say(f"\nRow by row against the label ({int(label.sum()):,} of {len(series):,} rows are labelled)")
    rows = []
    by_rule = sorted({one.rule for one in episodes})
    for name, chosen in [*((r, [e for e in episodes if e.rule == r]) for r in by_rule), ("any of them", episodes)]:
        rows.append([name.partition(".")[2] or name, *_scores(standing(series, chosen), label)])
    table(["rule", "rows in alarm", "true", "false", "precision", "recall"], rows)


def _scores(alarmed: NDArray[np.bool_], label: NDArray[np.bool_]) -> list[object]:
    true, all_in_alarm = int((alarmed & label).sum()), int(alarmed.sum())
    return [
        all_in_alarm, true, all_in_alarm - true, share(true, all_in_alarm), share(true, int(label.sum())),
    ]  # fmt: skip


def print_flags(series: Series, episodes: Sequence[Episode]) -> None:
    """A device's own alarm flag beside our alarms: no label, only how far the two go together."""
    label = series.labelled
    if label is None or not label.any():
        return
    both = int((standing(series, episodes) & label).sum())
    say(f"\nThe device's own flag: {int(label.sum()):,} rows; our alarms stood in {both:,} of them")


def print_silences(series: Series, episodes: Sequence[Episode], device: Device) -> None:
    """Gaps of the series beside the silences raised."""
    for rule in sorted({one.rule for one in episodes} | _silence_rules(device)):
        after_ms = int(1000 * registry().alarm_rule(rule).rule["after_s"])
        gaps = {int(t) + after_ms for t, gap in zip(series.ts[:-1], np.diff(series.ts), strict=True) if gap > after_ms}
        onsets = {one.onset for one in episodes if one.rule == rule}
        say(f"\nGaps longer than {after_ms / 1000:,.0f} s: {len(gaps):,}; raised as silence: {len(gaps & onsets):,}, "
            f"missed: {len(gaps - onsets):,}")  # fmt: skip
        if onsets - gaps:
            say(
                f"  {len(onsets - gaps):,} more because the live clock went on between two messages of the replay"
                " (its readings are of the past)"
            )


def _silence_rules(device: Device) -> set[str]:
    measures = registry().device_model(device.model).measures
    rules = [rule for measure in measures for rule in registry().rules_for(device.model, measure)]
    return {rule.code for rule in rules if rule.rule["kind"] == "silence"}
