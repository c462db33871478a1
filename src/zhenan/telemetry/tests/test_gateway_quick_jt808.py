"""Many locations of a read at once: the same log, positions, counts and answers as one by one."""

import asyncio
import random
import time

import numpy as np
import pytest

from zhenan.telemetry.codecs import batch_points, jt808
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.codecs.batch_points import LOCATION
from zhenan.telemetry.codecs.jt808 import Header
from zhenan.telemetry.gateway import quick_jt808
from zhenan.telemetry.gateway.message_key import plain_packet
from zhenan.telemetry.gateway.quick_jt808 import QuickJt808, accepted
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.tests.gateway_support import gateway, log_of, point, readings_of
from zhenan.telemetry.tests.test_gateway_downlink import run, vehicle
from zhenan.telemetry.tracks.columns import PositionColumns
from zhenan.telemetry.tracks.stream import POSITIONS

NOW = int(time.time()) * 1000
PHONES = {2013: "013800138000", 2019: "00000000013800138000"}
ROWS = [
    *(point("jt808", "13800138000", 9, name, 10 + n, scale=2.0 if name == "alt" else 1.0, high=100.0 if name == "alt"
            else None) for n, name in enumerate(LOCATION)),
    point("jt808", "13800138000", 9, "status", 30, bit=1),
]  # fmt: skip


def location(rng, version, serial, **more):
    said = {
        "lat": rng.choice((32.201234, -5.5, 0.0)), "lon": rng.choice((119.412345, -0.25, 0.0)),
        "time": local_from_ms(NOW - rng.choice((0, 0, 1000, 60_000))), "speed_kmh": rng.choice((0, 61.3, 126.0)),
        "direction": rng.choice((0, 126, 359)), "alt": rng.choice((4, -3, 500, 0x7E)),
        "alarm": rng.choice((0, 0, 1, 2, 1 << 31)), "status": rng.choice((0b11, 0b01, 0b100011)),
        "items": rng.choice(([], [(1, rng.choice((b"\0\0\x7d\x7e", b"\0\1\2\3")))])),
    }  # fmt: skip
    return jt808.location(Header(msg_id=0, phone=PHONES[version], serial=serial, version=version), **{**said, **more})


def traffic(seed, version):
    """Messages of every sort: plain, with more items, from the future, of others, in parts, spoilt, again."""
    rng, frames = random.Random(seed), []
    kinds = ("plain",) * 10 + (
        "items",
        "future",
        "other",
        "heart",
        "batch",
        "short",
        "spoilt",
        "again",
        "quirk",
        "part",
    )
    for serial in range(1, 120):
        kind = rng.choice(kinds)
        head = Header(msg_id=0x0200, phone=PHONES[version], serial=serial, version=version)
        frame = location(rng, version, serial)
        if kind == "items":
            frame = location(rng, version, serial, items=[(1, b"\0\0\0\1"), (2, b"\0\1"), (0x31, b"\7")])
        elif kind == "future":
            frame = location(rng, version, serial, time=local_from_ms(NOW + 7_200_000))
        elif kind == "other":
            phone = PHONES[version][:-1] + "1"
            frame = jt808.heartbeat(Header(msg_id=0, phone=phone, serial=serial, version=version))
        elif kind == "heart":
            frame = jt808.heartbeat(head)
        elif kind == "batch":
            body = jt808.location_body(lat=32.5, lon=119.5, time=local_from_ms(NOW - 5000))
            frame = jt808.batch(head, [body, body], backfill=True)
        elif kind == "short":
            frame = jt808.write_frame(head, b"\0" * 20)
        elif kind == "part":
            whole = jt808.location_body(lat=32.5, lon=119.5, time=local_from_ms(NOW))
            packed = Header(msg_id=0x0200, phone=PHONES[version], serial=serial, version=version, packet=(1, 1))
            frame = jt808.write_frame(packed, whole)
        elif kind == "quirk" and version == 2013:
            quirky = Header(msg_id=0x0200, phone=PHONES[2013], serial=serial, quirk="version_bit_set_but_2013_header")
            frame = jt808.write_frame(quirky, jt808.location_body(lat=1, lon=1, time=local_from_ms(NOW)))
        elif kind == "spoilt":
            frame = frame[:9] + bytes((frame[9] ^ 1,)) + frame[10:]
        frames.append(rng.choice(frames) if kind == "again" and frames else frame)
        if rng.random() < 0.1:
            frames[-1] += b"\x7e"  # a doubled flag
    return frames


async def everything(nats):
    readings = await readings_of(nats)
    places = [PositionColumns.unpack(m.data) for m in await log_of(nats, stream=POSITIONS)]
    rows = [row for part in places for row in zip(*(column.tolist() for column in part.arrays()), strict=True)]
    return readings, rows


async def heard(device, frames):
    """Every answer to `frames`, sent in one go, as the bytes that came."""
    count = sum(1 for frame in frames if jt808.decode(frame)["ok"])
    device.send(b"".join(frames))
    return [await device.hear() for _ in range(count)]


@pytest.mark.parametrize(("seed", "version"), [(1, 2013), (2, 2019), (3, 2013), (4, 2019)])
def test_locations_read_together_end_as_locations_read_singly(tmp_nats, seed, version, monkeypatch):
    frames = traffic(seed, version)

    async def story(quickly):
        if not quickly:
            monkeypatch.setattr(QuickJt808, "read", lambda self, data, now_ms: None)
        readings, rows = await everything(tmp_nats) if not quickly else ([], [])
        config = {"source": "quick" if quickly else "slow", "mqtt": False, "limits": Limits(bad_in_a_row=99)}
        async with gateway(tmp_nats, ROWS, **config) as up:
            await up.gateway.listeners["jt808"].warming  # until then all are read singly
            device = await vehicle(up, version)
            answers = await heard(device, frames)
            await asyncio.sleep(0.2)
            counts = {
                key: n for key, n in up.gateway.counters.counts.items() if key[0] in ("frames", "again", "bad_frames")
            }
            totals = dict(up.gateway.intake.totals)
        found = await everything(tmp_nats)
        return answers, counts, totals, found[0][len(readings) :], found[1][len(rows) :]

    fast, slow = run(story(True)), run(story(False))
    assert fast == slow
    assert len(fast[3]) > 300
    assert len(fast[4]) > 50


def test_a_terminal_that_has_not_signed_in_is_told_no_however_many_locations_it_sends(tmp_nats):
    rng = random.Random(5)
    frames = [location(rng, 2013, n) for n in range(1, 30)]

    async def story():
        async with gateway(tmp_nats, ROWS, mqtt=False) as up:
            await up.gateway.listeners["jt808"].warming
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("jt808"))
            writer.write(b"".join(frames))
            splitter, found = jt808.Splitter(), []
            while len(found) < len(frames):
                found += splitter.feed(await asyncio.wait_for(reader.read(4096), 10))
            assert {jt808.parse(frame.raw)["body"]["result"] for frame in found} == {jt808.FAILED}
            writer.close()
        assert await readings_of(tmp_nats) == []

    run(story())


def test_the_answer_to_a_location_is_that_of_the_codec():
    rng = random.Random(6)
    for version in (2013, 2019):
        for serial in (1, 0x7D7E, 0xFFFF):
            for alarm, result in (
                (0, jt808.OK),
                (2, jt808.OK),
                (1, jt808.ALARM_HANDLED),
                (1 << 31, jt808.ALARM_HANDLED),
            ):
                raw = location(rng, version, serial, alarm=alarm)
                wanted = jt808.general_response(jt808.parse(raw), 0x7E01, result)
                assert accepted(plain_packet(raw), 0x7E01) == wanted


@pytest.mark.parametrize("cut", [0, 1, 7, 30])
def test_frames_are_found_up_to_the_first_that_the_splitter_must_judge(cut):
    rng = random.Random(7)
    good = [location(rng, 2013, n) for n in range(4)]
    starts, ends = np.empty(9, np.int64), np.empty(9, np.int64)

    def found(data):
        count = batch_points.packets(np.frombuffer(data, np.uint8), 9, starts, ends)
        return [data[s:e] for s, e in zip(starts[:count], ends[:count], strict=True)]

    assert found(b"".join(good) + location(rng, 2013, 9)[:cut]) == good
    shared = good[0] + good[1][1:] + b"\x7e" + good[2]
    assert found(shared) == good[:3]
    assert found(good[0] + b"x" + good[1]) == good[:1]
    spoilt = good[1][:9] + bytes((good[1][9] ^ 1,)) + good[1][10:]
    assert found(good[0] + spoilt + good[2]) == good[:1]
    assert found(b"x" + good[0]) == []
    assert found(b"\x7e" * 5) == []


def test_a_device_registered_under_a_name_that_is_no_phone_is_left_to_the_register():
    from zhenan.telemetry.gateway.registry import Registry

    known = quick_jt808.QuickJt808(Registry([point("jt808", "bus-7", 1, name, n) for n, name in enumerate(LOCATION)]))
    rng = random.Random(8)
    read = known.read(location(rng, 2013, 1), NOW)
    assert read is not None
    assert read.said.slow.tolist() == [True]
