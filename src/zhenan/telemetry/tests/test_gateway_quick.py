"""Many frames of a read at once: the same log, counts and answers as one by one."""

import asyncio
import random
import time

import numpy as np
import pytest

from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.gateway import quick
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.tests.gateway_support import CENTRE, gateway, point, readings_of

NOW = int(time.time()) * 1000
KEYS = ("0000000003e9", "0000000003ea")
ROWS = [point("gb26875", key, n * 9, f"sys1.40.{k}.a3", n * 10 + k) for n, key in enumerate(KEYS, 1) for k in range(4)]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def objects(rng, n):
    return [
        {"sys_type": 1, "sys_addr": 1, "comp_type": 40, "comp_addr": rng.randrange(4), "analog_type": 3,
         "raw": rng.randrange(900), "time": local_from_ms(NOW - rng.choice((0, 0, 1000, 5000)))}
        for _ in range(n)
    ]  # fmt: skip


def traffic(seed):
    """Frames of every sort: good, of unknown devices and channels, from the future, states, requests, spoilt, again."""
    rng, frames = random.Random(seed), []
    for serial in range(80):
        kind = rng.choice(("good",) * 8 + ("unknown", "unmapped", "future", "state", "empty", "spoilt", "again"))
        src, parts, flag = rng.choice(KEYS), objects(rng, rng.randint(1, 5)), 3
        if kind == "unknown":
            src = "00000000ffff"
        elif kind == "unmapped":
            parts[-1]["comp_addr"] = 77
        elif kind == "future":
            parts[0]["time"] = local_from_ms(NOW + 7_200_000)
        elif kind == "state":
            flag, parts = 21, [{"status": 2, "time": local_from_ms(NOW)}]
        elif kind == "empty":
            parts = []
        frame = gb26875.send(src, CENTRE, serial, flag, parts, NOW)
        if kind == "spoilt":
            frame = frame[:-3] + bytes((frame[-3] ^ 1,)) + frame[-2:]
        frames.append(rng.choice(frames) if kind == "again" and frames else frame)
    return frames


async def sent(port, data, answers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    found = await asyncio.wait_for(reader.readexactly(30 * answers), 20)
    writer.close()
    return [(f[2:6], f[12:27]) for f in (found[at : at + 30] for at in range(0, len(found), 30))]


@pytest.mark.parametrize("seed", range(6))
def test_frames_read_together_end_as_frames_read_singly(tmp_nats, seed, monkeypatch):
    frames = traffic(seed)
    answered = sum(1 for frame in frames if gb26875.decode(frame)["ok"])

    async def story(quickly):
        if not quickly:
            monkeypatch.setattr(quick.Quick, "read", lambda self, data, now_ms: None)
        before = len(await readings_of(tmp_nats)) if not quickly else 0
        config = {"source": "quick" if quickly else "slow", "mqtt": False, "limits": Limits(bad_in_a_row=99)}
        async with gateway(tmp_nats, ROWS, **config) as up:
            await up.gateway.listeners["gb26875"].warming  # until then all are read singly
            replies = await sent(up.port("gb26875"), b"".join(frames), answered)
            await asyncio.sleep(0.2)
            counts = {
                key: n for key, n in up.gateway.counters.counts.items() if key[0] in ("frames", "again", "bad_frames")
            }
            return replies, counts, up.gateway.intake.totals, (await readings_of(tmp_nats))[before:]

    fast, slow = run(story(True)), run(story(False))
    assert fast == slow
    assert len(fast[3]) > 100


def test_a_frame_in_two_reads_and_frames_behind_garbage_are_found(tmp_nats):
    rng = random.Random(1)
    frames = [gb26875.send(KEYS[0], CENTRE, n, 3, objects(rng, 2), NOW) for n in range(6)]

    async def story():
        async with gateway(tmp_nats, ROWS, mqtt=False) as up:
            await up.gateway.listeners["gb26875"].warming
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("gb26875"))
            data = b"".join(frames[:3]) + b"junk" + b"".join(frames[3:])
            for cut in (data[:70], data[70:200], data[200:]):
                writer.write(cut)
                await asyncio.sleep(0.05)
            answers = await asyncio.wait_for(reader.readexactly(180), 10)
            assert [gb26875.parse(answers[at : at + 30])["serial"] for at in range(0, 180, 30)] == list(range(6))
            writer.close()
        assert len(await readings_of(tmp_nats)) == 12

    run(story())


def test_a_device_that_sends_frames_by_the_hundred_is_slowed_all_the_same(tmp_nats):
    rng = random.Random(2)
    frames = [gb26875.send(KEYS[0], CENTRE, n, 3, objects(rng, 1), NOW) for n in range(150)]

    async def story():
        async with gateway(tmp_nats, ROWS, mqtt=False, limits=Limits(frames_per_s=100, burst=50)) as up:
            await up.gateway.listeners["gb26875"].warming
            began = time.monotonic()
            await sent(up.port("gb26875"), b"".join(frames), 150)
            await asyncio.sleep(0.1)
            writer = await sent(up.port("gb26875"), gb26875.send(KEYS[0], CENTRE, 999, 3, objects(rng, 1), NOW), 1)
            assert writer
            assert up.gateway.counters.get("slowed") >= 1
            assert time.monotonic() - began < 5

    run(story())


def test_the_confirmation_and_the_key_are_those_of_the_codec():
    rng = random.Random(3)
    frame = gb26875.send(KEYS[0], CENTRE, 513, 3, objects(rng, 2), NOW)
    assert quick.confirm(frame, quick.clock(NOW)) == gb26875.confirm(gb26875.parse(frame), NOW)
    later = gb26875.send(KEYS[0], CENTRE, 513, 3, gb26875.parse(frame)["adu"]["objects"], NOW + 9000)
    assert later != frame
    assert quick.key_of(later) == quick.key_of(frame)
    assert quick.key_of(gb26875.send(KEYS[1], CENTRE, 513, 3, objects(rng, 2), NOW)) != quick.key_of(frame)


def test_readings_of_fresh_frames_are_chosen():
    said = type("Said", (), {"ends": np.array([2, 2, 5, 6])})
    assert quick.chosen(said, 0, 4, np.array([True, True, False, True])).tolist() == [0, 1, 5]
    assert quick.chosen(said, 2, 4, np.array([True, False])).tolist() == [2, 3, 4]


def test_frames_are_taken_singly_where_the_compiler_fails(tmp_nats, monkeypatch):
    def broken(self):
        raise OSError("no compiler here")

    monkeypatch.setattr(quick.Quick, "warm_up", broken)
    frames = [gb26875.send(KEYS[0], CENTRE, n, 3, objects(random.Random(n), 1), NOW) for n in range(3)]

    async def story():
        async with gateway(tmp_nats, ROWS) as up:
            listener = up.gateway.listeners["gb26875"]
            await listener.warming
            assert listener.quick is None
            await sent(listener.port, b"".join(frames), 3)
            return up.gateway.counters.get("frames", "gb26875")

    assert run(story()) == 3
