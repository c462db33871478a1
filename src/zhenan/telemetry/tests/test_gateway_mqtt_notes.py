"""MQTT devices beyond flat telemetry: shapes of their own, retained messages, birth, will, answers to orders."""

import asyncio
import json
import time

import msgspec

from zhenan.telemetry.gateway.downlink import SAID, Told
from zhenan.telemetry.gateway.mapping import Layout, written
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.tests.gateway_support import gateway, log_of, mqtt_client, point, readings_of
from zhenan.telemetry.tests.test_gateway_tcp import quarantine, run

NOW = int(time.time()) * 1000
LAYOUT = written(Layout({"lel": "$.g.lel"}, samples="$.d[*]", ts="$.t", ts_unit="s"))
ROWS = [
    point("mqtt_json", "GD1", 7, "lel", 1, layout=LAYOUT),
    point("mqtt_json", "GD2", 8, "lel", 2),
]


async def publish(client, topic, payload, **more):
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    info = client.publish(topic, data, qos=1, **more)
    await asyncio.to_thread(info.wait_for_publish, 10)


async def settled(up, frames):
    for _ in range(200):
        if up.gateway.counters.get("frames", "mqtt_json") >= frames:
            await asyncio.sleep(0.3)
            return
        await asyncio.sleep(0.05)
    raise AssertionError("not all messages came")


def test_a_model_s_own_shape_is_read_and_what_does_not_fit_is_kept_aside(tmp_nats):
    async def story():
        client = mqtt_client(tmp_nats, "GD1")
        async with gateway(tmp_nats, ROWS) as up:
            await asyncio.wait_for(up.gateway.mqtt.ready.wait(), 10)
            await publish(
                client, "d/GD1/up/telemetry", {"d": [{"t": NOW // 1000, "g": {"lel": 3}}, {"g": {"lel": "x"}}]}
            )
            await publish(client, "d/GD1/up/telemetry", {"lel": 4})
            await settled(up, 2)
        client.loop_stop()
        assert await readings_of(tmp_nats) == [(1, NOW, 3.0)]
        kept = [
            row for m in await log_of(tmp_nats, stream=streams.QUARANTINE) for row in quarantine.unpack(m.data).rows
        ]
        assert [(row.reason, row.detail) for row in kept] == [
            ("malformed_body", "[1].lel: text"), ("malformed_body", ": no_channel"),
        ]  # fmt: skip

    run(story())


def test_a_retained_reading_is_taken_once_however_often_it_is_delivered(tmp_nats):
    async def story():
        client = mqtt_client(tmp_nats, "GD2")
        async with gateway(tmp_nats, ROWS) as up:
            await asyncio.wait_for(up.gateway.mqtt.ready.wait(), 10)
            await publish(client, "d/GD2/up/telemetry", {"ts": NOW, "values": {"lel": 3}}, retain=True)
            await settled(up, 1)
        async with gateway(tmp_nats, ROWS) as up:  # a gateway that comes later is not given it as news
            await asyncio.wait_for(up.gateway.mqtt.ready.wait(), 10)
            await publish(client, "d/GD2/up/telemetry", {"ts": NOW + 1, "values": {"lel": 4}})
            await settled(up, 1)
            assert up.gateway.counters.get("frames", "mqtt_json") == 1
        client.loop_stop()
        assert await readings_of(tmp_nats) == [(2, NOW, 3.0), (2, NOW + 1, 4.0)]

    run(story())


def test_birth_will_and_answers_are_passed_on_and_garbage_is_kept_aside(tmp_nats):
    heard = []

    async def hear(message):
        heard.append(msgspec.json.decode(message.data, type=Told))

    async def story():
        client = mqtt_client(tmp_nats, "GD2")
        desk = await connect(tmp_nats.url, "desk")
        await desk.subscribe(f"{SAID}.>", cb=hear)
        async with gateway(tmp_nats, ROWS) as up:
            await asyncio.wait_for(up.gateway.mqtt.ready.wait(), 10)
            await publish(client, "d/GD2/up/state", {"online": True}, retain=True)
            await publish(client, "d/GD2/up/reply/12", {"ok": True, "valve": "closed"})
            await publish(client, "d/GD2/up/reply/13", {"ok": False, "error": "jammed"})
            await publish(client, "d/GD2/up/state", {"online": False}, retain=True)
            for topic, payload in (("state", b"off"), ("state", {"online": 1}), ("reply/x", {}), ("reply/1", b"\xff")):
                await publish(client, f"d/GD2/up/{topic}", payload)
            await publish(client, "d/NOBODY/up/state", {"online": True})
            await publish(client, "d/GD2/up/event", {"anything": 1})
            await settled(up, 10)
            assert up.gateway.intake.totals == {"malformed_body": 4}
        await desk.close()
        client.loop_stop()
        assert [(told.key, told.state, told.id, told.error) for told in heard] == [
            ("GD2", "online", 0, ""), ("GD2", "confirmed", 12, ""), ("GD2", "denied", 13, "jammed"),
            ("GD2", "offline", 0, ""),
        ]  # fmt: skip
        assert heard[1].data == {"ok": True, "valve": "closed"}

    run(story())
