"""JSON of a maker's own shape: paths to values, times and samples; bad paths and bad payloads."""

import json

import jsonpath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.gateway.mapping import Compiled, Layout, PathFault, compiled, finder, path_fault, written

AT = 1_772_000_000_000
SHAPE = Layout(
    {"lel": "$.gas['lel']", "battery": "$.bat", "valve": "$.state"}, samples="$.data[*]", ts="$.t", ts_unit="s",
    numeric_text=True,
)  # fmt: skip


def read(layout, payload, **more):
    found = Compiled(layout).decode(json.dumps(payload).encode(), AT, device="D", **more)
    return (
        [(r.channel, r.ts_ms, r.value, r.quality) for r in found.readings],
        [(e.where, e.reason) for e in found.errors],
    )


def test_samples_times_and_values_are_found_where_the_model_says():
    payload = {"data": [{"t": 1_771_999_990, "gas": {"lel": "3.5"}, "bat": 90}, {"t": 1_771_999_995, "state": "open"}]}
    assert read(SHAPE, payload, words={"valve": {"open": 1.0}}) == (
        [("lel", AT - 10_000, 3.5, 0), ("battery", AT - 10_000, 90.0, 0), ("valve", AT - 5_000, 1.0, 0)],
        [],
    )


def test_one_bad_value_or_time_leaves_the_rest():
    payload = {"data": [{"t": "soon", "bat": 1}, {"t": 1_771_999_990, "bat": {"v": 1}, "gas": {"lel": 2}}, 7]}
    readings, errors = read(SHAPE, payload)
    assert readings == [("lel", AT - 10_000, 2.0, 0)]
    assert errors == [("[0].ts", "ts"), ("[1].battery", "nested"), ("[2]", "shape")]


def test_a_payload_with_nothing_of_it_says_so():
    assert read(SHAPE, {"data": []}) == ([], [("", "no_channel")])
    assert read(SHAPE, [1, 2]) == ([], [("", "no_channel")])
    with pytest.raises(CodecError, match="json"):
        Compiled(SHAPE).decode(b"{", AT)
    with pytest.raises(CodecError, match="too_many"):
        read(SHAPE, {"data": [0] * 10_001})


def test_a_text_that_holds_json_is_a_text():
    with pytest.raises(CodecError, match="shape"):
        read(SHAPE, json.dumps({"data": [{"bat": 1}]}))
    assert read(SHAPE, {"data": ['{"bat": 1}']}) == ([], [("[0]", "shape")])


def test_without_a_time_it_is_the_time_of_receipt():
    assert read(Layout({"lel": "$.lel"}), {"lel": 1}) == ([("lel", AT, 1.0, 2)], [])


@pytest.mark.parametrize(
    ("path", "words"),
    [("lel", "begins with"), ("$.a[", "no JSONPath"), ("$.a[*]", "several"), ("$..a", "several"),
     ("$.a | $.b", "one query"), ("$." + "a" * 300, "at most")],
)  # fmt: skip
def test_a_path_that_cannot_be_used_is_named(path, words):
    assert words in path_fault(path, one=True)
    with pytest.raises(PathFault):
        Compiled(Layout({"x": path}))


def test_a_layout_is_compiled_once():
    assert compiled(written(SHAPE)) is compiled(written(SHAPE))
    assert compiled(written(SHAPE)).layout == SHAPE


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["data", "t", "gas", "lel"]), inner),
    max_leaves=12,
)


@given(json_values)
def test_no_payload_breaks_it(payload):
    try:
        found = Compiled(SHAPE).decode(json.dumps(payload).encode(), AT)
    except CodecError:
        return
    assert all(abs(r.value) < float("inf") for r in found.readings)
    assert found.readings or found.errors


nested = st.recursive(
    st.none() | st.integers(0, 9) | st.text("ab0", max_size=2),
    lambda more: (
        st.lists(more, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0", "-1", ""]), more, max_size=3)
    ),
    max_leaves=12,
)
steps = st.lists(st.sampled_from([".a", ".b", "['0']", "['']", "[0]", "[1]", "[-1]", "[-3]"]), max_size=4)


@settings(max_examples=200, deadline=None)
@given(nested, steps)
def test_a_path_walked_finds_what_the_library_finds(document, path):
    text = "$" + "".join(path)
    documents = document if isinstance(document, dict | list) else {"a": document}
    assert finder(text)(documents) == jsonpath.compile(text).findall(documents)
