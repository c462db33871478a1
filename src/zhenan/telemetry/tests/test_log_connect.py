"""The connection to the broker goes over from a server that stands still to one that does not."""

import asyncio
import json

import pytest
import uvloop

from zhenan.telemetry.log.connect import connect, elsewhere

INFO = {"server_id": "still", "version": "2.11.0", "headers": True, "max_payload": 1_000_000, "proto": 1}


async def stands_still(reader, writer):
    """A server that takes a client in and then reads nothing more; its connection stays."""
    writer.write(b"INFO " + json.dumps(INFO).encode() + b"\r\n")
    while not (await reader.readline()).startswith(b"PING"):
        pass
    writer.write(b"PONG\r\n")
    reader.feed_data = lambda data: None
    writer.transport.pause_reading()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_a_server_that_stands_still_has_not_taken_keeps_nobody_from_another(nats_url, run):
    async def story():
        still = await asyncio.start_server(stands_still, "127.0.0.1", 0)
        port = still.sockets[0].getsockname()[1]
        login = nats_url.rpartition("@")[0].rpartition("://")[2] or "a:b"
        client = await connect(f"nats://{login}@127.0.0.1:{port}", "test")
        client._server_pool.clear()
        client._setup_server_pool([nats_url, f"nats://{login}@127.0.0.1:{port}"])
        for _ in range(40):  # more than any kernel buffers
            await client.publish("x", b"z" * 500_000)
        still.close()  # it takes nobody in any more, and keeps whom it has
        await asyncio.sleep(0.2)
        await elsewhere(client)
        async with asyncio.timeout(10):
            while not client.is_connected:
                await asyncio.sleep(0.02)
        assert client.connected_url.port != port
        await client.close()

    run(asyncio.wait_for(story(), 30))
