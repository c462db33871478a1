"""The connection to the broker comes back, whatever the broker said before it went."""

import asyncio
from urllib.parse import urlsplit

import pytest
import uvloop
from nats.aio.client import Client
from tests.support.links import Links

from zhenan.telemetry.log.connect import connect


def test_a_client_that_the_broker_sent_away_with_an_error_comes_back(tmp_nats):
    async def story():
        client = await connect(tmp_nats.url, "test")
        heard = await client.subscribe("news")
        client._transport.write(b"NOT A WORD OF THE PROTOCOL\r\n")
        async with asyncio.timeout(20):
            while not client.stats["reconnects"] or not client.is_connected:
                await asyncio.sleep(0.05)
        await client.publish("news", b"still here")
        message = await heard.next_msg(5)
        await client.close()
        return message.data

    assert asyncio.run(story()) == b"still here"


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_a_client_does_not_wait_for_what_a_dead_link_will_never_take(tmp_nats, run):
    there = urlsplit(tmp_nats.url)
    dead, good = Links(), Links()
    ports = [link.port_to((there.hostname, there.port)) for link in (dead, good)]
    login = tmp_nats.url.rpartition("@")[0]

    async def story():
        client = await connect(f"{login}@127.0.0.1:{ports[0]}", "test")
        dead.cut()
        for _ in range(64):  # more than sockets and the link hold
            await client.publish("news", bytes(512 * 1024))
        await asyncio.sleep(0.2)
        client.set_server_pool([f"{login}@127.0.0.1:{ports[1]}"])
        await client.force_reconnect()
        async with asyncio.timeout(10):
            while not client.stats["reconnects"] or not client.is_connected:
                await asyncio.sleep(0.05)
        await client.flush(5)
        await client.close()

    try:
        run(story())
    finally:
        dead.heal()
        dead.close()
        good.close()


def test_an_error_that_nobody_expected_does_not_end_reconnecting(tmp_nats, monkeypatch):
    choose, faults = Client._select_next_server, [ValueError("nobody expected this")]

    async def faulty(self):
        if faults:
            raise faults.pop()
        await choose(self)

    async def story():
        client = await connect(tmp_nats.url, "test")
        monkeypatch.setattr(Client, "_select_next_server", faulty)
        await client.force_reconnect()
        async with asyncio.timeout(20):
            while not client.stats["reconnects"] or not client.is_connected:
                await asyncio.sleep(0.02)
        await client.close()

    asyncio.run(story())
    assert faults == []


def test_a_client_goes_over_to_the_broker_again_and_again(tmp_nats):
    async def story():
        client = await connect(tmp_nats.url, "test")
        for turn in range(5):
            await client.force_reconnect()
            async with asyncio.timeout(20):
                while client.stats["reconnects"] <= turn or not client.is_connected:
                    await asyncio.sleep(0.02)
        await client.close()

    asyncio.run(story())
