"""Every address with real objects in it: which kind of object each parameter of each route names.

A route whose parameter is not in ``MEANING`` makes the tests fail until it is taught here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from django.db import models
from django.urls import reverse
from tests.support.routes import Operation, Route, operations, routes
from tests.support.world import KINDS, Place, World

from zhenan.domains.duty.models import LEVELS
from zhenan.domains.duty.views import ACTIONS as DUTY_ACTIONS
from zhenan.domains.hazards.actions import ACTIONS as HAZARD_ACTIONS
from zhenan.kernel import slots
from zhenan.kernel.evidence.services import viewers
from zhenan.kernel.lists.pages import ListPage
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry
from zhenan.web.views.people import organisations_seen, people_seen


def some_indicators(place: Place) -> list[str]:
    """The first of each way of measuring, of the place's programme: every figure's page is the same code."""
    by_kind = {i.measure.kind: i.code for i in reversed(registry().indicators(place["subject"].programme))}
    return sorted(by_kind.values())


# (route, parameter) → the kind of object, or the words that may stand there. The first that fits holds.
Words = Callable[[Place], list[Any]]
MEANING: list[tuple[str, str, str | Words]] = [
    ("register:type", "type", lambda place: [place["subject"].type]),
    ("register:*", "pk", "subject"),
    ("*", "subject_pk", "subject"),
    ("duty:load", "pk", "person"),
    ("duty:*", "pk", "contract"),
    ("duty:act", "action", lambda place: list(DUTY_ACTIONS)),
    ("duty:gaps", "level", lambda place: [LEVELS[0], LEVELS[3]]),
    ("hazards:*", "pk", "hazard"),
    ("hazards:act", "action", lambda place: list(HAZARD_ACTIONS)),
    ("monitoring:device", "pk", "device"),
    ("monitoring:retire", "pk", "device"),
    ("monitoring:set_password", "pk", "device"),
    ("monitoring:series*", "pk", "point"),
    ("monitoring:command_device", "pk", "device"),
    ("monitoring:stranger", "pk", "stranger"),
    ("monitoring:leave", "pk", "stranger"),
    ("monitoring:series", "pk", "point"),
    ("monitoring:frame", "pk", "frame"),
    ("monitoring:window", "pk", "maintenance"),
    ("monitoring:end_maintenance", "pk", "maintenance"),
    ("monitoring:*", "pk", "alarm"),
    ("transport:day*", "pk", "vehicle"),
    ("transport:*", "pk", "fence"),
    ("checks:begin", "subject", "subject"),
    ("checks:answer", "item", lambda place: [place["inspection"].spec["items"][0]["code"]]),
    ("checks:*", "pk", "inspection"),
    ("evidence:*", "pk", "evidence"),
    ("notices:*", "pk", "notice"),
    ("imports:*", "pk", "run"),
    ("backtest:*", "pk", "trial"),
    ("indicators:*", "code", lambda place: some_indicators(place)),
    ("web:organisation", "pk", "organisation"),
    ("web:post-end", "pk", "post"),
    ("web:*", "pk", "person"),
    ("web:map-layer", "code", lambda place: list(slots.map_layers.items)),
    ("account_confirm_email", "key", lambda place: ["no-such-key"]),
    ("account_reset_password_from_key", "uidb36", lambda place: ["1"]),
    ("account_reset_password_from_key", "key", lambda place: ["no-such-key"]),
    # Operations of the API, by their path
    ("/api/subjects/*", "pk", "subject"),
    ("/api/hazards/*", "pk", "hazard"),
    ("/api/transport/*", "vehicle_id", "vehicle"),
    ("/api/transport/*", "fence_id", "fence"),
    ("/api/monitoring/*", "alarm_id", "alarm"),
    ("/api/monitoring/*", "key_id", "key"),
    ("/api/monitoring/*", "point_id", "point"),
    ("/api/backtests/*", "trial_id", "trial"),
    ("/api/monitoring/*", "device_id", "device"),
    ("/api/monitoring/*", "command_id", "command"),
    ("/api/inspections/*", "inspection_id", "inspection"),
    ("/api/indicators/*", "code", lambda place: some_indicators(place)),
]


@dataclass(frozen=True)
class Address:
    """A URL; where an object is named in it, whose place it is and what kind."""

    name: str
    url: str
    method: str = "GET"
    place: str = ""
    kind: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.name} [{self.place} {self.kind}] {self.url}".replace("[ ]", "")


def addresses(world: World) -> list[Address]:
    """Every route, with the objects of every place in its parameters."""
    return list(dict.fromkeys(address for route in routes() for address in _of(route, route.name, route.url, world)))


def api_addresses(world: World) -> list[Address]:
    """Every operation of the API in the same way."""
    found = [a for one in operations() for a in _of(one, one.path, one.url, world, one.method)]
    return list(dict.fromkeys(found))


def _of(
    route: Route | Operation, name: str, url: Callable[..., str], world: World, method: str = "GET"
) -> Iterator[Address]:
    if not route.parameters:
        yield Address(name, url(), method)
        return
    for at, place in world.places.items():
        for values, kind in _values(name, route.parameters, place):
            yield Address(name, url(**values), method, at if kind else "", kind)


def _values(name: str, parameters: tuple[str, ...], place: Place) -> Iterator[tuple[dict[str, Any], str]]:
    """Every choice of parameters, with the kind of the object named ("" for none)."""
    choices: list[tuple[dict[str, Any], str]] = [({}, "")]
    for parameter in parameters:
        meaning = next((m for pattern, p, m in MEANING if p == parameter and fnmatchcase(name, pattern)), None)
        if meaning is None:
            raise AssertionError(f"{name}: what does <{parameter}> name? Say it in tests/support/addresses.py: MEANING")
        if isinstance(meaning, str):
            choices = [({**values, parameter: place[meaning].pk}, meaning) for values, _kind in choices]
        else:
            choices = [({**values, parameter: word}, kind) for values, kind in choices for word in meaning(place)]
    yield from choices


def list_pages() -> dict[str, type[ListPage]]:
    """Each route that is a list, by name."""
    found = {route.name: getattr(route.view, "view_class", None) for route in routes()}
    return {name: view for name, view in found.items() if isinstance(view, type) and issubclass(view, ListPage)}


def menu() -> list[str]:
    """Addresses of the main menu."""
    return [reverse(item.url_name) for item in slots.nav.ordered()]


def may_see(user: User, kind: str, obj: models.Model) -> bool:
    """Whether the object is within the user's reach, by the scope that its room declares."""
    rows: Any = KINDS[kind]._default_manager.all() if kind in KINDS else None
    if kind == "evidence":
        label, _, key = obj.target.partition(":")  # type: ignore[attr-defined]
        return bool(viewers[label](user, key))
    if kind == "notice":
        return bool(obj.recipient_id == user.pk)  # type: ignore[attr-defined]
    if kind in ("frame", "stranger"):
        return user.can("device.edit")  # of nobody's device yet
    if kind == "point":
        return may_see(user, "device", obj.device)  # type: ignore[attr-defined]
    if kind == "organisation":
        return bool(organisations_seen(user).filter(pk=obj.pk).exists())
    if kind == "person":
        return bool(people_seen(user).filter(pk=obj.pk).exists())
    if kind == "post":
        return may_see(user, "person", obj.user)  # type: ignore[attr-defined]
    if kind == "contract" and obj.person_id == user.pk:  # type: ignore[attr-defined]
        return True
    return bool(rows.visible_to(user).filter(pk=obj.pk).exists())
