"""Control packets of MQTT 3.1.1 as a device sends them: where each begins and ends, and which carry readings.

`split` is compiled and reads what many connections sent in one go. Only PUBLISH with QoS 0 or 1, not retained, to
`d/{device}/up/telemetry` is TAKEN; all else is the broker's.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.compiled import compiled
from zhenan.telemetry.codecs.mqtt_json import MAX_PAYLOAD

CONNECT: Final = 0x10
CONNACK: Final = 0x20
DISCONNECT: Final = b"\xe0\x00"
PUBACK: Final = 0x40
MAX_CONNECT: Final = 131_072  # bytes: client id, will, user and password together
TOPIC: Final = b"/up/telemetry"
# What a packet is. PASSED: the broker's. LONG: of readings, with more than a payload may have, and not all here.
PASSED, TAKEN, LONG = range(3)
_UP: Final = np.frombuffer(TOPIC, np.uint8)
_LONGEST: Final = MAX_PAYLOAD
# First bytes with which a device may begin what it sends behind its CONNECT, PUBLISH aside: PUBACK, PUBREC, PUBREL,
# PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT.
_SENT: Final = np.isin(np.arange(256), (0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0)).astype(np.uint8)


class Packets(NamedTuple):
    """Places for packets, arrays of shape (n,). `name`, `name_end`: the device in its topic; `body`: where the payload
    begins, which ends with the packet; `id`: 0 with QoS 0. These four are of TAKEN and LONG alone."""

    segment: NDArray[np.int64]
    kind: NDArray[np.uint8]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    name: NDArray[np.int64]
    name_end: NDArray[np.int64]
    body: NDArray[np.int64]
    id: NDArray[np.int64]

    @classmethod
    def room(cls, packets: int) -> Packets:
        """For so many."""
        kinds: tuple[Any, ...] = (np.int64, np.uint8, *(np.int64,) * 6)
        return cls._make(np.empty(packets, kind) for kind in kinds)

    def first(self, packets: int) -> Packets:
        """The first alone."""
        return Packets._make(column[:packets] for column in self)


class Segments(NamedTuple):
    """What came of each connection, shape (n,): data[at:end]. `split` moves `at` behind what it has read. `left`: how
    many bytes of the last packet are still to come, which need not be kept; `bad`: 1 where no MQTT is at `at`."""

    at: NDArray[np.int64]
    end: NDArray[np.int64]
    left: NDArray[np.int64]
    bad: NDArray[np.uint8]

    @classmethod
    def of(cls, sizes: list[int]) -> Segments:
        """Of pieces that lie one behind the other."""
        end = np.array([*accumulate(sizes)], np.int64)
        return cls(end - np.array(sizes, np.int64), end, np.zeros(end.size, np.int64), np.zeros(end.size, np.uint8))


def split(data: NDArray[np.uint8], segments: Segments, out: Packets) -> int:
    """Read on in each segment; how many packets were found. When `out` is full there may be more: call again."""
    return int(
        _split(data, segments.at, segments.end, segments.left, segments.bad, out.segment, out.kind, out.start, out.end,
               out.name, out.name_end, out.body, out.id)
    )  # fmt: skip


@compiled
def _length(data, at, end):  # type: ignore[no-untyped-def]
    """(position behind the length at `at`, the length); (0, 0) when it is not all here, (-1, 0) when it is none."""
    length, shift = np.int64(0), 0
    for i in range(at, min(end, at + 4)):
        length |= (np.int64(data[i]) & 127) << shift
        if data[i] < 128:
            return i + 1, length
        shift += 7
    return (-1, 0) if end >= at + 4 else (0, 0)


@compiled
def _device(data, at, end):  # type: ignore[no-untyped-def]
    """End of the device in the topic data[at:end], which begins at + 2; 0 when it is not a topic of readings."""
    last = end - _UP.size
    if last <= at + 2 or data[at] != 100 or data[at + 1] != 47:
        return 0
    for i in range(_UP.size):
        if data[last + i] != _UP[i]:
            return 0
    for i in range(at + 2, last):
        if data[i] <= 32 or data[i] == 127 or data[i] == 47 or data[i] == 43 or data[i] == 35:
            return 0  # odd names and wildcards are the broker's to judge
    return last


@compiled
def _kind(data, i, first, size, end):  # type: ignore[no-untyped-def]
    """(PASSED or TAKEN, -1 for what is no MQTT, -2 when too little is here to tell; end of the device; start of the
    payload; packet id) of the packet at i, `size` bytes from `first` on."""
    nothing = 0
    if first < 0:
        return -1, nothing, nothing, nothing
    if data[i] >> 4 != 3:
        return (PASSED if _SENT[data[i]] else -1), nothing, nothing, nothing
    qos, retained = data[i] >> 1 & 3, data[i] & 1
    if qos == 3 or size < 2:
        return -1, nothing, nothing, nothing
    if end < first + 2:
        return -2, nothing, nothing, nothing
    topic_end = first + 2 + (np.int64(data[first]) << 8 | np.int64(data[first + 1]))
    payload = topic_end + (2 if qos else 0)
    if payload > first + size:
        return -1, nothing, nothing, nothing
    if qos == 2 or retained:
        return PASSED, nothing, nothing, nothing
    if end < payload:
        return -2, nothing, nothing, nothing
    last = _device(data, first + 2, topic_end)
    if not last:
        return PASSED, nothing, nothing, nothing
    known = np.int64(data[topic_end]) << 8 | np.int64(data[topic_end + 1]) if qos else 0
    if qos and not known:
        return -1, nothing, nothing, nothing
    return TAKEN, last, payload, known


@compiled
def _split(  # type: ignore[no-untyped-def]
    data, at, ends, left, bad, segment, kind, start, stop, name, name_end, body, number
):
    n = 0
    for s in range(at.size):
        while at[s] < ends[s] and not bad[s] and not left[s]:
            if n == kind.size:
                return n
            i, end = at[s], ends[s]
            first, size = _length(data, i + 1, end)
            if first == 0:
                break
            code, last, payload, known = _kind(data, i, first, size, end)
            if code == -2:
                break
            if code == -1:
                bad[s] = 1
                break
            whole = first + size
            if whole > end and code == TAKEN:
                if whole - payload <= _LONGEST:
                    break
                code = LONG
            segment[n], kind[n], start[n], stop[n] = s, code, i, min(whole, end)
            name[n], name_end[n], body[n], number[n] = first + 4, last, payload, known
            n += 1
            at[s], left[s] = min(whole, end), max(0, whole - end)
    return n


def acknowledged(ids: NDArray[np.int64]) -> bytes:
    """PUBACK for each of these packet ids."""
    found = np.empty((ids.size, 4), np.uint8)
    found[:, 0], found[:, 1], found[:, 2], found[:, 3] = PUBACK, 2, ids >> 8, ids & 255
    return found.tobytes()


class Greeting(NamedTuple):
    """What a CONNECT says. `end`: where it ends; `keepalive_at`: where its keep-alive stands; `user`: "" for none or
    where it is not of 3.1.1."""

    end: int
    level: int
    keepalive_at: int
    keepalive_s: int
    client: str
    user: str


def read_connect(data: bytes) -> Greeting | None:
    """The CONNECT at the beginning of `data`; None when it is not all here. Raises CodecError: packet, too_long."""
    if not data:
        return None
    if data[0] != CONNECT:
        raise CodecError("packet")
    first, size = length_at(data, 1)
    if first < 0 or size < 10:
        if first == 0:
            return None
        raise CodecError("packet")
    if size > MAX_CONNECT:
        raise CodecError("too_long")
    end = first + size
    if len(data) < end:
        return None
    _, at = _text(data, first, end)
    if at + 4 > end:
        raise CodecError("packet")
    level, flags, keepalive_s = data[at], data[at + 1], data[at + 2] << 8 | data[at + 3]
    if level != 4:
        return Greeting(end, level, at + 2, keepalive_s, "", "")
    client, next_at = _text(data, at + 4, end)
    if flags & 4:
        for _ in range(2):  # the will's topic and message
            _, next_at = _text(data, next_at, end)
    user, next_at = _text(data, next_at, end) if flags & 128 else (b"", next_at)
    words = [text.decode("utf-8", "replace") for text in (client, user)]
    return Greeting(end, level, at + 2, keepalive_s, *words)


def length_at(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """(position behind the length at `at`, the length); (0, 0) when it is not all here, (-1, 0) when it is none."""
    length = 0
    for n, byte in enumerate(data[at : at + 4]):
        length |= (byte & 127) << 7 * n
        if byte < 128:
            return at + n + 1, length
    return (-1, 0) if len(data) >= at + 4 else (0, 0)


def _text(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """(the text at `at`, position behind it). Raises CodecError when it does not end before `end`."""
    if at + 2 > end:
        raise CodecError("packet")
    last = at + 2 + (data[at] << 8 | data[at + 1])
    if last > end:
        raise CodecError("packet")
    return data[at + 2 : last], last


class Frames:
    """Follows a stream of packets, to know where one ends."""

    def __init__(self) -> None:
        self._left = 0
        self._head = bytearray()

    @property
    def between(self) -> bool:
        """Whether the stream stands between two packets."""
        return not self._left and not self._head

    def feed(self, data: bytes) -> None:
        """Go on by what came. Raises CodecError when it is no MQTT."""
        at, size = 0, len(data)
        while at < size:
            if self._left:
                step = min(self._left, size - at)
                self._left, at = self._left - step, at + step
                continue
            self._head.append(data[at])
            at += 1
            first, length = length_at(self._head, 1)
            if first < 0:
                raise CodecError("packet")
            if first:
                self._left = length
                self._head.clear()
