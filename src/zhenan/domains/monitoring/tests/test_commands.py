"""The valve is told, told again until it says so, and given up on in words."""

from datetime import timedelta

import pytest

from zhenan.domains.monitoring import commands
from zhenan.domains.monitoring.models import DeviceCommand
from zhenan.domains.monitoring.services import mark_seen, record_transitions
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.kernel.events.services import timeline_of


@pytest.fixture
def told(transition, valve):
    record_transitions([transition()], at=NOON)
    return DeviceCommand.objects.get()


def seconds(n):
    return NOON + timedelta(seconds=n)


def test_a_command_is_sent_until_the_device_reports_it(told, valve):
    assert [(c.key, c.payload) for c in commands.due_commands(NOON)] == [("SV0001", {"valve": "closed"})]
    commands.mark_sent([told.pk], at=seconds(1))
    assert commands.due_commands(seconds(2)) == []
    assert len(commands.due_commands(seconds(12))) == 1
    point = valve.points.get(channel="valve")
    mark_seen({point.pk: (seconds(5), 1.0)})  # it is still open
    assert len(commands.due_commands(seconds(20))) == 1
    mark_seen({point.pk: (seconds(8), 0.0)})
    told.refresh_from_db()
    assert told.state == "confirmed"
    assert commands.due_commands(seconds(60)) == []
    assert next(e.kind for e in timeline_of(valve)) == "device.command"


def test_a_reading_from_before_the_command_confirms_nothing(told, valve):
    point = valve.points.get(channel="valve")
    mark_seen({point.pk: (seconds(-60), 0.0)})
    told.refresh_from_db()
    assert told.state == "waiting"


def test_a_device_that_never_answers_is_given_up_on_and_it_says_so(told):
    commands.mark_sent([told.pk], at=seconds(400))
    told.refresh_from_db()
    assert (told.state, told.error) == ("failed", "the device never confirmed")
