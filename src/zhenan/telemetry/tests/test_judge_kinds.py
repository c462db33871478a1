"""Every kind of rule by hand, on each limit and beside it. Readings are written "ts:value" with ts in seconds."""

import math
from dataclasses import replace

import numpy as np
import pytest

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Columns
from zhenan.telemetry.judge.rulefile import parse_rules

VERDICTS = {core.JUDGED: "judged", core.LATE: "late", core.DUPLICATE: "duplicate", core.UNFIT: "unfit"}


def columns(readings, point=0):
    """ "0:10 1:25" or "0:10! (bad quality)" as columns of one point."""
    rows = [[*item.rstrip("!").split(":"), item.endswith("!")] for item in readings.split()]
    return Columns(
        np.full(len(rows), point, dtype=np.int32),
        np.array([round(float(row[0]) * 1000) for row in rows], dtype=np.int64),
        np.array([float(row[1]) for row in rows], dtype=np.float64),
        np.array([row[2] for row in rows], dtype=np.uint8),
    )


def seconds(ms):
    return f"{ms / 1000:g}"


def told(judge, transitions):
    return " ".join(f"{t.kind}@{seconds(t.ts)}({seconds(t.onset)})" for t in judge.records(transitions))


def story(rule, readings, registered_at=None):
    """What one rule on one point makes of the readings: "raise@1(1) clear@3(1)", the onset in brackets."""
    since = None if registered_at is None else np.array([registered_at * 1000])
    judge = Judge(parse_rules(f"rules: [{{id: r, level: 2, {rule}}}]"), ["p"], since)
    return told(judge, judge.judge(columns(readings)).transitions)


GAS = "kind: threshold, above: 25, clear: 20"


@pytest.mark.parametrize(
    ("readings", "more", "out"),
    [
        ("0:10 1:25 2:22 3:19.9", "", "raise@1(1) clear@3(1)"),
        ("0:26 5:27 9:24 10:30 16:31", ", for_s: 5", "raise@5(0)"),
        ("0:26 4:24 5:26 9:27 10:28", ", for_s: 5", "raise@10(5)"),
        ("0:26 1:19 2:21 3:19 5:18", ", clear_for_s: 2", "raise@0(0) clear@5(0)"),
        ("0:26 3:10 2:30", "", "raise@0(0) clear@3(0)"),
        ("0:26 0:10 1:24", "", "raise@0(0)"),
    ],
)
def test_the_worked_examples(readings, more, out):
    assert story(GAS + more, readings) == out


@pytest.mark.parametrize(
    ("rule", "readings", "out"),
    [
        ("kind: threshold, above: 25", "0:24.999 1:25 2:24.999", "raise@1(1) clear@2(1)"),
        ("kind: threshold, above: 25", "0:25 1:25", "raise@0(0)"),
        (GAS, "0:25 1:20 2:19.999", "raise@0(0) clear@2(0)"),
        ("kind: threshold, below: 0.5", "0:0.501 1:0.5 2:0.5 3:0.501", "raise@1(1) clear@3(1)"),
        ("kind: threshold, below: 0.5, clear: 0.6", "0:0.4 1:0.6 2:0.601", "raise@0(0) clear@2(0)"),
        (GAS + ", for_s: 5", "0:26 4.999:26", ""),
        (GAS + ", for_s: 5", "0:26 4.999:26 5:26", "raise@5(0)"),
        (GAS + ", for_s: 5", "0:26 100:26", "raise@100(0)"),
        (GAS + ", clear_for_s: 2", "0:26 1:19 2.999:19", "raise@0(0)"),
        (GAS + ", clear_for_s: 2", "0:26 1:19 2.999:19 3:19", "raise@0(0) clear@3(0)"),
        (GAS + ", clear_for_s: 2", "0:26 1:19 2:20 3:19 4:19 5:19", "raise@0(0) clear@5(0)"),
        (GAS + ", for_s: 5", "0:26 5:26 6:10 7:26 11:26 12:26", "raise@5(0) clear@6(0) raise@12(7)"),
        (GAS + ", for_s: 5", "0:26 3:nan 5:26", "raise@5(0)"),  # an unfit reading breaks no run
        (GAS + ", for_s: 5", "0:26 3:10! 5:26", "raise@5(0)"),
        (GAS, "0:99! 1:inf 2:-inf 3:nan", ""),
        (GAS, "-7:26 -6:10", "raise@-7(-7) clear@-6(-7)"),
        ("kind: threshold, above: 0", "0:-0.0", "raise@0(0)"),
        ("kind: threshold, above: -1.7976931348623157e+308", "0:-1.7976931348623157e+308", "raise@0(0)"),
    ],
)
def test_threshold(rule, readings, out):
    assert story(rule, readings) == out


@pytest.mark.parametrize(
    ("more", "readings", "out"),
    [
        ("", "0:5 1:60", ""),
        ("", "0:4.999 1:5", "raise@0(0) clear@1(0)"),
        ("", "0:60.001 1:4 2:60", "raise@0(0) clear@2(0)"),  # from above to below is one run
        (", margin: 2", "0:4 1:6.999 2:58.001 3:7", "raise@0(0) clear@3(0)"),
        (", margin: 2", "0:4 1:58", "raise@0(0) clear@1(0)"),
        (", for_s: 10", "0:4 5:70 10:4", "raise@10(0)"),
        (", for_s: 10", "0:4 5:5 10:4 19:4", ""),
        (", clear_for_s: 3", "0:4 1:30 2:4 3:30 6:30", "raise@0(0) clear@6(0)"),
    ],
)
def test_band(more, readings, out):
    assert story("kind: band, low: 5, high: 60" + more, readings) == out


@pytest.mark.parametrize(
    ("rule", "readings", "out"),
    [
        ("in: [2, 3]", "0:1 1:2 2:3 3:4", "raise@1(1) clear@3(1)"),
        ("in: [2, 3]", "0:1.999 1:2.999 2:4", "raise@1(1) clear@2(1)"),  # the value as an integer
        ("in: [2, 3]", "0:5 1:0 2:-2", ""),
        ("in: [0]", "0:1 1:0.5 2:-0.5 3:-1", "raise@1(1) clear@3(1)"),
        ("in: [-1]", "0:-0.5 1:-1 2:-1.5 3:-2", "raise@1(1) clear@3(1)"),
        ("in: [-2, 7]", "0:0 1:7 2:6 3:-2.5 4:-3", "raise@1(1) clear@2(1) raise@3(3) clear@4(3)"),
        ("in: [1], for_s: 2, clear_for_s: 2", "0:1 2:1 3:0 5:0", "raise@2(0) clear@5(0)"),
        ("in: [1]", "0:1.0e300 1:-1.0e300", ""),
    ],
)
def test_state(rule, readings, out):
    assert story("kind: state, " + rule, readings) == out


@pytest.mark.parametrize(
    ("rule", "readings", "out"),
    [
        ("above: 5.0, per_s: 60, max_gap_s: 300", "0:0 60:5 120:9.999", "raise@60(60) clear@120(60)"),
        ("above: 5.0, per_s: 60, max_gap_s: 300", "0:0 60:4.999", ""),
        ("above: 5.0, per_s: 60, max_gap_s: 300", "0:0 300:25", "raise@300(300)"),
        ("above: 5.0, per_s: 60, max_gap_s: 300", "0:0 300.001:99 300.002:99", ""),
        (
            "above: 5.0, per_s: 60, max_gap_s: 300",
            "0:0 1:9 400:9 401:9",
            "raise@1(1) clear@401(1)",
        ),  # the gap judges nothing
        ("above: 1, per_s: 1", "0:0 1:nan 2:2", "raise@2(2)"),  # between judged readings
        ("above: 1, per_s: 1", "0:0 1:2 2:4 3:4", "raise@1(1) clear@3(1)"),
        ("below: -1, per_s: 1", "0:0 1:-1 2:-1.999", "raise@1(1) clear@2(1)"),
        ("above: 1, per_s: 1", "0:0 2:2 1:9 3:3", "raise@2(2)"),  # the late one is no previous reading
        (
            "above: 1, per_s: 0.003",
            "0:0 0.003:1",
            "raise@0.003(0.003)",
        ),  # 1 / 3 · 1000 · 0.003 is less than 1 in floats
        ("below: -1, per_s: 1", "0:1.7e+308 1:-1.7e+308", "raise@1(1)"),
    ],
)
def test_rate(rule, readings, out):
    assert story("kind: rate, " + rule, readings) == out


@pytest.mark.parametrize(
    ("rule", "readings", "out"),
    [
        ("above: 30, count: 3, window_s: 10", "0:30 5:30 9.999:30", "raise@9.999(9.999)"),
        ("above: 30, count: 3, window_s: 10", "0:30 5:30 10:30", ""),  # (0, 10] leaves the first out
        ("above: 30, count: 3, window_s: 10", "0:30 5:30 10:30 14:30", "raise@14(14)"),
        ("above: 30, count: 3, window_s: 10", "0:30 1:0 2:30 3:29.9 4:30 13.999:0 14:0", "raise@4(4) clear@14(4)"),
        ("above: 30, count: 3, window_s: 10", "0:30 1:30 2:30 40:30 49:0 50:0", "raise@2(2) clear@50(2)"),
        ("above: 30, count: 1, window_s: 10", "0:30 1:30 11:0 12:30", "raise@0(0) clear@11(0) raise@12(12)"),
        ("below: 30, count: 2, window_s: 10", "0:30.1 1:30 2:30", "raise@2(2)"),
        ("above: 30, count: 2, window_s: 10", "0:30 1:0 12:30 13:0 14:30", "raise@14(14)"),
    ],
)
def test_repeats(rule, readings, out):
    assert story("kind: repeats, " + rule, readings) == out


@pytest.mark.parametrize(
    ("readings", "out"),
    [
        ("0:1 10:1", ""),
        ("0:1 10.001:1", "raise@10(10) clear@10.001(10)"),
        ("0:1 99:nan", "raise@10(10) clear@99(10)"),  # an unfit reading is contact
        ("0:1 5:nan 15:1", ""),
        ("0:1 5:1! 15:1", ""),
        ("50:1 49:1 60:1 75:1", "raise@70(70) clear@75(70)"),  # a late one is none
        ("0:1 11:1 22:1", "raise@10(10) clear@11(10) raise@21(21) clear@22(21)"),
        ("0:1 9000000:1", "raise@10(10) clear@9e+06(10)"),
    ],
)
def test_silence_seen_at_the_next_reading(readings, out):
    assert story("kind: silence, after_s: 10", readings) == out


def test_silence_seen_by_the_clock_is_raised_once_and_cleared_by_the_next_reading():
    judge = Judge(parse_rules("rules: [{id: quiet, kind: silence, after_s: 10, level: 4}]"), ["p", "never"])
    judge.judge(columns("0:1"))
    assert told(judge, judge.advance(10_000)) == ""
    assert told(judge, judge.advance(10_001)) == "raise@10(10)"
    assert told(judge, judge.advance(99_000)) == ""
    assert [(t.point, t.rule, t.onset) for t in judge.raised()] == [("p", "quiet", 10_000)]
    assert told(judge, judge.judge(columns("50:1")).transitions) == "clear@50(10)"
    assert judge.raised() == []
    assert told(judge, judge.advance(60_001)) == "raise@60(60)"


def test_silences_of_different_length_on_one_point_are_raised_each_in_its_time():
    rules = parse_rules(
        "rules: [{id: a, kind: silence, after_s: 10, level: 4}, {id: b, kind: silence, after_s: 20, level: 2}]"
    )
    judge = Judge(rules, ["p"])
    judge.judge(columns("0:1"))
    assert told(judge, judge.advance(20_000)) == "raise@10(10)"
    assert told(judge, judge.advance(20_001)) == "raise@20(20)"
    assert told(judge, judge.judge(columns("30:1")).transitions) == "clear@30(10) clear@30(20)"


def test_the_clock_of_a_registered_point_starts_before_its_first_reading():
    rules = parse_rules("rules: [{id: quiet, kind: silence, after_s: 10, level: 4}]")
    judge = Judge(rules, ["p", "unknown"], np.array([5_000, core.NONE]))
    assert told(judge, judge.advance(15_000)) == ""
    assert told(judge, judge.advance(15_001)) == "raise@15(15)"
    assert told(judge, judge.judge(columns("16:1")).transitions) == "clear@16(15)"
    assert story("kind: silence, after_s: 10", "16:1", registered_at=5) == "raise@15(15) clear@16(15)"
    assert story("kind: silence, after_s: 10", "15:1", registered_at=5) == ""


@pytest.mark.parametrize(
    ("rule", "readings", "out"),
    [
        ("for_s: 10, count: 3", "0:7 5:7 10:7 11:8", "raise@10(10) clear@11(10)"),
        ("for_s: 10, count: 3", "0:7 5:7 9.999:7", ""),
        ("for_s: 10, count: 3", "0:7 10:7 11:7", "raise@11(11)"),
        ("for_s: 10, count: 3", "0:7 5:7 6:8 10:8 16:8", "raise@16(16)"),
        ("for_s: 0, count: 2, eps: 0.5", "0:1 1:1.5 2:0.5 3:1.6", "raise@1(1) clear@3(1)"),  # from the first of the run
        ("for_s: 0, count: 2", "0:1 1:1 2:2 3:2", "raise@1(1) clear@2(1) raise@3(3)"),
        ("for_s: 10, count: 3", "0:7 5:nan 10:7 11:8! 12:7", "raise@12(12)"),
        ("for_s: 10, count: 1", "0:7 10:7", "raise@10(10)"),
    ],
)
def test_stuck(rule, readings, out):
    assert story("kind: stuck, " + rule, readings) == out


def test_each_reading_has_its_verdict_and_is_counted():
    judge = Judge(parse_rules(f"rules: [{{id: r, level: 2, {GAS}}}]"), ["p"])
    result = judge.judge(columns("5:26 5:27 4:nan 6:nan 6:30 7:30! 6.5:30 8:19"))
    assert [VERDICTS[v] for v in result.verdicts.tolist()] == (
        ["judged", "duplicate", "late", "unfit", "duplicate", "unfit", "late", "judged"]
    )
    c = judge.counters
    assert (c.readings, c.judged, c.late, c.duplicate, c.unfit, c.refused) == (8, 2, 2, 2, 2, 0)
    assert (c.raises, c.clears) == (1, 1)


def test_quality_two_is_good_only_its_time_is_not_the_devices():
    judge = Judge(parse_rules(f"rules: [{{id: r, level: 2, {GAS}}}]"), ["p"])
    one = replace(columns("1:26"), quality=np.array([2], dtype=np.uint8))
    assert told(judge, judge.judge(one).transitions) == "raise@1(1)"


def test_a_point_that_does_not_exist_and_a_time_out_of_the_calendar_are_refused():
    judge = Judge(parse_rules(f"rules: [{{id: r, level: 2, {GAS}}}]"), ["p"])
    for point in (-1, 1, 2**31 - 1, -(2**31)):
        assert judge.judge(columns("1:26", point)).verdicts.tolist() == [core.REFUSED]
    for ts in (core.MAX_TS + 1, core.MIN_TS - 1, 2**63 - 1, -(2**63)):
        odd = replace(columns("1:26"), ts=np.array([ts], dtype=np.int64))
        assert judge.judge(odd).verdicts.tolist() == [core.REFUSED]
    assert judge.counters.refused == 8
    assert judge.raised() == []


def test_rules_of_one_point_are_independent_and_points_limit_a_rule():
    rules = parse_rules(
        "rules:\n"
        "- {id: everywhere, kind: threshold, above: 1, level: 3}\n"
        "- {id: only_b, kind: threshold, above: 2, level: 1, points: [b, b, unknown]}\n"
    )
    judge = Judge(rules, ["a", "b"])
    rows = Columns(np.array([0, 1], np.int32), np.array([1, 1]), np.array([9.0, 9.0]), np.zeros(2, np.uint8))
    found = [(t.point, t.rule, t.kind, t.level) for t in judge.records(judge.judge(rows).transitions)]
    assert found == [("a", "everywhere", "raise", 3), ("b", "everywhere", "raise", 3), ("b", "only_b", "raise", 1)]
    assert [(t.point, t.rule) for t in judge.raised()] == [("a", "everywhere"), ("b", "everywhere"), ("b", "only_b")]


def test_more_transitions_than_fit_the_output_at_once_lose_none():
    judge = Judge(parse_rules("rules: [{id: r, kind: threshold, above: 1, level: 3}]"), ["p"])
    n = 100_001
    rows = Columns(np.zeros(n, np.int32), np.arange(n), (np.arange(n) % 2).astype(np.float64), np.zeros(n, np.uint8))
    found = judge.judge(rows).transitions
    assert len(found) == n - 1
    assert found.ts.tolist() == list(range(1, n))
    assert found.kind.tolist() == [core.RAISE, core.CLEAR] * (n // 2)


def test_silences_of_more_points_than_fit_the_output_at_once_lose_none():
    n = 50_000
    judge = Judge(parse_rules("rules: [{id: q, kind: silence, after_s: 1, level: 4}]"), [str(i) for i in range(n)])
    judge.judge(Columns(np.arange(n, dtype=np.int32), np.arange(n), np.zeros(n), np.zeros(n, np.uint8)))
    found = judge.advance(10_000_000)
    assert found.ts.tolist() == list(range(1000, n + 1000))
    assert len(judge.raised()) == n
    assert math.isnan(found.value[0])


def test_the_state_of_a_point_under_three_rules_takes_at_most_96_bytes():
    rules = parse_rules(
        "rules:\n"
        "- {id: a, kind: threshold, above: 1, level: 3}\n"
        "- {id: b, kind: rate, above: 2, level: 1}\n"
        "- {id: c, kind: stuck, for_s: 60, level: 1}\n"
    )
    assert Judge(rules, [str(i) for i in range(1000)]).state.nbytes() <= 96_000


def test_columns_that_do_not_fit_are_refused_with_what_came():
    judge = Judge([], ["p"])
    good = columns("1:1 2:2")
    with pytest.raises(ValueError, match=r"one length; got \[2, 2, 2, 1\]"):
        judge.judge(replace(good, quality=good.quality[:1]))
    with pytest.raises(ValueError, match="ts must be a flat array of int64; got float64"):
        judge.judge(replace(good, ts=good.ts.astype(float)))
    with pytest.raises(ValueError, match="point must be int32"):
        judge.judge(replace(good, point=np.array([2**40, 1])))
    assert judge.counters.readings == 0


def test_read_only_columns_off_the_wire_that_begin_anywhere_are_judged():
    judge = Judge(parse_rules(f"rules: [{{id: r, level: 2, {GAS}}}]"), ["p"])
    odd = columns("1:26 1.5:22 2:0")
    wire = Columns.unpack(odd.pack())
    assert not wire.ts.flags.writeable
    assert not wire.ts.flags.aligned
    assert told(judge, judge.judge(wire).transitions) == "raise@1(1) clear@2(1)"


def test_points_and_rules_must_have_names_of_their_own():
    rule = parse_rules(f"rules: [{{id: r, level: 2, {GAS}}}]")
    with pytest.raises(ValueError, match="rule ids must differ"):
        Judge(rule * 2, ["p"])
    judge = Judge(rule, ["p"])
    with pytest.raises(ValueError, match="got 'p' more than once"):
        judge.add_points(["q", "p"])
    with pytest.raises(ValueError, match="got 'z' more than once"):
        judge.add_points(["z", "z"])
    assert judge.keys == ["p"]
