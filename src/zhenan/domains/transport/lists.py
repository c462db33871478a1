"""List pages of transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring.models import Device
from zhenan.domains.transport import queries
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion
from zhenan.kernel.lists import (
    BooleanFilter,
    ChoiceFilter,
    Column,
    DateRangeFilter,
    DivisionFilter,
    FilterError,
    ListPage,
    TextFilter,
)


def last(name: str) -> Callable[[Device], Any]:
    """A field of the vehicle's last position; None for one that never had any."""
    return lambda device: getattr(getattr(device, "last_position", None), name, None)


class VehicleList(ListPage):
    model = Device
    title = _("Vehicles")
    lead = _("Terminals that report positions; open one for the replay of its day.")
    capability = "alarm.view"
    search = ("key", "name", "subject__name", "subject__owner__name")
    columns = (
        Column("name", _("Vehicle"), sort="name", link=True),
        Column("key", _("Terminal"), sort="key", kind="code"),
        Column("owner", _("Belongs to"), value=queries.belongs_to, sort="subject__owner__name"),
        Column("goods", _("Goods"), value=queries.goods_of, phone=False),
        Column("subject.division.name", _("Division"), phone=False),
        Column("online", _("Online"), kind="bool"),
        Column("last_at", _("Last position"), value=last("at"), sort="last_position__at", kind="datetime"),
        Column(
            "speed", _("km/h"), value=last("speed_kmh"), sort="last_position__speed_kmh", kind="number", phone=False
        ),
    )
    filters = (
        BooleanFilter(name="online", label=_("Online"), field="online"),
        BooleanFilter(name="active", label=_("In service"), field="active"),
        DivisionFilter(name="division", label=_("Division"), field="subject__division"),
    )
    default_sort = "name"
    select_related = ("subject__division", "subject__owner", "last_position")
    empty_hint = _("No device that speaks JT/T 808 is registered here.")

    def get_queryset(self) -> QuerySet[Device]:
        return queries.vehicles(self.request.user)  # type: ignore[arg-type]

    def row_url(self, row: Device) -> str:
        return reverse("transport:day", args=[row.pk])


class FenceList(ListPage):
    model = Fence
    title = _("Fences")
    lead = _("A changed fence is a new version: every trip is judged by the one that was valid at its time.")
    capability = "alarm.view"
    search = ("name",)
    columns = (
        Column("name", _("Fence"), sort="name", link=True),
        Column("division.name", _("Division")),
        Column("shape", _("Shape"), value=lambda f: FenceVersion.Shape(f.shape).label if f.shape else ""),
        Column("versions_count", _("Version"), kind="number"),
        Column("made_at", _("Made at"), sort="made_at", kind="datetime", phone=False),
        Column("ended_at", _("Ended at"), sort="ended_at", kind="datetime"),
    )
    filters = (
        BooleanFilter(name="ended", label=_("Ended"), when=lambda: Q(ended_at__isnull=False)),
        DivisionFilter(name="division", label=_("Division"), field="division"),
    )
    default_sort = "name"
    select_related = ("division",)

    def get_queryset(self) -> QuerySet[Fence]:
        newest = FenceVersion.objects.filter(fence=OuterRef("pk")).order_by("-version")
        rows = Fence.objects.visible_to(self.request.user)
        return rows.annotate(
            shape=Subquery(newest.values("shape")[:1]), versions_count=Subquery(newest.values("version")[:1])
        )

    def row_url(self, row: Fence) -> str:
        return reverse("transport:fence", args=[row.pk])


def fence_kinds(request: HttpRequest) -> list[tuple[str, Any]]:
    return list(FenceRecord.Kind.choices)


class FenceFilter(TextFilter):
    """The events of one fence, by its number in the address of its page: names need not differ."""

    def condition(self, raw: dict[str, str], request: HttpRequest) -> Q:
        text = raw[self.name].strip()
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise FilterError(gettext("“{came}” is no number of a fence.").format(came=text[:40]))
        return Q(version__fence=int(text))


class EventList(ListPage):
    model = FenceRecord
    title = _("Fence events")
    lead = _("Who came, stayed too long, was too fast and left; what alarms is in the alarm console too.")
    capability = "alarm.view"
    search = ("device__name", "device__key", "version__fence__name")
    columns = (
        Column("at", _("At"), sort="at", kind="datetime"),
        Column("device.name", _("Vehicle"), link=True),
        Column("version.fence.name", _("Fence")),
        Column("get_kind_display", _("Event")),
        Column("value", _("Speed or stay"), value=lambda e: queries.measured(e.kind, e.value)),
        Column("onset", _("Since"), kind="datetime", phone=False),
        Column("device.subject.division.name", _("Division"), phone=False),
    )
    filters = (
        ChoiceFilter(name="kind", label=_("Event"), choices=fence_kinds),
        DateRangeFilter(name="at", label=_("At"), field="at"),
        FenceFilter(name="fence", label=_("Number of the fence")),
        TextFilter(name="vehicle", label=_("Terminal"), field="device__key"),
        DivisionFilter(name="division", label=_("Division"), field="device__subject__division"),
    )
    default_sort = "-at"
    select_related = ("device__subject__division", "version__fence")

    def row_url(self, row: FenceRecord) -> str:
        return reverse("transport:day", args=[row.device_id]) + f"?day={row.at:%Y-%m-%d}"
