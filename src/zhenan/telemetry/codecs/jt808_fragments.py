"""Joining sub-packages of JT/T 808 under caps, so that no terminal can hold the server's memory."""

from collections import OrderedDict
from typing import Final

import msgspec

from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.jt808_frame import Header, Packet

MAX_PACKETS: Final = 2000
EXPIRE_MS: Final = 60_000

_Key = tuple[str, int, int, int]


class Missing(msgspec.Struct, frozen=True):
    """A message that came in part: its `header` (of the first packet seen), the serial of packet 1, what lacks."""

    header: Header
    first_serial: int
    missing: tuple[int, ...]


class _Open:
    def __init__(self, header: Header, now_ms: int) -> None:
        self.header = header
        self.since_ms = self.touched_ms = now_ms
        self.asks = 0
        self.parts: dict[int, bytes] = {}
        self.size = 0


class Reassembler:
    """Joins packets by (phone, message ID, serial - index + 1, total); gives up after 60 s.

    Args:
        max_device_bytes: held for one terminal at a time; its oldest message makes room.
        max_bytes: held for all terminals together; the oldest message of all makes room.
    """

    def __init__(self, *, max_device_bytes: int = 2_097_152, max_bytes: int = 67_108_864) -> None:
        self._open: OrderedDict[_Key, _Open] = OrderedDict()
        self._held: dict[str, int] = {}
        self._total = 0
        self._max_device_bytes = max_device_bytes
        self._max_bytes = max_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes of bodies that wait for the rest of their message."""
        return self._total

    def add(self, packet: Packet, now_ms: int) -> Packet | None:
        """Take a packet; return the whole message (its header without packet item) once nothing is missing.

        A packet that came before is taken once. Raises CodecError("packet_item") for numbers that cannot be.
        """
        header = packet.header
        if header.packet is None:
            return packet
        total, index = header.packet
        if not 1 <= index <= total <= MAX_PACKETS:
            raise CodecError("packet_item")
        key = (header.phone, header.msg_id, (header.serial - index + 1) & 0xFFFF, total)
        self._expire(now_ms)
        found = self._open.setdefault(key, _Open(header, now_ms))
        if index not in found.parts:
            found.touched_ms = now_ms
            found.parts[index] = packet.body
            self._count(key, found, len(packet.body))
            self._make_room(header.phone)
        if len(found.parts) < total:
            return None
        self._close(key)
        whole = b"".join(found.parts[i] for i in range(1, total + 1))
        return Packet(msgspec.structs.replace(header, packet=None, serial=key[2]), whole)

    def missing(self, now_ms: int, *, quiet_ms: int = 0, most: int = 125) -> list[Missing]:
        """What to ask again with 0x8003, of messages begun at least `quiet_ms` ago; at most `most` packets of each."""
        self._expire(now_ms)
        return [
            Missing(
                found.header, key[2], tuple(i for i in range(1, key[3] + 1) if i not in found.parts)[:most]
            )
            for key, found in self._open.items()
            if now_ms - found.since_ms >= quiet_ms
        ]  # fmt: skip

    def ask(self, phone: str, now_ms: int, *, quiet_ms: int = 5000, times: int = 3, most: int = 125) -> list[Missing]:
        """What to ask one terminal again with 0x8003 now: nothing came for `quiet_ms`; each message at most `times`."""
        self._expire(now_ms)
        if phone not in self._held:
            return []
        asked = []
        for key, found in self._open.items():
            if key[0] != phone or found.asks >= times or now_ms - found.touched_ms < quiet_ms:
                continue
            found.asks, found.touched_ms = found.asks + 1, now_ms
            lacking = tuple(i for i in range(1, key[3] + 1) if i not in found.parts)[:most]
            asked.append(Missing(found.header, key[2], lacking))
        return asked

    def forget(self, phone: str) -> None:
        """Drop all that waits for one terminal (its connection has gone)."""
        for key in [key for key in self._open if key[0] == phone]:
            self._close(key)

    def _count(self, key: _Key, found: _Open, size: int) -> None:
        size += 64  # an empty body has a price too
        found.size += size
        self._held[key[0]] = self._held.get(key[0], 0) + size
        self._total += size

    def _make_room(self, phone: str) -> None:
        while self._held.get(phone, 0) > self._max_device_bytes:
            self._close(next(key for key in self._open if key[0] == phone))
        while self._total > self._max_bytes:
            self._close(next(iter(self._open)))

    def _expire(self, now_ms: int) -> None:
        while self._open:
            key, found = next(iter(self._open.items()))
            if now_ms - found.since_ms < EXPIRE_MS:
                return
            self._close(key)

    def _close(self, key: _Key) -> None:
        found = self._open.pop(key)
        self._total -= found.size
        self._held[key[0]] -= found.size
        if not self._held[key[0]]:
            del self._held[key[0]]
