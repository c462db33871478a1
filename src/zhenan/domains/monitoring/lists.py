"""List pages of monitoring."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring import services
from zhenan.domains.monitoring.escalation import told_in
from zhenan.domains.monitoring.models import Alarm, Device, Maintenance, QuarantinedFrame
from zhenan.domains.monitoring.storms import LATE
from zhenan.kernel.lists import (
    BooleanFilter,
    BulkAction,
    ChoiceFilter,
    Column,
    DateRangeFilter,
    DivisionFilter,
    ListPage,
    TextFilter,
)
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry

STATE_COLOURS = {
    "raised": "red",
    "acknowledged": "orange",
    "assigned": "orange",
    "arrived": "yellow",
    "judged": "blue",
    "closed": "green",
}


def rule_name(alarm: Alarm) -> str:
    return registry().label(alarm.rule, kind="alarm_rule")


def reading(alarm: Alarm) -> str:
    """Measure, value and unit at the raise: 可燃气体浓度 22 %LEL."""
    measure = registry().label(alarm.measure, kind="measures")
    if alarm.value is None or alarm.point.unit in ("", "state"):
        return measure  # no reading raised it, or a state that stands: its number says nothing to a reader
    return f"{measure} {alarm.value:g} {alarm.point.unit}"


def protocol_word(code: str) -> str:
    """What a protocol is called; frames are kept of ones that no device speaks, too."""
    return str(dict(Device.Protocol.choices).get(code, code))


def acknowledge_row(row: Any, actor: User, data: Any) -> None:
    services.acknowledge(row.pk, by=actor, at=timezone.now())


def close_row(row: Any, actor: User, data: Any) -> None:
    services.close(row.pk, by=actor, at=timezone.now())


def programmes(request: HttpRequest) -> list[tuple[str, str]]:
    book = registry()
    return [(code, book.label(code, kind="pack")) for code in book.packs]


class SummaryFilter(TextFilter):
    """The alarms of one summary: what its notice links to."""

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q:
        key = raw[self.name]
        if key.startswith(f"{LATE.prefix}:"):
            return told_in(key)
        return Q(summaries__contains=[key]) & ~Q(summaries=[])  # the second lets the partial index serve


class AlarmList(ListPage):
    model = Alarm
    title = _("Alarms")
    lead = _("Every alarm stays here until someone has answered for it, judged its cause and closed it.")
    capability = "alarm.view"
    search = ("subject__name", "device__name", "device__key", "subject__address")
    search_hint = _("Site, device or address")
    columns = (
        Column("level", _("Level"), sort="level", kind="level"),
        Column("rule", _("Alarm"), value=rule_name, link=True),
        Column("reading", _("Reading"), value=reading),
        Column("subject.name", _("Site"), sort="subject__name"),
        Column("subject.division.name", _("Division"), phone=False),
        Column("raised_at", _("Raised at"), sort="raised_at", kind="datetime"),
        Column("state", _("State"), sort="state", kind="status", colours=STATE_COLOURS),
        Column("respond_by", _("Respond by"), sort="respond_by", kind="deadline", closed=lambda a: a.state != "raised"),
        Column("assigned_to", _("Sent"), phone=False),
        Column("get_cause_display", _("Cause"), phone=False),
    )
    filters = (
        ChoiceFilter(
            name="state",
            label=_("State"),
            choices=[("open", _("Not closed")), *Alarm.State.choices],
            where=lambda value: ~Q(state="closed") if value == "open" else Q(state=value),
        ),
        ChoiceFilter(
            name="level",
            label=_("Level"),
            choices=[("1", _("1 red")), ("2", _("2 orange")), ("3", _("3 yellow")), ("4", _("4 blue"))],
        ),
        BooleanFilter(
            name="late", label=_("Past response time"), when=lambda: Q(state="raised", respond_by__lt=timezone.now())
        ),
        ChoiceFilter(name="cause", label=_("Cause"), choices=Alarm.Cause.choices),
        ChoiceFilter(name="programme", label=_("Programme"), choices=programmes),
        DivisionFilter(name="division", label=_("Division"), field="subject__division"),
        DateRangeFilter(name="raised", label=_("Raised at"), field="raised_at"),
        TextFilter(name="site", label=_("Site identity"), field="subject__key"),
        SummaryFilter(name="summary", label=_("Told in a summary")),
    )
    default_sort = "-raised_at"
    select_related = ("subject__division", "point", "assigned_to", "device")
    actions = (
        BulkAction("acknowledge", _("Acknowledge"), do=acknowledge_row, capability="alarm.handle"),
        BulkAction("close", _("Close"), do=close_row, capability="alarm.handle"),
    )
    empty_hint = _("No alarm here. Widen the filters to see those that were closed.")
    live_topic = "alarm"

    def row_url(self, row: Alarm) -> str:
        return reverse("monitoring:alarm", args=[row.pk])


class DeviceList(ListPage):
    model = Device
    title = _("Devices")
    capability = "alarm.view"
    search = ("key", "name", "subject__name")
    search_hint = _("Device identity, name or site")
    columns = (
        Column("name", _("Device"), sort="name", link=True),
        Column("key", _("Identity"), sort="key", kind="code"),
        Column("model", _("Model"), value=lambda d: registry().label(d.model, kind="device_model"), phone=False),
        Column("subject.name", _("Site"), sort="subject__name"),
        Column("subject.division.name", _("Division"), phone=False),
        Column("online", _("Online"), kind="bool"),
        Column("last_seen_at", _("Last seen"), sort="last_seen_at", kind="datetime"),
        Column("replace_by", _("Replace by"), sort="replace_by", kind="date", phone=False),
    )
    filters = (
        BooleanFilter(name="online", label=_("Online"), field="online"),
        BooleanFilter(name="active", label=_("In service"), field="active"),
        BooleanFilter(
            name="expired", label=_("Past its replacement date"), when=lambda: Q(replace_by__lt=timezone.localdate())
        ),
        ChoiceFilter(name="programme", label=_("Programme"), choices=programmes),
        ChoiceFilter(name="protocol", label=_("Protocol"), choices=Device.Protocol.choices),
        DivisionFilter(name="division", label=_("Division"), field="subject__division"),
    )
    default_sort = "name"
    select_related = ("subject__division",)
    empty_hint = _("No device here. Devices that report without being registered wait under “Unknown devices”.")
    live_topic = "device"

    def row_url(self, row: Device) -> str:
        return reverse("monitoring:device", args=[row.pk])


REASONS = {
    "unknown_device": _("unknown device"),
    "unmapped": _("unknown channel"),
    "malformed": _("malformed"),
    "malformed_body": _("content cannot be read"),
    "identity": _("wrong authentication"),
    "future": _("time in the future"),
    "flood": _("too many messages"),
}


def reason_word(code: str) -> Any:
    return REASONS.get(code, code)


class QuarantineList(ListPage):
    model = QuarantinedFrame
    title = _("Frames that could not be taken")
    lead = _("Nothing a device sends is thrown away unseen: the raw bytes, the reason, and what could be decoded.")
    capability = "device.edit"
    search = ("device_key", "peer", "detail")
    columns = (
        Column("received_at", _("Received"), sort="received_at", kind="datetime", link=True),
        Column("reason", _("Reason"), sort="reason", value=lambda f: reason_word(f.reason)),
        Column("protocol", _("Protocol"), sort="protocol", value=lambda f: protocol_word(f.protocol)),
        Column("device_key", _("Device identity"), sort="device_key", kind="code"),
        Column("detail", _("Detail")),
        Column("get_state_display", _("State"), phone=False),
        Column(
            "raw",
            _("Bytes"),
            value=lambda f: bytes(f.raw)[:32].hex(" "),
            kind="code",
            export=lambda f: bytes(f.raw).hex(),
            phone=False,
        ),
    )
    filters = (
        ChoiceFilter(name="reason", label=_("Reason"), choices=list(REASONS.items())),
        ChoiceFilter(name="protocol", label=_("Protocol"), choices=Device.Protocol.choices),
        DateRangeFilter(name="received", label=_("Received"), field="received_at"),
    )
    default_sort = "-received_at"
    empty_hint = _("Everything that came could be taken.")

    def get_queryset(self) -> QuerySet[QuarantinedFrame]:
        return QuarantinedFrame.objects.all()

    def row_url(self, row: QuarantinedFrame) -> str:
        return reverse("monitoring:frame", args=[row.pk])


STAGES = {"planned": _("Planned"), "lasting": _("Lasting"), "over": _("Over")}


def during(stage: str) -> Q:
    """The windows that are planned, lasting or over now."""
    now = timezone.now()
    return {
        "planned": Q(starts_at__gt=now), "lasting": Q(starts_at__lte=now, ends_at__gt=now), "over": Q(ends_at__lte=now)
    }[stage]  # fmt: skip


class MaintenanceList(ListPage):
    model = Maintenance
    title = _("Maintenance")
    lead = _("While it lasts nobody is told of alarms there. What still stands at the end is raised then.")
    capability = "alarm.view"
    search = ("reason",)
    search_hint = _("Reason")
    columns = (
        Column("scope_label", _("What"), link=True),
        Column("reason", _("Reason")),
        Column("starts_at", _("From"), sort="starts_at", kind="datetime"),
        Column("ends_at", _("Until"), sort="ends_at", kind="datetime"),
        Column(
            "stage", _("State"), kind="status", value=lambda w: STAGES[w.stage],
            colours={"planned": "blue", "lasting": "orange", "over": "grey"},
        ),
        Column("made_by", _("By"), phone=False),
    )  # fmt: skip
    filters = (
        ChoiceFilter(name="stage", label=_("State"), choices=list(STAGES.items()), where=during),
        DateRangeFilter(name="starts", label=_("From"), field="starts_at"),
    )
    default_sort = "-starts_at"
    select_related = ("device", "subject", "made_by")
    create_url, create_label = "monitoring:silence", _("New maintenance")
    create_capability = "alarm.silence"
    empty_hint = _("Nothing is under maintenance here.")
    live_topic = "maintenance"

    def row_url(self, row: Maintenance) -> str:
        return reverse("monitoring:window", args=[row.pk])
