"""A small HTTP/1.1 server on httptools: bounded heads, bodies, time and memory for each connection; TLS when asked."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import httptools
import structlog

from zhenan.telemetry.gateway.counters import Counters

log = structlog.get_logger("zhenan.gateway")
_LINGER_S: Final = 1.0
_PIPELINED: Final = 16  # requests read ahead on one connection


@dataclass(frozen=True)
class HttpLimits:
    """What one connection and all together may do. Times in seconds, sizes in bytes."""

    head: int = 16_384
    body: int = 4 * 1024 * 1024
    bodies: int = 64 * 1024 * 1024  # of all requests that are being read or worked on
    idle_s: float = 75
    request_s: float = 30  # from a request's first byte to its last
    drain_s: float = 30
    connections: int = 2000


@dataclass
class Request:
    """One request. Header names are in small letters; of one that came twice the last counts."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    peer: str
    body: bytes = b""
    keep_alive: bool = True
    early: Answer | None = None  # decided by its head alone


@dataclass
class Answer:
    """Status, body and further headers."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    close: bool = False

    def encode(self, *, keep_alive: bool) -> bytes:
        """The bytes on the wire."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", f"Content-Length: {len(self.body)}"]
        if self.body:
            lines.append("Content-Type: application/json")
        lines += [f"{name}: {text}" for name, text in self.headers.items()]
        lines.append(f"Connection: {'keep-alive' if keep_alive else 'close'}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace") + self.body


Handle = Callable[[Request], Awaitable[Answer]]
Admit = Callable[[Request], Answer | None]
Refuse = Callable[[int, str], Answer]


class HttpServer:
    """Serves one port. `admit` looks at a request's head before its body is read; `handle` answers it."""

    def __init__(
        self, admit: Admit, handle: Handle, refuse: Refuse, counters: Counters, limits: HttpLimits | None = None
    ) -> None:
        self.admit, self.handle, self.refuse, self.counters = admit, handle, refuse, counters
        self.limits = limits or HttpLimits()
        self.port = 0
        self.bodies = 0  # bytes held
        self.open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port (0 asks for any free one)."""
        loop = asyncio.get_running_loop()
        more: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": 10, "ssl_shutdown_timeout": 2} if tls else {}
        self._server = await loop.create_server(lambda: _Connection(self), host, port, backlog=1024, **more)
        self.port = int(self._server.sockets[0].getsockname()[1])
        log.info("gateway.listening", protocol="https" if tls else "http", host=host, port=self.port)
        return self.port

    async def stop(self, wait_s: float = 3.0) -> None:
        """Take no more; what is being worked on is answered as far as the log allows."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.open):
            connection.finish()
        for _ in range(int(wait_s * 100)):
            if not self.open:
                return
            await asyncio.sleep(0.01)
        for connection in list(self.open):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection: requests are answered one after the other, in their order."""

    def __init__(self, server: HttpServer) -> None:
        self.server, self.limits = server, server.limits
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.transport: Any = None
        self.peer = ""
        self.ready: deque[Request] = deque()
        self.request: Request | None = None
        self.url = b""
        self.fields: dict[str, str] = {}
        self.head = 0  # bytes of the request's head that is being read, 0 between requests
        self.chunks: list[bytes] = []
        self.size = 0
        self.ending = False
        self.working: asyncio.Task[None] | None = None
        self.writable = asyncio.Event()
        self.writable.set()
        self.timer: asyncio.TimerHandle | None = None

    # transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername") or ("?", 0)
        self.peer = f"{peer[0]}:{peer[1]}"
        if len(self.server.open) >= self.limits.connections:
            self.server.counters.add("connections_refused", "http")
            self.abort()
            return
        self.server.open.add(self)
        self.server.counters.add("connections", "http")
        self._wait(self.limits.idle_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self)
        self._wait(0)
        self.writable.set()
        self._forget()
        for request in self.ready:
            self.server.bodies -= len(request.body)
        self.ready.clear()
        self.ending = True

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        if self.request is None and not self.head and self.working is None:
            self._wait(self.limits.request_s)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reject(400, "no other protocol is spoken here")
        except httptools.HttpParserError as err:
            if not self.ending:
                self.server.counters.add("bad_requests", "http")
                self._reject(400, f"not HTTP/1.1: {str(err)[:100]}")

    def eof_received(self) -> bool:
        if self.ending and self.working is None:
            self.transport.close()
        self.finish()
        return bool(self.working)  # half closed: what came whole is still answered

    def finish(self) -> None:
        """Answer what was read as a whole, then close."""
        self.ending = True
        if self.working is None and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        self.ending = True
        if self.transport is not None:
            self.transport.abort()

    # parser

    def on_message_begin(self) -> None:
        self.url, self.head, self.request, self.fields = b"", 1, None, {}

    def on_url(self, url: bytes) -> None:
        self.url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value) + 4)
        self.fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def _count_head(self, size: int) -> None:
        self.head += size
        if self.head > self.limits.head:
            self._reject(431, f"a request's head may have {self.limits.head} bytes")
            raise ValueError("head too long")

    def on_headers_complete(self) -> None:
        try:
            url = httptools.parse_url(self.url)
            path, query = (url.path or b"").decode("ascii"), (url.query or b"").decode("ascii", "replace")
        except (httptools.HttpParserError, UnicodeDecodeError):
            path, query = "", ""
        request = Request(
            self.parser.get_method().decode("ascii"), path, query, self.fields, self.peer,
            keep_alive=self.parser.should_keep_alive(),
        )  # fmt: skip
        self.request = request
        length = self.fields.get("content-length", "")
        if length.isdigit() and int(length) > self.limits.body:
            request.early = self.server.refuse(413, f"a body may have {self.limits.body} bytes; yours has {length}")
        else:
            request.early = self.server.admit(request)
        if request.early is not None:
            request.keep_alive = request.keep_alive and not int(length if length.isdigit() else 0)
        elif self.fields.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.early is not None and not request.keep_alive:
            self._enqueue(request)  # its body is not read
            self.ending = True

    def on_body(self, body: bytes) -> None:
        if self.ending:
            return
        self.size += len(body)
        self.server.bodies += len(body)
        self.chunks.append(body)
        if self.size > self.limits.body:
            self._reject(413, f"a body may have {self.limits.body} bytes")
        elif self.server.bodies > self.limits.bodies:
            self.server.counters.add("overloaded", "http")
            self._reject(503, "too many bodies at once")

    def on_message_complete(self) -> None:
        request, self.request, self.head = self.request, None, 0
        if request is None or self.ending:
            return
        request.body = b"".join(self.chunks)
        self.chunks, self.size = [], 0
        self._enqueue(request)
        if len(self.ready) > _PIPELINED:
            self._reject(429, f"at most {_PIPELINED} requests at once on one connection")

    # answering

    def _enqueue(self, request: Request) -> None:
        self._wait(0)
        self.ready.append(request)
        if self.working is None:
            self.transport.pause_reading()
            self.working = self.loop.create_task(self._work())

    async def _work(self) -> None:
        """Answer what is ready, in order."""
        try:
            while self.ready:
                request = self.ready.popleft()
                try:
                    answer = request.early or await self.server.handle(request)
                finally:
                    self.server.bodies -= len(request.body)
                keep = request.keep_alive and not answer.close and not (self.ending and not self.ready)
                self.transport.write(answer.encode(keep_alive=keep))
                await asyncio.wait_for(self.writable.wait(), self.limits.drain_s)
                if not keep:
                    self.ending = True
                    break
        except TimeoutError:  # it does not read what it asked for
            self.abort()
        except Exception:
            self.server.counters.add("requests_failed", "http")
            log.exception("gateway.request_failed", peer=self.peer)
            self._write(self.server.refuse(500, "a fault of ours; it was written down"))
            self.ending = True
        finally:
            self.working = None
            self._rest()

    def _rest(self) -> None:
        """After the last answer: close, or wait for the next request."""
        if self.ending:
            self._linger()
            return
        with contextlib.suppress(RuntimeError):
            self.transport.resume_reading()
        self._wait(self.limits.request_s if self.head else self.limits.idle_s)

    def _reject(self, status: int, words: str) -> None:
        """Answer what cannot be read to its end, and close."""
        if self.ending:
            return
        self.ending = True
        self._forget()
        if self.working is None:
            self._write(self.server.refuse(status, words))
            self._linger()

    def _linger(self) -> None:
        """Close, but first read on for a moment: closed at once, the peer that still sends would not see its answer."""
        if self.transport.is_closing():
            return
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        with contextlib.suppress(RuntimeError, OSError):
            self.transport.write_eof()
            self.transport.resume_reading()
        self._wait(_LINGER_S)

    def _write(self, answer: Answer) -> None:
        with contextlib.suppress(RuntimeError):
            self.transport.write(answer.encode(keep_alive=False))

    def _forget(self) -> None:
        """Drop the body that is being read."""
        self.server.bodies -= self.size
        self.chunks, self.size = [], 0

    def _wait(self, seconds: float) -> None:
        """Give the peer so long; 0: no limit for now."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if seconds:
            self.timer = self.loop.call_later(seconds, self._expired)

    def _expired(self) -> None:
        if self.ending:
            self.transport.close()
        elif self.head:
            self.server.counters.add("slow_requests", "http")
            self._reject(408, f"a request must come within {self.limits.request_s:g} s")
        else:
            self.server.counters.add("idle", "http")
            self.transport.close()
