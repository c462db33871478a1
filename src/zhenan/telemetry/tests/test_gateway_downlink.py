"""Orders to devices: through the broker to whichever gateway has the connection, and what came of them back."""

import asyncio
import contextlib
import time

import msgspec
import pytest

from zhenan.telemetry.codecs import gb26875, hj212, jt808
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.gateway.downlink import ASK, SAID, Order, Patience, Told, token
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.tests.gateway_support import CENTRE, gateway, point

KEY = "0000000003e9"
PHONE = "013800138000"
ROWS = [
    point("gb26875", KEY, 7, "status", 1, bit=1),
    point("hj212", "MN1", 8, "a01001.Rtd", 2),
    point("jt808", "13800138000", 9, "speed_kmh", 3),
]
QUICK = Patience(answer_s=5.0, resends=3, outcome_s=5.0)
HASTY = Patience(answer_s=0.4, resends=3, outcome_s=0.5)


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 150))


def now():
    return time.time_ns() // 1_000_000


class Desk:
    """Whoever gives orders, and hears what becomes of them."""

    def __init__(self, client):
        self.client, self.heard = client, []
        self.news = asyncio.Event()

    async def open(self):
        await self.client.subscribe(f"{SAID}.>", cb=self._hear)
        await self.client.flush()

    async def _hear(self, message):
        self.heard.append(msgspec.json.decode(message.data, type=Told))
        self.news.set()

    async def order(self, number, protocol, key, command, **args):
        order = Order(number, protocol, key, command, args)
        await self.client.publish(f"{ASK}.{protocol}.{token(key)}", msgspec.json.encode(order))

    async def until(self, state, number=0):
        while True:
            for told in self.heard:
                if (told.state, told.id) == (state, number):
                    return told
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 60)  # the first gateway of a machine compiles meanwhile

    def of(self, number):
        return [told.state for told in self.heard if told.id == number]


@contextlib.asynccontextmanager
async def desk(nats):
    client = await connect(nats.url, "desk")
    found = Desk(client)
    await found.open()
    try:
        yield found
    finally:
        await client.close()


class Device:
    """A device at the end of a connection: it says what it is told to say."""

    def __init__(self, splitter, parse):
        self.splitter, self.parse, self.waiting = splitter, parse, []

    async def connect(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    def send(self, frame):
        self.writer.write(frame)

    async def hear(self):
        while not self.waiting:
            data = await asyncio.wait_for(self.reader.read(9999), 10)
            if not data:
                raise ConnectionError("closed")
            self.waiting += [self.parse(item.raw) for item in self.splitter.feed(data)]
        return self.waiting.pop(0)


async def fire_device(up, desk, port="gb26875"):
    device = Device(gb26875.Splitter(), gb26875.parse)
    await device.connect(up.port(port))
    at = now()
    device.send(gb26875.send(KEY, CENTRE, 1, 21, [{"status": 1, "time": local_from_ms(at)}], at))
    assert (await device.hear())["cmd"] == gb26875.CONFIRM
    await desk.until("here")
    return device


def test_a_clock_is_set_once_confirmed_and_the_end_is_told_again_when_asked_again(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up, desk(tmp_nats) as table:
            device = await fire_device(up, table)
            await table.order(11, "gb26875", KEY, "sync_clock")
            asked = await device.hear()
            assert (asked["cmd"], asked["adu"]["type_flag"], asked["src"], asked["dst"]) == (1, 90, CENTRE, KEY)
            device.send(gb26875.confirm(asked, now()))
            assert (await table.until("confirmed", 11)).tries == 1
            await table.order(11, "gb26875", KEY, "sync_clock")  # its sender did not hear
            await asyncio.sleep(0.3)
            assert table.of(11) == ["sent", "confirmed", "confirmed"]
            assert up.gateway.counters.get("orders_sent") == 1

    run(story())


def test_an_order_is_sent_four_times_and_then_given_up(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=HASTY) as up, desk(tmp_nats) as table:
            device = await fire_device(up, table)
            await table.order(12, "gb26875", KEY, "initialise")
            serials = [(await device.hear())["serial"] for _ in range(4)]
            assert len(set(serials)) == 1
            told = await table.until("timed_out", 12)
            assert (told.tries, told.error) == (4, "no_answer")

    run(story())


def test_a_reading_asked_for_comes_back_and_a_denial_is_a_denial(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up, desk(tmp_nats) as table:
            device = await fire_device(up, table)
            await table.order(13, "gb26875", KEY, "read_version", sys_type=1, sys_addr=0)
            asked = await device.hear()
            assert (asked["cmd"], asked["adu"]["type_flag"]) == (gb26875.REQUEST, 65)
            device.send(
                gb26875.answer(asked, 5, [{"sys_type": 1, "sys_addr": 0, "ver_major": 2, "ver_minor": 7}], now())
            )
            told = await table.until("confirmed", 13)
            assert told.data == [{"sys_type": 1, "sys_addr": 0, "ver_major": 2, "ver_minor": 7}]
            await table.order(14, "gb26875", KEY, "read_device_config")
            device.send(gb26875.deny(await device.hear(), now()))
            assert (await table.until("denied", 14)).error == "refused"

    run(story())


def test_the_guard_s_answer_to_a_patrol_is_passed_on(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up, desk(tmp_nats) as table:
            device = await fire_device(up, table)
            await table.order(15, "gb26875", KEY, "patrol", minutes=5)
            asked = await device.hear()
            assert asked["adu"]["objects"] == [{"timeout_min": 5}]
            device.send(gb26875.confirm(asked, now()))
            await table.until("accepted", 15)
            at = now()
            operation = {"op": 1 << 5, "operator": 3, "time": local_from_ms(at)}
            device.send(gb26875.send(KEY, CENTRE, 2, 24, [operation], at))
            assert (await table.until("guard")).key == KEY

    run(story())


def test_of_two_gateways_the_one_with_the_connection_obeys_and_a_lost_connection_is_told(tmp_nats):
    async def story():
        async with (
            gateway(tmp_nats, ROWS, patience=QUICK, source="one") as one,
            gateway(tmp_nats, ROWS, patience=QUICK, source="two", mqtt=False) as two,
            desk(tmp_nats) as table,
        ):
            device = await fire_device(two, table)
            await table.order(16, "gb26875", KEY, "read_device_time")
            await device.hear()
            assert (await table.until("sent", 16)).gateway == "two"
            assert one.gateway.counters.get("orders_sent") == 0
            device.writer.close()
            assert (await table.until("lost", 16)).gateway == "two"

    run(story())


def test_an_order_for_a_device_that_is_not_here_is_not_answered_and_one_that_cannot_be_is_denied(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up, desk(tmp_nats) as table:
            device = await fire_device(up, table)
            await table.order(17, "gb26875", "000000000099", "sync_clock")
            await table.order(18, "gb26875", KEY, "patrol", minutes=999)
            await table.order(19, "gb26875", KEY, "no_such_command")
            await table.client.publish(f"{ASK}.gb26875.x", b"not an order")
            assert "whole number from 1 to 255" in (await table.until("denied", 18)).error
            assert (await table.until("denied", 19)).error == "unknown_command"
            assert table.of(17) == []
            assert up.gateway.counters.get("orders_refused") == 1
            device.writer.close()

    run(story())


def test_a_device_that_writes_hex_text_is_heard_and_told_in_hex_text(tmp_nats):
    async def story():
        ports = {"gb26875_hex": 0}
        async with gateway(tmp_nats, ROWS, patience=QUICK, ports=ports) as up, desk(tmp_nats) as table:
            device = Device(gb26875.Splitter(hex_text=True), gb26875.parse)
            await device.connect(up.port("gb26875_hex"))
            at = now()
            frame = gb26875.send(KEY, CENTRE, 1, 21, [{"status": 1, "time": local_from_ms(at)}], at)
            device.send(frame.hex().encode())
            assert (await device.hear())["cmd"] == gb26875.CONFIRM
            await table.until("here")
            await table.order(20, "gb26875", KEY, "sync_clock")
            device.send(gb26875.confirm(await device.hear(), now()).hex().encode())
            await table.until("confirmed", 20)

    run(story())


# vehicles


def head(serial, version=2013):
    return jt808.Header(msg_id=0, phone=PHONE.zfill(20) if version == 2019 else PHONE, serial=serial, version=version)


async def vehicle(up, version=2013):
    device = Device(jt808.Splitter(), jt808.parse)
    await device.connect(up.port("jt808"))
    device.send(jt808.register(head(1, version), province=32, city=1100, maker="ZH", model="T1", terminal_id="1",
                               plate_color=1, plate="苏L12345"))  # fmt: skip
    code = (await device.hear())["body"]["auth_code"]
    device.send(jt808.auth(head(2, version), code))
    assert (await device.hear())["body"]["result"] == jt808.OK
    return device


@pytest.mark.parametrize("version", [2013, 2019])
def test_a_vehicle_is_told_in_its_own_header_form_and_answers(tmp_nats, version):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up, desk(tmp_nats) as table:
            device = await vehicle(up, version)
            await table.order(31, "jt808", "13800138000", "speed_limit", kmh=80, seconds=15)
            asked = await device.hear()
            assert asked["msg_id"] == "0x8103"
            assert ("protocol_version" in asked) == (version == 2019)
            assert asked["body"]["params"] == [["0x0055", "00000050"], ["0x0056", "0000000f"]]
            device.send(jt808.terminal_response(head(3, version), asked["serial"], 0x8103))
            await table.until("confirmed", 31)
            await table.order(32, "jt808", "13800138000", "text", text="前方修路", urgent=True)
            asked = await device.hear()
            device.send(jt808.terminal_response(head(4, version), asked["serial"], 0x8300, 3))
            assert (await table.until("denied", 32)).error == "unsupported"

    run(story())


def test_a_vehicle_says_where_it_is_when_asked(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up, desk(tmp_nats) as table:
            device = await vehicle(up)
            await table.order(33, "jt808", "13800138000", "locate")
            asked = await device.hear()
            assert asked["msg_id"] == "0x8201"
            body = jt808.location_body(lat=32.2, lon=119.4, time=local_from_ms(now()), speed_kmh=56.5)
            answer = jt808.Header(msg_id=0x0201, phone=PHONE, serial=5)
            device.send(jt808.write_frame(answer, asked["serial"].to_bytes(2, "big") + body))
            told = await table.until("confirmed", 33)
            assert (told.data["lat"], told.data["lon"], told.data["speed_kmh"]) == (32.2, 119.4, 56.5)

    run(story())


def test_nobody_who_is_not_signed_in_takes_a_vehicle_s_place_and_the_newest_sign_in_does(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up:
            first = await vehicle(up)
            stranger = Device(jt808.Splitter(), jt808.parse)
            await stranger.connect(up.port("jt808"))
            stranger.send(jt808.heartbeat(head(9)))
            assert (await stranger.hear())["body"]["result"] == jt808.FAILED
            first.send(jt808.heartbeat(head(3)))
            assert (await first.hear())["body"]["result"] == jt808.OK
            second = await vehicle(up)
            assert await asyncio.wait_for(first.reader.read(), 5) == b""
            assert up.gateway.counters.get("superseded") == 1
            second.send(jt808.heartbeat(head(3)))
            assert (await second.hear())["body"]["result"] == jt808.OK

    run(story())


# loggers


def frame_of(asked, cn, **params):
    fields = {"QN": asked["fields"]["QN"], "ST": "91", "CN": cn, "PW": "123456", "MN": "MN1", "Flag": "4"}
    return hj212.encode(hj212.write_segment(fields, hj212.write_area(params, {})))


def test_a_logger_says_it_will_then_how_it_went(tmp_nats):
    async def story():
        async with gateway(tmp_nats, ROWS, patience=QUICK) as up, desk(tmp_nats) as table:
            device = Device(hj212.Splitter(), hj212.parse)
            await device.connect(up.port("hj212"))
            stamp = f"{local_from_ms(now()):%Y%m%d%H%M%S}"
            device.send(hj212.upload(qn=hj212.write_qn(local_from_ms(now())), st="22", mn="MN1", data_time=stamp,
                                     factors={"a01001": {"Rtd": "21.5", "Flag": "N"}}))  # fmt: skip
            assert (await device.hear())["fields"]["CN"] == "9014"
            await table.order(41, "hj212", "MN1", "get_time")
            asked = await device.hear()
            assert (asked["fields"]["CN"], asked["fields"]["ST"], asked["fields"]["Flag"]) == ("1011", "22", "5")
            device.send(frame_of(asked, "9011", QnRtn="1"))
            device.send(frame_of(asked, "1011", SystemTime="20260302120000"))
            device.send(frame_of(asked, "9012", ExeRtn="1"))
            told = await table.until("confirmed", 41)
            assert told.data["params"]["SystemTime"] == "20260302120000"
            await table.order(42, "hj212", "MN1", "calibrate", factor="a21026")
            asked = await device.hear()
            assert asked["params"] == {"PolId": "a21026"}
            device.send(frame_of(asked, "9011", QnRtn="3"))
            assert (await table.until("denied", 42)).error == "password"
            up.gateway.downlink.patience = HASTY
            await table.order(43, "hj212", "MN1", "set_interval", seconds=30)
            device.send(frame_of(await device.hear(), "9011", QnRtn="1"))
            assert (await table.until("timed_out", 43)).error == "no_outcome"

    run(story())
