"""Pages of monitoring: what each person finds there, and what it may cost."""

import pytest
from django.urls import reverse

from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.lists import AlarmList, DeviceList
from zhenan.domains.monitoring.models import Alarm, Device, QuarantinedFrame
from zhenan.domains.monitoring.services import record_transitions
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.kernel.lists.contract import check_list_page
from zhenan.telemetry.judge.results import Transition


@pytest.fixture
def alarm(transition):
    record_transitions([transition()], at=NOON)
    return Alarm.objects.get()


@pytest.fixture
def open_as(client, personas):
    def go(name, url):
        client.force_login(personas[name])
        return client.get(url)

    return go


def url(alarm):
    return reverse("monitoring:alarm", args=[alarm.pk])


def test_the_alarm_page_explains_the_alarm_and_offers_what_this_person_may_do(alarm, open_as):
    page = open_as("town_officer_here", url(alarm)).content.decode()
    for word in (
        "老街饭店",
        "do-acknowledge",
        "catering_gas.gas_alarm",
        "enterprise_head_here",
        "达到或高于",
        "限值",
        "(可配置)",
    ):
        assert word in page
    assert "do-acknowledge" not in open_as("grid_worker", url(alarm)).content.decode()


def test_an_alarm_elsewhere_is_as_if_it_were_not_there(alarm, open_as):
    assert open_as("town_officer_elsewhere", url(alarm)).status_code == 404
    assert open_as("no_post", url(alarm)).status_code == 403


def test_a_step_that_may_not_be_taken_is_said_on_the_page(alarm, client, personas):
    client.force_login(personas["town_officer_here"])
    client.post(reverse("monitoring:acknowledge", args=[alarm.pk]))
    answer = client.post(reverse("monitoring:judge_cause", args=[alarm.pk]), {"cause": "false_alarm"})
    assert answer.status_code == 422
    assert "what made you judge" in answer.content.decode() or "依据" in answer.content.decode()


def test_devices_and_their_series_open(detector, open_as):
    assert open_as("town_officer_here", reverse("monitoring:device", args=[detector.pk])).status_code == 200
    point = detector.points.first()
    answer = open_as("town_officer_here", reverse("monitoring:series", args=[point.pk]))
    assert answer.json()["points"] == []
    wrong = open_as(
        "town_officer_here", reverse("monitoring:series", args=[point.pk]) + "?since=2026-01-02&until=2020-01-01"
    )
    assert wrong.status_code == 400
    assert open_as("town_officer_elsewhere", reverse("monitoring:series", args=[point.pk])).status_code == 404


@pytest.fixture
def unknown(db):
    for n in range(3):
        QuarantinedFrame.objects.create(
            sequence=n + 1,
            reason="unknown_device",
            protocol="mqtt_json",
            device_key=f"GDX{n}",
            received_at=NOON,
            raw=b'{"lel": 3}',
            decoded={"readings": [{"channel": "lel", "value": 3}]},
        )


def test_a_frame_is_shown_as_it_came(unknown, open_as):
    page = open_as("city_officer", reverse("monitoring:frame", args=[1])).content.decode()
    assert "7b 22 6c 65 6c" in page
    assert open_as("grid_worker", reverse("monitoring:frame", args=[1])).status_code == 403


@pytest.fixture
def make_alarms(detector):
    point = detector.points.get(measure="gas_lel")

    def make(n):
        start = Alarm.objects.count()
        rows = [
            Transition(str(point.pk), "catering_gas.gas_alarm", "raise", at, at, 22.0, 2)
            for at in range(1_772_000_000_000 + start * 60_000, 1_772_000_000_000 + (start + n) * 60_000, 60_000)
        ]
        record_transitions(rows, at=NOON)

    return make


def test_the_console_keeps_the_contract_of_lists(client, personas, make_alarms):
    people = ["city_officer", "town_officer_here", "town_officer_elsewhere", "insurer", "grid_worker", "no_post"]
    check_list_page(
        client, AlarmList, reverse("monitoring:alarms"), users=[personas[name] for name in people], make=make_alarms
    )


def test_the_device_list_keeps_the_contract_of_lists(client, personas, caterer):
    def make(n):
        start = Device.objects.count()
        for i in range(start, start + n):
            register_device(
                subject=caterer, model="catering_gas.gas_detector", key=f"L{i:04d}", name=f"报警器{i}", by=None, at=NOON
            )

    people = [personas[name] for name in ("city_officer", "town_officer_here", "town_officer_elsewhere", "no_post")]
    check_list_page(client, DeviceList, reverse("monitoring:devices"), users=people, make=make)
