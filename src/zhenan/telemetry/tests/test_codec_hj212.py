"""HJ 212: the worked example of the standard, answers, lenient data areas, streams cut and spoilt."""

from datetime import datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import hj212
from zhenan.telemetry.codecs.base import BAD, GOOD, NO_DEVICE_TIME, BadFrame, Frame, Reading

# The example of HJ 212-2017, annex A; its prose misprints the CRC as 1C08.
EXAMPLE = (
    b"##0101QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&1C80"
)
NOON_MS = 1_778_817_600_000  # 2026-05-15 12:00:00 in China
HEAD = {"QN": "20260515120000000", "ST": "22", "CN": "2011", "PW": "123456", "MN": "A0001", "Flag": "5"}


def upload(area: str, **fields: str) -> dict:
    found = hj212.decode(hj212.encode(hj212.write_segment(HEAD | fields, area)))
    assert found["ok"], found
    return found


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\n"])
def test_the_example_of_the_standard_is_read_with_or_without_its_line_end(end):
    found = hj212.decode(EXAMPLE + end)
    assert (found["length"], found["crc"], found["params"]) == (101, "1C80", {"RtdInterval": "30"})
    assert found["fields"]["MN"] == "010000A8900016F000169DC0"


def test_the_crc_is_not_the_one_of_modbus():
    assert hj212.checksum(EXAMPLE[6:-4]) == 0x1C80 != 0x0759
    assert hj212.encode(EXAMPLE[6:-4]) == EXAMPLE + b"\r\n"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: f[1:], "start"),
        (lambda f: b"##ABCD" + f[6:], "length_field"),
        (lambda f: b"##0102" + f[6:], "length"),
        (lambda f: f + b"x", "length"),
        (lambda f: f[:-4] + b"0000", "crc"),
        (lambda f: f[:-4] + b"0759", "crc"),
        (lambda f: f[:-4] + b"0x1C", "crc_field"),
        (lambda f: f[:-4] + b"?A\r1", "crc_field"),
        (lambda f: hj212.encode(b"nothing of HJ 212"), "fields"),
    ],
)
def test_a_spoilt_frame_is_refused_by_its_fault(spoil, reason):
    assert hj212.decode(spoil(EXAMPLE)) == {"ok": False, "error": reason}


def test_a_segment_beyond_the_configured_cap_is_refused():
    raw = hj212.encode(hj212.write_segment(HEAD, "a=" + "x" * 1024))
    assert hj212.decode(raw)["ok"]
    assert hj212.decode(raw, max_segment=hj212.STANDARD_SEGMENT)["error"] == "length"


def test_length_counts_bytes_and_log_text_may_be_utf8_or_gbk():
    for encoding in ("utf-8", "gbk"):
        segment = hj212.write_segment(HEAD, "i11001-Info=//清洗;管路,完//;b-Rtd=1").encode(encoding)
        found = hj212.decode(hj212.encode(segment))
        assert found["length"] == len(segment)
        assert found["factors"] == {"i11001": {"Info": "//清洗;管路,完//"}, "b": {"Rtd": "1"}}


@pytest.mark.parametrize(
    ("area", "params", "factors"),
    [
        (" BeginTime=20260515,EndTime=20260516 ", {"BeginTime": "20260515", "EndTime": "20260516"}, {}),
        ("a-Rtd = 1.5 ,a-FLAG=N,;;", {}, {"a": {"Rtd": "1.5", "Flag": "N"}}),
        ("100003-Ia=2;x-y-Rtd=3", {}, {"100003": {"Ia": "2"}, "x-y": {"Rtd": "3"}}),
        ("noise;a-Rtd=1,=7", {}, {"a": {"Rtd": "1"}}),
        ("a-Rtd=1,a-Rtd=2", {}, {"a": {"Rtd": "2"}}),
        ("u-Info=http://x;b-Rtd=1", {}, {"u": {"Info": "http://x"}, "b": {"Rtd": "1"}}),
    ],
)  # fmt: skip
def test_the_data_area_is_read_leniently_item_by_item(area, params, factors):
    found = upload(area)
    assert (found.get("params", {}), found.get("factors", {})) == (params, factors)


def test_what_is_skipped_or_repeated_is_counted():
    segment = hj212.read_segment(hj212.write_segment(HEAD, "noise;a-Rtd=1,=7;b-Rtd=1,b-Rtd=2"))
    assert (segment.skipped, segment.repeated) == (2, 1)


@pytest.mark.parametrize(
    "text", ["ST=22;CN=2011;PW=1,MN=A1;FLAG=5;CP=&&a-Rtd=1", "ST=22;,CN=2011;MN=A1;flag=5;CP=&&a-Rtd=1&&"]
)
def test_a_stray_comma_a_missing_end_and_the_case_of_flag_are_forgiven(text):  # fmt: skip
    found = hj212.decode_segment(text)
    assert (found["fields"]["MN"], found["fields"]["Flag"], found["factors"]) == ("A1", "5", {"a": {"Rtd": "1"}})


def test_an_upload_that_wants_an_answer_gets_9014_with_the_same_qn_and_no_bit_a():
    answer = hj212.answer_for(upload("DataTime=20260515120000;a-Rtd=1"))
    expected = b"QN=20260515120000000;ST=91;CN=9014;PW=123456;MN=A0001;Flag=4;CP=&&&&"
    assert hj212.segment_of(answer)[0] == expected


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"Flag": "4"}, None),
        ({"Flag": ""}, None),
        ({"Flag": "7"}, "9014"),
        ({"CN": "1013"}, "9013"),
        ({"CN": "9011"}, None),
        ({"CN": "2051", "Flag": "9"}, "9014"),
    ],
)
def test_only_uploads_and_notices_that_ask_are_answered(fields, command):
    answer = hj212.answer_for(upload("", **fields))
    assert (answer and hj212.decode(answer)["fields"]["CN"]) == command
    if fields.get("Flag") in ("7", "9"):
        assert hj212.decode(answer)["fields"]["Flag"] == {"7": "4", "9": "8"}[fields["Flag"]]


def test_the_packet_numbers_stand_in_the_head_or_in_the_data_area():
    assert hj212.packet_of(upload("", PNUM="3", PNO="2")) == (3, 2)
    assert hj212.packet_of(upload("PNUM=1;PNO=11")) is None
    assert hj212.packet_of(upload("PNUM=11;PNO=1")) == (11, 1)
    assert hj212.packet_of(upload("")) is None


def test_only_normal_numbers_become_good_readings():
    area = (
        "DataTime=20260515120000;a-Rtd=1.5,a-Flag=N;b-Rtd=2,b-Flag=D;c-Avg=-99.0,c-Min=3;d-Rtd=,d-Flag=N;"
        "e-SampleTime=20260515115900,e-Rtd=1e1,e-Flag=N;f-Info=5;g-Rtd=nan;h-Rtd=1_0"
    )
    assert hj212.readings(upload(area), NOON_MS) == [
        Reading("A0001", "a.Rtd", NOON_MS, 1.5, GOOD),
        Reading("A0001", "b.Rtd", NOON_MS, 2.0, BAD),
        Reading("A0001", "c.Avg", NOON_MS, -99.0, BAD),
        Reading("A0001", "c.Min", NOON_MS, 3.0, GOOD),
        Reading("A0001", "e.Rtd", NOON_MS - 60_000, 10.0, GOOD),
    ]


@pytest.mark.parametrize(
    ("text", "ts_ms", "quality"),
    [
        ("20260515120000", NOON_MS, GOOD),
        ("20260515120000123", NOON_MS, GOOD),
        ("20260231120000", NOON_MS + 7, NO_DEVICE_TIME),
        ("", NOON_MS + 7, NO_DEVICE_TIME),
        ("20260516120001", NOON_MS + 7, NO_DEVICE_TIME),
    ],
)
def test_an_impossible_time_is_replaced_by_the_time_of_receipt(text, ts_ms, quality):
    received_ms = NOON_MS + 7
    (found,) = hj212.readings(upload(f"DataTime={text};a-Rtd=1"), received_ms)
    assert (found.ts_ms, found.quality) == (ts_ms, quality)


def test_the_answer_to_a_request_is_no_reading():
    assert hj212.readings(upload("QnRtn=1;a-Rtd=1", CN="9011"), NOON_MS) == []


def test_frames_of_2005_without_qn_are_told_apart_by_their_content():
    def key(area: str):
        return hj212.message_key(hj212.decode_segment(f"ST=32;CN=2011;MN=A1;CP=&&DataTime=20260515120000;{area}&&"))

    assert key("a-Rtd=1") == key("a-Rtd=1") != key("b-Rtd=1")


def test_requests_and_uploads_are_written_as_they_are_read():
    raw = hj212.request(
        qn=hj212.write_qn(datetime(2026, 5, 15, 12, 0, 0, 7000)), st="32", cn="1062", pw="100000", mn="A1",
        params={"RtdInterval": "30"},
    )  # fmt: skip
    found = hj212.decode(raw)
    assert found["fields"]["QN"] == "20260515120000007"
    assert (found["fields"]["Flag"], found["params"]) == ("5", {"RtdInterval": "30"})
    factors = {"a01001": {"Rtd": "20.5", "Flag": "N"}, "w01018": {"Rtd": "3"}}
    raw = hj212.upload(qn="1", st="22", mn="A1", data_time="20260515120000", factors=factors)
    assert hj212.decode(raw)["factors"] == factors


# --- streams ---------------------------------------------------------------------------------------------------------


def frames_of(items):
    return [item.raw for item in items if isinstance(item, Frame)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]


def test_frames_with_and_without_line_ends_are_cut_apart_without_complaint():
    items = hj212.Splitter().feed(EXAMPLE + b"\r\n" + EXAMPLE + EXAMPLE + b"\n" + EXAMPLE)
    assert items == [Frame(EXAMPLE, offset) for offset in (0, 113, 224, 336)]


def test_a_frame_of_wrong_crc_is_dropped_and_the_next_is_found():
    splitter = hj212.Splitter()
    items = splitter.feed(EXAMPLE[:-4] + b"0759\r\n" + EXAMPLE)
    assert frames_of(items) == [EXAMPLE]
    assert [(item.reason, item.raw[-6:]) for item in items if isinstance(item, BadFrame)] == [("crc", b"0759\r\n")]


def test_a_frame_begun_and_never_finished_gives_way_when_its_time_is_up():
    splitter = hj212.Splitter()
    assert splitter.feed(b"##0800QN=" + EXAMPLE) == []
    assert frames_of(splitter.expire()) == [EXAMPLE]


words = st.text("abcXYZ019.", min_size=1, max_size=8)
area_of = st.dictionaries(
    words, st.dictionaries(st.sampled_from(["Rtd", "Avg", "Flag"]), words, min_size=1), max_size=4
)


@settings(max_examples=80, deadline=None)
@given(st.lists(area_of, min_size=1, max_size=4), st.lists(st.integers(0, 3000), max_size=8))
def test_what_is_encoded_comes_back_however_it_is_cut(messages, places):
    sent = [
        hj212.upload(qn="20260515120000000", st="22", mn="A1", data_time="20260515120000", factors=factors)
        for factors in messages
    ]
    splitter = hj212.Splitter()
    items = [item for chunk in cut(b"".join(sent), places) for item in splitter.feed(chunk)]
    assert [raw + b"\r\n" for raw in frames_of(items)] == sent
    assert [hj212.decode(item.raw).get("factors", {}) for item in items] == messages


junk = st.lists(
    st.one_of(
        st.binary(max_size=30), st.just(b"#"), st.just(b"##"), st.just(b"##0030"), st.just(b"##00a"),
        st.just(EXAMPLE[:50]), st.just(EXAMPLE[:-1] + b"1"), st.just(b"\r\n"),
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(junk, st.lists(st.integers(0, 3000), max_size=8))
def test_a_good_frame_is_found_behind_any_garbage_and_reads_do_not_matter(garbage, places):
    splitter = hj212.Splitter(max_segment=1024)
    stream = garbage + EXAMPLE
    items = [item for chunk in cut(stream, places) for item in splitter.feed(chunk)]
    assert splitter.pending <= splitter.max_frame
    items += splitter.expire()
    assert EXAMPLE in frames_of(items)
    whole = hj212.Splitter(max_segment=1024)
    assert whole.feed(stream) + whole.expire() == items


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.text(";,=&-/ aCPNMST1", max_size=80).map(lambda t: ("CN=2011;" + t).encode()))
)
def test_garbage_is_refused_or_read_never_raised(data):
    assert hj212.decode(data)["ok"] in (True, False)
    found = hj212.decode(hj212.encode(data))
    if found["ok"]:
        hj212.readings(found, NOON_MS)
        hj212.message_key(found)
        hj212.answer_for(found)
        hj212.packet_of(found)


def test_no_stream_makes_the_splitter_hold_more_than_a_frame():
    splitter = hj212.Splitter()
    for piece in (b"x" * 20_000, b"#" * 20_000, b"##8000" + b"y" * 20_000):
        splitter.feed(piece)
        assert splitter.pending <= splitter.max_frame


def test_a_flood_of_false_starts_costs_no_more_than_its_bytes(monkeypatch):
    summed = []
    plain = hj212.checksum
    monkeypatch.setattr(hj212, "checksum", lambda segment: summed.append(len(segment)) or plain(segment))
    splitter = hj212.Splitter()
    flood = b"##8000" * 5000
    splitter.feed(flood)
    assert sum(summed) < 20 * len(flood)
    items = splitter.feed(b"." * 16_404 + EXAMPLE)
    assert frames_of(items) == [EXAMPLE]
