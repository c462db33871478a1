"""Many MQTT messages at once: the same readings, bit by bit, and the same refusals as one after the other."""

import asyncio
import json
import math
import struct
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
from hypothesis import example, given, settings

from zhenan.telemetry.codecs.mqtt_json import MAX_PAYLOAD
from zhenan.telemetry.codecs.samples import MOST, Payloads
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.mapping import Layout, written
from zhenan.telemetry.gateway.mqtt_messages import Messages
from zhenan.telemetry.gateway.quick_mqtt import FEW, QuickMqtt
from zhenan.telemetry.gateway.registry import Registry, Rows
from zhenan.telemetry.tests.gateway_support import point

NOW = 1_767_225_600_000
REGISTRY = Registry(
    [
        point("mqtt_json", "m1", 1, "gas", 1, scale=2.0, offset=-1.0, low=0.0, high=100.0),
        point("mqtt_json", "m1", 1, "co", 2, scale=1e300),
        point("mqtt_json", "m1", 1, "values", 3),
        point("mqtt_json", "m1", 1, "ts", 4),
        point("mqtt_json", "m1", 1, "bit", 5, bit=0),
        point("mqtt_json", "m1", 1, "bit", 6, bit=1),
        point("mqtt_json", "m1", 1, "valve", 7, states={"open": 1.0}),
        point("mqtt_json", "a.b", 2, "gas", 8),
        point("mqtt_json", "own", 3, "gas", 9, layout=written(Layout(channels={"gas": "$.data.lel"}, ts="$.t"))),
        *(point("mqtt_json", "many", 4, f"c{n}", 100 + n) for n in range(MOST + 2)),
    ]
)  # fmt: skip


class Taken:
    """Stands where the log would: keeps what is taken, in its order."""

    def __init__(self, most=100_000):
        self.most, self.rows, self.refused, self.seqs, self.known = most, [], [], [], set()

    def again(self, key):
        return True if key in self.known else None

    def take(self, rows=None, *, key=None, refusals=(), source_seq=0):
        if rows is not None:
            columns = rows.columns() if isinstance(rows, Rows) else rows
            assert len(columns) <= self.most
            self.rows += [
                (p, ts, struct.pack("<d", v), q)
                for p, ts, v, q in zip(*(getattr(columns, name).tolist() for name in
                                         ("point", "ts", "value", "quality")), strict=True)
            ]  # fmt: skip
        if key is not None:
            self.known.add(key)
        self.refused += refusals
        self.seqs.append(source_seq)
        return SimpleNamespace()


def singly(messages, *, rate=1e9, most=100_000):
    taken = Taken(most)
    one_by_one = Messages(REGISTRY, taken, Counters(), Buckets(rate, rate))
    for n, (name, data, at_ms) in enumerate(messages, 1):
        one_by_one.take(f"d/{name}/up/telemetry", name, "telemetry", data, at_ms, seq=n)
    return taken


def together(messages, *, rate=1e9, most=100_000, queued=True):
    """The quick way; and how many messages went through it singly."""
    taken, buckets, count = Taken(most), Buckets(rate, rate), 0
    one_by_one = Messages(REGISTRY, taken, Counters(), buckets)

    def single(n):
        nonlocal count
        count += 1
        name, data, at_ms = messages[n]
        return one_by_one.take(f"d/{name}/up/telemetry", name, "telemetry", data, at_ms, seq=n + 1)

    pieces = [piece for name, data, _ in messages for piece in (name.encode(), data)]
    ends = np.cumsum([0, *map(len, pieces)])
    payloads = Payloads(ends[0:-1:2], ends[1::2], ends[1::2], ends[2::2])
    quick = QuickMqtt(REGISTRY, taken, Counters())
    quick.ready = True
    data = np.frombuffer(b"".join(pieces) + bytes(8), np.uint8)
    seqs = np.arange(1, len(messages) + 1) if queued else None
    quick.take(data, payloads, min(at for *_, at in messages), single, seqs, buckets)
    return taken, count


numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.floats(-100, 200), st.integers(-5, 120),
    st.sampled_from([0, -0.0, 1e308, 5e-324, 0.1, 123456789.123456789]),
)  # fmt: skip
anything = st.one_of(numbers, st.sampled_from(["open", "shut", True, None, [1], {"v": 1}, ""]))
names = st.sampled_from(["gas", "co", "values", "ts", "bit", "valve", "other", "né", "a b", "", "x" * 65, "gas"])
times = st.sampled_from([NOW, NOW + 300_000, NOW + 300_001, NOW + 10**9, 0, -5, 10**11 - 1, 10**11, NOW // 1000,
                         1.5e12, "x", None, True, 2**62, "2026-01-01T00:00:00Z"])  # fmt: skip
plain = st.dictionaries(st.sampled_from(["gas", "co"]), st.floats(-100, 200) | st.integers(0, 9), max_size=2)
sample = st.one_of(
    st.builds(lambda ts, values: {"ts": ts, "values": values}, st.just(NOW - 5), plain),
    st.builds(lambda ts, values: {"ts": ts, "values": values}, times, st.dictionaries(names, anything, max_size=4)),
    st.builds(lambda values: {"values": values}, plain),
    st.builds(lambda ts, values: {"ts": ts, **values}, times, st.dictionaries(names, anything, max_size=3)),
    st.builds(lambda values: {"gas": 1, "values": values}, plain),
    st.just([]), st.just({}), st.just(3), st.just({"data": {"lel": 4}, "t": NOW}),
)  # fmt: skip
document = st.one_of(sample, st.lists(sample, max_size=4))
spaces = st.sampled_from([None, (",", ":"), (" , ", " :\t"), (",\r\n", ": ")])


@st.composite
def payload(draw):
    """JSON as devices write it, and what noise on the way makes of it."""
    data = json.dumps(draw(document), separators=draw(spaces), ensure_ascii=draw(st.booleans())).encode()
    kind = draw(st.integers(0, 9))
    if kind == 0:
        data = data[: draw(st.integers(0, len(data)))]
    elif kind == 1:
        at = draw(st.integers(0, len(data) - 1))
        data = data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]
    elif kind == 2:
        data = draw(st.sampled_from([b" ", b"\n"])) + data + draw(st.sampled_from([b" \n", b"x", b"\0", b"}"]))
    elif kind == 3:
        data = data.replace(b'"gas"', b'"co"').replace(b"0,", b"00,")
    return data


message = st.tuples(
    st.sampled_from(["m1", "m1", "m1", "a.b", "own", "stranger"]), payload(), st.sampled_from([NOW, NOW + 1, NOW + 900])
)
TWICE = b'{"ts":1767225600000,"values":{"gas":1,"gas":2}}'
ODD = [b"", b"[", b"{", b'{"gas":1', b'{"gas":1}}', b'{"ts":1,"ts":2}', b'{"values":{},"values":{}}', b'{"gas":1,}',
       b"[{}]", b"[{},]", b'{"gas":1e5,"co":-0}', b'{"gas":.5}', b'{"gas":+1}', b'{"gas":1e999}', b'{"gas":Infinity}',
       b'{"values":3,"values":{"gas":1}}', b'{"values":{"gas":1}', b'{"ts":1767225600000}', TWICE]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(message, min_size=FEW + 1, max_size=12))
@example([("m1", data, NOW) for data in ODD])
@example([("own", data, NOW) for data in ODD])
def test_many_messages_say_what_each_says_alone(messages):
    alone, (all_, _) = singly(messages), together(messages)
    assert all_.rows == alone.rows
    assert all_.refused == alone.refused
    assert max(all_.seqs) == len(messages)


def ordinary(count, device="m1"):
    return [(device, json.dumps({"ts": NOW + n, "values": {"gas": n}}).encode(), NOW + 5000) for n in range(count)]


def test_ordinary_messages_are_all_read_together():
    taken, alone = together(ordinary(50))
    assert alone == 0
    assert len(taken.seqs) == 1
    assert [row[1] for row in taken.rows] == [NOW + n for n in range(50)]
    assert taken.rows[3] == (1, NOW + 3, struct.pack("<d", 5.0), 0)


def test_one_that_is_odd_is_taken_in_its_place():
    messages = ordinary(9)
    messages[4] = ("m1", b'{"ts":%d,"values":{"valve":"open"}}' % (NOW + 4), NOW + 5000)
    taken, alone = together(messages)
    assert alone == 1
    assert [row[1] for row in taken.rows] == [NOW + n for n in range(9)]
    assert taken.seqs == [4, 5, 9]


def test_a_device_beyond_its_share_is_refused_what_one_by_one_is_refused():
    messages = ordinary(30) + ordinary(5, "a.b")
    alone, (all_, _) = singly(messages, rate=10), together(messages, rate=10)
    assert all_.rows == alone.rows
    assert [r.reason for r in all_.refused] == ["flood"] * 20
    assert all_.refused == alone.refused


def test_a_message_stays_in_one_commit_and_one_that_fits_into_none_is_refused():
    values = {f"c{n}": n for n in range(MOST)}
    messages = [("many", json.dumps({"ts": NOW + n, "values": values}).encode(), NOW + 9) for n in range(5)]
    taken, alone = together(messages, most=150)
    assert (alone, taken.seqs) == (0, [2, 4, 5])
    taken, alone = together(messages, most=MOST - 1)
    assert (alone, len(taken.rows)) == (5, 0)
    assert {(r.reason, r.count) for r in taken.refused} == {("malformed_body", MOST)}


def test_samples_with_more_values_than_the_loop_takes_and_the_longest_payload_are_read_singly():
    more = {f"c{n}": n for n in range(MOST + 1)}
    long = b'{"gas":1}' + b" " * MAX_PAYLOAD
    messages = [*ordinary(4), ("many", json.dumps({"ts": NOW, "values": more}).encode(), NOW), ("m1", long, NOW)]
    taken, alone = together(messages)
    assert alone == 2
    assert len(taken.rows) == 4 + MOST + 1
    assert [r.detail for r in taken.refused] == ["too_long"]


def test_without_a_time_of_its_own_a_message_has_that_of_its_coming():
    messages = [("m1", b'{"gas":3}', NOW + n) for n in range(5)]
    taken, alone = together(messages)
    assert (alone, [row[1] for row in taken.rows]) == (5, [NOW + n for n in range(5)])
    taken, alone = together(messages, queued=False)  # what has just come, all of it now
    assert (alone, [row[1] for row in taken.rows]) == (0, [NOW] * 5)


def test_more_messages_than_there_is_room_for_are_taken_by_turns(monkeypatch):
    monkeypatch.setattr("zhenan.telemetry.gateway.quick_mqtt.MESSAGES", 8)
    taken, alone = together(ordinary(30))
    assert (alone, taken.seqs) == (0, [8, 16, 24, 30])
    assert [row[1] for row in taken.rows] == [NOW + n for n in range(30)]


def test_values_keep_their_last_bit():
    said = [0.1, 1 / 3, 5e-324, math.pi * 1e200, 123456789.123456789]
    messages = [("a.b", json.dumps({"ts": NOW, "values": {"gas": v}}).encode(), NOW) for v in said]
    taken, alone = together(messages)
    assert [struct.unpack("<d", row[2])[0] for row in taken.rows] == said
    assert alone <= 1  # the smallest number of all may be left to the plain way


def test_until_the_loop_is_compiled_messages_are_read_singly():
    quick = QuickMqtt(REGISTRY, Taken(), Counters())
    seen = []
    quick.take(np.zeros(8, np.uint8), Payloads(*(np.zeros(9, np.int64),) * 4), NOW, seen.append)
    assert seen == list(range(9))
    asyncio.run(quick.warm())
    assert quick.ready
