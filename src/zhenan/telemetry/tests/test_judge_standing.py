"""Alarms on record that a judge without memory takes on: each kind of rule ends them as if it had raised them."""

from __future__ import annotations

from math import nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge import waiting
from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.rulefile import rules_from
from zhenan.telemetry.judge.standing import OnRecord, recall, repair, settle

S = 1000
T = 1_000_000 * S  # when it was raised


def judge(*rules: dict[str, Any], composites: tuple[Composite, ...] = (), doubt: bool = True) -> LiveJudge:
    made = tuple(rules_from({"rules": [{"level": 2, **rule} for rule in rules]}))
    subjects = {"5": "house", "6": "house", "7": "other"}
    live = LiveJudge(SimpleNamespace(
        stamp="s", rules=made, points=["5", "6", "7"], registered_at=np.full(3, T - 9_000 * S, np.int64),
        holidays=np.empty(0, np.int64), groups=None, composites=composites, subjects=subjects,
    ))  # fmt: skip
    live.doubt = doubt
    return live


def hear(live: LiveJudge, *rows: tuple[int, float], point: int = 5) -> list[tuple[str, str, int, int]]:
    """(seconds after the raise, value) each; what is said: kind, rule, seconds, onset in seconds."""
    ts = [T + second * S for second, _value in rows]
    columns = Columns.of([point] * len(rows), ts, [value for _second, value in rows], [0] * len(rows))
    return [(t.kind, t.rule, (t.ts - T) // S, (t.onset - T) // S) for t in live.judge(columns, 1)]


def row(
    rule: str, *, onset: int = -10, value: float = 30.0, point: str = "5", raised: int = 0, recorded: int | None = None
) -> OnRecord:
    written = raised if recorded is None else recorded
    return OnRecord(point, rule, T + onset * S, T + raised * S, value, 2, T + written * S)


KINDS = {
    "threshold": ({"above": 20, "clear": 10, "clear_for_s": 60}, [(1, 15.0)], [(2, 5.0), (62, 5.0)]),
    "band": ({"low": 10, "high": 20, "margin": 2}, [(1, 19.0)], [(2, 15.0)]),
    "state": ({"in": [1]}, [(1, 1.0)], [(2, 0.0)]),
    "rate": ({"above": 1}, [(1, 30.0), (2, 40.0)], [(3, 40.0)]),
    "repeats": ({"above": 20, "count": 3, "window_s": 100}, [(1, 0.0), (99, 0.0)], [(100, 0.0)]),
    "stuck": ({"for_s": 60}, [(1, 30.0), (2, 30.0)], [(3, 31.0)]),
    "silence": ({"after_s": 60}, [], [(1, 0.0)]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("log_begins", [-5, 5], ids=["before the raise", "behind the raise"])
def test_an_alarm_taken_on_goes_on_while_the_rule_holds_and_ends_by_its_release(kind, log_begins):
    terms, holding, ending = KINDS[kind]
    live = judge({"id": "r", "kind": kind, **terms})
    assert recall(live, [row("r")], before_ms=T + log_begins * S) == (log_begins > 0)
    assert settle(live, [row("r")], now_ms=T + 10 * S) == []
    assert [(t.rule, t.onset) for t in live.engine.raised()] == [("r", T - 10 * S)]
    assert hear(live, *holding) == []
    assert hear(live, *ending) == [("clear", "r", ending[-1][0], -10)]


def test_what_the_log_holds_from_before_the_raise_does_not_end_it():
    live = judge({"id": "r", "kind": "threshold", "above": 20})
    recall(live, [row("r")], before_ms=T + 5 * S)
    assert hear(live, (-100, 1.0), (-50, 1.0)) == []
    assert live.counters.late == 2


def test_what_devices_brought_late_is_in_the_log_however_old_it_is():
    live = judge({"id": "r", "kind": "threshold", "above": 20})
    assert recall(live, [row("r", onset=-100, raised=-100, recorded=6)], before_ms=T + 5 * S) == 0
    assert hear(live, (-100, 30.0), (-50, 1.0)) == [("raise", "r", -100, -100), ("clear", "r", -50, -100)]


def test_a_silence_is_taken_on_only_while_nothing_was_heard_and_is_not_raised_twice():
    live = judge({"id": "r", "kind": "silence", "after_s": 60}, doubt=False)
    silent, heard = row("r", onset=0, value=nan), row("r", onset=0, value=nan, point="6")
    hear(live, (5, 1.0), point=6)
    found = settle(live, [silent, heard], now_ms=T + 60 * S)
    assert [(t.point, t.kind, t.why) for t in found] == [("6", "clear", "over")]
    assert [(t.point, t.onset) for t in live.advance(T + 61 * S) if t.point == "5"] == []
    assert hear(live, (62, 1.0)) == [("clear", "r", 62, 0)]


def test_a_judge_that_is_sure_ends_what_it_has_heard_the_end_of_and_nothing_else():
    live = judge({"id": "r", "kind": "threshold", "above": 20}, doubt=False)
    hear(live, (1, 5.0))
    later = row("r", onset=40, raised=40)  # raised by a reading that this judge has not heard
    found = settle(live, [row("r"), row("gone"), row("r", point="9")], now_ms=T + 10 * S)
    assert [(t.point, t.rule, t.why, t.ts) for t in found] == [
        ("5", "r", "over", T + 10 * S), ("5", "gone", "rule", T + 10 * S), ("9", "r", "point", T + 10 * S)
    ]  # fmt: skip
    assert settle(live, [later], now_ms=T + 50 * S) == []
    assert hear(live, (60, 5.0)) == [("clear", "r", 60, 40)]


def test_of_two_alarms_of_a_rule_at_a_point_the_one_that_stands_here_stays():
    live = judge({"id": "r", "kind": "threshold", "above": 20})
    hear(live, (1, 25.0))
    found = settle(live, [row("r"), row("r", onset=1, raised=1)], now_ms=T + 10 * S)
    assert [(t.onset, t.why) for t in found] == [(T - 10 * S, "superseded")]


def test_what_stands_here_alone_is_raised_again_and_what_was_ended_on_record_is_dropped():
    live = judge({"id": "r", "kind": "threshold", "above": 20}, {"id": "q", "kind": "silence", "after_s": 60})
    hear(live, (1, 25.0))
    hear(live, (1, 25.0), point=6)
    live.advance(T + 62 * S)
    by_key = {(t.point, t.rule): t for t in live.engine.raised()}
    missing = [by_key["5", "r"], by_key["5", "r"]._replace(onset=T)]  # the second ended while the record was asked
    ended = [(by_key["6", "r"], T + 70 * S), (by_key["6", "q"], T + 70 * S)]
    assert repair(live, missing, ended) == [by_key["5", "r"]]
    assert hear(live, (80, 30.0), point=6) == [("raise", "r", 80, 80)]
    assert [(t.point, t.rule, t.ts - T) for t in live.advance(T + 131 * S) if t.point == "6"] == []
    assert [(t.point, t.rule, (t.ts - T) // S) for t in live.advance(T + 141 * S) if t.point == "6"] == [
        ("6", "q", 140)
    ]


BOTH = Composite(id="both", level=1, kind="all_of", rules=["a", "b"])
PARTS = ({"id": "a", "kind": "threshold", "above": 20, "points": ["5"]},
         {"id": "b", "kind": "threshold", "above": 20, "points": ["6"]})  # fmt: skip


def test_a_composite_is_taken_on_with_its_parts_and_ends_with_one_of_them():
    rows = [row("both", onset=0), row("a"), row("b", point="6")]
    for recalled in (True, False):
        live = judge(*PARTS, composites=(BOTH,))
        if recalled:
            assert recall(live, rows, before_ms=T + 5 * S) == 3
        assert settle(live, rows, now_ms=T + 10 * S) == []
        assert hear(live, (1, 30.0)) == []
        assert hear(live, (2, 1.0), point=6) == [("clear", "b", 2, -10), ("clear", "both", 2, 0)]


def test_a_composite_ends_where_its_parts_stand_no_more():
    live = judge(*PARTS, composites=(BOTH,))
    found = settle(live, [row("both", onset=0), row("a")], now_ms=T + 10 * S)
    assert [(t.rule, t.why) for t in found] == [("both", "over")]
    live = judge(*PARTS, composites=(BOTH,), doubt=False)
    hear(live, (1, 30.0))
    hear(live, (1, 30.0), point=6)
    stands = live.composer.standing()
    assert [(t.rule, t.point, [part.rule for part in t.parts]) for t in stands] == [("both", "6", ["a", "b"])]
    assert repr(repair(live, stands, [])) == repr(stands)
    raised = next(t for t in live.engine.raised() if t.rule == "b")
    assert [(t.kind, t.rule) for t in repair(live, [], [(raised, T + 9 * S)])] == [("clear", "both")]


def test_doubt_is_kept_with_the_state_until_it_is_over():
    setup = SimpleNamespace(
        stamp="s", rules=(), points=[], registered_at=np.empty(0, np.int64), holidays=np.empty(0, np.int64),
        groups=None, composites=(), subjects={},
    )  # fmt: skip
    live = LiveJudge.resume([], setup)
    assert live.doubt
    again = LiveJudge.resume([live.save()], setup)
    assert again.doubt
    again.doubt = False
    assert not LiveJudge.resume([again.save()], setup).doubt
    assert LiveJudge.resume([b"damaged", again.save()], setup).doubt


def test_what_waits_for_its_point_is_bounded_by_number_and_by_age(monkeypatch):
    monkeypatch.setattr(waiting, "MOST", 4)
    kept = waiting.Waiting()
    kept.keep(Columns.of([1, 2, 3], [10, 10, 10], [0.0] * 3, [0] * 3), 1_000)
    kept.keep(Columns.of([1, 2, 3], [11, 11, 11], [0.0] * 3, [0] * 3), 2_000)
    assert [columns.point.tolist() for _at, columns in kept.kept] == [[3], [1, 2, 3]]  # the oldest made room
    again = waiting.Waiting(kept.save())
    found = again.take(lambda points: points != 2)
    assert (found.point.tolist(), found.ts.tolist(), len(again)) == ([3, 1, 3], [10, 11, 11], 1)
    kept.forget(1_000 + waiting.KEEP_MS)
    assert len(kept) == 4
    kept.forget(1_001 + waiting.KEEP_MS)
    assert [at for at, _columns in kept.kept] == [2_000]
