"""Pages of unknown devices: one of them, and what may be decided about it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from zhenan.domains.monitoring import adoption, forms, frames
from zhenan.domains.monitoring.models import UnknownDevice
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.errors import DomainError
from zhenan.packkit.registry import registry

SHOWN = 20  # newest frames on the page


def _page(request: AuthedRequest, found: UnknownDevice, **bound: Any) -> HttpResponse:
    model = adoption.suggested(found)
    initial = {"model": model.code} if model else {}
    adopt = forms.AdoptForm(user=request.user, protocol=found.protocol, initial=initial)
    kept = [
        (frame, frames.lines_of(frames.readable(frame.protocol, bytes(frame.raw)) or frame.decoded or {}))
        for frame in adoption.frames_of(found, limit=SHOWN)
    ]
    context = {
        "unknown": found,
        "suggested": registry().label(model.code, kind="device_model") if model else "",
        "kept": kept,
        "adopt": adopt,
        "reason": forms.ReasonForm(),
        "open": found.state != UnknownDevice.State.ADOPTED,
        **bound,
    }
    return render(request, "monitoring/stranger.html", context, status=422 if bound else 200)


@needs("device.edit")
def stranger(request: AuthedRequest, pk: int) -> HttpResponse:
    """An unknown device: what it said, what it may be; adopt it, or say why not."""
    found = get_object_or_404(UnknownDevice.objects.select_related("device", "decided_by"), pk=pk)
    if request.method != "POST":
        return _page(request, found)
    form = forms.AdoptForm(request.POST, user=request.user, protocol=found.protocol)
    if form.is_valid():
        try:
            device = adoption.adopt(pk, by=request.user, at=timezone.now(), **form.cleaned_data)
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("Adopted. What it has said so far is taken within seconds."))
            return redirect("monitoring:device", pk=device.pk)
    return _page(request, found, adopt=form)


@require_POST
@needs("device.edit")
def leave(request: AuthedRequest, pk: int) -> HttpResponse:
    """Ignore it, let it wait again, or forget it, with the reason."""
    found = get_object_or_404(UnknownDevice, pk=pk)
    what, at = request.POST.get("what", ""), timezone.now()
    try:
        if what == "reconsider":
            adoption.reconsider(pk, by=request.user, at=at)
            return redirect("monitoring:stranger", pk=pk)
        form = forms.ReasonForm(request.POST)
        if not form.is_valid() or what not in ("ignore", "forget"):
            return _page(request, found, reason=form)
        if what == "forget":
            adoption.forget(pk, reason=form.cleaned_data["reason"], by=request.user, at=at)
            messages.success(request, _("Forgotten."))
            return redirect("monitoring:unknown")
        adoption.ignore(pk, reason=form.cleaned_data["reason"], by=request.user, at=at)
    except DomainError as err:
        messages.error(request, str(err))
    return redirect("monitoring:stranger", pk=pk)
