"""What needs this person now, across all rooms, the most urgent first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _

from zhenan.kernel import slots
from zhenan.kernel.access.guards import AuthedRequest, needs

AT_MOST = 200


@dataclass(frozen=True)
class Group:
    """A part of the day: its heading, and its items from the gravest to the least."""

    code: str
    label: str
    sign: str
    items: list[slots.TodayItem]


def gather(user: Any, at: datetime) -> list[tuple[slots.TodaySource, slots.TodayItem]]:
    """Every item of every source."""
    return [(source, item) for source in slots.today.ordered() for item in source.load(user, at)]


def urgency(item: slots.TodayItem, at: datetime) -> str:
    """Which part of the day an item belongs to."""
    if item.due_at is None:
        return "undated"
    if item.due_at < at:
        return "overdue"
    local, now = timezone.localtime(item.due_at), timezone.localtime(at)
    if local.date() == now.date():
        return "today"
    return "week" if item.due_at < at + timedelta(days=7) else "later"


def grouped(items: list[slots.TodayItem], at: datetime) -> list[Group]:
    """Items by urgency; within it by level (1 first), then by deadline."""
    headings = [
        ("overdue", _("Overdue"), "alarm"),
        ("today", _("Due today"), "clock"),
        ("week", _("Due within a week"), "calendar-week"),
        ("later", _("Later"), "calendar"),
        ("undated", _("Without a deadline"), "list"),
    ]
    parts: dict[str, list[slots.TodayItem]] = {code: [] for code, _label, _sign in headings}
    for item in items:
        parts[urgency(item, at)].append(item)
    for part in parts.values():
        part.sort(key=lambda i: (i.level, i.due_at or at, str(i.title)))
    return [Group(code, label, sign, parts[code]) for code, label, sign in headings if parts[code]]


def today(request: AuthedRequest) -> HttpResponse:
    """The page; strangers are sent to the public page."""
    if not request.user.is_authenticated:
        return redirect("account_login")
    return _today(request)


@needs("")
def _today(request: AuthedRequest) -> HttpResponse:
    at = timezone.now()
    found = gather(request.user, at)
    counts = Counter(source.code for source, _item in found)
    kinds = [
        {"code": s.code, "label": s.label, "count": counts[s.code]} for s in slots.today.ordered() if counts[s.code]
    ]
    chosen = request.GET.get("kind", "")
    if chosen not in counts:
        chosen = ""
    items = [item for source, item in found if chosen in ("", source.code)]
    items.sort(key=lambda i: (i.due_at is None, i.due_at or at))
    context = {
        "title": _("Today"),
        "groups": grouped(items[:AT_MOST], at),
        "kinds": kinds,
        "chosen": chosen,
        "total": len(found),
        "more": max(len(items) - AT_MOST, 0),
        "day": timezone.localtime(at),
    }
    partial = request.headers.get("HX-Target") == "today"
    return render(request, "web/_today.html" if partial else "web/today.html", context)
