"""A command from its row to the device and back; an adopted device's frames into the log. Real broker and gateway."""

import asyncio
import contextlib
import time
from collections import Counter

import pytest
from django.db import connections
from django.utils import timezone

from zhenan.domains.monitoring import adoption, commands, queries
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import Device as Vehicle
from zhenan.domains.monitoring.models import DeviceCommand, QuarantinedFrame, UnknownDevice
from zhenan.domains.monitoring.services import store_quarantined
from zhenan.domains.register.models import Subject
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.evidence.models import Evidence
from zhenan.packkit.sync import sync_packs
from zhenan.server.processes import Process, simulator
from zhenan.server.processes import commands as sender
from zhenan.server.processes import gateway as gateway_process
from zhenan.server.processes.files import Files
from zhenan.server.processes.historian import frames_of
from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.gateway.core import Config, Gateway
from zhenan.telemetry.gateway.downlink import Patience
from zhenan.telemetry.gateway.sessions_jt808 import Media
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.tests.gateway_support import CENTRE, log_of, readings_of
from zhenan.telemetry.tests.test_gateway_downlink import Device

KEY = "0000000003e9"
NOW = int(time.time()) * 1000
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(transactional_db, personas):
    sync_packs()
    return Subject.objects.create(
        type="smart_fire.site", programme="smart_fire", key="F1", name="老街商场", division=personas.grid,
        organisation=personas.organisations["enterprise-here"], attributes={"place_kind": "small_shop"},
    )  # fmt: skip


@contextlib.asynccontextmanager
async def running(tmp_nats):
    """A gateway on the database's register, the sender, and what takes adopted frames."""
    process = Process("test")
    client = await connect(tmp_nats.url, "test")

    async def stamp():
        return await process.once(queries.devices_stamp)

    async def load():
        return await stamp(), await process.database(lambda: list(queries.gateway_points()))

    config = Config(host="127.0.0.1", ports={"gb26875": 0}, mqtt=False, refresh_s=0.2, patience=Patience(answer_s=0.5))
    gateway = Gateway(client, load, stamp, config)
    await gateway.start()
    tasks = [
        asyncio.create_task(sender.send_commands(process, client, asyncio.Event())),
        asyncio.create_task(gateway_process.take_adopted(process, gateway)),
    ]
    try:
        yield gateway, process
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await gateway.stop()
        await client.close()
        await process.once(connections.close_all)


async def until(process, call):
    for _ in range(150):
        if found := await process.once(call):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError("it did not come to that")


def status(n, at_ms):
    return gb26875.send(KEY, CENTRE, n, 21, [{"status": 2, "time": local_from_ms(at_ms)}], at_ms)


def test_a_command_waits_for_its_device_reaches_it_and_each_step_is_told_once(tmp_nats, site, personas, monkeypatch):
    monkeypatch.setattr(sender, "EVERY_S", 0.2)
    device = register_device(
        subject=site, model="smart_fire.transmission_device", key=KEY, name="传输装置", by=None, at=timezone.now()
    )
    row = commands.ask(device.pk, command="sync_clock", args={}, by=personas["city_officer"], at=timezone.now())

    async def story():
        async with running(tmp_nats) as (gateway, process):
            await until(process, lambda: DeviceCommand.objects.filter(pk=row.pk, tries__gt=0).exists())
            peer = Device(gb26875.Splitter(), gb26875.parse)
            await peer.connect(gateway.listeners["gb26875"].port)
            peer.send(status(1, NOW))
            assert (await peer.hear())["cmd"] == gb26875.CONFIRM
            asked = await peer.hear()
            assert asked["adu"]["type_flag"] == 90
            assert (await peer.hear())["serial"] == asked["serial"]  # it did not answer, so it is sent again
            peer.send(gb26875.confirm(asked, NOW))
            await until(process, lambda: DeviceCommand.objects.filter(pk=row.pk, state="confirmed").exists())

    asyncio.run(asyncio.wait_for(story(), 60))
    kinds = [e.kind for e in timeline_of(device) if e.kind.startswith("device.")]
    assert kinds == ["device.command_done", "device.command", "device.asked", "device.registered"]


def test_what_a_device_said_before_it_was_adopted_is_in_the_log_and_nothing_twice(tmp_nats, site, monkeypatch):
    monkeypatch.setattr(gateway_process, "ADOPTED_S", 0.2)

    async def story():
        async with running(tmp_nats) as (gateway, process):
            peer = Device(gb26875.Splitter(), gb26875.parse)
            await peer.connect(gateway.listeners["gb26875"].port)
            for n in range(3):
                peer.send(status(n, NOW + n * 1000))
                assert (await peer.hear())["cmd"] == gb26875.CONFIRM
            kept = [row for m in await log_of(tmp_nats, stream=streams.QUARANTINE) for row in frames_of(m)]
            await process.once(store_quarantined, kept)
            unknown = await process.once(UnknownDevice.objects.get)
            assert (unknown.key, unknown.frames, unknown.channels) == (KEY, 3, ["status"])
            await process.once(
                adoption.adopt, unknown.pk, model="smart_fire.transmission_device", subject=site, by=None,
                at=timezone.now(),
            )  # fmt: skip
            await until(process, lambda: QuarantinedFrame.objects.filter(state="taken").count() == 3)
            peer.send(status(9, NOW + 9000))
            assert (await peer.hear())["cmd"] == gb26875.CONFIRM
            points = await process.once(lambda: UnknownDevice.objects.get().device.points.count())
            return points

    points = asyncio.run(asyncio.wait_for(story(), 60))
    found = asyncio.run(readings_of(tmp_nats))
    assert points == 6
    assert sorted({ts for _, ts, _ in found}) == [NOW, NOW + 1000, NOW + 2000, NOW + 9000]
    assert len(found) == len(set(found)) == 4 * points


def test_a_picture_survives_a_gateway_that_is_killed_before_it_is_stored(site, personas, tmp_path, monkeypatch):
    monkeypatch.setenv("ZHENAN_DATA", str(tmp_path))
    vehicle = Vehicle.objects.create(
        protocol="jt808", key="13800138000", model="transport.terminal", programme="transport", subject=site, name="V"
    )
    kept = Files(Process("test"))
    assert kept.media(Media("13800138000", 7, 0, 0, 1, 2, {"time": None}, b"no picture"))
    (kept.folder / "x.media").write_bytes(b"damaged")

    async def story():
        process = Process("test")
        later = asyncio.create_task(Files(process).run())
        await until(process, lambda: Evidence.objects.filter(target=f"monitoring.device:{vehicle.pk}").exists())
        later.cancel()
        await process.once(connections.close_all)

    asyncio.run(asyncio.wait_for(story(), 30))
    assert Evidence.objects.get().size_bytes == len(b"no picture")
    assert list(kept.folder.glob("*.media")) == []
    monkeypatch.setattr("zhenan.server.processes.files.MEDIA_WAITING", 0)
    assert not kept.media(Media("13800138000", 8, 0, 0, 1, 2, {}, b"x"))  # no room: the terminal keeps it


def test_a_simulated_terminal_obeys_and_its_guard_answers(tmp_nats, site, personas, monkeypatch):
    monkeypatch.setattr(sender, "EVERY_S", 0.2)
    monkeypatch.setattr(simulator, "GUARD_S", 0.3)
    device = register_device(
        subject=site, model="smart_fire.transmission_device", key=KEY, name="传输装置", by=None, at=timezone.now()
    )
    officer, at = personas["city_officer"], timezone.now()
    for command, args in (("patrol", {"minutes": 1}), ("read_device_version", {}), ("initialise", {})):
        commands.ask(device.pk, command=command, args=args, by=officer, at=at)
    start = {"start": "2026-03-02T08:00:00"}
    commands.ask(device.pk, command="read_device_operations", args=start, by=officer, at=at)

    async def story():
        async with running(tmp_nats) as (gateway, process):
            port = gateway.listeners["gb26875"].port
            terminal = simulator.Terminal(KEY, lambda: ("127.0.0.1", port), Counter())
            terminal.send(21, [{"status": 1, "time": local_from_ms(NOW)}])
            await until(process, lambda: not DeviceCommand.objects.filter(state__in=DeviceCommand.OPEN).exists())
            terminal.stop()
            assert terminal.counts["confirmed"] >= 2  # its status, and the guard's report

    asyncio.run(asyncio.wait_for(story(), 60))
    assert dict(DeviceCommand.objects.values_list("command", "state")) == {
        "patrol": "confirmed", "read_device_version": "confirmed", "initialise": "confirmed",
        "read_device_operations": "denied",
    }  # fmt: skip
    assert DeviceCommand.objects.get(command="patrol").reply == {"answered": True}
