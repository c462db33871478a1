"""Roles as sets of capabilities, read from one table (settings.ROLES_FILE)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml
from django.conf import settings

REACHES = ("everything", "division", "organisation")


@dataclass(frozen=True)
class Role:
    """A role: what it may do, and how far it sees: the post's division and below, or its own organisation's records."""

    code: str
    zh: str
    en: str
    reach: str
    capabilities: frozenset[str]

    def label(self, language: str) -> str:
        return self.zh if language.startswith("zh") else self.en


@lru_cache(maxsize=1)
def roles() -> dict[str, Role]:
    """All roles by code. Raises ValueError naming every fault of the table at once."""
    table: dict[str, Any] = yaml.safe_load(settings.ROLES_FILE.read_text("utf-8"))
    known: set[str] = set(table["capabilities"])
    faults: list[str] = []
    found: dict[str, Role] = {}
    for code, entry in table["roles"].items():
        granted: set[str] = set()
        for name in entry["can"]:
            matching = {c for c in known if c == name or (name.endswith(".*") and c.startswith(name[:-1]))}
            if not matching:
                faults.append(f"roles.{code}.can: no capability {name!r}")
            granted |= matching
        if entry["reach"] not in REACHES:
            faults.append(f"roles.{code}.reach: came {entry['reach']!r}; want one of {', '.join(REACHES)}")
        found[code] = Role(code, entry["zh"], entry["en"], entry["reach"], frozenset(granted))
    if faults:
        raise ValueError(f"{settings.ROLES_FILE}: " + "; ".join(faults))
    return found


@lru_cache(maxsize=1)
def capabilities() -> dict[str, str]:
    """Every capability with its meaning in English."""
    table: dict[str, Any] = yaml.safe_load(settings.ROLES_FILE.read_text("utf-8"))
    return dict(table["capabilities"])


def role_choices() -> list[tuple[str, str]]:
    """(code, label in the current language) of every role, for forms."""
    from django.utils.translation import get_language

    return [(role.code, role.label(get_language() or "zh-hans")) for role in roles().values()]
