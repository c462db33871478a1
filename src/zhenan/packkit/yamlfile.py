"""Read one YAML file of a pack: safely, with line numbers, and with duplicate keys refused.

Only plain YAML: maps, lists, text, numbers, true/false, null. ``no``, ``on``, ``1:30`` and dates stay text, so that a
code such as ``no`` means what its author sees. Custom tags, merge keys and self-references are faults.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Path_ = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_ALIASES = 50
MAX_DEPTH = 40
MAX_NODES = 100_000  # after aliases are written out


@dataclass(frozen=True)
class Fault:
    """One fault in a pack: file relative to the pack's folder, line (0 = the file as a whole), key path, message."""

    file: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class YamlFault(Exception):
    """The file cannot be read at all; carries every fault found before giving up."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


@dataclass(frozen=True)
class Document:
    """A file's data and the line of each key path."""

    file: str
    data: Any
    lines: dict[Path_, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)  # duplicate keys: the rest can still be checked

    def line(self, path: Path_) -> int:
        """Line of the value at the path, or of the nearest enclosing value that has one."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)

    def key(self, path: Path_) -> str:
        """``rules[2].level`` or, where the list's items have codes, ``rules.gas_high.level``."""
        text, here = "", self.data
        for part in path:
            below = _step(here, part)
            if isinstance(part, int):
                named = below.get("code", below.get("id")) if isinstance(below, dict) else None
                text += f".{named}" if isinstance(named, str) and named else f"[{part}]"
            else:
                text += f".{part}"
            here = below
        return text.lstrip(".")


def _step(here: Any, part: str | int) -> Any:
    if isinstance(here, dict):
        return here.get(part)
    if isinstance(here, list) and isinstance(part, int) and part < len(here):
        return here[part]
    return None


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that knows only the JSON-like scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def read_yaml(path: Path, name: str | None = None) -> Document:
    """Read one file. Raises YamlFault when it is missing, too big, not UTF-8, hostile or not YAML."""
    name = name or path.name
    text = _text(path, name)
    try:
        _refuse_hostile(text, name)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = f" at column {mark.column + 1}" if mark else ""
        raise YamlFault([Fault(name, mark.line + 1 if mark else 0, "", f"not YAML: {err.problem}{place}")]) from err
    except (yaml.YAMLError, RecursionError) as err:
        raise YamlFault([Fault(name, 0, "", f"not YAML: {err}")]) from err
    builder = _Builder(name)
    data = builder.build(node, (), 0) if node is not None else {}
    return Document(name, data, builder.lines, builder.faults)


def _text(path: Path, name: str) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise YamlFault([Fault(name, 0, "", f"is {size:,} bytes; a pack's file may have {MAX_BYTES:,}")])
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as err:
        raise YamlFault([Fault(name, 0, "", f"is not UTF-8 (byte {err.start}); save it as UTF-8")]) from err
    except OSError as err:
        raise YamlFault([Fault(name, 0, "", f"cannot be read: {err.strerror}")]) from err


def _refuse_hostile(text: str, name: str) -> None:
    """Count nesting and aliases from the event stream, before any node is built."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
        line = event.start_mark.line + 1 if event.start_mark else 0
        if depth > MAX_DEPTH:
            raise YamlFault([Fault(name, line, "", f"nested more than {MAX_DEPTH} deep")])
        if aliases > MAX_ALIASES:
            raise YamlFault([Fault(name, line, "", f"has more than {MAX_ALIASES} aliases; write the values out")])


class _Builder:
    """Turns nodes into data, noting lines and duplicate keys."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Path_, int] = {}
        self.faults: list[Fault] = []
        self.nodes = 0

    def build(self, node: yaml.Node, path: Path_, depth: int) -> Any:
        self.nodes += 1
        line = node.start_mark.line + 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise YamlFault([Fault(self.name, line, "", f"grows past {MAX_NODES:,} values or refers to itself")])
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.CollectionNode) and node.tag.rpartition(":")[2] not in ("map", "seq"):
            raise YamlFault([Fault(self.name, line, ".".join(map(str, path)), f"tag {node.tag!r} is not allowed")])
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, path, depth))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i), depth + 1) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _pairs(self, node: yaml.MappingNode, path: Path_, depth: int) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.value == "<<":
                raise YamlFault([Fault(self.name, line, "", "a key must be plain text or a number")])
            key = str(key_node.value)
            if key in seen:
                where = ".".join(map(str, (*path, key)))
                self.faults.append(Fault(self.name, line, where, f"given twice; the first is on line {seen[key]}"))
                continue
            seen[key] = line
            self.lines[(*path, key)] = line
            yield key, self.build(value_node, (*path, key), depth + 1)

    def _scalar(self, node: yaml.Node, path: Path_) -> Any:
        kind, value = node.tag.removeprefix("tag:yaml.org,2002:"), node.value
        if kind == "str":
            return value
        if kind == "bool":
            return value == "true"
        if kind == "null":
            return None
        if kind in ("int", "float"):
            try:
                return int(value) if kind == "int" else float(value)
            except ValueError:
                pass
        where = ".".join(map(str, path))
        raise YamlFault([Fault(self.name, node.start_mark.line + 1, where, f"tag {node.tag!r} is not allowed")])
