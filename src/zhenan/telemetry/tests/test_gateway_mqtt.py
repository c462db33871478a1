"""JSON over MQTT on the real broker: PUBACKed messages reach the log exactly once, whoever is killed."""

import asyncio
import json
import threading
import time

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import mqtt_json
from zhenan.telemetry.codecs.base import NO_DEVICE_TIME
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway import mqtt, mqtt_messages, quarantine
from zhenan.telemetry.gateway.registry import Registry, map_readings
from zhenan.telemetry.log import streams
from zhenan.telemetry.tests.gateway_support import gateway, log_of, mqtt_client, point, publish_all, readings_of

NOW = int(time.time()) * 1000
TOPIC = "d/cat-1/up/telemetry"
ROWS = [
    point("mqtt_json", "cat-1", 1, "gas", 1, scale=2.0, low=0.0, high=100.0),
    point("mqtt_json", "a.b", 2, "gas", 2),
]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def sample(ts, **values):
    return {"ts": ts, "values": values}


def publish(client, topic, *payloads, qos=1):
    """Publish, and wait until each is PUBACKed."""
    infos = [client.publish(topic, p if isinstance(p, bytes) else json.dumps(p), qos=qos) for p in payloads]
    for info in infos:
        info.wait_for_publish(20)


async def until(true, wait_s=15):
    deadline = time.monotonic() + wait_s
    while not await true():
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.05)


async def arrived(nats, count):
    async def enough():
        return len(await readings_of(nats)) >= count

    await until(enough)
    await asyncio.sleep(0.3)
    return await readings_of(nats)


async def refused(nats):
    return [row for m in await log_of(nats, stream=streams.QUARANTINE) for row in quarantine.unpack(m.data).rows]


values = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.sampled_from(["open", True, None, [1], 5, 60, 1e308]))
samples = st.one_of(
    st.fixed_dictionaries(
        {"ts": st.sampled_from([NOW, NOW + 300_000, NOW + 300_001, 0, 10**11 - 1, 10**11, NOW // 1000, 1.5, "x", None]),
         "values": st.dictionaries(st.sampled_from(["gas", "co", "bit", "other"]), values, max_size=3)}),
    st.just([]), st.just({"gas": 1}), st.just({"ts": NOW, "values": 3}), st.just({"ts": NOW, "values": {}, "x": 1}),
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(samples)
def test_a_plain_sample_says_what_the_decoder_and_the_register_say(document):
    data = json.dumps(document).encode()
    rows = [*ROWS[:1], point("mqtt_json", "cat-1", 1, "co", 5), point("mqtt_json", "cat-1", 1, "bit", 6, bit=0)]
    device = Registry(rows).find("mqtt_json", "cat-1")
    quick = mqtt_messages.plain_sample(device, data, NOW)
    if quick is None:
        return
    payload = mqtt_json.decode(data, NOW, device="cat-1")
    mapped = map_readings(device, payload.readings, NOW)
    assert not payload.errors
    assert not mapped.unmapped
    assert not mapped.future
    names = ("point", "ts", "value", "quality")
    assert [list(getattr(quick, n)) for n in names] == [list(getattr(mapped.rows, n)) for n in names]


def test_an_ordinary_sample_is_a_plain_one():
    device = Registry(ROWS).find("mqtt_json", "cat-1")
    assert len(mqtt_messages.plain_sample(device, json.dumps(sample(NOW, gas=3)).encode(), NOW)) == 1


@pytest.mark.parametrize(
    ("subject", "found"),
    [
        ("d.cat-1.up.telemetry", ("cat-1", "telemetry")),
        ("d.a//b.up.reply.7", ("a.b", "reply/7")),
        ("d.cat-1.down.cmd", ("", "d.cat-1.down.cmd")),
        ("telemetry", ("", "telemetry")),
    ],
)
def test_the_device_is_read_from_the_topic(subject, found):
    assert mqtt.topic_of(subject) == found


def test_what_was_acknowledged_over_mqtt_is_in_the_log(tmp_nats):
    async def story():
        device = await asyncio.to_thread(mqtt_client, tmp_nats, "x")
        async with gateway(tmp_nats, ROWS) as up:
            await up.gateway.mqtt.ready.wait()
            await asyncio.to_thread(publish, device, TOPIC, sample(NOW, gas=3), [sample(NOW + 1, gas=60)])
            await asyncio.to_thread(publish, device, "d/a.b/up/telemetry", sample(NOW, gas=1))
            assert await arrived(tmp_nats, 3) == [(1, NOW, 6.0), (1, NOW + 1, 120.0), (2, NOW, 1.0)]
            columns = Columns.concat([Columns.unpack(m.data) for m in await log_of(tmp_nats)])
            assert columns.quality.tolist() == [0, 1, 0]  # 120 is outside of what the sensor can read
        device.disconnect()

    run(story())


def test_a_state_written_as_a_word_is_taken_as_its_number(tmp_nats):
    rows = [point("mqtt_json", "cat-1", 1, "valve", 1, states={"closed": 0.0, "open": 1.0})]

    async def story():
        device = await asyncio.to_thread(mqtt_client, tmp_nats, "x")
        async with gateway(tmp_nats, rows) as up:
            await up.gateway.mqtt.ready.wait()
            await asyncio.to_thread(publish, device, TOPIC, sample(NOW, valve="open"), sample(NOW + 1, valve="ajar"))
            await asyncio.to_thread(publish, device, TOPIC, sample(NOW + 2, valve=0))
            assert await arrived(tmp_nats, 2) == [(1, NOW, 1.0), (1, NOW + 2, 0.0)]
            assert up.gateway.intake.totals == {"malformed_body": 1}
        device.disconnect()

    run(story())


def test_messages_wait_in_the_broker_while_the_gateway_is_down(tmp_nats):
    async def story():
        device = await asyncio.to_thread(mqtt_client, tmp_nats, "x")
        async with gateway(tmp_nats, ROWS) as up:
            await up.gateway.mqtt.ready.wait()
        await asyncio.to_thread(publish, device, TOPIC, *(sample(NOW + n, gas=n) for n in range(50)))
        async with gateway(tmp_nats, ROWS) as up:
            found = await arrived(tmp_nats, 50)
            assert [r[1] for r in found] == [NOW + n for n in range(50)]

            async def empty():
                return (await up.client.jetstream().stream_info(streams.MQTT)).state.messages == 0

            await until(empty)  # acknowledged, so the broker need not keep them
        device.disconnect()

    run(story())


def test_qos_0_is_taken_when_we_are_there_and_qos_1_not_twice(tmp_nats):
    async def story():
        device = await asyncio.to_thread(mqtt_client, tmp_nats, "x")
        async with gateway(tmp_nats, ROWS) as up:
            await up.gateway.mqtt.ready.wait()
            device.publish(TOPIC, json.dumps(sample(NOW, gas=1)), qos=0)
            await asyncio.to_thread(publish, device, TOPIC, sample(NOW + 1, gas=1))
            assert len(await arrived(tmp_nats, 2)) == 2
        device.disconnect()

    run(story())


def test_each_kind_of_bad_message_is_kept_and_counted_and_the_rest_taken(tmp_nats):
    good, ahead = sample(NOW, gas=1), sample(NOW + 3_600_000, gas=1)
    ill = [
        (TOPIC, b"\xc6\xf8\xcc\xe5", "malformed"),
        (TOPIC, b"{not json", "malformed"),
        (TOPIC, [good, sample(NOW, gas="12"), ahead], "malformed_body"),
        (TOPIC, sample(NOW, colour=3), "unmapped"),
        ("d/stranger/up/telemetry", sample(NOW, gas=5, co=7), "unknown_device"),
    ]

    async def story():
        device = await asyncio.to_thread(mqtt_client, tmp_nats, "x")
        async with gateway(tmp_nats, ROWS) as up:
            await up.gateway.mqtt.ready.wait()
            for topic, payload, _ in ill:
                await asyncio.to_thread(publish, device, topic, payload)
            await asyncio.to_thread(publish, device, TOPIC, {"gas": 4})
            found = await arrived(tmp_nats, 2)
            assert [r[2] for r in found] == [2.0, 8.0]
            assert up.gateway.intake.totals == {
                "malformed": 2, "malformed_body": 1, "future": 1, "unmapped": 1, "unknown_device": 2,
            }  # fmt: skip
        kept = await refused(tmp_nats)
        assert [r.reason for r in kept] == ["malformed", "malformed", "future", "malformed_body", "unmapped",
                                            "unknown_device"]  # fmt: skip
        assert kept[0].raw == ill[0][1]
        device.disconnect()
        last = Columns.unpack((await log_of(tmp_nats))[-1].data)
        assert last.quality.tolist()[-1] == NO_DEVICE_TIME

    run(story())


def test_a_flood_of_one_device_is_refused_and_counted_and_others_are_heard(tmp_nats):
    async def story():
        device = await asyncio.to_thread(mqtt_client, tmp_nats, "x")
        async with gateway(tmp_nats, ROWS, messages_per_s=10, burst=20) as up:
            await up.gateway.mqtt.ready.wait()
            await asyncio.to_thread(publish, device, TOPIC, *(sample(NOW + n, gas=1) for n in range(300)))
            await asyncio.to_thread(publish, device, "d/a.b/up/telemetry", sample(NOW, gas=1))

            async def heard():
                return (2, NOW, 1.0) in await readings_of(tmp_nats)

            await until(heard)
            stored = len(await readings_of(tmp_nats))
            assert stored < 60
            assert up.gateway.intake.totals["flood"] == 301 - stored
            assert len(await refused(tmp_nats)) <= 25
        device.disconnect()

    run(story())


@pytest.mark.parametrize("lanes", [1, 2])
def test_nothing_is_lost_or_doubled_when_the_gateway_and_the_broker_are_killed(tmp_nats, lanes):
    rows = [point("mqtt_json", f"dev{n}", n * 33, "v", n) for n in range(1, 5)]
    count, sure = 150, []

    def device(n):
        payloads = [json.dumps(sample(NOW + k, v=k)) for k in range(count)]
        sure.append(publish_all(tmp_nats, f"dev{n}", payloads))

    async def abandoned(wait_s):
        """A gateway that ends without any farewell."""
        async with gateway(tmp_nats, rows, lanes=lanes) as up:
            await asyncio.sleep(wait_s)
            for task in up.gateway._tasks:
                task.cancel()
            await up.client.close()
            up.gateway.listeners.clear()

    async def story():
        await asyncio.to_thread(lambda: mqtt_client(tmp_nats, "first").disconnect())  # the broker makes its streams
        async with gateway(tmp_nats, rows, lanes=lanes) as up:
            await up.gateway.mqtt.ready.wait()
        threads = [threading.Thread(target=device, args=(n,)) for n in range(1, 5)]
        for thread in threads:
            thread.start()
        for wait_s in (0.3, 0.5, 0.4):
            await abandoned(wait_s)
            tmp_nats.kill()
            await asyncio.to_thread(tmp_nats.start)
        async with gateway(tmp_nats, rows, lanes=lanes):
            await asyncio.to_thread(lambda: [thread.join() for thread in threads])
            await arrived(tmp_nats, 4 * count)
        assert sure == [count] * 4
        found = await readings_of(tmp_nats)
        # A device that reconnects sends what it holds unacknowledged once more; those copies are told by their time.
        assert set(found) == {(p, NOW + k, float(k)) for p in range(1, 5) for k in range(count)}

    run(story())
