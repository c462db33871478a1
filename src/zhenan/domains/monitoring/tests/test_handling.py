"""What people do about an alarm: each step once, by those who may, in an order that leaves nothing out."""

import io
from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from zhenan.domains.monitoring import services
from zhenan.domains.monitoring.errors import (
    CauseMissing,
    NotAssignable,
    NoteMissing,
    NotYours,
    StillRaised,
    UnknownCause,
    WrongState,
)
from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.workflow.models import Deadline


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def alarm(transition):
    services.record_transitions([transition()], at=NOON)
    return Alarm.objects.get()


@pytest.fixture
def officer(personas):
    return personas["town_officer_here"]


def photo():
    buffer = io.BytesIO()
    Image.new("RGB", (640, 480), "green").save(buffer, "JPEG")
    return ContentFile(buffer.getvalue(), name="scene.jpg")


def at(minutes):
    return NOON + timedelta(minutes=minutes)


def kinds(alarm):
    return [event.kind for event in reversed(timeline_of(alarm))]


def test_from_raise_to_close_everything_is_on_the_timeline(alarm, officer, personas, transition):
    worker = personas["grid_worker"]
    services.acknowledge(alarm.pk, by=officer, at=at(1))
    services.assign(alarm.pk, to=worker, by=officer, at=at(2))
    services.arrive(alarm.pk, by=worker, at=at(10), photos=[photo()], lon=119.55, lat=32.0001)
    services.raise_hazard(alarm.pk, by=worker, at=at(12), title="软管老化")
    services.judge_cause(alarm.pk, cause="real", by=worker, at=at(13))
    services.record_transitions([transition("clear", after_s=900, value=2.0)], at=at(15))
    closed = services.close(alarm.pk, by=officer, at=at(20))
    assert (closed.state, closed.closed_by, closed.hazard.title) == ("closed", officer, "软管老化")
    assert kinds(alarm) == [
        "alarm.raised",
        "alarm.acknowledged",
        "alarm.assigned",
        "alarm.arrived",
        "hazard.reported",
        "alarm.judged",
        "alarm.cleared",
        "alarm.closed",
    ]
    assert Deadline.objects.get(kind="alarm.respond").met is True


def test_acknowledging_twice_is_refused_and_says_how_it_stands(alarm, officer):
    services.acknowledge(alarm.pk, by=officer, at=at(1))
    with pytest.raises(WrongState, match="已确认"):
        services.acknowledge(alarm.pk, by=officer, at=at(2))


@pytest.mark.parametrize("name", ["grid_worker", "enterprise_head_here", "town_officer_elsewhere", "insurer"])
def test_who_may_not_answer_for_an_alarm(alarm, personas, name):
    with pytest.raises(NotAllowed):
        services.acknowledge(alarm.pk, by=personas[name], at=at(1))


def test_nobody_is_sent_to_where_they_have_no_post(alarm, officer, personas):
    with pytest.raises(NotAssignable):
        services.assign(alarm.pk, to=personas["enterprise_head_elsewhere"], by=officer, at=at(1))


def test_only_the_person_sent_reports_arrival(alarm, officer, personas):
    services.assign(alarm.pk, to=personas["grid_worker"], by=officer, at=at(1))
    with pytest.raises(NotYours):
        services.arrive(alarm.pk, by=officer, at=at(2), photos=[photo()])


def test_a_true_alarm_is_not_closed_while_the_readings_are_high(alarm, officer):
    services.acknowledge(alarm.pk, by=officer, at=at(1))
    services.judge_cause(alarm.pk, cause="real", by=officer, at=at(2))
    with pytest.raises(StillRaised):
        services.close(alarm.pk, by=officer, at=at(3), note="ok")


def test_a_true_alarm_without_a_hazard_needs_a_reason(alarm, officer, transition):
    services.acknowledge(alarm.pk, by=officer, at=at(1))
    services.judge_cause(alarm.pk, cause="real", by=officer, at=at(2))
    services.record_transitions([transition("clear", after_s=60)], at=at(3))
    with pytest.raises(NoteMissing):
        services.close(alarm.pk, by=officer, at=at(4))
    assert services.close(alarm.pk, by=officer, at=at(5), note="灶具未关，已当场处理").state == "closed"


def test_no_alarm_closes_without_a_cause(alarm, officer):
    services.acknowledge(alarm.pk, by=officer, at=at(1))
    with pytest.raises(WrongState):
        services.close(alarm.pk, by=officer, at=at(2))
    with pytest.raises(UnknownCause, match="误报"):
        services.judge_cause(alarm.pk, cause="weather", by=officer, at=at(2))
    with pytest.raises(NoteMissing):
        services.judge_cause(alarm.pk, cause="false_alarm", by=officer, at=at(2))
    assert CauseMissing.code == "alarm.cause_missing"


def test_a_second_hazard_from_one_alarm_is_the_first(alarm, officer):
    services.acknowledge(alarm.pk, by=officer, at=at(1))
    first = services.raise_hazard(alarm.pk, by=officer, at=at(2)).hazard_id
    assert services.raise_hazard(alarm.pk, by=officer, at=at(3)).hazard_id == first
