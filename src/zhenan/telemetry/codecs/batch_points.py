"""Many frames straight to readings of points, the register looked up on the way: analogue values of GB/T 26875.3 (type
3) and locations of JT/T 808 (0x0200). Compiled; says of a frame what the plain decoder and the register say, or leaves
it to them: `slow`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.base import BAD, GOOD, MAX_AHEAD_MS, NO_DEVICE_TIME
from zhenan.telemetry.codecs.batch import _PER_UNIT, _bcd_ms, _local_ms, _number, _unescape
from zhenan.telemetry.codecs.compiled import U, compiled
from zhenan.telemetry.codecs.gb26875 import SEND
from zhenan.telemetry.codecs.gb26875_units import MAX_UNIT
from zhenan.telemetry.codecs.jt808_frame import MAX_FRAME

LOCATION: Final = ("lat", "lon", "alt", "speed_kmh", "direction", "alarm", "status", "mileage_km")
_ANALOGUE: Final = re.compile(r"sys(\d+)(?:-(\d+))?\.(\d+)\.(\d+)\.a(\d+)")
_MOST_POINTS: Final = 64  # of one location's channels; a device with more is read slowly


class Entry(NamedTuple):
    """A channel of a device and one point of it. `bit` -1: the whole value."""

    device: str
    channel: str
    point: int
    scale: float = 1.0
    offset: float = 0.0
    bit: int = -1
    low: float = -np.inf
    high: float = np.inf


class Table(NamedTuple):
    """Points by two whole numbers, in a table at most half full. Those of key n: first[n] until first[n + 1]."""

    slots: NDArray[np.int32]
    keys: NDArray[np.uint64]  # shape (n, 2)
    first: NDArray[np.int32]  # shape (n + 1,)
    source: NDArray[np.int8]  # of LOCATION, by its place; 0 for analogue values
    point: NDArray[np.int32]
    bit: NDArray[np.int8]
    numbers: NDArray[np.float64]  # shape (points, 4): scale, offset, low, high
    most: int  # points of one key


class Decoded(NamedTuple):
    """Readings in the order of the frames. `ends`: shape (n_frames,), where each frame's readings end; `slow`: True for
    a frame that has none here and is to be read by the plain decoder."""

    point: NDArray[np.int32]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    ends: NDArray[np.int64]
    slow: NDArray[np.bool_]


def analogue_table(entries: Iterable[Entry]) -> Table:
    """For `decode_analogues`; channels that are no analogue values are left out. Device: 12 hex digits."""
    found: dict[tuple[int, int], list[tuple[int, Entry]]] = {}
    for entry in entries:
        match = _ANALOGUE.fullmatch(entry.channel)
        if match is None:
            continue
        system, address, kind, component, analogue = (int(text or 0) for text in match.groups())
        if max(system, address, kind, analogue) > 0xFF or component > 0xFFFF_FFFF:
            continue
        code = system | address << 8 | kind << 16 | component << 24 | analogue << 56
        found.setdefault((int(entry.device, 16), code), []).append((0, entry))
    return _table(found)


def location_table(entries: Iterable[Entry]) -> Table:
    """For `decode_locations`. Device: a phone; leading zeros count for nothing. Only devices all of whose location
    channels (mileage too) have points: of the others every frame leaves something over, which is to be kept."""
    devices: dict[tuple[int, int], list[tuple[int, Entry]]] = {}
    for entry in entries:
        phone = int(entry.device.lstrip("0") or "0", 16)
        if entry.channel in LOCATION and phone < 1 << 80:
            key = phone >> 64, phone & 0xFFFF_FFFF_FFFF_FFFF
            devices.setdefault(key, []).append((LOCATION.index(entry.channel), entry))
    whole = {
        key: sorted(rows, key=lambda row: row[0])
        for key, rows in devices.items()
        if {source for source, _ in rows} == set(range(len(LOCATION))) and len(rows) <= _MOST_POINTS
    }
    return _table(whole)


def _table(found: dict[tuple[int, int], list[tuple[int, Entry]]]) -> Table:
    keys = np.array(list(found) or np.zeros((0, 2)), np.uint64).reshape(-1, 2)
    rows = [row for points in found.values() for row in points]
    first = np.zeros(len(found) + 1, np.int32)
    np.cumsum([len(points) for points in found.values()], out=first[1:])
    slots = np.full(max(16, 1 << (2 * len(found)).bit_length()), -1, np.int32)
    _fill(slots, keys)
    return Table(
        slots, keys, first,
        np.array([source for source, _ in rows], np.int8),
        np.array([entry.point for _, entry in rows], np.int32),
        np.array([entry.bit for _, entry in rows], np.int8),
        np.array([(e.scale, e.offset, e.low, e.high) for _, e in rows], np.float64).reshape(-1, 4),
        max((len(points) for points in found.values()), default=1),
    )  # fmt: skip


@compiled
def _mixed(a, b):  # type: ignore[no-untyped-def]
    h = a * U(0x9E3779B97F4A7C15) ^ b
    h = (h ^ h >> U(32)) * U(0xD6E8FEB86659FD93)
    return h ^ h >> U(32)


@compiled
def _fill(slots, keys):  # type: ignore[no-untyped-def]
    mask = U(slots.size - 1)
    for n in range(keys.shape[0]):
        at = _mixed(keys[n, 0], keys[n, 1]) & mask
        while slots[at] >= 0:
            at = at + U(1) & mask
        slots[at] = n


@compiled
def _find(slots, keys, a, b):  # type: ignore[no-untyped-def]
    mask = U(slots.size - 1)
    at = _mixed(a, b) & mask
    while slots[at] >= 0:
        n = slots[at]
        if keys[n, 0] == a and keys[n, 1] == b:
            return n
        at = at + U(1) & mask
    return -1


def decode(
    protocol: str, buffer: bytes | NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64],
    received_ms: int, latest_ms: int, table: Table,
) -> Decoded:  # fmt: skip
    """Decode many frames of one protocol (gb26875, jt808).

    Args:
        buffer, starts, ends: as for batch.decode_batch.
        received_ms: UTC ms of receipt, for clocks that cannot be believed.
        latest_ms: a frame with a later reading is slow: it is to be refused.
        table: analogue_table or location_table.
    """
    data = np.frombuffer(buffer, np.uint8) if isinstance(buffer, bytes) else buffer
    if starts.shape != ends.shape or (starts.size and (starts.min() < 0 or ends.max() > data.size)):
        raise ValueError(f"each frame must lie within the buffer of {data.size} bytes")
    if protocol == "gb26875":
        room = int((ends - starts).sum()) // 16 * table.most
    elif protocol == "jt808":
        room = starts.size * table.most
    else:
        raise ValueError(f"protocol must be gb26875 or jt808; got {protocol!r}")
    kinds: tuple[Any, ...] = (np.int32, np.int64, np.float64, np.uint8)
    point, ts, value, quality = (np.empty(room, kind) for kind in kinds)
    upto, slow = np.empty(starts.size, np.int64), np.ones(starts.size, np.bool_)
    tables = (table.slots, table.keys, table.first, table.point, table.bit, table.numbers)
    if protocol == "gb26875":
        n = _analogues(data, starts, ends, received_ms, latest_ms, _PER_UNIT, *tables, point, ts, value, quality, upto,
                       slow)  # fmt: skip
    else:
        n = _locations(data, starts, ends, received_ms, latest_ms, table.source, *tables, point, ts, value, quality,
                       upto, slow)  # fmt: skip
    return Decoded(point[:n], ts[:n], value[:n], quality[:n], upto, slow)


@compiled
def _sum(data, start, end):  # type: ignore[no-untyped-def]
    """The sum of bytes, modulo 256. Unsigned places, so that the compiler may add many at a time."""
    total = np.uint8(0)
    for i in range(U(start), U(end)):
        total = np.uint8(total + data[i])
    return total


@compiled
def frames(data, most, starts, ends):  # type: ignore[no-untyped-def]
    """How many whole frames of GB/T 26875.3 stand one behind the other from the first byte on, at most `most`; their
    places are written to `starts` and `ends`. What comes behind the last is for the splitter."""
    at, n = np.int64(0), 0
    while n < most and at + 30 <= data.size and data[at] == 0x40 and data[at + 1] == 0x40:
        length = np.int64(data[at + 24]) | np.int64(data[at + 25]) << 8
        end = at + 30 + length
        if length > MAX_UNIT or end > data.size or data[end - 1] != 0x23 or data[end - 2] != 0x23:
            break
        if _sum(data, at + 2, end - 3) != data[end - 3]:
            break
        starts[n], ends[n] = at, end
        n += 1
        at = end
    return n


@compiled
def packets(data, most, starts, ends):  # type: ignore[no-untyped-def]
    """How many whole good frames of JT/T 808 stand one behind the other from the first byte on, at most `most`; their
    places, flags included, are written to `starts` and `ends`. Two may share a flag, and flags may be doubled. What
    comes behind the last frame's closing flag, and whatever bends the standard, is for the splitter."""
    plain = np.empty(MAX_FRAME, np.uint8)
    at, n = np.int64(0), 0
    while n < most and at < data.size and data[at] == 0x7E:
        while at + 1 < data.size and data[at + 1] == 0x7E:
            at += 1
        end = at + 1
        while end < data.size and data[end] != 0x7E and end - at < MAX_FRAME:
            end += 1
        end += 1
        if end > data.size or end - at > MAX_FRAME or data[end - 1] != 0x7E:
            break
        size = _unescape(data, at, end, plain)
        if size < 12:
            break
        head = (17 if plain[2] & 0x40 else 12) + (4 if plain[2] & 0x20 else 0)
        if size != head + (np.int64(plain[2] & 3) << 8 | np.int64(plain[3])):
            break
        starts[n], ends[n] = at, end
        n += 1
        at = end - 1
    return n


@compiled
def _analogues(  # type: ignore[no-untyped-def]
    data, starts, ends, received, latest, per_unit, slots, keys, first, points, bits, numbers, point, ts, value,
    quality, upto, slow,
):  # fmt: skip
    n = 0
    before, when, timed = U(1 << 63), np.int64(0), False
    for f in range(starts.size):
        s, e = starts[f], ends[f]
        upto[f] = n
        size = e - s
        if size < 32 or data[s] != 0x40 or data[s + 1] != 0x40 or data[e - 1] != 0x23 or data[e - 2] != 0x23:
            continue
        length = np.int64(data[s + 24]) | np.int64(data[s + 25]) << 8
        count = np.int64(data[s + 28])
        if length > MAX_UNIT or size != 30 + length or data[s + 26] != SEND or data[s + 27] != 3:
            continue
        if _sum(data, s + 2, e - 3) != data[e - 3] or length != 2 + 16 * count or count == 0:
            continue
        device = U(0)
        for i in range(s + 17, s + 11, -1):
            device = device << U(8) | U(data[i])
        made, entry = n, keys.shape[0]
        for k in range(count):
            o = s + 29 + 16 * k
            code = U(0)
            for i in range(o + 7, o - 1, -1):
                code = code << U(8) | U(data[i])
            if data[o + 1] < 2:  # a first and only system of its type is named without its address
                code = code & ~U(0xFF00)
            # objects come in the order in which they were registered, mostly: then there is nothing to search
            entry += 1
            if entry >= keys.shape[0] or keys[entry, 0] != device or keys[entry, 1] != code:
                entry = _find(slots, keys, device, code)
            if entry < 0:
                made = -1
                break
            raw = np.int64(data[o + 8]) | np.int64(data[o + 9]) << 8
            if raw >= 0x8000:
                raw -= 0x10000
            t = o + 10
            shown = U(0)
            for i in range(t, t + 6):
                shown = shown << U(8) | U(data[i])
            if shown != before:  # the objects of a frame mostly have one time
                before = shown
                when = _local_ms(2000 + np.int64(data[t + 5]), np.int64(data[t + 4]), np.int64(data[t + 3]),
                                 data[t + 2], data[t + 1], data[t])  # fmt: skip
                timed = 0 < when <= received + MAX_AHEAD_MS
                when = when if timed else received
            if when > latest:
                made = -1
                break
            said = raw / per_unit[data[o + 7]]
            good = GOOD if timed else NO_DEVICE_TIME
            for p in range(first[entry], first[entry + 1]):
                number = said * numbers[p, 0] + numbers[p, 1]
                fit = numbers[p, 2] <= number <= numbers[p, 3]
                if bits[p] >= 0:
                    number, fit = np.float64(np.int64(said) >> bits[p] & 1), True
                point[made], ts[made], value[made], quality[made] = points[p], when, number, good if fit else BAD
                made += 1
        if made < 0:
            continue
        slow[f] = False
        n = upto[f] = made
    return n


@compiled
def _locations(  # type: ignore[no-untyped-def]
    data, starts, ends, received, latest, source, slots, keys, first, points, bits, numbers, point, ts, value,
    quality, upto, slow,
):  # fmt: skip
    plain = np.empty(MAX_FRAME, np.uint8)
    said = np.empty(8)
    goods = np.empty(8, np.uint8)
    n = 0
    for f in range(starts.size):
        s, e = starts[f], ends[f]
        upto[f] = n
        if e - s < 42 or e - s > MAX_FRAME or data[s] != 0x7E or data[e - 1] != 0x7E:
            continue
        size = _unescape(data, s, e, plain)
        if size < 40 or plain[0] != 0x02 or plain[1] != 0x00 or plain[2] & 0x3C:
            continue
        length = np.int64(plain[2] & 3) << 8 | np.int64(plain[3])
        of_2019 = plain[2] & 0x40 != 0
        body = 17 if of_2019 else 12
        rest = length - 28
        # nothing behind the location, or its mileage alone: other items may be channels too
        if size != body + length or (rest != 0 and (rest != 6 or plain[body + 28] != 1 or plain[body + 29] != 4)):
            continue
        high = _number(plain, 5, 2) if of_2019 else U(0)
        entry = _find(slots, keys, high, _number(plain, 7, 8) if of_2019 else _number(plain, 4, 6))
        if entry < 0:
            continue
        when = _bcd_ms(plain, body + 22)
        timed = 0 < when <= received + MAX_AHEAD_MS
        when = when if timed else received
        if when > latest:
            continue
        status = np.int64(_number(plain, body + 4, 4))
        lat, lon = np.int64(_number(plain, body + 8, 4)), np.int64(_number(plain, body + 12, 4))
        alt = np.int64(_number(plain, body + 16, 2))
        fixed = (
            status & 2 != 0 and status & 32 == 0 and (lat != 0 or lon != 0) and lat <= 90_000_000 and lon <= 180_000_000
        )
        good = GOOD if timed else NO_DEVICE_TIME
        goods[:] = good
        goods[:5] = good if fixed else BAD
        said[0] = (-lat if status & 4 else lat) / 1e6
        said[1] = (-lon if status & 8 else lon) / 1e6
        said[2] = alt - 0x10000 if alt >= 0x8000 else alt
        said[3] = np.int64(_number(plain, body + 18, 2)) / 10
        said[4] = np.int64(_number(plain, body + 20, 2))
        said[5] = np.int64(_number(plain, body, 4))
        said[6] = status
        said[7] = np.int64(_number(plain, body + 30, 4)) / 10 if rest else np.nan
        for k in range(first[entry], first[entry + 1]):
            what = source[k]
            if what == 7 and not rest:
                continue
            number = said[what] * numbers[k, 0] + numbers[k, 1]
            fit = numbers[k, 2] <= number <= numbers[k, 3]
            if bits[k] >= 0:
                number, fit = np.float64(np.int64(said[what]) >> bits[k] & 1), True
            point[n], ts[n], value[n], quality[n] = points[k], when, number, goods[what] if fit else BAD
            n += 1
        slow[f] = False
        upto[f] = n
    return n


__all__ = ["LOCATION", "Decoded", "Entry", "Table", "analogue_table", "decode", "frames", "location_table", "packets"]
