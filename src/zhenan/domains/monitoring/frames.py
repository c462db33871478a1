"""Kept frames for people: decoded, in lines of a path and a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from zhenan.telemetry.codecs.lines import decode_bytes

MAX_LINES: Final = 300
MAX_TEXT: Final = 200


def readable(protocol: str, raw: bytes) -> Any:
    """What a frame says, as `zhenan decode` has it; an MQTT payload as JSON; None when nothing of it can be read."""
    if protocol == "mqtt_json":
        try:
            return msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    found = decode_bytes(protocol, raw)
    return found if found.get("ok") else None


def lines_of(decoded: Any) -> list[tuple[str, str]]:
    """(path, value) of everything in a decoded frame, in its order; a long one is cut."""
    found: list[tuple[str, str]] = []
    for line in _walk(decoded, ""):
        if len(found) == MAX_LINES:
            found.append(("…", "…"))
            break
        found.append(line)
    return found


def _walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from _walk(item, f"{path}[{n}]")
    else:
        text = str(value)
        yield path, text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
