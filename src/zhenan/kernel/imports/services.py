"""Taking a file in, judging it, writing it: what the pages, the command and the worker call."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import pghistory
import structlog
from django.core.files import File
from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from zhenan.kernel.access import NotAllowed
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.services import record
from zhenan.kernel.imports.engine import Engine, Judged, words
from zhenan.kernel.imports.faults import FileFault, WrongState, fault
from zhenan.kernel.imports.models import ImportRow, ImportRun
from zhenan.kernel.imports.reading import RAW_KEPT, Source, open_source
from zhenan.kernel.imports.specs import Context, ImportSpec, spec_of
from zhenan.kernel.people.models import User

INLINE_ROWS = 2000  # a longer file is done by the worker
KEPT_NOTABLE = 50_000  # rows refused or with a warning that are kept for the operator, besides the file itself
KEPT_PLAIN = 5_000  # further rows that a dry run shows
MAX_BYTES = 300_000_000
SUFFIXES = (".csv", ".txt", ".tsv", ".xlsx", ".xls", ".xlsm", ".ods")
log = structlog.get_logger("zhenan.imports")
Progress = Callable[[int, int], None]  # rows done, rows in all (0: not known)


def receive(
    upload: File[bytes], name: str, spec: ImportSpec, *, actor: User | None, at: datetime, whole: bool = False
) -> ImportRun:
    """Keep the file and open a run for it; nothing is judged yet. Raises NotAllowed, FileFault."""
    require_import(actor, spec)
    digest, size = hashlib.sha256(), 0
    for chunk in upload.chunks(1 << 20):
        digest.update(chunk)
        size += len(chunk)
        if size > MAX_BYTES:
            raise fault(_("The file has more than {limit} MB. Split it."), limit=MAX_BYTES // 1_000_000)
    if not size:
        raise fault(_("The file is empty."))
    suffix = Path(name).suffix.lower()
    run = ImportRun(
        spec=spec.code,
        actor=actor,
        at=at,
        file_name=_harmless_name(name),
        suffix=suffix if suffix in SUFFIXES else "",
        sha256=digest.hexdigest(),
        size_bytes=size,
        language=translation.get_language() or "zh-hans",
        whole=whole,
    )
    same = ImportRun.objects.filter(sha256=run.sha256, suffix=run.suffix).exclude(file="").first()
    if same is not None and same.file.storage.exists(str(same.file.name)):
        run.file.name = same.file.name
    else:
        upload.seek(0)
        run.file.save(run.file_name, upload, save=False)
    run.save()
    return run


def _harmless_name(name: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", "", Path(name.replace("\\", "/")).name)[-200:] or "file"


def require_import(actor: User | None, spec: ImportSpec) -> None:
    """Raises NotAllowed unless the actor may import this kind of record; what each row may do is judged row by row."""
    if actor is not None and spec.capability and not actor.can(spec.capability):
        raise NotAllowed(actor=actor, capability=spec.capability)


def is_long(run: ImportRun) -> bool:
    """Whether the file goes to the worker. Raises FileFault when it cannot be read at all."""
    if run.size_bytes > 100 * INLINE_ROWS * 30:
        return True
    with opened(run) as file:
        return open_source(file, spec_of(run.spec).known_names()).rows_at_most(INLINE_ROWS + 1) > INLINE_ROWS


def begin(run_id: int, *, actor: User | None, at: datetime, write: bool) -> ImportRun:
    """Judge the run's file, or (``write``) import what was judged: at once, or by the worker when it is long.

    Raises WrongState when the run is not at that point (two people may have pressed the button), NotAllowed.
    """
    with transaction.atomic():
        run = ImportRun.objects.select_for_update().get(pk=run_id)
        require_import(actor, spec_of(run.spec))
        if actor is not None and run.actor_id != actor.pk:
            raise NotAllowed(actor=actor, capability="own import")
        ready = run.state in (run.State.JUDGED, run.State.FAILED) if write else run.state != run.State.APPLYING
        if not ready or (write and not run.dry_run):
            raise WrongState(state=run.get_state_display(), wanted=_("only a dry run that is done can be imported."))
        run.state = run.State.APPLYING if write else run.State.JUDGING
        run.dry_run, run.progress, run.error = not write, 0, ""
        run.finished_at = None
        run.save(update_fields=["state", "dry_run", "progress", "error", "finished_at"])
        try:
            long = is_long(run)
        except FileFault:
            long = False
        if long:
            from zhenan.kernel.imports.tasks import defer_run

            defer_run(run.pk)
    if not long:
        carry_out(run, at=at)
    return run


def carry_out(run: ImportRun, *, at: datetime, progress: Progress | None = None) -> ImportRun:
    """Do what the run's state asks for, and store the outcome. A fault of the file leaves it failed, saying why."""
    write = run.state == run.State.APPLYING
    with translation.override(run.language), _changes_named(run):
        try:
            _pass(run, write=write, at=at, progress=progress)
        except DomainError as err:
            run.state, run.error, run.dry_run = run.State.FAILED, str(err), True
            log.info("import failed", run=run.pk, spec=run.spec, why=str(err)[:300])
        else:
            run.state = run.State.DONE if write else run.State.JUDGED
        run.finished_at = None if run.state == run.State.JUDGED else timezone.now()
        with transaction.atomic():
            run.save()
            if run.state == run.State.DONE:
                _tell(run, at)
    return run


def _tell(run: ImportRun, at: datetime) -> None:
    data = {**run.counts, "file": run.file_name, "spec": run.spec}
    record("import.done", targets=[run], actor=run.actor, at=at, data=data)
    log.info("import done", run=run.pk, spec=run.spec, **run.counts)


@contextmanager
def _changes_named(run: ImportRun) -> Iterator[None]:
    """Rows written now carry the person and the run in their history."""
    with pghistory.context(user=run.actor_id, import_run=run.pk):
        yield


@contextmanager
def opened(run: ImportRun) -> Iterator[IO[bytes]]:
    """The run's file as a plain binary file."""
    with run.file.storage.open(str(run.file.name), "rb") as stored:
        plain: Any = stored.file if isinstance(stored, File) else stored
        yield plain


def _pass(run: ImportRun, *, write: bool, at: datetime, progress: Progress | None) -> None:
    """One pass over the file; with ``whole``, all of it in one transaction that a refused row undoes."""
    spec = spec_of(run.spec)
    with opened(run) as file:
        source = open_source(file, spec.known_names())
        _note_source(run, source)
        if write and run.whole:
            _one_pass(run, spec, source, write=False, at=at, progress=progress)
            _refuse_when_any(run)
            with transaction.atomic():
                _one_pass(run, spec, source, write=True, at=at, progress=progress)
                _refuse_when_any(run)
        else:
            _one_pass(run, spec, source, write=write, at=at, progress=progress)


def _refuse_when_any(run: ImportRun) -> None:
    if run.refused:
        raise fault(
            _("{n} rows are refused and the file is to be imported whole or not at all: nothing was written."),
            n=run.refused,
        )


def _note_source(run: ImportRun, source: Source) -> None:
    run.header = [cell.replace("\x00", "\ufffd") for cell in source.header]
    run.facts = {
        "kind": source.kind,
        "encoding": source.encoding,
        "delimiter": source.delimiter,
        "header_line": source.header_line,
    }


def _one_pass(
    run: ImportRun, spec: ImportSpec, source: Source, *, write: bool, at: datetime, progress: Progress | None
) -> None:
    context = Context(run.actor, at, run.file_name)
    engine = Engine(spec, source, context, write=write)
    keeper = Keeper(run, everything=not write)
    known = run.total or 0

    def on_batch(judged: list[Judged]) -> None:
        keeper.keep(judged)
        done = engine.tally.counts["rows"]
        ImportRun.objects.filter(pk=run.pk).update(progress=done)
        if progress:
            progress(done, known)

    tally = engine.run(on_batch)
    run.notes, run.counts = engine.notes, tally.as_dict()
    run.total = run.progress = tally.counts["rows"]
    if keeper.left_out:
        text = _("%(n)s more rows are not shown; the file itself is kept.")
        run.notes.append(text % {"n": keeper.left_out})


class Keeper:
    """Stores verdicts for the pages: notable ones up to a bound, plain ones of a dry run up to a smaller bound."""

    def __init__(self, run: ImportRun, *, everything: bool) -> None:
        self.run, self.everything = run, everything
        self.notable = self.plain = self.left_out = 0
        ImportRow.objects.filter(run=run).delete()

    def keep(self, judged: list[Judged]) -> None:
        ImportRow.objects.bulk_create([self._row(one) for one in judged if self._wanted(one)], batch_size=1000)

    def _wanted(self, one: Judged) -> bool:
        if one.verdict.kind == "refuse" or one.verdict.messages:
            self.notable += 1
            self.left_out += self.notable > KEPT_NOTABLE
            return self.notable <= KEPT_NOTABLE
        if not self.everything:
            return False
        self.plain += 1
        self.left_out += self.plain > KEPT_PLAIN
        return self.plain <= KEPT_PLAIN

    def _row(self, one: Judged) -> ImportRow:
        verdict, record_ = one.verdict, one.record
        cells: list[Any] | None = None
        if record_.cells is not None:
            cells = [_storable(cell)[:RAW_KEPT] for cell in record_.cells]
        return ImportRow(
            run=self.run,
            line=record_.line,
            verdict=verdict.kind,
            title=_storable(verdict.title)[:200],
            messages=[{**m, "text": _storable(m["text"])} for m in words(verdict.messages)],
            warned=any(m.level == "warning" for m in verdict.messages),
            cells=cells,
            raw=record_.raw[:RAW_KEPT] if verdict.kind == "refuse" else b"",
        )


def _storable(text: str) -> str:
    """Text that PostgreSQL takes: it stores neither NUL nor lone surrogates."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def import_path(
    path: Path,
    spec: ImportSpec,
    *,
    actor: User | None,
    at: datetime,
    dry_run: bool = False,
    whole: bool = False,
    progress: Progress | None = None,
) -> ImportRun:
    """Import a file from disk in one go, as the command does. Raises NotAllowed, FileFault when it cannot be kept."""
    with path.open("rb") as opened_file:
        run = receive(File(opened_file), path.name, spec, actor=actor, at=at, whole=whole)
    run.state = run.State.JUDGING if dry_run else run.State.APPLYING
    run.dry_run = dry_run
    run.save(update_fields=["state", "dry_run"])
    return carry_out(run, at=at, progress=progress)
