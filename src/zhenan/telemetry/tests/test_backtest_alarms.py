"""Composites, staged alarms, windows and long waits over history: as the live judge would have had them."""

from types import SimpleNamespace

import numpy as np
import pytest

from zhenan.telemetry.backtest.alarms import NO_STAGE, Composed, Staged
from zhenan.telemetry.backtest.found import OPEN, Found
from zhenan.telemetry.backtest.plan import LEAD_MS, Plan, cut, lead_of
from zhenan.telemetry.backtest.pool import run_all
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.table import DAY_MS
from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.rules import Silence, Threshold
from zhenan.telemetry.judge.schedule import Window
from zhenan.telemetry.tests.test_backtest import DAY, HIGH, S, write

GAS = Threshold(id="gas", kind="threshold", above=20.0, level=2, points=["1", "4"])
HEAT = Threshold(id="heat", kind="threshold", above=60.0, level=3, points=["2", "5"])
SMOKE = Threshold(id="smoke", kind="threshold", above=1.0, level=3, points=["3", "6"])
PARTS = (GAS, HEAT, SMOKE)
NAMES = [rule.id for rule in PARTS]
SUBJECTS = {1: 10, 2: 10, 3: 10, 4: 11, 5: 11, 6: 11}
BOTH = Composite(id="standing", level=1, kind="n_of", rules=NAMES, n=2)
SOON = Composite(id="changed", level=1, kind="all_of", rules=NAMES[:2], within_s=60)


def composed(folder, parts=1):
    points = np.array(list(SUBJECTS), np.int32)
    together = np.array(list(SUBJECTS.values()), np.int64)
    plan = Plan(
        str(folder), PARTS, points, DAY, DAY + DAY_MS, together=together, second=Composed((BOTH, SOON), SUBJECTS)
    )
    return rows(plan, parts)


def rows(plan, parts=1):
    f = Found.joined([outcome.found for outcome in run_all(plan.tasks(parts), at_once=1)])
    columns = (f.rule, f.point, f.raised, f.cleared, f.level, f.steps)
    return [
        (version, point, (at - DAY) // S, None if end == OPEN else (end - DAY) // S, level, steps)
        for version, point, at, end, level, steps in zip(*(c.tolist() for c in columns), strict=True)
    ]


def test_a_composite_is_raised_by_the_alarms_of_one_subject_in_either_version(tmp_path):
    write(tmp_path, [
        (1, DAY + 10 * S, 30), (5, DAY + 15 * S, 70), (2, DAY + 30 * S, 70), (1, DAY + 40 * S, 5),
        (2, DAY + 50 * S, 20), (6, DAY + 90 * S, 2), (4, DAY + 200 * S, 30),
    ])  # fmt: skip
    assert composed(tmp_path) == composed(tmp_path, parts=2) == [
        (0, 2, 30, 40, 1, 0),  # gas and heat at 10; over when gas clears
        (1, 2, 30, 50, 1, 0),  # within a minute; over when neither stands
        (0, 6, 90, None, 1, 0),  # heat and smoke at 11
    ]  # fmt: skip


def test_composites_over_history_are_those_of_the_live_judge(tmp_path):
    rng = np.random.default_rng(11)
    readings: list[tuple[int, int, float]] = []
    most = {1: 25.0, 2: 75.0, 3: 1.3, 4: 25.0, 5: 75.0, 6: 1.3}
    for t in range(600):
        readings += [(p, DAY + t * 20 * S + p, float(rng.uniform(0, most[p]))) for p in most]
    write(tmp_path, readings)
    setup = SimpleNamespace(
        stamp="", rules=PARTS, points=[str(p) for p in SUBJECTS], registered_at=None, holidays=None, groups=None,
        composites=(BOTH, SOON), subjects={str(p): str(s) for p, s in SUBJECTS.items()},
    )  # fmt: skip
    live, said = LiveJudge(setup), []
    for start in range(0, len(readings), 50):
        point, ts, value = zip(*readings[start : start + 50], strict=True)
        said += live.judge(Columns.of(point, ts, value, [0] * len(point)), start + 1)
    names = {"standing": 0, "changed": 1}
    raised = sorted((names[t.rule], int(t.point), t.ts) for t in said if t.rule in names and t.kind == "raise")
    ends = sorted((names[t.rule], int(t.point), t.ts) for t in said if t.rule in names and t.kind == "clear")
    assert len(raised) > 40
    found = composed(tmp_path, parts=2)
    assert sorted((version, point, at) for version, point, at, *_ in found) == [
        (version, point, (ts - DAY) // S) for version, point, ts in raised
    ]
    assert sorted((v, p, end) for v, p, _at, end, *_ in found if end is not None) == [
        (version, point, (ts - DAY) // S) for version, point, ts in ends
    ]


def test_a_family_is_one_alarm_that_grows_graver_and_ends_with_its_last_stage(tmp_path):
    low, mid, top = (
        Threshold(id=f"a{level}", kind="threshold", above=above, level=level)
        for level, above in ((3, 10.0), (2, 20.0), (1, 50.0))
    )
    later = mid.model_copy(update={"id": "b2", "above": 25.0})
    values = [(10, 12), (20, 22), (30, 55), (40, 22), (50, 26), (60, 12), (70, 5), (80, 21), (90, 3)]
    write(tmp_path, [(1, DAY + at * S, value) for at, value in values])
    plan = Plan(
        str(tmp_path), (low, mid, top, low.model_copy(update={"id": "b3"}), later), np.array([1], np.int32), DAY,
        DAY + DAY_MS, second=Staged((0, 0, 0, 1, 1)),
    )  # fmt: skip
    assert rows(plan) == [
        (0, 1, 10, 70, 1, 2), (1, 1, 10, 70, 2, 1),
        (0, 1, 80, 90, 2, 1), (1, 1, 80, 90, 3, 0),
    ]  # fmt: skip


def test_a_stage_made_of_alarms_is_a_stage_at_the_point_that_completed_it_in_either_version(tmp_path):
    values = [(1, 10, 30), (2, 30, 70), (1, 40, 5), (2, 50, 20), (2, 100, 70), (1, 110, 30), (1, 130, 5), (2, 140, 20)]
    write(tmp_path, [(point, DAY + at * S, value) for point, at, value in values])
    later = GAS.model_copy(update={"id": "gas2", "above": 31.0})  # as tried it is never raised, nor what it is part of
    both = Composite(id="both", level=1, kind="all_of", rules=["gas", "heat"])
    tried = both.model_copy(update={"id": "both2", "rules": ["gas2", "heat"]})
    staged = Staged((0, NO_STAGE, 1, 0, 1), (both, tried), {1: 10, 2: 10})
    plan = Plan(
        str(tmp_path), (GAS, HEAT, later), np.array([1, 2], np.int32), DAY, DAY + DAY_MS,
        together=np.array([10, 10], np.int64), second=staged,
    )  # fmt: skip
    assert rows(plan) == [
        (0, 1, 10, 40, 2, 0),  # the gas alone
        (0, 2, 30, 40, 1, 0),  # the heat completed it; over when the gas clears
        (0, 1, 110, 130, 1, 1),  # the gas completed it: a step of its alarm
    ]


def test_a_window_keeps_off_holidays_as_the_live_judge_does(tmp_path):
    write(tmp_path, [(1, DAY + 3600 * S, 30)])
    rule = HIGH.model_copy(
        update={"active": [Window.model_validate({"from": "00:00", "to": "24:00", "holidays": "exclude"})]}
    )
    plan = Plan(str(tmp_path), (rule,), np.array([1], np.int32), DAY, DAY + DAY_MS)
    assert len(rows(plan)) == 1
    off = np.array([DAY // DAY_MS], np.int64)
    assert rows(Plan(str(tmp_path), (rule,), plan.points, DAY, DAY + DAY_MS, holidays=off)) == []


@pytest.mark.parametrize(
    ("rules", "days"), [((HIGH,), 1), ((HIGH, Silence(id="q", kind="silence", after_s=3 * 86_400, level=4)), 4),
                        ((HIGH, SOON), 1 + 60 / 86_400)],
)  # fmt: skip
def test_judging_begins_early_enough_for_the_longest_wait_of_a_rule(rules, days):
    assert lead_of(rules) == round(days * LEAD_MS)


def test_what_belongs_together_is_cut_into_one_task():
    groups = np.array([5, 7, 5, 9, 7, 5], np.int64)
    assert [sorted(piece.tolist()) for piece in cut(groups, 2)] == [[0, 1, 2, 4, 5], [3]]
    assert [sorted(piece.tolist()) for piece in cut(groups, 9)] == [[0, 2, 5], [1, 4], [3]]
    assert cut(np.empty(0, np.int64), 3) == []
