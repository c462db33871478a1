"""UDP listeners: the same sessions as over TCP, a peer's address in place of a connection.

A datagram holds one or more whole frames. Nothing tells when a peer has gone but its silence.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import structlog

from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.sessions import Session
from zhenan.telemetry.gateway.tcp import Connection, Limits, Listener
from zhenan.telemetry.log.tasks import end

log = structlog.get_logger("zhenan.gateway")
_WAITING: Final = 64  # datagrams of one peer that wait for their turn
_MAX_DATAGRAM: Final = 65_507


class Datagrams:
    """What a connection reads from: one datagram a read, in the order they came."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self._over = False

    def put(self, data: bytes) -> bool:
        """Take a datagram; False when too many wait, and it is lost as datagrams are."""
        if self._waiting.full() or self._over:
            return False
        self._waiting.put_nowait(data)
        return True

    def feed_eof(self) -> None:
        """No more come."""
        self._over = True
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait(b"")

    async def read(self, most: int) -> bytes:
        """The next datagram; b"" when there are no more."""
        if self._over and self._waiting.empty():
            return b""
        return await self._waiting.get()


class Sender:
    """What a connection writes to: each answer a datagram to the peer."""

    def __init__(self, transport: asyncio.DatagramTransport, peer: tuple[str, int]) -> None:
        self.transport, self._peer = transport, peer

    def get_extra_info(self, name: str) -> Any:
        return self._peer if name == "peername" else None

    def write(self, data: bytes) -> None:
        if data and not self.transport.is_closing():
            self.transport.sendto(data, self._peer)

    def writelines(self, several: Iterable[bytes]) -> None:
        """An answer a datagram."""
        for data in several:
            self.write(data)

    async def drain(self) -> None:
        """A datagram is gone when it is sent."""

    def close(self) -> None:
        """The socket is everybody's."""


class UdpListener(asyncio.DatagramProtocol):
    """One UDP port of one protocol."""

    def __init__(
        self, protocol: str, session: Callable[[], Session], intake: Intake, counters: Counters,
        limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.listener = Listener(protocol, session, intake, counters, limits)
        self.protocol, self.counters = protocol, counters
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None
        self._peers: dict[tuple[str, int], Datagrams] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """Peers heard lately."""
        return len(self._peers)

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port (0 asks for any free one)."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, port))
        self._transport = transport
        self.port = int(transport.get_extra_info("sockname")[1])
        self.listener.warming = asyncio.create_task(self.listener.warm())
        log.info("gateway.listening", protocol=f"{self.protocol}/udp", host=host, port=self.port)
        return self.port

    async def stop(self) -> None:
        """Take no more; what was taken is answered as far as the log allows."""
        if self.listener.warming is not None:
            self.listener.warming.cancel()
        for waiting in self._peers.values():
            waiting.feed_eof()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=3)
        await end(self._tasks)
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        peer = (addr[0], addr[1])
        waiting = self._peers.get(peer)
        if waiting is None:
            if len(self._peers) >= self.listener.limits.connections or self._transport is None:
                self.counters.add("connections_refused", f"{self.protocol}/udp")
                return
            waiting = self._peers[peer] = Datagrams()
            task = asyncio.ensure_future(self._serve(peer, waiting))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if data and not waiting.put(data[:_MAX_DATAGRAM]):
            self.counters.add("datagrams_lost", self.protocol)

    def error_received(self, exc: Exception) -> None:
        """A peer that is not there (ICMP) is found out by its silence."""

    async def _serve(self, peer: tuple[str, int], waiting: Datagrams) -> None:
        assert self._transport is not None  # noqa: S101
        connection = Connection(self.listener, waiting, Sender(self._transport, peer))  # type: ignore[arg-type]
        self.counters.add("connections", f"{self.protocol}/udp")
        try:
            await connection.run()
        except Exception:
            self.counters.add("connections_failed", f"{self.protocol}/udp")
            log.exception("gateway.connection_failed", protocol=f"{self.protocol}/udp")
        finally:
            connection.session.closed()
            if self._peers.get(peer) is waiting:
                del self._peers[peer]
