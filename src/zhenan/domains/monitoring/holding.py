"""Which raises are held back: those during maintenance, and silences behind a device that is gone or may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from uuid import UUID

from django.db.models import Q

from zhenan.domains.monitoring.limits import PARENT_ALIVE, PARENT_WAIT
from zhenan.domains.monitoring.models import Alarm, Device, HeldAlarm, Maintenance, Point
from zhenan.domains.monitoring.queries import rule_of
from zhenan.kernel.rows.among import among
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.backtest.found import OPEN
from zhenan.telemetry.backtest.holding import Gone, Quiet, Span
from zhenan.telemetry.judge.results import Transition

if TYPE_CHECKING:
    from zhenan.domains.monitoring.episodes import Raise

Why = HeldAlarm.Why


class Holding:
    """What a batch must know of maintenance and of parents: three queries, or none where nothing was raised."""

    def __init__(
        self,
        transitions: Sequence[Transition],
        points: Mapping[int, Point],
        rule_of: Callable[[str], AlarmRule | None],
        at: datetime,
    ) -> None:
        self.rule_of = rule_of
        devices = {point.device_id: point.device for point in points.values()}
        earliest = min((t.ts for t in transitions if t.kind == "raise"), default=None)
        since = at if earliest is None else min(at, datetime.fromtimestamp(earliest / 1000, UTC))
        self.windows = _windows(list(devices.values()), since)
        parents = {device.parent_id for device in devices.values() if device.parent_id is not None}
        found = Device.objects.filter(pk__among=among(parents)) if parents else ()
        self.parents = {device.pk: device for device in found}
        self.gone: dict[int, Alarm] = {}  # a parent → its alarm that covers its children
        if parents:
            for alarm in Alarm.objects.filter(device__among=among(parents), cleared_at=None).order_by("-raised_at"):
                rule = rule_of(alarm.rule)
                if rule is not None and rule.covers:
                    self.gone[alarm.device_id] = alarm
        covering = {
            points[int(t.point)].device_id
            for t in transitions
            if int(t.point) in points and (rule := rule_of(t.rule)) is not None and rule.covers
        }
        waiting = HeldAlarm.objects.select_for_update().filter(
            parent__in=covering, why=Why.PARENT, cleared_at=None, released_at=None
        )
        self._waiting = {held.pk: held for held in waiting.order_by("pk")} if covering else {}

    def held(self, made: Raise, *, waited: bool = False) -> HeldAlarm | None:
        """The row that holds this raise back; None where people are to know at once. ``waited``: it did."""
        window = self._window(made)
        if window is not None:
            return _row(made, why=Why.MAINTENANCE, maintenance=window, until=window.ends_at)
        rule, parent = self.rule_of(made.rule), self.parents.get(made.point.device.parent_id or 0)
        if rule is None or parent is None or not rule.is_silence:
            return None
        gone = self.gone.get(parent.pk)
        if gone is not None:
            return _row(made, why=Why.PARENT, parent=parent, under=gone)
        if waited:
            return None
        if parent.last_seen_at is not None and parent.last_seen_at > made.raised_at - PARENT_ALIVE:
            return None
        return _row(made, why=Why.PARENT, parent=parent, until=self.end_of_wait(made.raised_at))

    def gone_parent(self, held: HeldAlarm) -> Alarm | None:
        """The alarm of the device that this one waits for word of, where it stands."""
        return self.gone.get(held.parent_id or 0) if held.why == Why.PARENT and held.under_id is None else None

    def end_of_wait(self, since: datetime) -> datetime:
        return since + PARENT_WAIT

    def children_of(self, alarm: Alarm, held: Mapping[UUID, HeldAlarm]) -> list[HeldAlarm]:
        """Those that wait for word of the alarm's device: of this batch, and from before."""
        rows = {**self._waiting, **held}.values()
        return [row for row in rows if row.parent_id == alarm.device_id and row.under_id is None and _waits(row)]

    def under(self, alarm: Alarm, held: Mapping[UUID, HeldAlarm]) -> list[HeldAlarm]:
        """Those folded into the alarm that have not come back."""
        return [row for row in {**self._waiting, **held}.values() if row.under_id == alarm.pk and _waits(row)]

    def _window(self, made: Raise) -> Maintenance | None:
        device = made.point.device
        found = [
            window
            for window in self.windows
            if window.starts_at <= made.raised_at < window.ends_at and concerns(window, device)
        ]
        return max(found, key=lambda window: window.ends_at, default=None)


def concerns(window: Maintenance, device: Device) -> bool:
    """Whether the window is of this device, of its subject, or of the whole programme."""
    if window.device_id is not None:
        return window.device_id in (device.pk, device.parent_id)
    if window.subject_id is not None:
        return window.subject_id == device.subject_id
    return window.programme == device.programme


def windows_of(devices: Sequence[Device]) -> Q:
    """The windows that could concern any of the devices."""
    ids = {device.pk for device in devices} | {d.parent_id for d in devices if d.parent_id is not None}
    return (
        Q(device__among=among(ids))
        | Q(subject__among=among({device.subject_id for device in devices}))
        | Q(device=None, subject=None, programme__in={device.programme for device in devices})
    )


def quiet_times(devices: Iterable[int], *, since: datetime, until: datetime) -> Quiet:
    """What held the alarms of these devices back in a time that is past: windows, and recorded alarms of gateways."""
    rows = list(Device.objects.filter(pk__in=set(devices)).select_related("subject"))
    windows = [window for window in _windows(rows, since) if window.starts_at < until]
    spans = {d.pk: tuple(_span(window) for window in windows if concerns(window, d)) for d in rows} if windows else {}
    gone = _past_gone({row.parent_id for row in rows if row.parent_id is not None}, since, until)
    return Quiet(
        windows={pk: found for pk, found in spans.items() if found},
        gone={row.pk: tuple(gone[row.parent_id]) for row in rows if row.parent_id in gone},
        wait_ms=_ms(PARENT_WAIT), alive_ms=_ms(PARENT_ALIVE),
    )  # fmt: skip


def _past_gone(parents: set[int], since: datetime, until: datetime) -> dict[int, list[Gone]]:
    """The alarms of these devices that took the silences behind them, by device and time."""
    if not parents:
        return {}
    alarms = Alarm.objects.filter(device__in=parents, raised_at__lt=until + PARENT_WAIT)
    alarms = alarms.filter(Q(cleared_at=None) | Q(cleared_at__gt=since - PARENT_WAIT))
    found: dict[int, list[Gone]] = {}
    known = cache(rule_of)
    for alarm in alarms.order_by("raised_at"):
        rule = known(alarm.rule)
        if rule is not None and rule.covers:
            spec = alarm.rule_spec.get("rule", {})
            silent_s = spec.get("after_s") if rule.is_silence else None
            heard = OPEN if silent_s is None else _at(alarm.onset) - round(silent_s * 1000)
            cleared = OPEN if alarm.cleared_at is None else _at(alarm.cleared_at)
            found.setdefault(alarm.device_id, []).append(Gone(_at(alarm.raised_at), cleared, heard))
    return found


def _span(window: Maintenance) -> Span:
    return Span(_at(window.starts_at), _at(window.ends_at))


def _at(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _ms(span: timedelta) -> int:
    return round(span.total_seconds() * 1000)


def _windows(devices: Sequence[Device], since: datetime) -> list[Maintenance]:
    if not devices:
        return []
    return list(Maintenance.objects.filter(windows_of(devices), ends_at__gt=since).order_by("pk"))


def _waits(held: HeldAlarm) -> bool:
    return held.cleared_at is None and held.released_at is None


def _row(
    made: Raise,
    *,
    why: str,
    maintenance: Maintenance | None = None,
    parent: Device | None = None,
    under: Alarm | None = None,
    until: datetime | None = None,
) -> HeldAlarm:
    return HeldAlarm(
        id=made.id, point=made.point, device=made.point.device, subject=made.point.device.subject, rule=made.rule,
        level=made.level, value=made.value, onset=made.onset, raised_at=made.raised_at, parts=made.parts, why=why,
        maintenance=maintenance, parent=parent, under=under, until=until,
    )  # fmt: skip
