"""InfluxDB line protocol: `measurement,tag=text field=number,field=number time`, a line a sample, a reading a field.

The device is the tag `device`; without one it is the measurement. A field is a channel of the device. Lines that are
blank or begin with # say nothing. `scan` is compiled and knows lines without escapes, quotes and odd numbers; others
are marked, and `read` takes them one by one and says the same of every line that both can read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.compiled import Points, compiled, number, whole_number
from zhenan.telemetry.codecs.rows import (
    NO_TIME,
    PAD,
    SHAPE,
    SLOW,
    TAKEN,
    TIME,
    VALUE,
    Fault,
    Item,
    Scan,
    padded,
    settle,
)

# How many of a unit make a millisecond (positive), or how many milliseconds make one of it (negative).
PRECISIONS: Final = {"ns": 1_000_000, "us": 1_000, "ms": 1, "s": -1_000}
_SMALLEST: Final = 3  # bytes of a field: ",f=1" and less
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_WHOLE: Final = re.compile(r"[+-]?\d{1,40}[iu]?")
_TIME: Final = re.compile(r"[+-]?\d{1,19}")
_TRUTH: Final = {**dict.fromkeys(("t", "T", "true", "True", "TRUE"), 1.0),
                 **dict.fromkeys(("f", "F", "false", "False", "FALSE"), 0.0)}  # fmt: skip


def scan(
    body: bytes, points: Points, allowed: NDArray[np.uint8], received_ms: int, latest_ms: int, most: int, unit: str
) -> Scan:
    """Every field in the body's order; SLOW: a whole line that `read` is to be asked for.

    Args: see json_arrays.scan; `unit`: one of PRECISIONS. `row` is the number of the line, from 0.
    Raises: CodecError("too_many") when there are more than `most` fields.
    """
    room = min(most, len(body) // _SMALLEST + 1)
    out, said, data = Scan.room(room), np.empty((room, 4), np.int64), padded(body)
    bits = np.zeros(1, np.uint64)
    found = _scan(data, PRECISIONS[unit], bits, bits.view(np.float64), said, out.status, out.row, out.start, out.end,
                  out.ts, out.value)  # fmt: skip
    if found < 0:
        raise CodecError("too_many")
    out = out.first(found)
    settle(points, allowed, received_ms, latest_ms, data, said[:found], out)
    return _whole_lines(out)


def _whole_lines(scan: Scan) -> Scan:
    """A line with one field that is to be read slowly is read slowly as a whole: a field does not tell its device."""
    slow = np.unique(scan.row[scan.status == SLOW])
    if not slow.size:
        return scan
    among = np.isin(scan.row, slow)
    first = np.ones(among.size, np.bool_)
    first[1:] = scan.row[1:] != scan.row[:-1]
    scan.status[among] = SLOW
    return Scan._make(column[~among | first] for column in scan)


@compiled
def _to_ms(ts, per_ms):  # type: ignore[no-untyped-def]
    """Milliseconds, rounded down; beyond any calendar where they would not fit."""
    if per_ms > 0:
        return ts // per_ms
    if ts > 10**14 or ts < -(10**14):
        return 10**17 if ts > 0 else -(10**17)
    return ts * -per_ms


@compiled
def _head(data, i):  # type: ignore[no-untyped-def]
    """(position of the blank behind measurement and tags, or -1; the device)"""
    first = i
    while data[i] > 32 and data[i] < 127 and data[i] != 44 and data[i] != 92 and data[i] != 34 and data[i] != 61:
        i += 1
    device = (first, i)
    if i == first:
        return -1, device
    tagged = False
    while data[i] == 44:
        key = i = i + 1
        while data[i] > 32 and data[i] < 127 and data[i] != 44 and data[i] != 92 and data[i] != 34 and data[i] != 61:
            i += 1
        if data[i] != 61 or i == key:
            return -1, device
        named = (
            i - key == 6 and data[key] == 100 and data[key + 1] == 101 and data[key + 2] == 118
            and data[key + 3] == 105 and data[key + 4] == 99 and data[key + 5] == 101
        )  # fmt: skip
        text = i = i + 1
        while data[i] > 32 and data[i] < 127 and data[i] != 44 and data[i] != 92 and data[i] != 34 and data[i] != 61:
            i += 1
        if i == text or (named and tagged):
            return -1, device
        if named:
            device, tagged = (text, i), True
    return (i if data[i] == 32 else -1), device


@compiled
def _field(data, i, end, bits, floats):  # type: ignore[no-untyped-def]
    """(position behind the field at i, or -1; where its name ends; its value)"""
    first = i
    while data[i] > 32 and data[i] < 127 and data[i] != 44 and data[i] != 92 and data[i] != 34 and data[i] != 61:
        i += 1
    if data[i] != 61 or i == first:
        return -1, i, 0.0
    after, value = number(data, i + 1, end, bits, floats)
    if after > 0 and (data[after] == 105 or data[after] == 117) and whole_number(data, i + 1, end)[0] == after:
        after += 1
    return after, i, value


@compiled
def _time(data, i, end, per_ms):  # type: ignore[no-untyped-def]
    """(whether the line whose last field ends at i is whole; its time in ms)"""
    ts = NO_TIME
    if data[i] == 32:
        i, said = whole_number(data, i + 1, end)
        if i < 0:
            return False, ts
        ts = _to_ms(said, per_ms)
    if data[i] == 13:
        i += 1
    return data[i] == 10 or i == end, ts


@compiled
def _line(data, i, end, per_ms, bits, floats, at, said, times, values):  # type: ignore[no-untyped-def]
    """Fields of the line at i, written from place `at` on, more than there are places only counted; -1: to be read
    slowly."""
    i, device = _head(data, i)
    if i < 0:
        return -1
    n = at
    while True:
        first = i + 1
        i, last, value = _field(data, first, end, bits, floats)
        if i < 0:
            return -1
        if n < values.size:
            said[n, 0], said[n, 1], said[n, 2], said[n, 3], values[n] = device[0], device[1], first, last, value
        n += 1
        if data[i] != 44:
            break
    good, ts = _time(data, i, end, per_ms)
    for k in range(at, min(n, times.size)):
        times[k] = ts
    return n - at if good else -1


@compiled
def _scan(data, per_ms, bits, floats, said, status, rows, starts, ends, times, values):  # type: ignore[no-untyped-def]
    end = data.size - PAD
    i = n = line = 0
    while i < end:
        start = i
        made = 0
        if data[i] != 10 and data[i] != 35 and not (data[i] == 13 and (data[i + 1] == 10 or i + 1 == end)):
            made = _line(data, i, end, per_ms, bits, floats, n, said, times, values)
            if made > status.size - n or (made < 0 and n == status.size):
                return -1
        if made > 0:
            i = said[n + made - 1, 3]
        while i < end and data[i] != 10:
            i += 1
        fared = TAKEN if made >= 0 else SLOW
        for _ in range(abs(made)):  # a line to be read slowly is one row
            status[n], rows[n], starts[n], ends[n] = fared, line, start, i
            n += 1
        i += 1
        line += 1
    return n


def read(line: bytes, row: int, unit: str) -> list[Item | Fault]:
    """The fields of one line; [] for one that says nothing."""
    try:
        text = line.decode("utf-8").removesuffix("\r").removesuffix("\n")
    except UnicodeDecodeError:
        return [Fault(row, SHAPE, "a line is text in UTF-8")]
    if not text.strip() or text.startswith("#"):
        return []
    parts = list(_split(text, " "))
    if len(parts) not in (2, 3) or not all(parts):
        return [Fault(row, SHAPE, "a line is: measurement[,tag=text…] field=value[,field=value…] [time]")]
    measurement, *tags = _split(parts[0], ",")
    pairs = [_pair(tag) for tag in tags]
    names = [key for key, _ in pairs]
    if not measurement or not all(key and text for key, text in pairs) or names.count("device") > 1:
        return [Fault(row, SHAPE, "a tag is name=text, each name once")]
    device = dict(pairs).get("device", _plain(measurement))
    ts_ms = None
    if len(parts) == 3:
        if not _TIME.fullmatch(parts[2]):
            return [Fault(row, TIME, f"the time must be a whole number of {unit}; got {parts[2][:40]}", device)]
        per_ms = PRECISIONS[unit]
        ts_ms = int(parts[2]) // per_ms if per_ms > 0 else int(parts[2]) * -per_ms
    return [_item(row, device, field, ts_ms) for field in _split(parts[1], ",")]


def _item(row: int, device: str, field: str, ts_ms: int | None) -> Item | Fault:
    name, _, written = _cut(field)
    if not name or not written:
        return Fault(row, SHAPE, f"a field is name=value; got {field[:80]}", device)
    if written in _TRUTH:
        return Item(row, device, _plain(name), ts_ms, _TRUTH[written])
    if len(written) > 1 and written[0] == written[-1] == '"':
        return Item(row, device, _plain(name), ts_ms, re.sub(r'\\(["\\])', r"\1", written[1:-1]))
    if _WHOLE.fullmatch(written):
        value = float(int(written.rstrip("iu")))
    elif _NUMBER.fullmatch(written):
        value = float(written)
    else:
        return Fault(row, VALUE, f"no number, text or truth: {written[:40]}", device)
    if not math.isfinite(value):
        return Fault(row, VALUE, f"the value must be finite; got {written[:40]}", device)
    return Item(row, device, _plain(name), ts_ms, value)


def _split(text: str, at: str) -> Iterator[str]:
    """The parts between separators that are neither escaped nor in a quoted field value."""
    start, quoted, i = 0, False, 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == '"' and (quoted or (i and text[i - 1] == "=")):
            quoted = not quoted
        elif text[i] == at and not quoted:
            yield text[start:i]
            start = i + 1
        i += 1
    yield text[start:]


def _cut(text: str) -> tuple[str, str, str]:
    """Name, =, rest; an escaped = belongs to the name."""
    found = re.match(r"((?:[^\\=]|\\.)*)=(.*)", text, re.DOTALL)
    return (found[1], "=", found[2]) if found else (text, "", "")


def _pair(tag: str) -> tuple[str, str]:
    name, _, text = _cut(tag)
    return _plain(name), _plain(text)


def _plain(text: str) -> str:
    """Without its escapes: a backslash before a comma, a blank or an equals sign."""
    return re.sub(r"\\([,= ])", r"\1", text)
