"""Pydantic's errors in words a pack's author can act on, each with its line."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from zhenan.packkit.words import hint, shown
from zhenan.packkit.yamlfile import Document, Fault, Path_


def faults_of(err: ValidationError, document: Document, model: type[BaseModel]) -> list[Fault]:
    """Every error of one file as a fault."""
    return [_fault(dict(e), document, model) for e in err.errors(include_url=False)]


def _fault(error: dict[str, Any], document: Document, model: type[BaseModel]) -> Fault:
    loc = tuple(error["loc"])
    path = _without_tags(loc, document.data)
    return Fault(document.file, document.line(path), document.key(path), _message(error, model, loc))


def _message(error: dict[str, Any], model: type[BaseModel], loc: Path_) -> str:
    kind, came = error["type"], error["input"]
    got = "" if isinstance(came, dict | list) and len(repr(came)) > 60 else f"; got {shown(came)}"
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"no such key{hint(str(loc[-1]), _keys_at(model, loc[:-1]))}"
    if kind == "literal_error":
        words = [w.strip().strip("'") for w in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"{shown(came)} is not allowed{hint(str(came), words)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = [t.strip().strip("'") for t in str(error["ctx"].get("expected_tags", "")).split(",") if t.strip()]
        given = came.get("kind") if isinstance(came, dict) else came
        return f"kind is {shown(given)}{hint(str(given), tags)}"
    if kind == "word":
        return str(error["ctx"]["text"])
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch":
        return f"{shown(came)} does not have the form {error['ctx']['pattern']}"
    return f"{error['msg']}{got}"


def _without_tags(loc: Path_, data: Any) -> Path_:
    """The error's place in the file: without the names that pydantic puts in for the alternatives of a union."""
    path: list[str | int] = []
    here = data
    for i, part in enumerate(loc):
        if isinstance(here, dict) and part not in here and str(part) in here:
            part = str(part)
        if part == "[key]" or (isinstance(here, dict) and part not in here and i < len(loc) - 1):
            continue
        path.append(part)
        if isinstance(here, dict):
            here = here.get(str(part))
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            here = None
    return tuple(path)


def _keys_at(model: type[BaseModel], loc: Path_) -> list[str]:
    """The keys allowed at a place: those of every model class that may stand there."""
    types: list[Any] = [model]
    for part in loc:
        types = [t for here in types for t in _below(here, part)]
    keys = {f.alias or name for t in types for m in _models(t) for name, f in m.model_fields.items()}
    return sorted(keys)


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    kind = model.model_fields.get("kind")
    return get_args(kind.annotation) if kind else ()


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, UnionType):
        for inner in get_args(annotation):
            yield from _models(inner)


def _below(annotation: Any, part: str | int) -> Iterator[Any]:
    if get_origin(annotation) is Annotated:
        yield from _below(get_args(annotation)[0], part)
    elif get_origin(annotation) in (Union, UnionType):
        for inner in get_args(annotation):
            yield from _below(inner, part)
        if isinstance(part, str):  # the tag of a discriminated union
            yield from [m for m in _models(annotation) if part in _tags(m)]
    elif get_origin(annotation) in (list, tuple) and isinstance(part, int):
        yield get_args(annotation)[0]
    elif get_origin(annotation) is dict:
        yield get_args(annotation)[1]
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and part in annotation.model_fields:
        yield annotation.model_fields[str(part)].annotation
