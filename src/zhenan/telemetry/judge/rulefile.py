"""Read a rules file: every fault at once, each with line, key path, what came and the nearest right word."""

import difflib
import re
import reprlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from zhenan.telemetry.judge.composites import Composite, RuleFile
from zhenan.telemetry.judge.rules import MODELS, Rule, keys_of
from zhenan.telemetry.judge.schedule import Window

_EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")  # YAML 1.1 reads 1e3 as text; people mean a number
# `id: on`, `points: [0017]` and `from: 22:00` are the words as written, not true, 15 and 1320.
_TEXT_KEYS = ("id", "points", "from", "to", "subjects")
_MAX_SHOWN = 60
_SHOWN = reprlib.Repr()  # aliases can make a value too large to write out
_SHOWN.maxstring = _SHOWN.maxother = _SHOWN.maxlong = _MAX_SHOWN


class RulesFault(ValueError):
    """The rules cannot be used. `faults` holds every reason, a line each."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


def load_rules(path: Path) -> RuleFile:
    """A YAML file of rules. Raises RulesFault, also when the file cannot be read or is not UTF-8."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as err:
        raise RulesFault([f"{path}: cannot be read: {err.strerror}"]) from None
    except UnicodeDecodeError as err:
        raise RulesFault([f"{path}: should be UTF-8; byte {err.start} is not"]) from None
    return parse_file(text, source=path.name)


def parse_rules(text: str, source: str = "rules") -> tuple[Rule, ...]:
    """The rules alone of a YAML text. Raises RulesFault."""
    return tuple(parse_file(text, source).rules)


def parse_file(text: str, source: str = "rules") -> RuleFile:
    """The whole of a YAML text. `source` is the name the faults are reported under. Raises RulesFault."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        if root is None:
            raise RulesFault([f"{source}: is empty; should be `rules:` with a list below it"])
        faults = [f"{source}:{line}: {what}" for line, what in _settle(root, set())]
        data = _construct(root)
    except yaml.YAMLError as err:
        raise RulesFault([f"{source}: not YAML: {' '.join(str(err).split())}"]) from None
    except RecursionError:
        raise RulesFault([f"{source}: nested too deeply"]) from None
    except RulesFault:
        raise
    except (ValueError, OverflowError, TypeError) as err:  # such as 2024-13-45, which looks like a date
        raise RulesFault([f"{source}: a value cannot be read: {err}"]) from None
    return file_from(data, source, faults, root)


def rules_from(data: object, source: str = "rules") -> tuple[Rule, ...]:
    """The rules alone of already loaded data, `{"rules": [...]}`. Raises RulesFault."""
    return tuple(file_from(data, source).rules)


def file_from(
    data: object, source: str = "rules", faults: Sequence[str] = (), root: yaml.Node | None = None
) -> RuleFile:
    """The whole of already loaded data. Raises RulesFault with `faults` and its own."""
    found = list(faults)
    book = RuleFile(rules=[])
    try:
        book = RuleFile.model_validate(data)
    except ValidationError as err:
        found += [_readable(dict(e), data, source, root) for e in err.errors()]
    found += _repeated_ids(data, source, root)
    if found:
        raise RulesFault(found)
    return book


def _settle(node: yaml.Node, done: set[int], path: str = "", key: str = "") -> Iterator[tuple[int, str]]:
    """Make words and numbers what their writer meant, in place; yield (line, fault) for keys given twice."""
    if id(node) in done:  # an alias: walking it again could take for ever
        return
    done.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        if key in _TEXT_KEYS:
            node.tag = "tag:yaml.org,2002:str"
        elif node.style is None and _EXPONENT.fullmatch(node.value):
            node.tag = "tag:yaml.org,2002:float"
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _settle(item, done, f"{path}[{number}]", key)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            name = str(key_node.value)
            where = f"{path}.{name}".lstrip(".")
            if name in seen:
                yield key_node.start_mark.line + 1, f"{where}: is given twice"
            seen.add(name)
            if isinstance(key_node, yaml.ScalarNode) and name != "<<":
                key_node.tag = "tag:yaml.org,2002:str"
            yield from _settle(value_node, done, where, name)


def _construct(root: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _readable(error: dict[str, Any], data: object, source: str, root: yaml.Node | None) -> str:
    """One pydantic error as `file:line: rules.<id>.<key>: what is wrong; got what; did you mean …?`"""
    loc = [part for number, part in enumerate(error["loc"]) if not (number == 2 and part in MODELS)]
    rule = _rule_at(data, loc)
    kind, came = error["type"], error["input"]
    words: Sequence[str] = []
    if kind == "extra_forbidden":
        words = _keys_at(loc, rule)
        text = f"no such key{_hint(str(loc[-1]), words)}"
    elif kind == "union_tag_invalid":
        loc, came, words = [*loc, "kind"], rule.get("kind"), list(MODELS)
        text = f"no such kind; got {_shown(came)}{_hint(str(came), words)}"
    elif kind == "union_tag_not_found":
        loc, text = [*loc, "kind"], f"is missing; should be one of {', '.join(MODELS)}"
    elif kind == "missing":
        text = "is missing"
    elif kind == "impossible":
        loc, text = [*loc, error["ctx"]["key"]], error["msg"]
    else:
        text = f"{error['msg']}; got {_shown(came)}"
    line = _line_of(root, loc)
    return f"{source}{f':{line}' if line else ''}: {_path(loc, rule)}: {text}"


def _keys_at(loc: Sequence[Any], rule: dict[str, Any]) -> list[str]:
    """The keys that may stand at a place."""
    if "active" in loc:
        return [field.alias or name for name, field in Window.model_fields.items()]
    if len(loc) > 2 and loc[0] == "composites":
        return list(Composite.model_fields)
    return keys_of(str(rule.get("kind"))) if len(loc) > 2 else list(RuleFile.model_fields)


def _hint(word: str, words: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; should be one of {', '.join(words)}" if words else ""


def _shown(value: object) -> str:
    text = _SHOWN.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _rule_at(data: object, loc: Sequence[Any]) -> dict[str, Any]:
    """The rule as it came in, {} where the error lies outside a rule."""
    try:
        rule = data[loc[0]][loc[1]]  # type: ignore[index]
    except (IndexError, KeyError, TypeError):
        return {}
    return rule if isinstance(rule, dict) else {}


def _path(loc: Sequence[Any], rule: dict[str, Any]) -> str:
    """Key path with the rule's id in the place of its number, where it has one."""
    name = rule.get("id")
    text = ""
    for number, part in enumerate(loc):
        if number == 1 and isinstance(name, str) and name:
            part = name
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "the file"


def _line_of(root: yaml.Node | None, loc: Sequence[Any]) -> int | None:
    """The line of the deepest node on the way to `loc`; None where the data came from elsewhere."""
    node = root
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            below = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            below = node.value[part] if part < len(node.value) else None
        else:
            below = None
        if below is None:
            break
        node = below
    return node.start_mark.line + 1 if node is not None else None


def _repeated_ids(data: object, source: str, root: yaml.Node | None) -> list[str]:
    """A line for each rule whose id an earlier rule already has."""
    found: list[str] = []
    for key in ("rules", "composites"):
        rules = data.get(key) if isinstance(data, dict) else None
        seen = set()
        for number, rule in enumerate(rules if isinstance(rules, list) else []):
            name = rule.get("id") if isinstance(rule, dict) else None
            if not isinstance(name, str):
                continue
            if name in seen:
                line = _line_of(root, [key, number, "id"])
                found.append(f"{source}{f':{line}' if line else ''}: {key}[{number}].id: {name!r} is already taken")
            seen.add(name)
    return found
