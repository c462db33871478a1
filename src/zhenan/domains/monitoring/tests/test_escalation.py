"""Alarms that nobody answers climb: told one by one, and in a storm by one summary a person; each on its timeline."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from zhenan.domains.monitoring import escalation
from zhenan.domains.monitoring.limits import TOLD_SINGLY
from zhenan.domains.monitoring.models import Alarm, StormSummary
from zhenan.domains.monitoring.services import acknowledge, record_transitions
from zhenan.domains.monitoring.storms import LATE
from zhenan.domains.monitoring.tests.conftest import NOON, raises
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.models import Event, key_of
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.workflow.models import Deadline, DeadlineStep
from zhenan.kernel.workflow.services import tick


@pytest.fixture
def late(detectors):
    """Raises so many alarms that nobody answers; the moment at which their response time is over."""

    def make(count, **more):
        record_transitions(raises(detectors(count, **more)), at=NOON)
        return Alarm.objects.order_by("-respond_by").values_list("respond_by", flat=True)[0]

    return make


def singly(person):
    return Notice.objects.filter(recipient=person, kind=LATE.kind)


def in_summary(person):
    return Notice.objects.filter(recipient=person, kind=LATE.summary_kind)


def escalations(alarm):
    return [event for event in timeline_of(alarm) if event.kind == "alarm.escalated"]


@pytest.mark.parametrize("count", [1, TOLD_SINGLY])
def test_a_few_alarms_that_nobody_answers_are_told_one_by_one(late, personas, count):
    due = late(count)
    assert tick(due - timedelta(seconds=1)) == 0
    assert tick(due) == count
    assert singly(personas["grid_worker"]).count() == count
    assert not StormSummary.objects.filter(key__startswith="alarms:late").exists()
    alarm = Alarm.objects.all()[0]
    notice = singly(personas["grid_worker"]).get(target=key_of(alarm))
    assert (notice.url, notice.level) == (reverse("monitoring:alarm", args=[alarm.pk]), 2)
    assert len(escalations(alarm)) == 1


def test_a_thousand_of_one_person_are_ten_notices_and_one_summary_with_the_count_and_the_list(late, personas, client):
    due = late(1000)
    assert tick(due) == 1000
    person = personas["grid_worker"]
    assert singly(person).count() == TOLD_SINGLY
    summary = in_summary(person).get()
    assert "990" in summary.title
    assert StormSummary.objects.get(key=summary.key).count == 990
    assert Alarm.objects.filter(escalation.told_in(summary.key)).count() == 990
    client.force_login(person)
    page = client.get(summary.url)
    assert page.status_code == 200
    assert "990" in page.content.decode()


def test_each_alarm_of_a_storm_has_its_own_step_on_its_timeline_and_says_who_was_told(late, personas, client):
    tick(late(30))
    assert Event.objects.filter(kind="alarm.escalated").count() == DeadlineStep.objects.count() == 30
    folded = Alarm.objects.filter(escalation.told_in(in_summary(personas["grid_worker"]).get().key))[0]
    (event,) = escalations(folded)
    assert str(personas["grid_worker"]) in event.data["people"]
    assert "grid_worker" in DeadlineStep.objects.get(deadline__target=key_of(folded)).told
    client.force_login(personas["town_officer_here"])
    page = client.get(reverse("monitoring:alarm", args=[folded.pk])).content.decode()
    assert page.count(str(personas["grid_worker"])) >= 2  # of the raising, and of being late
    assert not singly(personas["grid_worker"]).filter(target=key_of(folded)).exists()


def test_a_storm_costs_as_many_statements_for_five_hundred_alarms_as_for_two_hundred(late):
    def statements(due):
        with CaptureQueriesContext(connection) as asked:
            tick(due)
        return len(asked)

    tick(late(30))
    few = statements(late(210))
    assert statements(late(500)) == few < 35


def test_of_two_persons_each_has_their_own_count(late, personas):
    there = Subject.objects.create(
        type="catering_gas.caterer", programme="catering_gas", key="C2", name="别处饭店", division=personas.elsewhere,
    )  # fmt: skip
    late(5)
    due = late(40, site=there)
    assert tick(due) == 45
    here, other = personas["grid_worker"], personas["town_officer_elsewhere"]
    assert (singly(here).count(), in_summary(here).count()) == (5, 0)
    assert (singly(other).count(), in_summary(other).count()) == (TOLD_SINGLY, 1)
    assert "30" in in_summary(other).get().title


def test_each_rung_tells_those_above_by_a_summary_of_their_own(late, personas):
    due = late(50)
    assert tick(due) == tick(due + timedelta(minutes=5)) == 50
    officer = personas["town_officer_here"]
    assert tick(due + timedelta(minutes=5)) == 0
    told = {notice.created_at for notice in singly(officer)}
    assert due + timedelta(minutes=5) in told
    assert StormSummary.objects.get(
        key=in_summary(officer).get(created_at=due + timedelta(minutes=5)).key
    ).count == 50 - TOLD_SINGLY  # fmt: skip


def test_a_grave_alarm_is_told_by_itself_among_many_light_ones(late, detectors, personas):
    due = late(40)
    grave = detectors(1)
    record_transitions(raises(grave, level=1, rule="catering_gas.gas_high"), at=NOON)
    tick(due)
    alarm = Alarm.objects.get(level=1)
    assert singly(personas["grid_worker"]).filter(target=key_of(alarm)).count() == 1


def test_what_was_answered_in_time_is_told_to_nobody(late, personas):
    due = late(20)
    alarm = Alarm.objects.all()[0]
    acknowledge(alarm.pk, by=personas["town_officer_here"], at=NOON)
    assert tick(due) == 19
    assert escalations(alarm) == []


def test_a_walker_that_was_away_tells_every_rung_of_every_alarm_once(late):
    due = late(20)
    assert tick(due + timedelta(days=1)) == 20 * 4
    assert tick(due + timedelta(days=2)) == 0
    assert Event.objects.filter(kind="alarm.escalated").count() == DeadlineStep.objects.count() == 80


def test_an_alarm_that_cannot_be_told_of_keeps_no_other_back(late, monkeypatch):
    due = late(5)
    bad = Alarm.objects.all()[2]
    real = escalation._telling

    def broken(calling):
        if calling.alarm.pk == bad.pk:
            raise RuntimeError("no words for it")
        return real(calling)

    monkeypatch.setattr(escalation, "_telling", broken)
    with pytest.raises(RuntimeError):
        tick(due)
    assert DeadlineStep.objects.count() == 4
    assert Deadline.objects.get(target=key_of(bad)).next_step == "100"  # it is tried again


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_walk_at_once_tell_everything_once(late, personas):
    due = late(60)
    began, done = threading.Barrier(2), []

    def work():
        try:
            began.wait(10)
            done.append(tick(due))
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    tick(due)  # what one skipped because the other had it locked, and the other did not reach
    assert sum(done) <= 60
    assert DeadlineStep.objects.count() == Event.objects.filter(kind="alarm.escalated").count() == 60
    person = personas["grid_worker"]
    assert singly(person).count() + StormSummary.objects.get(key=in_summary(person).get().key).count == 60
