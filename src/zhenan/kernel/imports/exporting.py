"""Files out: the records of a spec, and the refused rows of a run with their reasons, in the layout of the import."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import IO, Any

import xlsxwriter
from django.utils.translation import gettext as _

from zhenan.kernel.imports.models import ImportRun
from zhenan.kernel.imports.specs import ImportSpec
from zhenan.kernel.lists.export import SHEET_ROWS, harmless
from zhenan.kernel.people.models import User


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def as_cell(value: Any) -> str:
    """A value as the import reads it back."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value)


def table_of(spec: ImportSpec, actor: User | None) -> Iterator[list[str]]:
    """Header and rows of everything the actor may see."""
    yield [str(column.label) for column in spec.columns]
    for values in spec.export(actor):
        yield [as_cell(values.get(column.name)) for column in spec.columns]


def refused_table(run: ImportRun) -> Iterator[list[str]]:
    """Header and rows of what was refused, with the reason as one more column that the import does not read."""
    width = len(run.header)
    yield [*run.header, _("reason")]
    rows = run.judged_rows.filter(verdict="refuse").order_by("line")
    for row in rows.iterator(1000):
        yield [*row.as_cells(width)[:width], row.text]


def template_table(spec: ImportSpec) -> Iterator[list[str]]:
    """An empty file to fill in: the header, and a row of examples where the spec has any."""
    yield [str(column.label) + ("*" if column.required else "") for column in spec.columns]
    if any(column.example for column in spec.columns):
        yield [column.example for column in spec.columns]


def csv_pieces(table: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """The table as CSV: UTF-8 with BOM, as spreadsheets in China expect."""
    writer: Any = csv.writer(_Echo())
    piece = ["\ufeff"]
    for row in table:
        piece.append(writer.writerow([harmless(cell) for cell in row]))
        if len(piece) >= 500:
            yield "".join(piece).encode("utf-8", "replace")
            piece.clear()
    if piece:
        yield "".join(piece).encode("utf-8", "replace")


def write_workbook(file: IO[bytes], table: Iterable[Sequence[str]]) -> None:
    """The table as XLSX, every cell as text: codes keep their zeros."""
    book = xlsxwriter.Workbook(file, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    bold = book.add_format({"bold": True, "bottom": 1})
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    for line, row in enumerate(table):
        if line >= SHEET_ROWS:
            sheet, line = book.add_worksheet(), line % SHEET_ROWS
        for at, cell in enumerate(row):
            if cell:
                sheet.write_string(line % SHEET_ROWS, at, cell[:32767], bold if line == 0 else None)
    book.close()


def pieces(kind: str, table: Iterable[Sequence[str]]) -> Iterator[bytes]:
    """The table as a file of the kind ("csv" or "xlsx"), in pieces."""
    if kind == "csv":
        yield from csv_pieces(table)
        return
    with tempfile.TemporaryFile() as file:
        write_workbook(file, table)
        file.seek(0)
        while piece := file.read(1 << 16):
            yield piece
