"""Devices before the broker: readings answered from disk by the gateway, all else by the broker behind it."""

import asyncio
import json
import threading
import time
from urllib.parse import unquote, urlsplit

import pytest

from zhenan.telemetry.codecs.mqtt_json import MAX_PAYLOAD
from zhenan.telemetry.gateway.mqtt_front import MqttLimits
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect as nats_connect
from zhenan.telemetry.tests.gateway_support import (
    front_of,
    gateway,
    mqtt_client,
    point,
    publish_all,
    readings_of,
    with_front,
)
from zhenan.telemetry.tests.test_codec_mqtt_packets import connect, publish
from zhenan.telemetry.tests.test_gateway_mqtt import publish as say
from zhenan.telemetry.tests.test_gateway_mqtt import refused, run, sample, until

NOW = int(time.time()) * 1000
TOPIC = b"d/cat-1/up/telemetry"
ROWS = [point("mqtt_json", "cat-1", 1, "gas", 1), point("mqtt_json", "a.b", 2, "gas", 2)]
PONG = b"\xd0\x00"


def said(n, *, packet_id=None, qos=1, topic=TOPIC, dup=0):
    """PUBLISH of one sample."""
    known = n + 1 if packet_id is None else packet_id
    return publish(topic, json.dumps(sample(NOW + n, gas=n)).encode(), packet_id=known, qos=qos, dup=dup)


def pubacks(*ids):
    return b"".join(b"\x40\x02" + known.to_bytes(2, "big") for known in ids)


async def device(nats, port, *, name="raw", user="device", password=None, keepalive=60, tls=None):
    """A connection that has been let in: CONNECT and CONNACK are past."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    secret = unquote(urlsplit(nats.mqtt_url).password) if password is None else password
    writer.write(connect(keepalive=keepalive, texts=(name.encode(), user.encode(), secret.encode())))
    assert await asyncio.wait_for(reader.readexactly(4), 10) == b"\x20\x02\x00\x00"
    return reader, writer


async def heard(reader, size):
    return await asyncio.wait_for(reader.readexactly(size), 10)


async def ended(reader):
    """What still comes until the connection is closed."""
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionResetError:
        return b""


async def queued(nats):
    """How many messages the broker's own MQTT queue has ever had."""
    client = await nats_connect(nats.url, "test")
    state = (await client.jetstream().stream_info(streams.MQTT)).state
    await client.close()
    return state.last_seq


def test_what_was_acknowledged_is_in_the_log_and_never_was_in_the_brokers_queue(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"))
            await up.gateway.mqtt.ready.wait()
            begun = await queued(tmp_nats)
            writer.write(b"".join(said(n) for n in range(100)))
            assert await heard(reader, 400) == pubacks(*range(1, 101))
            assert await readings_of(tmp_nats) == [(1, NOW + n, float(n)) for n in range(100)]
            writer.write(said(100, topic=b"d/a.b/up/telemetry") + b"\xc0\x00" + said(101, qos=0))
            assert sorted([await heard(reader, 2), await heard(reader, 4)], key=len) in (
                [PONG, pubacks(101)], [b"\x40\x02", b"\x00\x65" + PONG],
            )  # fmt: skip
            await until(lambda: _count(tmp_nats, 102))
            assert (2, NOW + 100, 100.0) in await readings_of(tmp_nats)
            assert await queued(tmp_nats) == begun
            assert up.gateway.counters.get("frames", "mqtt_json") == 102
            writer.close()

    run(story())


async def _count(nats, count):
    return len(await readings_of(nats)) >= count


def test_one_that_says_what_it_has_to_say_and_goes_is_heard(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            port, secret = up.port("mqtt"), unquote(urlsplit(tmp_nats.mqtt_url).password)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            # all at once, and before it has been let in
            writer.write(connect(texts=(b"quick", b"device", secret.encode())) + said(0, qos=0) + said(1) + b"\xe0\x00")
            writer.write_eof()
            assert await ended(reader) == b"\x20\x02\x00\x00" + pubacks(2)
            assert await readings_of(tmp_nats) == [(1, NOW, 0.0), (1, NOW + 1, 1.0)]

    run(story())


def test_packets_a_byte_at_a_time_are_packets(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"))
            for byte in said(0) + b"\xc0\x00" + publish(TOPIC, b"[]", retain=1, packet_id=9) + said(1):
                writer.write(bytes((byte,)))
                await asyncio.sleep(0)
            answers = await heard(reader, 14)
            assert {answers.find(part) >= 0 for part in (pubacks(1), PONG, pubacks(9), pubacks(2))} == {True}
            assert await readings_of(tmp_nats) == [(1, NOW, 0.0), (1, NOW + 1, 1.0)]

    run(story())


def test_each_sort_of_ill_message_is_kept_and_answered_and_the_connection_lives(tmp_nats):
    bad = [b"{not json", b"\xff\xfe", b'{"ts":%d,"values":{"colour":3}}' % NOW, b'[{"values":{"gas":"x"}}]']

    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"))
            writer.write(b"".join(publish(TOPIC, data, packet_id=n) for n, data in enumerate(bad, 1)))
            writer.write(said(4, topic=b"d/stranger/up/telemetry") + said(5))
            assert await heard(reader, 24) == pubacks(1, 2, 3, 4, 5, 6)
            # sent once more, for a PUBACK that got lost: answered, and kept once
            writer.write(publish(TOPIC, bad[0], packet_id=1, dup=1))
            assert await heard(reader, 4) == pubacks(1)
            assert up.gateway.intake.totals == {
                "malformed": 2, "unmapped": 1, "malformed_body": 1, "unknown_device": 1,
            }  # fmt: skip
            kept = await refused(tmp_nats)
            assert [(r.reason, r.raw) for r in kept[:2]] == [("malformed", bad[0]), ("malformed", bad[1])]
            assert {r.peer.partition(":")[0] for r in kept} == {"127.0.0.1"}
            assert await readings_of(tmp_nats) == [(1, NOW + 5, 5.0)]

    run(story())


def test_a_message_longer_than_any_is_not_kept_but_counted_answered_and_over(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"))
            writer.write(publish(TOPIC, b"[" + b"x" * 3 * MAX_PAYLOAD, packet_id=1) + said(1))
            assert await heard(reader, 8) == pubacks(1, 2)
            assert up.gateway.front.kept == 0
            (kept,) = await refused(tmp_nats)
            assert (kept.reason, kept.device_key, len(kept.raw)) == ("malformed", "cat-1", 16_384)
            assert kept.detail == f"too_long ({3 * MAX_PAYLOAD + 1} bytes, cut)"
            assert await readings_of(tmp_nats) == [(1, NOW + 1, 1.0)]

    run(story())


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\x36\x05\0\x01x\0\0", b"\x32\xff\xff\xff\xff\x01"])
def test_garbage_is_kept_and_ends_the_connection_but_not_what_came_before_it(tmp_nats, garbage):
    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"), name="spoilt")
            writer.write(said(0) + garbage)
            assert await ended(reader) == pubacks(1)
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("mqtt"))
            writer.write(garbage)  # instead of a greeting
            assert await ended(reader) == b""
            await until(lambda: _of(up.gateway.intake.totals.get("malformed") == 2))
            kept = await refused(tmp_nats)
            assert [(r.raw, r.device_key, r.detail) for r in kept] == [
                (garbage, "spoilt", "MQTT: packet"), (garbage, "", "MQTT: packet"),
            ]  # fmt: skip
            assert len(await readings_of(tmp_nats)) == 1

    run(story())


def test_who_may_not_come_in_is_told_so_by_the_broker(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("mqtt"))
            writer.write(connect(texts=(b"x", b"device", b"wrong")) + said(0))
            assert await ended(reader) == b"\x20\x02\x00\x05"
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("mqtt"))
            writer.write(connect(level=5) + said(0))
            assert (await ended(reader))[:1] in (b"\x20", b"")  # MQTT 5 is more than the broker speaks
            # Whoever comes under another name is left to the broker, with all that it says.
            secret = unquote(urlsplit(tmp_nats.url).password)
            reader, writer = await device(tmp_nats, up.port("mqtt"), user="zhenan", password=secret)
            await up.gateway.mqtt.ready.wait()
            begun = await queued(tmp_nats)
            writer.write(said(1))
            assert await heard(reader, 4) == pubacks(2)
            assert await queued(tmp_nats) == begun + 1
            await until(lambda: _count(tmp_nats, 1))
            assert await readings_of(tmp_nats) == [(1, NOW + 1, 1.0)]

    run(story())


def test_the_broker_behind_it_keeps_sessions_commands_retained_messages_and_wills(tmp_nats):
    heard_down, up_events = [], []

    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            front = front_of(tmp_nats, up.port("mqtt"))
            up.gateway.mqtt.messages.notes = lambda *note: up_events.append(note[:3]) or True
            detector = await asyncio.to_thread(mqtt_client, front, "cat-1", clean=False)
            detector.on_message = lambda c, u, message: heard_down.append((message.topic, message.payload))
            detector.subscribe("d/cat-1/down/#", qos=1)
            await up.gateway.mqtt.ready.wait()
            await asyncio.to_thread(say, detector, "d/cat-1/up/birth", {})
            await asyncio.to_thread(say, detector, "d/cat-1/up/telemetry", sample(NOW, gas=1))
            detector.publish("d/cat-1/up/telemetry", json.dumps(sample(NOW + 1, gas=1)), qos=1, retain=True)
            centre = await asyncio.to_thread(mqtt_client, tmp_nats, "centre")
            centre.username_pw_set("zhenan", unquote(urlsplit(tmp_nats.url).password))
            await asyncio.to_thread(centre.reconnect)
            await until(lambda: _of(centre.is_connected()))
            await asyncio.to_thread(say, centre, "d/cat-1/down/cmd/1", 1)
            await until(lambda: _of(len(heard_down) == 1))
            detector.disconnect()
            await until(lambda: _of(not up.gateway.front.open))
            await asyncio.to_thread(say, centre, "d/cat-1/down/cmd/2", 2)
            await asyncio.to_thread(detector.reconnect)
            detector.loop_start()
            await until(lambda: _of(len(heard_down) == 2))
            assert heard_down == [("d/cat-1/down/cmd/1", b"1"), ("d/cat-1/down/cmd/2", b"2")]
            await until(lambda: _count(tmp_nats, 2))
            assert up_events == [("cat-1", "birth", b"{}")]
            seen = []
            centre.on_message = lambda c, u, message: seen.append(json.loads(message.payload)["ts"])
            centre.subscribe("d/cat-1/up/telemetry", qos=1)
            await until(lambda: _of(seen == [NOW + 1]))  # retained, so the broker has it
            centre.disconnect()
            detector.disconnect()

    run(story())


async def _of(value):
    return value


def test_a_device_that_only_reports_is_not_silent_and_of_one_that_falls_silent_the_will_is_told(tmp_nats, monkeypatch):
    monkeypatch.setattr("zhenan.telemetry.gateway.mqtt_link._TICK_S", 0.1)
    wills = []

    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            up.gateway.mqtt.messages.notes = lambda *note: wills.append(note[:3]) or True
            secret = unquote(urlsplit(tmp_nats.mqtt_url).password).encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("mqtt"))
            texts = (b"cat-1", b"d/cat-1/up/will", b"gone", b"device", secret)
            writer.write(connect(flags=0xCE, keepalive=1, texts=texts))
            assert await heard(reader, 4) == b"\x20\x02\x00\x00"
            await up.gateway.mqtt.ready.wait()
            for n in range(5):  # two seconds, in which the broker hears nothing of it
                writer.write(said(n))
                assert await heard(reader, 4) == pubacks(n + 1)
                await asyncio.sleep(0.4)
            assert not wills
            assert await ended(reader) == b""  # 1.5 times its keep-alive
            await until(lambda: _of(wills == [("cat-1", "will", b"gone")]))
            assert up.gateway.counters.get("idle", "mqtt") == 1

    run(story())


def test_nothing_is_acknowledged_while_the_log_cannot_be_written_and_too_much_is_not_read(tmp_nats):
    async def story():
        limits = MqttLimits(unanswered=50)
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats, mqtt_limits=limits)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"))
            log_is_there, commit = asyncio.Event(), up.gateway.intake._commit

            async def held(batch):
                await log_is_there.wait()
                await commit(batch)

            up.gateway.intake._commit = held
            for n in range(300):
                writer.write(said(n))
                await asyncio.sleep(0.001)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.3)
            (one,) = up.gateway.front.open
            assert one.why == {"answers"}
            assert 50 <= one.unanswered < 300
            log_is_there.set()
            assert await heard(reader, 1200) == pubacks(*range(1, 301))
            assert len(await readings_of(tmp_nats)) == 300
            assert not one.why

    run(story())


def test_a_device_that_sends_more_than_its_share_waits_and_loses_nothing(tmp_nats):
    async def story():
        limits = MqttLimits(messages_per_s=100, burst=20)
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats, mqtt_limits=limits)) as up:
            reader, writer = await device(tmp_nats, up.port("mqtt"))
            other_reader, other = await device(tmp_nats, up.port("mqtt"), name="other")
            began = time.monotonic()
            writer.write(b"".join(said(n) for n in range(60)))
            assert await heard(reader, 240) == pubacks(*range(1, 61))
            writer.write(said(60))
            other.write(said(0, topic=b"d/a.b/up/telemetry"))
            assert await heard(other_reader, 4) == pubacks(1)
            assert await heard(reader, 4) == pubacks(61)
            assert time.monotonic() - began > 0.35  # 61 messages, 20 of them at once
            assert len(await readings_of(tmp_nats)) == 62
            assert up.gateway.intake.totals == {}
            assert up.gateway.counters.get("slowed", "mqtt") >= 1

    run(story())


@pytest.mark.parametrize("lanes", [1, 2])
def test_nothing_acknowledged_is_lost_when_the_gateway_and_the_broker_are_killed(tmp_nats, lanes):
    rows = [point("mqtt_json", f"dev{n}", n * 33, "v", n) for n in range(1, 5)]
    count, port, sure = 150, 0, []

    def sender(n):
        payloads = [json.dumps(sample(NOW + k, v=k)) for k in range(count)]
        sure.append(publish_all(front_of(tmp_nats, port), f"dev{n}", payloads))

    async def abandoned(wait_s):
        """A gateway that ends without any farewell."""
        async with gateway(tmp_nats, rows, lanes=lanes, **with_front(tmp_nats, port=port)) as up:
            await asyncio.sleep(wait_s)
            up.gateway.front._server.close()
            for one in list(up.gateway.front.open):
                one.abort()
            for task in up.gateway._tasks:
                task.cancel()
            await up.client.close()

    async def story():
        nonlocal port
        async with gateway(tmp_nats, rows, lanes=lanes, **with_front(tmp_nats)) as up:
            port = up.port("mqtt")
            threads = [threading.Thread(target=sender, args=(n,)) for n in range(1, 5)]
            for thread in threads:
                thread.start()
            await asyncio.sleep(0.3)
        for wait_s in (0.5, 0.4):
            await abandoned(wait_s)
            tmp_nats.kill()
            await asyncio.to_thread(tmp_nats.start)
        async with gateway(tmp_nats, rows, lanes=lanes, **with_front(tmp_nats, port=port)):
            await asyncio.to_thread(lambda: [thread.join() for thread in threads])
            assert sure == [count] * 4
            found = await readings_of(tmp_nats)
        # What was not PUBACKed when a connection ended is sent once more; those copies are told by their time.
        assert set(found) == {(p, NOW + k, float(k)) for p in range(1, 5) for k in range(count)}
        assert len(found) < 2 * len(set(found))

    run(story())


def test_a_gateway_that_stops_answers_what_it_took_and_says_farewell_for_its_devices(tmp_nats):
    wills = []

    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            secret = unquote(urlsplit(tmp_nats.mqtt_url).password).encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("mqtt"))
            writer.write(connect(flags=0xCE, texts=(b"w", b"d/cat-1/up/will", b"gone", b"device", secret)))
            assert await heard(reader, 4) == b"\x20\x02\x00\x00"
            watcher = await nats_connect(tmp_nats.url, "watcher")

            async def told(message):
                wills.append(message.subject)

            await watcher.subscribe("d.*.up.will", cb=told)
            await watcher.flush()
            writer.write(said(0))
            while not up.gateway.front.open or not any(one.unanswered for one in up.gateway.front.open):
                await asyncio.sleep(0)
            stopping = asyncio.create_task(up.gateway.front.stop())
            assert await ended(reader) == pubacks(1)
            await stopping
            await asyncio.sleep(0.2)
            assert not wills
            await watcher.close()

    run(story())


def test_a_broker_that_is_away_ends_the_connections_and_lets_them_in_again_later(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, **with_front(tmp_nats)) as up:
            reader, _ = await device(tmp_nats, up.port("mqtt"))
            tmp_nats.kill()
            assert await ended(reader) == b""
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("mqtt"))
            writer.write(connect())
            assert await ended(reader) == b""
            await asyncio.to_thread(tmp_nats.start)
            reader, writer = await device(tmp_nats, up.port("mqtt"))
            writer.write(said(0))
            assert await heard(reader, 4) == pubacks(1)

    run(story())
