"""Monitoring's entries: event kinds, navigation, panels, today, board, map, the response ladder."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring import escalation, importing, queries
from zhenan.domains.monitoring.command_words import error_word
from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.domains.monitoring.withdrawn import withdrawn_word
from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.evidence.services import viewers
from zhenan.kernel.imports import specs as imports
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow import ladders
from zhenan.packkit.registry import registry

SECTION = _("Watch")


def register() -> None:
    _kinds()
    slots.nav.register(
        slots.NavItem("alarms", _("Alarms"), "monitoring:alarms", SECTION, "bell-ringing", "alarm.view", 10)
    )
    slots.nav.register(
        slots.NavItem("devices", _("Devices"), "monitoring:devices", SECTION, "device-heart-monitor", "alarm.view", 11)
    )
    slots.nav.register(
        slots.NavItem(
            "quarantine", _("Unknown devices"), "monitoring:unknown", SECTION, "zoom-question", "device.edit", 12
        )
    )
    slots.nav.register(
        slots.NavItem("maintenance", _("Maintenance"), "monitoring:maintenance", SECTION, "tool", "alarm.view", 13)
    )
    slots.nav.register(slots.NavItem("keys", _("API keys"), "monitoring:keys", SECTION, "key", "key.edit", 15))
    slots.panels.register(
        slots.Panel("alarms", _("Alarms"), "subject", "monitoring/_panel_alarms.html", alarms_panel, "alarm.view", 20)
    )
    slots.panels.register(
        slots.Panel(
            "devices", _("Devices"), "subject", "monitoring/_panel_devices.html", devices_panel, "alarm.view", 30
        )
    )
    slots.today.register(slots.TodaySource("alarms", _("Alarms"), today, 10))
    slots.board.register(slots.BoardTile("alarms", _("Open alarms"), open_tile, "alarm.view", 10))
    slots.board.register(slots.BoardTile("devices", _("Devices online"), online_tile, "alarm.view", 30))
    slots.map_layers.register(
        slots.MapLayer("alarms", _("Live alarms"), map_layer, "alarm.view", "#d63939", live_topic="alarm", order=10)
    )
    imports.register(importing.specs)
    viewers["monitoring.device"] = lambda user, pk: Device.objects.visible_to(user).filter(pk=pk).exists()
    viewers["monitoring.alarm"] = lambda user, pk: Alarm.objects.visible_to(user).filter(pk=pk).exists()
    ladders.register(escalation.LADDER)


# Codes in the events' data, read aloud in the reader's language.
WORDS = {
    "rule": lambda code: registry().label(code, kind="alarm_rule"),
    "measure": lambda code: registry().label(code, kind="measures"),
    "value": lambda text: "–" if text == "None" else text,
    "error": error_word,
    "withdrawn": withdrawn_word,
}


def _kinds() -> None:
    for code, text, icon in (
        ("alarm.raised", _("Alarm raised: {rule} ({value})"), "bell-ringing"),
        ("alarm.graver", _("Now level {level}: {rule} ({value})"), "arrow-big-up-line"),
        ("alarm.lighter", _("Back to level {level}: {rule} is over"), "arrow-big-down-line"),
        ("alarm.cleared", _("Readings back to normal: {rule}"), "bell-check"),
        ("alarm.stage_withdrawn", _("Back to level {level}: {rule} was withdrawn, {withdrawn}"), "arrow-big-down-line"),
        ("alarm.withdrawn", _("Withdrawn, {rule}: {withdrawn}"), "bell-off"),
        ("alarm.escalated", _("Not answered in time; told: {people}"), "clock-exclamation"),
        ("alarm.acknowledged", _("Alarm acknowledged"), "eye-check"),
        ("alarm.assigned", _("{person} sent to the place"), "user-share"),
        ("alarm.arrived", _("Arrived on the scene; photos: {photos}"), "map-pin-check"),
        ("alarm.judged", _("Cause judged: {cause}"), "gavel"),
        ("alarm.closed", _("Alarm closed"), "circle-check"),
        ("device.registered", _("Device registered: {name} ({key})"), "plug-connected"),
        ("device.password_set", _("Password of the device set: {name}"), "lock"),
        ("device.retired", _("Device taken out of service: {name}"), "plug-off"),
        ("maintenance.opened", _("Maintenance of {scope} until {until}: {reason}"), "tool"),
        ("maintenance.ended", _("Maintenance of {scope} ended at {until}"), "tool"),
        ("device.command", _("Device told: {command}"), "device-remote"),
        ("key.made", _("API key made ({prefix}…)"), "key"),
        ("key.revoked", _("API key revoked ({prefix}…)"), "key-off"),
        ("device.asked", _("Command given: {command}"), "send"),
        ("device.command_done", _("Device confirmed: {command}"), "circle-check"),
        ("device.command_denied", _("Device refused: {command} ({error})"), "ban"),
        ("device.command_silent", _("No answer from the device: {command} ({error})"), "clock-exclamation"),
        ("device.command_expired", _("The device did not come in time: {command}"), "clock-x"),
        ("device.ignored", _("Unknown device ignored: {reason}"), "eye-off"),
        ("device.reconsidered", _("Unknown device waits for a decision again"), "eye"),
        ("device.file", _("File received: {name}"), "paperclip"),
    ):
        kinds.register(code, text, icon=icon, words=WORDS)


def alarms_panel(request: HttpRequest, subject: Any) -> dict[str, Any] | None:
    return {"alarms": queries.alarms_of(subject), "subject": subject}


def devices_panel(request: HttpRequest, subject: Any) -> dict[str, Any] | None:
    return {"devices": queries.devices_of(subject), "subject": subject}


def today(user: User, at: datetime) -> Iterable[slots.TodayItem]:
    """Alarms that this person must answer: sent to them, or unanswered where they handle alarms."""
    if not user.can("alarm.view"):
        return
    rows = queries.open_alarms(user).select_related("subject", "subject__division")
    mine = rows.filter(assigned_to=user).exclude(state__in=[Alarm.State.JUDGED])
    waiting = rows.filter(state=Alarm.State.RAISED) if user.can("alarm.handle") else rows.none()
    judged = rows.filter(state=Alarm.State.JUDGED).exclude(cleared_at=None) if user.can("alarm.handle") else rows.none()
    for alarm in [*mine[:50], *waiting[:100], *judged[:50]]:
        yield slots.TodayItem(
            kind="alarm",
            title=f"{registry().label(alarm.rule, kind='alarm_rule')} · {alarm.subject.name}",
            detail=alarm.get_state_display(),
            url=reverse("monitoring:alarm", args=[alarm.pk]),
            due_at=alarm.respond_by if alarm.state == Alarm.State.RAISED else None,
            level=alarm.level,
            place=alarm.subject.address or alarm.subject.division.name,
        )


def open_tile(user: User) -> dict[str, Any]:
    counts = queries.alarm_counts(user, timezone.now())
    return {
        "value": counts["open"],
        "unit": "",
        "url": reverse("monitoring:alarms"),
        "note": _("{late} past their response time").format(late=counts["late"]),
    }


def online_tile(user: User) -> dict[str, Any]:
    active = Device.objects.visible_to(user).active()
    return {
        "value": active.filter(online=True).count(),
        "unit": f"/ {active.count()}",
        "url": reverse("monitoring:devices"),
    }


def map_layer(user: User, bbox: tuple[float, float, float, float] | None) -> dict[str, Any]:
    """Open alarms as points at their subjects, WGS-84; at most 2,000, the gravest first."""
    rows = queries.open_alarms(user).filter(subject__lon__isnull=False).select_related("subject")
    if bbox:
        west, south, east, north = bbox
        rows = rows.filter(subject__lon__range=(west, east), subject__lat__range=(south, north))
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "id": str(alarm.pk),
                "geometry": {"type": "Point", "coordinates": [alarm.subject.lon, alarm.subject.lat]},
                "properties": {
                    "name": alarm.subject.name,
                    "detail": f"{registry().label(alarm.rule, kind='alarm_rule')} · {alarm.get_state_display()}",
                    "level": alarm.level,
                    "url": reverse("monitoring:alarm", args=[alarm.pk]),
                },
            }
            for alarm in rows[:2000]
        ],
    }
