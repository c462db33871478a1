"""Versions of a fence over the table of positions, by the compiled loop that judges them live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.backtest.found import DWELL, ENTER, NOTED, OPEN, SPEED, Found
from zhenan.telemetry.backtest.plan import LEAD_MS, BadPlan, Outcome, check_span, cut, days_of
from zhenan.telemetry.history.delta import DAY_MS
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns
from zhenan.telemetry.tracks.fences import Fence
from zhenan.telemetry.tracks.judge import MOST_KMH, FenceEvent, FenceJudge, VehicleKind
from zhenan.telemetry.tracks.table import Tracks

VEHICLES_A_TASK: Final = 500  # at a position each ten seconds their day takes some 300 MB
BEGINS: Final = {"enter": ENTER, "dwell": DWELL, "speed": SPEED}
ENDS: Final = {"leave": (ENTER, DWELL), "speed_end": (SPEED,)}  # what ends with it; its onset is theirs


@dataclass(frozen=True)
class Term:
    """One version of the fence: its shape and times, whether an entry is an alarm or only noted, the alarms' level."""

    fence: Fence
    alarm_on_enter: bool
    level: int


@dataclass(frozen=True, eq=False)
class FencePlan:
    """Sides to compare, each a fence in one or several versions (those of one side valid one after the other).

    Args:
        vehicles: ids, int32 (n,). kinds: the class of each and of its goods; one left out is of no known class.
        offset_ms, most_kmh: as the live judge has them.
    """

    tracks_url: str
    sides: tuple[tuple[Term, ...], ...]
    vehicles: NDArray[np.int32]
    kinds: dict[int, VehicleKind]
    since_ms: int
    until_ms: int
    offset_ms: int = 8 * 3_600_000
    most_kmh: float = MOST_KMH

    def __post_init__(self) -> None:
        if not self.sides or not all(self.sides):
            raise BadPlan("no fence is given; give at least one version of one")
        check_span(self.since_ms, self.until_ms)

    @property
    def lead_ms(self) -> int:
        """A day, and the longest stay: who stood there longer was told before the period."""
        stays = [term.fence.dwell_s or 0 for side in self.sides for term in side]
        return LEAD_MS + max(stays) * 1000

    @property
    def days_of_work(self) -> int:
        """How much there is to judge: vehicles times days."""
        return int(self.vehicles.size * ((self.until_ms - self.since_ms + self.lead_ms) // DAY_MS + 1))

    def tasks(self, parts: int) -> list[FenceTask]:
        """Tasks of neighbouring vehicles, `parts` of them or more where memory asks for it."""
        ordered = np.unique(self.vehicles)
        parts = max(parts, -(-ordered.size // VEHICLES_A_TASK))
        return [FenceTask(self, ordered[piece]) for piece in cut(ordered.astype(np.int64), parts)]


@dataclass(frozen=True, eq=False)
class FenceTask:
    """One worker's share."""

    plan: FencePlan
    vehicles: NDArray[np.int32]

    def run(self) -> Outcome:
        """Judge every day in turn; memory is bounded by one day of these vehicles."""
        plan, vehicles = self.plan, self.vehicles
        judge = self._judge()
        table, met = Tracks(plan.tracks_url), _Met(plan.sides, vehicles)
        positions = late = 0
        for start, end in days_of(plan.since_ms - plan.lead_ms, plan.until_ms):
            found, came_late = table.judged(vehicles.tolist(), start, end)
            positions, late = positions + len(found) + came_late, late + came_late
            if not len(found):
                continue
            number = np.searchsorted(vehicles, found.vehicle).astype(np.int32)
            found = replace(found, vehicle=number)
            met.note(judge.judge(found)[0], found)
        alarms = met.found().within(plan.since_ms, plan.until_ms)
        return Outcome(alarms, positions, judge.counts.judged, late)

    def _judge(self) -> FenceJudge:
        """Fences under the number of their side, vehicles under their place."""
        plan = self.plan
        fences = [replace(term.fence, id=str(number)) for number, side in enumerate(plan.sides) for term in side]
        kinds = {
            place: plan.kinds[vehicle] for place, vehicle in enumerate(self.vehicles.tolist()) if vehicle in plan.kinds
        }
        return FenceJudge(fences, kinds, offset_ms=plan.offset_ms, most_kmh=plan.most_kmh)


class _Met:
    """What vehicles did, from its beginning to its end."""

    def __init__(self, sides: Sequence[Sequence[Term]], vehicles: NDArray[np.int32]) -> None:
        self.vehicles = vehicles
        self._terms = {(str(number), term.fence.version): term for number, side in enumerate(sides) for term in side}
        self._begun: list[tuple[FenceEvent, float, float]] = []
        self._ended: dict[tuple[int, str, int, int, int], int] = {}

    def note(self, events: Sequence[FenceEvent], positions: PositionColumns) -> None:
        """Take the events of positions that lie by vehicle, then time."""
        first = np.searchsorted(positions.vehicle, np.arange(self.vehicles.size + 1))
        for e in events:
            if e.kind in BEGINS:
                start, end = first[e.vehicle], first[e.vehicle + 1]
                at = start + int(np.searchsorted(positions.ts[start:end], e.ts))
                self._begun.append((e, int(positions.lat[at]) / DEGREE, int(positions.lon[at]) / DEGREE))
            else:
                for kind in ENDS[e.kind]:
                    self._ended[e.vehicle, e.fence, e.version, kind, e.onset] = e.ts

    def found(self) -> Found:
        """Everything that began, in order."""
        rows = [e for e, _lat, _lon in self._begun]
        terms = [self._terms[e.fence, e.version] for e in rows]
        kinds = [BEGINS[e.kind] for e in rows]
        cleared = [
            self._ended.get((e.vehicle, e.fence, e.version, kind, e.onset), OPEN)
            for e, kind in zip(rows, kinds, strict=True)
        ]
        noted = [
            NOTED if kind == ENTER and not term.alarm_on_enter else kind
            for kind, term in zip(kinds, terms, strict=True)
        ]
        return Found.made(
            [int(e.fence) for e in rows], self.vehicles[np.array([e.vehicle for e in rows], np.int64)],
            [e.onset for e in rows], [e.ts for e in rows], cleared, [e.value for e in rows],
            level=[term.level for term in terms], kind=noted,
            lat=[lat for _e, lat, _lon in self._begun], lon=[lon for _e, _lat, lon in self._begun],
        )  # fmt: skip
