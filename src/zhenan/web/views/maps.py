"""The map: district polygons and the layers that rooms fill; no address outside this server is needed."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseBadRequest, HttpResponseNotModified, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page

from zhenan.kernel import slots
from zhenan.kernel.access.guards import AuthedRequest, needs
from zhenan.kernel.territory.models import Division

Box = tuple[float, float, float, float]
DIVISIONS_KEY = "web.map.divisions"


def _layers(user: Any) -> list[slots.MapLayer]:
    return [layer for layer in slots.map_layers.ordered() if user.can(layer.capability)]


@needs("subject.view")
def page(request: AuthedRequest) -> HttpResponse:
    layers = [
        {
            "code": layer.code,
            "label": str(layer.label),
            "colour": layer.colour,
            "topic": layer.live_topic,
            "url": reverse("web:map-layer", args=[layer.code]),
        }
        for layer in _layers(request.user)
    ]
    config = {
        "layers": layers,
        "divisions": reverse("web:map-divisions"),
        "tianditu": getattr(settings, "TIANDITU_KEY", ""),
        "words": {
            "open": _("Open the record"),
            "more": _("more, zoom in"),
            "noGl": _("This browser cannot draw the map (no WebGL2)."),
            "failed": _("could not be loaded"),
        },
    }
    return render(request, "web/map.html", {"title": _("Map"), "layers": layers, "config": config})


@gzip_page
@needs("")
def divisions(request: AuthedRequest) -> HttpResponse:
    """Boundaries of the counties and places of the towns; the same for everyone, kept an hour."""
    body = cache.get(DIVISIONS_KEY)
    if body is None:
        body = json.dumps(_divisions(), ensure_ascii=False, separators=(",", ":")).encode()
        cache.set(DIVISIONS_KEY, body, 3600)
    tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    if request.headers.get("If-None-Match", "").removeprefix("W/") == tag:
        return HttpResponseNotModified()
    return HttpResponse(
        body, content_type="application/geo+json", headers={"ETag": tag, "Cache-Control": "private, max-age=3600"}
    )


def _divisions() -> dict[str, Any]:
    features: list[dict[str, Any]] = []
    rows = Division.objects.filter(level__in=["city", "county", "town"], active=True)
    for division in rows.order_by("code"):
        properties = {"code": division.code, "name": division.name, "level": division.level}
        if division.boundary:
            features.append({"type": "Feature", "geometry": division.boundary, "properties": properties | {"area": 1}})
        if division.lon is not None and division.lat is not None and division.level != "city":
            point = {"type": "Point", "coordinates": [division.lon, division.lat]}
            features.append({"type": "Feature", "geometry": point, "properties": properties})
    return {"type": "FeatureCollection", "features": features}


@gzip_page
@needs("")
def layer(request: AuthedRequest, code: str) -> HttpResponse:
    """A layer's features within ``bbox`` (west,south,east,north in degrees), limited to what the user may see."""
    found = slots.map_layers.items.get(code)
    if found is None:
        raise Http404(code)
    if not request.user.can(found.capability):
        raise PermissionDenied(found.capability)
    try:
        box = parse_box(request.GET.get("bbox", ""))
    except ValueError as err:
        return HttpResponseBadRequest(str(err), content_type="text/plain; charset=utf-8")
    answer = JsonResponse(
        found.load(request.user, box), json_dumps_params={"ensure_ascii": False, "separators": (",", ":")}
    )
    answer["Content-Type"] = "application/geo+json"
    answer["Cache-Control"] = "private, no-cache"
    return answer


def parse_box(raw: str) -> Box | None:
    """Four degrees, or None for "". Raises ValueError with what would be right.

    >>> parse_box("119.1,31.6,120.0,32.3")
    (119.1, 31.6, 120.0, 32.3)
    """
    if not raw:
        return None
    parts = raw.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) != 4 or not all(math.isfinite(n) and abs(n) <= 360 for n in numbers):
        raise ValueError(_("bbox: came “%(came)s”; want west,south,east,north in degrees.") % {"came": raw[:60]})
    west, south, east, north = numbers
    if west > east or south > north:
        raise ValueError(_("bbox: west must not exceed east, nor south north."))
    return west, south, east, north
