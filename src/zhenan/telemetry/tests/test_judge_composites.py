"""Alarms made of alarms: by pencil, in files, and the same after any cut and restore."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge.composites import Composer, Composite
from zhenan.telemetry.judge.files import judge_file
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.results import Transition
from zhenan.telemetry.judge.rulefile import RulesFault, parse_file, rules_from
from zhenan.telemetry.judge.table import Groups

BOTH = Composite(id="fire", level=1, kind="all_of", rules=["smoke", "heat"])
SOON = Composite(id="fire", level=1, kind="all_of", rules=["smoke", "heat"], within_s=60)
TWO_OF_THREE = Composite(id="fire", level=1, kind="n_of", n=2, rules=["smoke", "heat", "button"])


def story(composite, text):
    """Words such as "smoke@5 heat@9 -smoke@20" (a minus clears; a slash names the point) → what it says."""
    composer, onsets, found = Composer([composite], {"p": "S", "q": "S", "other": "T"}), {}, []
    for word in text.split():
        name, _, second = word.removeprefix("-").partition("@")
        rule, _, point = name.partition("/")
        ts, point = int(second) * 1000, point or "p"
        kind = "clear" if word.startswith("-") else "raise"
        onset = onsets.setdefault((rule, point), ts) if kind == "raise" else onsets.pop((rule, point))
        found += composer.feed([Transition(point, rule, kind, ts, onset, 1.0, 2)])
    return " ".join(f"{t.kind}@{t.ts // 1000}" for t in found if t.rule == "fire")


@pytest.mark.parametrize(
    ("composite", "words", "said"),
    [
        (BOTH, "smoke@5 heat@9", "raise@9"),
        (BOTH, "smoke@5 heat@9 -smoke@20 smoke@30 -heat@40", "raise@9 clear@20 raise@30 clear@40"),
        (BOTH, "smoke@5 -smoke@6 heat@9", ""),  # never at the same time
        (BOTH, "smoke@5 heat/other@9", ""),  # not at one subject
        (
            BOTH,
            "smoke@5 heat/q@9 heat@10 -heat/q@12 -heat@14",
            "raise@9 clear@14",
        ),  # a part stands while any of its does
        (BOTH, "heat@9 smoke@5", "raise@9"),  # a late one moves no clock back
        (SOON, "smoke@5 -smoke@6 heat@65 -heat@70", "raise@65 clear@70"),  # 60 s after: within
        (SOON, "smoke@5 heat@66", ""),  # 61 s after: not, though smoke still stands
        (SOON, "smoke@5 heat@9 -smoke@20 -heat@30", "raise@9 clear@30"),  # over when none stands
        (SOON, "smoke@5 heat@9 -smoke@20 -heat@30 smoke@31", "raise@9 clear@30"),  # heat@9 is used up
        (TWO_OF_THREE, "button@1 heat@2 smoke@3 -button@4 -heat@5", "raise@2 clear@5"),
    ],
)
def test_by_pencil(composite, words, said):
    assert story(composite, words) == said


def test_it_says_what_it_is_made_of():
    composer = Composer([BOTH], {"p": "S", "q": "S"})
    composer.feed([Transition("p", "smoke", "raise", 5000, 4000, 1.0, 2)])
    (_heat, fire) = composer.feed([Transition("q", "heat", "raise", 9000, 9000, 7.0, 2)])
    assert (fire.point, fire.value, fire.level, fire.onset) == ("q", 7.0, 1, 9000)
    assert [tuple(part) for part in fire.parts] == [("smoke", "p", 4000), ("heat", "q", 9000)]


def test_two_episodes_at_one_moment_have_two_identities():
    composer = Composer([BOTH])
    words = [("smoke", "raise"), ("heat", "raise"), ("heat", "clear"), ("heat", "raise")]
    found = composer.feed([Transition("p", rule, kind, 5000, 5000, 1.0, 2) for rule, kind in words])
    raised = [alarm_id(t.point, t.rule, t.onset) for t in found if (t.rule, t.kind) == ("fire", "raise")]
    assert len(raised) == len(set(raised)) == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{id: c, kind: all_of, rules: [a], level: 1}", "composites.c.rules: List should have at least 2"),
        ("{id: c, kind: all_of, rules: [a, a], level: 1}", "composites.c.rules: each rule is named once"),
        ("{id: c, kind: n_of, rules: [a, b], level: 1}", "composites.c.n: of 2 rules n should be 2 to 2; got nothing"),
        ("{id: c, kind: n_of, n: 3, rules: [a, b], level: 1}", "n should be 2 to 2; got 3"),
        ("{id: c, kind: all_of, n: 2, rules: [a, b], level: 1}", "for fewer write kind n_of"),
        ("{id: c, kind: all_of, rules: [a, x], level: 1}", "no rule 'x' in this file"),
        ("{id: a, kind: all_of, rules: [a, b], level: 1}", "'a' is already taken by a rule"),
        ("{id: c, kind: all_of, rules: [a, b], level: 1, withn_s: 5}", "did you mean 'within_s'?"),
        ("{id: c, kind: all_of, rules: [a, b], level: 1, within_s: 0}", "greater than 0"),
    ],
)
def test_an_impossible_composite_says_what_is_wrong(text, fault):
    rules = "rules: [{id: a, kind: silence, after_s: 9, level: 1}, {id: b, kind: silence, after_s: 9, level: 1}]"
    with pytest.raises(RulesFault) as caught:
        parse_file(f"{rules}\ncomposites: [{text}]")
    assert any(fault in line for line in caught.value.faults), caught.value.faults


def test_a_point_is_at_one_subject():
    with pytest.raises(RulesFault, match="point 'p' is at 'A' and at 'B'"):
        parse_file("rules: []\nsubjects: {A: [p], B: [p]}")


def test_in_a_file_points_are_judged_together_by_subject(tmp_path):
    (tmp_path / "rules.yaml").write_text(
        "rules:\n  - {id: hot, kind: threshold, above: 60, level: 3, points: [t1, t2]}\n"
        "  - {id: gas, kind: threshold, above: 25, level: 2, points: [g1, g2]}\n"
        "composites: [{id: leak_burns, kind: all_of, rules: [hot, gas], level: 1}]\n"
        "subjects: {kitchen: [t1, g1], hall: [t2, g2]}\n"
    )
    rows = ["g1,9000,30", "t1,5000,70", "t2,6000,70", "g1,20000,1"]  # not in order of time across points
    (tmp_path / "in.csv").write_text("point,ts,value\n" + "\n".join(rows) + "\n")
    summary = judge_file(tmp_path / "rules.yaml", tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1:] == [
        "t1,hot,raise,5000,5000,70,3", "t2,hot,raise,6000,6000,70,3", "g1,gas,raise,9000,9000,30,2",
        "g1,leak_burns,raise,9000,9000,30,1", "g1,gas,clear,20000,9000,1,2", "g1,leak_burns,clear,20000,9000,1,1",
    ]  # fmt: skip
    assert (summary.raises, summary.clears) == (4, 2)


RULES = rules_from(
    {
        "rules": [
            {"id": "smoke", "kind": "threshold", "above": 5, "level": 2},
            {"id": "heat", "kind": "threshold", "above": 8, "level": 2},
            {"id": "button", "kind": "state", "in": [1], "level": 2},
        ]
    }
)


def setup(*composites, rules=RULES, points=("1", "2", "3", "4")):
    return SimpleNamespace(
        stamp="1", rules=rules, points=list(points), registered_at=np.zeros(len(points), np.int64),
        holidays=np.empty(0, np.int64), groups=None, composites=composites, subjects={"1": "S", "2": "S", "3": "T"},
    )  # fmt: skip


def thrown(seed, count=80):
    dice = random.Random(seed)
    return [(dice.randint(1, 4), n * 7000 + dice.randint(0, 20_000), float(dice.randint(0, 9))) for n in range(count)]


def as_columns(rows):
    point, ts, value = zip(*rows, strict=True)
    return Columns.of(list(point), list(ts), list(value), [0] * len(rows))


@pytest.mark.parametrize("seed", range(40))
def test_any_cut_and_restore_gives_the_same(seed):
    given = setup(BOTH.model_copy(update={"id": "both"}), SOON, TWO_OF_THREE.model_copy(update={"id": "two"}))
    rows = thrown(seed)
    undisturbed = LiveJudge(given).judge(as_columns(rows), 1)
    assert any(t.rule == "fire" for t in undisturbed)
    cuts = sorted(random.Random(seed).sample(range(1, len(rows)), 3))
    live, found = LiveJudge(given), []
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        found += live.judge(as_columns(rows[start:end]), end)
        live = LiveJudge.resume([live.save()], given)
        assert live.pending == []
    assert found == undisturbed


def test_a_composite_that_is_gone_or_changed_clears_what_it_raised_and_others_go_on():
    live = LiveJudge(setup(BOTH.model_copy(update={"id": "both"}), SOON))
    rows = [(1, 1000, 9.0)]  # smoke and heat at once
    assert [t.rule for t in live.judge(as_columns(rows), 1)] == ["smoke", "heat", "both", "fire"]
    gone = live.change(setup(BOTH.model_copy(update={"id": "both"})))
    assert [(t.rule, t.kind, t.onset) for t in gone] == [("fire", "clear", 1000)]
    assert live.pending == gone
    cleared = live.judge(as_columns([(1, 9000, 2.0)]), 2)
    assert [(t.rule, t.kind) for t in cleared] == [("smoke", "clear"), ("both", "clear"), ("heat", "clear")]


def test_a_new_composite_knows_what_stands_already():
    live = LiveJudge(setup())
    live.judge(as_columns([(1, 1000, 6.0)]), 1)  # smoke stands at S
    assert live.change(setup(BOTH)) == []
    found = live.judge(as_columns([(2, 2000, 9.0)]), 2)
    assert ("fire", "raise") in [(t.rule, t.kind) for t in found]


def test_a_rule_taken_away_clears_the_composite_made_of_it():
    live = LiveJudge(setup(BOTH))
    live.judge(as_columns([(1, 1000, 9.0)]), 1)
    gone = live.change(setup(BOTH, rules=RULES[1:]))
    assert sorted((t.rule, t.kind) for t in gone) == [("fire", "clear"), ("smoke", "clear")]


PRESSED = Composite(id="fire", level=1, kind="all_of", rules=["smoke", "button"])


def test_a_device_that_leaves_the_register_takes_its_part_of_a_composite_with_it():
    live = LiveJudge(setup(PRESSED))
    live.judge(as_columns([(1, 1000, 6.0)]), 1)  # smoke at 1
    assert [t.rule for t in live.judge(as_columns([(2, 2000, 1.0)]), 2)] == ["button", "fire"]
    left = setup(PRESSED, points=("2", "3", "4"))
    left.subjects = {"2": "S", "3": "T"}
    assert [(t.rule, t.kind) for t in live.change(left)] == [("smoke", "clear"), ("fire", "clear")]


def test_a_composite_is_not_raised_on_a_part_whose_device_has_left():
    live = LiveJudge(setup(PRESSED))
    live.judge(as_columns([(1, 1000, 6.0)]), 1)
    left = setup(PRESSED, points=("2", "3", "4"))
    left.subjects = {"2": "S", "3": "T"}
    live = LiveJudge.resume([live.save()], left)
    assert [(t.rule, t.kind) for t in live.pending] == [("smoke", "clear")]
    assert [t.rule for t in live.judge(as_columns([(2, 2000, 1.0)]), 2)] == ["button"]


def test_groups_say_what_the_rules_points_say():
    rules = rules_from({"rules": [{"id": "a", "kind": "threshold", "above": 5, "level": 2, "points": ["1", "3"]}]})
    by_points = LiveJudge(setup(rules=rules))
    by_groups_setup = setup(rules=rules)
    by_groups_setup.groups = Groups([(0,), ()], np.array([0, 1, 0, 1], np.int32))
    by_groups = LiveJudge(by_groups_setup)
    rows = thrown(3)
    assert by_groups.judge(as_columns(rows), 1) == by_points.judge(as_columns(rows), 1)
    by_groups_setup.groups = Groups([(0,), ()], np.array([0, 1, 2, 1], np.int32))
    with pytest.raises(ValueError, match="groups must give each of 4 points one of 2 groups"):
        LiveJudge(by_groups_setup)
