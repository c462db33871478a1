"""Words for kinds of event. A room registers its own in ``AppConfig.ready``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    code: str
    text: Any  # lazy translation; may hold {names} of the event's data
    icon: str = "point"
    topic: str = ""  # live feed: pages that listen to the topic refresh


REGISTERED: dict[str, Kind] = {}


def register(code: str, text: Any, *, icon: str = "point", topic: str = "") -> None:
    """Declare a kind; ``topic`` empty means the part before the first dot."""
    REGISTERED[code] = Kind(code, text, icon, topic or code.split(".", 1)[0])


class _Gaps(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "…"


def sentence(code: str, data: dict[str, Any]) -> str:
    kind = REGISTERED.get(code)
    return str(kind.text).format_map(_Gaps(data)) if kind else code


def icon(code: str) -> str:
    kind = REGISTERED.get(code)
    return kind.icon if kind else "point"


def topic(code: str) -> str:
    kind = REGISTERED.get(code)
    return kind.topic if kind else code.split(".", 1)[0]
