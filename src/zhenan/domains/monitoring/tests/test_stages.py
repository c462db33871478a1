"""Rules of one family on a point: one alarm that goes up and down, told again when it goes up."""

from datetime import timedelta

import pytest
from django.urls import reverse

from zhenan.domains.monitoring import episodes
from zhenan.domains.monitoring.models import Alarm, AlarmStage, DeviceCommand
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.monitoring.services import acknowledge, record_transitions
from zhenan.domains.monitoring.tests.conftest import NOON, ONSET
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.workflow.models import Deadline

PRE, ALARM, HIGH = (f"catering_gas.{name}" for name in ("gas_prealarm", "gas_alarm", "gas_high"))
LEVELS = {PRE: 3, ALARM: 2, HIGH: 1}


@pytest.fixture(autouse=True)
def one_family(monkeypatch):
    """The three gas rules as if their pack said ``family: gas``."""

    def patched(code):
        rule = rule_of(code)
        return rule.model_copy(update={"family": "gas"}) if code in LEVELS else rule

    monkeypatch.setattr(episodes, "rule_of", patched)


@pytest.fixture
def word(transition):
    """At a second after noon a rule is raised, or the one raised at ``of`` clears."""

    def make(rule, at_s, *, of=None):
        onset = ONSET + (at_s if of is None else of) * 1000
        kind = "raise" if of is None else "clear"
        return transition(kind, rule=rule, onset=onset, after_s=0 if of is None else at_s - of, level=LEVELS[rule])

    return make


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def story(words, batches):
    """Record the words in so many batches."""
    size = -(-len(words) // batches)
    for start in range(0, len(words), size):
        part = words[start : start + size]
        record_transitions(part, at=at((part[-1].ts - ONSET) / 1000))


def levels(alarm):
    """The alarm's timeline: kind and level, oldest first."""
    return [(e.kind, e.data.get("level")) for e in reversed(timeline_of(alarm)) if e.kind.startswith("alarm.")]


@pytest.fixture
def up_and_down(word):
    return [word(PRE, 0), word(ALARM, 30), word(HIGH, 60), word(HIGH, 120, of=60), word(ALARM, 200, of=30),
            word(PRE, 300, of=0)]  # fmt: skip


@pytest.mark.parametrize("batches", [1, 2, 3, 6])
def test_one_alarm_goes_up_and_down_with_its_timeline(up_and_down, batches):
    story(up_and_down, batches)
    alarm = Alarm.objects.get()
    assert levels(alarm) == [
        ("alarm.raised", 3), ("alarm.graver", 2), ("alarm.graver", 1), ("alarm.lighter", 2), ("alarm.lighter", 3),
        ("alarm.cleared", None),
    ]  # fmt: skip
    assert (alarm.onset, alarm.raised_at, alarm.cleared_at) == (NOON, NOON, at(300))
    assert (alarm.level, alarm.peak_level, alarm.rule) == (1, 1, HIGH)  # over: it shows the gravest it was
    assert AlarmStage.objects.filter(alarm=alarm).count() == 3


def test_while_it_stands_it_shows_the_gravest_stage_that_stands(up_and_down):
    seen = []
    for one in up_and_down:
        record_transitions([one], at=at((one.ts - ONSET) / 1000))
        alarm = Alarm.objects.get()
        seen.append((alarm.level, alarm.rule, alarm.cleared_at is None))
    assert seen == [(3, PRE, True), (2, ALARM, True), (1, HIGH, True), (2, ALARM, True), (3, PRE, True),
                    (1, HIGH, False)]  # fmt: skip


def test_people_are_told_again_when_it_goes_up_and_not_when_it_comes_down_or_back(word, personas):
    words = [word(PRE, 0), word(ALARM, 30), word(ALARM, 60, of=30), word(ALARM, 90), word(HIGH, 120)]
    told = []
    for one in words:
        record_transitions([one], at=at((one.ts - ONSET) / 1000))
        told.append(Notice.objects.filter(recipient=personas["grid_worker"]).count())
    assert told == [1, 2, 2, 2, 3]  # back at level 2 after level 2: known


def test_a_graver_stage_wants_its_answer_sooner(word):
    record_transitions([word(PRE, 0)], at=at(0))  # 600 s
    assert Deadline.objects.get().due_at == at(600)
    record_transitions([word(HIGH, 60)], at=at(60))  # 60 s
    assert (Deadline.objects.get().due_at, Alarm.objects.get().respond_by) == (at(120), at(120))


def test_an_answered_alarm_is_told_again_and_keeps_its_answer(word, personas):
    record_transitions([word(PRE, 0)], at=at(0))
    acknowledge(Alarm.objects.get().pk, by=personas["town_officer_here"], at=at(10))
    record_transitions([word(HIGH, 60)], at=at(60))
    alarm = Alarm.objects.get()
    assert (alarm.state, alarm.level) == ("acknowledged", 1)
    assert Deadline.objects.open().count() == 0


def test_a_graver_stage_makes_the_valve_close_once(word, valve):
    record_transitions([word(PRE, 0)], at=at(0))
    assert DeviceCommand.objects.count() == 0
    record_transitions([word(ALARM, 30)], at=at(30))
    record_transitions([word(HIGH, 60)], at=at(60))
    assert DeviceCommand.objects.count() == 1


def test_a_new_episode_after_all_is_over_is_a_new_alarm(up_and_down, word):
    story([*up_and_down, word(PRE, 900)], 1)
    assert Alarm.objects.count() == 2
    assert Alarm.objects.filter(cleared_at=None).get().level == 3


@pytest.mark.parametrize("seen", range(7))
def test_a_replay_from_any_place_gives_the_same(up_and_down, seen):
    story(up_and_down[:seen], 1) if seen else None
    story(up_and_down, 2)
    alarm = Alarm.objects.get()
    assert (alarm.level, alarm.peak_level, alarm.cleared_at) == (1, 1, at(300))
    assert [kind for kind, _level in levels(alarm)].count("alarm.graver") == 2
    assert AlarmStage.objects.count() == 3


def test_the_page_shows_the_stages(client, up_and_down, personas):
    story(up_and_down, 6)
    client.force_login(personas["city_officer"], backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("monitoring:alarm", args=[Alarm.objects.get().pk])).content.decode()
    assert all(name in page for name in ("燃气浓度预警", "燃气泄漏报警", "燃气浓度高报"))
