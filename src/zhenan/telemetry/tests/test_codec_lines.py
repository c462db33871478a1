"""Decoding line by line, as the command does."""

import json

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import jt808
from zhenan.telemetry.codecs.lines import PROTOCOLS, decode_line, decode_stream

HEARTBEAT = "7e 0002 0000 013912344323 007d01 01 7e"
SEGMENT = "QN=20160801085857223;ST=32;CN=1062;PW=100000;MN=010000A8900016F000169DC0;Flag=5;CP=&&RtdInterval=30&&"
EXAMPLE = f"##0101{SEGMENT}1C80"


@pytest.mark.parametrize(
    ("protocol", "line"),
    [
        ("jt808", HEARTBEAT),
        ("jt808", HEARTBEAT.replace(" ", "").upper()),
        ("jt808", "0x" + HEARTBEAT.replace(" ", "")),
        ("jt808", json.dumps({"hex": HEARTBEAT, "expect": {"ok": False}})),
        ("jt808", json.dumps({"hex": "0001 0200 00", "level": "body", "msg_id": "0x8001"})),
        ("gb26875", json.dumps({"hex": "5b010a", "level": "adu"})),
        ("hj212", EXAMPLE),
        ("hj212", EXAMPLE + "\r\n"),
        ("hj212", EXAMPLE + r"\r\n"),
        ("hj212", EXAMPLE.encode().hex()),
        ("hj212", json.dumps({"text": EXAMPLE + "\r\n"})),
        ("hj212", json.dumps({"text": SEGMENT, "level": "segment"})),
    ],
)
def test_each_form_of_a_line_is_read(protocol, line):
    assert decode_line(protocol, line)["ok"] is True


def test_a_body_is_read_by_its_message_id():
    line = json.dumps({"hex": "0001020000", "level": "body", "msg_id": "0x8001"})
    expected = {"reply_serial": 1, "reply_msg_id": "0x0200", "result": 0}
    assert decode_line("jt808", line) == {"ok": True, "msg_id": "0x8001", "body": expected}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "empty"),
        ("7e7", "hex"),
        ("hello", "hex"),
        ("{", "json"),
        ("{}", "no_hex_or_text"),
        ('{"hex": 5}', "no_hex_or_text"),
        ('{"hex": "00", "level": "adu"}', "level"),
        ('{"hex": "00", "level": "body"}', "msg_id"),
        ('{"hex": "00", "level": "body", "msg_id": "0x12345"}', "msg_id"),
        ('{"hex": "00", "level": "body", "msg_id": "0x8001"}', "body_short"),
        ("7e 0002 0000 013912344323 0001 00 7e", "checksum"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line, error):
    assert decode_line("jt808", line) == {"ok": False, "error": error}


def test_a_stream_answers_each_line_that_is_not_blank_with_one_line_of_json():
    answers = list(decode_stream("jt808", [HEARTBEAT + "\n", "\n", "nonsense\n"]))
    assert [json.loads(answer)["ok"] for answer in answers] == [True, False]
    assert not any("\n" in answer for answer in answers)


def test_an_unknown_protocol_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="jt808, gb26875, hj212"):
        decode_line("modbus", "00")


any_line = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60).map(bytes.hex),
    st.dictionaries(
        st.sampled_from(["hex", "text", "level", "msg_id", "version"]),
        st.one_of(st.none(), st.integers(), st.floats(), st.text(max_size=20), st.binary(max_size=40).map(bytes.hex),
                  st.sampled_from(["body", "adu", "segment", "0x0200", "2019", "\ud800"])),
    ).map(json.dumps),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PROTOCOLS), any_line)
def test_no_line_raises_and_every_answer_is_json(protocol, line):
    assert decode_line(protocol, line)["ok"] in (True, False)
    for answer in decode_stream(protocol, [line]):
        json.loads(answer)


def test_parts_of_a_message_are_joined_when_asked_and_a_part_of_a_file_is_told():
    head = jt808.Header(msg_id=0x0704, phone="013800138000", serial=9)
    place = jt808.location_body(lat=32.2, lon=119.4, time="2026-03-02T12:00:00")
    body = b"\0\x28\0" + (len(place).to_bytes(2, "big") + place) * 40
    parts = [part.hex() for part in jt808.write_frames(head, body)]
    assert len(parts) == 2
    plain = [json.loads(line) for line in decode_stream("jt808", parts)]
    assert [("joined" in one, "body" in one) for one in plain] == [(False, False)] * 2
    first, last = (json.loads(line) for line in decode_stream("jt808", reversed(parts), join=True))
    assert "joined" not in first
    assert last["joined"]["body"]["count"] == len(last["joined"]["body"]["items"]) == 40
    chunk = jt808.file_chunk("a.jpg", 7, b"data")
    assert decode_line("jt808", chunk.hex()) == {
        "ok": True, "file_chunk": {"name": "a.jpg", "offset": 7, "length": 4},
    }  # fmt: skip
    assert decode_line("jt808", chunk.hex()[:-2]) == {"ok": False, "error": "length"}


def test_a_json_payload_is_read_as_the_gateway_reads_it():
    line = '[{"ts": 1772000000000, "values": {"lel": 3.5, "co": null}}, {"lel": 4}]'
    assert decode_line("mqtt_json", line) == {
        "ok": True,
        "readings": [
            {"channel": "lel", "ts": 1_772_000_000_000, "value": 3.5}, {"channel": "lel", "ts": None, "value": 4.0},
        ],
        "errors": [{"where": "[0].values.co", "error": "null"}],
    }  # fmt: skip
    assert decode_line("mqtt_json", "\ud800") == {"ok": False, "error": "utf8"}
    assert decode_line("mqtt_json", "7e") == {"ok": False, "error": "json"}
