"""MQTT packets: where each begins and ends, however they come, told by a plain reader and by the compiled one."""

import struct

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import mqtt_packets
from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.mqtt_json import MAX_PAYLOAD
from zhenan.telemetry.codecs.mqtt_packets import LONG, PASSED, TAKEN, Frames, Packets, Segments, read_connect, split

SAMPLE = b'{"ts":1,"values":{"v":2}}'


def length(size):
    found = b""
    while True:
        size, seven = size >> 7, size & 127
        found += bytes((seven | (128 if size else 0),))
        if not size:
            return found


def packet(first, body):
    return bytes((first,)) + length(len(body)) + body


def text(said):
    return struct.pack(">H", len(said)) + said


def publish(topic, payload, *, qos=1, packet_id=7, retain=0, dup=0):
    known = struct.pack(">H", packet_id) if qos else b""
    return packet(0x30 | dup << 3 | qos << 1 | retain, text(topic) + known + payload)


def read(*pieces, room=64):
    """(what `split` finds, the segments as it leaves them)"""
    data = np.frombuffer(b"".join(pieces) + bytes(8), np.uint8)
    segments, found = Segments.of([len(piece) for piece in pieces]), []
    while True:
        packets = Packets.room(room)
        count = split(data, segments, packets)
        if not count:
            return found, segments
        packets = packets.first(count)
        for n in range(count):
            kind, raw = packets.kind[n], data.tobytes()
            if kind == PASSED:
                found.append((packets.segment[n], raw[packets.start[n] : packets.end[n]]))
            else:
                name, body = raw[packets.name[n] : packets.name_end[n]], raw[packets.body[n] : packets.end[n]]
                found.append((packets.segment[n], name, body, packets.id[n], int(kind)))


def plainly(data):
    """(packets, rest, whether it is spoilt) as the specification has it, with nothing compiled."""
    found = []
    while len(data) >= 2:
        size = shift = 0
        begin = 1
        for byte in data[1:5]:
            begin += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        else:
            return found, data, len(data) >= 5
        kind, flags = data[0] >> 4, data[0] & 15
        flawed = kind in (0, 1, 2, 9, 11, 13, 15) or (kind != 3 and flags != (2 if kind in (6, 8, 10) else 0))
        if flawed or (kind == 3 and (flags >> 1 & 3 == 3 or size < 2)):
            return found, data, True
        end, qos = begin + size, flags >> 1 & 3
        if data[0] >> 4 == 3 and len(data) >= begin + 2:
            topic_end = begin + 2 + int.from_bytes(data[begin : begin + 2], "big")
            body = topic_end + (2 if qos else 0)
            if body > end:
                return found, data, True
            parts = data[begin + 2 : topic_end].split(b"/")
            plain = len(parts) == 4 and (parts[0], parts[2], parts[3]) == (b"d", b"up", b"telemetry") and parts[1]
            plain = plain and not any(c <= 32 or c in (127, 35, 43) for c in parts[1])
            if qos < 2 and not data[0] & 1 and len(data) >= body and plain:
                known = int.from_bytes(data[topic_end:body], "big")
                if qos and not known:
                    return found, data, True
                if len(data) >= end:
                    found.append((0, parts[1], data[body:end], known, TAKEN))
                    data = data[end:]
                    continue
                return found, data, False
            if qos < 2 and not data[0] & 1 and len(data) < body:
                return found, data, False
        elif data[0] >> 4 == 3:
            return found, data, False
        found.append((0, data[:end]))
        data = data[end:]
    return found, data, False


packets_ = st.one_of(
    st.builds(publish, st.sampled_from([b"d/m1/up/telemetry", b"d/a.b/up/telemetry", b"d/m1/up/birth", b"x", b"",
                                        b"d//up/telemetry", b"d/+/up/telemetry", b"d/m/1/up/telemetry",
                                        b"d/m1/up/telemetryx"]),
              st.binary(max_size=40), qos=st.integers(0, 3), packet_id=st.sampled_from([0, 1, 65_535]),
              retain=st.integers(0, 1), dup=st.integers(0, 1)),
    st.builds(packet, st.integers(0, 255), st.binary(max_size=200)),
    st.builds(packet, st.sampled_from([0x40, 0x62, 0x82, 0xC0, 0xE0]), st.binary(max_size=200)),
    st.binary(max_size=8),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(packets_, max_size=6), st.integers(0, 60), st.sampled_from([1, 2, 64]))
def test_the_compiled_reader_finds_what_a_plain_one_finds(given_packets, cut, room):
    data = b"".join(given_packets)
    data = data[: max(0, len(data) - cut)]
    found, segments = read(data, room=room)
    wanted, rest, spoilt = plainly(data)
    assert found == wanted
    assert bool(segments.bad[0]) == spoilt
    assert data[segments.at[0] :] == rest


def test_what_several_connections_sent_is_told_apart_and_halves_are_kept():
    whole = publish(b"d/m1/up/telemetry", SAMPLE)
    other = publish(b"d/m2/up/telemetry", SAMPLE, qos=0)
    found, segments = read(whole[:-1], b"\xc0\x00" + other, b"\x32")
    assert found == [(1, b"\xc0\x00"), (1, b"m2", SAMPLE, 0, TAKEN)]
    assert segments.at.tolist() == [0, len(whole) + 1 + len(other), len(whole) + 1 + len(other)]
    assert segments.bad.tolist() == [0, 0, 0]


def test_of_packets_that_are_not_kept_it_is_told_how_much_is_still_to_come():
    retained = publish(b"d/m1/up/telemetry", b"x" * 500, retain=1)
    long = publish(b"d/m1/up/telemetry", b"x" * (MAX_PAYLOAD + 1), packet_id=9)
    found, segments = read(retained[:100], long[:100])
    assert [one[0] for one in found] == [0, 1]
    assert found[1][3:] == (9, LONG)
    assert segments.left.tolist() == [len(retained) - 100, len(long) - 100]
    longest = publish(b"d/m1/up/telemetry", b"x" * MAX_PAYLOAD)
    found, segments = read(longest[:100])
    assert (found, segments.left.tolist()) == ([], [0])  # waited for


def test_puback_names_the_packet():
    assert mqtt_packets.acknowledged(np.array([1, 0x1234])) == b"\x40\x02\x00\x01\x40\x02\x12\x34"


def connect(*, level=4, flags=0xC2, keepalive=60, texts=(b"m1", b"device", b"secret")):
    return packet(
        0x10, text(b"MQTT") + bytes((level, flags)) + struct.pack(">H", keepalive) + b"".join(map(text, texts))
    )


def test_connect_says_who_comes_and_how_often_it_will_be_heard():
    data = connect(flags=0xC6, texts=(b"m1", b"will/topic", b"gone", b"device", b"secret"))
    said = read_connect(data + b"\xc0\x00")
    assert (said.end, said.level, said.keepalive_s, said.client, said.user) == (len(data), 4, 60, "m1", "device")
    assert data[said.keepalive_at : said.keepalive_at + 2] == b"\0\x3c"
    assert read_connect(connect(flags=2, texts=(b"m1",))).user == ""
    assert read_connect(connect(level=5)).user == ""
    assert all(read_connect(data[:n]) is None for n in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"\x10\x02\0\0", b"\x10\xff\xff\xff\xff", connect(texts=(b"m1",)),
     b"\x10\x0c\0\xffMQTT\x04\x02\0\x3c\0\0", b"\x10\x80\x80\x80\x01"],
)  # fmt: skip
def test_what_is_no_connect_is_refused(data):
    with pytest.raises(CodecError):
        read_connect(data)


@given(st.lists(st.builds(packet, st.integers(16, 239), st.binary(max_size=300)), max_size=5), st.integers(1, 50))
def test_a_stream_stands_between_packets_where_one_has_ended(given_packets, step):
    data, frames, ends, at = b"".join(given_packets), Frames(), {0}, 0
    for one in given_packets:
        ends.add(max(ends) + len(one))
    for at in range(0, len(data), step):
        frames.feed(data[at : at + step])
        assert frames.between == (min(at + step, len(data)) in ends)
