"""Files as rows of text cells: CSV in any usual encoding and delimiter, XLSX, XLS and ODS.

``open_source(file, spec_names)`` finds the header and gives a Source; ``source.records()`` yields every row below it,
each either readable (``cells``) or with the reason why not (``fault``). Raises FileFault when nothing can be read.
"""

from __future__ import annotations

import csv
import io
import unicodedata
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import IO, Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from zhenan.kernel.imports import encodings
from zhenan.kernel.imports.faults import fault
from zhenan.kernel.imports.records import RAW_KEPT, ROW_BYTES, RawRecord, raw_records

DELIMITERS = (b",", b";", b"\t")
HEADER_WITHIN = 10  # rows, above which a sheet may have its title
MAX_UNPACKED = 400_000_000  # bytes of a workbook once unpacked; it is held in memory while it is read
csv.field_size_limit(2 * ROW_BYTES)  # rows are limited before the csv module sees them


@dataclass(frozen=True)
class Record:
    """One row: ``cells`` as text, or None with a ``fault`` in the reader's language. ``raw``: its bytes, of a CSV."""

    line: int
    cells: list[str] | None
    raw: bytes = b""
    fault: str = ""

    @property
    def blank(self) -> bool:
        return self.cells is not None and not any(self.cells)


@dataclass
class Source:
    """A file whose header was found."""

    kind: str  # "csv" or "workbook"
    header: list[str]
    header_line: int
    encoding: str = ""
    delimiter: str = ""
    notes: list[str] = field(default_factory=list)
    raw_width: int = 0  # cells of the header row before empty ones at its end were left out
    _file: IO[bytes] | None = None
    _rows: Any = None

    def records(self) -> Iterator[Record]:
        """Every row below the header, blank ones too. May be called again."""
        if self.kind == "csv":
            file: Any = self._file
            return self._fitting(
                _csv_records(file, self.encoding, self.delimiter.encode(), self.header_line, self.raw_width)
            )
        return self._fitting(r for r in self._rows() if r.line > self.header_line)

    def _fitting(self, records: Iterator[Record]) -> Iterator[Record]:
        """Each row with as many cells as the header; a row of another length is refused."""
        width = len(self.header)
        for record in records:
            cells = record.cells
            if cells is None or record.blank or len(cells) == width:
                yield record
            elif len(cells) > width and not any(cells[width:]):
                yield Record(record.line, cells[:width], record.raw)
            elif len(cells) < width and self.kind == "workbook":
                yield Record(record.line, cells + [""] * (width - len(cells)), record.raw)
            else:
                text = _("The row has %(came)s cells, the header has %(want)s. A delimiter is missing or too many.")
                yield Record(record.line, None, record.raw, text % {"came": len(cells), "want": width})

    def rows_at_most(self, limit: int) -> int:
        """The number of rows, or ``limit`` when there are as many or more."""
        return sum(1 for _record in islice(self.records(), limit))


def plain(name: str) -> str:
    """A header's name for comparing: full width made half, no case, no blanks, no marks of "required"."""
    text = unicodedata.normalize("NFKC", name).casefold()
    for mark in ("(必填)", "(required)", "*", "\ufeff"):
        text = text.replace(mark, "")
    return "".join(text.split()).replace("_", "").rstrip(":")


def open_source(file: IO[bytes], known: Collection[str]) -> Source:
    """Recognise the file by its bytes and find the header: the row with most of the ``known`` names (see ``plain``)."""
    file.seek(0)
    head = file.read(8)
    if not head:
        raise fault(_("The file is empty."))
    if head.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")):
        return _open_workbook(file, known)
    return _open_csv(file, known)


def _score(cells: Sequence[str], known: Collection[str]) -> int:
    return len({plain(cell) for cell in cells} & set(known))


# Text files


def _open_csv(file: IO[bytes], known: Collection[str]) -> Source:
    encoding, _length = encodings.bom_of(file)
    if encoding.startswith("utf-16"):
        file, encoding = encodings.as_utf8(file, encoding), "utf-16"
    elif not encoding:
        encoding = encodings.encoding_of(file)
    best: tuple[int, int, Source] | None = None
    for delimiter in DELIMITERS:
        for record in islice(_csv_records(file, encoding, delimiter, 0, 0), HEADER_WITHIN):
            if record.cells is None or record.blank:
                continue
            rank = (_score(record.cells, known), len(record.cells))
            if best is None or rank > best[:2]:
                header, width = _trimmed(record.cells), len(record.cells)
                best = (*rank, Source("csv", header, record.line, encoding, delimiter.decode(), [], width, file))
    if best is None:
        raise fault(_("No row can be read as a header: the file is empty, or neither a text file nor a workbook."))
    return best[2]


def _trimmed(cells: Sequence[str]) -> list[str]:
    """The header's cells without empty ones at its end."""
    kept = list(cells)
    while kept and not kept[-1]:
        kept.pop()
    return kept


def _csv_records(file: IO[bytes], encoding: str, delimiter: bytes, after: int, width: int) -> Iterator[Record]:
    file.seek(0)
    text_encoding = "utf-8" if encoding == "utf-16" else encoding
    for raw in raw_records(file, delimiter, width):
        if raw.line > after:
            yield _csv_record(raw, text_encoding, delimiter.decode(), replaced=encoding == "utf-16")


def _csv_record(raw: RawRecord, encoding: str, delimiter: str, *, replaced: bool) -> Record:
    data = raw.data
    if raw.broken == "long":
        return _refused(raw, _("The row is longer than %(limit)s bytes.") % {"limit": ROW_BYTES})
    if raw.line == 1 and data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    if raw.broken == "quote":
        return _refused(raw, _("A quotation mark is opened in this row and never closed."))
    if b"\x00" in data:
        return _refused(raw, _("The row holds a NUL byte (0x00): it is damaged, or not text."))
    text = encodings.decode(data, encoding)
    if text is None or (replaced and "\ufffd" in text):
        return _refused(raw, _wrong_encoding(data, encoding))
    if '"' not in text:
        return Record(raw.line, [cell.strip() for cell in text.split(delimiter)], raw.data[:RAW_KEPT])
    try:
        cells = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    except csv.Error as err:
        return _refused(raw, _("The row cannot be read: %(why)s.") % {"why": err})
    return Record(raw.line, [cell.strip() for cell in cells], raw.data[:RAW_KEPT])


def _wrong_encoding(data: bytes, encoding: str) -> str:
    name = encoding.upper()
    other, begins = encodings.other_encoding(data, encoding)
    if other:
        text = _(
            "The file is in %(file)s, but this row is in %(row)s (it begins “%(begins)s”). Save it in one encoding."
        )
        return text % {"file": name, "row": other, "begins": begins}
    return _("The row cannot be read as %(file)s, the encoding of the file.") % {"file": name}


def _refused(raw: RawRecord, why: str) -> Record:
    return Record(raw.line, None, raw.data[:RAW_KEPT], why)


# Workbooks


def _open_workbook(file: IO[bytes], known: Collection[str]) -> Source:
    sheets = _load_workbook(file)
    best: tuple[int, int, Source] | None = None
    for place, (name, start, rows) in enumerate(sheets):
        for record in islice(_sheet_records(rows, start), HEADER_WITHIN):
            if record.cells is None or record.blank:
                continue
            rank = (_score(record.cells, known), -place)
            if best is None or rank > best[:2]:
                source = Source("workbook", _trimmed(record.cells), record.line, notes=[_sheet_note(name, sheets)])
                source._rows = lambda rows=rows, start=start: _sheet_records(rows, start)
                best = (*rank, source)
    if best is None:
        raise fault(_("The workbook has no row with anything in it."))
    best[2].notes = [note for note in best[2].notes if note]
    return best[2]


def _sheet_note(name: str, sheets: list[tuple[str, int, list[list[Any]]]]) -> str:
    if len(sheets) < 2:
        return ""
    return _("Only the sheet “%(name)s” is read; the workbook has %(n)s sheets.") % {"name": name, "n": len(sheets)}


def _load_workbook(file: IO[bytes]) -> list[tuple[str, int, list[list[Any]]]]:
    """(name, first row from 1, rows) of each sheet with anything in it. Raises FileFault."""
    import python_calamine as calamine  # a compiled module, needed for workbooks only

    file.seek(0)
    if zipfile.is_zipfile(file):
        _refuse_bombs(file)
    file.seek(0)
    try:
        book = calamine.load_workbook(file)
        found = []
        for name in book.sheet_names:
            sheet = book.get_sheet_by_name(name)
            rows = sheet.to_python(skip_empty_area=False)
            if any(cell not in ("", None) for row in rows for cell in row):
                found.append((name, 1, rows))
        return found
    except (calamine.CalamineError, OSError, ValueError, KeyError) as err:
        raise fault(_unreadable_workbook(err)) from err
    except BaseException as err:
        if type(err).__name__ != "PanicException":  # the reader's own way to give up on damaged files
            raise
        raise fault(_unreadable_workbook(err)) from err


def _unreadable_workbook(err: BaseException) -> str:
    if "password" in type(err).__name__.lower() or "password" in str(err).lower():
        return _("The workbook is protected by a password. Save it without one.")
    return _("The workbook is damaged and cannot be read. Open it and save it again, or save it as CSV.")


def _refuse_bombs(file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as err:
        raise fault(_unreadable_workbook(err)) from err
    if unpacked > MAX_UNPACKED:
        text = _("The workbook unpacks to {came} MB; {limit} MB are allowed. Save it as CSV, which has no limit.")
        raise fault(text, came=unpacked // 1_000_000, limit=MAX_UNPACKED // 1_000_000)


def _sheet_records(rows: list[list[Any]], start: int) -> Iterator[Record]:
    for line, row in enumerate(rows, start):
        cells = _trimmed([_cell_text(cell) for cell in row])
        if any("\x00" in cell for cell in cells):
            yield Record(line, None, fault=_("The row holds a NUL byte (0x00): it is damaged, or not text."))
        elif sum(map(len, cells)) > ROW_BYTES:
            yield Record(line, None, fault=_("The row is longer than %(limit)s bytes.") % {"limit": ROW_BYTES})
        else:
            yield Record(line, cells or [""])


def _cell_text(value: Any) -> str:
    """A workbook's cell as the text that a CSV of it would have.

    >>> _cell_text(321100.0), _cell_text(0.1), _cell_text(date(2025, 3, 1))
    ('321100', '0.1', '2025-03-01')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e18 else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time.min else value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value)
    return str(value).strip()


KINDS = {"csv": gettext_noop("text (CSV)"), "workbook": gettext_noop("workbook")}
