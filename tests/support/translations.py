"""Which strings of the product have no Chinese yet: read from code and templates, compared with every room's .po.

``python -m tests.support.translations [FOLDER]`` prints what is missing below the folder, as the beginning of a .po.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from babel.messages.pofile import read_po
from django.utils.translation.template import templatize

SRC = Path(__file__).resolve().parents[2] / "src" / "zhenan"
# name of the function → positions of (context, singular, plural)
FUNCTIONS: dict[str, tuple[int | None, int, int | None]] = {
    **dict.fromkeys(("_", "_lazy", "gettext", "gettext_lazy", "gettext_noop"), (None, 0, None)),
    **dict.fromkeys(("ngettext", "ngettext_lazy"), (None, 0, 1)),
    **dict.fromkeys(("pgettext", "pgettext_lazy"), (0, 1, None)),
    **dict.fromkeys(("npgettext", "npgettext_lazy"), (0, 1, 2)),
}
CALL = re.compile(r"\b(_|n?p?gettext)\(((?:\s*u?(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\s*,?)+)", re.DOTALL)
LITERAL = re.compile(r"u?('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", re.DOTALL)
FIELDS = re.compile(r"%\(\w+\)[sd]|\{\w*\}|%%")


@dataclass(frozen=True)
class Message:
    """A string to translate, and where it stands."""

    context: str
    singular: str
    plural: str
    where: str

    @property
    def key(self) -> tuple[str, str]:
        return self.context, self.singular


def _message(name: str, texts: list[str | None], where: str) -> Message | None:
    context_at, singular_at, plural_at = FUNCTIONS[name]
    wanted = [at for at in (context_at, singular_at, plural_at) if at is not None]
    if any(at >= len(texts) or texts[at] is None for at in wanted):
        return None
    context = texts[context_at] if context_at is not None else ""
    plural = texts[plural_at] if plural_at is not None else ""
    return Message(context or "", texts[singular_at] or "", plural or "", where)


def in_code(path: Path) -> Iterator[Message]:
    """Strings of a Python file: the calls with literal arguments."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        if name not in FUNCTIONS:
            continue
        texts = [a.value if isinstance(a, ast.Constant) and isinstance(a.value, str) else None for a in node.args]
        found = _message(name, texts, f"{path.relative_to(SRC)}:{node.lineno}")
        if found and found.singular:
            yield found


def in_template(path: Path) -> Iterator[Message]:
    """Strings of a template, as Django's own extraction sees them."""
    for call in CALL.finditer(templatize(path.read_text("utf-8"), origin=str(path))):
        texts: list[str | None] = [ast.literal_eval(text) for text in LITERAL.findall(call.group(2))]
        found = _message(call.group(1), texts, str(path.relative_to(SRC)))
        if found and found.singular:
            # A template's own % stands doubled in the catalogue only where it has placeholders: Django undoes that.
            yield found


def messages(folder: Path = SRC) -> list[Message]:
    """Every string below the folder; tests and migrations speak to no user."""
    found: list[Message] = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(SRC).parts
        if "tests" in parts or "migrations" in parts or not path.is_file():
            continue
        if path.suffix == ".py":
            found += in_code(path)
        elif path.suffix in (".html", ".txt") and "templates" in parts:
            found += in_template(path)
    return found


def catalogue() -> dict[tuple[str, str], tuple[str, ...]]:
    """All Chinese translations of all rooms: (context, msgid) → msgstr forms."""
    known: dict[tuple[str, str], tuple[str, ...]] = {}
    for po in sorted(SRC.glob("**/locale/zh_Hans/LC_MESSAGES/*.po")):
        with po.open("rb") as file:
            for entry in read_po(file, locale="zh_Hans", abort_invalid=True):
                single = entry.id if isinstance(entry.id, str) else entry.id[0]
                forms = (entry.string,) if isinstance(entry.string, str) else tuple(entry.string)
                if single and all(forms) and not entry.fuzzy:
                    known[(entry.context or "", single)] = forms
    return known


def missing(folder: Path = SRC) -> list[Message]:
    """Strings without Chinese, each once."""
    known = catalogue()
    return list({m.key: m for m in messages(folder) if m.key not in known}.values())


def broken() -> list[str]:
    """Translations whose placeholders are not those of the string: they would fail or lose a value when shown."""
    faults = []
    for (_context, single), forms in catalogue().items():
        for form in forms:
            if not set(FIELDS.findall(form)) <= set(FIELDS.findall(single)) | {"%(n)s", "%%"}:
                faults.append(f"{single!r} → {form!r}")
    return faults


def main() -> None:
    folder = SRC / sys.argv[1] if len(sys.argv) > 1 else SRC
    quote = lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'  # noqa: E731
    for m in missing(folder):
        print(f"#: {m.where}")
        if m.context:
            print(f"msgctxt {quote(m.context)}")
        print(f"msgid {quote(m.singular)}")
        print(f'msgid_plural {quote(m.plural)}\nmsgstr[0] ""\n' if m.plural else 'msgstr ""\n')


if __name__ == "__main__":
    main()
