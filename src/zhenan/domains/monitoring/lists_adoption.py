"""The list of unknown devices, and what may be done to many of them."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django.forms import ValidationError
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.monitoring import adoption
from zhenan.domains.monitoring.errors import NoSite, NoSuggestion
from zhenan.domains.monitoring.forms import AdoptManyForm, ReasonForm, find_subject
from zhenan.domains.monitoring.models import Device, UnknownDevice
from zhenan.kernel.lists import BulkAction, ChoiceFilter, Column, DateRangeFilter, ListPage
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry

COLOURS = {"waiting": "orange", "adopted": "green", "ignored": "grey"}


def suggestion(row: UnknownDevice) -> str:
    model = adoption.suggested(row)
    return registry().label(model.code, kind="device_model") if model else ""


def channels(row: UnknownDevice) -> str:
    more = len(row.channels) - 4
    return ", ".join(row.channels[:4]) + (f" +{more}" if more > 0 else "")


def adopt_row(row: Any, actor: User, data: dict[str, Any]) -> str:
    code = data["model"]
    if not code:
        model = adoption.suggested(row)
        if model is None:
            raise NoSuggestion(key=row.key)
        code = model.code
    try:
        subject = find_subject(data["subject"].strip(), actor)
    except ValidationError as err:
        raise NoSite(why=" ".join(err.messages)) from err
    device = adoption.adopt(row.pk, model=code, subject=subject, by=actor, at=timezone.now())
    return str(device)


def ignore_row(row: Any, actor: User, data: dict[str, Any]) -> None:
    adoption.ignore(row.pk, reason=data["reason"], by=actor, at=timezone.now())


def forget_row(row: Any, actor: User, data: dict[str, Any]) -> None:
    adoption.forget(row.pk, reason=data["reason"], by=actor, at=timezone.now())


class UnknownList(ListPage):
    model = UnknownDevice
    title = _("Unknown devices")
    lead = _("They report, but nobody registered them. Choose those you know, say what they are and where they stand.")
    capability = "device.edit"
    search = ("key", "peer")
    search_hint = _("Device identity or where it comes from")
    columns = (
        Column("key", _("Device identity"), sort="key", kind="code", link=True),
        Column("get_protocol_display", _("Protocol"), phone=False),
        Column("suggested", _("Looks like"), value=suggestion),
        Column("channels", _("Reports"), value=channels, export=lambda row: " ".join(row.channels), phone=False),
        Column("frames", _("Frames kept"), sort="frames", kind="number"),
        Column("first_at", _("First seen"), sort="first_at", kind="datetime", phone=False),
        Column("last_at", _("Last seen"), sort="last_at", kind="datetime"),
        Column("peer", _("From"), kind="code", phone=False),
        Column("state", _("State"), kind="status", colours=COLOURS),
        Column("reason", _("Reason"), phone=False),
    )
    filters = (
        ChoiceFilter(
            name="state",
            label=_("State"),
            choices=[("open", _("Not ignored, not adopted")), *UnknownDevice.State.choices],
            where=lambda value: Q(state="waiting" if value == "open" else value),
        ),
        ChoiceFilter(name="protocol", label=_("Protocol"), choices=Device.Protocol.choices),
        DateRangeFilter(name="last", label=_("Last seen"), field="last_at"),
    )
    default_sort = "-last_at"
    actions = (
        BulkAction("adopt", _("Adopt"), do=adopt_row, form=AdoptManyForm, icon="plug-connected"),
        BulkAction("ignore", _("Ignore"), do=ignore_row, form=ReasonForm, icon="eye-off"),
        BulkAction("forget", _("Forget"), do=forget_row, form=ReasonForm, danger=True, icon="trash"),
    )
    create_url, create_label = "monitoring:quarantine", _("Frames that could not be taken")
    empty_hint = _("No unknown device has reported.")

    def get_queryset(self) -> QuerySet[UnknownDevice]:
        return UnknownDevice.objects.all()

    def row_url(self, row: UnknownDevice) -> str:
        return reverse("monitoring:stranger", args=[row.pk])
