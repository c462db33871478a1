"""Frames over TCP: what is stored, what is kept, what is answered."""

import asyncio
import gc
import resource
import threading
import time

import pytest

from zhenan.telemetry.codecs import gb26875, hj212, jt808
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.log import streams
from zhenan.telemetry.tests.gateway_support import CENTRE, Terminal, gateway, log_of, point, readings_of

KEY = "0000000003e9"
NOW = int(time.time()) * 1000
ROWS = [
    point("gb26875", KEY, 7, "sys1.40.17.a3", 1),
    point("gb26875", KEY, 7, "status", 2, bit=1),
    point("gb26875", KEY, 7, "status", 3, bit=2),
    point("hj212", "MN1", 8, "a01001.Rtd", 4),
    point("jt808", "13800138000", 9, "speed_kmh", 5),
    point("jt808", "13800138000", 9, "alarm", 6, bit=0),
]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def temperature(value, at_ms):
    return {"sys_type": 1, "sys_addr": 1, "comp_type": 40, "comp_addr": 17, "analog_type": 3, "raw": round(value * 10),
            "time": local_from_ms(at_ms)}  # fmt: skip


async def refused(nats):
    return [row for m in await log_of(nats, stream=streams.QUARANTINE) for row in quarantine.unpack(m.data).rows]


async def exchange(port, *frames, wait_s=0.5):
    """Send, and what came back until nothing more does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for frame in frames:
        writer.write(frame)
    answer = b""
    try:
        while data := await asyncio.wait_for(reader.read(65536), wait_s):
            answer += data
    except TimeoutError:
        pass
    writer.close()
    return answer


def test_a_confirmed_frame_is_in_the_log(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            device = Terminal(up.port("gb26875"), KEY)
            assert await device.report([temperature(25.3, NOW)], NOW) == 1
            assert await device.report([{"status": 0b10, "time": local_from_ms(NOW + 1000)}], NOW, kind=21) == 1
            assert await readings_of(tmp_nats) == [(1, NOW, 25.3), (2, NOW + 1000, 1.0), (3, NOW + 1000, 0.0)]

    run(story())


def test_a_frame_sent_again_is_confirmed_again_and_stored_once_even_by_a_new_gateway(tmp_nats):
    frame = gb26875.send(KEY, CENTRE, 5, 3, [temperature(25.3, NOW)], NOW)

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            assert len(await exchange(up.port("gb26875"), frame, frame)) == 60
        async with gateway(tmp_nats, ROWS) as up:
            assert len(await exchange(up.port("gb26875"), frame)) == 30
            assert up.gateway.counters.get("again") == 1
        assert len(await readings_of(tmp_nats)) == 1

    run(story())


def test_a_frame_in_pieces_among_garbage_is_found_and_the_garbage_kept(tmp_nats):
    frame = gb26875.send(KEY, CENTRE, 5, 3, [temperature(25.3, NOW)], NOW)
    broken = frame[:-3] + bytes([frame[-3] ^ 1]) + frame[-2:]

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            answer = await exchange(up.port("gb26875"), b"GET / HTTP/1.1\r\n", broken, frame[:11], frame[11:])
            assert len(answer) == 30
        assert len(await readings_of(tmp_nats)) == 1
        kept = await refused(tmp_nats)
        assert {(r.reason, r.detail) for r in kept} == {("malformed", "no_start"), ("malformed", "checksum")}
        assert any(r.raw == broken for r in kept)

    run(story())


def test_nothing_but_garbage_ends_the_connection(tmp_nats):
    frame = gb26875.send(KEY, CENTRE, 5, 3, [temperature(25.3, NOW)], NOW)
    broken = frame[:-3] + bytes([frame[-3] ^ 1]) + frame[-2:]

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("gb26875"))
            writer.write(broken * 20)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            assert up.gateway.counters.get("closed_for_garbage") == 1
            writer.close()

    run(story())


def test_half_a_frame_is_given_up_after_its_time(tmp_nats):
    frame = gb26875.send(KEY, CENTRE, 5, 3, [temperature(25.3, NOW)], NOW)

    async def story():
        async with gateway(tmp_nats, ROWS, limits=Limits(partial_s=0.2, idle_s=0.6)) as up:
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("gb26875"))
            writer.write(frame[:20])
            await asyncio.sleep(0.4)
            writer.write(frame)
            assert len(await asyncio.wait_for(reader.readexactly(30), 5)) == 30
            assert await asyncio.wait_for(reader.read(), 5) == b""  # silent for too long
            assert up.gateway.counters.get("idle") == 1
            writer.close()

    run(story())


def test_an_unknown_device_is_confirmed_kept_and_taken_once_registered(tmp_nats):
    async def story():
        rows = []
        async with gateway(tmp_nats, rows) as up:
            device = Terminal(up.port("gb26875"), KEY)
            await device.report([temperature(25.3, NOW)], NOW)
            rows += ROWS
            up.gateway.changed.set()
            await asyncio.sleep(0.2)
            await device.report([temperature(26.0, NOW + 1000)], NOW + 1000)
        (kept,) = await refused(tmp_nats)
        assert (kept.reason, kept.device_key, kept.count) == ("unknown_device", KEY, 1)
        assert kept.decoded["readings"] == [{"channel": "sys1.40.17.a3", "ts": NOW, "value": 25.3, "quality": 0}]
        assert await readings_of(tmp_nats) == [(1, NOW + 1000, 26.0)]

    run(story())


def test_frames_are_answered_while_a_register_is_made(tmp_nats):
    """At the size of a city that takes seconds."""

    async def story():
        begun, go_on = threading.Event(), threading.Event()

        def slowly(rows):
            yield rows[0]
            begun.set()
            assert go_on.wait(30)
            yield from rows[1:]

        async with gateway(tmp_nats, ROWS) as up:
            load = up.gateway._load

            async def slow_load():
                stamp, rows = await load()
                return f"{stamp} new", slowly([point("gb26875", KEY, 7, "sys1.40.17.a3", 9), *rows[1:]])

            up.gateway._load, up.gateway._stamp = slow_load, lambda: asyncio.sleep(0, "new")
            up.gateway.changed.set()
            assert await asyncio.to_thread(begun.wait, 10)
            device = Terminal(up.port("gb26875"), KEY)
            assert await device.report([temperature(25.3, NOW)], NOW) == 1  # by the register that is still in use
            up.gateway._stamp = lambda: asyncio.sleep(0, f"{len(ROWS)} new")
            go_on.set()
            for _ in range(200):
                await asyncio.sleep(0.02)
                if up.gateway.counters.get("registry_loads") == 2:
                    break
            await device.report([temperature(26.0, NOW + 1000)], NOW + 1000)
        assert await readings_of(tmp_nats) == [(1, NOW, 25.3), (9, NOW + 1000, 26.0)]

    run(story())


def test_garbage_is_collected_while_the_register_is_waited_for_and_not_while_it_is_made(tmp_nats):
    seen = {}

    async def story():
        def rows():
            seen["made"] = gc.isenabled()
            yield from ROWS

        async with gateway(tmp_nats, ROWS) as up:

            async def load():  # the database may be away for hours
                await asyncio.sleep(0.05)
                seen["waited for"] = gc.isenabled()
                return "new", rows()

            up.gateway._load = load
            await up.gateway._reload()
            seen["after"] = gc.isenabled()
            assert len(up.gateway.registry) == 3

    run(story())
    assert seen == {"waited for": True, "made": False, "after": True}


def test_a_reading_from_the_future_is_refused_and_the_rest_taken(tmp_nats):
    ahead = NOW + 3_600_000

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            device = Terminal(up.port("gb26875"), KEY)
            await device.report([temperature(1, ahead), temperature(2, NOW)], NOW)
            assert up.gateway.intake.totals == {"future": 1}
        assert await readings_of(tmp_nats) == [(1, NOW, 2.0)]
        (kept,) = await refused(tmp_nats)
        assert (kept.reason, kept.decoded["readings"][0]["ts"]) == ("future", ahead)

    run(story())


def test_a_good_frame_with_a_bad_unit_is_confirmed_and_kept(tmp_nats):
    frame = gb26875.encode(serial=9, command=2, src=KEY, dst=CENTRE, time=local_from_ms(NOW), unit=b"\x02\x05abc")

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            assert len(await exchange(up.port("gb26875"), frame)) == 30
        (kept,) = await refused(tmp_nats)
        assert (kept.reason, kept.raw) == ("malformed_body", frame)

    run(story())


def test_a_flood_is_slowed_and_does_not_drive_out_what_others_left(tmp_nats):
    async def story():
        async with gateway(tmp_nats, [], limits=Limits(frames_per_s=100, burst=50)) as up:
            await Terminal(up.port("gb26875"), "000000000002").report([temperature(1, NOW)], NOW)
            frames = [gb26875.send(KEY, CENTRE, n, 3, [temperature(n, NOW)], NOW) for n in range(150)]
            began = time.monotonic()
            assert len(await exchange(up.port("gb26875"), *frames, wait_s=2)) == 30 * 150
            assert time.monotonic() - began > 0.9
            assert up.gateway.intake.totals == {"unknown_device": 151}
        kept = await refused(tmp_nats)
        assert len(kept) < 30
        assert {r.device_key for r in kept} == {KEY, "000000000002"}

    run(story())


def test_thousands_of_silent_connections_keep_nobody_out(tmp_nats):
    """Silent, half a frame, and nothing but garbage: each has its end; who speaks is heard at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(10_000, (hard - 1000) // 2)  # both ends are here
    frame = gb26875.send(KEY, CENTRE, 5, 3, [temperature(25.3, NOW)], NOW)

    async def story():
        limits = Limits(idle_s=120, partial_s=120, connections=count)
        async with gateway(tmp_nats, ROWS, limits=limits, mqtt=False) as up:
            port, silent = up.port("gb26875"), []
            for begin in range(0, count - 1, 500):
                more = (asyncio.open_connection("127.0.0.1", port) for _ in range(begin, min(begin + 500, count - 1)))
                silent += await asyncio.gather(*more)
            for _, writer in silent[::10]:
                writer.write(frame[:20])
            open_now = up.gateway.listeners["gb26875"].open
            while len(open_now) < count - 1:  # the kernel lets them in before the gateway does
                await asyncio.sleep(0.05)
            assert len(await exchange(port, frame, wait_s=5)) == 30
            while len(open_now) > count - 1:  # the one that was heard has gone
                await asyncio.sleep(0.05)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while len(open_now) < count:
                await asyncio.sleep(0.05)
            try:
                answer = await exchange(port, frame, wait_s=5)
            except ConnectionResetError:
                answer = b""
            assert answer == b""  # one too many: refused, and counted
            assert up.gateway.counters.get("connections_refused") == 1
            for _, one in [*silent, (reader, writer)]:
                one.transport.abort()
            while open_now:
                await asyncio.sleep(0.05)
        assert len(await readings_of(tmp_nats)) == 1

    try:
        run(story())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_frame_a_byte_at_a_time_is_a_frame(tmp_nats):
    frame = gb26875.send(KEY, CENTRE, 5, 3, [temperature(25.3, NOW)], NOW)

    async def story():
        async with gateway(tmp_nats, ROWS, mqtt=False) as up:
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("gb26875"))
            for byte in frame:
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.001)
            assert len(await asyncio.wait_for(reader.readexactly(30), 5)) == 30
            writer.close()
        assert await readings_of(tmp_nats) == [(1, NOW, 25.3)]

    run(story())


def test_an_upload_over_hj212_is_answered_once_it_is_stored(tmp_nats):
    local = local_from_ms(NOW)
    frame = hj212.upload(qn=hj212.write_qn(local), st="22", mn="MN1", data_time=f"{local:%Y%m%d%H%M%S}",
                         factors={"a01001": {"Rtd": "21.5", "Flag": "N"}})  # fmt: skip

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            answer = await exchange(up.port("hj212"), frame)
            assert hj212.parse(answer)["fields"]["CN"] == "9014"
        assert await readings_of(tmp_nats) == [(4, NOW, 21.5)]

    run(story())


def test_a_vehicle_registers_signs_in_and_reports(tmp_nats):
    def head(serial):
        return jt808.Header(msg_id=0, phone="013800138000", serial=serial)

    def location(serial):
        return jt808.location(head(serial), lat=32.2, lon=119.4, time=local_from_ms(NOW), speed_kmh=56.5, alarm=1)

    register = jt808.register(head(1), province=32, city=1100, maker="ZH", model="T1", terminal_id="1", plate_color=1,
                              plate="苏L12345")  # fmt: skip

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("jt808"))
            splitter = jt808.Splitter()

            async def ask(frame):
                writer.write(frame)
                while not (found := splitter.feed(await asyncio.wait_for(reader.read(999), 5))):
                    pass
                return jt808.parse(found[0].raw)["body"]

            assert (await ask(location(1)))["result"] == jt808.FAILED  # not signed in: not stored
            code = (await ask(register))["auth_code"]
            assert (await ask(jt808.auth(head(2), "wrong")))["result"] == jt808.FAILED
            assert (await ask(jt808.auth(head(3), code)))["result"] == jt808.OK
            answer = await ask(location(4))
            assert answer["result"] == jt808.ALARM_HANDLED  # the emergency button is latched until we say so
            writer.close()
        assert await readings_of(tmp_nats) == [(5, NOW, 56.5), (6, NOW, 1.0)]

    run(story())


@pytest.mark.parametrize("lanes", [1, 4])
def test_devices_are_spread_over_lanes_and_nothing_is_lost_or_doubled_over_kills_of_the_broker(tmp_nats, lanes):
    keys = [f"{n:012x}" for n in range(1, 9)]
    rows = [point("gb26875", key, n * 9, "sys1.40.17.a3", n) for n, key in enumerate(keys, 1)]

    async def device(port, key):
        terminal = Terminal(port, key)
        for n in range(40):
            await terminal.report([temperature(n, NOW + n * 1000)], NOW)
        terminal.close()

    async def kill():
        for _ in range(3):
            await asyncio.sleep(0.25)
            tmp_nats.kill()
            await asyncio.to_thread(tmp_nats.start)

    async def story():
        async with gateway(tmp_nats, rows, lanes=lanes) as up:
            port = up.port("gb26875")
            await asyncio.gather(kill(), *(device(port, key) for key in keys))
        found = await readings_of(tmp_nats)
        assert sorted(found) == [(p, NOW + n * 1000, float(n)) for p in range(1, 9) for n in range(40)]

    run(story())
