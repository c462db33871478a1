"""The message that makes up most of JT/T 808 (a location with its mileage at most), many of a read at once.

What is not one, whatever would have to be refused, and what a terminal says before it has signed in is left to the
connection's session, frame by frame.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs import batch, batch_points, jt808
from zhenan.telemetry.codecs.batch_points import Entry, Table
from zhenan.telemetry.codecs.jt808_frame import escape, xor
from zhenan.telemetry.gateway.message_key import location_key, plain_packet
from zhenan.telemetry.gateway.quick import MOST, Read
from zhenan.telemetry.gateway.registry import FUTURE_MS, Register, Registry
from zhenan.telemetry.gateway.sessions import Session
from zhenan.telemetry.gateway.sessions_jt808 import Jt808
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees

PROTOCOL: Final = "jt808"
_DIGITS: Final = frozenset("0123456789abcdef")


class QuickJt808:
    """Frames → readings of points and positions, by the register as it is now."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._starts, self._ends = np.empty(MOST, np.int64), np.empty(MOST, np.int64)

    def read(self, data: bytes, now_ms: int) -> Read | None:
        """The whole good frames that `data` begins with; None when it begins with something else."""
        array = np.frombuffer(data, np.uint8)
        count = batch_points.packets(array, MOST, self._starts, self._ends)
        if not count:
            return None
        starts, ends = self._starts[:count], self._ends[:count]
        known = self.registry.now.derived(table_of)
        said = batch_points.decode(PROTOCOL, array, starts, ends, now_ms, now_ms + FUTURE_MS, known)
        # the closing flag may open the next frame too
        return Read(starts.tolist(), ends.tolist(), said, data[self._ends[count - 1] - 1 :])

    def warm_up(self) -> None:
        """Compile (or load) the loops and look the points up now, so that the first frame does not wait for it."""
        self.registry.now.derived(table_of)
        raw = jt808.location(jt808.Header(msg_id=0, phone="0" * 12, serial=1), lat=0, lon=0, time=None)
        idle = QuickJt808(Registry())
        read = idle.read(raw, 0)
        if read is not None:
            idle.positions(raw, read, np.zeros(1, np.int64), "0" * 12, 0)

    def fits(self, session: Session, raw: bytes) -> bool:
        """Whether the frame is of the terminal that has signed in and was last heard on this connection."""
        if not isinstance(session, Jt808):
            return False
        phone = session.last.get("phone", "")
        return phone == self.identity(raw) and phone in session.signed_in and "quirk" not in session.last

    def identity(self, raw: bytes) -> str:
        """The phone of a frame, as jt808.device_key gives it."""
        return _phone(plain_packet(raw)).hex()

    def key_of(self, raw: bytes) -> bytes:
        """Under which a frame is known when it comes again."""
        return location_key(raw)

    def answers(self, session: Session, frames: list[bytes], now_ms: int) -> list[bytes]:
        """What the session would answer to each of these frames."""
        return [accepted(plain_packet(raw), session.next_serial()) for raw in frames if isinstance(session, Jt808)]

    def positions(
        self, data: bytes, read: Read, which: NDArray[np.int64], identity: str, now_ms: int
    ) -> PositionColumns:
        """Those of the frames `which`."""
        device = self.registry.find(PROTOCOL, identity)
        starts, ends = np.array(read.starts)[which], np.array(read.ends)[which]
        rows, _ = batch.decode_batch(PROTOCOL, data, starts, ends, now_ms)
        return PositionColumns.of(
            np.full(which.size, device.id if device else 0), rows["ts_ms"], from_degrees(rows["lat"]),
            from_degrees(rows["lon"]), np.rint(rows["speed_kmh"] * 10).astype(np.uint16),
            rows["direction"].astype(np.uint16), rows["status"], rows["fix_quality"],
        )  # fmt: skip


def _phone(content: bytes) -> bytes:
    return content[5:15] if content[2] & 0x40 else content[4:10]


def accepted(content: bytes, serial: int) -> bytes:
    """0x8001 to a location without quirks of its header."""
    of_2019 = content[2] & 0x40
    at = 17 if of_2019 else 12  # of the body
    alarm = int.from_bytes(content[at : at + 4], "big")
    answer = b"".join((
        b"\x80\x01\x40\x05" if of_2019 else b"\x80\x01\x00\x05", content[4 : at - 2], serial.to_bytes(2, "big"),
        content[at - 2 : at], b"\x02\x00", bytes((jt808.ALARM_HANDLED if alarm & jt808.LATCHED_ALARMS else jt808.OK,)),
    ))  # fmt: skip
    return b"\x7e" + escape(answer + bytes((xor(answer),))) + b"\x7e"


def table_of(register: Register) -> Table:
    """The points of the protocol's devices as the compiled decoder wants them."""
    return batch_points.location_table(
        Entry(device.key, channel, p.id, p.scale, p.offset, -1 if p.bit is None else p.bit, p.low, p.high)
        for device in register.of(PROTOCOL)
        if device.key and _DIGITS.issuperset(device.key.lower())
        for channel, points in device.channels.items()
        for p in points
    )
