"""Commands over MQTT with QoS 1: a device that was away gets its command once, and none that nobody wants any more."""

import asyncio
import contextlib
import json
import threading
import time
from datetime import timedelta
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
import pytest
from django.db import connections
from django.utils import timezone

from zhenan.domains.monitoring import commands
from zhenan.domains.monitoring.commands import Outgoing
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import DeviceCommand
from zhenan.domains.register.models import Subject
from zhenan.packkit.sync import sync_packs
from zhenan.server.processes import Process, mqtt_down
from zhenan.server.processes import commands as sender
from zhenan.server.processes.mqtt_down import Delivery, Publisher
from zhenan.telemetry.gateway.downlink import Told
from zhenan.telemetry.log.connect import connect


class Device:
    """An MQTT device; with a session (`clean` False) the broker keeps for it what comes while it is away."""

    def __init__(self, nats, key, *, clean=False, qos=1):
        self.address, self.key, self.clean, self.qos = urlsplit(nats.mqtt_url), key, clean, qos
        self.got, self.client = [], None

    def come(self):
        ready = threading.Event()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=self.key, clean_session=self.clean)
        client.username_pw_set(self.address.username, unquote(self.address.password))
        client.on_message = lambda _c, _u, m: self.got.append((m.topic, m.payload, m.qos, m.retain))
        client.on_connect = lambda c, *_: c.subscribe(f"d/{self.key}/down/cmd/#", qos=self.qos)
        client.on_subscribe = lambda *_: ready.set()
        client.connect(self.address.hostname, self.address.port, keepalive=5)
        client.loop_start()
        assert ready.wait(10)
        self.client = client

    def go(self):
        self.client.disconnect()
        self.client.loop_stop()

    @property
    def ids(self):
        return [json.loads(body)["id"] for _, body, *_ in self.got if body]


def one(number, key="V1", **more):
    return Outgoing(number, "mqtt_json", key, "close", {"valve": "closed"}, {}, 0, **more)


@contextlib.asynccontextmanager
async def broker(nats, nats_url=""):
    client = await connect(nats.url, "sender")
    publisher = Publisher(nats.mqtt_url, nats_url or nats.url)
    try:
        yield Delivery(client, publisher)
    finally:
        await asyncio.to_thread(publisher.stop)
        await client.close()


async def until(true):
    for _ in range(200):
        if true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come to that")


def run(story):
    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_device_that_is_here_gets_its_command_with_qos_1_under_its_own_topic(tmp_nats):
    device = Device(tmp_nats, "V1")

    async def story():
        async with broker(tmp_nats) as delivery:
            await asyncio.to_thread(device.come)
            assert await delivery.send([one(7)]) == ([7], [])
            await until(lambda: device.got)
            assert device.got == [("d/V1/down/cmd/7", b'{"valve":"closed","id":7}', 1, False)]
        device.go()

    run(story)
    assert mqtt_down.subject_of(one(7, "SV.1")) == "d.SV//1.down.cmd.7"  # a dot inside a level, as the broker has it


def test_a_device_that_was_away_gets_its_command_once_however_often_it_was_due(tmp_nats):
    device = Device(tmp_nats, "V1")

    async def story():
        async with broker(tmp_nats) as delivery:
            await asyncio.to_thread(device.come)
            await asyncio.to_thread(device.go)
            for _ in range(4):
                assert await delivery.send([one(8)]) == ([8], [])
            await asyncio.to_thread(device.come)
            await until(lambda: device.ids)
            await until_empty(delivery)
            assert await delivery.send([one(8)]) == ([], [8])  # it has it: said once, and not sent again
            await asyncio.sleep(0.3)
            assert device.ids == [8]
        device.go()

    run(story)


async def until_empty(delivery):
    for _ in range(100):
        if not await delivery._numbers(mqtt_down.KEPT):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the broker still keeps it")


def test_what_has_ended_is_taken_out_of_the_broker_and_reaches_nobody(tmp_nats):
    device, stranger = Device(tmp_nats, "V1"), Device(tmp_nats, "V2", clean=True)

    async def story():
        async with broker(tmp_nats) as delivery:
            await asyncio.to_thread(device.come)
            await asyncio.to_thread(device.go)
            await delivery.send([one(9), one(10), one(11, "V2", retained=True)])
            asked = []

            async def over(numbers):
                asked.append(numbers)
                return {9, 11} & set(numbers)

            assert await delivery.take_back(over) == 2
            assert await delivery.take_back(over) == 0
            assert asked == [[9, 10, 11], [10]]
            await asyncio.to_thread(device.come)
            await asyncio.to_thread(stranger.come)
            await until(lambda: device.ids)
            await asyncio.sleep(0.3)
            assert (device.ids, stranger.ids) == ([10], [])
        device.go()
        stranger.go()

    run(story)


def test_a_retained_command_is_there_for_a_device_without_a_session(tmp_nats):
    device = Device(tmp_nats, "V1", clean=True)

    async def story():
        async with broker(tmp_nats) as delivery:
            await delivery.send([one(12, retained=True), one(13)])
            await asyncio.to_thread(device.come)
            await until(lambda: device.ids)
            await asyncio.sleep(0.3)
            assert [(body, retain) for _, body, _, retain in device.got] == [(b'{"valve":"closed","id":12}', True)]
        device.go()

    run(story)


def test_where_the_broker_lets_nobody_publish_commands_they_go_out_with_qos_0(tmp_nats):
    device = Device(tmp_nats, "V1")

    async def story():
        async with broker(tmp_nats, nats_url="nats://nobody:wrong@127.0.0.1:4222") as delivery:
            await asyncio.to_thread(device.come)
            assert await delivery.send([one(14)]) == ([14], [])
            await until(lambda: device.ids)
            assert device.got[0][2] == 0
        device.go()

    run(story)


def test_a_broker_that_is_away_leaves_the_command_waiting(tmp_nats):
    async def story():
        async with broker(tmp_nats) as delivery:
            await delivery.send([one(15)])
            tmp_nats.kill()
            with pytest.raises(OSError, match=r"MQTT|refused"):
                await delivery.publisher.publish([("d/V1/down/cmd/16", b"{}", False)])

    run(story)


@pytest.mark.django_db(transaction=True)
def test_a_valve_that_was_away_closes_once_when_it_comes_back_and_not_after_its_time(tmp_nats, personas, monkeypatch):
    sync_packs()
    site = Subject.objects.create(
        type="catering_gas.caterer", programme="catering_gas", key="C1", name="饭店", division=personas.grid,
        organisation=personas.organisations["enterprise-here"],
    )  # fmt: skip
    valve = register_device(subject=site, model="catering_gas.shutoff_valve", key="V1", name="阀", by=None,
                            at=timezone.now())  # fmt: skip
    at, device = timezone.now(), Device(tmp_nats, "V1")
    monkeypatch.setenv("NATS_URL", tmp_nats.url)
    monkeypatch.setenv("MQTT_URL", tmp_nats.mqtt_url)
    monkeypatch.setattr(sender, "EVERY_S", 0.1)
    monkeypatch.setattr(sender, "SWEEP_S", 0.1)
    monkeypatch.setattr(commands, "AGAIN", (0.2,))  # due again and again

    async def story():
        process, client = Process("test"), await connect(tmp_nats.url, "test")
        await asyncio.to_thread(device.come)
        await asyncio.to_thread(device.go)
        good = await process.database(lambda: DeviceCommand.objects.create(
            device=valve, command="close", payload={"valve": "closed"}, asked_at=at).pk)  # fmt: skip
        late = await process.database(lambda: DeviceCommand.objects.create(
            device=valve, command="close", payload={"valve": "closed"}, asked_at=at,
            expires_at=timezone.now() + timedelta(seconds=1)).pk)  # fmt: skip
        sending = asyncio.create_task(sender.send_commands(process, client, asyncio.Event()))
        delivery = Delivery(client, None)
        began = time.monotonic()
        while set(await delivery._numbers(mqtt_down.KEPT)) != {good} or time.monotonic() - began < 1.5:
            await asyncio.sleep(0.1)  # the second has had its time, and is no longer kept
        await asyncio.to_thread(device.come)
        await until(lambda: device.ids)
        while await process.database(lambda: DeviceCommand.objects.get(pk=good).state) != "accepted":
            await asyncio.sleep(0.1)
        await process.database(lambda: commands.heard(Told("mqtt_json", "V1", "confirmed", good), at=timezone.now()))
        await asyncio.sleep(0.5)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await client.close()
        rows = await process.database(lambda: dict(DeviceCommand.objects.values_list("pk", "state")))
        await process.once(connections.close_all)
        assert rows == {good: "confirmed", late: "timed_out"}
        assert device.ids == [good]
        device.go()

    run(story)
