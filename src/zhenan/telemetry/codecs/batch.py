"""The two frames that make up most of the traffic, many at a time, straight to columns: analogue values of GB/T 26875.3
(type 3) and locations of JT/T 808 (0x0200). Compiled; agrees with `decode` and `readings` value by value.

Frames of any other kind, and bad ones, are only marked: `slow` says which to give to the decoders one by one.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.base import BAD, CHINA_OFFSET_MS, GOOD, MAX_AHEAD_MS, NO_DEVICE_TIME
from zhenan.telemetry.codecs.compiled import compiled
from zhenan.telemetry.codecs.gb26875 import ANSWER, SEND
from zhenan.telemetry.codecs.gb26875_units import ANALOGUES, MAX_UNIT
from zhenan.telemetry.codecs.jt808_frame import MAX_FRAME

Columns: TypeAlias = dict[str, NDArray[Any]]

_PER_UNIT: Final = np.ones(256)
for _kind, (_unit, _per_unit) in ANALOGUES.items():
    _PER_UNIT[_kind] = _per_unit

_ANALOGUE: Final = np.dtype(
    [
        ("frame", "i4"), ("device", "u8"), ("sys_type", "u1"), ("sys_addr", "u1"), ("comp_type", "u1"),
        ("comp_addr", "u4"), ("analog_type", "u1"), ("raw", "i2"), ("value", "f8"), ("ts_ms", "i8"), ("quality", "u1"),
    ]
)  # fmt: skip
_LOCATION: Final = np.dtype(
    [
        ("frame", "i4"), ("phone_high", "u2"), ("phone", "u8"), ("version", "u2"), ("serial", "u2"), ("alarm", "u4"),
        ("status", "u4"), ("lat", "f8"), ("lon", "f8"), ("alt", "f8"), ("speed_kmh", "f8"), ("direction", "f8"),
        ("mileage_km", "f8"), ("ts_ms", "i8"), ("quality", "u1"), ("fix_quality", "u1"),
    ]
)  # fmt: skip
_NO_TIME: Final = -(2**62)
_AHEAD: Final = MAX_AHEAD_MS
_OFFSET: Final = CHINA_OFFSET_MS


def decode_batch(
    protocol: str,
    buffer: bytes | NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    received_ms: int,
) -> tuple[Columns, NDArray[np.bool_]]:
    """Decode many frames of one protocol (gb26875, jt808).

    Args:
        buffer: bytes that hold the frames; frame i is buffer[starts[i]:ends[i]], 808 flags included.
        received_ms: UTC ms of receipt, for clocks that cannot be believed.
    Returns: (columns, slow). Columns have a row for each value (gb26875) or location (jt808), in the order of the
        frames; `frame` is the number of the frame. `slow`: shape (n_frames,), True where no row was made.
        gb26875: `device` is the source address as a number. jt808: `phone_high`, `phone` are the first 2 and the last 8
        bytes of a phone of 2019, or 0 and the 6 bytes of 2013; mileage_km is NaN where it is not sent; other items are
        not in the columns; `quality` is that of the time, `fix_quality` that of position, speed and heading.
    """
    data = np.frombuffer(buffer, np.uint8) if isinstance(buffer, bytes) else buffer
    starts, ends = np.ascontiguousarray(starts, np.int64), np.ascontiguousarray(ends, np.int64)
    if starts.shape != ends.shape or starts.ndim != 1:
        raise ValueError(f"starts and ends must be of one shape (n_frames,); got {starts.shape} and {ends.shape}")
    if starts.size and (starts.min() < 0 or ends.max() > data.size or (ends < starts).any()):
        raise ValueError(f"each frame must lie within the buffer of {data.size} bytes, its end not before its start")
    slow = np.ones(starts.size, np.bool_)
    if protocol == "gb26875":
        rows = np.empty(int(np.maximum((ends - starts - 32) // 16, 0).sum()), _ANALOGUE)
        count = _analogues(data, starts, ends, received_ms, _PER_UNIT, rows, slow)
    elif protocol == "jt808":
        rows = np.empty(starts.size, _LOCATION)
        count = _locations(data, starts, ends, received_ms, rows, slow)
    else:
        raise ValueError(f"protocol must be gb26875 or jt808; got {protocol!r}")
    return {name: np.ascontiguousarray(rows[name][:count]) for name in rows.dtype.names or ()}, slow


@compiled
def _local_ms(year, month, day, hour, minute, second):  # type: ignore[no-untyped-def]
    """UTC ms of a time shown in China, or _NO_TIME when the calendar has no such time; years 2000-2255."""
    if month < 1 or month > 12 or day < 1 or hour > 23 or minute > 59 or second > 59:
        return _NO_TIME
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    last = 29 if leap else 28
    if month != 2:
        last = 30 if month in (4, 6, 9, 11) else 31
    if day > last:
        return _NO_TIME
    # days since 1970-01-01, counting years from March so that the leap day is the last
    y = year - 1 if month <= 2 else year
    era_day = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = 365 * y + y // 4 - y // 100 + y // 400 + era_day - 719468
    return (days * 86400 + hour * 3600 + minute * 60 + second) * 1000 - _OFFSET


@compiled
def _number(data, at, size):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    for i in range(size):
        value = value << np.uint64(8) | np.uint64(data[at + i])
    return value


@compiled
def _number_low_first(data, at, size):  # type: ignore[no-untyped-def]
    value = np.uint64(0)
    for i in range(size - 1, -1, -1):
        value = value << np.uint64(8) | np.uint64(data[at + i])
    return value


@compiled
def _analogues(data, starts, ends, received_ms, per_unit, rows, slow):  # type: ignore[no-untyped-def]
    n = 0
    for f in range(starts.size):
        s, e = starts[f], ends[f]
        size = e - s
        if size < 32 or data[s] != 0x40 or data[s + 1] != 0x40 or data[e - 1] != 0x23 or data[e - 2] != 0x23:
            continue
        length = np.int64(data[s + 24]) | np.int64(data[s + 25]) << 8
        command = data[s + 26]
        if length > MAX_UNIT or size != 30 + length or (command != SEND and command != ANSWER) or data[s + 27] != 3:
            continue
        count = np.int64(data[s + 28])
        total = np.int64(0)
        for i in range(s + 2, e - 3):
            total += data[i]
        if total & 0xFF != data[e - 3] or length != 2 + 16 * count:
            continue
        slow[f] = False
        device = _number_low_first(data, s + 12, 6)
        for k in range(count):
            o = s + 29 + 16 * k
            raw = np.int64(data[o + 8]) | np.int64(data[o + 9]) << 8
            if raw >= 0x8000:
                raw -= 0x10000
            t = o + 10
            ts = _local_ms(
                2000 + np.int64(data[t + 5]),
                np.int64(data[t + 4]),
                np.int64(data[t + 3]),
                data[t + 2],
                data[t + 1],
                data[t],
            )
            believed = 0 < ts <= received_ms + _AHEAD
            row = rows[n]
            row.frame = f
            row.device = device
            row.sys_type = data[o]
            row.sys_addr = data[o + 1]
            row.comp_type = data[o + 2]
            row.comp_addr = _number_low_first(data, o + 3, 4)
            row.analog_type = data[o + 7]
            row.raw = raw
            row.value = raw / per_unit[data[o + 7]]
            row.ts_ms = ts if believed else received_ms
            row.quality = GOOD if believed else NO_DEVICE_TIME
            n += 1
    return n


@compiled
def _unescape(data, start, end, plain):  # type: ignore[no-untyped-def]
    """Bytes between the flags, unescaped into `plain`; their number, or -1 when the check or an escape is wrong."""
    n = 0
    check = np.uint8(0)
    i = start + 1
    while i < end - 1:
        value = data[i]
        if value == 0x7E:
            return -1
        if value == 0x7D:
            i += 1
            if i >= end - 1 or data[i] < 1 or data[i] > 2:
                return -1  # a bare check byte 7D too: the slow path knows that quirk
            value = np.uint8(0x7C + data[i])
        plain[n] = value
        check ^= value
        n += 1
        i += 1
    return n - 1 if check == 0 else -1


@compiled
def _bcd(data, at):  # type: ignore[no-untyped-def]
    high, low = np.int64(data[at]) >> 4, np.int64(data[at]) & 15
    return 10 * high + low if high < 10 and low < 10 else np.int64(-1)


@compiled
def _bcd_ms(data, at):  # type: ignore[no-untyped-def]
    year, month, day = _bcd(data, at), _bcd(data, at + 1), _bcd(data, at + 2)
    hour, minute, second = _bcd(data, at + 3), _bcd(data, at + 4), _bcd(data, at + 5)
    if min(year, hour, minute, second) < 0:
        return _NO_TIME
    return _local_ms(2000 + year, month, day, hour, minute, second)


@compiled
def _mileage(plain, at, end):  # type: ignore[no-untyped-def]
    """Mileage in km among the items, NaN if none; -1 when an active-safety item asks for the slow path."""
    found = np.nan
    while at + 2 <= end and at + 2 + plain[at + 1] <= end:
        if 0x64 <= plain[at] <= 0x67:
            return -1.0
        if plain[at] == 1 and plain[at + 1] == 4:
            found = np.float64(_number(plain, at + 2, 4)) / 10
        at += 2 + np.int64(plain[at + 1])
    return found


@compiled
def _locations(data, starts, ends, received_ms, rows, slow):  # type: ignore[no-untyped-def]
    plain = np.empty(MAX_FRAME, np.uint8)
    n = 0
    for f in range(starts.size):
        s, e = starts[f], ends[f]
        if e - s < 42 or e - s > MAX_FRAME or data[s] != 0x7E or data[e - 1] != 0x7E:
            continue
        size = _unescape(data, s, e, plain)
        if size < 40 or plain[0] != 0x02 or plain[1] != 0x00 or plain[2] & 0x3C:
            continue  # other messages, encrypted, sub-packaged
        length = np.int64(plain[2] & 3) << 8 | np.int64(plain[3])
        of_2019 = plain[2] & 0x40 != 0
        body = 17 if of_2019 else 12
        if size != body + length or length < 28:
            continue  # quirks of the header too
        mileage = _mileage(plain, body + 28, size)
        if mileage < 0:
            continue
        slow[f] = False
        row = rows[n]
        row.frame = f
        row.phone_high = _number(plain, 5, 2) if of_2019 else 0
        row.phone = _number(plain, 7, 8) if of_2019 else _number(plain, 4, 6)
        row.version = 2019 if of_2019 else 2013
        row.serial = _number(plain, body - 2, 2)
        status = np.int64(_number(plain, body + 4, 4))
        lat, lon = np.int64(_number(plain, body + 8, 4)), np.int64(_number(plain, body + 12, 4))
        alt = np.int64(_number(plain, body + 16, 2))
        ts = _bcd_ms(plain, body + 22)
        believed = 0 < ts <= received_ms + _AHEAD
        fixed = (
            status & 2 != 0 and status & 32 == 0 and (lat != 0 or lon != 0) and lat <= 90_000_000 and lon <= 180_000_000
        )
        row.alarm = _number(plain, body, 4)
        row.status = status
        row.lat = (-lat if status & 4 else lat) / 1e6
        row.lon = (-lon if status & 8 else lon) / 1e6
        row.alt = alt - 0x10000 if alt >= 0x8000 else alt
        row.speed_kmh = np.int64(_number(plain, body + 18, 2)) / 10
        row.direction = np.int64(_number(plain, body + 20, 2))
        row.mileage_km = mileage
        row.ts_ms = ts if believed else received_ms
        row.quality = GOOD if believed else NO_DEVICE_TIME
        row.fix_quality = row.quality if fixed else BAD
        n += 1
    return n
