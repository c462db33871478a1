"""The board: headline figures that open their records, what happens now, alarms by district; also for a wall screen."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from django.db.models import Count
from django.http import HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from zhenan.domains.register.queries import summaries
from zhenan.kernel import slots
from zhenan.kernel.access.guards import AuthedRequest, needs
from zhenan.kernel.events import kinds
from zhenan.kernel.events.models import Event
from zhenan.kernel.territory.models import Division
from zhenan.web.scope import events_heard, hears_topic

FEED_ROWS = 30


def _tiles(user: Any) -> list[dict[str, Any]]:
    found = []
    for tile in slots.board.ordered():
        if user.can(tile.capability):
            loaded = tile.load(user)
            rows = loaded if isinstance(loaded, list) else [loaded]
            found += [{"code": tile.code, "label": tile.label, **row} for row in rows]
    return found


def _feed(user: Any) -> list[Event]:
    """The newest events within the user's hearing, of topics that the user may know, with the subject each is about."""
    events = list(events_heard(user).select_related("actor").order_by("-at", "-id")[: FEED_ROWS * 3])
    events = [e for e in events if hears_topic(user, kinds.topic(e.kind))][:FEED_ROWS]
    subjects = {e.pk: _subject_of(e) for e in events}
    known = summaries(pk for pk in subjects.values() if pk is not None)
    for event in events:
        event.about_subject = known.get(subjects[event.pk] or 0)  # type: ignore[attr-defined]
    return events


def _subject_of(event: Event) -> int | None:
    return next((int(t.partition(":")[2]) for t in event.targets if t.startswith("register.subject:")), None)


@needs("")
def page(request: AuthedRequest) -> HttpResponse:
    wall = request.GET.get("wall") == "1"
    context = {
        "title": _("Board"),
        "tiles": _tiles(request.user),
        "events": _feed(request.user),
        "wall": wall,
        "now": timezone.localtime(),
    }
    return render(request, "web/wall.html" if wall else "web/board.html", context)


@needs("")
def tiles(request: AuthedRequest) -> HttpResponse:
    return render(request, "web/_tiles.html", {"tiles": _tiles(request.user)})


@needs("")
def feed(request: AuthedRequest) -> HttpResponse:
    return render(request, "web/_feed.html", {"events": _feed(request.user)})


@needs("")
def districts(request: AuthedRequest) -> HttpResponse:
    """Events of alarms and hazards of the last seven days by county, counted within the user's reach."""
    since = timezone.now() - timedelta(days=7)
    named = {d.path: d.name for d in Division.objects.filter(level="county", active=True).order_by("code")}
    series: dict[str, Counter[str]] = {}
    for code, kind in (("alarm", "alarm.raised"), ("hazard", "hazard.reported")):
        if not hears_topic(request.user, code):
            continue
        counter: Counter[str] = Counter()
        rows = events_heard(request.user).filter(kind=kind, at__gte=since)
        for path, n in rows.order_by().values_list("path").annotate(n=Count("pk")).values_list("path", "n"):
            county = next((own for own in named if path.startswith(own)), None)
            if county is not None:
                counter[county] += n
        series[code] = counter
    words = {"alarm": _("Alarms"), "hazard": _("Hazards found")}
    return JsonResponse(
        {
            "names": list(named.values()),
            "series": [{"code": c, "name": words[c], "values": [s[p] for p in named]} for c, s in series.items()],
        }
    )
