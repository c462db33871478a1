"""`zhenan packs check|list|new|sync`. Only sync, and list's overrides, need the database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zhenan.packkit.contract import contract_faults
from zhenan.packkit.loader import LoadedPack, PackFault, discover, load_pack, problems_in
from zhenan.packkit.registry import pack_dirs
from zhenan.packkit.scaffold import CannotScaffold, new_pack


def main(argv: Sequence[str]) -> int:
    """Run one sub-command; returns the exit status: 0 done, 1 faults found, 2 wrong use."""
    try:
        options = _parser().parse_args(list(argv))
    except SystemExit as err:
        return int(err.code or 0)
    return int(options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zhenan packs", description="Programme packs: check, list, start a new one, sync."
    )
    commands = parser.add_subparsers(required=True, metavar="check|list|new|sync")
    check = commands.add_parser("check", help="say every fault of a pack, or of all packs in a folder")
    check.add_argument(
        "dirs", nargs="*", type=Path, metavar="DIR", help="a pack, or a folder of packs; none: all known"
    )
    check.add_argument("--files-only", action="store_true", help="leave out scenarios and simulation")
    check.set_defaults(run=_check)
    listing = commands.add_parser("list", help="the packs that would be used")
    listing.set_defaults(run=_list)
    new = commands.add_parser("new", help="write a small valid pack to change")
    new.add_argument("name")
    new.add_argument("dir", type=Path, metavar="DIR", help="folder in which the pack's folder is made")
    new.set_defaults(run=_new)
    sync = commands.add_parser("sync", help="bring all packs into the database")
    sync.set_defaults(run=_sync)
    return parser


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")


def _check(options: argparse.Namespace) -> int:
    named: list[Path] = options.dirs
    folders = [f for d in named for f in ([d] if (d / "pack.yaml").exists() or not discover([d]) else discover([d]))]
    if not named:
        folders = discover(pack_dirs())
    others = _sound([*discover(pack_dirs()), *folders])
    failed = 0
    for folder in folders:
        folder = folder.resolve()
        known = {code: pack for code, pack in others.items() if pack.folder.resolve() != folder}
        if options.files_only:
            faults = problems_in(folder, known)
        else:
            faults = contract_faults(folder, known)
        for fault in faults:
            _say(fault)
        _complain(f"{folder.name}: {'sound' if not faults else f'{len(faults)} fault(s)'}")
        failed += bool(faults)
    if not folders:
        _complain("no packs found")
    return 1 if failed or not folders else 0


def _sound(folders: Sequence[Path]) -> dict[str, LoadedPack]:
    """The packs that can be loaded, by code; what is wrong with the others is said where they are checked."""
    found: dict[str, LoadedPack] = {}
    waiting = list(dict.fromkeys(folder.resolve() for folder in folders))
    for _ in range(len(waiting)):  # a pack may have to wait for one that it requires
        for folder in list(waiting):
            try:
                pack = load_pack(folder, found)
            except PackFault:
                continue
            found[pack.code] = pack
            waiting.remove(folder)
    return found


def _list(_: argparse.Namespace) -> int:
    status = 0
    folders = discover(pack_dirs())
    others = _sound(folders)
    for folder in folders:
        pack = others.get(folder.name)
        if pack is None:
            _say(f"{folder.name}\tfaulty\t{folder}")
            status = 1
            continue
        rungs = pack.quality.rungs.values() if pack.quality else ()
        done = sum(rung.state == "done" for rung in rungs)
        _say(
            f"{pack.code}\tversion {pack.info.version}\t{pack.info.name.zh} / {pack.info.name.en}\t"
            f"{len(pack.subject_types)} subject types, {len(pack.device_models)} device models, "
            f"{len(pack.alarm_rules)} alarm rules, {len(pack.checklists)} checklists, "
            f"{len(pack.indicators)} indicators\tquality {done}/{len(list(rungs))}\t{folder}"
        )
    return status


def _new(options: argparse.Namespace) -> int:
    try:
        folder = new_pack(options.name, options.dir)
    except CannotScaffold as err:
        _complain(f"zhenan packs new: {err}")
        return 2
    _say(str(folder))
    _complain(f"Change its words, then: zhenan packs check {folder}")
    _complain(f"To use it, name its parent folder in the setting ZHENAN_PACK_DIRS={folder.parent}")
    return 0


def _sync(_: argparse.Namespace) -> int:
    from zhenan.packkit.sync import sync_packs

    try:
        report = sync_packs()
    except PackFault as err:
        for fault in err.faults:
            _say(fault)
        return 1
    _say(f"{report.packs} packs: {report.created} created, {report.updated} updated, {report.retired} retired")
    for line in report.dropped:
        _complain(f"override left unused: {line}")
    return 0
