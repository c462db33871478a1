"""Pages of maintenance windows."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from zhenan.domains.monitoring import forms, maintenance
from zhenan.domains.monitoring.models import HeldAlarm, Maintenance
from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.access.guards import require
from zhenan.kernel.errors import DomainError
from zhenan.packkit.registry import registry


@needs("alarm.silence")
def silence(request: AuthedRequest) -> HttpResponse:
    """Open a window. ``?device=`` and ``?site=`` fill in an identity."""
    given = {name: request.GET[name] for name in ("device", "site") if name in request.GET}
    form = forms.MaintenanceForm(request.POST or None, user=request.user, initial=given)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            window = maintenance.open_maintenance(
                device=data["device"], subject=data["site"], programme=data["programme"], reason=data["reason"],
                starts_at=data["starts_at"], ends_at=data["ends_at"], by=request.user, at=timezone.now(),
            )  # fmt: skip
        except DomainError as err:
            form.add_error(None, str(err))
        else:
            messages.success(request, _("Nobody is told of alarms there until it ends."))
            return redirect("monitoring:window", pk=window.pk)
    return render(request, "monitoring/silence.html", {"form": form}, status=422 if form.is_bound else 200)


def _window(request: AuthedRequest, pk: int) -> Maintenance:
    rows = Maintenance.objects.visible_to(request.user).select_related("device", "subject", "made_by", "ended_by")
    return get_object_or_404(rows, pk=pk)


@needs("alarm.view")
def window(request: AuthedRequest, pk: int) -> HttpResponse:
    """A window with what was raised while it lasted, and what became of it."""
    found = _window(request, pk)
    held = HeldAlarm.objects.filter(maintenance=found).select_related("device").order_by("-raised_at")
    rows = [(row, registry().label(row.rule, kind="alarm_rule")) for row in held[:200]]
    context = {
        "window": found, "held": rows, "count": held.count(),
        "may_end": found.stage != "over" and request.user.can(maintenance.CAPABILITY),
    }  # fmt: skip
    return render(request, "monitoring/maintenance.html", context)


@require_POST
@needs("alarm.silence")
def end(request: AuthedRequest, pk: int) -> HttpResponse:
    """End it now."""
    require(request.user, maintenance.CAPABILITY, _window(request, pk))
    try:
        maintenance.end_maintenance(pk, by=request.user, at=timezone.now())
    except DomainError as err:
        messages.error(request, str(err))
    else:
        messages.success(request, _("Ended. What still stands is raised now."))
    return redirect("monitoring:window", pk=pk)
