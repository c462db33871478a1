"""From transitions to alarms: once each, told once, deadlines opened, the valve told to close."""

from copy import copy
from datetime import timedelta

from django.db import IntegrityError
from django.urls import reverse

from zhenan.domains.monitoring import recording
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import Alarm, DeviceCommand, Point
from zhenan.domains.monitoring.queries import gateway_points, judge_setup
from zhenan.domains.monitoring.services import record_transitions
from zhenan.domains.monitoring.tests.conftest import NOON, ONSET
from zhenan.kernel.events.models import Event
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import tick
from zhenan.packkit.registry import registry
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Part


def test_a_raise_makes_one_alarm_that_explains_itself(transition, detector):
    done = record_transitions([transition()], at=NOON)
    alarm = Alarm.objects.get()
    assert done.raised == [alarm.pk]
    assert (alarm.level, alarm.value, alarm.onset, alarm.state) == (2, 22.0, NOON, "raised")
    assert alarm.rule_spec["rule"]["above"] == 20
    assert alarm.respond_by == NOON + timedelta(seconds=180)


def test_a_replay_changes_nothing(transition):
    words = [transition(), transition("clear", after_s=90, value=3.0)]
    record_transitions(words, at=NOON)
    counts = (Alarm.objects.count(), Event.objects.count(), Notice.objects.count(), Deadline.objects.count())
    again = record_transitions(words, at=NOON + timedelta(minutes=5))
    assert (again.raised, again.cleared, again.commands) == ([], [], [])
    assert (Alarm.objects.count(), Event.objects.count(), Notice.objects.count(), Deadline.objects.count()) == counts
    assert Alarm.objects.get().cleared_at == NOON + timedelta(seconds=90)


def test_of_two_judges_that_write_an_alarm_at_once_one_tells_of_it(transition, monkeypatch):
    """The other's row is committed while this one writes: the database refuses, and the second look knows it."""
    real, fresh = recording.Episodes, []

    class Racing(real):
        def __init__(self, *given):
            Alarm.objects.bulk_create([copy(alarm) for alarm in fresh])
            super().__init__(*given)

        def write(self):
            if fresh:
                return super().write()
            fresh.extend(self.fresh)
            raise IntegrityError("duplicate key value violates unique constraint")

    monkeypatch.setattr(recording, "Episodes", Racing)
    done = recording.record_transitions([transition()], at=NOON)
    assert (done.raised, done.commands) == ([], [])
    assert [alarm.pk for alarm in Alarm.objects.all()] == [alarm.pk for alarm in fresh]
    told = Event.objects.filter(kind="alarm.raised").count()
    assert (told, Notice.objects.count(), Deadline.objects.count()) == (0, 0, 0)


def test_those_whom_the_rule_names_are_told_once(transition):
    record_transitions([transition()], at=NOON)
    told = set(Notice.objects.values_list("recipient__username", flat=True))
    assert told == {
        "enterprise_head_here",
        "enterprise_safety_here",
        "grid_worker",
        "town_officer_here",
        "town_officer_2_here",
    }


def test_the_rule_tells_the_valve_to_close_once(transition, valve):
    record_transitions([transition()], at=NOON)
    record_transitions([transition()], at=NOON)
    command = DeviceCommand.objects.get()
    assert (command.device, command.command, command.payload) == (valve, "close", {"valve": "closed"})


def test_an_alarm_nobody_answers_climbs_to_the_district(transition):
    record_transitions([transition()], at=NOON)
    tick(NOON + timedelta(minutes=3 + 15))
    climbed = Notice.objects.filter(kind="deadline.alarm.respond", recipient__username="district_officer_here")
    assert climbed.count() == 1


def test_the_gateway_and_the_judge_know_the_points(detector):
    rows = {row.channel: row for row in gateway_points()}
    assert rows["lel"].device_key == "GD0001"
    assert (rows["lel"].low, rows["lel"].high) == (0, 100)
    assert rows["linkage"].states == {"idle": 0.0, "acted": 1.0, "failed": 2.0}
    setup = judge_setup()
    group = setup.groups.of[setup.points.index(str(rows["lel"].point_id))]
    gas = {setup.rules[number].id for number in setup.groups.rules[group]}
    assert {"catering_gas.gas_alarm", "catering_gas.gas_high", "catering_gas.detector_offline"} <= gas


def test_gateway_and_judge_put_all_points_of_a_subject_into_one_lane(caterer, detector, valve):
    next_door = copy(caterer)
    next_door.pk, next_door.key = None, "C2"
    next_door.save()
    behind = register_device(
        subject=next_door, model="catering_gas.gas_detector", key="T1", name="终端", by=None, at=NOON, parent=detector
    )
    spread, setup = Registry(gateway_points()).partition, judge_setup()
    assert {int(point): partition for point, partition in zip(setup.points, setup.partition, strict=True)} == {
        point.pk: spread[point.pk] for point in Point.objects.all()
    }
    lanes = {
        device: {int(spread[pk]) for pk in device.points.values_list("pk", flat=True)}
        for device in (detector, valve, behind)
    }
    here, there = caterer.pk % 64, next_door.pk % 64
    assert here != there
    assert lanes == {detector: {here}, valve: {here}, behind: {there}}  # also on the connection of a device elsewhere


def test_a_transition_of_a_point_that_is_gone_is_counted(transition):
    gone = transition()._replace(point="999999")
    assert record_transitions([gone], at=NOON).unknown == 1


def test_a_composite_is_an_alarm_that_names_what_it_is_made_of(transition, client, personas):
    parts = (Part("catering_gas.gas_alarm", transition().point, ONSET), Part("catering_gas.co_alarm", "9", ONSET - 5))
    whole = transition(rule="catering_gas.gas_and_co", level=1)._replace(parts=parts)
    record_transitions([transition(), whole], at=NOON)
    alarm = Alarm.objects.get(rule="catering_gas.gas_and_co")
    assert [part["rule"] for part in alarm.parts] == ["catering_gas.gas_alarm", "catering_gas.co_alarm"]
    assert Alarm.objects.count() == 2
    client.force_login(personas["city_officer"], backend="django.contrib.auth.backends.ModelBackend")
    page = client.get(reverse("monitoring:alarm", args=[alarm.pk])).content.decode()
    assert "燃气泄漏报警 + 一氧化碳报警" in page


def test_the_judge_gets_composites_with_their_subjects_and_holidays(detector, monkeypatch):
    fire = registry().alarm_rule("catering_gas.gas_alarm").model_copy(
        update={
            "id": "catering_gas.leak", "rule": {"kind": "all_of", "rules": ["gas_alarm", "co_alarm"]}, "level": 1,
        }
    )  # fmt: skip
    known = registry().alarm_rules()
    monkeypatch.setattr(type(registry()), "alarm_rules", lambda self, pack=None: [*known, fire])
    setup = judge_setup()
    (one,) = (composite for composite in setup.composites if composite.id == fire.id)
    assert (one.id, one.rules) == ("catering_gas.leak", ["catering_gas.gas_alarm", "catering_gas.co_alarm"])
    point = detector.points.get(measure="gas_lel")
    assert setup.subjects[str(point.pk)] == str(detector.subject_id)
    looking = rules_at_points(Judge(setup.rules, setup.points, groups=setup.groups))
    assert {key: {setup.rules[n].id for n in rules} for key, rules in zip(setup.points, looking, strict=True)} == {
        str(pk): {rule.code for rule in registry().rules_for(model, measure)}
        for pk, model, measure in Point.objects.values_list("pk", "device__model", "measure")
    }
    assert setup.holidays.size > 20


def rules_at_points(judge):
    """The numbers of the rules that look at each point."""
    table = judge.table
    return [set(table.rules[table.starts[p] : table.starts[p + 1]].tolist()) for p in judge.state.profile]


def test_an_alarm_that_no_reading_ended_says_why_and_not_that_readings_are_normal(transition, client, personas):
    record_transitions([transition(), transition("clear", after_s=90, value=3.0)._replace(why="rule")], at=NOON)
    alarm = Alarm.objects.get()
    assert alarm.cleared_at == NOON + timedelta(seconds=90)
    events = Event.objects.filter(kind__in=["alarm.cleared", "alarm.withdrawn"])
    assert [(event.kind, event.data["withdrawn"]) for event in events] == [("alarm.withdrawn", "rule")]
    client.force_login(personas["town_officer_here"])
    page = client.get(reverse("monitoring:alarm", args=[alarm.pk])).content.decode()
    assert page.count("规则已变更，或不再适用于该设备") == 2  # in its head and on its timeline
    assert "读数" not in page.partition("时间线")[0].partition("alarm-grid")[2].partition("</section>")[0]


def test_a_stage_that_is_withdrawn_leaves_the_alarm_to_the_other(transition):
    high = transition(rule="catering_gas.gas_high", value=55.0, level=1)
    record_transitions([transition(), high], at=NOON)
    record_transitions([high._replace(kind="clear", why="rule")], at=NOON)
    alarm = Alarm.objects.get()
    assert (alarm.level, alarm.cleared_at) == (2, None)
    assert Event.objects.get(kind="alarm.stage_withdrawn").data["withdrawn"] == "rule"
    assert not Event.objects.filter(kind="alarm.lighter").exists()
