"""Where hazards show up outside their own pages: kinds of event, evidence, menu, panel, today, board, map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from django.db.models import F
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards.lists import COLOURS
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.models.hazard import Severity
from zhenan.domains.hazards.queries import (
    Figures,
    figures,
    open_for,
    to_assign,
    to_check,
    to_grade,
    to_rectify,
    to_review,
)
from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.evidence import services as evidence

KINDS = (
    ("hazard.reported", _("Hazard reported: {title}"), "alert-triangle"),
    ("hazard.found_again", _("Found again while open: {title}"), "repeat"),
    ("hazard.graded", _("Graded ({severity})"), "scale"),
    ("hazard.assigned", _("Rectifier named: {rectifier}"), "user-check"),
    ("hazard.plan_filled", _("Plan filled in, due {due}"), "clipboard-list"),
    ("hazard.submitted", _("Rectification submitted (round {round})"), "upload"),
    ("hazard.accepted", _("Rectification accepted (round {round})"), "circle-check"),
    ("hazard.rejected", _("Rectification rejected (round {round})"), "circle-x"),
    ("hazard.fixed_on_the_spot", _("Fixed on the spot by {done_by}"), "bolt"),
    ("hazard.extension_asked", _("Extension of {days} days asked for"), "clock-question"),
    ("hazard.extended", _("Extended by {days} days"), "clock-plus"),
    ("hazard.extension_refused", _("Extension refused"), "clock-x"),
    ("hazard.suspended", _("Operation ordered to stop: {order}"), "hand-stop"),
    ("hazard.resumed", _("Order to stop lifted"), "player-play"),
    ("hazard.listed", _("Listed for supervision as {listing}, leader {leader}"), "flag"),
    ("hazard.review_applied", _("Review applied for"), "mail-forward"),
    ("hazard.review_failed", _("Review failed"), "circle-x"),
    ("hazard.delisted", _("Delisted by notice {notice}"), "flag-off"),
    ("hazard.transferred", _("Transferred to {to}"), "arrow-right"),
    ("hazard.received", _("Received by {to}"), "inbox"),
    ("hazard.handed_over", _("Handed over from {leaver} to {successor}"), "users"),
    ("hazard.overdue", _("Overdue"), "alarm"),
    ("hazard.escalated", _("Overdue: now before {rung}"), "stairs-up"),
)


def severity_word(code: str) -> Any:
    return Severity(code).label if code in Severity.values else code


def rung_word(code: str) -> Any:
    return RUNG_WORDS.get(code, code)


RUNG_WORDS = {
    "town": _("the town"),
    "district": _("the district"),
    "city": _("the city"),
    "listed": _("the decision on listing"),
}
WORDS = {"severity": severity_word, "rung": rung_word}


def may_see(user: Any, pk: str) -> bool:
    """Evidence of a hazard is shown to whoever sees the hazard."""
    return pk.isdigit() and Hazard.objects.visible_to(user).filter(pk=int(pk)).exists()


def register() -> None:
    for code, text, icon in KINDS:
        kinds.register(code, text, icon=icon, topic="hazard", words=WORDS)
    evidence.viewers["hazards.hazard"] = may_see
    register_slots()


def subject_panel(request: Any, subject: Any) -> dict[str, Any]:
    """The open hazards of a subject, and how many there were."""
    rows = open_for(subject).select_related("rectifier")
    return {
        "rows": list(rows[:10]), "open": rows.count(), "all": subject.hazards.count(), "subject": subject,
        "colours": COLOURS, "may_report": request.user.can("hazard.report"),
    }  # fmt: skip


def before_me(user: Any, at: datetime) -> Iterator[slots.TodayItem]:
    """What waits for a step of this person; overdue first."""
    for rows, verb in (
        (to_rectify(user), _("To rectify")),
        (to_check(user), _("To check")),
        (to_grade(user), _("To grade")),
        (to_assign(user), _("To be given a rectifier")),
        (to_review(user), _("To review on site")),
    ):
        ordered = rows.select_related("subject__division").order_by(F("due_at").asc(nulls_last=True), "found_at")
        for hazard in ordered[:100]:
            yield slots.TodayItem(
                kind="hazard", title=f"{verb}: {hazard.title}", detail=hazard.subject.name,
                url=hazard.get_absolute_url(), due_at=hazard.due_at, level=_gravity(hazard, at),
                place=hazard.subject.division.name,
            )  # fmt: skip


def _gravity(hazard: Hazard, at: datetime) -> int:
    return (2 if hazard.is_major else 4) - int(hazard.overdue_at(at))


def tiles() -> list[slots.BoardTile]:
    """Headline figures; each opens the records behind it."""
    page = "hazards:list"

    def tile(
        code: str, label: Any, value: Callable[[Figures], Any], query: str, order: int, **more: Any
    ) -> slots.BoardTile:
        def load(user: Any) -> dict[str, Any]:
            found = figures(user, timezone.now())
            shown = value(found)
            alert = bool(more.get("alert") and shown)
            return {"value": shown, "unit": more.get("unit", ""), "url": f"{reverse(page)}?{query}", "alert": alert,
                    "note": more["note"](found) if "note" in more else ""}  # fmt: skip

        return slots.BoardTile(code, label, load, "hazard.view", order)

    return [
        tile("hazards_open", _("Open hazards"), lambda f: f.open, "open=1", 20),
        tile("hazards_major", _("Open major hazards"), lambda f: f.open_major, "open=1&severity=major", 21, alert=True),
        tile("hazards_overdue", _("Overdue hazards"), lambda f: f.overdue, "overdue=1", 22, alert=True),
        tile(
            "hazards_rate", _("Rectification rate"), lambda f: f.rate_pct, "accepted=1", 23, unit="%",
            note=lambda f: _("{accepted} accepted of {found} found; {spot} fixed on the spot").format(
                accepted=f.accepted, found=f.found, spot=f.on_the_spot
            ),
        ),
    ]  # fmt: skip


def map_layer(user: Any, bbox: tuple[float, float, float, float] | None) -> dict[str, Any]:
    """Open hazards within the box, at their own place or their subject's: at most a thousand, the gravest first."""
    rows = Hazard.objects.visible_to(user).open().select_related("subject")
    rows = rows.annotate(at_lon=Coalesce("lon", "subject__lon"), at_lat=Coalesce("lat", "subject__lat"))
    rows = rows.filter(at_lon__isnull=False, at_lat__isnull=False)
    if bbox is not None:
        west, south, east, north = bbox
        rows = rows.filter(at_lon__range=(west, east), at_lat__range=(south, north))
    now = timezone.now()
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [hazard.at_lon, hazard.at_lat]},
            "properties": {
                "name": hazard.title, "detail": f"{hazard.subject} · {hazard.get_state_display()}",
                "url": hazard.get_absolute_url(), **({"level": _gravity(hazard, now)} if hazard.is_major else {}),
            },
        }
        for hazard in rows.order_by("-severity", F("due_at").asc(nulls_last=True))[:1000]
    ]  # fmt: skip
    return {"type": "FeatureCollection", "features": features}


def register_slots() -> None:
    section = _("Hazards")
    slots.nav.register(
        slots.NavItem("hazards", _("Hazards"), "hazards:list", section, "alert-triangle", "hazard.view", 30)
    )
    slots.nav.register(
        slots.NavItem("hazards_mine", _("Before me"), "hazards:mine", section, "user-check", "hazard.view", 31)
    )
    slots.nav.register(
        slots.NavItem(
            "hazards_report", _("Report a hazard"), "hazards:report", section, "camera-plus", "hazard.report", 32
        )
    )
    slots.panels.register(
        slots.Panel("hazards", _("Hazards"), "subject", "hazards/_subject_panel.html", subject_panel, "hazard.view", 40)
    )
    slots.today.register(slots.TodaySource("hazards", _("Hazards"), before_me, 20))
    for tile in tiles():
        slots.board.register(tile)
    slots.map_layers.register(
        slots.MapLayer("hazards", _("Open hazards"), map_layer, "hazard.view", "#f59f00", "hazard", 30)
    )
