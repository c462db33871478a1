"""Pages of monitoring: thin; every change is one call of a service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.forms import Form
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from zhenan.domains.monitoring import commands, forms, frames, services
from zhenan.domains.monitoring import devices as device_services
from zhenan.domains.monitoring import series as series_of
from zhenan.domains.monitoring.errors import BadPassword
from zhenan.domains.monitoring.escalation import told_of
from zhenan.domains.monitoring.lists import protocol_word, reading, reason_word, rule_name
from zhenan.domains.monitoring.maintenance import CAPABILITY, maintenance_of
from zhenan.domains.monitoring.models import Alarm, Device, Point, QuarantinedFrame
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.monitoring.rule_words import STATUS, parameters
from zhenan.domains.monitoring.withdrawn import why_withdrawn
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.services import timeline_of
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule


def _alarm(request: AuthedRequest, pk: UUID) -> Alarm:
    rows = Alarm.objects.visible_to(request.user).select_related(
        "subject__division",
        "device__parent",
        "point",
        "assigned_to",
        "acknowledged_by",
        "arrived_by",
        "judged_by",
        "closed_by",
        "hazard",
    )
    return get_object_or_404(rows, pk=pk)


def _forms(request: AuthedRequest, alarm: Alarm) -> dict[str, Form]:
    """The forms for what this person may do to the alarm in its present state."""
    able: dict[str, Form] = {}
    may = request.user.can
    possible = {action for action, states in services.POSSIBLE.items() if alarm.state in states}
    if "assign" in possible and may("alarm.handle"):
        able["assign"] = forms.AssignForm(people=services.responders(alarm, at=timezone.now()))
    if "arrive" in possible and may("alarm.arrive") and alarm.assigned_to_id in (None, request.user.pk):
        able["arrive"] = forms.ArriveForm()
    if "judge_cause" in possible and (may("alarm.handle") or may("alarm.arrive")):
        able["judge_cause"] = forms.CauseForm(initial={"cause": alarm.cause})
    if "raise_hazard" in possible and may("hazard.report") and alarm.hazard_id is None:
        able["raise_hazard"] = forms.HazardForm(initial={"title": f"{rule_name(alarm)} · {alarm.subject.name}"[:200]})
    if "close" in possible and may("alarm.handle"):
        able["close"] = forms.CloseForm()
    return able


def _page(request: AuthedRequest, alarm: Alarm, bound: dict[str, Form] | None = None) -> HttpResponse:
    rule = rule_of(alarm.rule)
    able = _forms(request, alarm) | (bound or {})
    timeline = timeline_of(alarm)
    context = {
        "alarm": alarm,
        "timeline": timeline,
        "withdrawn": why_withdrawn(timeline),
        "rule": rule,
        "rule_name": rule_name(alarm),
        "explain": rule.explain.label(request.LANGUAGE_CODE) if rule else "",
        "reading": reading(alarm),
        "able": able,
        "may_acknowledge": alarm.state == Alarm.State.RAISED and request.user.can("alarm.handle"),
        "told": told_of(alarm),
        "stages": [(s, registry().label(s.rule, kind="alarm_rule")) for s in alarm.stages.all()],
        "parts": [registry().label(part["rule"], kind="alarm_rule") for part in alarm.parts],
        "folded": alarm.folded.select_related("device")[:100] if rule is not None and rule.covers else (),
        "folded_count": alarm.folded.count() if rule is not None and rule.covers else 0,
        "maintenance": maintenance_of([alarm.device], at=timezone.now()),
        "commands": alarm.commands.select_related("device", "asked_by"),
        "offers": _offers(request, commands.offers_at(alarm) if alarm.state != Alarm.State.CLOSED else []),
        "phone": alarm.assigned_to_id == request.user.pk,
        "parameters": parameters(alarm.rule, alarm.rule_spec.get("rule", {})),
        "rule_source": source_of(alarm, rule, request.LANGUAGE_CODE),
        "chart_since": (alarm.onset - timedelta(minutes=15)).isoformat(),
        "chart_until": ((alarm.cleared_at or timezone.now()) + timedelta(minutes=15)).isoformat(),
    }
    partial = request.headers.get("HX-Request") and request.headers.get("HX-Target") == "alarm-body"
    name = "monitoring/_alarm_body.html" if partial else "monitoring/alarm.html"
    return render(request, name, context, status=422 if bound else 200)


def source_of(alarm: Alarm, rule: AlarmRule | None, language: str) -> str:
    """The law, standard or decision that the rule's threshold comes from, with its certainty."""
    pack = registry().packs.get(alarm.programme)
    source = pack.sources.get(rule.source) if pack and rule else None
    return (
        f"{source.title.label(language)} ({STATUS[source.status]})"
        if source
        else str(alarm.rule_spec.get("source", ""))
    )


@needs("alarm.view")
def alarm(request: AuthedRequest, pk: UUID) -> HttpResponse:
    """An alarm explains itself: rule, threshold, readings around the onset, who was told when, what was done."""
    return _page(request, _alarm(request, pk))


def _act(
    request: AuthedRequest, pk: UUID, *, name: str, form: Form | None, do: Callable[[dict[str, Any]], Any], said: str
) -> HttpResponse:
    """One change: the form, the service, and the alarm's page again, with what went wrong where it did."""
    if form is None or form.is_valid():
        try:
            do(form.cleaned_data if form else {})
        except DomainError as err:
            if form is None:
                messages.error(request, str(err))
            else:
                form.add_error(None, str(err))
        else:
            messages.success(request, said)
    if form is not None and form.errors:
        return _page(request, _alarm(request, pk), {name: form})
    return redirect("monitoring:alarm", pk=pk)


@require_POST
@needs("alarm.handle")
def acknowledge(request: AuthedRequest, pk: UUID) -> HttpResponse:
    _alarm(request, pk)
    return _act(
        request, pk, name="acknowledge", form=None, said=_("Acknowledged."),
        do=lambda data: services.acknowledge(pk, by=request.user, at=timezone.now()),
    )  # fmt: skip


@require_POST
@needs("alarm.handle")
def assign(request: AuthedRequest, pk: UUID) -> HttpResponse:
    people = services.responders(_alarm(request, pk), at=timezone.now())
    return _act(
        request, pk, name="assign", form=forms.AssignForm(request.POST, people=people), said=_("Sent."),
        do=lambda data: services.assign(pk, to=data["person"], by=request.user, at=timezone.now()),
    )  # fmt: skip


@require_POST
@needs("alarm.arrive")
def arrive(request: AuthedRequest, pk: UUID) -> HttpResponse:
    _alarm(request, pk)
    return _act(
        request, pk, name="arrive", form=forms.ArriveForm(request.POST, request.FILES), said=_("Arrival recorded."),
        do=lambda data: services.arrive(pk, by=request.user, at=timezone.now(), **data),
    )  # fmt: skip


@require_POST
@needs("alarm.view")
def judge_cause(request: AuthedRequest, pk: UUID) -> HttpResponse:
    _alarm(request, pk)
    return _act(
        request, pk, name="judge_cause", form=forms.CauseForm(request.POST), said=_("Cause recorded."),
        do=lambda data: services.judge_cause(pk, by=request.user, at=timezone.now(), **data),
    )  # fmt: skip


@require_POST
@needs("hazard.report")
def raise_hazard(request: AuthedRequest, pk: UUID) -> HttpResponse:
    _alarm(request, pk)
    return _act(
        request, pk, name="raise_hazard", form=forms.HazardForm(request.POST), said=_("Turned into a hazard."),
        do=lambda data: services.raise_hazard(pk, by=request.user, at=timezone.now(), **data),
    )  # fmt: skip


@require_POST
@needs("alarm.handle")
def close(request: AuthedRequest, pk: UUID) -> HttpResponse:
    _alarm(request, pk)
    return _act(
        request, pk, name="close", form=forms.CloseForm(request.POST), said=_("Closed."),
        do=lambda data: services.close(pk, by=request.user, at=timezone.now(), **data),
    )  # fmt: skip


@needs("alarm.view")
def device(request: AuthedRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(
        Device.objects.visible_to(request.user)
        .select_related("subject__division", "parent")
        .prefetch_related("points"),
        pk=pk,
    )
    points = [(point, registry().label(point.measure, kind="measures")) for point in found.points.all()]
    context = {
        "device": found,
        "points": points,
        "model": registry().label(found.model, kind="device_model"),
        "alarms": Alarm.objects.filter(device=found).select_related("point")[:20],
        "commands": found.commands.select_related("asked_by", "device")[:20],
        "offers": _offers(request, commands.offers_for(found)),
        "may_edit": request.user.can("device.edit"),
        "may_silence": request.user.can(CAPABILITY),
        "maintenance": maintenance_of([found], at=timezone.now()),
        "parent": found.parent,
        "password": forms.PasswordForm.of(found) if found.protocol == Device.Protocol.HJ212 else None,
    }
    return render(request, "monitoring/device.html", context)


@require_POST
@needs("device.edit")
def set_password(request: AuthedRequest, pk: int) -> HttpResponse:
    get_object_or_404(Device.objects.visible_to(request.user, "device.edit"), pk=pk)
    form = forms.PasswordForm(request.POST)
    try:
        if not form.is_valid():
            raise BadPassword()
        device_services.set_password(pk, password=form.chosen(), by=request.user, at=timezone.now())
        messages.success(request, _("The device's password is set; the gateway follows within seconds."))
    except DomainError as err:
        messages.error(request, str(err))
    return redirect("monitoring:device", pk=pk)


@require_POST
@needs("device.edit")
def retire(request: AuthedRequest, pk: int) -> HttpResponse:
    get_object_or_404(Device.objects.visible_to(request.user, "device.edit"), pk=pk)
    device_services.retire_device(pk, by=request.user, at=timezone.now())
    messages.success(request, _("Taken out of service."))
    return redirect("monitoring:device", pk=pk)


@needs("alarm.view")
def series(request: AuthedRequest, pk: int) -> JsonResponse:
    """A point's readings from ``since`` to ``until`` (ISO times; left out: the last 24 hours), thinned for a chart."""
    devices = Device.objects.visible_to(request.user)
    point = get_object_or_404(Point.objects.filter(device__in=devices).select_related("device"), pk=pk)
    until = _time(request, "until") or timezone.now()
    since = _time(request, "since") or until - timedelta(hours=24)
    if not timedelta(0) < until - since <= timedelta(days=400):
        return JsonResponse({"error": _("Give a period of up to 400 days: since before until.")}, status=400)
    return JsonResponse(series_of.chart(point, since=since, until=until))


def _time(request: HttpRequest, name: str) -> datetime | None:
    try:
        found = parse_datetime(request.GET.get(name, "").replace(" ", "+"))
    except ValueError:
        return None
    return timezone.make_aware(found) if found and timezone.is_naive(found) else found


def _offers(request: AuthedRequest, offers: list[commands.Offer]) -> list[tuple[commands.Offer, forms.CommandForm]]:
    """What this person may tell devices here, with a form for each."""
    if not request.user.can("device.command"):
        return []
    return [(offer, forms.CommandForm(offer=offer)) for offer in offers]


def _tell(request: AuthedRequest, offers: list[commands.Offer], alarm_id: UUID | None) -> None:
    """Give the command that was pressed; what came of that is said on the page that follows."""
    wanted = (request.POST.get("device", ""), request.POST.get("command", ""))
    offer = next((o for o in offers if (str(o.about.pk), o.code) == wanted), None)
    if offer is None:
        messages.error(request, _("This device cannot be told that now."))
        return
    form = forms.CommandForm(request.POST, offer=offer)
    if not form.is_valid():
        faults = "; ".join(f"{form.fields[name].label}: {' '.join(map(str, e))}" for name, e in form.errors.items())
        messages.error(request, f"{offer.label}: {faults}")
        return
    try:
        commands.ask(
            offer.about.pk, command=offer.code, args=form.arguments(), by=request.user, at=timezone.now(),
            alarm_id=alarm_id,
        )  # fmt: skip
    except DomainError as err:
        messages.error(request, str(err))
    else:
        said = _("{command}: on its way. What becomes of it is shown here.")
        messages.success(request, said.format(command=offer.label))


@require_POST
@needs("device.command")
def command_device(request: AuthedRequest, pk: int) -> HttpResponse:
    rows = Device.objects.visible_to(request.user, "device.command").select_related("parent")
    found = get_object_or_404(rows.prefetch_related("points"), pk=pk)
    _tell(request, commands.offers_for(found), None)
    return redirect("monitoring:device", pk=pk)


@require_POST
@needs("device.command")
def command_alarm(request: AuthedRequest, pk: UUID) -> HttpResponse:
    found = _alarm(request, pk)
    _tell(request, commands.offers_at(found), found.pk)
    return redirect("monitoring:alarm", pk=pk)


@needs("device.edit")
def frame(request: AuthedRequest, pk: int) -> HttpResponse:
    found = get_object_or_404(QuarantinedFrame, pk=pk)
    raw = bytes(found.raw)
    lines = [
        (f"{at:04x}", raw[at : at + 16].hex(" "), _printable(raw[at : at + 16]))
        for at in range(0, min(len(raw), 8192), 16)
    ]
    decoded = frames.readable(found.protocol, raw) if found.protocol != "mqtt_json" else None
    context = {"frame": found, "lines": lines, "reason": reason_word(found.reason), "decoded": decoded or found.decoded,
               "protocol": protocol_word(found.protocol)}  # fmt: skip
    return render(request, "monitoring/frame.html", context)


def _printable(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in data)
