"""How long we wait for a device before asking again, protocol by protocol; by a clock that the test turns."""

import asyncio

import pytest

from zhenan.telemetry.codecs import hj212, jt808
from zhenan.telemetry.gateway.attachments import Address
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.downlink import Clock, Downlink, Order
from zhenan.telemetry.gateway.sessions import Gb26875, Hj212
from zhenan.telemetry.gateway.sessions_jt808 import AGAIN_MS, Jt808
from zhenan.telemetry.tests.test_sessions import KEY, MN, NOW, PHONE, REGISTRY, frame, message, upload

SECONDS = 1000


class Turned(Clock):
    """A clock that stands still until somebody waits in vain. `asleep`: those waits, in seconds."""

    def __init__(self):
        self.at, self.asleep = NOW, []

    def now_ms(self):
        return self.at

    async def within(self, wait_s, coming):
        task = asyncio.ensure_future(coming)
        await asyncio.sleep(0)
        if task.done():
            return task.result()
        task.cancel()
        self.asleep.append(wait_s)
        self.at += round(wait_s * SECONDS)
        return None


class Told(Downlink):
    """A downlink whose words are kept instead of published."""

    def __init__(self, clock):
        super().__init__(None, Counters(), clock=clock)
        self.words = []

    def tell(self, told):
        self.words.append((told.state, told.error, told.tries))


FIRST = {"gb26875": frame(b"\x15\x01\x02"), "hj212": upload(), "jt808": message(0x0002)}


def connected(protocol, downlink):
    if protocol == "jt808":
        session = Jt808(REGISTRY, b"secret", jt808.Reassembler(), downlink)
        session.signed_in.add(PHONE)
        return session
    return {"gb26875": Gb26875, "hj212": Hj212}[protocol](REGISTRY, downlink)


def story(protocol, command, *, answer=None, until_s=0, options=None, args=None):
    """(moments of sending in seconds, waits, what was told, the frames) of one order; `answer(n, frame)` may answer."""

    async def run():
        clock = Turned()
        downlink = Told(clock)
        session, sent = connected(protocol, downlink), []

        def write(data):
            sent.append(((clock.at - NOW) // SECONDS, data))
            said = answer and answer(len(sent), data)
            if said:
                session.take(said, clock.at)

        session.opened(write, lambda: None)
        session.take(FIRST[protocol], NOW)
        key = {"gb26875": KEY, "hj212": MN, "jt808": PHONE}[protocol]
        until_ms = NOW + until_s * SECONDS if until_s else 0
        downlink.take(Order(1, protocol, key, command, args or {}, options or {}, until_ms))
        await asyncio.gather(*next(iter(downlink._links.values())).tasks)
        return [at for at, _ in sent], clock.asleep, downlink.words[1:], [data for _, data in sent]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("protocol", "command", "moments", "waits"),
    [
        # T = 5 s, T·2, T·2·3, T·2·3·4: sent at 0, 5, 15 and 45 s, given up 120 s after that
        ("jt808", "locate", [0, 5, 15, 45], [5, 10, 30, 120]),
        ("gb26875", "sync_clock", [0, 10, 20, 30], [10, 10, 10, 10]),
        ("hj212", "get_time", [0, 10, 20, 30], [10, 10, 10, 10]),
    ],
)
def test_what_is_not_answered_is_sent_again_as_the_protocol_says_and_then_given_up(protocol, command, moments, waits):
    sent, asleep, told, frames = story(protocol, command)
    assert (sent, asleep) == (moments, waits)
    assert len(set(frames)) == 1  # the same serial, the same QN: one exchange
    assert told == [("sent", "", 1), ("timed_out", "no_answer", 4)]


def test_an_answer_to_the_third_sending_ends_it():
    def answer(n, data):
        head = jt808.Header(msg_id=0, phone=PHONE, serial=5)
        return jt808.terminal_response(head, jt808.parse(data)["serial"], 0x8300) if n == 3 else None

    sent, _, told, _ = story("jt808", "text", args={"text": "前方修路"}, answer=answer)
    assert (sent, told[-1]) == ([0, 5, 15], ("confirmed", "", 3))


def test_a_logger_that_was_told_other_numbers_is_treated_by_them():
    sent, asleep, told, _ = story("hj212", "get_time", options={"overtime_s": 3, "recount": 5})
    assert (sent, asleep, told[-1][2]) == ([0, 3, 6, 9, 12, 15], [3] * 6, 6)


def test_the_wait_for_the_outcome_begins_when_the_logger_says_that_it_will():
    def answer(n, data):
        fields = hj212.parse(data)["fields"] | {"ST": "91", "CN": "9011", "Flag": "4"}
        return hj212.encode(hj212.write_segment(fields, "QnRtn=1")) if n == 2 else None

    sent, asleep, told, _ = story("hj212", "get_time", answer=answer)
    assert (sent, asleep) == ([0, 10], [10, 60])
    assert told == [("sent", "", 1), ("accepted", "", 2), ("timed_out", "no_outcome", 2)]


def test_nothing_is_sent_after_the_order_is_worth_nothing():
    sent, asleep, told, _ = story("jt808", "locate", until_s=20)
    assert (sent, asleep) == ([0, 5, 15], [5, 10, 5])
    assert told[-1] == ("timed_out", "no_answer", 3)
    assert story("gb26875", "sync_clock", until_s=-1)[0] == []


def test_a_terminal_is_asked_for_files_again_after_t_two_t_and_six_t():
    session = Jt808(REGISTRY, b"secret", jt808.Reassembler(), files=Address("127.0.0.1", 6809))
    session.signed_in.add(PHONE)
    key = {"terminal_id": "T1", "time": "2026-03-02T12:00:00", "seq": 0, "attachments": 2}
    where = {"lat": 32.2, "lon": 119.4, "time": "2026-03-02T12:00:00"}
    item = jt808.safety_item(0x64, head=(1, 2, 0, 0, 0, 0, 0), alarm_id=1, flag=1, alarm_key=key, **where)
    session.take(message(0x0200, jt808.location_body(items=[item], **where)), NOW)
    t = AGAIN_MS // SECONDS
    moments = [s for s in range(0, 40 * t, t // 5) if session.due(NOW + s * SECONDS)]
    assert moments == [t, t + 2 * t, t + 2 * t + 6 * t]
    assert session._requests == {}
