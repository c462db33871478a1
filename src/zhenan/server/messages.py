"""`zhenan compilemessages`: .po files of all rooms → .mo files beside them, only where the .po is newer."""

from __future__ import annotations

import sys
from pathlib import Path

SRC = Path(__file__).resolve().parents[1]


def compile_messages(folders: list[Path] | None = None) -> int:
    """Compile what is out of date; the number written. Raises ValueError naming a file that cannot be read."""
    sources = [po for folder in folders or [SRC] for po in folder.glob("**/locale/*/LC_MESSAGES/*.po")]
    stale = [
        po for po in sources if not (mo := po.with_suffix(".mo")).exists() or mo.stat().st_mtime < po.stat().st_mtime
    ]
    if not stale:
        return 0
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import PoFileError, read_po

    for po in stale:
        try:
            with po.open("rb") as source:
                catalog = read_po(source, abort_invalid=True)
        except (PoFileError, UnicodeDecodeError) as err:
            raise ValueError(f"{po}: not a readable message file ({err}); mend it as gettext expects") from err
        fresh = po.with_suffix(".mo.new")
        with fresh.open("wb") as target:
            write_mo(target, catalog)
        fresh.replace(po.with_suffix(".mo"))
    return len(stale)


def main(argv: list[str]) -> int:
    """Compile and say how many."""
    written = compile_messages([Path(name) for name in argv] or None)
    sys.stdout.write(f"{written} message files compiled\n")
    return 0
