"""What the register brings to other pages: menu, events' words, panels of a subject, map layer, board tile."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.register import attributes, history, minimap, queries
from zhenan.domains.register.models import Subject
from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.imports.specs import all_specs

SITES_AT_MOST = 5000  # points a map answer carries; beyond it, counts of a raster
RASTER = 48  # cells across the map's width
OWNED_SHOWN = 50


def may_see(user: Any, key: str) -> bool:
    """Whose evidence may be seen: that of subjects one may see."""
    return key.isdigit() and Subject.objects.visible_to(user).filter(pk=int(key)).exists()


# Panels of a subject's page


def basic_panel(request: HttpRequest, subject: Subject) -> dict[str, Any]:
    rows: list[tuple[Any, Any, str]] = [
        (gettext_lazy("Type"), attributes.type_label(subject.type), ""),
        (gettext_lazy("Identity"), subject.key, ""),
        (
            gettext_lazy("Unified social credit code"),
            subject.credit_code if subject.credit_code != subject.key else "",
            "",
        ),
        (gettext_lazy("Division"), _chain(subject), ""),
        (gettext_lazy("Address"), subject.address, ""),
        (gettext_lazy("Belongs to"), subject.owner, _owner_url(request, subject)),
        (gettext_lazy("Organisation"), subject.organisation, ""),
        (gettext_lazy("Contact person"), subject.contact, ""),
        (gettext_lazy("Phone"), subject.phone, f"tel:{subject.phone}" if subject.phone else ""),
    ]
    return {"rows": [row for row in rows if row[1]], "subject": subject}


def _chain(subject: Subject) -> str:
    """The division and those above it, from the city down."""
    from zhenan.kernel.territory.models import Division

    names = [
        d.name
        for d in Division.objects.all().chain_of(subject.division.path).only("name", "level", "path")
        if d.level != Division.Level.PROVINCE
    ]
    return " / ".join(names)


def _owner_url(request: HttpRequest, subject: Subject) -> str:
    if subject.owner_id and may_see(request.user, str(subject.owner_id)):
        return reverse("register:detail", args=[subject.owner_id])
    return ""


def attributes_panel(request: HttpRequest, subject: Subject) -> dict[str, Any] | None:
    found = queries.facts(subject)
    return {"rows": [(name, value, "") for name, value in found]} if found else None


def map_panel(request: HttpRequest, subject: Subject) -> dict[str, Any] | None:
    drawn = minimap.draw(subject)
    return {"drawn": drawn, "subject": subject} if drawn else None


def owned_panel(request: HttpRequest, subject: Subject) -> dict[str, Any] | None:
    rows = Subject.objects.visible_to(request.user).filter(owner=subject).select_related("division").order_by("name")
    found = list(rows[: OWNED_SHOWN + 1])
    if not found:
        return None
    shown = [(row, attributes.type_label(row.type)) for row in found[:OWNED_SHOWN]]
    return {"owned": shown, "more": len(found) > OWNED_SHOWN, "subject": subject}


def timeline_panel(request: HttpRequest, subject: Subject) -> dict[str, Any]:
    return {"subject": subject}


def history_panel(request: HttpRequest, subject: Subject) -> dict[str, Any] | None:
    changes = history.changes_of(subject)
    return {"changes": changes} if changes else None


# Map and board


def sites(user: Any, bbox: tuple[float, float, float, float] | None) -> dict[str, Any]:
    """Active subjects with a place: points, or where they are too many, counts of a raster."""
    rows = Subject.objects.visible_to(user).filter(status=Subject.Status.ACTIVE, lat__isnull=False)
    if bbox is not None:
        west, south, east, north = bbox
        rows = rows.filter(lon__range=(west, east), lat__range=(south, north))
    found = list(rows.order_by("pk").values_list("pk", "name", "type", "lon", "lat")[: SITES_AT_MOST + 1])
    if len(found) > SITES_AT_MOST:
        return _collection([_cell(*cell) for cell in _raster(rows, bbox)], cut=True)
    return _collection([_site(*row) for row in found], cut=False)


def _raster(rows: Any, bbox: tuple[float, float, float, float] | None) -> list[tuple[float, float, int]]:
    from django.db.models import Avg, Count, F
    from django.db.models.functions import Floor

    west, _south, east, _north = bbox or (118.9, 31.6, 120.1, 32.4)
    step = max((east - west) / RASTER, 1e-4)
    cells = rows.order_by().annotate(x=Floor(F("lon") / step), y=Floor(F("lat") / step)).values_list("x", "y")
    cells = cells.annotate(n=Count("pk"), at_lon=Avg("lon"), at_lat=Avg("lat"))
    return [(lon, lat, n) for _x, _y, n, lon, lat in cells[: 4 * RASTER**2]]


def _site(pk: int, name: str, kind: str, lon: float, lat: float) -> dict[str, Any]:
    found = attributes.kind_of(kind)
    properties = {
        "id": pk,
        "name": name,
        "detail": attributes.type_label(kind),
        "colour": found.colour if found else "#206bc4",
        "url": reverse("register:detail", args=[pk]),
        "count": 1,
    }
    return _point(lon, lat, properties)


def _cell(lon: float, lat: float, n: int) -> dict[str, Any]:
    return _point(
        lon,
        lat,
        {
            "count": n,
            "point_count": n,
            "name": _("%(n)s subjects") % {"n": n},
        },
    )


def _point(lon: float, lat: float, properties: dict[str, Any]) -> dict[str, Any]:
    geometry = {"type": "Point", "coordinates": [round(lon, 6), round(lat, 6)]}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _collection(features: list[dict[str, Any]], *, cut: bool) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": features, "clustered": cut}


def subjects_tile(user: Any) -> dict[str, Any]:
    counts = queries.counts_by_status(user)
    base = reverse("register:list")
    note = _("%(suspended)s suspended, %(closed)s closed down") % counts
    return {"value": counts["active"], "unit": _("in operation"), "url": f"{base}?status=active", "note": note}


def register() -> None:
    """Fill the slots; called once at start."""
    section = gettext_lazy("Register")
    slots.nav.register(
        slots.NavItem(
            "subjects",
            gettext_lazy("Supervised subjects"),
            "register:list",
            section,
            icon="building-factory-2",
            capability="subject.view",
            order=200,
        )
    )
    for code, text, sign in (
        ("created", gettext_lazy("“{name}” was added to the register"), "plus"),
        ("updated", gettext_lazy("Changed: {fields}"), "edit"),
        ("moved", gettext_lazy("Moved from {before} to {after}"), "map-pin"),
        ("active", gettext_lazy("Taken into operation again"), "player-play"),
        ("suspended", gettext_lazy("Operation suspended"), "player-pause"),
        ("closed", gettext_lazy("Closed down"), "lock"),
    ):
        kinds.register(f"subject.{code}", text, icon=sign)
    for code, label, template, load, order in (
        ("basic", gettext_lazy("Basic facts"), "_facts", basic_panel, 10),
        ("attributes", gettext_lazy("Particulars"), "_facts", attributes_panel, 20),
        ("place", gettext_lazy("Place"), "_place", map_panel, 30),
        ("owned", gettext_lazy("Belonging to it"), "_owned", owned_panel, 60),
        ("timeline", gettext_lazy("Timeline"), "_timeline", timeline_panel, 800),
        ("history", gettext_lazy("Changes field by field"), "_history", history_panel, 900),
    ):
        path = f"register/{template}.html"
        slots.panels.register(slots.Panel(code, label, "subject", path, load, capability="subject.view", order=order))
    slots.map_layers.register(
        slots.MapLayer(
            "sites",
            gettext_lazy("Supervised subjects"),
            sites,
            capability="subject.view",
            colour="#2f6690",
            live_topic="subject",
            order=20,
        )
    )
    slots.board.register(
        slots.BoardTile(
            "subjects", gettext_lazy("Supervised subjects"), subjects_tile, capability="subject.view", order=10
        )
    )


def importable(user: Any) -> list[tuple[str, Any]]:
    """(code, label) of what the user may import into the register."""
    return [
        (code, spec.label) for code, spec in all_specs().items() if not spec.capability or user.can(spec.capability)
    ]
