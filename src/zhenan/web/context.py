"""What base.html needs on every page."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject

from zhenan.kernel import slots
from zhenan.kernel.events.models import new_id


def menu(request: HttpRequest) -> list[dict[str, Any]]:
    """The main menu for this person: sections in the order of their first entry, each with its entries."""
    user: Any = request.user
    sections: dict[str, dict[str, Any]] = {}
    best: dict[str, Any] | None = None
    for item in slots.nav.ordered():
        if item.capability and not user.can(item.capability):
            continue
        try:
            url = reverse(item.url_name)
        except NoReverseMatch:
            continue  # the room has no such page in this installation
        entry = {"code": item.code, "label": item.label, "icon": item.icon, "url": url, "active": False}
        sections.setdefault(str(item.section), {"label": item.section, "entries": []})["entries"].append(entry)
        fits = request.path == url if url == "/" else request.path.startswith(url)
        if fits and (best is None or len(url) > len(best["url"])):
            best = entry
    if best is not None:
        best["active"] = True
    return list(sections.values())


def shell(request: HttpRequest) -> dict[str, Any]:
    """Context processor: menu, demo ribbon, languages, the person's main post; nothing is read until a page uses it."""
    user = getattr(request, "user", None)
    signed_in = user is not None and user.is_authenticated
    return {
        "demo": settings.DEMO,
        "languages": settings.LANGUAGES,
        "menu": SimpleLazyObject(lambda: menu(request)) if signed_in else [],
        "page_made": new_id(),  # what happens between this and the live feed's first breath is asked for by it
        "wall": request.GET.get("wall") == "1",
    }
