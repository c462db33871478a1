"""Maintenance windows: who may silence what, for how long, and that nothing is lost when they end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from zhenan.domains.monitoring.errors import AlreadyOver, BadPeriod, ReasonMissing
from zhenan.domains.monitoring.holding import concerns, windows_of
from zhenan.domains.monitoring.limits import LONGEST_MAINTENANCE
from zhenan.domains.monitoring.models import Device, HeldAlarm, Maintenance
from zhenan.domains.monitoring.recording import release_held
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import require
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.access.scope import scope_of
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import User

CAPABILITY = "alarm.silence"


def open_maintenance(
    *,
    reason: str,
    starts_at: datetime,
    ends_at: datetime,
    by: User,
    at: datetime,
    subject: Subject | None = None,
    device: Device | None = None,
    programme: str = "",
) -> Maintenance:
    """Silence a device, a subject, or (neither given) a whole programme. Readings are judged and kept as ever.

    An alarm raised before it keeps its notices and its deadline. A start in the past counts from now on. Raises
    NotAllowed, ReasonMissing, BadPeriod.
    """
    starts_at = max(starts_at, at)
    with transaction.atomic():
        _require(by, subject=subject, device=device, programme=programme)
        if not reason.strip():
            raise ReasonMissing()
        if ends_at <= starts_at or ends_at - starts_at > LONGEST_MAINTENANCE:
            raise BadPeriod(starts=_clock(starts_at), ends=_clock(ends_at), days=LONGEST_MAINTENANCE.days)
        site = device.subject if device else subject
        window = Maintenance.objects.create(
            subject=subject, device=device, programme=site.programme if site else programme, reason=reason.strip(),
            starts_at=starts_at, ends_at=ends_at, made_by=by, made_at=at,
            path=site.place["path"] if site else "", organisations=site.place["organisations"] if site else [],
        )  # fmt: skip
        _event(window, "maintenance.opened", by=by, at=at)
    return window


def end_maintenance(pk: int, *, by: User, at: datetime) -> Maintenance:
    """End it now; what still stands is raised now. Raises NotAllowed, AlreadyOver."""
    with transaction.atomic():
        window = Maintenance.objects.select_for_update(of=("self",)).select_related("device", "subject").get(pk=pk)
        _require(by, subject=window.subject, device=window.device, programme=window.programme)
        if window.ends_at <= at:
            raise AlreadyOver(ended=_clock(window.ends_at))
        window.ends_at, window.ended_by = max(at, window.starts_at), by
        window.save(update_fields=["ends_at", "ended_by"])
        waiting = HeldAlarm.objects.filter(maintenance=window, cleared_at=None, released_at=None)
        waiting.update(until=window.ends_at)
        _event(window, "maintenance.ended", by=by, at=at)
        release_held(at=at)
    return window


def maintenance_of(devices: Iterable[Device], *, at: datetime) -> list[Maintenance]:
    """The windows that silence any of the devices now or later, the one that ends last first."""
    listed = list(devices)
    rows = Maintenance.objects.filter(windows_of(listed), ends_at__gt=at).select_related("made_by", "device", "subject")
    return [w for w in rows.order_by("-ends_at") if any(concerns(w, device) for device in listed)]


def _require(by: User, *, subject: Subject | None, device: Device | None, programme: str) -> None:
    """A whole programme is silenced only by those whose reach is the whole city."""
    if device is not None or subject is not None:
        require(by, CAPABILITY, device or subject)
        return
    require(by, CAPABILITY)
    scope = scope_of(by, CAPABILITY)
    if not programme or not scope.admits(path="", programme=programme):
        raise NotAllowed(actor=by, capability=CAPABILITY)


def _event(window: Maintenance, kind: str, *, by: User, at: datetime) -> None:
    site = window.device.subject if window.device else window.subject
    targets = [one for one in (window, window.device, site) if one is not None]
    place = site.place if site else {"path": "", "organisations": [], "programme": window.programme}
    data = {"scope": window.scope_label, "reason": window.reason, "until": str(_clock(window.ends_at))}
    record(kind, targets=[key_of(one) for one in targets], actor=by, at=at, data=data, **place)


def _clock(moment: datetime) -> str:
    return timezone.localtime(moment).strftime("%Y-%m-%d %H:%M")
