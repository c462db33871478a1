"""Pages of transport: the live map with the replay of an area, a vehicle's day, fences."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_POST

from zhenan.domains.transport import queries, services
from zhenan.domains.transport.classes import CLASS, GOODS, words_known
from zhenan.domains.transport.forms import DAYS, FenceForm, TermsForm, window_text
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.telemetry.tracks.table import Box

MOST_MINUTES = 60
SHOWN = 20  # events on a fence's page; the list has all


def _config(**more: Any) -> dict[str, Any]:
    words = {
        "moving": _("moving"), "stopped": _("stopped"), "none": _("No position on this day."),
        "failed": _("could not be loaded"), "loading": _("Loading the vehicles …"),
        "noGl": _("This browser cannot draw the map (no WebGL2)."), "speed": _("Speed"), "vehicles": _("vehicles"),
        "leftOut": _("positions left out to keep the page quick"), "day": _("Replay of the day"),
        "play": _("Play"), "pause": _("Pause"),
    }  # fmt: skip
    found = {
        "divisions": "",
        "tianditu": getattr(settings, "TIANDITU_KEY", ""),
        "zone": settings.TIME_ZONE,
        "words": words,
    }
    return found | {"divisions": reverse("web:map-divisions")} | more


@needs("alarm.view")
def map_page(request: AuthedRequest) -> HttpResponse:
    """Where all vehicles are; given a moment, where they were."""
    config = _config(
        live=reverse("transport:live"), area=reverse("transport:area"), day=reverse("transport:day", args=[0])
    )
    return render(request, "transport/map.html", {"title": _("Vehicles on the map"), "config": config})


@gzip_page
@needs("alarm.view")
def live(request: AuthedRequest) -> HttpResponse:
    """Last positions within `bbox` (west,south,east,north), GeoJSON."""
    raw = request.GET.get("bbox", "")
    try:
        box = _numbers(raw) if raw else None
    except ValueError as err:
        return JsonResponse({"error": str(err)}, status=400)
    answer = JsonResponse(queries.live(request.user, box))
    answer["Cache-Control"] = "private, no-cache"
    return answer


def _numbers(raw: str) -> tuple[float, float, float, float]:
    """west, south, east, north. Raises ValueError with what would be right."""
    try:
        west, south, east, north = (float(part) for part in raw.split(","))
        Box(south, west, north, east)
    except ValueError as err:
        raise ValueError(_("bbox: give west,south,east,north in degrees.")) from err
    return west, south, east, north


@gzip_page
@needs("alarm.view")
def area(request: AuthedRequest) -> HttpResponse:
    """Everyone within `bbox` (left out: the city) in the `minutes` (1 to 60) up to `at` (ISO time; left out: now)."""
    at, raw = _moment(request.GET["at"]) if "at" in request.GET else timezone.now(), request.GET.get("minutes", "10")
    if at is None or not raw.isdigit() or not 1 <= int(raw) <= MOST_MINUTES:
        return JsonResponse({"error": _("Give at as an ISO time and minutes from 1 to 60.")}, status=400)
    try:
        west, south, east, north = _numbers(request.GET["bbox"]) if "bbox" in request.GET else queries.city_box()
        found = queries.area(request.user, Box(south, west, north, east), int(at.timestamp() * 1000), int(raw))
    except ValueError as err:
        return JsonResponse({"error": str(err)}, status=400)
    return JsonResponse(found)


def _moment(raw: str) -> datetime | None:
    try:
        found = parse_datetime(raw.replace(" ", "+"))
    except ValueError:
        return None
    return timezone.make_aware(found) if found and timezone.is_naive(found) else found


def _day(raw: str) -> date | None:
    try:
        return parse_date(raw)
    except ValueError:
        return None


@needs("alarm.view")
def day(request: AuthedRequest, pk: int) -> HttpResponse:
    """The replay of a vehicle's day."""
    device = get_object_or_404(
        queries.vehicles(request.user).select_related("subject__division", "subject__owner"), pk=pk
    )
    chosen = _day(request.GET.get("day", "")) or timezone.localdate()
    data = reverse("transport:day_data", args=[pk]) + f"?day={chosen:%Y-%m-%d}"
    about = " · ".join(filter(None, (queries.belongs_to(device), queries.goods_of(device))))
    context = {"device": device, "about": about, "day": chosen, "config": _config(data=data), "title": device.name}
    return render(request, "transport/day.html", context)


@gzip_page
@needs("alarm.view")
def day_data(request: AuthedRequest, pk: int) -> HttpResponse:
    """Positions, trips, stops and fence events of a local day (`day`; left out: today), JSON."""
    device = get_object_or_404(queries.vehicles(request.user), pk=pk)
    chosen = _day(request.GET["day"]) if "day" in request.GET else timezone.localdate()
    if chosen is None or not 2000 <= chosen.year <= 2200:
        return JsonResponse({"error": _("Give day as YYYY-MM-DD.")}, status=400)
    return JsonResponse(queries.vehicle_day(device, chosen, request.user))


@needs("alarm.view")
def fence(request: AuthedRequest, pk: int) -> HttpResponse:
    """A fence with its versions and what happened at it."""
    found = get_object_or_404(Fence.objects.visible_to(request.user).select_related("division"), pk=pk)
    versions = list(found.versions.select_related("made_by").order_by("-version"))
    for version in versions:
        version.fence = found
        version.conditions = _conditions(version)
    events = list(_events(request, found)[: SHOWN + 1])
    config = _config(fences=[queries.drawn_fence(v) for v in versions[:1]], fence=True)
    may = request.user.can("rule.edit") and Fence.objects.visible_to(request.user, "rule.edit").filter(pk=pk).exists()
    context = {
        "fence": found, "versions": versions, "events": events[:SHOWN], "more": len(events) > SHOWN, "config": config,
        "may_edit": may,
    }  # fmt: skip
    return render(request, "transport/fence.html", context | {"title": found.name})


def _conditions(version: FenceVersion) -> list[str]:
    """What a version asks for, in words: whom it concerns, when, and what is an alarm."""
    found = []
    for field, codes in ((CLASS, version.vehicle_classes), (GOODS, version.goods_classes)):
        names = dict(words_known(field))
        if codes:
            found.append(", ".join(names.get(code, code) for code in codes))
    for days, start, end in version.windows:
        named = "" if days == 0b1111111 else " ".join(str(word) for n, word in DAYS if days >> int(n) & 1)
        found.append(f"{named} {start // 60:02d}:{start % 60:02d}–{end // 60:02d}:{end % 60:02d}".strip())
    if version.alarm_on_enter:
        found.append(_("alarm when entered"))
    if version.speed_kmh:
        found.append(f"≤ {version.speed_kmh:g} km/h")
    if version.dwell_s:
        found.append(_("at most {minutes} minutes").format(minutes=f"{version.dwell_s / 60:g}"))
    return found


def _events(request: AuthedRequest, found: Fence) -> Any:
    rows = FenceRecord.objects.visible_to(request.user).filter(version__fence=found)
    return rows.select_related("device", "version")


@needs("rule.edit")
def new_fence(request: AuthedRequest) -> HttpResponse:
    """Draw a new fence."""
    form = FenceForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid():
        terms = form.terms()
        name, division = terms.pop("name"), terms.pop("division")
        at = timezone.now()
        try:
            made = services.make_fence(
                name=name,
                division=division,
                terms=terms,
                valid_from=terms.pop("valid_from") or at,
                by=request.user,
                at=at,
            )
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("Fence made."))
            return redirect("transport:fence", pk=made.pk)
    return _editor(request, form, _("New fence"))


@needs("rule.edit")
def edit_fence(request: AuthedRequest, pk: int) -> HttpResponse:
    """A new version of a fence."""
    found = get_object_or_404(Fence.objects.visible_to(request.user, "rule.edit"), pk=pk)
    form = TermsForm(request.POST or None, initial=_initial(found.versions.latest("version")))
    if request.method == "POST" and form.is_valid():
        terms, at = form.terms(), timezone.now()
        try:
            services.change_fence(pk, terms=terms, valid_from=terms.pop("valid_from") or at, by=request.user, at=at)
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("The new version is kept; earlier trips stay judged by the earlier one."))
            return redirect("transport:fence", pk=pk)
    return _editor(request, form, found.name)


def _initial(version: FenceVersion) -> dict[str, Any]:
    found = {name: getattr(version, name) for name in services.TERMS}
    found |= {"points": json.dumps(version.points), "dwell_min": version.dwell_s / 60 if version.dwell_s else None}
    if version.windows:
        days, start, end = version.windows[0]
        found["days"] = [str(n) for n in range(7) if days >> n & 1]
        if (start, end) != (0, 1440):
            found |= {"begins": f"{start // 60:02d}:{start % 60:02d}", "ends": f"{end // 60 % 24:02d}:{end % 60:02d}"}
        found["further_windows"] = "\n".join(map(window_text, version.windows[1:]))
    return found


def _editor(request: AuthedRequest, form: TermsForm, title: str) -> HttpResponse:
    context = {"form": form, "title": title, "config": _config(draw=True)}
    return render(request, "transport/editor.html", context, status=422 if form.is_bound else 200)


@require_POST
@needs("rule.edit")
def end_fence(request: AuthedRequest, pk: int) -> HttpResponse:
    """End a fence now."""
    if not Fence.objects.visible_to(request.user, "rule.edit").filter(pk=pk).exists():
        if Fence.objects.visible_to(request.user).filter(pk=pk).exists():
            raise PermissionDenied("rule.edit")
        get_object_or_404(Fence.objects.none(), pk=pk)
    try:
        services.end_fence(pk, by=request.user, at=timezone.now())
    except DomainError as err:
        messages.error(request, str(err))
    else:
        messages.success(request, _("Fence ended."))
    return redirect("transport:fence", pk=pk)
