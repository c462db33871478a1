"""Readings over HTTP: JSON arrays, line protocol, packed columns. The answer comes when they are on disk.

`POST /ingest/json`, `/ingest/line?precision=ns|us|ms|s` (also `/write`, `/api/v2/write`), `/ingest/columns`. Every row
is taken or named with its reason. The whole surface is described in docs/api.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import ssl
import zlib
from collections import OrderedDict
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import pyarrow as pa
import structlog

from zhenan.telemetry.codecs import influx
from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.rows import WORDS
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.bulk import PROTOCOL, Bulk, Outcome, known_of
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.http_server import Answer, HttpLimits, HttpServer, Request
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.keys import Key, Keys
from zhenan.telemetry.gateway.message_key import DIGEST
from zhenan.telemetry.gateway.quarantine import Refusal
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.gateway.tcp import now_ms

log = structlog.get_logger("zhenan.gateway")
ROUTES: Final = {
    "/ingest/json": "json", "/ingest/line": "line", "/ingest/columns": "columns",
    "/write": "line", "/api/v2/write": "line",
}  # fmt: skip
UNPACKED: Final = 32 * 1024 * 1024  # bytes of a body, unpacked
_ASIDE: Final = 262_144  # bytes from which a body is read in another thread, so that devices need not wait for it
_PATIENCE_S: Final = 30.0  # how long a request waits for the log
_ANSWERS: Final = 10_000  # kept for those who ask again
_KEY_LENGTH: Final = 200
_REASONS: Final = {
    "json": "the body is not JSON", "utf8": "the body is not UTF-8", "depth": "the JSON is nested too deeply",
    "shape": "the body must be a JSON array of rows", "too_many": "too many rows in one request",
}  # fmt: skip


def refuse(status: int, words: str, code: str = "", **more: Any) -> Answer:
    """An answer that says no, with a stable code and a sentence."""
    names = {400: "bad_request", 401: "unauthorised", 404: "not_found", 405: "wrong_method", 408: "too_slow",
             409: "key_reused", 413: "too_large", 415: "unknown_encoding", 429: "too_many", 431: "head_too_large",
             500: "fault", 503: "try_later"}  # fmt: skip
    body = msgspec.json.encode({"code": code or names[status], "detail": words, **more})
    headers = {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": "POST"}, 503: {"Retry-After": "2"}}.get(status, {})
    return Answer(status, body, dict(headers))


class HttpIngest:
    """The HTTP listener of the gateway."""

    def __init__(
        self, registry: Registry, keys: Keys, intake: Intake, counters: Counters, limits: HttpLimits | None = None,
        *, patience_s: float = _PATIENCE_S,
    ) -> None:  # fmt: skip
        self.keys, self.intake, self.counters, self.patience_s = keys, intake, counters, patience_s
        self.bulk = Bulk(registry)
        self.server = HttpServer(self._admit, self._handle, refuse, counters, limits)
        self._answers: OrderedDict[bytes, tuple[bytes, Answer]] = OrderedDict()
        self._under_way: dict[bytes, tuple[bytes, asyncio.Future[Answer]]] = {}

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Compile what is to be compiled, then listen. Returns the port."""
        await asyncio.to_thread(warm_up)
        await asyncio.to_thread(self.bulk.registry.now.derived, known_of)
        return await self.server.start(host, port, tls)

    async def stop(self) -> None:
        await self.server.stop()

    # before the body is read

    def _admit(self, request: Request) -> Answer | None:
        if request.path not in ROUTES:
            return refuse(404, f"no such address; there are {', '.join(ROUTES)}")
        if request.method != "POST":
            return refuse(405, "readings are sent by POST")
        key = self._key(request)
        if key is None:
            self.counters.add("unauthorised", "http")
            return refuse(401, "send a good API key: Authorization: Bearer KEY")
        if request.headers.get("content-encoding", "identity") not in ("identity", "gzip", "zstd"):
            return refuse(415, "a body comes as it is, or packed with gzip or zstd")
        wait_ms = self.keys.wait_ms(key, now_ms())
        if wait_ms > 0:
            self.counters.add("slowed", "http")
            answer = refuse(429, f"this key may send {key.readings_per_s:g} readings/s, {key.burst:g} at once")
            answer.headers["Retry-After"] = str(math.ceil(wait_ms / 1000))
            return answer
        return None

    def _key(self, request: Request) -> Key | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ("bearer", "token") or not token.strip():
            return None
        return self.keys.find(token.strip(), now_ms())

    # with it

    async def _handle(self, request: Request) -> Answer:
        key = self._key(request)
        if key is None:  # revoked while its body came
            return refuse(401, "send a good API key: Authorization: Bearer KEY")
        self.counters.add("requests", ROUTES[request.path])
        given = request.headers.get("idempotency-key", "")
        if not given:
            return await self._ingest(request, key, None)
        if len(given) > _KEY_LENGTH:
            return refuse(400, f"an Idempotency-Key may have {_KEY_LENGTH} characters")
        return await self._once(request, key, given)

    async def _once(self, request: Request, key: Key, given: str) -> Answer:
        """The same key again: the same answer, and nothing stored twice."""
        name = hashlib.blake2b(f"http\0{key.id}\0{given}".encode(), digest_size=DIGEST).digest()
        content = hashlib.blake2b(f"{request.path}?{request.query}\0".encode() + request.body, digest_size=16).digest()
        known = self._answers.get(name) or self._under_way.get(name)
        if known is not None:
            if known[0] != content:
                return refuse(409, "this Idempotency-Key came before with another body")
            self.counters.add("again", "http")
            return known[1] if isinstance(known[1], Answer) else await asyncio.shield(known[1])
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._under_way[name] = (content, done)
        answer = refuse(503, "the request was given up; send it again")
        try:
            answer = await self._ingest(request, key, name)
            return answer
        finally:
            del self._under_way[name]
            done.set_result(answer)
            if answer.status == 200:
                self._answers[name] = (content, answer)
                if len(self._answers) > _ANSWERS:
                    self._answers.popitem(last=False)

    async def _ingest(self, request: Request, key: Key, name: bytes | None) -> Answer:
        at = now_ms()
        try:
            if len(request.body) >= _ASIDE or request.headers.get("content-encoding", "identity") != "identity":
                outcome = await asyncio.to_thread(self._read, request, key, at)
            else:
                outcome = self._read(request, key, at)
        except _TooLarge as err:
            return refuse(413, str(err))
        except CodecError as err:
            return await self._malformed(request, key, at, err.reason)
        except ValueError as err:
            return await self._malformed(request, key, at, str(err))
        try:
            async with asyncio.timeout(self.patience_s):
                await self.intake.room()
                await asyncio.shield(self._store(request, key, outcome, name, at))
        except TimeoutError:
            self.counters.add("log_too_slow", "http")
            return refuse(503, "the log does not answer; send it again with the same Idempotency-Key")
        except Exception as err:  # the log is lost to this process: nothing more may be acknowledged
            log.warning("gateway.request_not_stored", error=repr(err))
            return refuse(503, "the log is not ours any more; send it again")
        return _told(outcome)

    def _read(self, request: Request, key: Key, at: int) -> Outcome:
        body = unpacked(request.body, request.headers.get("content-encoding", "identity"))
        kind, most = ROUTES[request.path], self.intake.most
        if kind == "json":
            return self.bulk.json(body, key, at, most)
        if kind == "columns":
            return self.bulk.columns(body, key, at, most)
        unit = parse_qs(request.query).get("precision", ["ns"])[-1]
        if unit not in influx.PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(influx.PRECISIONS)}; got {unit[:20]}")
        return self.bulk.lines(body, key, at, most, unit)

    def _store(self, request: Request, key: Key, outcome: Outcome, name: bytes | None, at: int) -> asyncio.Future[None]:
        if name is not None and (done := self.intake.again(name)) is not None:  # stored by the process before this one
            self.counters.add("again", "http")
            return done
        taken, refused = len(outcome.columns), sum(outcome.refused.values())
        self.keys.spend(key, taken + refused, at)
        self.counters.add("http_readings", "", taken)
        return self.intake.take(outcome.columns, key=name, refusals=outcome.refusals(key, request.peer, at))

    async def _malformed(self, request: Request, key: Key, at: int, why: str) -> Answer:
        """Nothing of the body can be taken: it is kept, counted and said."""
        if why == "too_many":
            return refuse(413, f"a request may have {self.intake.most} rows")
        words = _REASONS.get(why, why)
        self.counters.add("bad_requests", "http")
        self.keys.spend(key, 1, at)
        refusal = Refusal(
            reason=quarantine.MALFORMED, protocol=PROTOCOL, peer=request.peer, received_ms=at, raw=request.body,
            detail=f"API key {key.name}: {words}"[:300],
        )  # fmt: skip
        self.intake.take(refusals=[refusal])
        return refuse(400, words)


class _TooLarge(ValueError):
    """A body that unpacks to more than may be."""


def _told(outcome: Outcome) -> Answer:
    """200: what was taken, and each refused row (the first hundred) with its reason."""
    refused = sum(outcome.refused.values())
    body: dict[str, Any] = {"taken": len(outcome.columns), "refused": refused}
    if refused:
        body["errors"] = [
            {"row": fault.row, "reason": WORDS[fault.status], "detail": fault.detail} for fault in outcome.told
        ]
    return Answer(200, msgspec.json.encode(body))


def unpacked(body: bytes, encoding: str, most: int = UNPACKED) -> bytes:
    """The body without its content encoding. Raises ValueError when it is damaged, or unpacks to more than `most`."""
    if encoding == "identity":
        return body
    try:
        if encoding == "gzip":
            unpacker = zlib.decompressobj(wbits=31)
            found = unpacker.decompress(body, most + 1)
            whole = unpacker.eof and not unpacker.unused_data
        else:
            with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
                found = stream.read(most + 1)
            whole = True
    except (zlib.error, OSError) as err:
        raise ValueError(f"the body is not {encoding}, or damaged") from err
    if len(found) > most:
        raise _TooLarge(f"a body may unpack to {most} bytes")
    if not whole:
        raise ValueError(f"the body is not {encoding}, or cut off")
    return found


def warm_up() -> None:
    """Compile (or load) the scans now, so that the first request does not wait for it."""
    bulk, key = Bulk(Registry()), Key(0, "", b"", 1, 1)
    bulk.json(b'[{"d":"a","m":"b","v":1}]', key, 0, 1)
    bulk.lines(b"a b=1 1", key, 0, 1, "ms")
    bulk.columns(Outcome(bulk.json(b"[]", key, 0, 1).columns).columns.pack(), key, 0, 1)
