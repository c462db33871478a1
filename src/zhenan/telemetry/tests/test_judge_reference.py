"""The compiled judge against the rules read out sentence by sentence, over random rules and readings."""

import math
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Columns
from zhenan.telemetry.judge.rulefile import rules_from
from zhenan.telemetry.judge.rules import MODELS
from zhenan.telemetry.judge.snapshot import MAGIC, SnapshotFault
from zhenan.telemetry.tests.judge_reference import Reference

WORDS = {"judged": core.JUDGED, "late": core.LATE, "duplicate": core.DUPLICATE, "unfit": core.UNFIT}
POINTS = ["a", "b", "c"]
EXAMPLES = settings(max_examples=200, deadline=None)

numbers = st.integers(-4, 4)  # few and whole, so that set-points are reached and ties happen
seconds = st.sampled_from([0, 0.001, 0.002, 0.005, 0.01])
spans = st.sampled_from([0.001, 0.003, 0.008, 0.02])


@st.composite
def one_rule(draw):
    kind = draw(st.sampled_from(["threshold", "band", "state", "rate", "repeats", "silence", "stuck"]))
    rule = {"kind": kind, "level": draw(st.integers(1, 4)), "points": draw(st.none() | st.just(["a", "c"]))}
    side, x = draw(st.sampled_from(["above", "below"])), draw(numbers)
    away = draw(st.integers(0, 3))
    if kind in ("threshold", "band", "state"):
        rule |= {"for_s": draw(seconds), "clear_for_s": draw(seconds)}
    if kind == "threshold":
        rule |= {side: x, "clear": draw(st.sampled_from([None, x - away if side == "above" else x + away]))}
    elif kind == "band":
        margin = draw(st.integers(0, 2))
        rule |= {"low": x, "high": x + 2 * margin + 1 + away, "margin": margin}
    elif kind == "state":
        rule |= {"in": draw(st.lists(numbers, min_size=1, max_size=3))}
    elif kind == "rate":
        rule |= {side: x, "per_s": draw(spans), "max_gap_s": draw(st.none() | spans)}
    elif kind == "repeats":
        rule |= {side: x, "count": draw(st.integers(1, 4)), "window_s": draw(spans)}
    elif kind == "silence":
        rule |= {"after_s": draw(spans)}
    else:
        rule |= {"for_s": draw(seconds), "count": draw(st.integers(2, 4)), "eps": draw(st.integers(0, 2))}
    return rule


@st.composite
def some_rules(draw):
    rules = draw(st.lists(one_rule(), min_size=1, max_size=4))
    return [{"id": f"r{n}", **rule} for n, rule in enumerate(rules)]


values = st.one_of(numbers, numbers, numbers, st.sampled_from([0.5, -0.5, 1.5, math.nan, math.inf, -math.inf]))
# A step back makes a late reading, no step a duplicate, a long one a gap.
steps = st.sampled_from([0, 1, 1, 1, 2, 3, 5, 8, 9, 21, -1, -4])
readings = st.lists(st.tuples(st.integers(0, 2), steps, values, st.sampled_from([0, 0, 0, 0, 0, 1, 2])), max_size=60)


def thrown(seed):
    """Rules and readings by dice: more of them, and longer, than hypothesis likes to make."""
    dice = random.Random(seed)
    number, span = lambda: dice.randint(-2, 2), lambda: dice.choice([0.001, 0.002, 0.003, 0.008])
    side, x, away, margin = dice.choice(["above", "below"]), number(), dice.randint(0, 2), dice.randint(0, 1)
    delays = {"for_s": dice.choice([0, 0.001, 0.003]), "clear_for_s": dice.choice([0, 0.001, 0.003])}
    kinds = {
        "threshold": {side: x, "clear": x - away if side == "above" else x + away, **delays},
        "band": {"low": x, "high": x + 2 * margin + 1, "margin": margin, **delays},
        "state": {"in": [number(), number()], **delays},
        "rate": {side: x, "per_s": span(), "max_gap_s": span()},
        "repeats": {side: x, "count": dice.randint(1, 3), "window_s": span()},
        "silence": {"after_s": span()},
        "stuck": {"for_s": dice.choice([0, 0.002, 0.005]), "count": dice.randint(2, 3), "eps": away},
    }
    chosen = dice.sample(sorted(kinds), 3)
    rules = [{"id": kind, "kind": kind, "level": 1, **kinds[kind]} for kind in chosen]
    odd = [0.5, -0.5, 1.5, math.nan, math.inf]
    rows = [
        (
            dice.choice([0, 0, 1]),
            dice.choice([0, 1, 1, 1, 1, 2, 2, 3, 4, 8, 9, -1]),
            dice.choice(odd) if dice.random() < 0.05 else number(),
            int(dice.random() < 0.05),
        )
        for _ in range(120)
    ]
    return rules_from({"rules": rules}), timed(rows)


def timed(rows):
    """(point, ts, value, quality) with ts from the steps of each point."""
    now, found = [0, 0, 0], []
    for point, step, value, quality in rows:
        now[point] += step
        found.append((point, now[point], float(value), quality))
    return found


def as_columns(rows):
    point, ts, value, quality = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Columns(
        np.array(point, np.int32), np.array(ts, np.int64), np.array(value, np.float64), np.array(quality, np.uint8)
    )


def comparable(rows):
    return [tuple("nan" if isinstance(v, float) and math.isnan(v) else v for v in row) for row in rows]


def found_by(judge, transitions):
    return comparable((t.point, t.rule, t.kind, t.ts, t.onset, t.value) for t in judge.records(transitions))


def order(row):
    return row[3], row[0], row[1], row[2] == "clear"


@EXAMPLES
@given(some_rules(), readings)
def test_the_judge_says_what_the_rules_say(rules, rows):
    agree(rules_from({"rules": rules}), timed(rows))


def test_the_judge_says_what_the_rules_say_over_long_throws_of_dice():
    raises = dict.fromkeys(MODELS, 0)
    for seed in range(400):
        for rule, raised in agree(*thrown(seed)).items():
            raises[rule] += raised
    assert min(raises.values()) > 500, raises  # every kind had much to say


def agree(rules, rows):
    """The judge and the reference say the same of these; how often each rule was raised."""
    reference = Reference(rules)
    expected = [WORDS[reference.read(POINTS[p], ts, value, quality)] for p, ts, value, quality in rows]
    judge = Judge(rules, POINTS)
    result = judge.judge(as_columns(rows))
    assert result.verdicts.tolist() == expected
    assert found_by(judge, result.transitions) == comparable(reference.out)  # in the same order, too
    standing = {(t.point, t.rule): t.onset for t in judge.raised()}
    assert standing == {(p, rule): onset for p, mine in reference.points.items() for rule, onset in mine.onset.items()}
    return Counter(rule for _, rule, kind, *_ in reference.out if kind == "raise")


@EXAMPLES
@given(some_rules(), readings, st.lists(st.integers(0, 60), max_size=4), st.booleans())
def test_a_clock_between_the_readings_says_what_the_rules_say(rules, rows, clocks, registered):
    rules, rows = rules_from({"rules": rules}), timed(rows)
    since = {"a": 3, "c": 0} if registered else {}
    reference = Reference(rules, since)
    judge = Judge(rules, POINTS, np.array([since.get(p, core.NONE) for p in POINTS]) if registered else None)
    found, cuts = [], sorted(clocks)
    for start, end in zip([0, *cuts], [*cuts, 60], strict=True):
        for p, ts, value, quality in rows[start:end]:
            reference.read(POINTS[p], ts, value, quality)
        found += found_by(judge, judge.judge(as_columns(rows[start:end])).transitions)
        now = max([0, *(ts for _, ts, _, _ in rows[:end])]) + 5
        reference.clock(now)
        found += found_by(judge, judge.advance(now))
    assert sorted(found, key=order) == sorted(comparable(reference.out), key=order)


@EXAMPLES
@given(some_rules(), readings, st.lists(st.integers(0, 60), max_size=3))
def test_a_snapshot_taken_up_again_at_any_place_changes_nothing(rules, rows, cuts):
    taken_up_again(rules_from({"rules": rules}), timed(rows), sorted(cuts))


def test_a_snapshot_taken_up_again_anywhere_in_long_throws_of_dice_changes_nothing():
    for seed in range(100):
        taken_up_again(*thrown(seed), sorted(random.Random(seed).sample(range(120), 3)))


def taken_up_again(rules, rows, cuts):
    """Judging with a snapshot at every cut says what judging in one go says."""
    undisturbed = Judge(rules, POINTS)
    expected = found_by(undisturbed, undisturbed.judge(as_columns(rows)).transitions)
    expected += found_by(undisturbed, undisturbed.advance(100))
    judge, found = Judge(rules, POINTS), []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        found += found_by(judge, judge.judge(as_columns(rows[start:end])).transitions)
        judge = Judge.restore(judge.snapshot(), rules, POINTS)
        assert judge.withdrawn == ()
    found += found_by(judge, judge.advance(100))
    assert found == expected
    assert judge.counters == undisturbed.counters


@EXAMPLES
@given(some_rules(), some_rules(), readings, readings, st.permutations(["a", "b", "c", "d"]), st.integers(1, 4))
def test_after_a_change_of_rules_and_points_what_stayed_goes_on_and_what_went_is_cleared(
    rules, other, rows, later, points, kept
):
    old_rules = rules_from({"rules": rules})
    new_rules = rules_from({"rules": rules[::2] + [r | {"id": f"n{r['id']}"} for r in other] + rules[1::2][1:]})
    new_points = points[:kept]
    judge = Judge(old_rules, POINTS)
    judge.judge(as_columns(timed(rows)))
    stood = {(t.point, t.rule): t.onset for t in judge.raised()}
    after = Judge.restore(judge.snapshot(), new_rules, new_points)
    stays = {
        (point, rule.id)
        for rule in old_rules
        for point in POINTS
        if rule in new_rules and point in new_points and (rule.points is None or point in rule.points)
    }
    assert {(t.point, t.rule): t.onset for t in after.raised()} == {k: v for k, v in stood.items() if k in stays}
    assert {(t.point, t.rule): t.onset for t in after.withdrawn} == {k: v for k, v in stood.items() if k not in stays}
    assert all(t.kind == "clear" and t.ts >= t.onset for t in after.withdrawn)
    after_rows = timed(rows + later)[len(rows) :]
    mine = [(new_points.index(POINTS[p]), *row) for p, *row in after_rows if POINTS[p] in new_points]
    found = found_by(after, after.judge(as_columns(mine)).transitions)
    undisturbed = found_by(judge, judge.judge(as_columns(after_rows)).transitions)
    assert sorted(t for t in found if t[:2] in stays) == sorted(t for t in undisturbed if t[:2] in stays)
    assert {t[1] for t in found} <= {rule.id for rule in new_rules}


def test_a_damaged_or_foreign_snapshot_is_refused():
    data = Judge(rules_from({"rules": []}), POINTS).snapshot()
    for bad, why in (
        (b"", "should begin with"),
        (b"PK" + data, "should begin with"),
        (data[:-1], "checksum"),
        (data[:40] + bytes([data[40] ^ 1]) + data[41:], "checksum"),
        (MAGIC, "checksum"),
    ):
        with pytest.raises(SnapshotFault, match=why):
            Judge.restore(bad, [], POINTS)
