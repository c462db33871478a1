"""A million of the same, time running backwards, no numbers, impossible thresholds: each has its defined effect."""

import numpy as np
import pytest

from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Columns
from zhenan.telemetry.judge.rulefile import RulesFault, parse_rules

RULES = parse_rules(
    "rules:\n"
    "  - {id: high, kind: threshold, above: 25, clear: 20, for_s: 5, level: 2}\n"
    "  - {id: quiet, kind: silence, after_s: 60, level: 4}\n"
    "  - {id: frozen, kind: stuck, for_s: 0, count: 3, level: 4}\n"
    "  - {id: often, kind: repeats, above: 25, count: 2, window_s: 600, level: 3}\n"
)
MILLION = 1_000_000


def judged(ts, value, quality=0):
    judge = Judge(RULES, ["p"])
    ts = np.asarray(ts, dtype=np.int64)
    value = np.broadcast_to(np.asarray(value, dtype=np.float64), ts.shape)
    columns = Columns(np.zeros(ts.size, np.int32), ts, value, np.full(ts.size, quality, np.uint8))
    return judge, [(t.rule, t.kind, t.ts) for t in judge.records(judge.judge(columns).transitions)]


def test_the_same_reading_a_million_times_is_one_reading():
    judge, said = judged(np.full(MILLION, 1000), 30.0)
    assert said == []  # no run, no repetition, no stuck value: it was measured once
    assert (judge.counters.judged, judge.counters.duplicate) == (1, MILLION - 1)
    assert judge.state.nbytes() < 300


def test_time_that_runs_backwards_is_late_and_moves_nothing():
    backwards = 10_000_000 - np.arange(MILLION)
    judge, said = judged(np.concatenate([backwards, [10_005_000]]), 30.0)
    assert (judge.counters.judged, judge.counters.late) == (2, MILLION - 1)
    assert said == [("high", "raise", 10_005_000), ("often", "raise", 10_005_000)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_raises_nothing_and_counts_as_contact(value):
    judge, said = judged(np.arange(MILLION) * 50, value)
    assert (said, judge.counters.unfit) == ([], MILLION)
    assert [t.rule for t in judge.records(judge.advance((MILLION - 1) * 50 + 60_000))] == []
    assert [t.rule for t in judge.records(judge.advance((MILLION - 1) * 50 + 60_001))] == ["quiet"]


def test_a_number_that_is_none_between_two_good_ones_breaks_no_run():
    _judge, said = judged([0, 1000, 2000, 5000], [30.0, np.nan, np.inf, 30.0])
    assert ("high", "raise", 5000) in said


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("kind: threshold, above: .nan", "finite"),
        ("kind: threshold, above: .inf", "finite"),
        ("kind: threshold, above: 5, below: 9", "exactly one of above and below"),
        ("kind: threshold, above: 5, clear: 6", "at most 5"),
        ("kind: band, low: 9, high: 5", "less than high"),
        ("kind: silence, after_s: 0", "greater than 0"),
        ("kind: stuck, for_s: -1", "greater than or equal to 0"),
        ("kind: repeats, above: 1, count: 0, window_s: 5", "greater than or equal to 1"),
    ],
)
def test_an_impossible_threshold_is_refused_before_anything_is_judged(rule, fault):
    with pytest.raises(RulesFault, match=fault):
        parse_rules(f"rules: [{{id: r, level: 2, {rule}}}]")
