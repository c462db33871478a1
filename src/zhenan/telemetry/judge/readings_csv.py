"""Readings out of a CSV file, in columns, at the speed of a compiled parser, with every malformed row told by its line.

A block of lines is given to Arrow first. Where Arrow balks, the block is halved down to the pieces that hold the
trouble, and those are read row by row here. Both ways read the same things the same way: what Arrow would take more
kindly than the row reader (hexadecimal, quotes in odd places) is kept from it.

A row: point (any text but blank), ts (ms UTC, a whole number; or ISO 8601, UTC where it names no zone), value (a
number, nan and inf too), quality (good, bad, or the codes 0 good, 1 bad, 2 good without device time; blank: good).
UTF-8 with or without BOM, or GB18030; LF, CRLF or CR; blank lines are passed over; a quoted point may hold line breaks.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from zhenan.telemetry.judge.core import MAX_TS, MIN_TS

HEADER: Final = ("point", "ts", "value")
MAX_LINE: Final = 1 << 20  # bytes; a longer line is malformed, and is never held whole
BLOCK: Final = 8 << 20
_PIECE: Final = 64 << 10  # bytes: a piece this small is read row by row at once
_MAX_JOINED: Final = 20  # lines one quoted point may span
_QUALITY: Final = {"": 0, "good": 0, "0": 0, "bad": 1, "1": 1, "2": 2}
_WHOLE: Final = re.compile(r"[-+]?[0-9]+")
_NUMBER: Final = re.compile(
    r"[-+]?([0-9]+\.?[0-9]*([eE][-+]?[0-9]+)?|\.[0-9]+([eE][-+]?[0-9]+)?|inf|infinity|nan)", re.I
)
_PLAIN_QUOTES: Final = re.compile(rb'(?:(?<=[\n,])|^)"[^"\n]*"(?=[\n,]|$)')
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class InputFault(ValueError):
    """The file cannot be read as readings at all."""


@dataclass
class Block:
    """Readings in file order: `code` is the place of the point in `names`. `malformed`: (line number, reason)."""

    names: list[str] = field(default_factory=list)
    code: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    ts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    value: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    quality: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    malformed: list[tuple[int, str]] = field(default_factory=list)


class Malformed(ValueError):
    """One row cannot be read."""


def read_blocks(path: Path) -> Iterator[Block]:
    """The readings of a file, block by block. Raises InputFault for a file that has no fitting header, and OSError."""
    with path.open("rb") as file:
        yield from _Reader(file, path.name).blocks()


def ts_of(text: str) -> int:
    """Milliseconds UTC of a cell. Raises Malformed."""
    text = text.strip()
    if _WHOLE.fullmatch(text) and len(text) <= 20:
        ts = int(text)
    else:
        try:
            at = datetime.fromisoformat(text)
            ts = ((at.replace(tzinfo=UTC) if at.tzinfo is None else at) - _EPOCH) // timedelta(milliseconds=1)
        except (ValueError, OverflowError):
            raise Malformed(f"ts should be whole milliseconds or an ISO 8601 time; got {_shown(text)}") from None
    if not MIN_TS <= ts <= MAX_TS:
        raise Malformed(f"ts should lie in the years 1 to 9999; got {_shown(text)}")
    return ts


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


class _Reader:
    """Cuts a file into blocks of whole lines, settles its encoding, reads each block the fast or the careful way."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.line = 1  # of the first line not yet read
        self.encoding = ""  # unknown while all has been ASCII
        self.width = 3
        self.old_mac = False

    def blocks(self) -> Iterator[Block]:
        rest = self._header(self.file.read(BLOCK))
        while True:
            more = self.file.read(BLOCK)
            if self.old_mac:
                more = more.replace(b"\r", b"\n")
            data, last = rest + more, not more
            cut = len(data) if last else data.rfind(b"\n") + 1
            rest = data[cut:]
            if cut:
                block, left = self._block(data[:cut], last)
                rest = left + rest
                yield block
            if not last and len(rest) > MAX_LINE and b"\n" not in rest:
                rest = self._skip_line()
                yield Block(malformed=[(self.line - 1, f"the line is longer than {MAX_LINE} bytes")])
            if last and not rest:
                return

    def _skip_line(self) -> bytes:
        """Drop the rest of a line without end; return what follows it of the last bytes read."""
        self.line += 1
        while more := self.file.read(BLOCK):
            more = more.replace(b"\r", b"\n") if self.old_mac else more
            if (cut := more.find(b"\n")) >= 0:
                return more[cut + 1 :]
        return b""

    def _header(self, data: bytes) -> bytes:
        """Check the first line; return what follows it."""
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputFault(f"{self.name}: is UTF-16; should be UTF-8 or GB18030")
        data = data.removeprefix(b"\xef\xbb\xbf")
        if b"\n" not in data and b"\r" in data:
            self.old_mac = True
            data = data.replace(b"\r", b"\n")
        first, _, rest = data.partition(b"\n")
        wanted = "point,ts,value or point,ts,value,quality"
        if not first.strip():
            raise InputFault(
                f"{self.name}: {'is empty' if not data.strip() else 'line 1 is blank'}; line 1 should be {wanted}"
            )
        text = first[:1000].decode("utf-8", "replace").rstrip("\r")
        names = tuple(name.strip().strip('"').strip().lower() for name in text.split(","))
        if names not in (HEADER, (*HEADER, "quality")) or len(first) > 1000:
            raise InputFault(f"{self.name}: line 1 should be {wanted}; got {_shown(text)}")
        self.width, self.line = len(names), 2
        return rest

    def _block(self, data: bytes, last: bool) -> tuple[Block, bytes]:
        """Read a block of whole lines; return it and the lines at its end that may go on in the next block."""
        self._settle_encoding(data)
        if self.encoding == "gb18030":
            try:
                data = data.decode("gb18030").encode()
            except UnicodeDecodeError:
                return self._careful(data, last)
        data = data.replace(b"\r\n", b"\n")
        if b'"' in data and len(_PLAIN_QUOTES.findall(data)) * 2 != data.count(b'"'):
            return self._careful(data, last, "utf-8")
        parts = list(self._pieces(data))
        return _joined(parts), b""

    def _settle_encoding(self, data: bytes) -> None:
        """The first block that is not ASCII decides: UTF-8 unless more lines are broken in it than sound."""
        if self.encoding or data.isascii():
            return
        self.encoding = "utf-8"
        try:
            data.decode()
        except UnicodeDecodeError:
            lines = [line for line in data.split(b"\n") if not line.isascii()]
            sound = sum(_decodes(line, "utf-8") for line in lines)
            if sound * 2 < len(lines) and sum(_decodes(line, "gb18030") for line in lines) > sound:
                self.encoding = "gb18030"

    def _pieces(self, data: bytes) -> Iterator[Block]:
        """Read lines without odd quotes, the fast way where it goes, halving the rest."""
        block = self._fast(data)
        if block is not None:
            self.line += data.count(b"\n") + (not data.endswith(b"\n"))
            yield block
        elif len(data) <= _PIECE:
            yield self._careful(data, True, "utf-8")[0]
        else:
            middle = data.rfind(b"\n", 0, len(data) // 2) + 1 or data.find(b"\n") + 1
            if middle in (0, len(data)):
                yield self._careful(data, True, "utf-8")[0]
            else:
                yield from self._pieces(data[:middle])
                yield from self._pieces(data[middle:])

    def _fast(self, data: bytes) -> Block | None:
        """The block as Arrow reads it; None where one row or another is not as plain as Arrow wants it."""
        if b"\r" in data or b"0x" in data or b"0X" in data:
            return None
        names = [*HEADER, "quality"][: self.width]
        text = pa.dictionary(pa.int32(), pa.string())
        types = dict(zip(names, (text, pa.int64(), pa.float64(), text), strict=False))
        try:
            table = pa_csv.read_csv(
                pa.py_buffer(data),
                read_options=pa_csv.ReadOptions(column_names=names, block_size=BLOCK // 4),
                convert_options=pa_csv.ConvertOptions(
                    column_types=types, null_values=[], strings_can_be_null=False, check_utf8=True
                ),
            )
        except pa.ArrowInvalid:
            return None
        return _from_arrow(table)

    def _careful(self, data: bytes, last: bool, encoding: str | None = None) -> tuple[Block, bytes]:
        """Read row by row. The second part of the result: lines of an open quote that may close in the next block."""
        rows: list[tuple[str, int, float, int]] = []
        malformed: list[tuple[int, str]] = []
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        place = 0
        while place < len(lines):
            try:
                row, used = self._row_at(lines, place, last, encoding or self.encoding)
            except Malformed as err:
                row, used = None, 1
                malformed.append((self.line, str(err)))
            if not used:
                break
            if row is not None:
                rows.append(row)
            place, self.line = place + used, self.line + used
        left = b"\n".join(lines[place:]) + b"\n" if place < len(lines) else b""
        if left and self.encoding == "gb18030" and encoding == "utf-8":
            left = left.decode().encode("gb18030")
        return _from_rows(rows, malformed), left

    def _row_at(
        self, lines: list[bytes], place: int, last: bool, encoding: str
    ) -> tuple[tuple[str, int, float, int] | None, int]:
        """The row that begins at a line, None for a blank one, and how many lines it took: 0 when more must be read."""
        line = _text(lines[place], encoding)
        if not line.strip():
            return None, 1
        if '"' not in line:
            return self._row(line.split(",")), 1
        for more in range(_MAX_JOINED):
            if more:
                if place + more >= len(lines):
                    if last:
                        break
                    return None, 0
                following = lines[place + more]
                if len(following) > MAX_LINE or not _decodes(following, encoding or "utf-8"):
                    break
                line += "\n" + following.decode(encoding or "utf-8").removesuffix("\r")
            try:
                fields = next(csv.reader([line], strict=True))
            except csv.Error as err:
                if "end of data" in str(err):
                    continue
                raise Malformed(f"the quotes do not pair: {_shown(line)}") from None
            if more:
                try:
                    return self._row(fields), more + 1
                except Malformed:
                    break
            return self._row(fields), 1
        raise Malformed(f"a quote is opened and not closed: {_shown(line.partition(chr(10))[0])}")

    def _row(self, fields: list[str]) -> tuple[str, int, float, int]:
        """Raises Malformed with the reason."""
        if not 3 <= len(fields) <= self.width:
            wanted = "3" if self.width == 3 else "3 or 4"
            raise Malformed(f"should have {wanted} fields; got {len(fields)}: {_shown(','.join(fields))}")
        if not fields[0].strip():
            raise Malformed("point is blank")
        ts, value = ts_of(fields[1]), fields[2].strip()
        if not _NUMBER.fullmatch(value):
            raise Malformed(f"value should be a number; got {_shown(value)}")
        quality = _QUALITY.get(fields[3].strip().lower()) if len(fields) == 4 else 0
        if quality is None:
            raise Malformed(f"quality should be good, bad, 0, 1 or 2; got {_shown(fields[3])}")
        return fields[0], ts, float(value), quality


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _text(line: bytes, encoding: str) -> str:
    """A line as text. Raises Malformed."""
    if len(line) > MAX_LINE:
        raise Malformed(f"the line is longer than {MAX_LINE} bytes")
    try:
        return line.decode(encoding or "utf-8").removesuffix("\r")
    except UnicodeDecodeError:
        raise Malformed(f"is not {encoding or 'utf-8'}: {line[:40]!r}") from None


def _from_arrow(table: pa.Table) -> Block | None:
    """A block of Arrow's columns; None where a cell is one the row reader must judge."""
    ts = table.column("ts").to_numpy()
    if ts.size and (ts.min() < MIN_TS or ts.max() > MAX_TS):
        return None
    names, code = _codes(table.column("point"))
    if not all(map(str.strip, names)) or max(map(len, names), default=0) > MAX_LINE // 4:
        return None
    quality = np.zeros(ts.size, dtype=np.uint8)
    if "quality" in table.column_names:
        words, places = _codes(table.column("quality"))
        known = [_QUALITY.get(word.strip().lower(), -1) for word in words]
        if -1 in known:
            return None
        quality = np.array(known, dtype=np.uint8)[places]
    return Block(names, code, ts, table.column("value").to_numpy(), quality)


def _codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """The different texts of a dictionary column, and the place of each cell among them."""
    chunk = column.unify_dictionaries().combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):
        if chunk.num_chunks == 0:
            return [], np.empty(0, np.int32)
        chunk = chunk.chunk(0)
    return chunk.dictionary.to_pylist(), chunk.indices.to_numpy()


def _from_rows(rows: list[tuple[str, int, float, int]], malformed: list[tuple[int, str]]) -> Block:
    if not rows:
        return Block(malformed=malformed)
    points, ts, value, quality = zip(*rows, strict=True)
    places = {name: n for n, name in enumerate(dict.fromkeys(points))}
    return Block(
        list(places),
        np.array([places[name] for name in points], dtype=np.int32),
        np.array(ts, dtype=np.int64),
        np.array(value, dtype=np.float64),
        np.array(quality, dtype=np.uint8),
        malformed,
    )


def _joined(parts: list[Block]) -> Block:
    """Blocks one after the other."""
    if len(parts) == 1:
        return parts[0]
    places: dict[str, int] = {}
    codes = []
    for part in parts:
        here = np.array([places.setdefault(name, len(places)) for name in part.names], dtype=np.int32)
        codes.append(here[part.code])
    return Block(
        list(places),
        np.concatenate(codes),
        np.concatenate([part.ts for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.quality for part in parts]),
        [row for part in parts for row in part.malformed],
    )
