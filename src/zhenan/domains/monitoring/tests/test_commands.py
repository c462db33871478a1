"""Devices are told things by rules and people; each step of what becomes of it is written down once."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.urls import reverse

from zhenan.domains.monitoring import commands
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.errors import AlreadyAsked, BadArgument, NotPossible, OutOfService
from zhenan.domains.monitoring.models import Alarm, Device, DeviceCommand
from zhenan.domains.monitoring.services import mark_seen, record_transitions
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.events.services import timeline_of
from zhenan.telemetry.gateway.downlink import Told

KEY = "0000000003e9"


@pytest.fixture
def told(transition, valve):
    record_transitions([transition()], at=NOON)
    return DeviceCommand.objects.get()


@pytest.fixture
def terminal(caterer):
    return register_device(
        subject=caterer, model="smart_fire.transmission_device", key=KEY, name="传输装置", by=None, at=NOON
    )


@pytest.fixture
def smoke(caterer, terminal):
    return register_device(
        subject=caterer, model="smart_fire.smoke_detector", key="S1", name="烟感", by=None, at=NOON, parent=terminal,
        channels=["sys1-3.40.17.status"],
    )  # fmt: skip


def seconds(n):
    return NOON + timedelta(seconds=n)


def ask(device, by, command="sync_clock", at=NOON, **args):
    return commands.ask(device.pk, command=command, args=args, by=by, at=at)


def word(row, state, at, **more):
    more = {"protocol": "gb26875", "key": KEY, **more}
    commands.heard(Told(state=state, id=row.pk, at_ms=int(at.timestamp() * 1000), **more), at=at)
    row.refresh_from_db()


def kinds(obj):
    return [
        event.kind for event in timeline_of(obj) if event.kind.startswith("device.") and "registered" not in event.kind
    ]


# what a rule orders, over MQTT


def test_a_command_is_sent_until_the_device_reports_it(told, valve):
    assert [(c.key, c.payload) for c in commands.claim(NOON)] == [("SV0001", {"valve": "closed"})]
    commands.published([told.pk], at=seconds(1))
    assert commands.claim(seconds(2)) == []
    assert len(commands.claim(seconds(12))) == 1
    point = valve.points.get(channel="valve")
    mark_seen({point.pk: (seconds(5), 1.0)})  # it is still open
    assert len(commands.claim(seconds(30))) == 1
    mark_seen({point.pk: (seconds(8), 0.0)})
    told.refresh_from_db()
    assert told.state == "confirmed"
    assert commands.claim(seconds(60)) == []
    assert kinds(valve) == ["device.command_done", "device.command"]


def test_a_reading_from_before_the_command_confirms_nothing(told, valve):
    point = valve.points.get(channel="valve")
    mark_seen({point.pk: (seconds(-60), 0.0)})
    told.refresh_from_db()
    assert told.state == "waiting"


def test_a_device_that_never_answers_is_given_up_on_and_it_says_so(told):
    commands.published([told.pk], at=seconds(1))
    assert commands.claim(seconds(400)) == []
    told.refresh_from_db()
    assert (told.state, told.error) == ("timed_out", "no_answer")
    assert kinds(told.alarm) == ["device.command_silent", "device.command"]


def test_a_device_answers_only_for_its_own_commands(told, valve):
    commands.published([told.pk], at=NOON)
    word(told, "confirmed", seconds(1), protocol="mqtt_json", key="GD0001")
    assert told.state == "sent"
    word(told, "denied", seconds(2), protocol="mqtt_json", key="SV0001", error="jammed\x00")
    assert (told.state, told.error) == ("denied", "jammed\ufffd")


def test_of_two_senders_one_has_the_command(told):
    assert len(commands.claim(NOON)) == 1
    assert commands.claim(NOON) == []


# what a person orders


def test_every_step_stands_on_the_timelines_once_however_often_it_is_told(terminal, personas):
    row = ask(terminal, personas["town_officer_here"])
    assert [(c.protocol, c.key, c.command) for c in commands.claim(NOON)] == [("gb26875", KEY, "sync_clock")]
    for state, n in (("sent", 1), ("sent", 2), ("confirmed", 3), ("confirmed", 4), ("timed_out", 5)):
        word(row, state, seconds(n))
    assert (row.state, row.sent_at, row.confirmed_at) == ("confirmed", seconds(1), seconds(3))
    assert kinds(terminal) == ["device.command_done", "device.command", "device.asked"]


def test_a_command_waits_for_a_device_that_is_away_and_goes_when_it_comes(terminal, personas):
    row = ask(terminal, personas["town_officer_here"])
    assert len(commands.claim(NOON)) == 1
    assert commands.claim(seconds(3)) == []  # nobody has the device
    commands.heard(Told("gb26875", KEY, "here"), at=seconds(3))
    assert len(commands.claim(seconds(3))) == 1
    word(row, "sent", seconds(4))
    word(row, "lost", seconds(5))
    assert row.state == "waiting"
    assert len(commands.claim(seconds(8))) == 1
    assert commands.claim(seconds(3601)) == []
    row.refresh_from_db()
    assert (row.state, row.error) == ("expired", "expired")


@pytest.mark.parametrize(
    ("answered", "state", "error"), [(True, "confirmed", ""), (False, "timed_out", "guard_silent")]
)
def test_a_patrol_ends_with_the_guard_or_without(terminal, personas, answered, state, error):
    row = ask(terminal, personas["town_officer_here"], "patrol", minutes=5)
    word(row, "sent", seconds(1))
    word(row, "accepted", seconds(2))
    assert commands.claim(seconds(300)) == []
    if answered:
        commands.heard(Told("gb26875", KEY, "guard"), at=seconds(310))
    assert commands.claim(seconds(340)) == []
    row.refresh_from_db()
    assert (row.state, row.error) == (state, error)


def test_what_a_device_answered_is_kept(terminal, personas):
    row = ask(terminal, personas["town_officer_here"], "read_device_version")
    word(row, "confirmed", seconds(2), data=[{"ver_major": 2, "ver_minor": 7}])
    assert row.reply == [{"ver_major": 2, "ver_minor": 7}]
    assert row.sent_at == seconds(2)


def test_a_detector_is_asked_through_its_transmission_device_by_its_own_address(smoke, personas):
    row = ask(smoke, personas["town_officer_here"], "read_component_status")
    assert row.payload == {"sys_type": 1, "sys_addr": 3, "comp_addr": 17}
    (out,) = commands.claim(NOON)
    assert (out.protocol, out.key) == ("gb26875", KEY)


def test_what_may_not_be_told_is_refused_and_leaves_nothing(terminal, smoke, detector, personas):
    officer = personas["town_officer_here"]
    with pytest.raises(BadArgument, match="whole number from 1 to 255"):
        ask(terminal, officer, "patrol", minutes=0)
    with pytest.raises(NotPossible):
        ask(detector, officer)  # MQTT has no such command
    with pytest.raises(NotPossible):
        ask(smoke, officer, "initialise")  # it has no connection of its own
    for stranger in ("town_officer_elsewhere", "grid_worker", "insurer"):
        with pytest.raises(NotAllowed):
            ask(terminal, personas[stranger])
    Device.objects.filter(pk=terminal.pk).update(active=False)
    with pytest.raises(OutOfService):
        ask(terminal, officer)
    assert not DeviceCommand.objects.exists()


def test_two_presses_of_a_button_are_one_order(terminal, personas):
    row = ask(terminal, personas["town_officer_here"])
    with pytest.raises(AlreadyAsked, match=r"under way|正在执行"):
        ask(terminal, personas["city_officer"])
    with pytest.raises(IntegrityError), transaction.atomic():
        DeviceCommand.objects.create(
            device=terminal, command="sync_clock", asked_at=NOON, asked_by=personas["city_officer"]
        )
    word(row, "denied", seconds(1), error="refused")
    ask(terminal, personas["city_officer"], at=seconds(2))


def test_a_model_may_be_told_less_than_its_protocol_can(terminal, personas, monkeypatch):
    spec = commands.registry().device_model(terminal.model)
    narrowed = spec.model_copy(update={"downlink": ["sync_clock"]})
    monkeypatch.setattr(type(commands.registry()), "device_model", lambda self, code: narrowed)
    assert [offer.code for offer in commands.offers_for(terminal)] == ["sync_clock"]


# pages and API


@pytest.fixture
def alarm(transition, valve):
    record_transitions([transition()], at=NOON)
    return Alarm.objects.get()


def test_the_alarm_page_gives_commands_to_those_who_may_and_says_what_became_of_them(alarm, valve, client, personas):
    page = reverse("monitoring:alarm", args=[alarm.pk])
    url = reverse("monitoring:command_alarm", args=[alarm.pk])
    client.force_login(personas["grid_worker"])
    assert 'name="command"' not in client.get(page).content.decode()
    assert client.post(url, {"device": valve.pk, "command": "close"}).status_code == 403
    client.force_login(personas["town_officer_here"])
    assert 'value="close"' in client.get(page).content.decode()
    answer = client.post(url, {"device": valve.pk, "command": "close"}, follow=True)
    assert "SV" not in str(answer.redirect_chain)
    row = DeviceCommand.objects.exclude(asked_by=None).get()
    assert (row.alarm_id, row.payload) == (alarm.pk, {"valve": "closed"})
    again = client.post(url, {"device": valve.pk, "command": "close"}, follow=True).content.decode()
    assert "under way" in again or "正在执行" in again
    assert "device" in str(client.post(url, {"device": 0, "command": "close"}, follow=True).content)


def test_the_device_page_takes_arguments_and_says_what_is_wrong_with_them(terminal, client, personas):
    client.force_login(personas["town_officer_here"])
    url = reverse("monitoring:command_device", args=[terminal.pk])
    field = f"{terminal.pk}-patrol-minutes"
    client.post(url, {"device": terminal.pk, "command": "patrol", field: "0"})
    assert not DeviceCommand.objects.exists()
    client.post(url, {"device": terminal.pk, "command": "patrol", field: "15"})
    assert DeviceCommand.objects.get().payload == {"minutes": 15}
    start = f"{terminal.pk}-read_device_operations-start"
    records = f"{terminal.pk}-read_device_operations-records"
    client.post(
        url, {"device": terminal.pk, "command": "read_device_operations", start: "2026-03-02T08:00", records: "5"}
    )
    assert DeviceCommand.objects.get(command="read_device_operations").payload == {
        "records": 5, "start": "2026-03-02T08:00:00",
    }  # fmt: skip
    assert client.get(reverse("monitoring:device", args=[terminal.pk])).status_code == 200


def test_the_api_gives_commands_and_says_what_became_of_them(terminal, client, personas):
    client.force_login(personas["town_officer_here"])
    base = f"/api/monitoring/devices/{terminal.pk}"
    possible = {one["command"]: one for one in client.get(f"{base}/possible").json()}
    assert possible["patrol"]["args"][0] == {"name": "minutes", "kind": "int", "low": 1, "high": 255, "default": 10}
    assert possible["initialise"]["grave"]

    def post(**body):
        return client.post(f"{base}/commands", body, content_type="application/json")

    made = post(command="patrol", args={"minutes": 3})
    assert made.status_code == 201
    assert client.get(f"/api/monitoring/commands/{made.json()['id']}").json()["state"] == "waiting"
    assert [one["command"] for one in client.get(f"{base}/commands").json()] == ["patrol"]
    assert post(command="patrol", args={"minutes": 3}).json()["code"] == "device.already_asked"
    assert post(command="sync_clock", args={"x": 1}).json()["code"] == "device.bad_argument"
    client.force_login(personas["grid_worker"])
    assert post(command="sync_clock").status_code == 403
    client.force_login(personas["town_officer_elsewhere"])
    assert post(command="sync_clock").status_code == 404
    assert client.get(f"/api/monitoring/commands/{made.json()['id']}").status_code == 404


def test_mqtt_devices_are_online_and_offline_at_once_by_birth_and_will(valve):
    commands.heard(Told("mqtt_json", "SV0001", "online"), at=NOON)
    valve.refresh_from_db()
    changed = valve.changed_at
    assert (valve.online, valve.last_seen_at) == (True, NOON)
    commands.heard(Told("mqtt_json", "SV0001", "offline"), at=seconds(5))
    valve.refresh_from_db()
    assert (valve.online, valve.last_seen_at) == (False, NOON)
    assert valve.changed_at == changed  # the register of devices is the same
