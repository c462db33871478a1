"""What every codec shares: frames cut from a stream, readings handed to the log, device clocks turned into UTC."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias

import msgspec

GOOD: Final = 0
BAD: Final = 1
NO_DEVICE_TIME: Final = 2  # the value is good; its time is the moment of receipt

CHINA_OFFSET_MS: Final = 8 * 3_600_000  # every device clock of these protocols shows UTC+8, with no zone on the wire
MAX_AHEAD_MS: Final = 24 * 3_600_000  # a device clock further ahead than this is wrong

_LOCAL_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001  (device clocks carry no zone)
_MS: Final = timedelta(milliseconds=1)

Decoded: TypeAlias = dict[str, Any]  # {"ok": True, ...} or {"ok": False, "error": reason}


class CodecError(ValueError):
    """A frame or body that cannot be read. `reason` is a short stable word to count by."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One whole frame as it came. `offset`: bytes of the stream before it."""

    raw: bytes
    offset: int


class BadFrame(msgspec.Struct, frozen=True, gc=False):
    """Bytes dropped while looking for a frame. `reason` is a short stable word; `raw` is all of them, in order."""

    reason: str
    raw: bytes
    offset: int


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One value of one channel. `ts_ms`: UTC milliseconds. `quality`: GOOD, BAD or NO_DEVICE_TIME."""

    device: str
    channel: str
    ts_ms: int
    value: float
    quality: int


class MessageKey(msgspec.Struct, frozen=True, gc=False):
    """Equal for a message and its resend, and for nothing else.

    The digest of the content keeps apart the messages of devices whose serial never moves and whose clock stands still.
    """

    device: str
    kind: str
    serial: str
    time: str
    digest: int


class Splitter(Protocol):
    """Cuts a byte stream into frames. The result does not depend on how the stream was cut into reads."""

    def feed(self, data: bytes) -> Sequence[Any]:
        """Take the next bytes; return what became complete: Frame, BadFrame (and, for 808 files, FileChunk)."""
        ...

    def expire(self) -> Sequence[Any]:
        """Give up on the frame begun but not finished (time-out or end of stream) and return what lies behind it."""
        ...

    @property
    def pending(self) -> int:
        """Bytes held that wait for the rest of a frame."""
        ...


def iso_local(year: int, month: int, day: int, hour: int, minute: int, second: int) -> str | None:
    """ISO form, without a zone, of a time shown by a device; None when the calendar has no such time."""
    try:
        return datetime(year, month, day, hour, minute, second).isoformat()  # noqa: DTZ001
    except ValueError:
        return None


def iso_to_ms(text: str) -> int:
    """UTC milliseconds of an ISO time shown by a device (UTC+8)."""
    return (datetime.fromisoformat(text) - _LOCAL_EPOCH) // _MS - CHINA_OFFSET_MS


def local_from_ms(utc_ms: int) -> datetime:
    """The wall clock in China, naive, at a UTC time in milliseconds."""
    return datetime.fromtimestamp((utc_ms + CHINA_OFFSET_MS) / 1000, UTC).replace(tzinfo=None)


def clock(time: str | None, received_ms: int) -> tuple[int, int]:
    """(UTC ms, GOOD) by the device's own clock, or (received_ms, NO_DEVICE_TIME) when it cannot be believed."""
    if time is not None:
        ts_ms = iso_to_ms(time)
        if 0 < ts_ms <= received_ms + MAX_AHEAD_MS:
            return ts_ms, GOOD
    return received_ms, NO_DEVICE_TIME


def refused(decode: Callable[..., Decoded]) -> Callable[..., Decoded]:
    """Turn a decoder that raises CodecError into one that answers {"ok": False, "error": reason}."""

    def safe(*args: Any, **options: Any) -> Decoded:
        try:
            return decode(*args, **options)
        except CodecError as err:
            return {"ok": False, "error": err.reason}

    safe.__doc__ = decode.__doc__
    safe.__name__ = decode.__name__
    return safe


class ScanSplitter:
    """Finds frames that begin with a doubled byte and say their own length.

    A candidate that fails is left by one byte and the search goes on, so a good frame is found behind any garbage,
    even behind a false start inside data. Dropped bytes come out as one BadFrame for each stretch that a failed frame
    claimed.
    """

    marker: bytes = b""
    between: bytes = b""  # bytes that may stand between frames without being an error
    max_frame: int = 0  # bytes; also the most that is held, and the most in one BadFrame

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # stream offset of the buffer's first byte
        self._bad = bytearray()
        self._bad_reason = ""
        self._bad_until = 0

    def examine(self, buffer: bytearray, at: int) -> int | str | None:
        """Length of the good frame at `at`, a reason why there is none, or None while bytes are missing."""
        raise NotImplementedError

    def claimed(self, buffer: bytearray, at: int) -> int:
        """Bytes that the failed frame at `at` says to have; 0 when it cannot be told."""
        raise NotImplementedError

    @property
    def pending(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Frame | BadFrame]:
        self._buffer += data
        out: list[Frame | BadFrame] = []
        self._scan(out)
        return out

    def expire(self) -> list[Frame | BadFrame]:
        out: list[Frame | BadFrame] = []
        while self._buffer:
            self._fail(out, "incomplete", 0)
            self._drop(out, 1)
            self._scan(out)
        self._flush(out)
        return out

    def _scan(self, out: list[Frame | BadFrame]) -> None:
        while True:
            at = self._buffer.find(self.marker)
            if at < 0:
                half = self._buffer.endswith(self.marker[:1])
                self._drop(out, len(self._buffer) - half)
                return
            self._drop(out, at)
            result = self.examine(self._buffer, 0)
            if result is None:
                return
            if isinstance(result, str):
                self._fail(out, result, self.claimed(self._buffer, 0))
                self._drop(out, 1)
            else:
                self._flush(out)
                out.append(Frame(bytes(self._buffer[:result]), self._offset))
                self._advance(result)

    def _advance(self, count: int) -> None:
        del self._buffer[:count]
        self._offset += count

    def _fail(self, out: list[Frame | BadFrame], reason: str, claimed: int) -> None:
        """Open a stretch of bad bytes here, unless inside what an earlier failed frame claimed."""
        if self._bad and self._offset < self._bad_until:
            return
        self._flush(out)
        self._bad_reason, self._bad_until = reason, self._offset + claimed

    def _drop(self, out: list[Frame | BadFrame], count: int) -> None:
        while count:
            if not self._bad and not self._bad_reason and self._buffer[0] in self.between:
                self._advance(1)
                count -= 1
                continue
            take = min(count, self.max_frame - len(self._bad))
            self._bad += self._buffer[:take]
            self._advance(take)
            count -= take
            if len(self._bad) >= self.max_frame:
                self._flush(out)

    def _flush(self, out: list[Frame | BadFrame]) -> None:
        if self._bad:
            out.append(BadFrame(self._bad_reason or "no_start", bytes(self._bad), self._offset - len(self._bad)))
            self._bad = bytearray()
        self._bad_reason = ""
