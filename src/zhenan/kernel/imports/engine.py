"""Judging and writing a file in batches: every row of it gets exactly one verdict, whatever it holds."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from django.db import DataError, IntegrityError, transaction
from django.utils.translation import gettext as _

from zhenan.kernel.errors import DomainError
from zhenan.kernel.imports.parse import CellFault
from zhenan.kernel.imports.reading import Record, Source
from zhenan.kernel.imports.specs import Context, ImportColumn, ImportSpec, Message, Row, Verdict, refused
from zhenan.kernel.lists.export import harmless

BATCH = 1000
COUNT_OF = {"create": "created", "update": "updated", "unchanged": "unchanged", "refuse": "refused"}


@dataclass(frozen=True)
class Judged:
    """A row of the file and what becomes of it."""

    record: Record
    verdict: Verdict
    row: Row | None = None


@dataclass
class Tally:
    """Counts of a run: ``rows`` = created + updated + unchanged + refused."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, judged: Sequence[Judged]) -> None:
        for one in judged:
            self.counts["rows"] += 1
            self.counts[COUNT_OF[one.verdict.kind]] += 1
            self.counts["warned"] += any(m.level == "warning" for m in one.verdict.messages)

    def as_dict(self) -> dict[str, int]:
        names = ("rows", "created", "updated", "unchanged", "refused", "warned", "blank")
        return {name: self.counts[name] for name in names}


class Engine:
    """One pass over a source. ``write`` False judges alone."""

    def __init__(self, spec: ImportSpec, source: Source, context: Context, *, write: bool) -> None:
        self.spec, self.source, self.context, self.write = spec, source, context, write
        self.columns, notes = spec.assign(source.header)
        self.notes = [*source.notes, *notes]
        self.tally = Tally()
        self._lines: dict[bytes, int] = {}  # hash of a key → the line where it came first
        context.columns = frozenset(column.name for column in self.columns if column is not None)

    def run(self, on_batch: Callable[[list[Judged]], None]) -> Tally:
        """Judge (and write) everything; ``on_batch`` gets each batch in the file's order once it is settled."""
        self.spec.begin(self.context)
        records = self._filled(self.source.records())
        while batch := list(islice(records, BATCH)):
            judged = self.judge(batch)
            if self.write:
                judged = self._written(judged)
            self.tally.add(judged)
            on_batch(judged)
        return self.tally

    def _filled(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            if record.blank:
                self.tally.counts["blank"] += 1
            else:
                yield record

    def judge(self, batch: Sequence[Record]) -> list[Judged]:
        """A verdict for each record of a batch."""
        settled: list[Judged] = []
        waiting: list[tuple[int, Row]] = []
        for place, record in enumerate(batch):
            row, verdict = self._read(record)
            settled.append(Judged(record, verdict or refused(), row))
            if verdict is None and row is not None:
                waiting.append((place, row))
        if waiting:
            verdicts = self.spec.judge([row for _place, row in waiting], self.context)
            for (place, _row), verdict in zip(waiting, verdicts, strict=True):
                settled[place] = replace(settled[place], verdict=verdict)
        return settled

    def _read(self, record: Record) -> tuple[Row | None, Verdict | None]:
        """The record's values; or the verdict when it cannot be read, lacks what it must have, or came before."""
        if record.cells is None:
            return None, refused(record.fault)
        values, faults = self._values(record.cells)
        title = str(values.get("name") or "")[:200]
        if faults:
            return None, refused(*faults, title=title)
        row = Row(record.line, values)
        key = self.spec.key_of(values)
        if key:
            digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).digest()
            first = self._lines.setdefault(digest, record.line)
            if first != record.line:
                text = _("“%(key)s” came already in row %(line)s of this file.") % {"key": key[:60], "line": first}
                return row, refused(text, title=title)
        return row, None

    def _values(self, cells: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        values: dict[str, Any] = {}
        faults = []
        for column, cell in zip(self.columns, cells, strict=True):
            if column is None:
                continue
            try:
                values[column.name] = _parsed(column, cell)
            except CellFault as err:
                faults.append(f"{column.label}: {err}")
        return values, faults

    def _written(self, judged: list[Judged]) -> list[Judged]:
        """Write a batch in one transaction; where that fails, row by row, so that one bad row costs only itself."""
        wanted = [one for one in judged if one.verdict.kind in ("create", "update") and one.row is not None]
        if not wanted:
            return judged
        try:
            with transaction.atomic():
                self.spec.apply([(one.row, one.verdict) for one in wanted if one.row], self.context)
            return judged
        except (DomainError, IntegrityError, DataError):
            chosen = {id(one) for one in wanted}
            return [self._written_alone(one) if id(one) in chosen else one for one in judged]

    def _written_alone(self, one: Judged) -> Judged:
        if one.row is None:
            return one
        # Someone else may have written meanwhile: the row is judged afresh.
        verdict = self.spec.judge([one.row], self.context)[0]
        if verdict.kind in ("create", "update"):
            try:
                with transaction.atomic():
                    self.spec.apply([(one.row, verdict)], self.context)
            except DomainError as err:
                verdict = refused(err, title=verdict.title)
            except (IntegrityError, DataError) as err:
                text = _("The database refused the row: %(why)s") % {"why": str(err).splitlines()[0][:200]}
                verdict = refused(text, title=verdict.title)
        return replace(one, verdict=verdict)


def _parsed(column: ImportColumn, cell: str) -> Any:
    if column.filled and not cell:
        raise CellFault(_("is empty"))
    return column.parse(_unquoted(cell))


def _unquoted(cell: str) -> str:
    """Without the quote that exports put before text that a spreadsheet would take for a formula.

    >>> _unquoted("'=1"), _unquoted("'s")
    ('=1', "'s")
    """
    return cell[1:] if cell[:1] == "'" and harmless(cell[1:]) == cell else cell


def words(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as they are stored."""
    return [{"level": m.level, "text": m.text} for m in messages]
