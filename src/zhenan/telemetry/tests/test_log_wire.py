"""The client of NATS with a reader and a writer of our own: messages of every size, in order, over a lost broker."""

import asyncio
import random

import pytest

from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.wire import LARGE, READ, WireClient

SIZES = [0, 1, 100, LARGE - 1, LARGE, LARGE + 1, READ - 1, READ, READ + 1, 2 * READ + 3, 2_100_016]


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def messages(seed):
    """(data, headers) of every size around the limits, shuffled, with and without headers."""
    rng = random.Random(seed)
    sizes = [*SIZES, *SIZES, *(rng.randrange(3000) for _ in range(200))]
    rng.shuffle(sizes)
    return [
        (rng.randbytes(size), rng.choice((None, {"Zn-Number": str(n), "Zn-Long": "x" * rng.randrange(2000)})))
        for n, size in enumerate(sizes)
    ]


def test_messages_of_every_size_come_whole_and_in_their_order(nats_url):
    sent = messages(1)

    async def story():
        writer, reader = await connect(nats_url, "writer"), await connect(nats_url, "reader")
        assert isinstance(reader, WireClient)
        came = await reader.subscribe("wire.test", pending_bytes_limit=1 << 30)
        await reader.flush()
        for data, headers in sent:
            await writer.publish("wire.test", data, headers=headers)
        await writer.flush()
        for data, headers in sent:
            message = await came.next_msg(10)
            assert (bytes(message.data), message.headers) == (data, headers)
        await writer.close()
        await reader.close()

    run(story())


def test_who_hears_directly_hears_the_same_however_the_bytes_come(nats_url):
    sent = [one for one in messages(3) if len(one[0]) < LARGE + 2] * 3

    async def story():
        writer, reader = await connect(nats_url, "writer"), await connect(nats_url, "reader")
        direct, plain = [], await reader.subscribe("wire.plain", pending_bytes_limit=1 << 30)

        def take(subject, reply, data, headers):
            direct.append((subject, reply, bytes(data), headers.partition(b"Zn-Number: ")[2].partition(b"\r\n")[0]))

        heard = await reader.subscribe_direct("wire.direct.>", take)
        await reader.flush()
        for n, (data, headers) in enumerate(sent):
            await writer.publish(f"wire.direct.{n}", data, headers=headers, reply="to.me" if n % 3 else "")
            if n % 5 == 0:
                await writer.publish("wire.plain", data, headers=headers)
        await writer.flush()
        while len(direct) < len(sent):
            await asyncio.sleep(0.01)
        wanted = [
            (
                f"wire.direct.{n}".encode(),
                b"to.me" if n % 3 else b"",
                data,
                (headers or {}).get("Zn-Number", "").encode(),
            )
            for n, (data, headers) in enumerate(sent)
        ]
        assert direct == wanted
        for data, headers in sent[::5]:
            message = await plain.next_msg(10)
            assert (bytes(message.data), message.headers) == (data, headers)
        await reader.unsubscribe_direct(heard)
        await writer.publish("wire.direct.late", b"x")
        await writer.flush()
        await reader.flush()
        assert len(direct) == len(sent)
        await writer.close()
        await reader.close()

    run(story())


@pytest.mark.parametrize("step", [1, 7, 30, 4096])
def test_bytes_in_pieces_of_any_size_are_the_same_messages(step):
    """Without a broker: what the wire gives, cut anywhere, what is heard directly between what is not."""
    heard, others = [], []

    class Heard(WireClient):
        async def _process_msg(self, sid, subject, reply, data, headers):
            if sid == 9:
                heard.append((subject, reply, bytes(data), headers or b""))
            else:
                others.append((sid, bytes(data)))

        async def _process_ping(self):
            others.append("ping")

    async def story():
        client = Heard()
        client._direct[9] = lambda *message: heard.append(message)
        data = (
            b"MSG a.b 9 3\r\nabc\r\n" b"PING\r\n" b"MSG a.b 9 re.ply 0\r\n\r\n"
            b"HMSG c 9 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
            b"MSG x 8 5\r\nhello\r\n" b"HMSG c 9 r 12 12\r\nNATS/1.0\r\n\r\n\r\n" b"MSG odd 9 11\r\nMSG a 9 1\r\n\r\n"
            b"MSG x 8 70000\r\n" + bytes(70_000) + b"\r\n" b"+OK\r\n" b"MSG d 9 1\r\nd\r\n"
        )  # fmt: skip
        for at in range(0, len(data), step):
            await client._parse(data[at : at + step])
        assert heard == [
            (b"a.b", b"", b"abc", b""), (b"a.b", b"re.ply", b"", b""), (b"c", b"", b"hi", b"NATS/1.0\r\n\r\n"),
            (b"c", b"r", b"", b"NATS/1.0\r\n\r\n"), (b"odd", b"", b"MSG a 9 1\r\n", b""), (b"d", b"", b"d", b""),
        ]  # fmt: skip
        assert others == ["ping", (8, b"hello"), (8, bytes(70_000))]

    run(story())


def test_several_that_send_at_once_do_not_cut_into_each_other(nats_url):
    async def story():
        client = await connect(nats_url, "all")
        came = await client.subscribe("wire.mixed", pending_bytes_limit=1 << 30)

        async def say(n):
            for size in (10, LARGE + n, 2 * READ + n):
                await client.publish("wire.mixed", bytes((n,)) * size, headers={"n": str(n)})

        await asyncio.gather(*(say(n) for n in range(20)))
        found = [await came.next_msg(10) for _ in range(60)]
        assert sorted(len(m.data) for m in found) == sorted(
            size for n in range(20) for size in (10, LARGE + n, 2 * READ + n)
        )
        assert all(set(m.data) == {int(m.headers["n"])} for m in found)
        await client.close()

    run(story())


def test_a_broker_that_dies_in_the_middle_of_a_large_message_is_found_again(tmp_nats):
    async def story():
        writer, reader = await connect(tmp_nats.url, "writer"), await connect(tmp_nats.url, "reader")
        came = await reader.subscribe("wire.again", pending_bytes_limit=1 << 30)
        await reader.flush()
        for _ in range(20):
            await writer.publish("wire.again", bytes(4_000_000), headers={"n": "1"})
        await asyncio.sleep(0.01)
        tmp_nats.kill()
        await asyncio.sleep(0.1)
        tmp_nats.start()
        for _ in range(200):
            if writer.is_connected and reader.is_connected:
                break
            await asyncio.sleep(0.05)
        await reader.flush()
        await writer.publish("wire.again", b"last", headers={"n": "2"})
        await writer.flush()
        while True:
            message = await came.next_msg(10)
            assert message.data == bytes(4_000_000) or message.data == b"last"
            if message.data == b"last":
                break
        await writer.close()
        await reader.close()

    run(story())
