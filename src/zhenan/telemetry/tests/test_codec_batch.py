"""The compiled decoders agree with the plain ones, value by value, on good frames and on spoilt ones."""

import itertools
import math
import struct
from calendar import isleap

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import gb26875, jt808
from zhenan.telemetry.codecs.base import BAD, GOOD
from zhenan.telemetry.codecs.batch import decode_batch

NOON_MS = 1_778_817_600_000  # 2026-05-15 12:00:00 in China
PHONE, PHONE_2019 = "4eb6fb4afd9e", "98765432100123456789"


def columns_of(protocol: str, frames: list[bytes]):
    ends = np.cumsum([len(frame) for frame in frames], dtype=np.int64)
    starts = ends - np.array([len(frame) for frame in frames], dtype=np.int64)
    return decode_batch(protocol, b"".join(frames), starts, ends, NOON_MS)


byte, word, dword = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF_FFFF)
# a year, month … second near the edges of the calendar as well as anywhere
clock_bytes = st.tuples(
    st.integers(0, 60), st.integers(0, 60), st.integers(0, 24), st.sampled_from([0, 1, 15, 28, 29, 30, 31]),
    st.integers(0, 13), st.sampled_from([0, 24, 25, 26, 100, 255]),
).map(bytes)  # fmt: skip
analogue = st.builds(lambda head, kind, raw, time: head + bytes((kind,)) + raw + time,
                     st.binary(min_size=7, max_size=7), st.integers(0, 14) | byte, st.binary(min_size=2, max_size=2),
                     clock_bytes)  # fmt: skip


def spoil(frame: bytes, at: int, bit: int) -> bytes:
    changed = bytearray(frame)
    changed[at % len(frame)] ^= 1 << bit
    return bytes(changed)


spoils = st.tuples(st.booleans(), st.integers(0, 2000), st.integers(0, 7))
units = st.lists(analogue, max_size=6).map(lambda parts: bytes((3, len(parts))) + b"".join(parts))
any_unit = st.one_of(units, units, units.map(lambda unit: unit[:-1]), st.binary(max_size=40))


def expected_analogues(frames: list[bytes]):
    for i, frame in enumerate(frames):
        found = gb26875.decode(frame, lenient=True)
        if found["ok"] and found.get("adu", {}).get("type_flag") == 3:
            objects = found["adu"].get("objects", ())
            for part, reading in zip(objects, gb26875.readings(found, NOON_MS), strict=False):
                yield i, part, reading


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(any_unit, spoils, st.sampled_from([2, 2, 3, 5])), max_size=5))
def test_analogue_columns_equal_the_readings_of_the_plain_decoder(messages):
    frames = []
    for unit, (spoilt, at, bit), command in messages:
        frame = gb26875.encode(serial=1, command=command, src="a1b2c3d4e5f6", dst="1" * 12, time=None, unit=unit)
        frames.append(spoil(frame, at, bit) if spoilt else frame)
    columns, slow = columns_of("gb26875", frames)
    expected = list(expected_analogues(frames))
    assert len(columns["value"]) == len(expected)
    for n, (i, part, reading) in enumerate(expected):
        assert not slow[i]
        row = {name: column[n].item() for name, column in columns.items()}
        assert (row["frame"], f"{row['device']:012x}") == (i, reading.device)
        names = ("sys_type", "sys_addr", "comp_type", "comp_addr", "analog_type", "raw")
        assert {name: row[name] for name in names} == {name: part[name] for name in names}
        assert (row["value"], row["ts_ms"], row["quality"]) == (reading.value, reading.ts_ms, reading.quality)


BCD_TIMES = [bytes.fromhex(f"{time}0000") for time in ("26051512", "26022900", "24022900", "26051612", "26051700")]
bodies = st.builds(
    lambda alarm, status, lat, lon, rest, time, items: b"".join(
        (*(number.to_bytes(4, "big") for number in (alarm, status, lat, lon)), rest, time, items)
    ),
    dword, st.integers(0, 63) | dword, st.sampled_from([0, 90_000_000, 90_000_001]) | dword,
    st.sampled_from([0, 180_000_000, 180_000_001]) | dword, st.binary(min_size=6, max_size=6),
    st.binary(min_size=6, max_size=6) | st.sampled_from(BCD_TIMES),
    st.one_of(st.just(b""), st.binary(max_size=20), st.just(b"\x01\x04\0\0\x27\x10\x31\x01\x09"),
              st.just(b"\x31\x01\x09\x01\x03\0\0\0"), st.just(b"\x64\x01\0")),
)  # fmt: skip
forms = st.sampled_from(
    [
        {"phone": PHONE}, {"phone": PHONE_2019, "version": 2019}, {"phone": PHONE, "packet": (2, 1)},
        {"phone": PHONE, "encrypt": 1},
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(forms, bodies, spoils), max_size=5))
def test_location_columns_equal_the_readings_of_the_plain_decoder(messages):
    frames = []
    for form, body, (spoilt, at, bit) in messages:
        frame = jt808.write_frame(jt808.Header(**{"msg_id": 0x0200, "serial": 513} | form), body)
        frames.append(spoil(frame, at, bit) if spoilt else frame)
    columns, slow = columns_of("jt808", frames)
    fast = {int(frame): n for n, frame in enumerate(columns["frame"])}
    assert sorted(fast) == list(np.flatnonzero(~slow))
    for i, frame in enumerate(frames):
        found = jt808.decode(frame)
        readable = found["ok"] and found["msg_id"] == "0x0200" and "body" in found and "quirk" not in found
        has_safety = any(key in ("0x64", "0x65", "0x66", "0x67") for key, _ in found.get("body", {}).get("extras", ()))
        assert (i in fast) == (readable and not has_safety)
        if i not in fast:
            continue
        row = {name: column[fast[i]].item() for name, column in columns.items()}
        wide = row["version"] == 2019
        phone = f"{row['phone_high']:04x}{row['phone']:016x}" if wide else f"{row['phone']:012x}"
        assert (phone, row["serial"]) == (found["phone"], found["serial"])
        plain = {reading.channel: reading for reading in jt808.readings(found, NOON_MS)}
        for name in ("lat", "lon", "alt", "speed_kmh", "direction"):
            assert (row[name], row["fix_quality"]) == (plain[name].value, plain[name].quality)
        for name in ("alarm", "status"):
            assert (row[name], row["ts_ms"], row["quality"]) == (
                plain[name].value,
                plain[name].ts_ms,
                plain[name].quality,
            )
        mileage = plain["mileage_km"].value if "mileage_km" in plain else math.nan
        assert row["mileage_km"] == pytest.approx(mileage, nan_ok=True, rel=0, abs=0)


@pytest.mark.parametrize(
    ("lat", "lon", "status", "quality"),
    [
        (90_000_000, 180_000_000, 2, GOOD), (90_000_001, 1, 2, BAD), (1, 180_000_001, 2, BAD), (0, 0, 2, BAD),
        (0, 1, 2, GOOD), (1, 1, 0, BAD), (1, 1, 2 | 32, BAD),
    ],
)  # fmt: skip
def test_a_position_is_usable_up_to_its_limits_for_both_decoders(lat, lon, status, quality):
    body = struct.pack(">IIIIHHH", 0, status, lat, lon, 0, 0, 0) + BCD_TIMES[0]
    frame = jt808.write_frame(jt808.Header(msg_id=0x0200, phone=PHONE, serial=1), body)
    columns, _ = columns_of("jt808", [frame])
    assert columns["fix_quality"].tolist() == [quality]
    assert jt808.readings(jt808.decode(frame), NOON_MS)[0].quality == quality


def test_every_month_of_the_256_years_has_the_same_days_for_both_decoders():
    late_ms = 9_100_000_000_000  # in 2258
    dates = itertools.product((1, 28, 29, 30, 31), range(1, 13), range(256))
    days = [bytes((0, 0, 12, *date)) for date in dates]
    frames = [
        gb26875.encode(serial=1, command=2, src="1" * 12, dst="1" * 12, time=None,
                       unit=b"\x03" + bytes((60,)) + b"".join(bytes(10) + day for day in days[at : at + 60]))
        for at in range(0, len(days), 60)
    ]  # fmt: skip
    ends = np.cumsum([len(frame) for frame in frames])
    columns, slow = decode_batch("gb26875", b"".join(frames), ends - len(frames[0]), ends, late_ms)
    expected = [reading.ts_ms for frame in frames for reading in gb26875.readings(gb26875.decode(frame), late_ms)]
    assert not slow.any()
    assert columns["ts_ms"].tolist() == expected
    impossible = 256 * (2 + 4) + sum(not isleap(year) for year in range(2000, 2256))  # 30, 31 Feb, four 31sts, 29 Feb
    assert expected.count(late_ms) == impossible


def test_frames_of_other_kinds_are_left_to_the_plain_decoder():
    heartbeat = jt808.heartbeat(jt808.Header(msg_id=0, phone=PHONE, serial=1))
    columns, slow = columns_of("jt808", [heartbeat])
    assert (columns["lat"].size, slow.tolist()) == (0, [True])


def test_frames_outside_the_buffer_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="within the buffer"):
        decode_batch("jt808", b"\x7e" * 10, np.array([0]), np.array([11]), NOON_MS)
    with pytest.raises(ValueError, match="gb26875 or jt808"):
        decode_batch("hj212", b"", np.array([], np.int64), np.array([], np.int64), NOON_MS)
