"""Export of exactly what is listed, as CSV (streamed) or XLSX (written row by row to a file, then streamed)."""

from __future__ import annotations

import csv
import re
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any
from urllib.parse import quote

import xlsxwriter
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Model
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from zhenan.kernel.lists.columns import Column, as_text

ROWS_AT_ONCE = 2000
SHEET_ROWS = 1_048_576
XLSX_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SUSPECT = frozenset("=+-@\t\r\n＝＋－＠")
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def harmless(text: str) -> str:
    """Text that a spreadsheet takes for a formula gets a quote before it; a number stays a number.

    >>> harmless("=1+1"), harmless("-5.2"), harmless("镇江")
    ("'=1+1", '-5.2', '镇江')
    """
    if text[:1] in SUSPECT and not NUMBER.fullmatch(text):
        return "'" + text
    return text


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


def csv_lines(model: type[Model], columns: Sequence[Column], rows: Iterable[Any]) -> Iterator[bytes]:
    """The CSV in pieces: UTF-8 with BOM, as spreadsheets in China expect."""
    writer = csv.writer(_Echo())
    yield "\ufeff".encode() + writer.writerow([harmless(str(c.label)) for c in columns]).encode()
    cells = [column.exporter(model) for column in columns]
    told = {True: as_text(True), False: as_text(False)}  # translated once, not for every row
    piece: list[str] = []
    for row in rows:
        values = [cell(row) for cell in cells]
        piece.append(writer.writerow([told[v] if isinstance(v, bool) else _csv_cell(v) for v in values]))
        if len(piece) >= 500:
            yield "".join(piece).encode()
            piece.clear()
    if piece:
        yield "".join(piece).encode()


def _csv_cell(value: Any) -> str:
    return harmless(value) if isinstance(value, str) else as_text(value)


def write_xlsx(file: IO[bytes], title: str, model: type[Model], columns: Sequence[Column], rows: Iterable[Any]) -> int:
    """Write the workbook with little memory; a new sheet where one is full. Returns the number of rows."""
    book = xlsxwriter.Workbook(
        file, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "remove_timezone": True}
    )
    head = book.add_format({"bold": True, "bottom": 1})
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    cells = [column.exporter(model) for column in columns]
    sheet, line, written, sheets = None, SHEET_ROWS, 0, 0
    for row in rows:
        if line >= SHEET_ROWS:
            sheets += 1
            sheet, line = _new_sheet(book, title, sheets, columns, head), 1
        for at, cell in enumerate(cells):
            _xlsx_cell(sheet, line, at, cell(row), day, moment)
        line += 1
        written += 1
    if sheet is None:
        _new_sheet(book, title, 1, columns, head)
    book.close()
    return written


def _new_sheet(book: Any, title: str, number: int, columns: Sequence[Column], head: Any) -> Any:
    name = re.sub(r"[\[\]:*?/\\']", " ", title)[:26].strip() or "list"
    sheet = book.add_worksheet(name if number == 1 else f"{name} {number}")
    sheet.freeze_panes(1, 0)
    for at, column in enumerate(columns):
        sheet.set_column(at, at, 20 if column.kind in ("text", "datetime", "deadline") else 14)
        sheet.write_string(0, at, str(column.label), head)
    return sheet


def _xlsx_cell(sheet: Any, line: int, at: int, value: Any, day: Any, moment: Any) -> None:
    if value is None or value == "":
        return
    if isinstance(value, bool):
        sheet.write_string(line, at, as_text(value))
    elif (
        isinstance(value, int | float | Decimal) and -(10**15) < value < 10**15
    ):  # 15 digits are exact in a spreadsheet
        sheet.write_number(line, at, value)
    elif isinstance(value, datetime):
        local = timezone.localtime(value) if timezone.is_aware(value) else value
        sheet.write_datetime(line, at, local.replace(tzinfo=None), moment)
    elif isinstance(value, date):
        sheet.write_datetime(line, at, datetime(value.year, value.month, value.day), day)  # noqa: DTZ001
    else:
        sheet.write_string(line, at, as_text(value)[:32767])


def response(
    request: HttpRequest, kind: str, title: str, columns: Sequence[Column], rows: Any
) -> StreamingHttpResponse:
    """The download. ``kind``: "csv" or "xlsx"; ``rows``: the ordered queryset of every row that is listed."""
    fetched = rows.iterator(chunk_size=ROWS_AT_ONCE)
    if kind == "csv":
        pieces, content_type = csv_lines(rows.model, columns, fetched), "text/csv; charset=utf-8"
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (closed when the download ends)
        write_xlsx(file, title, rows.model, columns, fetched)
        pieces, content_type = _read(file), XLSX_TYPE
    body: Any = _in_async(pieces) if isinstance(request, ASGIRequest) else pieces
    answer = StreamingHttpResponse(body, content_type=content_type)
    name = f"{title}-{timezone.localdate():%Y%m%d}.{kind}"
    answer["Content-Disposition"] = f"attachment; filename=\"list.{kind}\"; filename*=UTF-8''{quote(name)}"
    answer["Cache-Control"] = "no-store"
    return answer


def _read(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while piece := file.read(1 << 16):
            yield piece


async def _in_async(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, each made in the request's own thread: Django would otherwise hold the whole download in memory."""
    pull = sync_to_async(lambda: next(pieces, None))
    while (piece := await pull()) is not None:
        yield piece
