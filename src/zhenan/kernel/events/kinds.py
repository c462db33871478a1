"""Words for kinds of event. A room registers its own in ``AppConfig.ready``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    code: str
    text: Any  # lazy translation; may hold {names} of the event's data
    icon: str = "point"
    topic: str = ""  # live feed: pages that listen to the topic refresh
    words: Mapping[str, Callable[[str], Any]] = field(default_factory=dict)  # data key → code → what people read


REGISTERED: dict[str, Kind] = {}


def register(
    code: str,
    text: Any,
    *,
    icon: str = "point",
    topic: str = "",
    words: Mapping[str, Callable[[str], Any]] | None = None,
) -> None:
    """Declare a kind; ``topic`` empty means the part before the first dot. ``words`` reads codes in the data aloud."""
    REGISTERED[code] = Kind(code, text, icon, topic or code.split(".", 1)[0], words or {})


class _Gaps(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "…"


def sentence(code: str, data: dict[str, Any]) -> str:
    kind = REGISTERED.get(code)
    if kind is None:
        return code
    read = {key: kind.words[key](str(value)) if key in kind.words else value for key, value in data.items()}
    return str(kind.text).format_map(_Gaps(read))


def icon(code: str) -> str:
    kind = REGISTERED.get(code)
    return kind.icon if kind else "point"


def topic(code: str) -> str:
    kind = REGISTERED.get(code)
    return kind.topic if kind else code.split(".", 1)[0]
