"""TCP listeners: frames in, answers out in the order of the frames and only for what is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

import numpy as np
import structlog

from zhenan.telemetry.codecs.base import BadFrame, CodecError, Frame
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway import quarantine, quick, quick_jt808
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.quarantine import Refusal
from zhenan.telemetry.gateway.quick import Quick
from zhenan.telemetry.gateway.quick_jt808 import QuickJt808
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
        self.quick: Quick | QuickJt808 | None = None
        self.warming: asyncio.Task[None] | None = None
        self.port = 0
        self.open: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port (0 asks for any free one)."""
        more: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": 10, "ssl_shutdown_timeout": 2} if tls else {}
        self.warming = asyncio.create_task(self.warm())
        self._server = await asyncio.start_server(self._serve, host, port, limit=_READ, backlog=1024, **more)
        self.port = int(self._server.sockets[0].getsockname()[1])
        log.info("gateway.listening", protocol=self.protocol, host=host, port=self.port, tls=tls is not None)
        return self.port

    async def warm(self) -> None:
        """Compile (or load) the loops for the common frames. Until that is done every frame is read singly: devices
        need not wait for the compiler."""
        known: Quick | QuickJt808
        if self.protocol == quick.PROTOCOL:
            known = Quick(self.intake.registry)
        elif self.protocol == quick_jt808.PROTOCOL:
            known = QuickJt808(self.intake.registry)
        else:
            return
        try:
            await asyncio.to_thread(known.warm_up)
            await asyncio.to_thread(Seconds().spread, np.zeros(1, np.int32), np.zeros(1, np.int64))
        except Exception as err:  # whatever the compiler had: frames are read singly from now on, and it is said
            log.exception("gateway.not_compiled", protocol=self.protocol, error=repr(err))
            return
        self.quick = known

    async def stop(self) -> None:
        """Take no more; what was taken is answered as far as the log allows."""
        if self.warming is not None:
            self.warming.cancel()
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
            connection.session.closed()
            with contextlib.suppress(Exception):
                writer.close()


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
        self.session.opened(writer.write, self.close)

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
                async with asyncio.timeout(wait_s):
                    data = await self.reader.read(_READ)
            except TimeoutError:
                if not splitter.pending:
                    self.listener.counters.add("idle", self.listener.protocol)
                    return
                items = splitter.expire()
            else:
                if data and self.listener.quick is not None and not splitter.pending and self.session.met:
                    data = await self._quickly(data, self.listener.quick)
                    if not data:
                        continue
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
                await self._share(1)
            elif isinstance(item, BadFrame):
                self._bad(item.raw, item.reason)
            if self.bad >= self.listener.limits.bad_in_a_row:
                self.listener.counters.add("closed_for_garbage", self.listener.protocol)
                return False
        return True

    async def _share(self, frames: int) -> None:
        """A device that sends more than its share is read more slowly; TCP makes it wait."""
        bucket = self.listener.buckets.of(self.identity or self.peer, now_ms())
        bucket.spend(frames - 1, now_ms())
        wait_ms = bucket.wait_ms(now_ms())
        if wait_ms > 0:
            self.listener.counters.add("slowed", self.listener.protocol)
            await asyncio.sleep(wait_ms / 1000)

    async def _quickly(self, data: bytes, known: Quick | QuickJt808) -> bytes:
        """Take the whole frames that a read begins with, those of the common kind together; what is behind them."""
        at = now_ms()
        read = known.read(data, at)
        if read is None:
            return data
        slow, torn, session = read.said.slow.tolist(), self.listener.intake.torn, self.session
        frames = [data[start:end] for start, end in zip(read.starts, read.ends, strict=True)]
        if torn:
            slow = [not_plain or known.key_of(raw) in torn for raw, not_plain in zip(frames, slow, strict=True)]
        first = 0
        while first < len(frames):
            await self.listener.intake.room()
            last = first
            while last < len(frames) and not slow[last] and known.fits(session, frames[last]):
                last += 1
            if last > first:
                await self._run(known, data, frames, read, first, last, at)
            else:
                await self._frame(frames[first])
                last = first + 1
            await self._share(last - first)
            first = last
        return read.rest

    async def _run(
        self, known: Quick | QuickJt808, data: bytes, frames: list[bytes], read: quick.Read, first: int, last: int,
        at: int,
    ) -> None:  # fmt: skip
        """Frames first … last - 1 of a read, all understood."""
        intake, protocol = self.listener.intake, self.listener.protocol
        fresh, keys = np.ones(last - first, np.bool_), dict[bytes, None]()
        before: list[asyncio.Future[None] | None] = []
        for n in range(first, last):
            key, done = known.key_of(frames[n]), None
            if key in keys or (done := intake.again(key)) is not None:
                fresh[n - first] = False
                self.listener.counters.add("again", protocol)
            else:
                keys[key] = None
            before.append(done)
        self.bad = 0
        self.listener.counters.add("frames", protocol, last - first)
        identity = known.identity(frames[first])
        self._know(Taken(identity, None))
        stored: asyncio.Future[None] | None = None
        if keys:
            rows, which = read.said, quick.chosen(read.said, first, last, fresh)
            columns = Columns(rows.point[which], rows.ts[which], rows.value[which], rows.quality[which])
            self.listener.seconds.spread(columns.point, columns.ts)
            positions = known.positions(data, read, first + np.flatnonzero(fresh), identity, at)
            stored = intake.take(columns, keys=list(keys), positions=positions)
        for done, reply in zip(before, known.answers(self.session, frames[first:last], at), strict=True):
            await self.answers.put((done or stored, reply))

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
        if taken.key is not None and self.listener.protocol == quick.PROTOCOL:
            taken.key = quick.key_of(raw)  # however a frame was read: its resend may be read the other way
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

    def _store(self, taken: Taken, raw: bytes, at: int) -> asyncio.Future[None]:
        refusals: list[Refusal] = []

        def refuse(reason: str, detail: str, count: int, decoded: object, frame: bytes = b"") -> None:
            refusals.append(
                Refusal(reason=reason, protocol=self.listener.protocol, device_key=taken.identity[:_MAX_KEY],
                        peer=self.peer, received_ms=at, raw=frame, decoded=decoded, detail=detail[:300], count=count)
            )  # fmt: skip

        rows: Columns | None = None
        if taken.problem is not None:
            reason, detail = taken.problem
            known = {**(taken.decoded or {}), "readings": shown(taken.readings)}
            count = max(1, len(taken.readings)) if taken.device is None else 1
            refuse(reason, detail, count, known, raw)
        if taken.device is not None and taken.readings:
            mapped = map_readings(taken.device, taken.readings, at)
            rows = mapped.rows.columns()
            self.listener.seconds.spread(rows.point, rows.ts)
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
        """Send answers in the order of their frames, each once its frame is on disk; those of one commit together."""
        ended = False
        while not ended:
            items = [await self.answers.get()]
            while not self.answers.empty():
                items.append(self.answers.get_nowait())
            ended = None in items
            for done, together in groupby(filter(None, items), itemgetter(0)):
                if done is None or await self._stored(done):
                    await self._write([reply for _, reply in together])

    async def _stored(self, done: asyncio.Future[None]) -> bool:
        """Wait for a commit; False when the log is lost to this process: nothing more may be acknowledged."""
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            raise
        except Exception:
            self.close()
            return False
        return True

    async def _write(self, replies: list[bytes]) -> None:
        try:
            self.writer.writelines(replies)
            async with asyncio.timeout(self.listener.limits.drain_s):
                await self.writer.drain()
        except (ConnectionError, TimeoutError):  # gone, or does not read what it asked for
            self.writer.transport.abort()
            self.close()
