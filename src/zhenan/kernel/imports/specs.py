"""What can be imported: an ImportSpec a kind of record, found through a registry that rooms fill in ``ready``."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from django.utils.translation import gettext as _

from zhenan.kernel.imports.faults import FileFault, UnknownType
from zhenan.kernel.imports.parse import Parser, text
from zhenan.kernel.imports.reading import plain
from zhenan.kernel.people.models import User

Text = Any  # str or a lazy translation
Kind = Literal["create", "update", "unchanged", "refuse"]
Level = Literal["error", "warning", "info"]
REASON_NAMES = {"原因", "拒绝原因", "reason"}  # the column that the file of refused rows has more: never read back


@dataclass(frozen=True)
class ImportColumn:
    """A column. ``aliases``: further header names. ``required``: of the file; ``filled``: of every row."""

    name: str
    label: Text
    aliases: tuple[str, ...] = ()
    required: bool = False
    filled: bool = False
    parse: Parser = field(default_factory=lambda: text(10_000))
    help: Text = ""
    example: str = ""

    def accepted(self) -> set[str]:
        """Every header name that means this column, as compared."""
        return {plain(name) for name in (self.name, str(self.label), *self.aliases)}


@dataclass(frozen=True)
class Message:
    """A word on a row, for the person who imports."""

    level: Level
    text: str


@dataclass(frozen=True)
class Row:
    """A readable row: its parsed values by column name; columns that the file lacks are absent."""

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a row. ``title``: what people call it; ``payload``: what ``apply`` needs."""

    kind: Kind
    messages: tuple[Message, ...] = ()
    title: str = ""
    payload: Any = None


def refused(*reasons: Any, title: str = "") -> Verdict:
    return Verdict("refuse", tuple(Message("error", str(reason)) for reason in reasons), title)


@dataclass
class Context:
    """One run. ``memory``: for the spec's own use from row to row."""

    actor: User | None  # None: the platform itself
    at: datetime
    file_name: str
    columns: frozenset[str] = frozenset()  # those that the file has
    memory: dict[str, Any] = field(default_factory=dict)


class ImportSpec(ABC):
    """How one kind of record is imported and exported."""

    code: str
    label: Text
    help: Text = ""
    capability: str = ""
    columns: Sequence[ImportColumn]

    @abstractmethod
    def key_of(self, values: Mapping[str, Any]) -> str:
        """The row's identity: the same one twice in a file is refused. "" when it has none."""

    def begin(self, context: Context) -> None:  # noqa: B027 - most specs need nothing
        """Called once before the first row."""

    @abstractmethod
    def judge(self, rows: Sequence[Row], context: Context) -> list[Verdict]:
        """A verdict for each row, in order; changes nothing."""

    @abstractmethod
    def apply(self, judged: Sequence[tuple[Row, Verdict]], context: Context) -> None:
        """Write rows judged "create" or "update", in the caller's transaction. Raises DomainError."""

    def export(self, actor: User | None) -> Iterator[Mapping[str, Any]]:
        """Every record that the actor may see, by column name: a file of them imports as unchanged."""
        raise NotImplementedError

    def assign(self, header: Sequence[str]) -> tuple[list[ImportColumn | None], list[str]]:
        """The column of each header cell (None: not read), and notes on what is not read. Raises FileFault."""
        return assign_columns(self, header)

    def known_names(self) -> set[str]:
        return {name for column in self.columns for name in column.accepted()}


def assign_columns(spec: ImportSpec, header: Sequence[str]) -> tuple[list[ImportColumn | None], list[str]]:
    by_name = {name: column for column in spec.columns for name in column.accepted()}
    assigned: list[ImportColumn | None] = [by_name.get(plain(cell)) for cell in header]
    faults = []
    for column in spec.columns:
        places = [header[i] for i, found in enumerate(assigned) if found is column]
        if len(places) > 1:
            faults.append(_("The column “%(name)s” comes %(n)s times.") % {"name": column.label, "n": len(places)})
        if column.required and not places:
            faults.append(_missing(column, header, assigned))
    if faults:
        came = ", ".join(f"“{cell[:30]}”" for cell in header[:40])
        wanted = ", ".join(f"“{column.label}”" + ("*" if column.required else "") for column in spec.columns)
        end = _("The header that came: %(came)s. Columns that can be read (* needed): %(wanted)s.")
        raise FileFault(text=" ".join([*faults, end % {"came": came, "wanted": wanted}]))
    return assigned, _notes(header, assigned, spec)


def _missing(column: ImportColumn, header: Sequence[str], assigned: Sequence[ImportColumn | None]) -> str:
    names = list(dict.fromkeys([str(column.label), column.name, *column.aliases]))
    unused = [cell for cell, found in zip(header, assigned, strict=True) if found is None and cell]
    near = {plain(cell): cell for cell in unused}
    matches = [m for name in names for m in difflib.get_close_matches(plain(name), list(near), 1, 0.6)]
    text = _("The column “%(name)s” is missing (also read: %(aliases)s).") % {
        "name": names[0],
        "aliases": ", ".join(names[1:6]),
    }
    if matches:
        text += " " + _("Is it “%(near)s”? Then rename that column.") % {"near": near[matches[0]][:30]}
    return text


def _notes(header: Sequence[str], assigned: Sequence[ImportColumn | None], spec: ImportSpec) -> list[str]:
    """A line for each column that is not read, with the nearest name that would be."""
    notes = []
    for cell, column in zip(header, assigned, strict=True):
        if column is not None or not cell or plain(cell) in REASON_NAMES:
            continue
        near = difflib.get_close_matches(plain(cell), sorted(spec.known_names()), 1, 0.7)
        text = _("The column “%(name)s” is not read.") % {"name": cell[:40]}
        notes.append(text + (" " + _("Did you mean “%(near)s”?") % {"near": near[0]} if near else ""))
    return notes


Provider = Callable[[], Iterable[ImportSpec]]
PROVIDERS: list[Provider] = []


def register(provider: Provider) -> None:
    """Add specs; asked for anew at each look-up, since packs may come and go."""
    if provider not in PROVIDERS:
        PROVIDERS.append(provider)


def all_specs() -> dict[str, ImportSpec]:
    """Every spec by its code."""
    return {spec.code: spec for provider in PROVIDERS for spec in provider()}


def spec_of(code: str) -> ImportSpec:
    """The spec. Raises UnknownType with the nearest codes."""
    known = all_specs()
    code = code.removeprefix("subject:")
    if code in known:
        return known[code]
    near = difflib.get_close_matches(code, list(known), 3, 0.4)
    hint = _("Did you mean %(near)s?") % {"near": ", ".join(near)} if near else ""
    raise UnknownType(came=code, hint=hint or _("There are: %(all)s.") % {"all": ", ".join(sorted(known))})
