"""The client of NATS with a reader and a writer of our own: messages of every size, in order, over a lost broker."""

import asyncio
import random

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
