"""The frames that make up most of GB/T 26875.3 (analogue values of registered channels), many of a read at once.

What is not one of them, and whatever would have to be refused, is left to the connection's session, frame by frame.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs import batch_points
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.codecs.batch_points import Decoded, Entry, Table
from zhenan.telemetry.codecs.gb26875 import CONFIRM, END, send
from zhenan.telemetry.codecs.gb26875_units import write_time
from zhenan.telemetry.gateway.message_key import DIGEST
from zhenan.telemetry.gateway.registry import FUTURE_MS, Register, Registry
from zhenan.telemetry.gateway.sessions import Session
from zhenan.telemetry.tracks.columns import PositionColumns

PROTOCOL: Final = "gb26875"
MOST: Final = 4096  # frames looked at together


class Read(NamedTuple):
    """The whole frames at the beginning of a read: `data[starts[i]:ends[i]]`, and what they say."""

    starts: list[int]
    ends: list[int]
    said: Decoded
    rest: bytes  # what is behind them


class Quick:
    """Frames → readings of points, by the register as it is now."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._starts, self._ends = np.empty(MOST, np.int64), np.empty(MOST, np.int64)

    def read(self, data: bytes, now_ms: int) -> Read | None:
        """The whole frames that `data` begins with; None when it begins with something else."""
        array = np.frombuffer(data, np.uint8)
        count = batch_points.frames(array, MOST, self._starts, self._ends)
        if not count:
            return None
        starts, ends = self._starts[:count], self._ends[:count]
        known = self.registry.now.derived(table_of)
        said = batch_points.decode(PROTOCOL, array, starts, ends, now_ms, now_ms + FUTURE_MS, known)
        return Read(starts.tolist(), ends.tolist(), said, data[self._ends[count - 1] :])

    def warm_up(self) -> None:
        """Compile (or load) the loops and look the points up now, so that the first frame does not wait for it."""
        at = 1_000_000_000_000
        self.registry.now.derived(table_of)
        Quick(Registry()).read(send("0" * 12, "0" * 12, 1, 3, [], at), at)

    def fits(self, session: Session, raw: bytes) -> bool:
        """Whether the session lets a frame be read without it: here whoever is registered may report."""
        return True

    def identity(self, raw: bytes) -> str:
        """Whom a frame is from."""
        return raw[12:18][::-1].hex()

    def key_of(self, raw: bytes) -> bytes:
        """Under which a frame is known when it comes again."""
        return key_of(raw)

    def answers(self, session: Session, frames: list[bytes], now_ms: int) -> list[bytes]:
        """What the session would answer to each of these frames."""
        time = clock(now_ms)
        return [confirm(raw, time) for raw in frames]

    def positions(
        self, data: bytes, read: Read, which: NDArray[np.int64], identity: str, now_ms: int
    ) -> PositionColumns:
        """Detectors stay where they are."""
        return PositionColumns.empty()


def table_of(register: Register) -> Table:
    """The points of the protocol's devices as the compiled decoder wants them."""
    return batch_points.analogue_table(
        Entry(device.key, channel, p.id, p.scale, p.offset, -1 if p.bit is None else p.bit, p.low, p.high)
        for device in register.of(PROTOCOL)
        if is_address(device.key)
        for channel, points in device.channels.items()
        for p in points
    )


def is_address(key: str) -> bool:
    """Whether a device's identity is an address of the wire: twelve small hex digits."""
    return len(key) == 12 and set(key) <= set("0123456789abcdef")


def key_of(raw: bytes) -> bytes:
    """The same for a frame and its resend: serial, sender, command and unit, but not the time of sending."""
    content = b"".join((PROTOCOL.encode(), raw[2:4], raw[12:18], raw[26:-3]))
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def confirm(raw: bytes, time: bytes) -> bytes:
    """What gb26875.confirm answers to a frame; `time`: of now, as `clock` writes it."""
    body = b"".join((raw[2:6], time, raw[18:24], raw[12:18], b"\0\0", bytes((CONFIRM,))))
    return b"".join((raw[:2], body, bytes((sum(body) & 0xFF,)), END))


def clock(now_ms: int) -> bytes:
    """The time of an answer."""
    return write_time(local_from_ms(now_ms))


def chosen(said: Decoded, first: int, last: int, fresh: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Places of the readings of frames first … last - 1 that are fresh (shape (last - first,))."""
    begin = int(said.ends[first - 1]) if first else 0
    if fresh.all():
        return np.arange(begin, int(said.ends[last - 1]))
    sizes = np.diff(said.ends[first:last], prepend=begin)
    return begin + np.flatnonzero(np.repeat(fresh, sizes))
