"""Plain tables and shares for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence


def say(line: str = "") -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Columns as wide as their widest cell; the first is flush left, the others right."""
    cells = [list(map(str, head)), *([shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for number, row in enumerate(cells):
        line = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        say("  " + "  ".join(line).rstrip())
        if number == 0:
            say("  " + "  ".join("-" * width for width in widths))


def shown(cell: object) -> str:
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}"
    return "–" if cell is None else str(cell)


def share(part: int, whole: int) -> str:
    """``part`` of ``whole`` in per cent.

    >>> share(1, 8), share(0, 0)
    ('12.5 %', '–')
    """
    return f"{100 * part / whole:.1f} %" if whole else "–"
