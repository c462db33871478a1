"""Rules and points turned into arrays.

Points under the same rules share a *profile*, a run of rows in the columns below: a rule costs a point nothing but its
state. Columns of `fs` (float64) and `ints` (int64), a row for each rule of each profile:

| kind | fs | ints |
|---|---|---|
| LEVEL | condition below 0 or above 1, release within 2..3 | for ms, clear ms |
| STATE | | for ms, clear ms, first and last + 1 of `states` |
| RATE | slope below, slope above (NaN: not asked), ms per unit | max gap ms |
| REPEATS | condition below 0 or above 1 | window ms, -, count |
| SILENCE | | after ms |
| STUCK | eps | for ms, -, count |
| every kind | | columns 4 and 5: first and last + 1 of `windows`, equal for a rule that is always on |

State per point: 20 bytes, and for each rule 16 bytes (threshold, band, state), 24 (rate), 32 (stuck), 8 (silence), or
16 + 8·count (repeats). Three thresholds take 68 bytes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import nextafter
from typing import Final, NamedTuple

import numpy as np

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.core import F64, I32, I64
from zhenan.telemetry.judge.rules import Band, Rate, Repeats, Rule, Silence, StateRule, Stuck, Threshold, to_ms

_INF: Final = float("inf")
_MAX_CALM_GAP_MS: Final = 30 * 86_400_000  # a longer step in time is looked at with care


@dataclass(frozen=True)
class Row:
    """One rule as numbers. Idle, it stays so at a value in calm_low..calm_high at most calm_gap after the last."""

    kind: int
    fs: tuple[float, ...]
    ints: tuple[int, ...]
    words: int
    calm_low: float = -_INF
    calm_high: float = _INF
    calm_gap: int = _MAX_CALM_GAP_MS
    states: tuple[int, ...] = ()
    windows: tuple[tuple[int, int, int, int], ...] = ()


def _outside(rule: Threshold | Repeats) -> tuple[float, float]:
    """(low, high) such that the condition is value < low or value > high; reaching a set-point counts."""
    if rule.above is not None:
        return -_INF, nextafter(rule.above, -_INF)
    return nextafter(rule.set_point, _INF), _INF


def _threshold(rule: Threshold) -> Row:
    low, high = _outside(rule)
    if rule.above is not None:
        release = -_INF, nextafter(rule.release_point, -_INF)
    else:
        release = nextafter(rule.release_point, _INF), _INF
    return Row(core.LEVEL, (low, high, *release), (to_ms(rule.for_s), to_ms(rule.clear_for_s)), 2, low, high)


def _band(rule: Band) -> Row:
    inside = rule.low + rule.margin, rule.high - rule.margin
    return Row(
        core.LEVEL, (rule.low, rule.high, *inside), (to_ms(rule.for_s), to_ms(rule.clear_for_s)), 2, rule.low, rule.high
    )


def _state(rule: StateRule) -> Row:
    """Calm below the least or above the greatest state of the list, whichever side has 0, the usual state of rest."""
    states = tuple(sorted(set(rule.in_)))
    low, high = -_INF, float(states[0] - 1)
    if states[0] > 0:
        high = nextafter(states[0], -_INF)  # 1.9 is state 1
    else:
        low, high = float(states[-1] + 1), _INF
    return Row(core.STATE, (), (to_ms(rule.for_s), to_ms(rule.clear_for_s)), 2, low, high, states=states)


def _rate(rule: Rate) -> Row:
    below = np.nan if rule.below is None else rule.below
    above = np.nan if rule.above is None else rule.above
    gap = core.STEADY if rule.max_gap_s is None else to_ms(rule.max_gap_s)
    return Row(
        core.RATE, (below, above, rule.per_s * 1000), (gap,), 3, _INF, -_INF
    )  # it keeps every reading: never calm


def _repeats(rule: Repeats) -> Row:
    low, high = _outside(rule)
    return Row(core.REPEATS, (low, high), (to_ms(rule.window_s), 0, rule.count), 2 + rule.count, low, high)


def row_of(rule: Rule) -> Row:
    """The numbers of a rule."""
    return replace(_row_of(rule), windows=tuple(window.row() for window in rule.active or ()))


def _row_of(rule: Rule) -> Row:
    match rule:
        case Threshold():
            return _threshold(rule)
        case Band():
            return _band(rule)
        case StateRule():
            return _state(rule)
        case Rate():
            return _rate(rule)
        case Repeats():
            return _repeats(rule)
        case Silence():
            after = to_ms(rule.after_s)
            return Row(core.SILENCE, (), (after,), 1, calm_gap=min(after, _MAX_CALM_GAP_MS))
        case Stuck():
            return Row(core.STUCK, (rule.eps,), (to_ms(rule.for_s), 0, rule.count), 4, _INF, -_INF)


class Groups(NamedTuple):
    """Points said by group: which rules (by number) look at a group, and the group of each point, int32 (n_points,).

    What a rule says of `points` is then not looked at: a million points are told apart without a million look-ups.
    """

    rules: Sequence[tuple[int, ...]]
    of: I32


class Table:
    """The arrays of all profiles, and the profile of a point by its key. Grows as new profiles are met."""

    def __init__(self, rules: Sequence[Rule], holidays: I64) -> None:
        self.rows = [row_of(rule) for rule in rules]
        self.holidays = holidays
        self.window_spans: list[tuple[int, int]] = []
        windows: list[tuple[int, int, int, int]] = []
        for row in self.rows:
            self.window_spans.append((len(windows), len(windows) + len(row.windows)))
            windows += row.windows
        self.windows: I64 = np.array(windows, dtype=np.int64).reshape(-1, 4)
        self.state_spans: list[tuple[int, int]] = []
        states: list[int] = []
        for row in self.rows:
            self.state_spans.append((len(states), len(states) + len(row.states)))
            states += row.states
        self.states: F64 = np.array(states, dtype=np.float64)
        self._rules = rules
        self._everywhere = tuple(n for n, rule in enumerate(rules) if rule.points is None)
        self.profiles: dict[tuple[int, ...], int] = {}
        self._build()

    @cached_property
    def _named(self) -> dict[str, list[int]]:
        """The rules that name a point, by its key."""
        named: dict[str, list[int]] = {}
        for number, rule in enumerate(self._rules):
            for key in dict.fromkeys(rule.points or ()):
                named.setdefault(key, []).append(number)
        return named

    def profiles_of_groups(self, groups: Groups) -> I32:
        """The profile of each point, int32 (n_points,)."""
        known = len(self.profiles)
        numbers = np.array([self._profile(tuple(sorted(set(rules)))) for rules in groups.rules], dtype=np.int32)
        if len(self.profiles) != known:
            self._build()
        found: I32 = numbers[groups.of] if numbers.size else np.empty(0, np.int32)
        return found

    def profiles_of(self, keys: Iterable[str]) -> I32:
        """The profile of each point, int32 (n_points,)."""
        known = len(self.profiles)
        usual = self._profile(self._everywhere)
        named, numbers = self._named, []
        for key in keys:
            own = named.get(key)
            numbers.append(usual if own is None else self._profile(tuple(sorted((*self._everywhere, *own)))))
        if len(self.profiles) != known:
            self._build()
        return np.array(numbers, dtype=np.int32)

    def _profile(self, rules: tuple[int, ...]) -> int:
        return self.profiles.setdefault(rules, len(self.profiles))

    def _build(self) -> None:
        """Lay out every profile: starts (n_profiles + 1), then a row for each rule of each, in file order."""
        members = list(self.profiles)
        flat = [number for rules in members for number in rules]
        self.starts: I64 = np.cumsum([0, *(len(rules) for rules in members)], dtype=np.int64)
        self.rules: I64 = np.array(flat, dtype=np.int64)
        self.kinds: I64 = np.array([self.rows[n].kind for n in flat], dtype=np.int64)
        self.fs: F64 = np.zeros((len(flat), 4))
        self.ints: I64 = np.zeros((len(flat), 6), dtype=np.int64)
        self.places: I64 = np.zeros(len(flat), dtype=np.int64)
        for place, number in enumerate(flat):
            row = self.rows[number]
            self.fs[place, : len(row.fs)] = row.fs
            self.ints[place, : len(row.ints)] = row.ints
            if row.kind == core.STATE:
                self.ints[place, 2:4] = self.state_spans[number]
            self.ints[place, 4:] = self.window_spans[number]
        largest = float(np.finfo(np.float64).max)  # so that an infinite reading is never calm
        self.calm_low: F64 = np.array([max([-largest, *(self.rows[n].calm_low for n in r)]) for r in members])
        self.calm_high: F64 = np.array([min([largest, *(self.rows[n].calm_high for n in r)]) for r in members])
        self.calm_gap: I64 = np.array(
            [min([_MAX_CALM_GAP_MS, *(self.rows[n].calm_gap for n in r)]) for r in members], dtype=np.int64
        )
        self.widths: I64 = np.array([sum(self.rows[n].words for n in r) for r in members], dtype=np.int64)
        for number, rules in enumerate(members):
            widths = [0, *(self.rows[n].words for n in rules)]
            self.places[self.starts[number] : self.starts[number + 1]] = np.cumsum(widths)[:-1]

    def places_in(self, profile: int) -> dict[int, int]:
        """Where the words of each rule begin within those of a point of this profile, by rule number."""
        span = slice(self.starts[profile], self.starts[profile + 1])
        return dict(zip(self.rules[span].tolist(), self.places[span].tolist(), strict=True))

    def idle_words(self, profile: int) -> I64:
        """The words of a point of this profile before its first reading."""
        words = np.full(int(self.widths[profile]), core.NONE, dtype=np.int64)
        start, end = self.starts[profile], self.starts[profile + 1]
        for kind, place in zip(self.kinds[start:end], self.places[start:end], strict=True):
            if kind == core.REPEATS:
                words[place + 1] = 0
            elif kind == core.STUCK:
                words[place + 3] = 0
        return words
