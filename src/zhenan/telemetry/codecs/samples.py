"""Samples as JSON, {"ts": UTC ms, "values": {channel: number, …}}, flat or in a list: many payloads at once.

`scan` is compiled and knows plain names and numbers and whole milliseconds; `mqtt_json` and the register say the same
of every payload that it reads, and are to be asked for every other.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.compiled import Points, blank, compiled, find, number, whole_number
from zhenan.telemetry.codecs.mqtt_json import MAX_PAYLOAD
from zhenan.telemetry.codecs.rows import NO_TIME, TAKEN, Scan, settle

MOST: Final = 64  # values of one sample; one with more is left
_SMALLEST: Final = 6  # bytes that a value takes at least
_LONGEST: Final = MAX_PAYLOAD
READINGS: Final = MAX_PAYLOAD // _SMALLEST + MOST  # there must be room for so many


class Room(NamedTuple):
    """Places for payloads and for their readings, used again and again. `said`, `sample`: of each reading, where its
    device and channel are in the data, and which sample it is of."""

    plain: NDArray[np.uint8]
    timed: NDArray[np.uint8]
    device: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    said: NDArray[np.int64]
    sample: NDArray[np.int64]
    rows: Scan
    bits: NDArray[np.uint64]

    @classmethod
    def of(cls, payloads: int, readings: int) -> Room:
        """For so many payloads and READINGS or more readings."""
        kinds: tuple[Any, ...] = (np.uint8, np.uint8, np.int64, np.int64, np.int64)
        places = [np.empty(payloads, kind) for kind in kinds]
        said, sample = np.empty((readings, 4), np.int64), np.empty(readings, np.int64)
        return cls._make((*places, said, sample, Scan.room(readings), np.zeros(1, np.uint64)))


class Payloads(NamedTuple):
    """Of each payload, shape (n,), in their order: its device is data[name:name_end], its JSON data[start:end]."""

    name: NDArray[np.int64]
    name_end: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    def behind(self, first: int) -> Payloads:
        """Those from `first` on."""
        return Payloads._make(column[first:] for column in self)


def scan(
    data: NDArray[np.uint8], payloads: Payloads, points: Points, allowed: NDArray[np.uint8], received_ms: int,
    latest_ms: int, room: Room,
) -> int:  # fmt: skip
    """How many of the payloads were looked at (all, unless room is scarce); what they say is in `room`.

    `allowed`: uint8, one a device of `points`: whether its payloads are of this form.
    Of payload n `room.plain[n]` tells whether it was read: then its readings are the rows first[n] … last[n] - 1, and
    `room.timed[n]` whether each has a time of its own.
    `room.device[n]`: its number among `points.devices`, -1 for none. Behind the data there must be a zero byte.
    """
    names = points.devices
    floats = room.bits.view(np.float64)
    count, rows = _scan(
        data, *payloads, names.slots, names.hashes, names.starts, names.text, allowed, room.bits, floats, room.plain,
        room.timed, room.device, room.first, room.last, room.said, room.sample, room.rows.status, room.rows.ts,
        room.rows.value,
    )  # fmt: skip
    settle(points, allowed, received_ms, latest_ms, data, room.said[:rows], room.rows)
    _settle(count, room.plain, room.first, room.last, room.sample, room.rows.status, room.rows.point)
    return int(count)


@compiled
def _word(data, i):  # type: ignore[no-untyped-def]
    """End of the name that begins at i, behind a quote; -1 when it is not of 1 to 64 letters, digits, _, . and -"""
    begin = i
    while data[i] != 34:
        c = data[i]
        small = c | 32
        letter = 97 <= small <= 122 and c < 128
        if not (letter or 48 <= c <= 57 or c == 95 or c == 46 or c == 45):
            return -1
        i += 1
    return i if 0 < i - begin <= 64 else -1


@compiled
def _key(data, i):  # type: ignore[no-untyped-def]
    """(end of the name behind the quote at i, position of its value); (-1, 0) when there is no plain one."""
    if data[i] != 34:
        return -1, 0
    last = _word(data, i + 1)
    if last < 0:
        return -1, 0
    i = blank(data, last + 1)
    if data[i] != 58:
        return -1, 0
    return last, blank(data, i + 1)


@compiled
def _row(data, i, end, key, last, r, name, name_end, bits, floats, said, values):  # type: ignore[no-untyped-def]
    """Position behind the number at i, written to row r as the value of channel data[key:last]; -1 for no number."""
    i, values[r] = number(data, i, end, bits, floats)
    said[r, 0], said[r, 1], said[r, 2], said[r, 3] = name, name_end, key, last
    return i


@compiled
def _values(data, i, end, r, name, name_end, bits, floats, said, values):  # type: ignore[no-untyped-def]
    """(position behind the object at i, next free row), its values written from row r on; (-1, r): not plain."""
    begin = r
    i = blank(data, i + 1)
    if data[i] == 125:
        return i + 1, r
    while True:
        last, at = _key(data, i)
        if last < 0 or r - begin == MOST:
            return -1, begin
        i = _row(data, at, end, i + 1, last, r, name, name_end, bits, floats, said, values)
        if i < 0:
            return -1, begin
        r += 1
        i = blank(data, i)
        if data[i] == 125:
            return i + 1, r
        if data[i] != 44:
            return -1, begin
        i = blank(data, i + 1)


@compiled
def _is_ts(data, key, last):  # type: ignore[no-untyped-def]
    return last - key == 2 and data[key] == 116 and data[key + 1] == 115


@compiled
def _is_values(data, key, last):  # type: ignore[no-untyped-def]
    return (
        last - key == 6 and data[key] == 118 and data[key + 1] == 97 and data[key + 2] == 108
        and data[key + 3] == 117 and data[key + 4] == 101 and data[key + 5] == 115
    )  # fmt: skip


@compiled
def _sample(data, i, end, r, name, name_end, bits, floats, said, times, values):  # type: ignore[no-untyped-def]
    """(position behind the sample at i, next free row), its values written from row r on; (-1, r): not plain."""
    begin, ts, timed, nested, flat = r, NO_TIME, False, False, False
    i = blank(data, i + 1)
    while data[i] != 125:
        last, at = _key(data, i)
        if last < 0 or r - begin >= MOST:
            return -1, begin
        key, i = i + 1, at
        if _is_ts(data, key, last):
            if timed:
                return -1, begin
            i, ts = whole_number(data, i, end)
            timed = True
        elif data[i] == 123:
            if nested or not _is_values(data, key, last):
                return -1, begin
            i, r = _values(data, i, end, r, name, name_end, bits, floats, said, values)
            nested = True
        else:
            i = _row(data, i, end, key, last, r, name, name_end, bits, floats, said, values)
            r, flat = r + 1, True
        if i < 0:
            return -1, begin
        i = blank(data, i)
        if data[i] == 44:
            i = blank(data, i + 1)
            if data[i] == 125:
                return -1, begin
        elif data[i] != 125:
            return -1, begin
    if nested and flat:
        return -1, begin
    for n in range(begin, r):
        times[n] = ts
    return i + 1, r


@compiled
def _payload(  # type: ignore[no-untyped-def]
    data, i, end, r, name, name_end, bits, floats, said, sample, times, values
):
    """Next free row behind those of the payload data[i:end]; -1 when it is not plain."""
    i = blank(data, i)
    if data[i] == 123:
        begin = r
        i, r = _sample(data, i, end, r, name, name_end, bits, floats, said, times, values)
        sample[begin:r] = begin
        return r if i > 0 and blank(data, i) == end else -1
    if data[i] != 91:
        return -1
    i = blank(data, i + 1)
    while data[i] == 123:
        begin = r
        i, r = _sample(data, i, end, r, name, name_end, bits, floats, said, times, values)
        if i < 0:
            return -1
        sample[begin:r] = begin
        i = blank(data, i)
        if data[i] == 93:
            return r if blank(data, i + 1) == end else -1
        if data[i] != 44:
            return -1
        i = blank(data, i + 1)
    return -1


@compiled
def _scan(  # type: ignore[no-untyped-def]
    data, name, name_end, start, stop, slots, hashes, starts, text, allowed, bits, floats, plain, timed, device, first,
    last, said, sample, status, times, values,
):  # fmt: skip
    """(payloads looked at, rows written)"""
    rows = 0
    for n in range(min(name.size, plain.size)):
        size = stop[n] - start[n]
        if size <= _LONGEST and values.size - rows < size // _SMALLEST + MOST:
            return n, rows
        device[n] = find(slots, hashes, starts, text, data, name[n], name_end[n])
        first[n] = last[n] = rows
        found = -1
        if device[n] >= 0 and allowed[device[n]] and size <= _LONGEST:
            begin, end, who, who_end = start[n], stop[n], name[n], name_end[n]
            found = _payload(data, begin, end, rows, who, who_end, bits, floats, said, sample, times, values)
        plain[n], timed[n] = found >= 0, 1
        if found >= 0:
            for r in range(rows, found):
                if times[r] == NO_TIME:
                    timed[n] = 0
            status[rows:found] = TAKEN
            last[n] = rows = found
    return min(name.size, plain.size), rows


@compiled
def _settle(count, plain, first, last, sample, status, point):  # type: ignore[no-untyped-def]
    """A payload is plain when all of its readings are taken, and none of a sample twice."""
    for n in range(count):
        for r in range(first[n], last[n]):
            if status[r] != TAKEN:
                plain[n] = 0
                break
            q = r - 1
            while q >= sample[r] and point[q] != point[r]:
                q -= 1
            if q >= sample[r]:
                plain[n] = 0
                break
