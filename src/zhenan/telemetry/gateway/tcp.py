"""TCP listeners: frames in, answers out in the order of the frames and only for what is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from zhenan.telemetry.codecs.base import BadFrame, CodecError, Frame
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.quarantine import Refusal
from zhenan.telemetry.gateway.registry import map_readings, shown
from zhenan.telemetry.gateway.seconds import Seconds
from zhenan.telemetry.gateway.sessions import Session, Taken
from zhenan.telemetry.tracks.stream import positions_of

log = structlog.get_logger("zhenan.gateway")
_READ: Final = 65_536
_MAX_KEY: Final = 64  # characters of an identity that are kept with a refusal


@dataclass(frozen=True)
class Limits:
    """What one connection may do. Times in seconds."""

    idle_s: float = 180
    partial_s: float = 10
    drain_s: float = 30
    bad_in_a_row: int = 16
    unanswered: int = 256  # frames whose answer waits for the disk
    frames_per_s: float = 200
    burst: float = 1000
    connections: int = 20_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Listener:
    """One TCP port of one protocol."""

    def __init__(self, protocol: str, session: Callable[[], Session], intake: Intake, counters: Counters,
                 limits: Limits | None = None) -> None:  # fmt: skip
        self.protocol, self.session, self.intake, self.counters = protocol, session, intake, counters
        self.limits = limits or Limits()
        self.buckets = Buckets(self.limits.frames_per_s, self.limits.burst)
        self.seconds = Seconds()
        self.port = 0
        self.open: set[Connection] = set()
        self.by_identity: dict[str, Connection] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port (0 asks for any free one)."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_READ, backlog=1024)
        self.port = int(self._server.sockets[0].getsockname()[1])
        log.info("gateway.listening", protocol=self.protocol, host=host, port=self.port)
        return self.port

    async def stop(self) -> None:
        """Take no more; what was taken is answered as far as the log allows."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.open):
            connection.close()
        for _ in range(300):
            if not self.open:
                return
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self.open) >= self.limits.connections:
            self.counters.add("connections_refused", self.protocol)
            writer.close()
            return
        connection = Connection(self, reader, writer)
        self.open.add(connection)
        self.counters.add("connections", self.protocol)
        try:
            await connection.run()
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            pass
        except Exception:
            self.counters.add("connections_failed", self.protocol)
            log.exception("gateway.connection_failed", protocol=self.protocol, device=connection.identity[:_MAX_KEY])
        finally:
            self.open.discard(connection)
            if self.by_identity.get(connection.identity) is connection:
                del self.by_identity[connection.identity]
            with contextlib.suppress(Exception):
                writer.close()

    def bind(self, identity: str, connection: Connection) -> None:
        """The newest connection of an identity is the one that counts."""
        older = self.by_identity.get(identity)
        self.by_identity[identity] = connection
        if older is not None and older is not connection:
            self.counters.add("superseded", self.protocol)
            older.close()


class Connection:
    """One device's connection."""

    def __init__(self, listener: Listener, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.listener, self.reader, self.writer = listener, reader, writer
        self.session = listener.session()
        peer = writer.get_extra_info("peername") or ("?", 0)
        self.peer = f"{peer[0]}:{peer[1]}"
        self.identity = ""
        self.bad = 0
        self.answers: asyncio.Queue[tuple[asyncio.Future[None] | None, bytes] | None] = asyncio.Queue(
            listener.limits.unanswered
        )

    def close(self) -> None:
        """End it; what was read is still answered."""
        self.reader.feed_eof()

    async def run(self) -> None:
        """Until the device hangs up, falls silent or sends nothing but garbage."""
        answering = asyncio.create_task(self._answer())
        try:
            await self._read()
        finally:
            await self.answers.put(None)
            await answering

    async def _read(self) -> None:
        limits, splitter = self.listener.limits, self.session.splitter
        while True:
            wait_s = limits.partial_s if splitter.pending else limits.idle_s
            try:
                data = await asyncio.wait_for(self.reader.read(_READ), wait_s)
            except TimeoutError:
                if not splitter.pending:
                    self.listener.counters.add("idle", self.listener.protocol)
                    return
                items = splitter.expire()
            else:
                items = splitter.feed(data) if data else splitter.expire()
                if not data:
                    await self._take(items)
                    return
            if not await self._take(items):
                return

    async def _take(self, items: object) -> bool:
        """Handle what the splitter found; False when the connection is to be closed."""
        for item in items:  # type: ignore[attr-defined]
            if isinstance(item, Frame):
                await self.listener.intake.room()
                await self._frame(item.raw)
                # A device that sends more than its share is read more slowly; TCP makes it wait.
                wait_ms = self.listener.buckets.of(self.identity or self.peer, now_ms()).wait_ms(now_ms())
                if wait_ms > 0:
                    self.listener.counters.add("slowed", self.listener.protocol)
                    await asyncio.sleep(wait_ms / 1000)
            elif isinstance(item, BadFrame):
                self._bad(item.raw, item.reason)
            if self.bad >= self.listener.limits.bad_in_a_row:
                self.listener.counters.add("closed_for_garbage", self.listener.protocol)
                return False
        return True

    async def _frame(self, raw: bytes) -> None:
        at = now_ms()
        try:
            taken = self.session.take(raw, at)
        except CodecError as err:
            self._bad(raw, err.reason)
            return
        self.bad = 0
        counters, protocol = self.listener.counters, self.listener.protocol
        counters.add("frames", protocol)
        self._know(taken)
        done: asyncio.Future[None] | None = None
        if taken.key is not None:
            done = self.listener.intake.again(taken.key)
            if done is not None:
                counters.add("again", protocol)
        if done is None and (taken.readings or taken.problem):
            done = self._store(taken, raw, at)
        if taken.reply is not None:
            await self.answers.put((done, taken.reply))

    def _know(self, taken: Taken) -> None:
        """Bind the connection to who it says it is; another name later is worth a line in the log."""
        if not taken.identity or taken.identity == self.identity:
            return
        if self.identity:
            self.listener.counters.add("identity_changed", self.listener.protocol)
            log.warning(
                "gateway.identity_changed",
                protocol=self.listener.protocol,
                was=self.identity,
                now=taken.identity[:_MAX_KEY],
            )
            return
        self.identity = taken.identity
        if self.listener.protocol == "jt808":
            self.listener.bind(taken.identity, self)

    def _store(self, taken: Taken, raw: bytes, at: int) -> asyncio.Future[None]:
        refusals: list[Refusal] = []

        def refuse(reason: str, detail: str, count: int, decoded: object, frame: bytes = b"") -> None:
            refusals.append(
                Refusal(reason=reason, protocol=self.listener.protocol, device_key=taken.identity[:_MAX_KEY],
                        peer=self.peer, received_ms=at, raw=frame, decoded=decoded, detail=detail[:300], count=count)
            )  # fmt: skip

        rows = None
        if taken.problem is not None:
            reason, detail = taken.problem
            known = {**(taken.decoded or {}), "readings": shown(taken.readings)}
            count = max(1, len(taken.readings)) if taken.device is None else 1
            refuse(reason, detail, count, known, raw)
        if taken.device is not None and taken.readings:
            mapped = map_readings(taken.device, self.listener.seconds.spread(taken.readings), at)
            rows = mapped.rows
            if mapped.future:
                refuse(quarantine.FUTURE, "the device's clock is ahead", len(mapped.future),
                       {"readings": shown(mapped.future)}, raw)  # fmt: skip
            for channel in mapped.unmapped:
                self.listener.counters.add("unmapped", self.listener.protocol)
                refuse(quarantine.UNMAPPED, channel, 1, None)
        device_id = taken.device.id if taken.device is not None else None
        positions = positions_of(self.listener.protocol, device_id, taken.decoded, at)
        return self.listener.intake.take(rows, key=taken.key, refusals=refusals, positions=positions)

    def _bad(self, raw: bytes, reason: str) -> None:
        """Count and keep a broken frame. It is never answered: its sender will send it again."""
        self.bad += 1
        self.listener.counters.add("bad_frames", f"{self.listener.protocol}.{reason}")
        refusal = Refusal(
            reason=quarantine.MALFORMED, protocol=self.listener.protocol, device_key=self.identity[:_MAX_KEY],
            peer=self.peer, received_ms=now_ms(), raw=raw, detail=reason,
        )  # fmt: skip
        self.listener.intake.take(refusals=[refusal])

    async def _answer(self) -> None:
        """Send answers in the order of their frames, each once its frame is on disk."""
        while (item := await self.answers.get()) is not None:
            done, reply = item
            if done is not None:
                try:
                    await asyncio.shield(done)
                except asyncio.CancelledError:
                    raise
                except Exception:  # the log is lost to this process: nothing more may be acknowledged
                    self.close()
                    continue
            try:
                self.writer.write(reply)
                await asyncio.wait_for(self.writer.drain(), self.listener.limits.drain_s)
            except (ConnectionError, TimeoutError):  # gone, or does not read what it asked for
                self.writer.transport.abort()
                self.close()
