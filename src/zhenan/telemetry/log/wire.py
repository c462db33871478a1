"""The client of NATS, made fit for commits of megabytes: read straight into their place, sent as they lie.

The client that comes from the package copies a message of 2 MB some ten times on its way in and three times on its way
out, in pieces of 32 kB. Everything else it does is left to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, Parser

READ: Final = 262_144  # bytes of small messages that are read at a time
LARGE: Final = 65_536  # bytes from which a message gets a place of its own
_END: Final = b"\r\n"
_LINE: Final = 4096  # bytes that the first line of a message has at most
Direct = Callable[[bytes, bytes, bytes, bytes], None]  # subject, reply, data, headers with their first line
_log = logging.getLogger(__name__)


def _nowhere(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
    pass


class Wire(asyncio.BufferedProtocol):
    """The reading end of a connection. What concerns writing and closing is passed on to the protocol it takes over."""

    def __init__(self, before: asyncio.BaseProtocol, transport: Any) -> None:
        self._before, self._transport = before, transport
        self._room = memoryview(bytearray(READ))
        self._filled = 0
        self._large: memoryview | None = None
        self._have = 0
        self._paused = False
        self._woken = asyncio.Event()
        self.ended = False

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room[self._filled :] if self._large is None else self._large[self._have :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._large is not None:
            self._have += nbytes
            if self._have == len(self._large):
                self._pause()
                self._woken.set()
            return
        self._filled += nbytes
        if self._filled == READ:
            self._pause()
        self._woken.set()

    def _pause(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._transport.resume_reading()
        self._paused = False

    async def take(self) -> bytes:
        """What came since the last call, when something has; b"" at the end."""
        while not self._filled and not self.ended:
            self._woken.clear()
            await self._woken.wait()
        data = bytes(self._room[: self._filled])
        self._filled = 0
        self._resume()
        return data

    async def fill(self, place: bytearray, have: int) -> bool:
        """Read on until `place` is full, of which `have` bytes are there; False when the connection ends before."""
        more = min(self._filled, len(place) - have)
        place[have : have + more] = self._room[:more]
        self._room[: self._filled - more] = bytes(self._room[more : self._filled])
        self._filled, self._have = self._filled - more, have + more
        if self._have < len(place):
            self._large = memoryview(place)
            self._resume()
            while self._have < len(place) and not self.ended:
                self._woken.clear()
                await self._woken.wait()
            self._large.release()
            self._large = None
            self._resume()
        return self._have == len(place)

    def eof_received(self) -> bool | None:
        self._end()
        return self._before.eof_received()  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._before.connection_lost(exc)

    def _end(self) -> None:
        self.ended = True
        self._woken.set()

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()


class WireClient(Client):
    """The package's client with a reader and a writer of our own, on plain connections."""

    def __init__(self) -> None:
        super().__init__()
        self._direct: dict[int, Direct] = {}
        self._half = b""  # the beginning of a message that is not all here

    async def subscribe_direct(self, subject: str, take: Direct) -> Subscription:
        """Hear a subject without anything between: `take` is called as each message is read, its headers unread. Ended
        by `unsubscribe_direct`."""
        found = await self.subscribe(subject)
        self._direct[found._id] = take
        return found

    async def unsubscribe_direct(self, subscription: Subscription) -> None:
        """Hear no more; what is already on its way goes nowhere."""
        self._direct[subscription._id] = _nowhere
        try:
            await subscription.unsubscribe()
        finally:
            del self._direct[subscription._id]

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        take = self._direct.get(sid)
        if take is None:
            await super()._process_msg(sid, subject, reply, data, headers)
        else:
            take(subject, reply, data, headers or b"")

    async def _read_loop(self) -> None:
        transport = self._transport
        reader = getattr(transport, "_io_reader", None)
        writer = getattr(transport, "_io_writer", None)
        if not isinstance(transport, TcpTransport) or reader is None or writer is None:
            await super()._read_loop()
            return
        wire = Wire(writer.transport.get_protocol(), writer.transport)
        early = bytes(reader._buffer)
        reader._buffer.clear()
        wire.ended = reader.at_eof()
        writer.transport.set_protocol(wire)
        self._half = b""
        if reader._paused:
            writer.transport.resume_reading()
        try:
            await self._ps.parse(early)
            while await self._read_on(wire):
                pass
        except nats.errors.ProtocolError:
            await self._process_op_err(nats.errors.ProtocolError())
        except OSError as err:
            await self._process_op_err(err)
        except asyncio.CancelledError:
            pass
        except Exception as err:
            _log.exception("reading from NATS ended")
            await self._process_op_err(err)

    async def _read_on(self, wire: Wire) -> bool:
        """Take what has come; False at the end of the connection."""
        if self.is_closed or self.is_reconnecting:
            return False
        parser = self._ps
        if parser.state == AWAITING_MSG_PAYLOAD and parser.needed >= LARGE:
            if await self._large(wire, parser):
                return True
        elif data := await wire.take():
            await self._parse(data)
            return True
        if not self.is_closed and not self.is_reconnecting:
            gone = nats.errors.UnexpectedEOF()
            await self._error_cb(gone)
            await self._process_op_err(gone)
        return False

    async def _parse(self, data: bytes) -> None:
        """Hand over what is heard directly; all else is the package's."""
        parser = self._ps
        if not (self._direct or self._half) or parser.state != AWAITING_CONTROL_LINE or parser.buf:
            await parser.parse(data)
            return
        data, self._half, at = self._half + data, b"", 0
        while at < len(data):
            begin, at = self._directly(data, at)
            if begin < at:
                await parser.parse(data[begin:at])

    def _directly(self, data: bytes, at: int) -> tuple[int, int]:
        """(where what is the package's begins, where it ends) behind the messages at `at` that are heard directly. The
        beginning of a message is kept until the rest of it comes; one that gets a place of its own is the package's."""
        while data.startswith((b"HMSG ", b"MSG "), at):
            end = data.find(_END, at, at + _LINE)
            if end < 0:
                break
            words = data[at:end].split()
            headed, size, begin = words[0] == b"HMSG", int(words[-1]), end + 2
            after = begin + size + 2
            if after > len(data):
                break
            take = self._direct.get(int(words[2]))
            if take is None:
                return at, after
            middle = begin + (int(words[-2]) if headed else 0)
            reply = words[3] if len(words) == (6 if headed else 5) else b""
            take(words[1], reply, data[middle : begin + size], data[begin:middle])
            at = after
        else:
            end = data.find(_END, at)
            return at, len(data) if end < 0 else end + 2
        if len(data) - at < LARGE and (end < 0 or size < LARGE):
            self._half = data[at:]
            at = len(data)
        return at, len(data)

    async def _large(self, wire: Wire, parser: Parser) -> bool:
        """The rest of a large message, of which the parser has the beginning."""
        place = bytearray(parser.needed + len(_END))
        have = len(parser.buf)
        place[:have] = parser.buf
        parser.buf.clear()
        if not await wire.fill(place, have):
            return False
        header = bytes(place[: parser.header_needed]) or None
        del place[: parser.header_needed], place[-len(_END) :]
        told = parser.msg_arg
        parser.header_needed, parser.state = 0, AWAITING_CONTROL_LINE
        await self._process_msg(told["sid"], told["subject"], told["reply"], place, header)  # type: ignore[arg-type]
        return True

    async def _send_publish(
        self, subject: str, reply: str, payload: bytes, payload_size: int, headers: dict[str, Any] | None
    ) -> None:
        if payload_size < LARGE or headers is None:
            await super()._send_publish(subject, reply, payload, payload_size, headers)
            return
        said = "".join(f"{name.strip()}: {text.strip()}\r\n" for name, text in headers.items())
        head = f"NATS/1.0\r\n{said}\r\n".encode()
        line = f"HPUB {subject} {reply} {len(head)} {len(head) + payload_size}\r\n".encode()
        # All of it at once: another task may send whenever this one waits.
        self._pending += [line + head, payload, _END]
        self._pending_data_size += len(line) + len(head) + payload_size + len(_END)
        self.stats["out_msgs"] += 1
        self.stats["out_bytes"] += payload_size
        await self._flush_pending()
