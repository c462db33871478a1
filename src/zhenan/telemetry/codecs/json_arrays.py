"""JSON arrays of readings, the platform's own shape: [{"d": device, "m": channel, "t": UTC ms, "v": value}, …].

`t` may be left out: then the time is that of receipt. The keys come in any order; another key is a mistake of its row.
`scan` is compiled and knows plain names and numbers; whatever else JSON may be is left to `read`, which says the same
of every row that both can read.
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.compiled import Points, U, blank, compiled, number, whole_number
from zhenan.telemetry.codecs.rows import NO_TIME, PAD, SHAPE, TAKEN, TIME, VALUE, Fault, Item, Scan, padded, settle

_SMALLEST: Final = 16  # bytes of a row with empty names, beyond what the compiled scan takes
# float() turns 1e999 into infinity, so that one value is refused and not the whole body.
_DECODER: Final = msgspec.json.Decoder(float_hook=float)
_KEYS: Final = frozenset("dmtv")


def scan(
    body: bytes, points: Points, allowed: NDArray[np.uint8], received_ms: int, latest_ms: int, most: int
) -> Scan | None:
    """Every row in the body's order, or None when the body is not plainly of the shape and is to be read slowly.

    Args:
        allowed: uint8, one a device of `points`: whether the sender may report for it.
        latest_ms: a later time is FUTURE.
        most: rows. Raises CodecError("too_many") when there are more.
    """
    room = min(most, len(body) // _SMALLEST + 1)
    out, said, data = Scan.room(room), np.empty((room, 4), np.int64), padded(body)
    bits = np.zeros(1, np.uint64)
    found = _scan(data, bits, bits.view(np.float64), said, out.status, out.start, out.end, out.ts, out.value)
    if found == -2:
        raise CodecError("too_many")
    if found < 0:
        return None
    out.row[:found] = np.arange(found)
    out = out.first(found)
    settle(points, allowed, received_ms, latest_ms, data, said[:found], out)
    return out


@compiled
def _name(data, i):  # type: ignore[no-untyped-def]
    """End of the plain ASCII text that begins behind the quote at i - 1, or -1."""
    while data[i] != 34:
        if data[i] < 32 or data[i] > 126 or data[i] == 92:
            return -1
        i += 1
    return i


@compiled
def _row(data, i, bits, floats):  # type: ignore[no-untyped-def]
    """(position behind the object at i, or -1; its device; its channel; its time; its value)"""
    device = measure = (0, 0)
    ts, value, seen = NO_TIME, 0.0, 0
    end = data.size - PAD
    nothing = (-1, device, measure, ts, value)
    i = blank(data, i + 1)
    while True:
        if data[i] != 34 or data[i + 1] == 0 or data[i + 2] != 34:
            return nothing
        key = data[i + 1]
        i = blank(data, i + 3)
        if data[i] != 58:
            return nothing
        i = blank(data, i + 1)
        if key == 100 or key == 109:
            if data[i] != 34:
                return nothing
            last = _name(data, i + 1)
            if last < 0:
                return nothing
            if key == 100:
                device, bit = (i + 1, last), 1
            else:
                measure, bit = (i + 1, last), 2
            i = last + 1
        elif key == 116:
            i, ts = whole_number(data, i, end)
            bit = 4
        elif key == 118:
            i, value = number(data, i, end, bits, floats)
            bit = 8
        else:
            return nothing
        if i < 0 or seen & bit:
            return nothing
        seen |= bit
        i = blank(data, i)
        if data[i] == 125:
            break
        if data[i] != 44:
            return nothing
        i = blank(data, i + 1)
    if seen & 11 != 11:
        return nothing
    return i + 1, device, measure, ts, value


@compiled
def _usual(data, i, n, bits, floats, said, times, values):  # type: ignore[no-untyped-def]
    """Position behind the object at i, which is written to the places at n; 0 when it is not of the usual form, its
    keys in the order d, m, t, v without blanks: then `_row` is to be asked, which would say the same of one that is."""
    i, end = U(i), data.size - PAD
    for letter in (U(100), U(109)):
        if data[i + U(1)] != 34 or data[i + U(2)] != letter or data[i + U(3)] != 34 or data[i + U(4)] != 58:
            return 0
        if data[i + U(5)] != 34:
            return 0
        i += U(6)
        k = 0 if letter == U(100) else 2
        said[n, k] = i
        while data[i] != 34:
            if data[i] < 32 or data[i] > 126 or data[i] == 92:
                return 0
            i += U(1)
        said[n, k + 1] = i
        i += U(1)
        if data[i] != 44:
            return 0
    if data[i + U(1)] != 34 or data[i + U(2)] != 116 or data[i + U(3)] != 34 or data[i + U(4)] != 58:
        return 0
    at, times[n] = whole_number(data, i + U(5), end)
    if at < 0 or data[at] != 44 or data[at + 1] != 34 or data[at + 2] != 118 or data[at + 3] != 34:
        return 0
    if data[at + 4] != 58:
        return 0
    at, values[n] = number(data, at + 5, end, bits, floats)
    return at + 1 if at > 0 and data[at] == 125 else 0


@compiled
def _scan(data, bits, floats, said, status, starts, ends, times, values):  # type: ignore[no-untyped-def]
    i = blank(data, 0)
    if data[i] != 91:
        return -1
    i = blank(data, i + 1)
    n = 0
    if data[i] == 93:
        return 0 if blank(data, i + 1) == data.size - PAD else -1
    while data[i] == 123:
        if n == status.size:
            return -2
        after = _usual(data, i, n, bits, floats, said, times, values)
        if after == 0:
            after, device, measure, times[n], values[n] = _row(data, i, bits, floats)
            if after < 0:
                return -1
            said[n, 0], said[n, 1], said[n, 2], said[n, 3] = device[0], device[1], measure[0], measure[1]
        starts[n], ends[n], status[n] = i, after, TAKEN
        n += 1
        i = blank(data, after)
        if data[i] == 93:
            return n if blank(data, i + 1) == data.size - PAD else -1
        if data[i] != 44:
            return -1
        i = blank(data, i + 1)
    return -1


def read(body: bytes, most: int, first: int = 0) -> list[Item | Fault]:
    """Every row, one by one, numbered from `first`. Raises CodecError: json, depth, utf8, shape, too_many."""
    try:
        body.decode("utf-8")
        document = _DECODER.decode(body)
    except UnicodeDecodeError as err:
        raise CodecError("utf8") from err
    except msgspec.DecodeError as err:
        raise CodecError("json") from err
    except RecursionError as err:
        raise CodecError("depth") from err
    if not isinstance(document, list):
        raise CodecError("shape")
    if len(document) > most:
        raise CodecError("too_many")
    return [_item(number, row) for number, row in enumerate(document, first)]


def _item(number: int, row: Any) -> Item | Fault:
    if not isinstance(row, dict):
        return Fault(number, SHAPE, 'a row is an object such as {"d": "dev", "m": "lel", "t": 1767225600000, "v": 3.2}')
    if not _KEYS.issuperset(row):
        return Fault(number, SHAPE, f"a row has the keys d, m, t, v; got {', '.join(sorted(row))[:100]}")
    device, channel, ts, value = row.get("d"), row.get("m"), row.get("t"), row.get("v")
    if not isinstance(device, str) or not isinstance(channel, str):
        return Fault(number, SHAPE, "d and m must be there, and text")
    if "t" in row and (not isinstance(ts, int) or isinstance(ts, bool) or abs(ts) >= 2**62):
        return Fault(number, TIME, "t must be a whole number: UTC milliseconds", device)
    if isinstance(value, str):
        return Item(number, device, channel, ts, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Fault(number, VALUE, "v must be a number, or a word that the device's model knows", device)
    try:
        plain = float(value)
    except OverflowError:
        plain = math.inf
    if not math.isfinite(plain):
        return Fault(number, VALUE, "v must be finite", device)
    return Item(number, device, channel, ts, plain)
