"""Frames straight to readings of points: the same as the plain decoder with the register, or left to it."""

import struct

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import batch_points, gb26875, jt808
from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.gateway.registry import FUTURE_MS, Registry, map_readings
from zhenan.telemetry.tests.gateway_support import point
from zhenan.telemetry.tests.test_codec_batch import NOON_MS, analogue, bodies, spoil, spoils

KEYS = ("a1b2c3d4e5f6", "0000000003e9")
PHONE, PHONE_2019 = "013800138000", "98765432100123456789"
GB_ROWS = [
    point("gb26875", KEYS[0], 1, "sys1.40.17.a3", 1, scale=2.0, offset=-1.0, low=0.0, high=90.0),
    point("gb26875", KEYS[0], 1, "sys1-7.40.17.a3", 2),
    point("gb26875", KEYS[0], 1, "sys255-255.255.4294967295.a255", 3),
    point("gb26875", KEYS[1], 2, "sys1.40.17.a3", 4, bit=0),
    point("gb26875", KEYS[1], 2, "sys1.40.17.a3", 5, bit=4),
    point("gb26875", KEYS[1], 2, "status", 6),
]
JT_ROWS = [
    point("jt808", phone, device, channel, device * 20 + n, bit=3 if channel == "status" else None,
          scale=1.5 if channel == "alt" else 1.0, high=80.0 if channel == "speed_kmh" else None)
    for device, phone in ((1, "13800138000"), (2, PHONE_2019)) for n, channel in enumerate(batch_points.LOCATION)
] + [point("jt808", "13900139000", 3, "lat", 90)]  # fmt: skip


def entries(rows):
    return [
        batch_points.Entry(
            r.device_key, r.channel, r.point_id, r.scale, r.offset, -1 if r.bit is None else r.bit,
            -np.inf if r.low is None else r.low, np.inf if r.high is None else r.high,
        )
        for r in rows
    ]  # fmt: skip


TABLES = {
    "gb26875": batch_points.analogue_table(entries(GB_ROWS)),
    "jt808": batch_points.location_table(entries(JT_ROWS)),
}
REGISTRY = Registry([*GB_ROWS, *JT_ROWS])


def decoded(protocol, frames):
    ends = np.cumsum([len(frame) for frame in frames], dtype=np.int64)
    starts = ends - np.array([len(frame) for frame in frames], np.int64)
    return batch_points.decode(protocol, b"".join(frames), starts, ends, NOON_MS, NOON_MS + FUTURE_MS, TABLES[protocol])


def plain(protocol, frame):
    """What the plain decoder and the register make of a frame; None when something of it is to be refused."""
    codec = {"gb26875": gb26875, "jt808": jt808}[protocol]
    try:
        found = codec.parse(frame)
    except CodecError:
        return None
    device = REGISTRY.find(protocol, codec.device_key(found))
    if device is None:
        return None
    mapped = map_readings(device, codec.readings(found, NOON_MS), NOON_MS)
    if mapped.future or mapped.unmapped:
        return None
    rows = mapped.rows
    return list(zip(rows.point, rows.ts, map(repr, rows.value), rows.quality, strict=True))


def agrees(protocol, frames):
    found = decoded(protocol, frames)
    rows = list(zip(found.point.tolist(), found.ts.tolist(), map(repr, found.value.tolist()), found.quality.tolist(),
                    strict=True))  # fmt: skip
    start, quick = 0, 0
    for frame, end, slow in zip(frames, found.ends.tolist(), found.slow, strict=True):
        if slow:
            assert end == start
        else:
            assert rows[start:end] == plain(protocol, frame)
            quick += 1
        start = end
    assert start == len(rows)
    return quick


heads = st.sampled_from([bytes.fromhex(h) for h in ("01002811000000", "01012811000000", "01072811000000",
                                                    "ffffffffffffff", "01002812000000")])  # fmt: skip
known = st.builds(lambda head, one: head + b"\x03" + one[8:], heads, analogue)
any_units = st.lists(known | analogue, max_size=5).map(lambda parts: bytes((3, len(parts))) + b"".join(parts))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([*KEYS, "1" * 12]), any_units, spoils, st.sampled_from([2, 2, 2, 5])), max_size=6
    )
)
def test_analogue_frames_become_the_readings_that_the_register_makes_of_them(messages):
    frames = []
    for src, unit, (spoilt, at, bit), command in messages:
        frame = gb26875.encode(serial=1, command=command, src=src, dst="1" * 12, time=None, unit=unit)
        frames.append(spoil(frame, at, bit) if spoilt else frame)
    agrees("gb26875", frames)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([(PHONE, 2013), (PHONE_2019, 2019), ("013900139000", 2013)]), bodies, spoils),
                max_size=6))  # fmt: skip
def test_locations_become_the_readings_that_the_register_makes_of_them(messages):
    frames = []
    for (phone, version), body, (spoilt, at, bit) in messages:
        frame = jt808.write_frame(jt808.Header(msg_id=0x0200, serial=5, phone=phone, version=version), body)
        frames.append(spoil(frame, at, bit) if spoilt else frame)
    agrees("jt808", frames)


def test_what_a_city_sends_most_is_not_slow():
    unit = b"\x03\x02" + bytes.fromhex("0100281100000003fa00") + bytes((0, 0, 12, 15, 5, 26))
    unit += bytes.fromhex("01072811000000030a00") + bytes((0, 0, 12, 15, 5, 26))
    frame = gb26875.encode(serial=1, command=2, src=KEYS[0], dst="1" * 12, time=None, unit=unit)
    assert agrees("gb26875", [frame, frame]) == 2
    place = struct.pack(">IIIIHHH", 0, 2, 32_000_000, 119_400_000, 10, 900, 90) + bytes.fromhex("260515120000")
    both = [place, place + b"\x01\x04\0\0\x27\x10"]
    header = jt808.Header(msg_id=0x0200, serial=5, phone=PHONE)
    assert agrees("jt808", [jt808.write_frame(header, body) for body in both]) == 2


@settings(max_examples=200, deadline=None)
@given(st.lists(any_units, max_size=4), st.binary(max_size=40), st.integers(1, 4))
def test_whole_frames_are_found_from_the_first_byte_on_and_no_further(units, tail, most):
    frames = [gb26875.encode(serial=1, command=2, src=KEYS[0], dst="1" * 12, time=None, unit=unit) for unit in units]
    data = np.frombuffer(b"".join(frames) + tail, np.uint8)
    starts, ends = np.zeros(most, np.int64), np.zeros(most, np.int64)
    n = batch_points.frames(data, most, starts, ends)
    wanted = gb26875.Splitter().feed(data.tobytes())
    whole = [frame.raw for frame in wanted[:n]]
    assert [data[s:e].tobytes() for s, e in zip(starts[:n], ends[:n], strict=True)] == whole
    assert n == min(most, len(frames)) or n > len(frames)


def test_frames_outside_the_buffer_and_other_protocols_are_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="within the buffer"):
        batch_points.decode("jt808", b"\x7e" * 10, np.array([0]), np.array([11]), NOON_MS, NOON_MS, TABLES["jt808"])
    with pytest.raises(ValueError, match="gb26875 or jt808"):
        batch_points.decode("hj212", b"", np.array([], np.int64), np.array([], np.int64), NOON_MS, NOON_MS,
                            TABLES["jt808"])  # fmt: skip
