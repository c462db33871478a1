"""The connection to NATS that every process of the telemetry floor uses: it never gives up."""

from __future__ import annotations

import asyncio
from functools import partial

import nats.errors
import structlog
from nats.aio.client import PERMISSIONS_ERR, Client

from zhenan.telemetry.log.wire import WireClient

log = structlog.get_logger("zhenan.log")
RECONNECT_S = 0.2

# What a call to the broker may raise while the broker is away, restarting or out of resources for a moment.
PASSING: tuple[type[BaseException], ...] = (nats.errors.Error, OSError, asyncio.TimeoutError)


def servers(url: str) -> list[str]:
    """The addresses in a setting: one, or several of one cluster with commas between; a user and a password given with
    the first hold for all that name none."""
    parts = [part.strip() for part in url.split(",") if part.strip()]
    login = parts[0].rpartition("@")[0].partition("://")[2] if parts and "@" in parts[0] else ""
    found = []
    for part in parts:
        scheme, _, where = part.rpartition("://")
        found.append(f"{scheme or 'nats'}://{where if '@' in where or not login else f'{login}@{where}'}")
    return found


class LastingClient(WireClient):
    """The client without the three ways in which it would stay away for good.

    It closes itself at most errors that a server tells before it hangs up (a shutdown, too many connections, an
    authentication that took too long); it waits for what was written last to be sent over a connection that is dead,
    which the network gives up after a quarter of an hour; and an error that it did not expect ends its reconnecting.
    """

    async def _process_err(self, err_msg: str) -> None:
        words = err_msg.strip("'")
        if PERMISSIONS_ERR in words or self.is_closed:
            await super()._process_err(err_msg)
            return
        err = nats.errors.Error(f"nats: {words}")
        await _say_error(err)
        await self._process_op_err(err)

    async def _attempt_reconnect(self) -> None:
        while not self.is_closed:
            writer = getattr(self._transport, "_bare_io_writer", None)
            if writer is not None:
                writer.transport.abort()
            try:
                await super()._attempt_reconnect()
            except Exception as err:
                log.exception("broker.reconnect_failed", error=repr(err))
                await asyncio.sleep(RECONNECT_S)
            else:
                return


async def connect(url: str, name: str) -> WireClient:
    """Connect, waiting for the broker as long as it takes; afterwards the client reconnects by itself."""
    warned = False
    while True:
        client = LastingClient()
        try:
            await client.connect(
                servers(url),
                name=f"zhenan-{name}",
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_S,  # type: ignore[arg-type]
                connect_timeout=2,
                ping_interval=10,
                max_outstanding_pings=2,
                pending_size=64 * 1024 * 1024,
                error_cb=_say_error,
                disconnected_cb=partial(_say_gone, client),
                reconnected_cb=_say_back,
            )
            return client
        except PASSING as err:
            if not warned:
                log.warning("broker.waiting", error=str(err) or type(err).__name__)
                warned = True
            await client.close()
            await asyncio.sleep(RECONNECT_S)


async def elsewhere(client: Client) -> None:
    """Go over to another server of the cluster, from one that keeps the connection and answers nothing."""
    if len(client.servers) > 1 and client.is_connected:
        where = client.connected_url
        log.warning("broker.elsewhere", left=f"{where.hostname}:{where.port}" if where else "")  # not the password
        await client.force_reconnect()


async def wait_connected(client: Client) -> None:
    """Wait until the broker is there. Raises ConnectionError when this client was closed."""
    while not client.is_connected:
        if client.is_closed:
            raise ConnectionError("the connection to NATS was closed")
        await asyncio.sleep(0.05)


async def _say_error(err: Exception) -> None:
    log.warning("broker.error", error=str(err) or type(err).__name__)


async def _say_gone(client: Client) -> None:
    if not client.is_closed:
        log.warning("broker.gone")


async def _say_back() -> None:
    log.warning("broker.back")
