"""Rows of a text file as bytes: lines put together where a quoted cell runs over several, nothing lost on the way.

Neither UTF-8 nor GB18030 uses the bytes of quote, comma, semicolon, tab or line end inside a character, so rows can be
told apart before anything is decoded. A row that is broken (a quote never closed, longer than ROW_BYTES) costs itself
alone. Memory is bounded: at most ROW_BYTES of a row are held.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal

ROW_BYTES = 1_000_000  # a longer row is refused
ROW_LINES = 200  # more lines than this belong to no quoted cell: its quote was never closed
RAW_KEPT = 20_000  # bytes of a refused row that are kept

Broken = Literal["", "long", "quote"]


@dataclass(frozen=True)
class RawRecord:
    """One row's bytes, from physical line ``line`` (from 1). ``broken``: "long", "quote" (never closed) or ""."""

    line: int
    data: bytes
    broken: Broken = ""


def physical_lines(file: IO[bytes]) -> Iterator[RawRecord]:
    """Lines ended by LF, CRLF or CR, without their end; of one longer than ROW_BYTES only its beginning."""
    # Latin-1 gives each byte its own character: line ends are recognised, bytes come back as they were.
    text = io.TextIOWrapper(file, encoding="latin-1", newline=None)
    try:
        number = 0
        while piece := text.readline(ROW_BYTES + 1):
            number += 1
            ended = piece.endswith("\n")
            data = piece.encode("latin-1")[: -1 if ended else None]
            if len(data) <= ROW_BYTES:
                yield RawRecord(number, data)
                continue
            while not ended and (rest := text.readline(1 << 20)):
                ended = rest.endswith("\n")
            yield RawRecord(number, data[:RAW_KEPT], "long")
    finally:
        text.detach()


def quote_open(line: bytes, delimiter: bytes, *, inside: bool) -> bool:
    """Whether a quoted cell is still open at the line's end. A quote opens a cell at the cell's beginning only.

    >>> quote_open(b'a,"b', b",", inside=False), quote_open(b'5" pipe,b', b",", inside=False)
    (True, False)
    """
    at = 0
    while True:
        if inside:
            closing = line.find(b'"', at)
            if closing < 0:
                return True
            if line[closing + 1 : closing + 2] == b'"':
                at = closing + 2
                continue
            inside, at = False, closing + 1
            continue
        if at == 0 and line.startswith(b'"'):
            inside, at = True, 1
            continue
        opening = line.find(delimiter + b'"', at)
        if opening < 0:
            return False
        inside, at = True, opening + len(delimiter) + 1


def cells_in(data: bytes, delimiter: bytes) -> int:
    """How many cells a whole row has.

    >>> cells_in(b'a,"b,c",d', b",")
    3
    """
    if b'"' not in data:
        return data.count(delimiter) + 1
    count, inside = 1, False
    pieces = data.split(delimiter)
    for piece in pieces[:-1]:
        # Each piece begins a cell, or goes on inside a quoted one: the same judgement as for a line.
        inside = quote_open(piece, b"\xff\xff", inside=inside)
        count += not inside
    return count


def raw_records(file: IO[bytes], delimiter: bytes, width: int = 0) -> Iterator[RawRecord]:
    """The file's rows in order. ``width``: the header's number of cells (0: not yet known).

    A row over several lines that does not come out at ``width`` cells is taken for a quote never closed: its first
    line is given back as broken, and the lines after it are looked at afresh.
    """
    lines = physical_lines(file)
    waiting: deque[RawRecord] = deque()

    def following() -> RawRecord | None:
        return waiting.popleft() if waiting else next(lines, None)

    while (first := following()) is not None:
        if first.broken or b'"' not in first.data or not quote_open(first.data, delimiter, inside=False):
            yield first
            continue
        taken, size, inside = [first], len(first.data), True
        while inside and len(taken) < ROW_LINES and size <= ROW_BYTES and (line := following()) is not None:
            taken.append(line)
            size += len(line.data)
            if line.broken:
                break
            inside = quote_open(line.data, delimiter, inside=True)
        whole = b"\n".join(line.data for line in taken)
        if inside or (width and cells_in(whole, delimiter) != width):
            yield RawRecord(first.line, first.data, "quote")
            waiting.extendleft(reversed(taken[1:]))
        else:
            yield RawRecord(first.line, whole)
