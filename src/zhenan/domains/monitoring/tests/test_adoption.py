"""Unknown devices: met as they come, adopted one or many, ignored or forgotten with a reason."""

from datetime import timedelta

import pytest
from django.core.files.base import ContentFile
from django.urls import reverse

from zhenan.domains.monitoring import adoption
from zhenan.domains.monitoring.errors import AlreadyDecided, DeviceTaken, WhyMissing, WrongModel
from zhenan.domains.monitoring.lists_adoption import UnknownList
from zhenan.domains.monitoring.models import Device, QuarantinedFrame, UnknownDevice
from zhenan.domains.monitoring.services import store_quarantined
from zhenan.domains.monitoring.tests.conftest import NOON
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.imports.services import begin, receive
from zhenan.kernel.imports.specs import all_specs
from zhenan.kernel.lists.contract import check_list_page
from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.codecs.base import local_from_ms

GAS = "catering_gas.gas_detector"


def frame(n, key="GDX0", *, protocol="mqtt_json", channels=("lel",), raw=b'{"lel": 3}', after_s=0):
    readings = [{"channel": channel, "ts": 0, "value": 3, "quality": 0} for channel in channels]
    return QuarantinedFrame(
        sequence=n, reason="unknown_device", protocol=protocol, device_key=key, peer="192.0.2.1:5000", raw=raw,
        received_at=NOON + timedelta(seconds=after_s), decoded={"readings": readings},
    )  # fmt: skip


@pytest.fixture
def three(packs):
    store_quarantined([frame(n + 1, f"GDX{n}") for n in range(3)])
    return {row.key: row for row in UnknownDevice.objects.all()}


def test_an_unknown_device_is_met_once_however_often_its_frames_are_stored(packs):
    store_quarantined([frame(2, after_s=60), frame(3, channels=("co", "lel"), after_s=5)])
    store_quarantined([frame(2, after_s=60), frame(3), frame(4, channels=("co",), after_s=90)])
    row = UnknownDevice.objects.get()
    assert (row.frames, row.channels, row.peer) == (3, ["lel", "co"], "192.0.2.1:5000")
    assert (row.first_at, row.last_at) == (NOON + timedelta(seconds=5), NOON + timedelta(seconds=90))
    assert adoption.suggested(row).code == GAS


def test_frames_without_an_identity_or_for_another_reason_are_of_nobody(packs):
    other = frame(3)
    other.reason = "malformed"
    store_quarantined([frame(1, ""), frame(2, protocol="no_such"), other])
    assert not UnknownDevice.objects.exists()


def test_an_adopted_device_has_the_points_it_reported_and_its_frames_are_due(three, caterer, personas):
    device = adoption.adopt(three["GDX0"].pk, model=GAS, subject=caterer, by=personas["city_officer"], at=NOON)
    assert [p.channel for p in device.points.all()] == ["lel"]
    due = adoption.frames_due(NOON)
    assert [(d.sequence, d.device_key, d.raw) for d in due] == [(1, "GDX0", b'{"lel": 3}')]
    adoption.frames_taken([1], [])
    assert adoption.frames_due(NOON) == []
    with pytest.raises(AlreadyDecided):
        adoption.adopt(three["GDX0"].pk, model=GAS, subject=caterer, by=personas["city_officer"], at=NOON)


def test_a_frame_refused_before_the_gateway_heard_of_the_adoption_is_due_too(three, caterer, personas):
    device = adoption.adopt(three["GDX0"].pk, model=GAS, subject=caterer, by=personas["city_officer"], at=NOON)
    adoption.frames_taken([1], [])
    late = frame(9)
    late.received_at = device.created_at
    store_quarantined([late])
    at = device.created_at + timedelta(seconds=5)
    assert [d.sequence for d in adoption.frames_due(at)] == [9]


def test_what_cannot_be_adopted_changes_nothing(three, caterer, personas):
    officer = personas["city_officer"]
    with pytest.raises(WrongModel):
        adoption.adopt(three["GDX0"].pk, model="smart_fire.fire_panel", subject=caterer, by=officer, at=NOON)
    with pytest.raises(NotAllowed):
        adoption.adopt(three["GDX0"].pk, model=GAS, subject=caterer, by=personas["grid_worker"], at=NOON)
    Device.objects.create(
        protocol="mqtt_json", key="GDX1", model=GAS, programme="catering_gas", subject=caterer, name="x"
    )
    with pytest.raises(DeviceTaken):
        adoption.adopt(three["GDX1"].pk, model=GAS, subject=caterer, by=officer, at=NOON)
    assert set(UnknownDevice.objects.values_list("state", flat=True)) == {"waiting"}
    assert set(QuarantinedFrame.objects.values_list("state", flat=True)) == {"kept"}


def test_ignoring_and_forgetting_need_a_reason(three, personas):
    officer = personas["city_officer"]
    with pytest.raises(WhyMissing):
        adoption.ignore(three["GDX0"].pk, reason=" ", by=officer, at=NOON)
    adoption.ignore(three["GDX0"].pk, reason="隔壁的设备", by=officer, at=NOON)
    store_quarantined([frame(7)])
    row = UnknownDevice.objects.get(key="GDX0")
    assert (row.state, row.reason, row.frames) == ("ignored", "隔壁的设备", 2)
    adoption.forget(three["GDX1"].pk, reason="测试", by=officer, at=NOON)
    assert not UnknownDevice.objects.filter(key="GDX1").exists()
    assert not QuarantinedFrame.objects.filter(device_key="GDX1").exists()
    with pytest.raises(NotAllowed):
        adoption.ignore(three["GDX2"].pk, reason="x", by=personas["grid_worker"], at=NOON)


# pages


def test_many_are_adopted_from_the_list_and_each_says_what_became_of_it(three, caterer, client, personas):
    client.force_login(personas["city_officer"])
    page = reverse("monitoring:unknown")
    assert "GDX1" in client.get(page).content.decode()
    Device.objects.create(
        protocol="mqtt_json", key="GDX2", model=GAS, programme="catering_gas", subject=caterer, name="x"
    )
    sent = {
        "action": "adopt",
        "ids": [row.pk for row in three.values()],
        "confirmed": "1",
        "model": "",
        "subject": "C1",
    }
    answer = client.post(page, sent).content.decode()
    assert set(Device.objects.exclude(name="x").values_list("key", flat=True)) == {"GDX0", "GDX1"}
    assert "GDX2" in answer
    nowhere = client.post(page, sent | {"subject": "nowhere", "ids": [three["GDX2"].pk]}).content.decode()
    assert "nowhere" in nowhere
    client.force_login(personas["grid_worker"])
    assert client.get(page).status_code == 403


def test_one_is_shown_with_its_frames_decoded_and_adopted_on_its_page(packs, caterer, client, personas):
    raw = gb26875.send(
        "0000000003e9", "000000000001", 1, 3,
        [{"sys_type": 1, "sys_addr": 1, "comp_type": 17, "comp_addr": 5, "analog_type": 9, "raw": 42,
          "time": local_from_ms(1_772_000_000_000)}], 1_772_000_000_000,
    )  # fmt: skip
    store_quarantined([frame(1, "0000000003e9", protocol="gb26875", channels=["sys1.17.5.a9"], raw=raw)])
    row = UnknownDevice.objects.get()
    client.force_login(personas["city_officer"])
    url = reverse("monitoring:stranger", args=[row.pk])
    page = client.get(url).content.decode()
    assert "adu.objects[0].value" in page
    assert "4.2" in page
    bad = client.post(url, {"model": "smart_fire.smart_electricity", "subject": "nowhere"})
    assert bad.status_code == 422
    good = client.post(url, {"model": "smart_fire.smart_electricity", "subject": "C1", "name": "配电箱"})
    assert good.status_code == 302
    assert Device.objects.get().name == "配电箱"
    assert client.get(url).status_code == 200


def test_one_is_ignored_and_forgotten_on_its_page(three, client, personas):
    client.force_login(personas["city_officer"])
    row = three["GDX0"]
    url = reverse("monitoring:leave", args=[row.pk])
    assert client.post(url, {"what": "ignore", "reason": ""}).status_code == 422
    client.post(url, {"what": "ignore", "reason": "不归我们管"})
    row.refresh_from_db()
    assert row.state == "ignored"
    client.post(url, {"what": "reconsider"})
    row.refresh_from_db()
    assert row.state == "waiting"
    client.post(url, {"what": "forget", "reason": "不归我们管"})
    assert not UnknownDevice.objects.filter(pk=row.pk).exists()


def test_the_list_keeps_the_contract_of_lists(client, personas, packs):
    def make(n):
        start = UnknownDevice.objects.count()
        store_quarantined([frame(i + 1, f"K{i:04d}", after_s=i) for i in range(start, start + n)])

    people = [personas[name] for name in ("city_officer", "town_officer_here", "no_post")]
    check_list_page(client, UnknownList, reverse("monitoring:unknown"), users=people, make=make)


# files


def file_of(text, personas):
    spec = all_specs()["adoption"]
    return receive(ContentFile(text.encode(), name="a.csv"), "a.csv", spec, actor=personas["city_officer"], at=NOON)


def test_a_file_adopts_each_at_its_own_site_after_a_dry_run(three, caterer, personas):
    text = "设备标识,对象编号,型号\nGDX0,C1,\nGDX1,C1,可燃气体报警器\nGDX9,C1,\nGDX2,C9,\n"
    run = file_of(text, personas)
    begin(run.pk, actor=personas["city_officer"], at=NOON, write=False)
    run.refresh_from_db()
    assert not Device.objects.exists()
    begin(run.pk, actor=personas["city_officer"], at=NOON, write=True)
    assert set(Device.objects.values_list("key", "subject__key")) == {("GDX0", "C1"), ("GDX1", "C1")}
    again = file_of(text, personas)
    for write in (False, True):
        begin(again.pk, actor=personas["city_officer"], at=NOON, write=write)
    assert Device.objects.count() == 2
    assert [row["key"] for row in all_specs()["adoption"].export(personas["city_officer"])] == ["GDX0", "GDX1"]
