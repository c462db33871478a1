"""MQTT devices at the gateway's port: bounds on silence, halves and memory, a broker that is none, TLS."""

import asyncio
import resource
from types import SimpleNamespace

from zhenan.server.embedded import free_port
from zhenan.telemetry.gateway.mqtt_front import MqttLimits
from zhenan.telemetry.gateway.mqtt_link import Broker, Device
from zhenan.telemetry.gateway.tls import server_context
from zhenan.telemetry.tests.gateway_support import (
    gateway,
    with_front,
)
from zhenan.telemetry.tests.test_codec_mqtt_packets import connect, publish
from zhenan.telemetry.tests.test_gateway_mqtt import refused, run, until
from zhenan.telemetry.tests.test_gateway_mqtt_front import ROWS, TOPIC, _of, device, ended, heard, pubacks, said
from zhenan.telemetry.tests.test_gateway_tls import client_context, issue


def test_a_broker_whose_address_leads_back_here_is_found_out(tmp_nats):
    async def story():
        port = free_port(0)
        circle = with_front(tmp_nats, port=port) | {"mqtt_broker": ("127.0.0.1", port)}
        async with gateway(tmp_nats, ROWS, mqtt=False, **circle) as up:
            for _ in range(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(connect())
                assert await ended(reader) == b""
            await until(lambda: _of(not up.gateway.front.open))
            assert up.gateway.counters.get("connections", "mqtt") < 20
            assert up.gateway.counters.get("mqtt_broker_is_here") == 2
            assert not up.gateway.front.meeting

    run(story())


def test_many_that_say_nothing_or_half_a_greeting_keep_nobody_out_and_no_memory(tmp_nats, monkeypatch):
    monkeypatch.setattr("zhenan.telemetry.gateway.mqtt_link._TICK_S", 0.2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(1500, (hard - 1000) // 2)  # both ends are here

    async def story():
        limits = MqttLimits(greeting_s=120, connections=count)
        async with gateway(tmp_nats, ROWS, mqtt=False, **with_front(tmp_nats, mqtt_limits=limits)) as up:
            port, silent = up.port("mqtt"), []
            for begin in range(0, count - 1, 500):
                more = (asyncio.open_connection("127.0.0.1", port) for _ in range(begin, min(begin + 500, count - 1)))
                silent += await asyncio.gather(*more)
            for _, writer in silent[::10]:
                writer.write(connect()[:20])
            front = up.gateway.front
            while len(front.open) < count - 1:
                await asyncio.sleep(0.02)
            reader, writer = await device(tmp_nats, port)
            writer.write(said(0))
            assert await heard(reader, 4) == pubacks(1)
            _, one_more = await asyncio.open_connection("127.0.0.1", port)
            while not up.gateway.counters.get("connections_refused", "mqtt"):
                await asyncio.sleep(0.02)
            for one in front.open:
                one.limits = MqttLimits(greeting_s=0)
            await until(lambda: _of(len(front.open) == 1), 30)  # those who never said who they are
            assert front.kept == 0
            writer.write(said(1))
            assert await heard(reader, 4) == pubacks(2)
            for _, one in [*silent, (None, one_more)]:
                one.transport.abort()

    try:
        run(story())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_half_packets_of_all_together_have_a_bound_and_one_that_never_ends_has_its_time(tmp_nats, monkeypatch):
    monkeypatch.setattr("zhenan.telemetry.gateway.mqtt_link._TICK_S", 0.1)
    half = publish(TOPIC, b"[" * 60_000)[:-1]

    async def story():
        limits = MqttLimits(kept=100_000, partial_s=1)
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats, mqtt_limits=limits)) as up:
            first, second = [await device(tmp_nats, up.port("mqtt"), name=f"h{n}") for n in range(2)]
            first[1].write(half)
            await until(lambda: _of(up.gateway.front.kept == len(half)))
            second[1].write(half)
            assert await ended(second[0]) == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("mqtt"))
            writer.write(connect(flags=0xC6, texts=(b"x", b"will", b"y" * 60_000, b"device", b""))[:-1])
            assert await ended(reader) == b""  # nor may those who have not said who they are
            assert await ended(first[0]) == b""
            assert up.gateway.front.kept == 0
            await until(lambda: _of(up.gateway.intake.totals.get("malformed") == 3))
            assert sorted(r.detail for r in await refused(tmp_nats)) == [
                "MQTT: half a packet", "MQTT: too much is half said", "MQTT: too much is half said",
            ]  # fmt: skip

    run(story())


def test_it_speaks_tls(tmp_nats, tmp_path):
    issue(tmp_path, "server", issue(tmp_path, "ca"))

    def files(name):
        return str(tmp_path / name)

    async def story():
        tls = {"mqtt": server_context(files("server.crt"), files("server.key"))}
        async with gateway(tmp_nats, ROWS, tls=tls, **with_front(tmp_nats)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"), tls=client_context(files))
            writer.write(said(0))
            assert await heard(reader, 4) == pubacks(1)
            writer.close()

    run(story())


def test_an_answer_waits_until_the_brokers_packet_has_ended():
    written = []
    ends = SimpleNamespace(write=written.append, is_closing=lambda: False, pause_reading=lambda: None,
                           resume_reading=lambda: None, close=lambda: written.append("closed"))  # fmt: skip
    one = Device(SimpleNamespace(limits=MqttLimits()))
    one.transport, one.welcome, one.broker = ends, True, Broker(one)
    one.broker.transport = ends
    command = publish(b"d/cat-1/down/cmd/1", b"close", packet_id=5)
    one.asked(2)
    one.broker.data_received(command[:9])
    one.answer(1, pubacks(1))
    one.broker.data_received(command[9:-1])
    assert b"".join(written) == command[:-1]
    one.broker.data_received(command[-1:])
    one.answer(1, pubacks(2))
    assert b"".join(written) == command + pubacks(1, 2)
