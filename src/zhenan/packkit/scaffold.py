"""`zhenan packs new`: a complete, valid little pack to change word by word."""

from __future__ import annotations

import re
from pathlib import Path

TEMPLATE = Path(__file__).with_name("template")


class CannotScaffold(ValueError):
    """The name or the place will not do; the message says what would."""


def new_pack(name: str, parent: Path) -> Path:
    """Write the example pack as ``parent/name``; returns its folder. Raises CannotScaffold; overwrites nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,47}", name):
        raise CannotScaffold(f"name {name!r}: want lower-case letters, digits and _, a letter first, at most 48")
    folder = parent / name
    if folder.exists():
        raise CannotScaffold(f"{folder} is already there")
    for source in sorted(TEMPLATE.rglob("*")):
        if not source.is_file() or "__pycache__" in source.parts:
            continue
        target = folder / source.relative_to(TEMPLATE)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text("utf-8").replace("PACK_CODE", name), "utf-8")
    return folder
