"""What holds of the running judge: compiled where nothing can be written, ids that stay, figures that can be taken."""

import re
import uuid

from bench import judge as bench

from zhenan.telemetry.judge.core import compiled
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.ids import alarm_id


def test_the_loops_are_compiled_where_no_folder_can_keep_them():
    names = {}
    exec(compile("def twice(x):\n    return 2 * x", "<nowhere>", "exec"), names)
    assert compiled()(names["twice"])(21) == 42


def test_an_alarm_has_the_same_id_everywhere_and_for_ever():
    assert alarm_id("dev-1.gas", "gas_high", 1_700_000_000_000) == uuid.UUID("5a7c1f46-6944-5485-a75b-319a72732138")
    assert alarm_id("储罐", "r", 0).version == 5


def test_alarms_that_differ_have_ids_that_differ():
    parts = [
        ("a", "bc", 1),
        ("ab", "c", 1),
        ("a", "bc", 11),
        ('a","b', "c", 1),
        ("a", 'b","c', 1),
        ("", "", 0),
        ("\ud800", "", 0),
    ]
    assert len({alarm_id(*part) for part in parts}) == len(parts)


def test_the_bench_measures_every_case_beside_its_floor():
    found = bench.measure(readings=2_000, points=100, repeats=1)
    assert [(case["order"], case["crossing"]) for case in found["cases"]] == (
        [("sequence", "none"), ("sequence", "third"), ("random", "none"), ("random", "third")]
    )
    for case in found["cases"]:
        assert case["rule_judgements_per_s"] > case["readings_per_s"] > 0
        assert case["ratio_to_copy_floor"] > 0
        assert (case["transitions"] > 0) == (case["crossing"] == "third")
    assert len(re.findall("copy floor", bench.table(found))) == 4


def test_a_judge_without_rules_or_points_still_counts():
    assert Judge([], []).advance(0).ts.tolist() == []
    assert Judge.restore(Judge([], ["a"]).snapshot(), []).keys == ["a"]
