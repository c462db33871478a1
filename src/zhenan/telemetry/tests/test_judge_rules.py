"""Rules files: what is taken, and every way to get one wrong told in a line its author can act on."""

import pytest

from zhenan.telemetry.judge.rulefile import RulesFault, load_rules, parse_rules
from zhenan.telemetry.judge.rules import MODELS

EVERY_KIND = """
rules:
  - {id: gas_high, kind: threshold, above: 25, clear: 20, for_s: 0, level: 2}
  - {id: level_low, kind: threshold, below: 0.5, clear: 0.6, for_s: 60, clear_for_s: 30, level: 3}
  - {id: temp_band, kind: band, low: 5, high: 60, for_s: 0, level: 3}
  - {id: door_state, kind: state, in: [2, 3], level: 2}
  - {id: fast_rise, kind: rate, above: 5.0, per_s: 60, max_gap_s: 300, level: 2}
  - {id: trips, kind: repeats, above: 30, count: 3, window_s: 600, level: 3}
  - {id: quiet, kind: silence, after_s: 900, level: 4}
  - {id: frozen, kind: stuck, for_s: 3600, count: 10, eps: 0.0, level: 4}
"""


def faults(text):
    with pytest.raises(RulesFault) as caught:
        parse_rules(text, "r.yaml")
    return caught.value.faults


def fault(rule):
    """The one fault of one rule."""
    found = faults(f"rules:\n- {{{rule}}}")
    assert len(found) == 1, found
    return found[0]


def test_every_kind_as_the_meaning_of_the_rules_writes_it():
    rules = parse_rules(EVERY_KIND)
    assert [rule.kind for rule in rules] == ["threshold", *MODELS]
    assert [rule.level for rule in rules] == [2, 3, 3, 2, 2, 3, 4, 4]
    assert (rules[0].above, rules[0].clear, rules[3].in_) == (25, 20, [2, 3])


def test_all_faults_are_told_at_once_with_line_key_path_and_the_nearest_word():
    assert faults(
        "rules:\n"
        "  - {id: gas, kind: treshold, above: 25, level: 2}\n"
        "  - {id: temp, kind: band, low: 5, high: 60, levle: 2, level: 9}\n"
        "  - {id: temp, kind: silence, after_s: -1, level: 4}\n"
        "rule: 3\n"
    ) == [
        "r.yaml:2: rules.gas.kind: no such kind; got 'treshold'; did you mean 'threshold'?",
        "r.yaml:3: rules.temp.level: Input should be less than or equal to 4; got 9",
        "r.yaml:3: rules.temp.levle: no such key; did you mean 'level'?",
        "r.yaml:4: rules.temp.after_s: Input should be greater than 0; got -1",
        "r.yaml:5: rule: no such key; did you mean 'rules'?",
        "r.yaml:4: rules[2].id: 'temp' is already taken",
    ]


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("threshold, above: 25, clear: 26", "clear: with above 25 it should be at most 25; got 26"),
        ("threshold, below: 5, clear: 4", "clear: with below 5 it should be at least 5; got 4"),
        ("threshold", "above: exactly one of above and below is needed; got neither"),
        ("rate, above: 1, below: 2", "above: exactly one of above and below is needed; got above 1 and below 2"),
        ("threshold, above: .nan", "above: Input should be a finite number; got nan"),
        ("threshold, above: .inf", "above: Input should be a finite number; got inf"),
        ("threshold, above: '25'", "above: Input should be a valid number; got '25'"),
        ("threshold, above: true", "above: Input should be a valid number; got True"),
        ("threshold, above: 1, for_s: -1", "for_s: Input should be greater than or equal to 0; got -1"),
        ("threshold, above: 1, for_s: 0.0001", "for_s: Input should be a whole number of milli"),
        ("threshold, above: 1, for_s: 1e12", "for_s: Input should be less than or equal to"),
        ("band, low: 5, high: 5", "low: should be less than high (5); got 5"),
        ("band, low: 5, high: 9, margin: 3", "margin: leaves nothing inside; should be at most 2; got 3"),
        ("band, low: 5, high: 9, margin: -1", "margin: Input should be greater than or equal to 0"),
        ("band, low: 5", "high: is missing"),
        ("state, in: []", "in: List should have at least 1 item"),
        ("state, in: [2.5]", "in[0]: Input should be a valid integer"),
        ("rate, above: 1, per_s: 0", "per_s: Input should be greater than 0; got 0"),
        ("repeats, above: 1, count: 0, window_s: 9", "count: Input should be greater than or equal to 1"),
        ("repeats, above: 1, count: 2, window_s: 0", "window_s: Input should be greater than 0"),
        ("silence, after_s: 0", "after_s: Input should be greater than 0; got 0"),
        ("stuck, for_s: 0, count: 1", "count: with for_s 0 every reading would be stuck"),
        ("stuck, for_s: 9, eps: -0.1", "eps: Input should be greater than or equal to 0"),
    ],
)
def test_an_impossible_rule_is_refused_with_the_reason(rule, says):
    assert f"rules.r.{says}" in fault(f"id: r, level: 1, kind: {rule}")


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (
            "id: r, kind: silence, after_s: 9, level: 0",
            "rules.r.level: Input should be greater than or equal to 1; got 0",
        ),
        ("id: r, kind: silence, after_s: 9, level: 5", "rules.r.level: Input should be less than or equal to 4; got 5"),
        ("id: r, kind: silence, after_s: 9, level: 2.0", "rules.r.level: Input should be a valid integer; got 2.0"),
        ("id: r, kind: silence, after_s: 9, level: 2, points: []", "rules.r.points: List should have at least 1 item"),
        ("id: '', kind: silence, after_s: 9, level: 2", "rules[0].id: String should have at least 1 character"),
        ('id: "a\\nb", kind: silence, after_s: 9, level: 2', "id: Input should have no control characters"),
        ("kind: silence, after_s: 9, level: 2", "r.yaml:2: rules[0].id: is missing"),
        ("id: r, after_s: 9, level: 2", "rules.r.kind: is missing; should be one of threshold, band,"),
        ("id: r, kind: silence, after_s: 9, level: 2, level: 3", "rules[0].level: is given twice"),
    ],
)
def test_a_rule_without_a_sound_id_level_kind_or_points_is_refused(rule, says):
    assert says in fault(rule)


@pytest.mark.parametrize(
    ("rule", "points"),
    [
        ("clear: 25, points: [a]", ["a"]),  # on each limit
        ("for_s: 0.001, points: [0017, on, 1_0]", ["0017", "on", "1_0"]),  # the words as written
        ("clear: -1e3", None),
    ],
)
def test_what_lies_on_the_limit_is_taken(rule, points):
    assert parse_rules(f"rules: [{{id: on, kind: threshold, above: 25, level: 4, {rule}}}]")[0].points == points


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty; should be `rules:`"),
        ("# nothing\n", "is empty; should be `rules:`"),
        ("rules", "r.yaml:1: the file: Input should be a valid dictionary"),
        ("[]", "r.yaml:1: the file: Input should be a valid dictionary"),
        ("rules: {a: 1}", "r.yaml:1: rules: Input should be a valid list"),
        ("rules: [17]", "r.yaml:1: rules[0]: Input should be a valid dictionary"),
        ("a: [", "r.yaml: not YAML: while parsing"),
        ("rules: !!python/object:os.system []", "r.yaml: not YAML: could not determine a constructor"),
        ("rules: 2024-13-45", "r.yaml: a value cannot be read: month must be in 1..12"),
        ("[" * 3000, "r.yaml: nested too deeply"),
        ("&a [*a]", "r.yaml:"),
        ("\x00", "r.yaml: not YAML"),
    ],
)
def test_a_file_that_is_no_rules_file_is_refused(text, says):
    assert says in faults(text)[0]


def test_a_few_lines_of_aliases_do_not_keep_it_busy():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]  # 9 to the 30th
    assert "rules[0]: Input should be a valid dictionary" in faults("\n".join([*lines, "rules: [*a29]"]))[0]


def test_a_file_that_is_missing_or_not_utf_8_is_told(tmp_path):
    with pytest.raises(RulesFault, match="cannot be read: No such file"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "gb.yaml").write_bytes("rules: # 规则".encode("gb18030"))
    with pytest.raises(RulesFault, match="should be UTF-8; byte 9 is not"):
        load_rules(tmp_path / "gb.yaml")
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + EVERY_KIND.encode())
    assert len(load_rules(tmp_path / "bom.yaml").rules) == 8


def test_the_signature_tells_rules_apart_but_not_where_they_look():
    one = parse_rules("rules: [{id: r, kind: silence, after_s: 9, level: 2}]")[0]
    same = parse_rules("rules: [{id: r, kind: silence, after_s: 9, level: 2, points: [a]}]")[0]
    other = parse_rules("rules: [{id: r, kind: silence, after_s: 9, level: 3}]")[0]
    assert one.signature() == same.signature() != other.signature()
