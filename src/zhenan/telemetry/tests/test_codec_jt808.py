"""JT/T 808: frames written out by hand, both header forms and their quirks, streams, fragments, files."""

import struct
from datetime import datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import jt808
from zhenan.telemetry.codecs.base import BAD, GOOD, NO_DEVICE_TIME, BadFrame, CodecError, Frame
from zhenan.telemetry.codecs.jt808_frame import BIT_CLEAR_2019, BIT_SET_2013, MAX_FRAME, escape, unescape, xor
from zhenan.telemetry.codecs.jt808_safety import DIALECTS

PHONE, PHONE_2019 = "013912344323", "00000000013912344329"
NOON_MS = 1_778_817_600_000  # 2026-05-15 12:00:00 in China
NOON = "2026-05-15T12:00:00"
KEY = {"terminal_id": "7654321", "time": NOON, "seq": 2, "attachments": 1}

# Heartbeat, serial 125 = 0x7D: escaped as 7D 01. 00^02^00^00 ^ 01^39^12^34^43^23 ^ 00^7d = 01.
HEARTBEAT = bytes.fromhex("7e 0002 0000 013912344323 007d01 01 7e")
# 31.5 N, 121.25 E, 12 m, 60.5 km/h, heading 90, ACC on and positioned, speeding (alarm bit 1).
PLACE = bytes.fromhex("00000002 00000003 01e0a6e0 073a20d0 000c 025d 005a 260515120000")


def header(**options) -> jt808.Header:
    return jt808.Header(**{"msg_id": 0, "phone": PHONE, "serial": 1} | options)


def decode_one(raw: bytes) -> dict:
    found = jt808.decode(raw)
    assert found["ok"], found
    return found


def test_a_heartbeat_with_an_escaped_serial_is_read_and_written():
    assert decode_one(HEARTBEAT) == {"ok": True, "msg_id": "0x0002", "phone": PHONE, "serial": 125, "body_len": 0}
    assert jt808.heartbeat(header(serial=125)) == HEARTBEAT


def test_a_location_is_read_to_its_units_and_written_back():
    found = jt808.decode_body(0x0200, PLACE + bytes.fromhex("01 04 00002710  06 02 8005  2b 04 00140003"))["body"]
    extras = found.pop("extras")
    assert found == {
        "alarm": 2, "status": 3, "lat": 31.5, "lon": 121.25, "alt": 12, "speed_kmh": 60.5, "direction": 90,
        "time": NOON, "mileage_km": 1000.0, "carriage_temp_c": -5, "analog": [3, 20],
    }  # fmt: skip
    assert extras == [["0x01", "00002710"], ["0x06", "8005"], ["0x2B", "00140003"]]
    written = jt808.location_body(
        lat=31.5, lon=121.25, alt=12, speed_kmh=60.5, direction=90, alarm=2, time=datetime(2026, 5, 15, 12)
    )
    assert written == PLACE


@pytest.mark.parametrize(("lat", "lon"), [(-31.5, -121.25), (0.0, 121.25), (-90.0, 180.0)])
def test_a_hemisphere_is_a_status_bit_not_a_sign(lat, lon):
    found = jt808.decode_body(0x0200, jt808.location_body(lat=lat, lon=lon, time=NOON))["body"]
    assert (found["lat"], found["lon"]) == (lat, lon)
    assert bool(found["status"] & 4) == (lat < 0)


@pytest.mark.parametrize(
    ("options", "quirk"),
    [
        ({}, None),
        ({"version": 2019, "phone": PHONE_2019}, None),
        ({"quirk": BIT_SET_2013}, BIT_SET_2013),
        ({"version": 2019, "phone": PHONE_2019, "quirk": BIT_CLEAR_2019}, BIT_CLEAR_2019),
    ],
)
def test_a_reply_repeats_the_form_of_the_request(options, quirk):
    request = decode_one(jt808.location(header(serial=9, **options), lat=31.5, lon=121.25, time=NOON))
    assert request.get("quirk") == quirk
    raw = jt808.general_response(request, 70, jt808.ALARM_HANDLED)
    reply = decode_one(raw)
    assert reply["body"] == {"reply_serial": 9, "reply_msg_id": "0x0200", "result": 4}
    assert (reply["phone"], reply["serial"], reply.get("quirk")) == (request["phone"], 70, quirk)
    assert ("protocol_version" in reply) == (options.get("version") == 2019)


def test_a_bare_7d_before_the_closing_flag_is_the_check_byte():
    found = decode_one(bytes.fromhex("7e0002000000000000067900007d7e"))
    assert found["quirk"] == "unescaped_trailing_7d"
    assert "quirk" not in decode_one(jt808.general_response(found, 1))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("7e 0002 0000 013912344323 0001 7c 7e", "checksum"),
        ("7e 0002 0001 013912344323 0001 7c 7e", "body_length"),
        ("7e 0002 0000 0139123443 7d05 0001 3d 7e", "escape"),
        ("7e 0801 2005 001234567890 02b6 7e", "header_short"),
        ("7e7e", "header_short"),
    ],
)
def test_a_spoilt_frame_is_refused_by_its_fault(raw, reason):
    assert jt808.decode(bytes.fromhex(raw)) == {"ok": False, "error": reason}


@pytest.mark.parametrize("version", [2013, 2019])
def test_registration_and_authentication_round_trip(version):
    of = header(version=version, phone=PHONE_2019 if version == 2019 else PHONE)
    fields = {
        "province": 32, "city": 1100, "maker": "ZHEN", "model": "ZA-1", "terminal_id": "ID00001", "plate_color": 2,
        "plate": "苏L12345",
    }  # fmt: skip
    request = decode_one(jt808.register(of, **fields))
    assert request["body"] == fields
    accepted = decode_one(jt808.register_response(request, 5, 0, "secret"))
    assert accepted["body"] == {"reply_serial": 1, "result": 0, "auth_code": "secret"}
    refused = decode_one(jt808.register_response(request, 5, 3, "secret"))
    assert refused["body"] == {"reply_serial": 1, "result": 3}
    known = decode_one(jt808.auth(of, "secret", imei="123456789012345", software="1.0"))["body"]
    assert known["auth_code"] == "secret"
    assert known.get("imei") == ("123456789012345" if version == 2019 else None)


def test_a_register_body_below_37_bytes_has_the_layout_of_2011():
    body = struct.pack(">HH", 32, 1100) + b"ZHEN\0" + b"ZA-1".ljust(8, b"\0") + b"ID00001" + b"\x02" + b"AB123"
    found = jt808.decode_body(0x0100, body)["body"]
    assert (found["model"], found["terminal_id"], found["plate"]) == ("ZA-1", "ID00001", "AB123")


def test_parameters_requests_and_terminal_answers_are_written_by_the_book():
    found = decode_one(jt808.set_parameters(header(), [(0x0001, b"\0\0\0\x3c"), (0x0055, b"\0\x50")]))
    assert found["body"] == {"params": [["0x0001", "0000003c"], ["0x0055", "0050"]]}
    assert decode_one(jt808.query_parameters(header()))["msg_id"] == "0x8104"
    again = jt808.read_packet(jt808.ask_again(header(), 7, [2, 3]))
    assert again.body == bytes.fromhex("0007 02 0002 0003")
    again = jt808.read_packet(jt808.ask_again(header(version=2019, phone=PHONE_2019), 7, [2, 3]))
    assert again.body == bytes.fromhex("0007 0002 0002 0003")
    answer = decode_one(jt808.terminal_response(header(), 7, 0x8103, jt808.OK))
    assert answer["body"] == {"reply_serial": 7, "reply_msg_id": "0x8103", "result": 0}


def test_a_batch_that_breaks_off_keeps_what_came_and_asks_for_result_2():
    whole = jt808.read_packet(jt808.batch(header(), [PLACE, PLACE], backfill=True)).body
    found = decode_one(jt808.write_frame(header(msg_id=0x0704), whole[:-1]))
    assert found["body_error"]
    assert len(found["body"]["items"]) == 1
    assert len(jt808.readings(found, NOON_MS)) == len(jt808.readings(decode_one(jt808.write_frame(
        header(msg_id=0x0200), PLACE)), NOON_MS))  # fmt: skip
    assert jt808.result_for(found) == jt808.WRONG
    assert jt808.result_for(decode_one(jt808.batch(header(), []))) == jt808.OK


def test_an_item_past_the_end_leaves_the_place_and_the_items_before_it():
    found = jt808.decode_body(0x0200, PLACE + bytes.fromhex("30 01 1f  01 04 0000"))["body"]
    assert (found["lat"], found["signal"], found["extras_truncated"]) == (31.5, 31, True)
    assert "mileage_km" not in found


def test_an_encrypted_body_stays_closed_and_gets_result_3():
    found = decode_one(jt808.write_frame(header(msg_id=0x0200, encrypt=1), PLACE))
    assert found["encrypt"] == 1
    assert "body" not in found
    assert jt808.result_for(found) == jt808.UNSUPPORTED
    assert jt808.readings(found, NOON_MS) == []


def by_channel(body: bytes) -> dict:
    found = jt808.readings(decode_one(jt808.write_frame(header(msg_id=0x0200), body)), NOON_MS)
    assert {reading.device for reading in found} == {PHONE}
    return {reading.channel: (reading.value, reading.quality, reading.ts_ms) for reading in found}


def test_a_usable_place_becomes_good_readings_at_the_device_time():
    found = by_channel(PLACE)
    assert found["lat"] == (31.5, GOOD, NOON_MS)
    assert found["speed_kmh"] == (60.5, GOOD, NOON_MS)
    assert found["alarm"] == (2.0, GOOD, NOON_MS)


@pytest.mark.parametrize(
    ("lat", "lon", "status"), [(31.5, 121.25, 0), (31.5, 121.25, 2 | 1 << 5), (0, 0, 2), (90.1, 121, 2), (31, 180.1, 2)]
)
def test_a_place_without_fix_encrypted_or_out_of_range_is_bad_and_its_alarms_are_not(lat, lon, status):
    found = by_channel(jt808.location_body(lat=lat, lon=lon, status=status, time=NOON, alt=-3))
    assert found["lat"][1] == found["speed_kmh"][1] == BAD
    assert found["alarm"][1] == GOOD
    assert found["alt"][0] == -3


def test_a_place_without_time_takes_the_time_of_receipt():
    assert by_channel(jt808.location_body(lat=31, lon=121, time=None))["lat"] == (31.0, NO_DEVICE_TIME, NOON_MS)


@pytest.mark.parametrize("field", ["000000000000", "260231120000", "26051512000a", "260515246000"])
def test_an_impossible_bcd_time_is_no_time(field):
    assert jt808.decode_body(0x0200, PLACE[:22] + bytes.fromhex(field))["body"]["time"] is None


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@pytest.mark.parametrize(("item", "name", "head"), [(0x64, "adas", 7), (0x65, "dsm", 7), (0x67, "bsd", 1)])
def test_the_length_of_an_active_safety_item_tells_its_dialect(dialect, item, name, head):
    value = jt808.safety_item(
        item, head=[2] * head, alarm_id=8, flag=1, lat=31.5, lon=121.25, time=NOON, alarm_key=KEY, dialect=dialect
    )
    found = jt808.decode_body(0x0200, jt808.location_body(lat=31.5, lon=121.25, time=NOON, items=[value]))["body"]
    assert found[name]["alarm_key"] == KEY
    assert (found[name]["type"], found[name]["lat"], found[name]["lon"]) == (2, 31.5, 121.25)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_tyres_are_read_when_count_and_length_agree(dialect):
    _, bsd = jt808.safety_item(
        0x67, head=[0], alarm_id=8, flag=1, lat=31.5, lon=121.25, time=NOON, alarm_key=KEY, dialect=dialect
    )
    tyre = struct.pack(">BHHHH", 3, 0b10, 800, 45, 90)
    value = bsd[:5] + bsd[6:] + b"\x01" + tyre
    found = jt808.decode_body(0x0200, PLACE + bytes((0x66, len(value))) + value)["body"]
    assert found["tpms"]["tyres"] == [{"position": 3, "type": 2, "pressure_kpa": 800, "temp_c": 45, "battery_pct": 90}]
    assert by_channel(PLACE + bytes((0x66, len(value))) + value)["tyre3.pressure_kpa"][0] == 800
    miscounted = value[:-10] + b"\x02" + tyre
    assert "tpms" not in jt808.decode_body(0x0200, PLACE + bytes((0x66, len(miscounted))) + miscounted)["body"]


def test_an_item_that_repeats_yields_every_alarm():
    same = {"alarm_id": 1, "flag": 1, "lat": 31.5, "lon": 121.25, "time": NOON, "alarm_key": KEY}
    items = [jt808.safety_item(0x65, head=[kind, 1, 0, 0, 0, 0, 0], **same) for kind in (1, 2)]
    place = jt808.decode_body(0x0200, jt808.location_body(lat=31.5, lon=121.25, time=NOON, items=items))["body"]
    assert [alarm["type"] for _, alarm in jt808.safety_alarms(place)] == [1, 2]


@pytest.mark.parametrize("dialect", DIALECTS[:4], ids=lambda dialect: dialect.name)
def test_fetching_files_round_trips(dialect):
    number, name = "A" * 32, "00_64_6401_0_A.jpg"
    asked = decode_one(
        jt808.ask_files(
            header(), ip="10.0.0.1", tcp_port=7612, udp_port=0, alarm_key=KEY, alarm_no=number, dialect=dialect
        )
    )["body"]
    assert asked == {"ip": "10.0.0.1", "tcp_port": 7612, "udp_port": 0, "alarm_key": KEY, "alarm_no": number}
    listed = decode_one(
        jt808.file_list(
            header(), terminal_id="7654321", alarm_key=KEY, alarm_no=number, files=[(name, 5), ("b.mp4", 9)],
            dialect=dialect,
        )
    )["body"]  # fmt: skip
    assert (listed["alarm_key"], listed["alarm_no"]) == (KEY, number)
    assert listed["files"] == [{"name": name, "size": 5}, {"name": "b.mp4", "size": 9}]
    sent = decode_one(jt808.file_info(header(), name=name, file_type=0, size=5, sent=True))
    assert (sent["msg_id"], sent["body"]) == ("0x1212", {"name": name, "file_type": 0, "size": 5})
    lacking = decode_one(jt808.file_done(header(), name=name, file_type=0, missing=[(0, 3)]))["body"]
    assert lacking == {"name": name, "file_type": 0, "result": 1, "retransmit": [[0, 3]]}


def test_a_binary_imei_in_the_phone_gets_its_luhn_digit_and_leading_zeros_do_not_part_devices():
    # 0x4eb6fb4afd9e = 86547807010206; doubling from the right gives 3+4+2+5+7+8+3 and 0+0+0+0+7+5+8: 52, so 8 follows
    assert jt808.phone_label("4eb6fb4afd9e") == "865478070102068"
    assert jt808.phone_label(PHONE) == "13912344323"
    assert set(jt808.phone_keys(PHONE)) & set(jt808.phone_keys("000000000" + PHONE[1:]))


def test_a_resend_has_the_key_of_the_first():
    raw = jt808.location(header(serial=4), lat=31.5, lon=121.25, time=NOON)
    key = jt808.message_key(decode_one(raw))
    assert jt808.message_key(decode_one(raw)) == key
    assert (key.device, key.kind, key.serial, key.time) == (PHONE, "0x0200", "4", NOON)
    assert jt808.message_key(decode_one(jt808.location(header(serial=4), lat=31.6, lon=121.25, time=NOON))) != key


# --- streams ---------------------------------------------------------------------------------------------------------


def frames_of(items):
    return [item.raw for item in items if isinstance(item, Frame)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]


def test_shared_and_doubled_flags_lose_no_frame():
    splitter = jt808.Splitter()
    items = splitter.feed(b"noise" + HEARTBEAT + HEARTBEAT[1:] + b"\x7e" + HEARTBEAT)
    assert frames_of(items) == [HEARTBEAT] * 3
    assert [item.reason for item in items if isinstance(item, BadFrame)] == ["no_start"]
    assert splitter.pending == 0
    assert splitter.expire() == []


def test_two_frames_fused_by_a_lost_flag_are_lost_and_the_next_is_not():
    fused = HEARTBEAT[:-1] + HEARTBEAT[1:]
    items = jt808.Splitter().feed(fused + HEARTBEAT)
    assert frames_of(items) == [HEARTBEAT]


def test_a_piece_without_end_is_dropped_at_the_cap_and_the_next_flag_resynchronises():
    splitter = jt808.Splitter()
    items = splitter.feed(b"\x7e" + b"x" * 10_000)
    assert splitter.pending < MAX_FRAME
    assert items[0].reason == "length"
    items = splitter.feed(HEARTBEAT)
    assert frames_of(items) == [HEARTBEAT]


def test_raw_file_packets_pass_between_frames_even_when_they_hold_flags():
    splitter = jt808.Splitter(files=True)
    data = HEARTBEAT * 3 + b"\x7e\x7d01cd"
    stream = HEARTBEAT + jt808.file_chunk("a.jpg", 7, data) + jt808.file_chunk("a.jpg", 99, b"") + HEARTBEAT
    whole = splitter.feed(stream)
    single = jt808.Splitter(files=True)
    assert [item for i in range(len(stream)) for item in single.feed(stream[i : i + 1])] == whole
    assert [type(item) for item in whole] == [Frame, jt808.FileChunk, jt808.FileChunk, Frame]
    assert (whole[1].name, whole[1].at, whole[1].data) == ("a.jpg", 7, data)


def test_a_file_packet_that_claims_too_much_is_refused_and_frames_go_on():
    liar = jt808.file_chunk("a.jpg", 0, b"")[:-4] + b"\x7f\xff\xff\xff"
    items = jt808.Splitter(files=True).feed(liar + HEARTBEAT)
    assert frames_of(items) == [HEARTBEAT]


bodies = st.builds(
    lambda lat, lon, alt, speed, heading, alarm, time, items: jt808.location_body(
        lat=lat / 1e6, lon=lon / 1e6, alt=alt, speed_kmh=speed / 10, direction=heading, alarm=alarm, time=time,
        items=items,
    ),
    st.integers(-90_000_000, 90_000_000), st.integers(-180_000_000, 180_000_000), st.integers(-400, 9000),
    st.integers(0, 65535), st.integers(0, 359), st.integers(0, 0xFFFF_FFFF),
    st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)),
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=50)), max_size=6),
)  # fmt: skip
forms = st.sampled_from(
    [
        {}, {"version": 2019, "phone": PHONE_2019}, {"quirk": BIT_SET_2013},
        {"version": 2019, "phone": PHONE_2019, "quirk": BIT_CLEAR_2019}, {"phone": "4eb6fb4afd9e"},
    ]
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(forms, st.integers(0, 0xFFFF), bodies), min_size=1, max_size=4),
    st.lists(st.integers(0, 4000), max_size=6),
)
def test_what_is_encoded_comes_back_however_it_is_cut(messages, places):
    sent = [
        jt808.write_frame(header(msg_id=0x0200, **{"serial": serial} | form), body) for form, serial, body in messages
    ]
    splitter = jt808.Splitter()
    items = [item for chunk in cut(b"".join(sent), places) for item in splitter.feed(chunk)]
    assert frames_of(items) == sent
    for item, (form, serial, body) in zip(items, messages, strict=True):
        packet = jt808.read_packet(item.raw)
        assert (packet.body, packet.header.serial) == (body, serial)
        assert packet.header.phone == form.get("phone", PHONE)
        found = jt808.decode(item.raw)
        assert found["body"]["lat"] == struct.unpack_from(">I", body, 8)[0] / 1e6 * (
            -1 if found["body"]["status"] & 4 else 1
        )
        jt808.readings(found, NOON_MS)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_escapes_undo_and_the_folded_check_is_the_exclusive_or(data):
    assert unescape(escape(data))[0] == data
    assert b"\x7e" not in escape(data)
    expected = 0
    for byte in data:
        expected ^= byte
    assert xor(data) == expected


junk = st.lists(
    st.one_of(
        st.binary(max_size=40), st.just(b"\x7e"), st.just(b"\x7d"), st.just(HEARTBEAT[:-3]), st.just(b"01cd"),
        st.just(b"(text)"),
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(junk, st.lists(st.integers(0, 2000), max_size=8), st.booleans())
def test_a_good_frame_is_found_behind_any_garbage_and_reads_do_not_matter(garbage, places, files):
    # Behind unfinished garbage one flag closes the piece; a raw file packet has no flag and may take what follows.
    stream = garbage + b"\x7e" + HEARTBEAT
    splitter = jt808.Splitter(files=files)
    items = [item for chunk in cut(stream, places) for item in splitter.feed(chunk)]
    if not files:
        assert HEARTBEAT in frames_of(items)
        assert splitter.pending == 0
    whole = jt808.Splitter(files=files)
    assert whole.feed(stream) == items


READ_IDS = [
    0x0001, 0x0100, 0x0102, 0x0104, 0x0200, 0x0201, 0x0704, 0x0800, 0x0801, 0x0900, 0x1210, 0x1211, 0x1212,
    0x8001, 0x8003, 0x8100, 0x8103, 0x9208, 0x9212,
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(READ_IDS), st.binary(max_size=300), st.sampled_from([2013, 2019]))
def test_garbage_in_a_body_is_told_never_raised(msg_id, body, version):
    phone = PHONE_2019 if version == 2019 else PHONE
    found = decode_one(jt808.write_frame(header(msg_id=msg_id, version=version, phone=phone), body))
    assert found["body_len"] == len(body)
    jt808.readings(found, NOON_MS)
    jt808.message_key(found)
    assert jt808.result_for(found) in (jt808.OK, jt808.WRONG)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120))
def test_garbage_as_a_frame_is_refused_or_read_never_raised(data):
    assert jt808.decode(data)["ok"] in (True, False)


def test_no_changed_bit_passes_the_check():
    content = jt808.location(header(serial=300), lat=31.5, lon=121.25, time=NOON)
    for at in range(1, len(content) - 1):
        for bit in range(8):
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            assert jt808.decode(bytes(changed))["ok"] is False


# --- sub-packages ----------------------------------------------------------------------------------------------------


def packets(body: bytes, **options) -> list[jt808.Packet]:
    return [jt808.read_packet(raw) for raw in jt808.write_frames(header(**{"msg_id": 0x0704} | options), body)]


LONG = struct.pack(">HB", 100, 0) + (struct.pack(">H", 28) + PLACE) * 100


def test_sub_packages_join_in_any_order_and_once():
    parts = packets(LONG, serial=65534)  # serials wrap within the message
    assert [part.header.packet for part in parts] == [(3, 1), (3, 2), (3, 3)]
    joiner = jt808.Reassembler()
    assert [joiner.add(parts[i], NOON_MS) for i in (2, 0, 0)] == [None, None, None]
    (lacking,) = joiner.missing(NOON_MS)
    assert (lacking.first_serial, lacking.missing) == (65534, (2,))
    whole = joiner.add(parts[1], NOON_MS)
    assert whole is not None
    assert whole.body == LONG
    assert len(jt808.decode_packet(whole)["body"]["items"]) == 100
    assert joiner.held_bytes == 0


def test_a_single_packet_of_many_is_not_read_as_a_body():
    assert "body" not in jt808.decode_packet(packets(LONG)[0])


def test_a_message_that_stays_unfinished_is_given_up_after_a_minute():
    joiner = jt808.Reassembler()
    joiner.add(packets(LONG)[0], NOON_MS)
    assert len(joiner.missing(NOON_MS + 59_999)) == 1
    assert joiner.missing(NOON_MS + 60_000) == []
    assert joiner.held_bytes == 0


@pytest.mark.parametrize("item", [(0, 0), (1, 0), (1, 2), (2001, 1)])
def test_packet_numbers_that_cannot_be_are_refused(item):
    with pytest.raises(CodecError, match="packet_item"):
        jt808.Reassembler().add(jt808.Packet(header(packet=item), b""), NOON_MS)


def test_unfinished_messages_hold_no_more_than_their_caps():
    joiner = jt808.Reassembler(max_device_bytes=5_000, max_bytes=20_000)
    for i in range(200):
        phone = f"{i % 20:012d}"
        joiner.add(jt808.Packet(header(phone=phone, serial=i * 10, packet=(9, 1)), bytes(1000)), NOON_MS + i)
        assert joiner.held_bytes <= 20_000
    joiner.forget("000000000019")
    assert all(lacking.header.phone != "000000000019" for lacking in joiner.missing(NOON_MS + 200))
