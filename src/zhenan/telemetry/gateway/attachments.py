"""The port to which terminals bring the files of their active-safety alarms (T/JSATL 12 and relatives).

The connection has no sign-in. What lets a terminal in is the alarm number that the platform gave it in 0x9208: it
holds the time of asking and a signature over terminal and alarm, so that it cannot be guessed, used by another
terminal, for another alarm, or after its time; and once the files are here they are not taken again. Names are the
sender's claim: they choose among the files listed, and never a path.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, NamedTuple

import msgspec
import structlog

from zhenan.telemetry.codecs import jt808
from zhenan.telemetry.codecs.base import CodecError, Decoded, Frame
from zhenan.telemetry.gateway.counters import Counters

log = structlog.get_logger("zhenan.gateway")
NUMBER_TIME: Final = 8  # hex digits of a number that say when it was given (seconds); the rest is the signature
SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".mp4", ".avi", ".h264", ".wav", ".mp3", ".aac", ".amr", ".txt", ".bin", ".csv"}
)
_CHUNK_NAME: Final = 50  # bytes of a name in a raw packet
_READ: Final = 65_536
_MOST_RANGES: Final = 255


class Address(NamedTuple):
    """Where terminals find the attachment port."""

    host: str
    port: int


@dataclass(frozen=True)
class Limits:
    """What one alarm and one connection may bring. Bytes and seconds."""

    file_bytes: int = 20 * 1024 * 1024
    alarm_bytes: int = 64 * 1024 * 1024
    files: int = 16
    window_s: int = 24 * 3600
    idle_s: float = 60
    connections: int = 256
    bad_in_a_row: int = 16


@dataclass(frozen=True)
class FileOf:
    """One whole file. `path` holds its bytes until the call that takes it returns."""

    number: str
    phone: str
    alarm_key: Mapping[str, Any]
    name: str
    kind: int  # 0 picture, 1 audio, 2 video, 3 text, 4 other
    size: int
    sha256: str
    path: Path


Store = Callable[[FileOf], Awaitable[None]]
Stored = Callable[[str], Awaitable[set[str]]]


def _signature(secret: bytes, phone: str, key: Mapping[str, Any], issued: str) -> str:
    said = msgspec.msgpack.encode((issued, phone.lstrip("0").lower(), key["terminal_id"], key["time"], key["seq"]))
    return hmac.new(secret, b"files" + said, hashlib.sha256).hexdigest()[: 32 - NUMBER_TIME]


def number_of(secret: bytes, phone: str, key: Mapping[str, Any], now_ms: int) -> str:
    """The number (32 hex digits) under which a terminal may bring the files of an alarm.

    Equal for the whole day (UTC), so that asking twice for the same files names them the same.
    """
    issued = f"{now_ms // 86_400_000 * 86_400:08x}"
    return issued + _signature(secret, phone, key, issued)


def is_ours(number: str, secret: bytes, phone: str, key: Mapping[str, Any], now_ms: int, window_s: int) -> bool:
    """Whether we gave this number to this terminal for this alarm, not longer ago than the window."""
    issued = number[:NUMBER_TIME]
    try:
        age_s = now_ms // 1000 - int(issued, 16)
    except ValueError:
        return False
    good = hmac.compare_digest(
        number[NUMBER_TIME:].encode("utf-8", "replace"), _signature(secret, phone, key, issued).encode()
    )
    return good and 0 <= age_s < window_s + 86_400


@dataclass
class _File:
    """One file on its way. `have`: merged [from, to) ranges, ascending."""

    name: str
    size: int
    handle: BinaryIO
    path: Path
    have: list[tuple[int, int]] = field(default_factory=list)
    begun: bool = False
    done: bool = False
    written: int = 0  # bytes taken, also those that came twice

    def add(self, at: int, data: bytes) -> None:
        self.handle.seek(at)
        self.handle.write(data)
        self.written += len(data)
        merged: list[tuple[int, int]] = []
        for begin, stop in sorted([*self.have, (at, at + len(data))]):
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
            else:
                merged.append((begin, stop))
        self.have = merged

    def missing(self) -> list[tuple[int, int]]:
        """(offset, length) of what has not come."""
        found, at = [], 0
        for begin, stop in self.have:
            if begin > at:
                found.append((at, begin - at))
            at = stop
        if at < self.size:
            found.append((at, self.size - at))
        return found


class Refused(Exception):
    """What a terminal brings is not taken; the text is a short stable word."""


class AttachmentServer:
    """One TCP port for files.

    Args:
        secret: the one with which alarm numbers were made.
        store: takes a whole file; it is told done when this returns.
        stored: the names of the files of an alarm number that are here already.
        folder: where files wait until they are whole.
    """

    def __init__(
        self, secret: bytes, store: Store, stored: Stored, counters: Counters, *, folder: Path,
        limits: Limits | None = None, clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self.secret, self.store, self.stored, self.counters = secret, store, stored, counters
        self.folder, self.limits, self.clock = folder, limits or Limits(), clock
        self.port = 0
        self._open: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port (0 asks for any free one)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_server(self._serve, host, port, limit=_READ)
        self.port = int(self._server.sockets[0].getsockname()[1])
        log.info("gateway.listening", protocol="attachments", host=host, port=self.port)
        return self.port

    async def stop(self) -> None:
        """Take no more; files not yet whole are asked for again another time."""
        if self._server is not None:
            self._server.close()
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        try:
            if len(self._open) >= self.limits.connections:
                self.counters.add("connections_refused", "attachments")
                return
            self._open.add(task)
            self.counters.add("connections", "attachments")
            with tempfile.TemporaryDirectory(dir=self.folder) as name:
                await _Bringing(self, reader, writer, Path(name)).run()
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # gone, silent, or we stop: what is not whole is asked for again
        except Exception:
            self.counters.add("connections_failed", "attachments")
            log.exception("gateway.connection_failed", protocol="attachments")
        finally:
            self._open.discard(task)
            with contextlib.suppress(Exception):
                writer.close()


class _Bringing:
    """One connection: a list, then file after file."""

    def __init__(
        self, server: AttachmentServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, folder: Path
    ) -> None:
        self.server, self.reader, self.writer, self.folder = server, reader, writer, folder
        self.splitter = jt808.Splitter(files=True)
        self.files: dict[str, _File] = {}
        self.number = self.phone = ""
        self.key: Mapping[str, Any] = {}
        self._serial = 0
        self._bad = 0

    async def run(self) -> None:
        """Until the terminal hangs up, is silent for too long, or brings what it may not."""
        try:
            while data := await asyncio.wait_for(self.reader.read(_READ), self.server.limits.idle_s):
                for item in self.splitter.feed(data):
                    await self._take(item)
                await self.writer.drain()
        except Refused as err:
            self.server.counters.add("files_refused", str(err))
            log.warning("gateway.files_refused", why=str(err), terminal=self.phone[:20])
            with contextlib.suppress(ConnectionError, TimeoutError):
                await asyncio.wait_for(self.writer.drain(), 5)
        finally:
            for one in self.files.values():
                one.handle.close()

    async def _take(self, item: Any) -> None:
        """Handle what the splitter found; so much in a row that is of no use ends the connection."""
        good = False
        if isinstance(item, jt808.FileChunk):
            good = self._chunk(item)
        elif isinstance(item, Frame):
            with contextlib.suppress(CodecError):
                await self._frame(jt808.parse(item.raw))
                good = True
        if good:
            self._bad = 0
        else:
            self._count_bad()

    def _count_bad(self) -> None:
        self._bad += 1
        self.server.counters.add("bad_frames", "attachments")
        if self._bad >= self.server.limits.bad_in_a_row:
            raise Refused("garbage")

    def _next(self) -> int:
        self._serial = self._serial + 1 & 0xFFFF
        return self._serial

    def _answer(self, decoded: Decoded, result: int) -> None:
        self.writer.write(jt808.general_response(decoded, self._next(), result))

    async def _frame(self, decoded: Decoded) -> None:
        kind = decoded["msg_id"]
        if "body" not in decoded or "body_error" in decoded:
            self._answer(decoded, jt808.WRONG)
            return
        try:
            if kind == "0x1210":
                await self._list(decoded)
            elif kind == "0x1211":
                self._begin(decoded["body"])
            elif kind == "0x1212":
                await self._end(decoded)
                return
            elif kind == "0x0001":
                return
        except Refused:
            self._answer(decoded, jt808.FAILED)
            raise
        self._answer(decoded, jt808.OK)

    async def _list(self, decoded: Decoded) -> None:
        body, limits, server = decoded["body"], self.server.limits, self.server
        if self.number:
            raise Refused("second_list")
        number, phone, key = body["alarm_no"], decoded["phone"], body["alarm_key"]
        if not is_ours(number, server.secret, phone, key, server.clock(), limits.window_s):
            raise Refused("number")
        sizes = [one["size"] for one in body["files"]]
        names = [one["name"] for one in body["files"]]
        if len(names) > limits.files or len(set(names)) != len(names):
            raise Refused("files")
        if any(not 0 < size <= limits.file_bytes for size in sizes) or sum(sizes) > limits.alarm_bytes:
            raise Refused("size")
        if any(suffix_of(name) not in SUFFIXES for name in names):
            raise Refused("suffix")
        here = await server.stored(number)
        if names and here.issuperset(names):
            raise Refused("done_before")
        self.number, self.phone, self.key = number, phone, key
        for place, (name, size) in enumerate(zip(names, sizes, strict=True)):
            path = self.folder / f"{place}.part"  # our own name: theirs never becomes a path
            self.files[name] = _File(name, size, path.open("w+b"), path, done=name in here)

    def _begin(self, body: Decoded) -> None:
        found = self.files.get(body["name"])
        if found is None:
            raise Refused("not_listed")
        if found.size != body["size"]:
            raise Refused("size")
        found.begun = True

    def _chunk(self, chunk: jt808.FileChunk) -> bool:
        """Bytes of a file that is on its way. False for what was not announced; what does not fit ends it all."""
        found = self.files.get(chunk.name) or next(
            (one for one in self.files.values() if _cut(one.name) == chunk.name), None
        )
        if found is None or not found.begun or found.done:
            self.server.counters.add("chunks_dropped", "attachments")
            return False
        if chunk.at + len(chunk.data) > found.size:
            raise Refused("beyond_the_end")
        if found.written + len(chunk.data) > 3 * found.size + _READ:
            raise Refused("again_and_again")
        found.add(chunk.at, chunk.data)
        return True

    async def _end(self, decoded: Decoded) -> None:
        body = decoded["body"]
        found = self.files.get(body["name"])
        if found is None or found.size != body["size"]:
            self._answer(decoded, jt808.FAILED)
            raise Refused("not_listed" if found is None else "size")
        missing = [] if found.done else found.missing()[:_MOST_RANGES]
        if not missing and not found.done:
            found.handle.flush()
            digest = await asyncio.to_thread(_sha256, found.path)
            await self.server.store(
                FileOf(self.number, self.phone, self.key, found.name, body["file_type"], found.size, digest, found.path)
            )
            found.done = True
            self.server.counters.add("files", "attachments")
        header = jt808.reply_header(decoded, 0x9212, self._next())
        self.writer.write(jt808.file_done(header, name=found.name, file_type=body["file_type"], missing=missing))


def suffix_of(name: str) -> str:
    """The extension that a name claims, in lower case."""
    return PurePosixPath(name.replace("\\", "/")).suffix.lower()


def _cut(name: str) -> str:
    """A name as a raw packet can carry it."""
    return name.encode("gb18030", "replace")[:_CHUNK_NAME].rstrip(b"\0 ").decode("gb18030", "replace")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
