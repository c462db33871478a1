"""GB/T 26875.3: frames written out by hand, round trips, and streams cut and spoilt in every way."""

from datetime import datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.codecs.base import BAD, GOOD, NO_DEVICE_TIME, BadFrame, Frame, Reading

CENTRE, DEVICE = "000000000001", "0000000000a1"
NOON_MS = 1_778_817_600_000  # 2026-05-15 12:00:00 in China, 04:00 UTC
NOON = "2026-05-15T12:00:00"

# Pump pressure 35.0 kPa (type 5, 350 = 0x015E) of fire pump 77 (0x4D), system 12 at address 1, sent at 12:00:00.
PRESSURE = bytes.fromhex(
    "4040 0700 0100 00000c0f051a a10000000000 010000000000 1200 02"
    "03 01 0c 01 5b 4d000000 05 5e01 00000c0f051a 4f 2323"  # the sum, added up by hand: 24f
)


def status_frame(serial: int = 1, status: int = 2) -> bytes:
    part = {"sys_type": 1, "sys_addr": 1, "comp_type": 42, "comp_addr": 9, "status": status, "desc": "", "time": NOON}
    return gb26875.send(DEVICE, CENTRE, serial, 2, [part], NOON_MS)


def test_a_pressure_is_read_with_its_unit_and_time():
    found = gb26875.decode(PRESSURE)
    assert (found["serial"], found["src"], found["dst"], found["cmd"]) == (7, DEVICE, CENTRE, 2)
    assert found["adu"]["objects"] == [
        {
            "sys_type": 12, "sys_addr": 1, "comp_type": 91, "comp_addr": 77, "analog_type": 5, "raw": 350,
            "value": 35.0, "unit": "kPa", "time": NOON,
        }
    ]  # fmt: skip
    assert gb26875.readings(found, NOON_MS + 5) == [Reading(DEVICE, "sys12.91.77.a5", NOON_MS, 35.0, GOOD)]


def test_the_encoder_writes_the_frame_of_the_hand():
    part = {
        "sys_type": 12, "sys_addr": 1, "comp_type": 91, "comp_addr": 77, "analog_type": 5, "raw": 350, "time": NOON,
    }  # fmt: skip
    assert gb26875.send(DEVICE, CENTRE, 7, 3, [part], NOON_MS) == PRESSURE


def test_a_confirm_repeats_serial_and_version_and_swaps_the_addresses():
    request = gb26875.decode(PRESSURE)
    assert gb26875.needs_confirm(request)
    # 07 + 01 + 0c + 0f + 05 + 1a + 01 + a1 + 03 = e7
    expected = "4040 0700 0100 00000c0f051a 010000000000 a10000000000 0000 03 e7 2323"
    assert gb26875.confirm(request, NOON_MS) == bytes.fromhex(expected)
    assert gb26875.decode(gb26875.deny(request, NOON_MS))["cmd"] == 6
    assert not gb26875.needs_confirm(gb26875.decode(gb26875.confirm(request, NOON_MS)))


def test_the_platform_sets_clocks_asks_and_calls_the_guard():
    clock = gb26875.decode(gb26875.set_clock(CENTRE, DEVICE, 1, NOON_MS))
    assert (clock["cmd"], clock["adu"]["type_flag"], clock["adu"]["objects"]) == (1, 90, [{"time": NOON}])
    guard = gb26875.decode(gb26875.patrol(CENTRE, DEVICE, 2, 10, NOON_MS))
    assert guard["adu"]["objects"] == [{"timeout_min": 10}]
    wanted = [{"sys_type": 1, "sys_addr": 1, "comp_addr": 9}]
    asked = gb26875.decode(gb26875.request(CENTRE, DEVICE, 3, 63, wanted, NOON_MS))
    assert (asked["cmd"], asked["adu"]["objects"]) == (4, wanted)
    given = gb26875.decode(gb26875.answer(asked, 28, [{"time": NOON}], NOON_MS))
    assert (given["cmd"], given["serial"], given["dst"]) == (5, 3, CENTRE)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: b"@#" + f[2:], "start"),
        (lambda f: f[:-1], "incomplete"),
        (lambda f: f[:24] + b"00" + f[26:], "length"),
        (lambda f: f[:-2] + b"#@", "end"),
        (lambda f: f + b"#", "end"),
        (lambda f: f[:-3] + b"\0" + f[-2:], "checksum"),
    ],
)
def test_a_spoilt_frame_is_refused_by_its_fault(spoil, reason):
    assert gb26875.decode(spoil(PRESSURE)) == {"ok": False, "error": reason}


@pytest.mark.parametrize("byte", range(2, 46))
def test_no_changed_bit_between_the_markers_passes_the_sum(byte):
    for bit in range(8):
        changed = bytearray(PRESSURE)
        changed[byte] ^= 1 << bit
        assert gb26875.decode(bytes(changed))["ok"] is False


def test_a_device_status_without_time_is_kept_with_the_time_of_receipt():
    frame = gb26875.encode(serial=1, command=2, src=DEVICE, dst=CENTRE, time=None, unit=b"\x15\x01\x02")
    assert gb26875.parse(frame)["adu"] == {"type_flag": 21, "count": 1, "adu_error": "length"}
    found = gb26875.parse(frame, lenient=True)
    assert gb26875.readings(found, NOON_MS) == [Reading(DEVICE, "status", NOON_MS, 2.0, NO_DEVICE_TIME)]


@pytest.mark.parametrize("unit", [b"", b"\x16", b"\xcc\x01\0", b"\x02\x04" + bytes(54), b"\x15\x02" + bytes(14)])
def test_a_unit_outside_the_standard_is_told_not_guessed(unit):
    frame = gb26875.encode(serial=1, command=2, src=DEVICE, dst=CENTRE, time=NOON, unit=unit)
    found = gb26875.decode(frame)
    assert found["ok"]
    assert gb26875.readings(found, NOON_MS) == []
    assert ("adu_error" in found["adu"]) if unit else ("adu" not in found)


@pytest.mark.parametrize("time", [None, "2026-05-16T12:00:01"])
def test_a_clock_not_set_or_a_day_ahead_is_not_believed(time):
    frame = gb26875.send(DEVICE, CENTRE, 1, 21, [{"status": 1, "time": time}], NOON_MS)
    assert gb26875.readings(gb26875.decode(frame), NOON_MS) == [Reading(DEVICE, "status", NOON_MS, 1.0, NO_DEVICE_TIME)]


def test_a_clock_exactly_a_day_ahead_is_believed():
    frame = gb26875.send(DEVICE, CENTRE, 1, 21, [{"status": 1, "time": "2026-05-16T12:00:00"}], NOON_MS)
    assert gb26875.readings(gb26875.decode(frame), NOON_MS)[0].quality == GOOD != BAD


def test_states_become_status_words_under_the_address_of_their_part():
    assert gb26875.readings(gb26875.decode(status_frame()), NOON_MS)[0].channel == "sys1.42.9.status"
    system = {"sys_type": 1, "sys_addr": 3, "status": 0x0102, "time": NOON}
    found = gb26875.readings(gb26875.decode(gb26875.send(DEVICE, CENTRE, 1, 1, [system], NOON_MS)), NOON_MS)
    assert [(r.channel, r.value) for r in found] == [("sys1.3.status", 258.0)]


def test_a_resend_has_the_key_of_the_first_and_another_message_has_not():
    first, resend = (gb26875.decode(status_frame(serial=4)) for _ in range(2))
    later = gb26875.decode(status_frame(serial=5))
    stuck_serial = gb26875.decode(status_frame(serial=4, status=0))
    keys = [gb26875.message_key(found) for found in (first, resend, later, stuck_serial)]
    assert keys[0] == keys[1]
    assert len(set(map(str, keys))) == 3


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (b"\0\0 " + "常闭门".encode("gbk") + b"  \0stale", "常闭门"),
        (b" " * 31, ""),
        (b"\xff\xfe\xfd" + bytes(28), None),
    ],
)
def test_a_description_is_cut_from_its_padding_or_kept_as_hex(field, text):
    field = field.ljust(31, b"\0")
    unit = b"\x02\x01\x01\x01\x2a\x09\0\0\0\x02\0" + field + bytes(6)
    found = gb26875.decode_unit(unit)["adu"]["objects"][0]
    assert found["desc"] == text
    assert found.get("desc_hex") == (None if text is not None else field.hex())


# --- streams ---------------------------------------------------------------------------------------------------------


def run(chunks, splitter=None):
    splitter = splitter or gb26875.Splitter()
    return [item for chunk in chunks for item in splitter.feed(chunk)]


def frames_of(items):
    return [item.raw for item in items if isinstance(item, Frame)]


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(stream) + 1) for place in places)
    return [stream[a:b] for a, b in zip([0, *ends], [*ends, len(stream)], strict=True)]


def test_seven_frames_in_one_read_and_one_byte_a_read_give_the_same():
    stream = b"".join(status_frame(serial=i) for i in range(7))
    whole = run([stream])
    assert frames_of(whole) == [status_frame(serial=i) for i in range(7)]
    assert run([bytes((byte,)) for byte in stream]) == whole


def test_a_start_inside_data_hides_no_frame():
    liar = PRESSURE[:27] + b"@@" + PRESSURE[29:]
    splitter = gb26875.Splitter()
    # the false start claims bytes that have not come; what comes next, or the time-out, shows it false
    items = splitter.feed(liar + PRESSURE) + splitter.expire()
    assert frames_of(items) == [PRESSURE]
    assert [item.reason for item in items if isinstance(item, BadFrame)] == ["checksum"]


def test_a_declared_12336_bytes_are_refused_at_once():
    items = run([bytes.fromhex("404002000101091f100e0313ffff00000000010000000000303033f22323"), PRESSURE])
    assert [type(item) for item in items] == [BadFrame, Frame]
    assert (items[0].reason, items[0].offset, items[1].offset) == ("length", 0, 30)


def test_a_frame_begun_and_never_finished_gives_way_when_its_time_is_up():
    splitter = gb26875.Splitter()
    swallowed = PRESSURE[:24] + b"\xff\x03\x02"  # says 1023 bytes follow
    assert splitter.feed(swallowed + PRESSURE) == []
    assert splitter.pending == len(swallowed + PRESSURE)
    items = splitter.expire()
    assert frames_of(items) == [PRESSURE]
    assert splitter.pending == 0


def test_each_bad_frame_in_a_row_is_counted_once():
    bad = PRESSURE[:-3] + b"\0##"
    splitter = gb26875.Splitter()
    items = splitter.feed(bad * 5) + splitter.expire()
    assert [item.reason for item in items] == ["checksum"] * 5
    assert b"".join(item.raw for item in items) == bad * 5


def test_frames_written_as_hex_text_are_read_where_the_listener_says_so():
    text = PRESSURE.hex().upper().encode()
    assert frames_of(run([text])) == []
    for size in (1, 3, len(text)):
        chunks = [text[i : i + size] for i in range(0, len(text), size)]
        assert frames_of(run(chunks, gb26875.Splitter(hex_text=True))) == [PRESSURE]


times = st.none() | st.datetimes(datetime(2000, 1, 1), datetime(2255, 12, 31)).map(
    lambda t: t.replace(microsecond=0).isoformat()
)
byte = st.integers(0, 255)
word = st.integers(0, 0xFFFF)
dword = st.integers(0, 0xFFFF_FFFF)
system = {"sys_type": byte, "sys_addr": byte}
part = {**system, "comp_type": byte, "comp_addr": dword}
objects = st.one_of(
    st.tuples(st.just(1), st.lists(st.fixed_dictionaries({**system, "status": word, "time": times}), max_size=5)),
    st.tuples(
        st.just(3),
        st.lists(
            st.fixed_dictionaries(
                {**part, "analog_type": byte, "raw": st.integers(-32768, 32767), "time": times}
            ),
            max_size=63,
        ),
    ),
    st.tuples(
        st.just(2),
        st.lists(
            st.fixed_dictionaries(
                {**part, "status": word, "desc": st.sampled_from(["", "Ａ区１层", "pump 3"]), "time": times}
            ),
            max_size=5,
        ),
    ),
    st.tuples(st.just(21), st.lists(st.fixed_dictionaries({"status": byte, "time": times}), max_size=1)),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(word, objects), min_size=1, max_size=4), st.lists(st.integers(0, 4000), max_size=6))
def test_what_is_encoded_comes_back_however_it_is_cut(messages, places):
    sent = [gb26875.send(DEVICE, CENTRE, serial, *unit, NOON_MS) for serial, unit in messages]
    items = run(cut(b"".join(sent), places))
    assert frames_of(items) == sent
    for item, (serial, (type_flag, given_objects)) in zip(items, messages, strict=True):
        found = gb26875.decode(item.raw)
        assert (found["serial"], found["adu"]["type_flag"]) == (serial, type_flag)
        for read, written in zip(found["adu"]["objects"], given_objects, strict=True):
            assert {key: read[key] for key in written} == written


near_frames = st.lists(
    st.one_of(
        st.binary(max_size=40), st.just(b"@"), st.just(b"@@"), st.just(b"##"), st.just(PRESSURE[:30]),
        st.just(PRESSURE[:-3] + b"\0##"), st.just(PRESSURE[:24] + b"\0\x04\x02"),
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(near_frames, st.lists(st.integers(0, 4000), max_size=8))
def test_a_good_frame_is_found_behind_any_garbage_and_no_byte_is_lost(garbage, places):
    stream = garbage + PRESSURE + bytes(1060)  # behind the frame, enough for any false length to be judged
    splitter = gb26875.Splitter()
    items = run(cut(stream, places), splitter)
    assert splitter.pending <= splitter.max_frame
    items += splitter.expire()
    assert PRESSURE in frames_of(items)
    assert b"".join(item.raw for item in items) == stream
    assert [item.offset for item in items] == sorted({item.offset for item in items})

    def summary(found):
        return [(type(item), item.raw) for item in found]

    other = gb26875.Splitter()
    assert summary(other.feed(stream) + other.expire()) == summary(items)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=1100), st.booleans())
def test_garbage_is_answered_never_raised(data, lenient):
    assert gb26875.decode(data, lenient=lenient)["ok"] in (True, False)
    found = gb26875.decode_unit(data[:1024])
    frame = gb26875.encode(serial=0, command=2, src=DEVICE, dst=CENTRE, time=None, unit=data[:1024])
    framed = gb26875.decode(frame, lenient=lenient)
    assert framed["ok"]
    gb26875.readings(framed, NOON_MS)
    gb26875.message_key(framed)
    if found["ok"]:
        assert framed["adu"] == found["adu"]


def test_no_stream_makes_the_splitter_hold_more_than_a_frame():
    splitter = gb26875.Splitter()
    for piece in (b"\xff" * 5000, b"@" * 5000, PRESSURE[:24] + b"\0\x04\x02" + b"@" * 9000):
        held = sum(len(item.raw) for item in splitter.feed(piece))
        assert held <= 20_000
        assert splitter.pending <= splitter.max_frame
