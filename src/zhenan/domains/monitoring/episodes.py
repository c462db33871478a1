"""Transitions walked in order: which alarms, stages and held alarms they begin, change and end.

Everything a batch needs is read when it begins and written when it ends; in between nothing asks the database.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Exists, OuterRef, Q

from zhenan.domains.monitoring.bulk import update_many
from zhenan.domains.monitoring.holding import Holding
from zhenan.domains.monitoring.limits import PARENT_WAIT
from zhenan.domains.monitoring.models import Alarm, AlarmStage, HeldAlarm, Point
from zhenan.domains.monitoring.queries import rule_of
from zhenan.domains.monitoring.reading import Reader
from zhenan.kernel.rows.among import among
from zhenan.kernel.rows.building import built
from zhenan.kernel.rows.copying import create_many
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.results import Transition

RESPOND_S = 600  # for a rule that no pack declares any more


def moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


class Raise(NamedTuple):
    """A raise on its way to an alarm: from the judge just now, or held until now."""

    id: UUID
    point: Point
    rule: str
    level: int
    value: float | None
    onset: datetime
    raised_at: datetime
    parts: list[dict[str, Any]]


class Episodes:
    """The episodes of a batch; ``walk`` fills ``fresh``, ``graver``, ``lighter``, ``cleared``, ``fresh_held``."""

    def __init__(self, transitions: Sequence[Transition], at: datetime) -> None:
        self.at = at
        self.ids = [alarm_id(t.point, t.rule, t.onset) for t in transitions]
        self.rule_of = cache(rule_of)
        self._spec_of = cache(lambda code: _spec(self.rule_of(code)))  # one for all alarms of a rule
        self.fresh: list[Alarm] = []
        self.made: dict[UUID, Raise] = {}  # what each fresh alarm began with
        self.graver: list[AlarmStage] = []  # stages that made an alarm graver than it was ever told
        self.lighter: list[tuple[AlarmStage, int, datetime, str]] = []  # stages that ended: the level left, when, why
        self.cleared: list[Alarm] = []
        self.withdrawn: dict[UUID, str] = {}  # why some of those ended that no reading ended
        self.fresh_held: list[HeldAlarm] = []
        self.unknown = 0
        named = HeldAlarm.objects.select_for_update().filter(pk__among=among(self.ids)).order_by("pk")
        self.held: dict[UUID, HeldAlarm] = {held.id: held for held in named} if self.ids else {}
        over = Q(until__lte=at) | Q(until=None, under__cleared_at__lte=at - PARENT_WAIT)
        if (
            not transitions
        ):  # a parent's alarm that was written at the same moment, by another judge, saw them as little
            gone = Alarm.objects.filter(device=OuterRef("parent"), cleared_at=None)
            over |= Q(Exists(gone), why=HeldAlarm.Why.PARENT, under=None)
        due = HeldAlarm.objects.select_for_update(skip_locked=True, of=("self",)).filter(
            over, cleared_at=None, released_at=None
        )
        self._due = {held.id: held for held in due.order_by("until", "pk")}
        self.held |= {pk: held for pk, held in self._due.items() if pk not in self.held}
        self._read = Reader()
        self.points = self._points(transitions)
        self._read_stages(transitions)
        self._read_alarms()
        self.holding = Holding(transitions, self.points, self.rule_of, at)
        self._new_stages: list[AlarmStage] = []
        self._changed: dict[str, dict[Any, Any]] = {"alarms": {}, "stages": {}, "held": {}}

    # ---- read

    def _points(self, transitions: Sequence[Transition]) -> dict[int, Point]:
        wanted = {int(t.point) for t in transitions if t.kind == "raise" or self._covers(t.rule)}
        wanted |= {held.point_id for held in self.held.values()}
        return self._read.points(wanted) if wanted else {}

    def _read_stages(self, transitions: Sequence[Transition]) -> None:
        """The stages that the batch names, and those that stand where it begins one of the same family."""
        codes = {t.rule for t in transitions} | {h.rule for h in self.held.values()}
        self.stages: dict[UUID, AlarmStage] = {}
        self.staged = any(self.family(code) for code in codes) or bool(codes - {c for c in codes if self.rule_of(c)})
        self.staged |= any(t.why for t in transitions)  # its rule may have had a family when it was raised
        if self.staged:
            named = AlarmStage.objects.filter(pk__among=among([*self.ids, *self.held]))
            standing = AlarmStage.objects.filter(point__among=among(self.points), cleared_at=None)
            alarms = {pk for (pk,) in named.values_list("alarm_id").union(standing.values_list("alarm_id"))}
            rows = AlarmStage.objects.filter(alarm__among=among(alarms)).order_by("raised_at", "-level")
            self.stages = {stage.id: stage for stage in rows} if alarms else {}

    def _read_alarms(self) -> None:
        wanted = {*self.ids, *self.held, *(stage.alarm_id for stage in self.stages.values())}
        self.alarms = self._read.alarms(wanted) if wanted else {}
        self._stages_of: dict[UUID, list[AlarmStage]] = {}
        for stage in self.stages.values():
            stage.alarm = self.alarms[stage.alarm_id]  # one object for one row
            self._stages_of.setdefault(stage.alarm_id, []).append(stage)
        self._open = {
            (stage.point_id, stage.family): self.alarms[stage.alarm_id]
            for stage in self.stages.values()
            if stage.cleared_at is None
        }

    def family(self, code: str) -> str:
        """The family of a rule within its programme, "" for a rule that stands alone."""
        rule = self.rule_of(code)
        return f"{code.partition('.')[0]}.{rule.family}" if rule and rule.family else ""

    def _covers(self, code: str) -> bool:
        rule = self.rule_of(code)
        return rule is not None and rule.covers

    # ---- walk

    def walk(self, transitions: Sequence[Transition]) -> None:
        """Each transition in the order the judge gave it; then what was held and is no longer."""
        for pk, t in zip(self.ids, transitions, strict=True):
            if t.kind == "raise":
                self._raise(pk, t)
            else:
                self._clear(pk, moment(t.ts), t.why)
        self._hold_families()
        for held in list(self.held.values()):
            gone = self.holding.gone_parent(held) if _waits(held) else None
            if gone is not None:
                held.under, held.until = gone, None
                self._touch("held", held)
                continue
            orphan = held.until is None and held.id in self._due  # its parent's alarm ended where nobody saw it
            if _waits(held) and (orphan or (held.until is not None and held.until <= self.at)):
                self._release(held, held.until or self.at)

    def _raise(self, pk: UUID, t: Transition) -> None:
        if pk in self.alarms or pk in self.stages or pk in self.held:
            return
        point = self.points.get(int(t.point))
        if point is None:
            self.unknown += 1
            return
        value = None if math.isnan(t.value) else t.value
        parts = [part._asdict() for part in t.parts]
        made = Raise(pk, point, t.rule, t.level, value, moment(t.onset), moment(t.ts), parts)
        held = self.holding.held(made)
        if held is None:
            self._begin(made)
        else:
            self.held[pk] = held
            self.fresh_held.append(held)

    def _begin(self, made: Raise) -> None:
        """The raise becomes an alarm, or a stage of the one that its family has at the point."""
        family = self.family(made.rule)
        standing = self._open.get((made.point.id, family)) if family else None
        alarm = standing or _alarm(made, self.rule_of(made.rule), self._spec_of(made.rule))
        if standing is None:
            self.alarms[alarm.id] = alarm
            self.fresh.append(alarm)
            self.made[alarm.id] = made
            if self._covers(alarm.rule):
                self.holding.gone[alarm.device_id] = alarm
        if family:
            stage = built(
                AlarmStage, {"alarm": alarm, "point": made.point}, id=made.id, family=family, rule=made.rule,
                level=made.level, value=made.value, onset=made.onset, raised_at=made.raised_at,
            )  # fmt: skip
            self.stages[stage.id] = stage
            self._stages_of.setdefault(alarm.id, []).append(stage)
            self._new_stages.append(stage)
            self._open[made.point.id, family] = alarm
            if standing is not None:
                self._restage(alarm, stage)

    def _restage(self, alarm: Alarm, stage: AlarmStage) -> None:
        """The alarm shows the gravest stage that stands. ``stage`` has begun."""
        worst = min(alarm.peak_level or alarm.level, alarm.level)
        self._show_gravest(alarm)
        if stage.level < worst:
            self.graver.append(stage)
            if alarm.id in self.made:  # nobody knows of it yet: one word for both
                alarm.respond_by = min(alarm.respond_by, respond_by(stage.raised_at, self.rule_of(stage.rule)))
        self._touch("alarms", alarm)

    def _show_gravest(self, alarm: Alarm) -> None:
        standing = [stage for stage in self._stages_of[alarm.id] if stage.cleared_at is None]
        shown = min(standing or self._stages_of[alarm.id], key=lambda stage: (stage.level, stage.raised_at))
        peak = min(stage.level for stage in self._stages_of[alarm.id])
        rule = self.rule_of(shown.rule)
        if shown.rule != alarm.rule:
            alarm.rule, alarm.rule_spec = shown.rule, _spec(rule)
            alarm.value = shown.value
        alarm.level, alarm.peak_level = shown.level, peak

    def _clear(self, pk: UUID, at: datetime, why: str) -> None:
        held = self.held.get(pk)
        if held is not None and _waits(held):
            if held.until is not None and held.until < at and not why:
                self._release(held, held.until)  # it stood at the end of the wait: an alarm, though it is over now
            else:
                held.cleared_at = at
                self._touch("held", held)
                return
        stage = self.stages.get(pk)
        if stage is not None:
            self._end_stage(stage, at, why)
        elif pk in self.alarms and self.alarms[pk].cleared_at is None:
            self._end(self.alarms[pk], at, why)

    def _end_stage(self, stage: AlarmStage, at: datetime, why: str) -> None:
        if stage.cleared_at is not None:
            return
        stage.cleared_at = max(at, stage.raised_at)
        self._touch("stages", stage)
        alarm = self.alarms[stage.alarm_id]
        if all(one.cleared_at is not None for one in self._stages_of[alarm.id]):
            self._open.pop((stage.point_id, stage.family), None)
            self._show_gravest(alarm)
            self._end(alarm, stage.cleared_at, why)
            return
        before = alarm.level
        self._show_gravest(alarm)
        if alarm.level != before:
            self.lighter.append((stage, alarm.level, stage.cleared_at, why))
        self._touch("alarms", alarm)

    def _end(self, alarm: Alarm, at: datetime, why: str) -> None:
        alarm.cleared_at = max(at, alarm.raised_at)
        if why:
            self.withdrawn[alarm.pk] = why
        self.cleared.append(alarm)
        self._touch("alarms", alarm)
        self._wait_again(alarm)

    # ---- held

    def _hold_families(self) -> None:
        """Children wait under the alarms of their parents: those that began just now, and those that stood."""
        for alarm in self.fresh:
            if alarm.cleared_at is None and self._covers(alarm.rule):
                for held in self.holding.children_of(alarm, self.held):
                    held.under, held.until = alarm, None
                    self.held.setdefault(held.id, held)
                    self._touch("held", held)

    def _wait_again(self, alarm: Alarm) -> None:
        """A parent is back: its children get the usual wait to be heard, then they raise on their own."""
        if self._covers(alarm.rule):
            if self.holding.gone.get(alarm.device_id) == alarm:
                del self.holding.gone[alarm.device_id]
            for held in self.holding.under(alarm, self.held):
                held.until = self.holding.end_of_wait(alarm.cleared_at or self.at)
                self.held.setdefault(held.id, held)
                self._touch("held", held)

    def _release(self, held: HeldAlarm, at: datetime) -> None:
        held.released_at = self.at
        self._touch("held", held)
        point = self.points.get(held.point_id)
        if point is None:
            point = Point.objects.select_related("device__subject__division").get(pk=held.point_id)
            self.points[point.id] = point
        raised_at = max(at, held.raised_at)
        made = Raise(held.id, point, held.rule, held.level, held.value, held.onset, raised_at, held.parts)
        still = self.holding.held(made, waited=True)
        if still is None or held.id in self.alarms:
            self._begin(made)
            return
        held.released_at = None  # one reason is over, another holds
        for name in ("why", "maintenance", "parent", "under", "until"):
            setattr(held, name, getattr(still, name))

    # ---- write

    def _touch(self, kind: str, row: Any) -> None:
        self._changed[kind][row.id] = row

    def _old(self, kind: str, fresh: Iterable[Any]) -> list[Any]:
        new = {row.id for row in fresh}
        return [row for pk, row in self._changed[kind].items() if pk not in new]

    def write(self) -> None:
        """All rows: new ones copied in, changed ones by one statement a table."""
        create_many(self.fresh)
        more = ["level", "peak_level", "rule", "rule_spec", "value"] if self.staged else []
        update_many(self._old("alarms", self.fresh), ["cleared_at", *more])
        create_many(self._new_stages)
        update_many(self._old("stages", self._new_stages), ["cleared_at"])
        create_many(self.fresh_held)
        update_many(
            self._old("held", self.fresh_held),
            ["cleared_at", "released_at", "under", "until", "why", "maintenance", "parent"],
        )


def _waits(held: HeldAlarm) -> bool:
    return held.cleared_at is None and held.released_at is None


def _spec(rule: AlarmRule | None) -> dict[str, Any]:
    return rule.model_dump(mode="json", include={"rule", "source", "measure", "respond_s"}) if rule else {}


def respond_by(raised_at: datetime, rule: AlarmRule | None) -> datetime:
    return raised_at + timedelta(seconds=rule.respond_s if rule else RESPOND_S)


def _alarm(made: Raise, rule: AlarmRule | None, spec: dict[str, Any]) -> Alarm:
    device = made.point.device
    return built(
        Alarm, {"point": made.point, "device": device, "subject": device.subject}, id=made.id,
        programme=device.programme, rule=made.rule, rule_spec=spec, measure=made.point.measure, level=made.level,
        value=made.value, onset=made.onset, raised_at=made.raised_at, parts=made.parts,
        respond_by=respond_by(made.raised_at, rule),
    )  # fmt: skip
