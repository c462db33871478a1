"""HJ 212 loggers: their password (who sets it, what the gateway and people get of it) and our patience with them."""

from datetime import timedelta

import pytest
from django.urls import reverse

from zhenan.domains.monitoring import commands, queries
from zhenan.domains.monitoring.devices import set_password
from zhenan.domains.monitoring.errors import BadPassword, NoPassword
from zhenan.domains.monitoring.models import Device, DeviceCommand, Point
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.events.services import timeline_of
from zhenan.telemetry.gateway.downlink import Told


@pytest.fixture
def logger(caterer):
    device = Device.objects.create(
        protocol="hj212", key="MN1", model="catering_gas.gas_detector", programme="catering_gas", subject=caterer,
        name="数采仪", attributes={"maker": "A"},
    )  # fmt: skip
    Point.objects.create(device=device, channel="a.Rtd", measure="gas_lel")
    return device


def given():
    return [row.password for row in queries.gateway_points() if row.protocol == "hj212"]


def test_the_gateway_gets_what_is_set_and_hears_of_every_change(logger, personas):
    officer = personas["city_officer"]
    assert given() == [None]
    for password, wanted in (("654321", "654321"), ("", ""), (None, None)):
        before = queries.devices_stamp()
        set_password(logger.pk, password=password, by=officer, at=NOON)
        assert (given(), queries.devices_stamp() != before) == ([wanted], True)
    logger.refresh_from_db()
    assert logger.attributes == {"maker": "A"}  # what else is known of it stays


def test_the_timeline_says_that_it_was_set_and_not_what_it_is(logger, personas):
    set_password(logger.pk, password="654321", by=personas["city_officer"], at=NOON)
    set_password(logger.pk, password="654321", by=personas["city_officer"], at=NOON)  # the same again is no event
    (event,) = [event for event in timeline_of(logger) if event.kind == "device.password_set"]
    assert "654321" not in str(event.data)


def test_a_command_carries_the_devices_own_password(logger, personas):
    set_password(logger.pk, password="654321", by=personas["city_officer"], at=NOON)
    DeviceCommand.objects.create(device=logger, command="get_time", asked_at=NOON)
    (out,) = commands.claim(NOON)
    assert out.options == {"password": "654321"}


@pytest.mark.parametrize("wrong", ["12;CN=2011", "1" * 21, "12 34"])
def test_what_would_break_a_frame_is_no_password(logger, personas, wrong):
    with pytest.raises(BadPassword):
        set_password(logger.pk, password=wrong, by=personas["city_officer"], at=NOON)
    assert given() == [None]


def test_who_may_not_change_devices_sets_none_and_other_protocols_have_none(logger, detector, personas):
    with pytest.raises(NotAllowed):
        set_password(logger.pk, password="1", by=personas["grid_worker"], at=NOON)
    with pytest.raises(NoPassword):
        set_password(detector.pk, password="1", by=personas["city_officer"], at=NOON)


def test_it_is_set_on_the_devices_page_which_never_shows_it(logger, detector, client, personas):
    client.force_login(personas["city_officer"])
    page, address = reverse("monitoring:device", args=[logger.pk]), reverse("monitoring:set_password", args=[logger.pk])
    client.post(address, {"rule": "own", "password": "654321"})
    assert given() == ["654321"]
    text = client.get(page).content.decode()
    assert address in text
    assert "654321" not in text
    client.post(address, {"rule": "own", "password": ""})  # nothing is given: nothing changes
    assert given() == ["654321"]
    client.post(address, {"rule": "none"})
    assert given() == [""]
    assert "set_password" not in client.get(reverse("monitoring:device", args=[detector.pk])).content.decode()


def after(seconds):
    return NOON + timedelta(seconds=seconds)


def test_a_logger_that_took_other_numbers_is_treated_by_them_from_then_on(logger, personas):
    args = {"overtime_s": 5, "recount": 2}
    row = commands.ask(logger.pk, command="set_timeout", args=args, by=personas["city_officer"], at=NOON)
    (out,) = commands.claim(NOON)
    assert out.options == {}  # told as ever, until it has said yes
    commands.heard(Told("hj212", "MN1", "confirmed", row.pk), at=after(2))
    commands.ask(logger.pk, command="get_time", args={}, by=personas["city_officer"], at=after(3))
    (out,) = commands.claim(after(3))
    assert out.options == args


@pytest.mark.parametrize(
    ("protocol", "command", "whole_s"),
    [("gb26875", "sync_clock", 40), ("hj212", "get_time", 40), ("jt808", "locate", 5 + 10 + 30 + 120)],
)
def test_a_command_that_a_gateway_is_at_is_not_asked_for_again_before_the_gateway_must_be_done(
    logger, protocol, command, whole_s
):
    Device.objects.filter(pk=logger.pk).update(protocol=protocol)
    row = DeviceCommand.objects.create(device=logger, command=command, asked_at=NOON, expires_at=after(3600))
    assert len(commands.claim(NOON)) == 1
    commands.heard(Told(protocol, "MN1", "sent", row.pk), at=NOON)
    assert commands.claim(after(whole_s)) == []
    assert len(commands.claim(after(whole_s + 36))) == 1


def test_a_change_that_is_committed_behind_a_later_one_is_seen(logger):
    other = Device.objects.create(
        protocol="hj212", key="MN2", model=logger.model, programme=logger.programme, subject=logger.subject, name="二"
    )
    at = logger.changed_at
    Device.objects.filter(pk=logger.pk).update(changed_at=at + timedelta(seconds=2))
    loaded = queries.devices_stamp()  # of the later change; the earlier one's transaction is still open
    Device.objects.filter(pk=other.pk).update(changed_at=at + timedelta(seconds=1))
    assert queries.devices_stamp() != loaded
