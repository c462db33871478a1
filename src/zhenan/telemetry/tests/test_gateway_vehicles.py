"""Vehicles: long messages in parts, cameras' pictures, files of active-safety alarms, UDP."""

import asyncio
import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhenan.telemetry.codecs import gb26875, jt808
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.gateway import downlink
from zhenan.telemetry.gateway.attachments import Address, AttachmentServer, Limits, is_ours, number_of, suffix_of
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.tests.gateway_support import CENTRE, gateway, point, readings_of
from zhenan.telemetry.tests.test_gateway_downlink import PHONE, QUICK, Device, head, run, vehicle

NOW = int(time.time()) * 1000
ROWS = [
    point("jt808", "13800138000", 9, "speed_kmh", 5),
    point("jt808", "13800138000", 9, "adas.t1", 6),
    point("gb26875", "0000000003e9", 7, "status", 1, bit=1),
]
KEY = {"terminal_id": "T000001", "time": "2026-03-02T12:00:00", "seq": 0, "attachments": 2}


def location(**more):
    return jt808.location_body(lat=32.2, lon=119.4, time=local_from_ms(NOW), **more)


async def results(device, n):
    """The next answers that are 0x8001: (serial answered, result)."""
    found = []
    while len(found) < n:
        heard = await device.hear()
        if heard["msg_id"] == "0x8001":
            found.append((heard["body"]["reply_serial"], heard["body"]["result"]))
    return found


@pytest.mark.parametrize("version", [2013, 2019])
def test_parts_are_acknowledged_and_what_lacks_is_asked_for_in_the_terminal_s_form(tmp_nats, monkeypatch, version):
    monkeypatch.setattr(downlink, "TICK_S", 0.1)
    monkeypatch.setattr("zhenan.telemetry.codecs.jt808_fragments.Reassembler.ask.__kwdefaults__",
                        {"quiet_ms": 200, "times": 3, "most": 125}, raising=False)  # fmt: skip
    body = b"".join(
        [(60).to_bytes(2, "big"), b"\0"] + [(28).to_bytes(2, "big") + location(speed_kmh=n) for n in range(60)]
    )

    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up:
            device = await vehicle(up, version)
            form = jt808.Header(msg_id=0x0704, phone=head(0, version).phone, serial=50, version=version)
            parts = jt808.write_frames(form, body)
            assert len(parts) == 2
            device.send(parts[1])
            assert await results(device, 1) == [(51, 0)]
            asked = await device.hear()
            assert asked["msg_id"] == "0x8003"
            assert ("protocol_version" in asked) == (version == 2019)
            assert asked["body_len"] == (6 if version == 2019 else 5)
            device.send(parts[0])
            assert await results(device, 1) == [(50, 0)]
        # One second of many positions: each is kept apart, none is lost.
        assert len(await readings_of(tmp_nats)) == 60

    run(story())


def test_a_picture_is_kept_before_the_terminal_may_delete_it(tmp_nats):
    kept, room = [], [False, True]

    def media(one):
        if room.pop(0):
            kept.append(one)
            return True
        return False

    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up:
            up.gateway.media = media
            device = await vehicle(up)
            picture = b"\xff\xd8" + bytes(range(256)) * 10
            body = (77).to_bytes(4, "big") + bytes((0, 0, 1, 2)) + location()[:28] + picture
            for first, done in ((100, False), (200, True)):
                for part in jt808.write_frames(jt808.Header(msg_id=0x0801, phone=PHONE, serial=first), body):
                    device.send(part)
                assert all(result == 0 for _, result in await results(device, 3))
                if done:
                    answer = await device.hear()
                    assert (answer["msg_id"], answer["body_len"]) == ("0x8800", 4)
            (one,) = kept
            assert (one.device_key, one.media_id, one.data, one.channel) == ("13800138000", 77, picture, 2)

    run(story())


@pytest.mark.parametrize(
    ("flag", "level", "values"), [(1, 1, [1.0]), (1, 2, [2.0]), (1, 0, [1.0]), (2, 2, [0.0]), (0, 2, [2.0, 0.0])]
)
def test_an_active_safety_alarm_has_a_beginning_with_its_level_and_an_end(flag, level, values):
    item = jt808.safety_item(0x64, head=(1, level, 0, 0, 0, 0, 0), alarm_id=1, flag=flag, lat=32.2, lon=119.4,
                             time="2026-03-02T12:00:00", alarm_key=KEY)  # fmt: skip
    decoded = jt808.parse(jt808.location(head(5), lat=32.2, lon=119.4, time="2026-03-02T12:00:09", items=[item]))
    found = [r for r in jt808.readings(decoded, NOW) if r.channel == "adas.t1"]
    assert [r.value for r in found] == values
    assert [r.ts_ms - found[0].ts_ms for r in found] == [0, 1000][: len(values)]
    assert local_from_ms(found[0].ts_ms).isoformat() == "2026-03-02T12:00:00"


def test_a_terminal_is_asked_for_the_files_of_its_alarm_until_it_says_yes(tmp_nats, monkeypatch):
    monkeypatch.setattr(downlink, "TICK_S", 0.1)
    monkeypatch.setattr("zhenan.telemetry.gateway.sessions_jt808.AGAIN_MS", 300)
    item = jt808.safety_item(0x64, head=(1, 2, 0, 0, 0, 0, 0), alarm_id=1, flag=1, lat=32.2, lon=119.4,
                             time="2026-03-02T12:00:00", alarm_key=KEY)  # fmt: skip

    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK, files=Address("files.example", 6809)) as up:
            device = await vehicle(up)
            frame = jt808.write_frame(jt808.Header(msg_id=0x0200, phone=PHONE, serial=5), location(items=[item]))
            device.send(frame)
            assert await results(device, 1) == [(5, 0)]
            asked = await device.hear()
            assert (asked["body"]["ip"], asked["body"]["tcp_port"]) == ("files.example", 6809)
            assert asked["body"]["alarm_key"] == KEY
            assert is_ours(asked["body"]["alarm_no"], b"test", PHONE, KEY, NOW, 86_400)
            again = await device.hear()
            assert again["serial"] == asked["serial"]
            device.send(jt808.terminal_response(head(6), asked["serial"], 0x9208))
            device.send(frame)  # sent again: nothing new is asked for
            assert await results(device, 1) == [(5, 0)]
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(device.hear(), 0.7)

    run(story())


# the attachment port

SECRET = b"files"
DATA = {"00_0_1_0_x.jpg": bytes(range(256)) * 600, "02_0_1_1_x.mp4": b"film" * 1000}


class Port:
    """An attachment server, and what it was given."""

    def __init__(self, tmp_path, **limits):
        self.stored, self.folder = {}, tmp_path / "incoming"
        self.counters = Counters()
        self.server = AttachmentServer(SECRET, self._store, self._names, self.counters, folder=self.folder,
                                       limits=Limits(**limits), clock=lambda: NOW)  # fmt: skip

    async def _store(self, one):
        assert hashlib.sha256(one.path.read_bytes()).hexdigest() == one.sha256
        self.stored[one.name] = one.path.read_bytes()

    async def _names(self, number):
        return set(self.stored)

    async def __aenter__(self):
        await self.server.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *failed):
        await self.server.stop()
        assert list(self.folder.iterdir()) == []


async def terminal(port):
    device = Device(jt808.Splitter(files=True), jt808.parse)
    device.reader, device.writer = await asyncio.open_connection("127.0.0.1", port.server.port)
    return device


def listed(files=None, *, number=None, phone=PHONE, key=KEY, **more):
    form = jt808.Header(msg_id=0, phone=phone, serial=1)
    files = [(name, len(data)) for name, data in DATA.items()] if files is None else files
    number = number_of(SECRET, PHONE, KEY, NOW) if number is None else number
    return jt808.file_list(form, terminal_id="T000001", alarm_key=key, alarm_no=number, files=files, **more)


async def refused_with(port, reason, *frames):
    """Send; the connection is ended for the reason."""
    device = await terminal(port)
    for frame in frames:
        device.send(frame)
    while await asyncio.wait_for(device.reader.read(999), 5):
        pass
    assert port.counters.get("files_refused", reason) == 1
    assert port.stored == {}


def test_files_are_brought_and_what_lacks_is_asked_for_again(tmp_path):
    async def story():
        async with Port(tmp_path) as port:
            device = await terminal(port)
            device.send(listed())
            assert (await device.hear())["body"]["result"] == 0
            for n, (name, data) in enumerate(DATA.items()):
                device.send(jt808.file_info(head(2), name=name, file_type=n, size=len(data), sent=False))
                assert (await device.hear())["body"]["result"] == 0
                pieces = [(at, data[at : at + 60_000]) for at in range(0, len(data), 60_000)]
                lost = pieces.pop(1) if len(pieces) > 1 else None
                for at, piece in pieces:
                    device.send(jt808.file_chunk(name, at, piece))
                device.send(jt808.file_info(head(3), name=name, file_type=n, size=len(data), sent=True))
                answer = (await device.hear())["body"]
                if lost:
                    assert (answer["result"], answer["retransmit"]) == (1, [[lost[0], len(lost[1])]])
                    device.send(jt808.file_chunk(name, *lost))
                    device.send(jt808.file_info(head(4), name=name, file_type=n, size=len(data), sent=True))
                    answer = (await device.hear())["body"]
                assert (answer["name"], answer["result"], answer["retransmit"]) == (name, 0, [])
            assert port.stored == DATA
            device.writer.close()
            again = await terminal(port)
            again.send(listed())
            assert (await again.hear())["body"]["result"] == jt808.FAILED
            assert port.counters.get("files_refused", "done_before") == 1

    run(story())


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("number", {"number": "0" * 32}),
        ("number", {"number": ""}),
        ("number", {"phone": "013800138001"}),
        ("number", {"key": KEY | {"seq": 1}}),
        ("number", {"number": number_of(SECRET, PHONE, KEY, NOW - 3 * 86_400_000)}),
        ("number", {"number": number_of(b"other", PHONE, KEY, NOW)}),
        ("size", {"files": [("a.jpg", 30_000_000)]}),
        ("size", {"files": [(f"{n}.jpg", 20_000_000) for n in range(4)]}),
        ("size", {"files": [("a.jpg", 0)]}),
        ("suffix", {"files": [("a.exe", 10)]}),
        ("suffix", {"files": [("../../etc/passwd", 10)]}),
        ("files", {"files": [("a.jpg", 10), ("a.jpg", 10)]}),
        ("files", {"files": [(f"{n}.jpg", 10) for n in range(17)]}),
    ],
)
def test_what_was_not_asked_for_is_not_taken(tmp_path, reason, more):
    async def story():
        async with Port(tmp_path) as port:
            await refused_with(port, reason, listed(**more))

    run(story())


def chunked(name, *, listed_size=10, at=0, data=b"x" * 10, size=None):
    info = jt808.file_info(head(2), name=name, file_type=0, size=listed_size if size is None else size, sent=False)
    return [listed([("a.jpg", listed_size)]), info, jt808.file_chunk(name, at, data)]


@pytest.mark.parametrize(
    ("reason", "frames"),
    [
        ("not_listed", chunked("b.jpg")),
        ("size", chunked("a.jpg", size=11)),
        ("beyond_the_end", chunked("a.jpg", at=1)),
        ("beyond_the_end", chunked("a.jpg", at=0xFFFF_FFFF)),
        ("again_and_again", [*chunked("a.jpg"), *[jt808.file_chunk("a.jpg", 0, b"x" * 10)] * 7000]),
        ("second_list", [listed(), listed()]),
        ("garbage", [jt808.file_chunk("a.jpg", 0, b"x")] * 16),
        ("garbage", [b"GET / HTTP/1.1\r\n~" * 20]),
    ],
)
def test_bytes_that_do_not_belong_end_the_connection(tmp_path, reason, frames):
    async def story():
        async with Port(tmp_path) as port:
            await refused_with(port, reason, *frames)

    run(story())


def test_a_name_longer_than_a_raw_packet_holds_is_known_by_its_beginning(tmp_path):
    name = "00_65_6501_1_" + "n" * 60 + ".jpg"

    async def story():
        async with Port(tmp_path) as port:
            device = await terminal(port)
            device.send(listed([(name, 4)]))
            device.send(jt808.file_info(head(2), name=name, file_type=0, size=4, sent=False))
            cut = jt808.file_chunk("x", 0, b"data")
            device.send(cut[:4] + name.encode()[:50] + cut[54:])
            device.send(jt808.file_info(head(3), name=name, file_type=0, size=4, sent=True))
            answers = [(await device.hear())["body"] for _ in range(3)]
            assert answers[2]["result"] == 0
            assert port.stored == {name: b"data"}

    run(story())


@given(st.text(max_size=40))
def test_any_number_that_is_not_ours_is_refused(number):
    assert not is_ours(number, SECRET, PHONE, KEY, NOW, 86_400)


@given(st.text(max_size=40))
def test_the_suffix_of_any_name_is_plain(name):
    assert "/" not in suffix_of(name)


# UDP


async def datagrams(port, *sent, answers):
    """Send datagrams, and the answers that come."""
    loop = asyncio.get_running_loop()
    heard = asyncio.Queue()

    class Peer(asyncio.DatagramProtocol):
        def datagram_received(self, data, addr):
            heard.put_nowait(data)

    transport, _ = await loop.create_datagram_endpoint(Peer, remote_addr=("127.0.0.1", port))
    for data in sent:
        transport.sendto(data)
    found = [await asyncio.wait_for(heard.get(), 5) for _ in range(answers)]
    transport.close()
    return found


def test_datagrams_with_several_frames_or_halves_are_taken_and_answered(tmp_nats):
    frames = [
        gb26875.send("0000000003e9", CENTRE, n, 21, [{"status": n % 2 * 2, "time": local_from_ms(NOW + n * 1000)}], NOW)
        for n in range(3)
    ]

    async def story():
        async with gateway(tmp_nats, ROWS, udp={"gb26875": 0, "jt808": 0}) as up:
            port = up.gateway.udp["gb26875"].port
            answers = await datagrams(port, frames[0] + frames[1], b"\x40\x40garbage", frames[2], answers=3)
            assert [gb26875.parse(a)["serial"] for a in answers] == [0, 1, 2]
            (code,) = await datagrams(
                up.gateway.udp["jt808"].port,
                jt808.register(head(1), province=32, city=1100, maker="ZH", model="T1", terminal_id="1", plate_color=1,
                               plate="苏L12345"),
                answers=1,
            )  # fmt: skip
            assert jt808.parse(code)["body"]["result"] == 0
        assert [r[2] for r in await readings_of(tmp_nats)] == [0.0, 1.0, 0.0]

    run(story())
