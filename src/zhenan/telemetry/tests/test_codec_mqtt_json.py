"""JSON telemetry: every accepted shape, every refused one, and one bad value among good ones."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import mqtt_json
from zhenan.telemetry.codecs.base import GOOD, NO_DEVICE_TIME, CodecError, Reading

NOON_MS = 1_778_817_600_000  # 2026-05-15 12:00:00 in China, 04:00 UTC
DAY_MS = 86_400_000


def read(document, **options) -> mqtt_json.Payload:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return mqtt_json.decode(payload, NOON_MS, device="d1", **options)


@pytest.mark.parametrize(
    ("document", "ts_ms", "quality"),
    [
        ({"ts": NOON_MS - 5, "values": {"gas": 1.5}}, NOON_MS - 5, GOOD),
        ([{"ts": NOON_MS - 5, "values": {"gas": 1.5}}], NOON_MS - 5, GOOD),
        ({"ts": 1_778_817_599, "values": {"gas": 1.5}}, NOON_MS - 1000, GOOD),
        ({"ts": 1_778_817_599.25, "values": {"gas": 1.5}}, NOON_MS - 750, GOOD),
        ({"ts": "2026-05-15T12:00:00+08:00", "values": {"gas": 1.5}}, NOON_MS, GOOD),
        ({"ts": "2026-05-15T03:59:59.5Z", "values": {"gas": 1.5}}, NOON_MS - 500, GOOD),
        ({"gas": 1.5}, NOON_MS, NO_DEVICE_TIME),
        ({"ts": NOON_MS - 5, "gas": 1.5}, NOON_MS - 5, GOOD),
        ({"ts": None, "values": {"gas": 1.5}}, NOON_MS, NO_DEVICE_TIME),
        ({"ts": 0, "values": {"gas": 1.5}}, NOON_MS, NO_DEVICE_TIME),
        ({"ts": NOON_MS + DAY_MS, "values": {"gas": 1.5}}, NOON_MS + DAY_MS, GOOD),
        ({"ts": NOON_MS + DAY_MS + 1, "values": {"gas": 1.5}}, NOON_MS, NO_DEVICE_TIME),
    ],
)
def test_each_shape_and_time_is_read(document, ts_ms, quality):
    found = read(document)
    assert found.readings == [Reading("d1", "gas", ts_ms, 1.5, quality)]
    assert found.errors == []


@pytest.mark.parametrize("ts", ["2026-05-15T12:00:00", "noon", True, [], "9999-12-31T23:59:59"])
def test_a_time_that_cannot_be_placed_leaves_its_sample_out_and_keeps_the_others(ts):
    found = read([{"ts": ts, "values": {"gas": 1}}, {"ts": NOON_MS, "values": {"gas": 2}}])
    assert [reading.value for reading in found.readings] == [2.0]
    assert [error.where for error in found.errors] == ["[0].ts"]


def test_local_time_is_taken_as_china_only_where_the_product_says_so():
    assert read({"ts": "2026-05-15T12:00:00", "gas": 1}, local_time=True).readings[0].ts_ms == NOON_MS


def test_booleans_become_one_and_zero():
    assert [reading.value for reading in read({"door": True, "fan": False}).readings] == [1.0, 0.0]


def test_one_bad_value_leaves_the_rest_and_is_named():
    found = read(
        b'{"ts": 1778817600000, "values": {"a": 1, "b": "x", "c": null, "d": {"e": 1}, "f": 1e999, "g/h": 2, "i": 3}}'
    )
    assert [(reading.channel, reading.value) for reading in found.readings] == [("a", 1.0), ("i", 3.0)]
    assert [(error.where, error.reason) for error in found.errors] == [
        ("values.b", "text"), ("values.c", "null"), ("values.d", "nested"), ("values.f", "range"),
        ("values.g/h", "name"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "accepted"), [("12.3", True), (" -1e2 ", True), ("nan", False), ("1_0", False), ("", False)]
)
def test_numbers_as_text_need_the_products_word(text, accepted):
    assert read({"a": text}).readings == []
    assert bool(read({"a": text}, numeric_text=True).readings) == accepted


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "json"),
        (b"{", "json"),
        (b'{"a": NaN}', "json"),
        (b'{"a": Infinity}', "json"),
        (b"3", "shape"),
        ('{"名": 1}'.encode("gbk"), "utf8"),
        (b'{"a": ' + b"[" * 8 + b"]" * 8 + b"}", "depth"),
        (b"[" * 100_000, "depth"),
        (b'{"a": "' + b"x" * mqtt_json.MAX_PAYLOAD + b'"}', "too_long"),
    ],
)
def test_a_payload_that_is_not_ours_is_refused_by_its_fault(payload, reason):
    with pytest.raises(CodecError, match=f"^{reason}$"):
        read(payload)


def test_eight_levels_are_not_too_deep():
    assert read(b'{"b": 1, "a": ' + b"[" * 7 + b"]" * 7 + b"}").readings[0].channel == "b"


def test_512_keys_are_taken_and_513_are_not():
    assert len(read({f"k{i}": i for i in range(512)}).readings) == 512
    found = read({f"k{i}": i for i in range(513)})
    assert (found.readings, [error.reason for error in found.errors]) == ([], ["keys"])


@pytest.mark.parametrize(
    ("name", "accepted"), [("a" * 64, True), ("a" * 65, False), ("", False), ("T_1.a-b", True), ("温", False)]
)
def test_names_are_short_and_plain(name, accepted):
    assert bool(read({name: 1}).readings) == accepted


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just("ts"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(json_values | st.binary(max_size=60))
def test_garbage_is_refused_or_read_never_raised(document):
    try:
        found = read(document)
    except CodecError:
        assert not isinstance(document, dict) or "NaN" in json.dumps(document) or "Infinity" in json.dumps(document)
    else:
        assert all(reading.value - reading.value == 0 for reading in found.readings)


samples = st.lists(
    st.tuples(st.integers(10**11, NOON_MS), st.dictionaries(st.from_regex(r"\A[A-Za-z0-9_.-]{1,64}\Z"), st.floats(
        allow_nan=False, allow_infinity=False) | st.integers(-2**70, 2**70), max_size=4)), max_size=4)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(samples)
def test_what_is_sent_comes_back_in_order(given_samples):
    found = read([{"ts": ts, "values": values} for ts, values in given_samples])
    expected = [(ts, name, float(value)) for ts, values in given_samples for name, value in values.items()]
    assert [(reading.ts_ms, reading.channel, reading.value) for reading in found.readings] == expected
