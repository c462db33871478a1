"""What a connection does with every kind of malformed input: the effect that each has by the protocol notes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhenan.telemetry.codecs import commands, gb26875, gb26875_commands, hj212, hj212_commands, jt808, jt808_commands
from zhenan.telemetry.codecs.base import CodecError, local_from_ms
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.downlink import Downlink, Order
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.gateway.sessions import Gb26875, Hj212
from zhenan.telemetry.gateway.sessions_jt808 import Jt808
from zhenan.telemetry.tests.gateway_support import CENTRE, point

NOW = 1_772_500_000_000
KEY, PHONE, MN = "0000000003e9", "013800138000", "MN1"
REGISTRY = Registry([
    point("gb26875", KEY, 1, "status", 1), point("jt808", PHONE, 2, "speed_kmh", 2), point("hj212", MN, 3, "a.Rtd", 3),
])  # fmt: skip


# JT/T 808


def vehicle(**more):
    session = Jt808(REGISTRY, b"secret", jt808.Reassembler(), **more)
    session.signed_in.add(PHONE)
    return session


def message(msg_id, body=b"", *, serial=1, **more):
    return jt808.write_frame(jt808.Header(msg_id=msg_id, phone=PHONE, serial=serial, **more), body)


def result_of(taken):
    return jt808.parse(taken.reply)["body"]["result"]


def place(n=0):
    return jt808.location_body(lat=32.2, lon=119.4, time=local_from_ms(NOW + n * 1000), speed_kmh=n)


def sized(*bodies):
    return b"".join(len(body).to_bytes(2, "big") + body for body in bodies)


def test_before_sign_in_everything_is_answered_with_failure_and_nothing_is_taken():
    session = Jt808(REGISTRY, b"secret", jt808.Reassembler())
    for msg_id, body in ((0x0200, place()), (0x0002, b""), (0x0704, b"\0\1\0" + sized(place())), (0x0900, b"x")):
        taken = session.take(message(msg_id, body), NOW)
        assert (result_of(taken), taken.readings, taken.key) == (jt808.FAILED, [], None)


@pytest.mark.parametrize("body", [b"", place()[:27]])
def test_a_body_too_short_is_answered_with_result_2_and_kept(body):
    taken = vehicle().take(message(0x0200, body), NOW)
    assert (result_of(taken), taken.problem[0]) == (jt808.WRONG, "malformed_body")


@pytest.mark.parametrize(
    "cut", [b"\0\3\0" + sized(place(1), place(2)), b"\0\3\0" + sized(place(1), place(2)) + b"\0\x99abc"]
)
def test_a_batch_that_overruns_keeps_what_came_and_gets_result_2(cut):
    taken = vehicle().take(message(0x0704, cut), NOW)
    assert (result_of(taken), taken.problem[0]) == (jt808.WRONG, "malformed_body")
    assert [r.value for r in taken.readings if r.channel == "speed_kmh"] == [1.0, 2.0]


def test_an_empty_batch_is_answered():
    taken = vehicle().take(message(0x0704, b"\0\0\0"), NOW)
    assert (result_of(taken), taken.readings, taken.problem) == (jt808.OK, [], None)


def test_an_encrypted_message_is_answered_with_result_3_and_kept():
    taken = vehicle().take(message(0x0200, place(), encrypt=1), NOW)
    assert (result_of(taken), taken.problem) == (jt808.UNSUPPORTED, ("malformed_body", "encrypted"))


def test_an_answer_is_never_answered():
    session = vehicle()
    for frame in (jt808.terminal_response(jt808.Header(msg_id=0, phone=PHONE, serial=1), 9, 0x8103), message(0x0001)):
        assert session.take(frame, NOW).reply is None


@pytest.mark.parametrize("item", [(0, 1), (2, 0), (2, 3), (2001, 1)])
def test_packet_numbers_that_cannot_be_are_no_frame(item):
    with pytest.raises(CodecError):
        vehicle().take(message(0x0704, b"x", packet=item), NOW)


def test_a_latched_alarm_is_answered_so_that_the_terminal_clears_it_and_another_is_not():
    for bit, wanted in ((0, jt808.ALARM_HANDLED), (20, jt808.ALARM_HANDLED), (1, jt808.OK), (31, jt808.ALARM_HANDLED)):
        body = jt808.location_body(lat=1, lon=1, time=local_from_ms(NOW), alarm=1 << bit)
        assert result_of(vehicle().take(message(0x0200, body), NOW)) == wanted


def test_lacking_parts_are_asked_for_three_times_and_no_more():
    session = vehicle()
    session._phone = PHONE
    session.take(message(0x0801, b"x" * 100, packet=(3, 1)), NOW)
    asked = [len(session.due(NOW + after * 1000)) for after in (1, 6, 7, 12, 18, 24)]
    assert asked == [0, 1, 0, 1, 1, 0]


# GB/T 26875.3


def frame(unit, *, command=2, src=KEY):
    return gb26875.encode(serial=5, command=command, src=src, dst=CENTRE, time=local_from_ms(NOW), unit=unit)


@pytest.mark.parametrize(
    ("unit", "problem"),
    [
        (b"", None),  # a heartbeat
        (bytes([0x15]), "malformed_body"),  # a unit of one byte
        (b"\x15\x01\x02", None),  # a device status without its time
        (b"\x15\x02" + bytes(14), None),  # two of it, which the standard does not allow and the length fits
        (b"\x3c\x01abc", "malformed_body"),  # reserved
        (b"\xcc\x01abc", "malformed_body"),  # the maker's own
        (b"\x02\x05" + bytes(46), "malformed_body"),  # fewer objects than it says
        (b"\x02\x01" + b"\x40" * 46, None),  # the start marker inside data
    ],
)
def test_a_good_frame_is_confirmed_whatever_its_unit(unit, problem):
    taken = Gb26875(REGISTRY).take(frame(unit), NOW)
    assert gb26875.parse(taken.reply)["cmd"] == gb26875.CONFIRM
    assert (taken.problem or (None,))[0] == problem


def test_a_status_without_its_time_has_the_time_of_receipt():
    (reading,) = Gb26875(REGISTRY).take(frame(b"\x15\x01\x02"), NOW).readings
    assert (reading.ts_ms, reading.value, reading.quality) == (NOW, 2.0, 2)


def test_a_device_that_asks_is_denied_and_confirms_are_not_confirmed():
    session = Gb26875(REGISTRY)
    assert gb26875.parse(session.take(frame(b"\x51\x01\0", command=4), NOW).reply)["cmd"] == gb26875.DENY
    for command in (3, 5, 6):
        assert session.take(frame(b"", command=command), NOW).reply is None


@pytest.mark.parametrize("spoil", ["checksum", "ascii_length", "hex_text"])
def test_a_frame_that_is_none_is_dropped_without_an_answer(spoil):
    good = frame(b"\x15\x01\x02")
    bad = {
        "checksum": good[:-3] + b"\0##",
        "ascii_length": good[:24] + b"00" + good[26:],
        "hex_text": good.hex().encode(),
    }
    items = gb26875.Splitter().feed(bad[spoil]) + gb26875.Splitter().expire()
    assert not any(type(item).__name__ == "Frame" for item in items)


# HJ 212


def upload(flag="5", area="DataTime=20260302120000;a-Rtd=1,a-Flag=N", **more):
    fields = {"QN": "20260302120000001", "ST": "22", "CN": "2011", "PW": "123456", "MN": MN, "Flag": flag, **more}
    return hj212.encode(hj212.write_segment(fields, area))


def answered(taken):
    return hj212.parse(taken.reply)["fields"]["CN"] if taken.reply else None


@pytest.mark.parametrize(("flag", "wanted"), [("5", "9014"), ("7", "9014"), ("9", "9014"), ("4", None), ("0", None)])
def test_only_who_wants_an_answer_gets_one(flag, wanted):
    taken = Hj212(REGISTRY).take(upload(flag, PNUM="1", PNO="1"), NOW)
    assert answered(taken) == wanted
    assert [r.value for r in taken.readings] == [1.0]


def test_a_notice_gets_its_own_answer_and_a_stranger_none():
    assert answered(Hj212(REGISTRY).take(upload(CN="1013", area=""), NOW)) == "9013"
    taken = Hj212(REGISTRY).take(upload(MN="WHO"), NOW)
    assert (answered(taken), taken.problem[0]) == (None, "unknown_device")


def test_frames_of_2005_are_taken_and_not_answered():
    fields = {"ST": "32", "CN": "2011", "PW": "123456", "MN": MN}
    area = "DataTime=20260302120000;011-Rtd=1.1,011-Flag=N"
    taken = Hj212(REGISTRY).take(hj212.encode(hj212.write_segment(fields, area)), NOW)
    assert (taken.reply, [(r.channel, r.value) for r in taken.readings]) == (None, [("011.Rtd", 1.1)])


@pytest.mark.parametrize(("flag", "quality"), [("N", 0), ("F", 1), ("M", 1), ("D", 1), ("C", 1), ("T", 1), ("B", 1)])
def test_only_normal_data_feed_limits(flag, quality):
    area = f"DataTime=20260302120000;a-Rtd=1,a-Flag={flag}"
    assert [r.quality for r in Hj212(REGISTRY).take(upload(area=area), NOW).readings] == [quality]


def test_a_split_upload_is_answered_part_by_part_and_shares_its_time():
    session = Hj212(REGISTRY)
    parts = [
        upload("7", "DataTime=20260302120000;a-Rtd=1", PNUM="3", PNO="1"),
        upload("7", "b-Rtd=2", QN="20260302120000002", PNUM="3", PNO="2"),
        upload("7", "DataTime=20260302120000;c-Rtd=3", QN="20260302120000003", PNUM="3", PNO="3"),
    ]
    taken = [session.take(part, NOW) for part in parts]
    assert [answered(t) for t in taken] == ["9014"] * 3
    assert [hj212.parse(t.reply)["fields"]["QN"][-1] for t in taken] == ["1", "2", "3"]
    assert len({r.ts_ms for t in taken for r in t.readings}) == 1
    assert session.joiner.incomplete == 0


def test_parts_of_another_hour_or_long_after_are_not_joined():
    joiner = hj212.Joiner()

    def part(number, time, at):
        area = f"DataTime={time};a-Rtd=1" if time else "a-Rtd=1"
        decoded = hj212.parse(upload("7", area, PNUM="2", PNO=number))
        return joiner.add(decoded, at).get("params", {}).get("DataTime")

    assert part("1", "20260302120000", NOW) == "20260302120000"
    assert part("1", "20260302130000", NOW) == "20260302130000"
    assert part("2", "", NOW + 61_000) is None
    assert joiner.incomplete == 2


@pytest.mark.parametrize(
    ("area", "values", "problem"),
    [
        ("DataTime=20260302120000;a-Rtd=1;;rubbish;b-Rtd=2", [1.0, 2.0], "malformed_body"),
        ("DataTime=20260302120000;a-Rtd=?A", [], None),
        ("DataTime=20260302120000123;a-Rtd=1", [1.0], None),
        ("BeginTime=20260302,EndTime=20260303;a-Rtd=1", [1.0], None),
    ],
)
def test_the_data_area_is_taken_as_far_as_it_goes(area, values, problem):
    taken = Hj212(REGISTRY).take(upload(area=area), NOW)
    assert [r.value for r in taken.readings] == values
    assert (taken.problem or (None,))[0] == problem


def test_a_split_flag_without_numbers_is_a_single_frame():
    assert [r.value for r in Hj212(REGISTRY).take(upload("7"), NOW).readings] == [1.0]


def logger(own=None, city=""):
    return Hj212(Registry([point("hj212", MN, 3, "a.Rtd", 3, password=own)]), password=city)


@pytest.mark.parametrize(
    ("own", "city", "came", "taken"),
    [
        ("654321", "", "654321", True),
        ("654321", "", "123456", False),
        ("654321", "123456", "123456", False),  # its own goes before the city's
        (None, "123456", "123456", True),
        (None, "123456", "65432", False),
        (None, "123456", "", False),
        (None, "", "whatever", True),  # nothing is set: a city whose devices have none
        ("", "123456", "whatever", True),  # this one is not checked
        ("口令", "", "口令", True),
    ],
)
def test_an_upload_is_taken_and_answered_only_under_the_right_password(own, city, came, taken):
    found = logger(own, city).take(upload(PW=came), NOW)
    wanted = ([1.0], "9014", None) if taken else ([], None, ("identity", "wrong password (PW)"))
    assert ([r.value for r in found.readings], answered(found), found.problem) == wanted


def test_a_notice_under_a_wrong_password_is_not_answered_and_whoever_sent_it_is_told_nothing():
    session = logger("654321")
    session.downlink = Downlink(None, Counters())
    assert session.take(upload(CN="1013", area="", PW="1"), NOW).reply is None
    assert session.link is None  # no order goes to a connection that does not know the password
    session.take(upload(PW="654321"), NOW)
    assert session.link is not None
    assert session.link.key == MN


def test_what_was_refused_is_new_once_the_register_is_put_right():
    wrong, right = logger("654321").take(upload(), NOW), logger("123456").take(upload(), NOW)
    assert None not in (wrong.key, right.key)
    assert wrong.key != right.key


def test_requests_go_out_under_the_devices_password_or_the_citys_or_the_usual_one():
    def under(own, city, options):
        session = logger(own, city)
        session.take(upload(PW=own or city), NOW)
        command = commands.find("hj212", "get_time")
        _, raw = session.ask(command, Order(1, "hj212", MN, "get_time", {}, options), NOW)
        return hj212.parse(raw)["fields"]["PW"]

    assert [under("654321", "111111", {}), under(None, "111111", {}), under(None, "", {})] == [
        "654321", "111111", "123456",
    ]  # fmt: skip
    assert under("654321", "", {"password": "222222"}) == "222222"


# commands: what is written is read back


def arguments(command):
    times = st.datetimes(min_value=local_from_ms(0).replace(year=2001), max_value=local_from_ms(0).replace(year=2090))
    kinds = {
        "int": lambda a: st.integers(a.low, a.high), "bool": lambda a: st.booleans(),
        "time": lambda a: times.map(lambda t: t.replace(microsecond=0).isoformat()),
        "hex": lambda a: st.binary(min_size=a.low, max_size=20).map(bytes.hex),
        "text": lambda a: st.text("abc苏限速019", min_size=1, max_size=5),
    }  # fmt: skip
    found = st.fixed_dictionaries({a.name: kinds[a.kind](a) for a in command.args})
    return found.filter(lambda args: args.get("begin", "") < args.get("end", "~"))


EVERY = [(protocol, command) for protocol, known in commands.CATALOGUE.items() for command in known.values()]


@pytest.mark.parametrize(("protocol", "command"), EVERY, ids=[f"{p}-{c.code}" for p, c in EVERY])
@given(data=st.data())
def test_every_command_comes_back_as_it_was_given(protocol, command, data):
    args = commands.checked(command, data.draw(arguments(command)))
    if protocol == "gb26875":
        last = gb26875.parse(frame(b""))
        found = gb26875.parse(gb26875_commands.write(command, args, serial=7, last=last, now_ms=NOW))
        assert (found["adu"]["type_flag"], found["serial"], found["src"], found["dst"]) == (
            command.wire,
            7,
            CENTRE,
            KEY,
        )
        (obj,) = found["adu"]["objects"]
        given_args = {"timeout_min": args["minutes"]} if "minutes" in args else args
        assert given_args.items() <= obj.items()
    elif protocol == "jt808":
        last = jt808.parse(message(0x0002))
        found = jt808.read_packet(jt808_commands.write(command, args, serial=7, last=last, now_ms=NOW))
        assert (found.header.msg_id, found.header.serial, found.header.phone) == (command.wire, 7, PHONE)
        if command.wire == 0x8103:
            params = jt808.decode_packet(found)["body"]["params"]
            assert all(key in {"0x0055", "0x0056", "0x0057", "0x0001", "0x0029", "0x0013", "0x0018"} or command.grave
                       for key, _ in params)  # fmt: skip
        elif command.code == "text":
            assert found.body[1:].decode("gb18030") == args["text"]
    else:
        last = hj212.parse(upload())
        found = hj212.parse(hj212_commands.write(command, args, qn="20260302120000009", last=last, now_ms=NOW))
        assert (found["fields"]["CN"], found["fields"]["MN"], found["fields"]["Flag"]) == (
            f"{command.wire:04d}",
            MN,
            "5",
        )
        for name, key in (("factor", "PolId"), ("info", "InfoId")):
            assert found.get("params", {}).get(key) == args.get(name)


@pytest.mark.parametrize(
    ("code", "args", "words"),
    [
        ("text", {}, "text: is missing"), ("text", {"text": "a\x00b"}, "control"),
        ("text", {"text": "限" * 600}, "bytes"),
        ("text", {"text": "x", "urgent": 1}, "true or false"), ("text", {"text": "\ud800"}, "no device can show"),
        ("speed_limit", {"kmh": True}, "whole number"), ("speed_limit", {"kmh": 201}, "1 to 200"),
        ("parameter", {"id": 1, "value": "xyz"}, "hex"), ("server", {"address": "a;b", "port": 1}, "must not hold"),
        ("locate", {"x": 1}, "no argument"),
    ],
)  # fmt: skip
def test_an_argument_out_of_bounds_is_named(code, args, words):
    with pytest.raises(commands.BadArguments, match=words):
        commands.checked(commands.find("jt808", code), args)


def test_a_period_runs_forwards():
    command = commands.find("hj212", "read_hours")
    with pytest.raises(commands.BadArguments, match="must be after"):
        commands.checked(command, {"begin": "2026-03-02T12:00:00", "end": "2026-03-02T12:00:00"})
    with pytest.raises(commands.BadArguments, match="without a zone"):
        commands.checked(command, {"begin": "2026-03-02T12:00:00Z", "end": "2026-03-03T12:00:00"})
