"""What a judge has standing, held against the record of alarms: neither may say for ever what the other does not.

They part where a state was lost, where rules or the register changed between a judge's last save and its end, and
where the record lost its last moments. `settle` is given what is open on record, `repair` what stands here and is not.

An alarm on record that does not stand here ends, with a word why, when this judge knows that it is over: its point is
registered no more, its rule looks at the point no more, or the judge has judged readings of the point since, without
a gap, and does not have it. A judge that is *in doubt* (its state was lost, or the log has lost what came after it)
knows nothing: there the alarm is taken on, and stands until a reading of the point, judged by the rule of now, ends it;
so does any that was raised later than the last reading it knows of. A silence is over where anything was heard since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isnan, nan
from typing import NamedTuple

import numpy as np

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.results import Transition


class OnRecord(NamedTuple):
    """An alarm, a stage of one or one that is held, open on record. Times in ms UTC; `value` is NaN where none was.

    `recorded`: when it was written, by the server's clock; the others are by the device's.
    """

    point: str
    rule: str
    onset: int
    raised: int
    value: float
    level: int
    recorded: int


class Instance:
    """One rule at one point of a judge, as the compiled loop keeps it (core.py tells the words of each kind)."""

    def __init__(self, judge: Judge, point: int, place: int) -> None:
        self.state, self.point = judge.state, point
        self.kind, self.count = int(judge.table.kinds[place]), int(judge.table.ints[place, 2])
        self.w = int(judge.state.offset[point] + judge.table.places[place])

    @classmethod
    def find(cls, judge: Judge, point: int, rule: int) -> Instance | None:
        """None where the rule does not look at the point."""
        profile = _profile(judge, point)
        for place in range(int(judge.table.starts[profile]), int(judge.table.starts[profile + 1])):
            if judge.table.rules[place] == rule:
                return cls(judge, point, place)
        return None

    @property
    def onset(self) -> int | None:
        """Since when it stands; None where it does not."""
        words, w = self.state.words, self.w
        if words[w] == core.NONE or (self.kind <= core.STATE and words[w + 1] == core.NONE):
            return None
        return int(words[w])

    @property
    def last_ts(self) -> int:
        return int(self.state.last_ts[self.point])

    def take_on(self, row: OnRecord) -> None:
        """Let it stand as if this judge had raised it; its next reading goes by the rule."""
        words, words_f, w = self.state.words, self.state.words_f, self.w
        words[w] = row.onset
        if self.kind <= core.STATE:
            words[w + 1] = core.STEADY
        elif self.kind == core.REPEATS:
            self._count_again(row.raised)
        elif self.kind == core.STUCK and words[w + 3] == 0 and not isnan(row.value):
            words_f[w + 1], words[w + 2], words[w + 3] = row.value, row.onset, 1
        if self.state.hot[self.point] >= 0:
            self.state.hot[self.point] = -1 - self.state.hot[self.point]

    def _count_again(self, ts: int) -> None:
        words, w = self.state.words, self.w
        place = int(words[w + 1])
        if words[w + 2 + (place - 1 if place else self.count - 1)] < ts:
            words[w + 2 + place] = ts
            words[w + 1] = (place + 1) % self.count

    def drop(self, heard: int) -> None:
        """Let it stand no more: the record has seen its end, at `heard`. What has the condition raises it anew."""
        words, w = self.state.words, self.w
        words[w] = core.NONE
        if self.kind <= core.STATE:
            words[w + 1] = core.NONE
        elif self.kind == core.SILENCE:  # it was ended by a reading, from which silence counts again
            self.state.last_ts[self.point] = max(self.last_ts, heard)


def _profile(judge: Judge, point: int) -> int:
    hot = int(judge.state.hot[point])
    return -1 - hot if hot < 0 else hot


class _Places:
    """Finds the instances that rows speak of."""

    def __init__(self, live: LiveJudge, points: Iterable[str]) -> None:
        self.live = live
        self.rules = {rule.id: number for number, rule in enumerate(live.engine.rules)}
        texts = list(points)
        found = live.numbers.find(np.array([int(text) for text in texts], np.int64).astype(np.int32))
        self.numbers = dict(zip(texts, found.tolist(), strict=True))

    def of(self, point: str, rule: str) -> Instance | None:
        number, known = self.numbers[point], self.rules.get(rule)
        return None if number < 0 or known is None else Instance.find(self.live.engine, number, known)


def settle(live: LiveJudge, rows: Sequence[OnRecord], *, now_ms: int) -> list[Transition]:
    """The clears of those rows that should be open no more, and of composites that end with them."""
    places = _Places(live, [row.point for row in rows])
    of_composites = {(t.rule, t.point, t.onset) for t in live.composer.standing()}
    names = {one.id for one in live.composer.composites}
    found: list[Transition] = []
    for row in sorted(rows, key=lambda row: row.rule in names):  # what a composite is made of comes first
        if (row.rule, row.point, row.onset) in of_composites:
            continue
        why = _why(live, places, row, names)
        if why:
            end = Transition(row.point, row.rule, "clear", max(now_ms, row.raised), row.onset, nan, row.level, why=why)
            found += [end] if row.rule in names else live.composer.feed([end])
    live.counters.clears += len(found)
    return found


def _why(live: LiveJudge, places: _Places, row: OnRecord, composites: set[str]) -> str:
    """Why the row should be open no more; "" where it stands, or does from now on."""
    if places.numbers[row.point] < 0:
        return "point"
    if row.rule in composites:
        return live.composer.take_on(row.rule, row.point, row.onset)
    one = places.of(row.point, row.rule)
    if one is None:
        return "rule"
    if one.onset is not None:
        return "" if one.onset == row.onset else "superseded"
    heard = one.last_ts >= row.raised
    if heard and (one.kind == core.SILENCE or not live.doubt):
        return "over"
    _take_on(live, one, row)
    return ""


def _take_on(live: LiveJudge, one: Instance, row: OnRecord) -> None:
    one.take_on(row)
    live.composer.learn(row.rule, row.point, row.onset, row.raised)


def recall(live: LiveJudge, rows: Sequence[OnRecord], *, before_ms: int) -> int:
    """In doubt, before anything is read: take on what was recorded before the log begins, which no reading will raise
    again. Returns how many. Not by when it was raised: what devices bring late is older than the log that has it."""
    places, taken = _Places(live, [row.point for row in rows]), 0
    old = [row for row in rows if row.recorded < before_ms]
    for row in old:
        one = places.of(row.point, row.rule)
        if one is not None and one.onset is None and (one.kind != core.SILENCE or one.last_ts < row.raised):
            _take_on(live, one, row)
            taken += 1
            if one.kind != core.SILENCE:  # what came before it was judged by whoever raised it
                one.state.last_ts[one.point] = max(one.last_ts, row.raised)
    names = {composite.id for composite in live.composer.composites}
    for row in old:
        if row.rule in names and places.numbers[row.point] >= 0:
            taken += not live.composer.take_on(row.rule, row.point, row.onset)
    return taken


def repair(live: LiveJudge, missing: Sequence[Transition], ended: Sequence[tuple[Transition, int]]) -> list[Transition]:
    """What to record of alarms that stood here as the record was asked: raises of those that it does not have.

    Those that it saw end (`ended`, with the ms) are dropped, so that what has their condition is raised anew: a state
    older than the record would keep it quiet.
    """
    places = _Places(live, [t.point for t in (*missing, *(t for t, _at in ended))])
    composed = {(t.rule, t.point, t.onset): t for t in live.composer.standing()}
    found: list[Transition] = []
    for t in missing:
        key, one = (t.rule, t.point, t.onset), places.of(t.point, t.rule)
        if key in composed:
            found.append(composed[key])
        elif one is not None and one.onset == t.onset:
            found.append(t)
    for t, at in ended:
        one = places.of(t.point, t.rule)
        if (t.rule, t.point, t.onset) in composed:
            live.composer.drop(t.rule, t.point)
        elif one is not None and one.onset == t.onset:
            one.drop(at)
            end = t._replace(kind="clear", ts=max(at, t.onset))
            found += [made for made in live.composer.feed([end]) if made is not end]
    return found
