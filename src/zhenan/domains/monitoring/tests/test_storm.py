"""Many alarms at once: a number of statements that does not grow, summaries instead of a flood, nothing told twice."""

import contextlib
import gc
from datetime import timedelta
from itertools import product

from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from zhenan.domains.monitoring import recording
from zhenan.domains.monitoring.limits import TOLD_SINGLY
from zhenan.domains.monitoring.models import Alarm, StormSummary
from zhenan.domains.monitoring.services import record_transitions
from zhenan.domains.monitoring.tests.conftest import NOON, ONSET, raises
from zhenan.kernel.events.models import Event, key_of
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.people.queries import Holders, holders_of
from zhenan.kernel.people.roles import roles
from zhenan.kernel.workflow.models import Deadline


def statements_for(transitions):
    with CaptureQueriesContext(connection) as asked:
        record_transitions(transitions, at=NOON)
    return len(asked)


def test_a_batch_costs_as_many_statements_for_five_hundred_alarms_as_for_a_hundred(detectors):
    record_transitions(raises(detectors(30)), at=NOON)  # from here on summaries grow
    few, many = detectors(100), detectors(recording.AT_ONCE)
    assert statements_for(raises(many)) == statements_for(raises(few)) < 35
    assert statements_for(raises(many, kind="clear", after_s=9)) == statements_for(raises(few, kind="clear", after_s=9))
    assert Alarm.objects.exclude(cleared_at=None).count() == 600


def test_more_than_a_batch_takes_is_recorded_in_several_each_seen_at_once(detectors, monkeypatch):
    monkeypatch.setattr(recording, "AT_ONCE", 20)
    points = detectors(50)
    words = [*raises(points), *raises(points, kind="clear", after_s=9)]
    done = record_transitions(words, at=NOON)
    assert (len(done.raised), len(done.cleared)) == (
        50,
        50,
    )  # a clear comes in a later one than its raise
    alarms = Alarm.objects.filter(cleared_at=NOON + timedelta(seconds=9))
    assert alarms.count() == Deadline.objects.count() == Event.objects.filter(kind="alarm.cleared").count() == 50
    assert StormSummary.objects.get(recipient__username="grid_worker").count == 40


def test_a_storm_is_told_one_by_one_up_to_a_bound_and_then_as_one_summary(detectors, personas):
    record_transitions(raises(detectors(25)), at=NOON)
    record_transitions(raises(detectors(5), onset=ONSET + 9000), at=NOON + timedelta(seconds=9))
    mine = Notice.objects.filter(recipient=personas["grid_worker"])
    assert mine.filter(kind="alarm.raised").count() == TOLD_SINGLY
    summary = mine.get(kind="alarm.storm")
    assert "20" in summary.title  # 30 alarms, 10 of them told singly
    folded = Alarm.objects.filter(summaries__contains=[summary.key])
    assert folded.count() == StormSummary.objects.get(key=summary.key).count == 20
    assert summary.url.endswith(f"?summary={summary.key}")
    assert Deadline.objects.filter(kind="alarm.respond").count() == Event.objects.filter(kind="alarm.raised").count()
    assert Deadline.objects.filter(kind="alarm.respond").count() == 30  # each alarm has its own


def test_a_grave_alarm_is_told_by_itself_in_the_midst_of_a_storm_of_light_ones(detectors, personas):
    record_transitions(raises(detectors(40), level=2), at=NOON)
    record_transitions(raises(detectors(1), level=1, rule="catering_gas.gas_high"), at=NOON + timedelta(seconds=5))
    grave = Alarm.objects.get(level=1)
    assert Notice.objects.filter(recipient=personas["grid_worker"], target=key_of(grave)).count() == 1


def test_the_next_minute_begins_anew(detectors, personas):
    record_transitions(raises(detectors(40)), at=NOON)
    record_transitions(raises(detectors(1), onset=ONSET + 70_000), at=NOON + timedelta(seconds=70))
    last = Alarm.objects.order_by("raised_at").last()
    assert Notice.objects.filter(recipient=personas["grid_worker"], target=key_of(last)).count() == 1


def test_a_storm_that_comes_again_tells_nobody_twice(detectors):
    words = raises(detectors(30))
    record_transitions(words, at=NOON)
    before = sorted(Notice.objects.values_list("recipient", "key", "title"))
    assert record_transitions(words, at=NOON + timedelta(seconds=20)).raised == []
    assert sorted(Notice.objects.values_list("recipient", "key", "title")) == before


def test_an_alarm_of_a_storm_has_all_that_a_single_one_has(detectors, caterer, personas):
    """Whatever is copied by the hundred: each column written by hand."""
    points = detectors(40)
    record_transitions(raises(points), at=NOON)
    alarm = Alarm.objects.get(point=points[33])
    assert (alarm.device_id, alarm.subject, alarm.programme) == (points[33].device_id, caterer, "catering_gas")
    assert (alarm.rule, alarm.measure, alarm.level, alarm.peak_level) == ("catering_gas.gas_alarm", "gas_lel", 2, None)
    assert (alarm.value, alarm.onset, alarm.raised_at, alarm.cleared_at) == (22.0, NOON, NOON, None)
    assert (alarm.state, alarm.cause, alarm.note, alarm.parts) == ("raised", "", "", [])
    assert (alarm.rule_spec["respond_s"], alarm.rule_spec["rule"]["above"]) == (180, 20)
    stage = alarm.stages.get()
    assert (stage.id, stage.family, stage.point, stage.level) == (alarm.pk, "catering_gas.gas", points[33], 2)
    event = Event.objects.get(kind="alarm.raised", targets__contains=[key_of(alarm)])
    assert event.targets == [key_of(alarm), key_of(caterer), f"monitoring.device:{alarm.device_id}"]
    assert event.data == {"rule": "catering_gas.gas_alarm", "level": 2, "value": 22.0, "measure": "gas_lel"}
    assert (event.at, event.path, event.organisations) == (NOON, caterer.division.path, [caterer.organisation_id])
    deadline = Deadline.objects.get(target=key_of(alarm))
    due = NOON + timedelta(seconds=180)
    assert (deadline.started_at, deadline.due_at, deadline.next_step_at, deadline.next_step) == (NOON, due, due, "100")
    assert (deadline.owner.username, deadline.path) == ("enterprise_head_here", caterer.division.path)
    assert alarm.events.values_list("pgh_label", "level", "point_id").get() == ("insert", 2, points[33].pk)


def test_a_storm_that_ends_is_written_in_its_history(detectors):
    points = detectors(30)
    record_transitions(raises(points), at=NOON)
    record_transitions(raises(points, kind="clear", after_s=9), at=NOON + timedelta(seconds=9))
    history = Alarm.objects.get(point=points[7]).events.order_by("pgh_id")
    assert list(history.values_list("pgh_label", "cleared_at")) == [
        ("insert", None),
        ("update", NOON + timedelta(seconds=9)),
    ]


def test_garbage_is_looked_for_again_after_a_batch_and_after_one_that_failed(detectors):
    record_transitions(raises(detectors(1)), at=NOON)
    with contextlib.suppress(RuntimeError), recording.uncollected():
        assert not gc.isenabled()
        raise RuntimeError
    assert gc.isenabled()


def test_one_alarm_twice_in_a_batch_is_one(detectors):
    words = raises(detectors(1))
    assert len(record_transitions(words + words, at=NOON).raised) == 1


def test_an_alarm_raised_and_cleared_in_one_batch_is_both(detectors):
    point = detectors(1)
    record_transitions([*raises(point), *raises(point, kind="clear", after_s=60)], at=NOON)
    alarm = Alarm.objects.get()
    assert alarm.cleared_at == NOON + timedelta(seconds=60)
    assert list(Event.objects.order_by("at").values_list("kind", flat=True)) == ["alarm.raised", "alarm.cleared"]


def test_where_another_recorder_was_first_the_batch_is_looked_at_again(detectors, monkeypatch):
    (point,) = detectors(1)
    real, tries = recording.Episodes.write, []

    def write(self):
        tries.append(1)
        if len(tries) == 1:
            raise IntegrityError("duplicate key")
        real(self)

    monkeypatch.setattr(recording.Episodes, "write", write)
    assert len(record_transitions(raises([point]), at=NOON).raised) == 1
    assert Notice.objects.filter(kind="alarm.raised").values("recipient").distinct().count() == Notice.objects.count()


def test_holders_of_many_places_are_the_holders_of_each(personas, city):
    divisions = [personas.grid, personas.here, personas.elsewhere, city]
    own = [(), tuple(o.pk for o in personas.organisations.values())[:3]]
    places = [(division.path, ids) for division, ids in product(divisions, own)]
    many = Holders(list(roles()), places=places, day=NOON.date())
    for role, (path, ids), programme in product(roles(), places, ("catering_gas", "nothing")):
        asked = {"path": path, "organisations": ids, "programme": programme}
        assert many.of(role, **asked) == holders_of(role, day=NOON.date(), **asked), (role, asked)
