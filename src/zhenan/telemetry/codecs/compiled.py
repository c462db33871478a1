"""What the compiled decoders share: numbers as text, exactly rounded, and a table of known names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry import jit

U: Final = np.uint64
_M32: Final = np.uint64(0xFFFFFFFF)
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOWEST, _HIGHEST = -342, 308  # beyond these powers of ten a number of 19 digits is 0 or infinite
_EXACT: Final = 10.0 ** np.arange(23)  # the powers of ten that a float64 holds exactly
_MOST_DIGITS: Final = 19  # fit into 64 bits


compiled = jit.compiled()


def _powers() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The upper and lower 64 bits of 10^q / 2^k, scaled to 128 bits with the highest one set, q in order.

    Rounded down for q ≥ 0 and up for q < 0, as the proof in Lemire, "Number parsing at a gigabyte per second"
    (Software: Practice and Experience, 2021), wants them.
    """
    high, low = [], []
    for q in range(_LOWEST, _HIGHEST + 1):
        power = 5 ** abs(q)
        if q >= 0:
            shift = power.bit_length() - 128
            number = power >> shift if shift > 0 else power << -shift
        else:
            z = (power - 1).bit_length()  # 2^z >= 5^-q
            number = (1 << (2 * z + 128)) // power + 1
            while number >= 1 << 128:
                number >>= 1
        high.append(number >> 64)
        low.append(number & 0xFFFFFFFFFFFFFFFF)
    return np.array(high, np.uint64), np.array(low, np.uint64)


_HIGH, _LOW = _powers()


@compiled
def _product(a, b):  # type: ignore[no-untyped-def]
    """Upper and lower 64 bits of a product of two uint64."""
    a0, a1, b0, b1 = a & _M32, a >> U(32), b & _M32, b >> U(32)
    low = a0 * b0
    middle = a1 * b0 + (low >> U(32))
    other = a0 * b1 + (middle & _M32)
    return a1 * b1 + (middle >> U(32)) + (other >> U(32)), other << U(32) | low & _M32


@compiled
def _leading_zeros(w):  # type: ignore[no-untyped-def]
    n = 0
    while w >> U(63) == U(0):
        w = w << U(1)
        n += 1
    return n


@compiled
def _rounded(w, q):  # type: ignore[no-untyped-def]
    """The bits of the float64 nearest to w · 10^q (w > 0), or 0 when this way cannot tell: denormal, infinite, too near
    to the middle between two. Eisel and Lemire's algorithm, from the paper named above."""
    if q < _LOWEST or q > _HIGHEST:
        return U(0)
    zeros = _leading_zeros(w)
    w = w << U(zeros)
    high, low = _product(w, _HIGH[q - _LOWEST])
    if high & U(0x1FF) == U(0x1FF):
        more, _ = _product(w, _LOW[q - _LOWEST])
        low = low + more
        if low < more:
            high = high + U(1)
    if low == _ALL and (q < -27 or q > 55):
        return U(0)
    top = np.int64(high >> U(63))
    mantissa = high >> U(top + 9)
    exponent = (217706 * q >> 16) + 63 + top - zeros + 1023
    if exponent <= 0:
        return U(0)
    if low <= U(1) and -4 <= q <= 23 and mantissa & U(3) == U(1) and mantissa << U(top + 9) == high:
        mantissa = mantissa & ~U(1)  # exactly in the middle: to even
    mantissa = (mantissa + (mantissa & U(1))) >> U(1)
    if mantissa >= U(1) << U(53):
        mantissa = U(1) << U(52)
        exponent += 1
    if exponent >= 0x7FF:
        return U(0)
    return mantissa & ~(U(1) << U(52)) | U(exponent) << U(52)


@compiled
def blank(data, i):  # type: ignore[no-untyped-def]
    """Position behind the white space at i, as JSON has it. Behind the data there must be a zero byte."""
    while data[i] == 32 or data[i] == 10 or data[i] == 13 or data[i] == 9:
        i += 1
    return i


@compiled
def number(data, at, end, bits, floats):  # type: ignore[no-untyped-def]
    """(position behind the JSON number at `at`, its value), exactly rounded; position -1 when it is to be read slowly.

    `data`: what counts ends at `end`, and a zero byte stands there, at which every loop ends. Places are counted
    unsigned: signed ones might be counted from the end, which costs a look each time. `bits`, `floats`: one place of
    memory, as uint64 and as float64.
    """
    i = U(at)
    negative = data[i] == 45
    if negative:
        i += U(1)
    first, mantissa, power = i, U(0), np.int64(0)
    digit = U(data[i]) - U(48)
    while digit < U(10):
        mantissa = mantissa * U(10) + digit
        i += U(1)
        digit = U(data[i]) - U(48)
    digits = i - first
    if data[first] == 48:
        digits -= U(1)
        if digits != U(0):
            return -1, 0.0
    elif digits == U(0):
        return -1, 0.0
    whole = True
    if data[i] == 46:
        whole = False
        begin = i = i + U(1)
        digit = U(data[i]) - U(48)
        while digit < U(10):
            mantissa = mantissa * U(10) + digit
            digits += U(1) if mantissa != U(0) else U(0)
            i += U(1)
            digit = U(data[i]) - U(48)
        power = np.int64(begin) - np.int64(i)
        if power == 0:
            return -1, 0.0
    if digits > U(_MOST_DIGITS) or i > U(end):
        return -1, 0.0
    if data[i] == 101 or data[i] == 69:
        whole = False
        i, more = _power(data, i + U(1))
        if i == U(0):
            return -1, 0.0
        power += more
    if mantissa == U(0):
        return np.int64(i), -0.0 if negative and not whole else 0.0
    if mantissa <= U(1) << U(53) and -22 <= power <= 22:
        value = np.float64(mantissa)
        value = value * _EXACT[power] if power >= 0 else value / _EXACT[-power]
    else:
        bits[0] = _rounded(mantissa, power)
        if bits[0] == U(0):
            return -1, 0.0
        value = floats[0]
    return np.int64(i), -value if negative else value


@compiled
def _power(data, i):  # type: ignore[no-untyped-def]
    """(position behind the power of ten at i, the power); position 0 when it has no digit or more than four."""
    down = data[i] == 45
    if down or data[i] == 43:
        i += U(1)
    first, said = i, np.int64(0)
    while data[i] >= 48 and data[i] <= 57 and i - first < U(5):
        said = said * 10 + np.int64(data[i]) - 48
        i += U(1)
    if i == first or i - first > U(4):
        return U(0), said
    return i, -said if down else said


@compiled
def whole_number(data, at, end):  # type: ignore[no-untyped-def]
    """(position behind the integer at `at`, its value); position -1 when it is something else, or beyond 62 bits.
    `data`: as for `number`."""
    i = U(at)
    negative = data[i] == 45
    if negative:
        i += U(1)
    first, value = i, U(0)
    digit = U(data[i]) - U(48)
    while digit < U(10):
        value = value * U(10) + digit
        i += U(1)
        digit = U(data[i]) - U(48)
    digits = i - first
    if digits == U(0) or digits > U(19) or i > U(end) or value >= U(1 << 62) or (data[first] == 48 and digits > U(1)):
        return -1, np.int64(0)
    return np.int64(i), -np.int64(value) if negative else np.int64(value)


class Names(NamedTuple):
    """Byte strings by hash: open addressing, at most half full. `find` gives their number."""

    slots: NDArray[np.int32]
    hashes: NDArray[np.uint64]
    starts: NDArray[np.int64]  # shape (n + 1,): name i is text[starts[i]:starts[i + 1]]
    text: NDArray[np.uint8]


class Points(NamedTuple):
    """What the compiled decoders know of the register. Arrays of one length are of channels, by their number.

    `point` is -1 where a channel is not one plain number of one point: then the register itself is to be asked.
    `after`: which channel was named after which, when it last was: senders repeat their order. It is only a guess that
    is looked at before a search, so several threads may write to it at once.
    """

    devices: Names
    channels: Names  # of device and channel: see `channel_name`
    point: NDArray[np.int32]
    device: NDArray[np.int32]
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    after: NDArray[np.int32]


def channel_name(device: str, channel: str) -> bytes:
    """How a channel of a device is called among `Points.channels`. No name of either holds a zero byte."""
    return device.encode() + b"\0" + channel.encode()


@compiled
def _hash_on(state, data, start, end):  # type: ignore[no-untyped-def]
    for i in range(start, end):
        state = (state ^ U(data[i])) * U(0x100000001B3)
    return state


@compiled
def _spread(state):  # type: ignore[no-untyped-def]
    state = (state ^ state >> U(33)) * U(0xFF51AFD7ED558CCD)
    return state ^ state >> U(33)


@compiled
def _fill(slots, hashes, starts, text):  # type: ignore[no-untyped-def]
    mask = U(slots.size - 1)
    for n in range(hashes.size):
        hashes[n] = _spread(_hash_on(U(0xCBF29CE484222325), text, starts[n], starts[n + 1]))
        at = hashes[n] & mask
        while slots[at] >= 0:
            at = at + U(1) & mask
        slots[at] = n


def names_of(given: Sequence[bytes]) -> Names:
    """A table of different names, numbered in their order."""
    starts = np.zeros(len(given) + 1, np.int64)
    np.cumsum([len(name) for name in given], out=starts[1:])
    text = np.frombuffer(b"".join(given) or b"\0", np.uint8)
    slots = np.full(max(16, 1 << (2 * len(given)).bit_length()), -1, np.int32)
    hashes = np.zeros(len(given), np.uint64)
    _fill(slots, hashes, starts, text)
    return Names(slots, hashes, starts, text)


@compiled
def find(slots, hashes, starts, text, data, start, end):  # type: ignore[no-untyped-def]
    """The number of the name data[start:end], or -1. The arrays are those of Names: passed on their own, since to
    pass a tuple of arrays costs more than the search."""
    found = _spread(_hash_on(U(0xCBF29CE484222325), data, start, end))
    mask = U(slots.size - 1)
    at = found & mask
    while slots[at] >= 0:
        n = slots[at]
        s = starts[n]
        if hashes[n] == found and starts[n + 1] - s == end - start:
            i = 0
            while i < end - start and text[s + i] == data[start + i]:
                i += 1
            if i == end - start:
                return n
        at = at + U(1) & mask
    return -1


@compiled
def _same(a, i, b, j, size):  # type: ignore[no-untyped-def]
    k = U(0)
    while k < size and a[i + k] == b[j + k]:
        k += U(1)
    return k == size


@compiled
def is_pair(starts, text, n, data, start, end, start2, end2):  # type: ignore[no-untyped-def]
    """Whether name n is data[start:end], a zero byte, data[start2:end2]."""
    s = U(starts[n])
    first, second = U(end - start), U(end2 - start2)
    if U(starts[n + 1]) - s != first + U(1) + second or text[s + first] != 0:
        return False
    return _same(text, s, data, U(start), first) and _same(text, s + first + U(1), data, U(start2), second)


@compiled
def find_pair(slots, hashes, starts, text, data, start, end, start2, end2):  # type: ignore[no-untyped-def]
    """The number of the name data[start:end], a zero byte, data[start2:end2], or -1."""
    state = _hash_on(U(0xCBF29CE484222325), data, start, end) * U(0x100000001B3)
    found = _spread(_hash_on(state, data, start2, end2))
    mask = U(slots.size - 1)
    at = found & mask
    while slots[at] >= 0:
        n = slots[at]
        if hashes[n] == found and is_pair(starts, text, n, data, start, end, start2, end2):
            return n
        at = at + U(1) & mask
    return -1
