"""The commands `zhenan import TYPE FILE` and `zhenan export TYPE`."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import IO, Any

from django.utils import timezone, translation
from django.utils.translation import gettext as _

from zhenan.kernel.errors import DomainError
from zhenan.kernel.imports import exporting
from zhenan.kernel.imports.models import ImportRow, ImportRun
from zhenan.kernel.imports.services import import_path
from zhenan.kernel.imports.specs import all_specs, spec_of
from zhenan.kernel.people.models import User

FIRST = 10  # refused rows that are printed
USAGE = 2  # exit status: the command line, the type or the file is at fault


def import_main(argv: list[str]) -> int:
    """Exit status 0: the file was read, every row judged. 2: it could not be, the reason is on stderr."""
    parser = argparse.ArgumentParser(prog="zhenan import", description="Import a register from a file, row by row.")
    parser.add_argument(
        "type", help="kind of record: enterprise, or a subject type such as catering_gas.caterer; 'list' lists them"
    )
    parser.add_argument("file", nargs="?", type=Path, help="CSV (UTF-8, GB18030; , ; or tab), XLSX, XLS, ODS")
    parser.add_argument("--dry-run", action="store_true", help="judge every row, write nothing")
    parser.add_argument("--whole", action="store_true", help="import all rows or none")
    parser.add_argument(
        "--as", dest="user", default="", metavar="USER", help="with this person's rights (else: the platform's)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args(argv)
    if args.type == "list":
        return _print_types()
    if args.file is None:
        return _fault(args, "no file given: zhenan import TYPE FILE")
    with translation.override("zh-hans" if not args.json else "en"):
        return _import(args)


def _import(args: argparse.Namespace) -> int:
    try:
        actor = _user(args.user)
        spec = spec_of(args.type)
        run = import_path(
            args.file, spec, actor=actor, at=timezone.now(), dry_run=args.dry_run, whole=args.whole, progress=_progress
        )
    except (DomainError, OSError) as err:
        return _fault(args, str(err))
    if run.state == run.State.FAILED:
        return _fault(args, run.error)
    if args.json:
        sys.stdout.write(json.dumps(_as_json(run), ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(_as_text(run, dry_run=args.dry_run))
    return 0


def _user(name: str) -> User | None:
    if not name:
        return None
    user = User.objects.filter(username=name, is_active=True).first()
    if user is None:
        near = difflib.get_close_matches(name, User.objects.values_list("username", flat=True)[:5000], 1)
        raise OSError(f"no active person signs in as {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return user


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{done}" + (f" / {total}" if total else "") + " ")
        sys.stderr.flush()


def _fault(args: argparse.Namespace, text: str) -> int:
    if getattr(args, "json", False):
        sys.stdout.write(json.dumps({"ok": False, "error": text}, ensure_ascii=False) + "\n")
    sys.stderr.write(f"zhenan import: {text}\n")
    return USAGE


def _refused(run: ImportRun) -> list[ImportRow]:
    return list(run.judged_rows.filter(verdict="refuse").order_by("line")[:FIRST])


def _as_json(run: ImportRun) -> dict[str, Any]:
    refused = [
        {"line": row.line, "record": row.title, "reasons": [m["text"] for m in row.messages]} for row in _refused(run)
    ]
    return {
        "ok": True,
        "run": run.pk,
        "type": run.spec,
        "file": run.file_name,
        "sha256": run.sha256,
        "dry_run": run.dry_run,
        **run.facts,
        **run.counts,
        "notes": run.notes,
        "first_refused": refused,
    }


def _as_text(run: ImportRun, *, dry_run: bool) -> str:
    known = {**run.counts, "file": run.file_name, "as": run.facts.get("encoding") or run.facts.get("kind")}
    lines = [_("%(file)s (%(as)s): %(rows)s rows") % known]
    text = (
        _("would create %(created)s, would change %(updated)s")
        if dry_run
        else _("created %(created)s, changed %(updated)s")
    )
    lines.append(text % known + _(", unchanged %(unchanged)s, refused %(refused)s; with a warning %(warned)s") % known)
    lines += [_("Note: %(note)s") % {"note": note} for note in run.notes]
    for row in _refused(run):
        lines.append(
            _("row %(line)s refused: %(title)s %(why)s") % {"line": row.line, "title": row.title, "why": row.text}
        )
    if run.refused > FIRST:
        lines.append(_("… %(n)s rows refused in all") % {"n": run.refused})
    return "\n".join(lines) + "\n"


def _print_types(stream: IO[str] | None = None) -> int:
    with translation.override("zh-hans"):
        for code, spec in sorted(all_specs().items()):
            (stream or sys.stdout).write(f"{code}\t{spec.label}\n")
    return 0


def export_main(argv: list[str]) -> int:
    """Write the records of a type in the layout that the import reads."""
    parser = argparse.ArgumentParser(prog="zhenan export", description="Export a register in the layout of its import.")
    parser.add_argument("type", help="kind of record; 'list' lists them")
    parser.add_argument("--format", choices=("csv", "xlsx"), default="", help="else from the file's name, else csv")
    parser.add_argument("-o", "--output", type=Path, help="file (else: stdout, CSV alone)")
    parser.add_argument(
        "--as", dest="user", default="", metavar="USER", help="what this person may see (else: everything)"
    )
    args = parser.parse_args(argv)
    if args.type == "list":
        return _print_types()
    kind = args.format or ("xlsx" if args.output and args.output.suffix.lower() == ".xlsx" else "csv")
    try:
        spec, actor = spec_of(args.type), _user(args.user)
        with translation.override("zh-hans"):
            table = exporting.table_of(spec, actor)
            return _write(exporting.pieces(kind, table), args.output, kind)
    except (DomainError, OSError) as err:
        sys.stderr.write(f"zhenan export: {err}\n")
        return USAGE


def _write(pieces: Any, output: Path | None, kind: str) -> int:
    if output is None:
        if kind == "xlsx" and sys.stdout.isatty():
            raise OSError("a workbook is not written to a terminal; name a file with -o")
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        return 0
    with output.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    return 0
