"""Rules with windows: by pencil on each edge, and against the slow reference over throws of dice."""

import random
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pytest

from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.files import judge_file
from zhenan.telemetry.judge.rulefile import RulesFault, parse_rules, rules_from
from zhenan.telemetry.judge.schedule import epoch_days
from zhenan.telemetry.tests.judge_reference import Reference
from zhenan.telemetry.tests.test_judge_reference import POINTS, as_columns, comparable, found_by, taken_up_again, thrown

CITY = timezone(timedelta(hours=8))
MONDAY = datetime(2026, 3, 2, tzinfo=CITY)  # an ordinary week: Monday 2 March 2026
WORKING = ["mon", "tue", "wed", "thu", "fri"]
NIGHT = {"days": WORKING, "from": "22:00", "to": "06:00"}


def at(text):
    """Milliseconds of "mon 21:59" or "tue 06:00:01.5" in that week."""
    day, clock = text.split()
    hour, minute, second = ([float(part) for part in clock.split(":")] + [0.0])[:3]
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "mon2"].index(day)
    return round((MONDAY + timedelta(days=days, hours=hour, minutes=minute, seconds=second)).timestamp() * 1000)


def story(rule, readings, *, until=None, holidays=()):
    """The transitions of "time=value" readings, as (kind, local time)."""
    judge = Judge(rules_from({"rules": [{"id": "r", "level": 2, **rule}]}), ["p"], holidays=epoch_days(holidays))
    rows = [(0, at(when), float(value), 0) for when, value in (word.split("=") for word in readings)]
    found = list(judge.records(judge.judge(as_columns(rows)).transitions))
    if until:
        found += judge.records(judge.advance(at(until)))
    return [(t.kind, datetime.fromtimestamp(t.ts / 1000, CITY).strftime("%a %H:%M").lower()) for t in found]


HIGH = {"kind": "threshold", "above": 10}


@pytest.mark.parametrize(
    ("when", "raised"),
    [
        ("mon 21:59:59.999", False),
        ("mon 22:00", True),  # the beginning belongs to the window
        ("tue 05:59:59.999", True),
        ("tue 06:00", False),  # the end does not
        ("mon 05:00", False),  # Sunday night is not in the days, though Monday is
        ("sat 05:00", True),  # Friday night is, until Saturday
        ("sat 23:00", False),
    ],
)
def test_a_window_belongs_to_the_day_it_begins_on_and_excludes_its_end(when, raised):
    assert bool(story({**HIGH, "active": [NIGHT]}, [f"{when}=11"])) is raised


def test_a_holiday_has_no_windows_or_alone_has_them():
    tuesday = [date(2026, 3, 3)]
    without, only = {**NIGHT, "holidays": "exclude"}, {**NIGHT, "holidays": "only"}
    assert story({**HIGH, "active": [without]}, ["tue 23:00=11"], holidays=tuesday) == []
    assert story({**HIGH, "active": [without]}, ["tue 05:00=11"], holidays=tuesday) == [
        ("raise", "tue 05:00")
    ]  # Monday's
    assert story({**HIGH, "active": [only]}, ["wed 05:00=11"], holidays=tuesday) == [("raise", "wed 05:00")]
    assert story({**HIGH, "active": [only]}, ["wed 23:00=11"], holidays=tuesday) == []
    assert story({**HIGH, "active": [only]}, ["tue 23:00=11"]) == []  # no table, no holidays


def test_several_windows_a_day():
    meals = [{"from": "10:30", "to": "13:30"}, {"from": "16:30", "to": "21:00"}]
    words = ["mon 10:00=11", "mon 11:00=11", "mon 14:00=11", "mon 16:30=11", "mon 21:00=11"]
    expected = [("raise", "mon 11:00"), ("clear", "mon 14:00"), ("raise", "mon 16:30"), ("clear", "mon 21:00")]
    assert story({**HIGH, "active": meals}, words) == expected


def test_a_pending_run_ends_at_the_first_reading_outside():
    rule = {**HIGH, "for_s": 3600, "active": [{"from": "08:00", "to": "18:00"}]}
    assert story(rule, ["mon 17:30=11", "mon 18:00=11", "tue 08:00=11", "tue 08:59=11"]) == []
    assert story(rule, ["mon 17:30=11", "mon 18:00=11", "tue 08:00=11", "tue 09:00=11"]) == [("raise", "tue 09:00")]


def test_a_raised_alarm_begins_to_clear_outside_and_takes_its_time():
    rule = {**HIGH, "clear_for_s": 1800, "active": [{"from": "08:00", "to": "18:00"}]}
    words = ["mon 17:00=11", "mon 18:10=11", "mon 18:39=11", "mon 18:40=11"]
    assert story(rule, words) == [("raise", "mon 17:00"), ("clear", "mon 18:40")]
    short_gap = {**rule, "active": [{"from": "08:00", "to": "12:00"}, {"from": "12:15", "to": "18:00"}]}
    assert story(short_gap, ["mon 11:00=11", "mon 12:05=11", "mon 12:20=11", "mon 13:00=11"]) == [
        ("raise", "mon 11:00")
    ]


def test_silence_is_raised_at_the_first_moment_of_a_window_and_not_where_a_reading_came_first():
    rule = {"kind": "silence", "after_s": 3600, "active": [{"from": "08:00", "to": "18:00"}]}
    assert story(rule, ["mon 17:30=1"], until="tue 07:59") == []
    assert story(rule, ["mon 17:30=1"], until="tue 09:00") == [("raise", "tue 08:00")]
    assert story(rule, ["mon 16:00=1"], until="tue 09:00") == [("raise", "mon 17:00")]
    assert story(rule, ["mon 17:30=1", "tue 08:00=1"]) == []
    assert story(rule, ["mon 17:30=1", "tue 08:01=1"]) == [("raise", "tue 08:00"), ("clear", "tue 08:01")]
    assert story(rule, ["mon 16:00=1", "mon 20:00=1"]) == [("raise", "mon 17:00"), ("clear", "mon 20:00")]


def test_a_stuck_run_ends_outside():
    rule = {"kind": "stuck", "for_s": 7200, "count": 3, "active": [{"from": "08:00", "to": "18:00"}]}
    assert story(rule, ["mon 15:00=5", "mon 16:00=5", "mon 17:00=5", "mon 19:00=5"]) == [
        ("raise", "mon 17:00"), ("clear", "mon 19:00"),
    ]  # fmt: skip
    assert story(rule, ["mon 16:00=5", "mon 17:00=5", "mon 19:00=5", "tue 08:00=5", "tue 09:00=5"]) == []


@pytest.mark.parametrize(
    ("windows", "fault"),
    [
        ("[{from: 08:00, to: 08:00}]", "rules.r.active[0].to: the window from 08:00 to 08:00 is empty"),
        ("[{from: 8:00, to: 12:00}]", "rules.r.active[0].from: Input should be a time of day"),
        ("[{from: 08:00, to: 24:01}]", "rules.r.active[0].to: Input should be a time of day"),
        ("[{from: 24:00, to: 06:00}]", "rules.r.active[0].from: 24:00 is 00:00 of the next day"),
        ("[{days: [fry], from: 08:00, to: 12:00}]", "rules.r.active[0].days[0]: Input should be 'mon', 'tue'"),
        ("[{days: [], from: 08:00, to: 12:00}]", "rules.r.active[0].days: List should have at least 1 item"),
        ("[{days: [fri, fri], from: 08:00, to: 12:00}]", "rules.r.active[0].days: Input should name each day once"),
        ("[{from: 08:00, to: 12:00}, {from: 11:59, to: 13:00}]", "rules.r.active: windows 1 and 2 cross each other"),
        (
            "[{days: [sun, mon], from: 22:00, to: 06:00}, {days: [mon], from: 23:00, to: 24:00}]",
            "1 and 2 cross each other",
        ),
        ("[{from: 08:00, until: 12:00}]", "rules.r.active[0].until: no such key"),
        ("[]", "rules.r.active: List should have at least 1 item"),
        ("[{from: 08:00, to: 12:00, holidays: never}]", "rules.r.active[0].holidays: Input should be 'include'"),
    ],
)
def test_an_impossible_window_says_what_is_wrong_with_it(windows, fault):
    with pytest.raises(RulesFault) as caught:
        parse_rules(f"rules:\n  - {{id: r, kind: threshold, above: 1, level: 2, active: {windows}}}")
    assert any(fault in line for line in caught.value.faults), caught.value.faults


def test_windows_that_touch_or_lie_on_other_days_are_sound():
    windows = "[{from: 08:00, to: 12:00}, {from: 12:00, to: 18:00}]"
    other = "[{holidays: only, from: 00:00, to: 24:00}, {holidays: exclude, from: 08:00, to: 18:00}]"
    nights = "[{days: [sat, sun], from: 00:00, to: 24:00}, {days: [mon, tue, wed, thu, fri], from: 18:00, to: 08:00}]"
    for text in (windows, other, nights):
        assert parse_rules(f"rules:\n  - {{id: r, kind: threshold, above: 1, level: 2, active: {text}}}")


def test_a_file_is_judged_with_the_holidays_it_names(tmp_path):
    (tmp_path / "rules.yaml").write_text(
        "holidays: [2026-03-03]\nrules:\n"
        "  - {id: r, kind: threshold, above: 10, level: 2, active: [{from: 22:00, to: 06:00, holidays: exclude}]}\n"
    )
    rows = [f"p,{at(when)},11" for when in ("mon 23:00", "tue 12:00", "tue 23:00", "wed 23:00")]
    (tmp_path / "in.csv").write_text("point,ts,value\n" + "\n".join(rows) + "\n")
    judge_file(tmp_path / "rules.yaml", tmp_path / "in.csv", tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert [(line.split(",")[2], int(line.split(",")[3])) for line in lines] == [
        ("raise", at("mon 23:00")), ("clear", at("tue 12:00")), ("raise", at("wed 23:00")),
    ]  # fmt: skip


def scheduled(seed):
    """The rules and readings of `thrown` stretched so that they run over weeks, and windows for the rules."""
    dice = random.Random(seed)
    stretch = dice.choice([1, 3, 7]) * 3_600_000  # one step in hours
    rules, rows = thrown(seed)
    written = []
    for rule in rules:
        words = rule.model_dump(by_alias=True, exclude_none=True)
        for key in ("for_s", "clear_for_s", "window_s", "after_s", "max_gap_s", "per_s"):
            if key in words:
                words[key] = words[key] * stretch
        windows = dice.choice(
            [
                None,
                [{"from": "22:00", "to": "06:00", "holidays": dice.choice(["include", "exclude"])}],
                [{"from": "07:00", "to": "12:00"}, {"from": "13:00", "to": "18:30", "days": ["mon", "wed", "sun"]}],
                [{"days": ["sat", "sun"], "from": "00:00", "to": "24:00"},
                 {"days": WORKING, "from": "18:00", "to": "08:00", "holidays": "exclude"}],
                [{"from": "20:00", "to": "04:00", "holidays": "only"}],
            ]
        )  # fmt: skip
        written.append({**words, **({"active": windows} if windows else {})})
    origin = at("mon 00:00")
    return rules_from({"rules": written}), [(p, origin + ts * stretch, v, q) for p, ts, v, q in rows]


HOLIDAYS = [day for day in range(20_514, 20_700) if day % 5 in (0, 3)]  # plenty, from 2 March 2026 on


def test_the_judge_says_what_the_rules_with_windows_say_over_long_throws_of_dice():
    raises = 0
    for seed in range(150):
        rules, rows = scheduled(seed)
        reference = Reference(rules, holidays=HOLIDAYS)
        judge = Judge(rules, POINTS, holidays=np.array(HOLIDAYS))
        found = []
        for start in range(0, len(rows), 30):
            part = rows[start : start + 30]
            for p, ts, value, quality in part:
                reference.read(POINTS[p], ts, value, quality)
            found += found_by(judge, judge.judge(as_columns(part)).transitions)
            now = max(ts for _, ts, _, _ in part) + 5_400_000
            reference.clock(now)
            found += found_by(judge, judge.advance(now))
        order = lambda row: (row[3], row[0], row[1], row[2] == "clear")  # noqa: E731
        assert sorted(found, key=order) == sorted(comparable(reference.out), key=order), seed
        raises += len(found)
    assert raises > 1500


def test_a_snapshot_taken_up_again_keeps_what_windows_left_pending():
    for seed in range(60):
        rules, rows = scheduled(seed)
        taken_up_again([r for r in rules if not any(w.holidays != "include" for w in r.active or ())], rows, [30, 71])


def test_windows_cost_no_state():
    rule = "{id: a, kind: threshold, above: 1, level: 1}"
    with_windows = rule.replace("level", "active: [{from: 08:00, to: 18:00}], level")
    keys = [f"p{n}" for n in range(1000)]
    sizes = [Judge(parse_rules(f"rules: [{text}]"), keys).state.nbytes() for text in (rule, with_windows)]
    assert sizes[0] == sizes[1]


def test_three_ordinary_rules_with_windows_take_at_most_96_bytes_a_point():
    windows = "active: [{from: 08:00, to: 18:00, holidays: exclude}]"
    rules = parse_rules(
        f"rules:\n  - {{id: a, kind: threshold, above: 25, level: 2, {windows}}}\n"
        f"  - {{id: b, kind: band, low: 1, high: 9, for_s: 60, level: 3, {windows}}}\n"
        f"  - {{id: c, kind: silence, after_s: 900, level: 4, {windows}}}\n"
    )
    keys = [f"p{n}" for n in range(10_000)]
    judge = Judge(rules, keys, np.zeros(10_000, np.int64))
    assert judge.state.nbytes() / 10_000 <= 96


def test_a_rule_without_windows_keeps_the_signature_it_had():
    (rule,) = parse_rules("rules: [{id: a, kind: silence, after_s: 9, level: 1}]")
    assert "active" not in rule.signature()
