"""Files of vehicles' terminals as evidence: of the alarm they prove, else of the device; once; under their hash."""

import hashlib

import pytest
from django.urls import reverse
from tests.support.world import photo

from zhenan.domains.monitoring import attachments
from zhenan.domains.monitoring.episodes import moment
from zhenan.domains.monitoring.models import Alarm, Device, Point
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.evidence.models import Evidence
from zhenan.telemetry.codecs.base import iso_to_ms
from zhenan.telemetry.gateway.attachments import FileOf
from zhenan.telemetry.gateway.sessions_jt808 import Media

TIME = "2026-03-02T12:00:00"
NUMBER = "69a52a00" + "ab" * 12


@pytest.fixture
def vehicle(caterer):
    return Device.objects.create(
        protocol="jt808", key="13800138000", model="transport.terminal", programme="transport", subject=caterer,
        name="苏L12345",
    )  # fmt: skip


@pytest.fixture
def alarm(vehicle):
    point = Point.objects.create(device=vehicle, channel="adas.t1", measure="adas")
    at = moment(iso_to_ms(TIME) + 900)
    return Alarm.objects.create(
        id="01a20a7e-f7d0-72c6-974b-2d1c16481518", point=point, device=vehicle, subject=vehicle.subject,
        programme="transport", rule="transport.adas", measure="adas", level=2, value=1, onset=at, raised_at=at,
        respond_by=at,
    )  # fmt: skip


def brought(tmp_path, name, data, *, number=NUMBER, time=TIME):
    path = tmp_path / "0.part"
    path.write_bytes(data)
    key = {"terminal_id": "T1", "time": time, "seq": 0, "attachments": 1}
    return FileOf(number, "013800138000", key, name, 0, len(data), hashlib.sha256(data).hexdigest(), path)


def picture():
    return photo("road").read()


def test_a_picture_proves_the_alarm_of_its_second_and_is_kept_once(alarm, vehicle, tmp_path, client, personas):
    one = brought(tmp_path, "00_0_1_0_x.jpg", picture())
    kept = attachments.store_file(one, at=NOON)
    assert attachments.store_file(one, at=NOON).pk == kept.pk
    assert (kept.target, kept.content_type) == (f"monitoring.alarm:{alarm.pk}", "image/jpeg")
    assert kept.file.name.endswith(f"{one.sha256}.jpg")
    assert attachments.names_stored(NUMBER) == {"00_0_1_0_x.jpg"}
    assert attachments.names_stored("69a67b80" + NUMBER[8:]) == {"00_0_1_0_x.jpg"}  # asked again on another day
    assert [e.kind for e in timeline_of(vehicle)] == ["device.file"]
    client.force_login(personas["town_officer_here"])
    assert client.get(reverse("evidence:original", args=[kept.pk])).status_code == 200
    client.force_login(personas["town_officer_elsewhere"])
    assert client.get(reverse("evidence:original", args=[kept.pk])).status_code == 404


def test_without_an_alarm_the_file_is_the_device_s_and_its_name_is_never_a_path(vehicle, tmp_path, client, personas):
    kept = attachments.store_file(brought(tmp_path, "../../x\x00.mp4", b"film"), at=NOON)
    assert (kept.target, kept.content_type) == (f"monitoring.device:{vehicle.pk}", "video/mp4")
    assert ".." not in kept.file.name
    client.force_login(personas["town_officer_here"])
    answer = client.get(reverse("evidence:original", args=[kept.pk]))
    assert answer["Content-Disposition"].startswith("attachment")
    client.force_login(personas["town_officer_elsewhere"])
    assert client.get(reverse("evidence:original", args=[kept.pk])).status_code == 404


@pytest.mark.parametrize("data", [b"no picture at all", b"<script>alert(1)</script>"])
def test_a_picture_that_is_none_is_kept_as_bytes_to_be_saved_and_not_shown(vehicle, tmp_path, data):
    kept = attachments.store_file(brought(tmp_path, "a.jpg", data), at=NOON)
    assert (kept.suffix, kept.content_type) == (".bin", "application/octet-stream")


def test_files_of_a_terminal_that_is_gone_and_of_a_time_that_is_none(caterer, vehicle, tmp_path):
    assert attachments.store_file(brought(tmp_path, "a.txt", b"x", time=None), at=NOON).taken_at is None
    Device.objects.all().delete()
    assert attachments.store_file(brought(tmp_path, "b.txt", b"x"), at=NOON) is None


def test_a_camera_s_picture_is_the_device_s(vehicle):
    media = Media("13800138000", 77, 0, 0, 1, 2, {"time": TIME}, picture())
    kept = attachments.store_media(media, at=NOON)
    assert attachments.store_media(media, at=NOON).pk == kept.pk
    assert (kept.target, kept.purpose, kept.is_image) == (f"monitoring.device:{vehicle.pk}", "media", True)
    assert Evidence.objects.count() == 1
