"""Places on pages that rooms fill without knowing each other: navigation, panels, actions, today, board, map.

A room registers in its ``AppConfig.ready``; pages below or above it read the slot. Nothing is listed centrally.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from django.http import HttpRequest

Text = Any  # str or a lazy translation


@dataclass(frozen=True)
class NavItem:
    """An entry of the main menu, shown to those who hold the capability (empty: to everyone signed in)."""

    code: str
    label: Text
    url_name: str
    section: Text
    icon: str = "circle"  # a Tabler icon's name
    capability: str = ""
    order: int = 100


@dataclass(frozen=True)
class Panel:
    """A part of an object's page. ``load(request, obj)`` returns the template's context, or None to leave it out."""

    code: str
    label: Text
    target: str  # which page: "subject", "hazard", "alarm", …
    template: str
    load: Callable[[HttpRequest, Any], dict[str, Any] | None]
    capability: str = ""
    order: int = 100


@dataclass(frozen=True)
class Action:
    """A link on an object's page to what another room does with it. ``url(request, obj)`` gives the address, or None
    to leave it out."""

    code: str
    label: Text
    target: str  # which page: "fence", "alarm", …
    url: Callable[[HttpRequest, Any], str | None]
    icon: str = "arrow-right"
    capability: str = ""
    order: int = 100


@dataclass(frozen=True)
class TodayItem:
    """One thing that needs this person now."""

    kind: str  # groups the items: "alarm", "hazard", "visit", …
    title: Text
    detail: Text
    url: str
    due_at: datetime | None
    level: int = 4  # 1 is the gravest
    place: Text = ""


@dataclass(frozen=True)
class TodaySource:
    """``load(user, at)`` yields what the user must act on, already limited to what the user may see."""

    code: str
    label: Text
    load: Callable[[Any, datetime], Iterable[TodayItem]]
    order: int = 100


@dataclass(frozen=True)
class BoardTile:
    """A headline figure: ``load(user)`` gives {"value", "unit", "url", "note"?}; the url opens its records.

    A list of such, each with its own "label", is several figures.
    """

    code: str
    label: Text
    load: Callable[[Any], dict[str, Any] | list[dict[str, Any]]]
    capability: str = ""
    order: int = 100


@dataclass(frozen=True)
class MapLayer:
    """A layer of the map: ``load(user, bbox)`` gives a GeoJSON FeatureCollection, WGS-84, of what the user may see."""

    code: str
    label: Text
    load: Callable[[Any, tuple[float, float, float, float] | None], dict[str, Any]]
    capability: str = ""
    colour: str = "#206bc4"
    live_topic: str = ""  # live-feed topic on which the page asks again
    order: int = 100


@dataclass(frozen=True)
class Warmer:
    """Something that is slow the first time in a process, such as a loop that numba loads: ``run()`` goes through it
    when a web process starts, so that nobody waits for it. It must change nothing, and may fail."""

    code: str
    run: Callable[[], Any]
    order: int = 100


T = TypeVar("T", NavItem, Panel, Action, TodaySource, BoardTile, MapLayer, Warmer)


@dataclass
class Slot(Generic[T]):
    """An ordered set of contributions by code; the same code registered twice is a programming error."""

    name: str
    items: dict[str, T] = field(default_factory=dict)

    def register(self, item: T) -> None:
        if item.code in self.items and self.items[item.code] != item:
            raise ValueError(f"slot {self.name}: code {item.code!r} is taken")
        self.items[item.code] = item

    def ordered(self) -> list[T]:
        return sorted(self.items.values(), key=lambda item: (item.order, item.code))


nav: Slot[NavItem] = Slot("nav")
panels: Slot[Panel] = Slot("panels")
actions: Slot[Action] = Slot("actions")
today: Slot[TodaySource] = Slot("today")
board: Slot[BoardTile] = Slot("board")
map_layers: Slot[MapLayer] = Slot("map_layers")
warmers: Slot[Warmer] = Slot("warmers")
