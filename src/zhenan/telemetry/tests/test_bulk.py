"""Bodies of many readings: the compiled scan and the slow one say the same, bit by bit; what is refused is told."""

import json
import math
import struct
import time

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from zhenan.telemetry.codecs import influx, json_arrays
from zhenan.telemetry.codecs.base import BAD, GOOD, NO_DEVICE_TIME, CodecError
from zhenan.telemetry.codecs.compiled import number
from zhenan.telemetry.codecs.rows import PAD
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway.bulk import Bulk
from zhenan.telemetry.gateway.keys import Key
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.tests.gateway_support import point

NOW = 1_778_817_600_000
ROWS = [
    point("mqtt_json", "dev-1", 11, "lel", 1, scale=2.0, offset=1.0, low=0.0, high=100.0),
    point("mqtt_json", "dev-1", 11, "co", 2),
    point("mqtt_json", "dev-2", 12, "valve", 3, states={"open": 1.0, "closed": 0.0}),
    point("mqtt_json", "dev-2", 12, "word", 4, bit=0),
    point("mqtt_json", "dev-2", 12, "word", 5, bit=3),
    point("mqtt_json", "其它", 13, "t", 6),
    point("gb26875", "dev-9", 14, "co", 7),
]
ALL = Key(1, "all", b"", 1e9, 1e9)
ONE = Key(2, "one", b"", 1e9, 1e9, frozenset({11}))


@pytest.fixture(scope="module")
def bulk():
    return Bulk(Registry(ROWS))


def rows_of(outcome):
    c = outcome.columns
    return list(zip(c.point.tolist(), c.ts.tolist(), c.value.tolist(), c.quality.tolist(), strict=True))


def bits(value):
    return struct.pack("<d", value)


class SlowBulk(Bulk):
    """Everything read one by one."""

    def json(self, body, key, received_ms, most):
        kept, json_arrays.scan = json_arrays.scan, lambda *given: None
        try:
            return super().json(body, key, received_ms, most)
        finally:
            json_arrays.scan = kept


doubles = st.floats(allow_nan=False, allow_infinity=False)
written = st.one_of(
    doubles.map(repr), st.integers(-(10**18), 10**18).map(str), st.decimals(-1000, 1000, places=3).map(str),
    st.sampled_from(["0", "-0", "-0.0", "1e400", "5e-324", "2.2250738585072011e-308", "9007199254740993", "1e23",
                     "0.1", "8.5e-5", "1.7976931348623157e308", "01", "1.", ".5", "+1", "1e", "NaN",
                     "12345678901234567890123"]),
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(written)
def test_a_number_is_read_as_python_reads_it_or_left_alone(text):
    data = np.zeros(len(text) + PAD, np.uint8)
    data[: len(text)] = np.frombuffer(text.encode(), np.uint8)
    place = np.zeros(1, np.uint64)
    end, value = number(data, 0, len(text), place, place.view(np.float64))
    if end == len(text):
        json.loads(text)  # what is read is a JSON number
        wanted = float(int(text)) if "." not in text and "e" not in text.lower() else float(text)
        assert bits(value) == bits(wanted)


def test_nearly_every_number_that_a_program_writes_is_read_at_once():
    place = np.zeros(1, np.uint64)
    rng = np.random.default_rng(5)
    left = 0
    for value in (*rng.uniform(-1e3, 1e3, 20_000), *rng.normal(0, 1e-9, 5_000), *rng.normal(0, 1e200, 5_000)):
        text = repr(float(value)).encode()
        end, found = number(np.frombuffer(text + bytes(PAD), np.uint8), 0, len(text), place, place.view(np.float64))
        left += end != len(text)
        assert end != len(text) or bits(found) == bits(float(value))
    assert left < 30


devices = st.sampled_from(["dev-1", "dev-2", "其它", "nobody", "", "dev-9"])
channels = st.sampled_from(["lel", "co", "valve", "word", "t", "colour"])
times = st.sampled_from([NOW, NOW - 1, NOW + 300_000, NOW + 300_001, 10**11, 10**11 - 1, 0, -5])
plain_rows = st.fixed_dictionaries(
    {"d": devices, "m": channels, "v": doubles | st.integers(-(10**20), 10**20)}, optional={"t": times}
)
any_rows = st.one_of(
    plain_rows,
    st.fixed_dictionaries(
        {"d": devices | st.none(), "m": channels,
         "v": st.sampled_from(["open", "ajar", True, None, [], 3])}, optional={"t": times | st.floats(0, 2e12)}),
    st.just(7), st.just({"d": "dev-1", "m": "co", "v": 1, "q": 2}),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(plain_rows, max_size=8), st.sampled_from([None, 0, 3]), st.sampled_from([ALL, ONE]))
def test_the_compiled_scan_of_json_agrees_with_the_slow_one(rows, indent, key):
    body = json.dumps(rows, indent=indent).encode()
    registry = Registry(ROWS)
    fast, slow = Bulk(registry).json(body, key, NOW, 99), SlowBulk(registry).json(body, key, NOW, 99)
    assert [(*r[:2], bits(r[2]), r[3]) for r in rows_of(fast)] == [(*r[:2], bits(r[2]), r[3]) for r in rows_of(slow)]
    assert fast.refused == slow.refused
    assert [(f.row, f.status) for f in fast.told] == [(f.row, f.status) for f in slow.told]
    assert fast.kept.keys() == slow.kept.keys()
    assert len(rows_of(fast)) + sum(fast.refused.values()) >= len(rows)  # a word of two points is one row


@settings(max_examples=200, deadline=None)
@given(st.lists(any_rows, max_size=6), st.sampled_from([ALL, ONE]))
def test_whatever_json_says_every_row_is_taken_or_refused(rows, key):
    found = Bulk(Registry(ROWS)).json(json.dumps(rows).encode(), key, NOW, 99)
    refused = {fault.row for fault in found.told}
    assert len(refused) == sum(found.refused.values())
    words = sum(isinstance(r, dict) and r.get("m") == "word" and i not in refused for i, r in enumerate(rows))
    assert len(found.columns) == len(rows) - len(refused) + words


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='[]{}":,dmtv01.e- \\', max_size=60).map(str.encode))
@example(b"[" * 100_000)
@example(b'[{"d":"dev-1","m":"co","v":1}')
@example(b'[{"d":"dev-1","m":"co","v":1},]')
@example(b'[{"d":"dev-1","m":"co","v":1}]x')
def test_hostile_bytes_are_an_error_or_rows_never_anything_else(body):
    registry = Registry(ROWS)
    try:
        fast = rows_of(Bulk(registry).json(body, ALL, NOW, 9))
    except CodecError as err:
        with pytest.raises(CodecError, match=err.reason):
            SlowBulk(registry).json(body, ALL, NOW, 9)
    else:
        assert fast == rows_of(SlowBulk(registry).json(body, ALL, NOW, 9))
    Bulk(registry).lines(body, ALL, NOW, 99, "ms")


def test_json_rows_become_readings_by_the_register_and_refused_rows_say_why(bulk):
    body = b"""[{"d": "dev-1", "m": "lel", "t": 1778817600000, "v": 3.5},
      {"v": 70, "t": 1778817600001, "m": "lel", "d": "dev-1"}, {"d": "dev-1", "m": "co", "v": 1},
      {"d": "dev-2", "m": "word", "t": 1778817600000, "v": 9}, {"d": "nobody", "m": "co", "v": 1},
      {"d": "dev-1", "m": "colour", "v": 1}, {"d": "dev-1", "m": "co", "t": 1778817600, "v": 1},
      {"d": "dev-1", "m": "co", "t": 1778817900001, "v": 1}]"""
    found = bulk.json(body, ALL, NOW, 99)
    assert rows_of(found) == [
        (1, NOW, 8.0, GOOD), (1, NOW + 1, 141.0, BAD), (2, NOW, 1.0, NO_DEVICE_TIME), (4, NOW, 1.0, GOOD),
        (5, NOW, 1.0, GOOD),
    ]  # fmt: skip
    assert [(f.row, json_word(f.status)) for f in found.told] == [
        (4, "unknown_device"), (5, "unmapped"), (6, "time"), (7, "future"),
    ]  # fmt: skip
    kept = {(r.reason, r.device_key): r for r in found.refusals(ALL, "10.0.0.1", NOW)}
    assert set(kept) == {("unknown_device", "nobody"), ("unmapped", "dev-1"), ("malformed_body", "dev-1"),
                         ("future", "dev-1")}  # fmt: skip
    stranger = kept["unknown_device", "nobody"]
    assert stranger.raw == b'{"d": "nobody", "m": "co", "v": 1}'
    assert stranger.decoded["readings"][0]["channel"] == "co"  # what an operator adopts it by


def json_word(status):
    from zhenan.telemetry.codecs.rows import WORDS

    return WORDS[status]


def test_a_word_for_a_state_is_taken_as_its_number_and_an_unknown_one_refused(bulk):
    body = json.dumps([{"d": "dev-2", "m": "valve", "t": NOW, "v": v} for v in ("open", "ajar", 0)]).encode()
    found = bulk.json(body, ALL, NOW, 99)
    assert [r[2] for r in rows_of(found)] == [1.0, 0.0]
    assert [(f.row, json_word(f.status)) for f in found.told] == [(1, "value")]


def test_a_key_reports_for_its_own_devices_and_is_not_told_of_others(bulk):
    body = json.dumps([{"d": d, "m": m, "t": NOW, "v": 1} for d, m in (("dev-1", "co"), ("dev-2", "valve"))]).encode()
    found = bulk.json(body, ONE, NOW, 99)
    assert [r[0] for r in rows_of(found)] == [2]
    assert [(f.row, json_word(f.status)) for f in found.told] == [(1, "unknown_device")]
    assert [r.reason for r in found.refusals(ONE, "", NOW)] == ["forbidden"]


def test_more_rows_than_allowed_are_refused_as_a_whole(bulk):
    body = json.dumps([{"d": "dev-1", "m": "co", "v": 1}] * 10).encode()
    assert len(bulk.json(body, ALL, NOW, 10).columns) == 10
    with pytest.raises(CodecError, match="too_many"):
        bulk.json(body, ALL, NOW, 9)
    with pytest.raises(CodecError, match="too_many"):
        bulk.lines(b"dev-1 co=1,lel=2\n" * 5, ALL, NOW, 9, "ns")


def test_ten_thousand_strangers_are_all_counted_and_a_few_kept(bulk):
    body = json.dumps([{"d": f"s{n}", "m": "co", "v": 1} for n in range(10_000)]).encode()
    found = bulk.json(body, ALL, NOW, 10_000)
    refusals = found.refusals(ALL, "", NOW)
    assert sum(r.count for r in refusals) == 10_000
    assert len(refusals) <= 66
    assert len(found.told) == 100


# line protocol

FIELD_VALUES = ["1i", "-3i", "7u", "1.5i", "true", "F", '"open"', '"a b"', '"', ""]
lines = st.builds(
    lambda head, fields, end: f"{head} {','.join(f'{k}={v}' for k, v in fields)}{end}",
    st.sampled_from(["dev-1", "dev-2,site=x", "gas,device=dev-1", "gas,a=b,device=dev-2", "其它", "nobody",
                     "gas,device=", "dev\\-1", "a,device=dev-1,device=dev-2", "dev-1,x", ""]),
    st.lists(st.tuples(channels, written | st.sampled_from(FIELD_VALUES)), max_size=3),
    st.sampled_from(["", f" {NOW}000000", " 5", " x", f" {NOW}000000\r", " ", " 1 2"]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(lines | st.sampled_from(["", "# said", "\r"]), max_size=6), st.sampled_from([ALL, ONE]))
def test_the_compiled_scan_of_lines_agrees_with_the_slow_one(said, key):
    body = "\n".join(said).encode()
    bulk = Bulk(Registry(ROWS))
    fast = bulk.lines(body, key, NOW, 99, "ns")
    slow_rows, slow_refused = [], {}
    for row, line in enumerate(said):
        from zhenan.telemetry.gateway.bulk import Outcome

        found = Outcome(Columns.empty())
        rows = bulk._rows(influx.read(line.encode(), row, "ns"), key, NOW, found, b"")
        slow_rows += zip(rows.point, rows.ts, map(bits, rows.value), rows.quality, strict=True)
        for status, count in found.refused.items():
            slow_refused[status] = slow_refused.get(status, 0) + count
    assert [(*r[:2], bits(r[2]), r[3]) for r in rows_of(fast)] == slow_rows
    assert fast.refused == slow_refused


@pytest.mark.parametrize(
    ("unit", "stamp"), [("ns", NOW * 1_000_000 + 999_999), ("us", NOW * 1000), ("ms", NOW), ("s", NOW // 1000)]
)
def test_line_times_come_in_any_of_four_units(bulk, unit, stamp):
    body = f"gas,device=dev-1 lel=3.5,co=2i {stamp}\n\n# remark\r\ndev-1 co=1".encode()
    assert rows_of(bulk.lines(body, ALL, NOW, 99, unit)) == [
        (1, NOW, 8.0, GOOD), (2, NOW, 2.0, GOOD), (2, NOW, 1.0, NO_DEVICE_TIME),
    ]  # fmt: skip


def test_escapes_quotes_and_truths_of_lines_are_read(bulk):
    registry = Registry([point("mqtt_json", "a b,c=d", 1, "f g", 1), *ROWS])
    found = Bulk(registry).lines(
        b'x,device=a\\ b\\,c\\=d f\\ g=1.5 1778817600000\ndev-2 valve="open" 1778817600000\n'
        b"dev-2 valve=false 1778817600001\n",
        ALL, NOW, 99, "ms",
    )  # fmt: skip
    assert [(r[0], r[2]) for r in rows_of(found)] == [(1, 1.5), (3, 1.0), (3, 0.0)]


# columns


def test_ready_columns_are_taken_by_point_and_each_bad_reading_refused(bulk):
    good = Columns.of([1, 3, 2], [NOW] * 3, [1.0, 2.0, 3.0], [0, 1, 2])
    assert rows_of(bulk.columns(good.pack(), ALL, NOW, 99)) == rows_of_columns(good)
    bad = Columns.of([1, 99, -1, 1, 1, 1, 3, 1], [NOW, NOW, NOW, 5, NOW + 300_001, NOW, NOW, NOW],
                     [1.0, 1, 1, 1, 1, math.nan, 1, 1], [0, 0, 0, 0, 0, 0, 0, 3])  # fmt: skip
    found = bulk.columns(bad.pack(), ONE, NOW, 99)
    assert rows_of(found) == [(1, NOW, 1.0, 0)]
    assert [(f.row, json_word(f.status)) for f in found.told] == [
        (1, "unknown_device"), (2, "unknown_device"), (3, "time"), (4, "future"), (5, "value"), (6, "unknown_device"),
        (7, "value"),
    ]  # fmt: skip
    assert sum(r.count for r in found.refusals(ONE, "", NOW)) == 7
    with pytest.raises(ValueError, match="damaged"):
        bulk.columns(good.pack()[:-1] + b"\7", ALL, NOW, 99)
    with pytest.raises(ValueError, match="at most 2"):
        bulk.columns(good.pack(), ALL, NOW, 2)


def rows_of_columns(c):
    return list(zip(c.point.tolist(), c.ts.tolist(), c.value.tolist(), c.quality.tolist(), strict=True))


def test_a_new_register_and_a_changed_key_are_seen_at_once():
    registry = Registry(ROWS[:1])
    bulk = Bulk(registry)
    body = json.dumps([{"d": "dev-1", "m": "co", "t": NOW, "v": 1}]).encode()
    assert len(bulk.json(body, ALL, NOW, 9).columns) == 0
    registry.load(ROWS)
    assert len(bulk.json(body, ALL, NOW, 9).columns) == 1
    assert len(bulk.json(body, Key(1, "all", b"", 1, 1, frozenset({12})), NOW, 9).columns) == 0


def test_scanning_is_much_quicker_than_reading(bulk):
    rows = [{"d": "dev-1", "m": "co", "t": NOW + n, "v": n * 0.37} for n in range(20_000)]
    body = json.dumps(rows, separators=(",", ":")).encode()

    def seconds(work):
        best = math.inf
        for _ in range(3):
            start = time.perf_counter()
            work()
            best = min(best, time.perf_counter() - start)
        return best

    fast = seconds(lambda: bulk.json(body, ALL, NOW, 20_000))
    floor = seconds(lambda: json.loads(body))
    assert fast * 1.5 < floor
