"""Versions of a fence over the table of positions, by the compiled loop that judges them live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.backtest.compare import first_at_least
from zhenan.telemetry.backtest.found import DWELL, ENTER, NOTED, OPEN, SPEED, Found
from zhenan.telemetry.backtest.plan import LEAD_MS, BadPlan, Outcome, check_span, cut, days_between, days_of
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns
from zhenan.telemetry.tracks.fences import Fence
from zhenan.telemetry.tracks.judge import KINDS, MOST_KMH, FenceEvent, FenceJudge, VehicleKind
from zhenan.telemetry.tracks.table import Tracks

VEHICLES_A_TASK: Final = 500  # at a position each ten seconds their day takes some 300 MB
BEGINS: Final = {"enter": ENTER, "dwell": DWELL, "speed": SPEED}
_BEGINS: Final = {KINDS.index(kind): number for kind, number in BEGINS.items()}
_SPEED, _SPEED_END = KINDS.index("speed"), KINDS.index("speed_end")


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
        reclassed: of vehicles whose classes changed, (moment in ms, classes from then on), in order of time.
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
    reclassed: dict[int, tuple[tuple[int, VehicleKind], ...]] = field(default_factory=dict)

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
        return self.vehicles.size * days_between(self.since_ms - self.lead_ms, self.until_ms)

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
            for rows, kinds in self._by_class(found):
                judge.reclass(kinds)
                met.note(judge.judge(found if rows is None else found.take(rows))[0], found)
        alarms = met.found().within(plan.since_ms, plan.until_ms)
        return Outcome(alarms, positions, judge.counts.judged, late)

    def _by_class(self, found: PositionColumns) -> Iterator[tuple[NDArray[np.bool_] | None, dict[int, VehicleKind]]]:
        """The positions (vehicles by their place) in parts in which no vehicle changes its classes, each with those
        that its vehicles have in it; None: all of them."""
        changes = {n: self.plan.reclassed.get(vehicle, ()) for n, vehicle in enumerate(self.vehicles.tolist())}
        rank = np.zeros(len(found), np.int64)  # how many changes were before the position
        for vehicle, moments in changes.items():
            if moments:
                mine = found.vehicle == vehicle
                rank[mine] = np.searchsorted([ms for ms, _kind in moments], found.ts[mine], side="right")
        ranks = np.unique(rank).tolist()
        for n in ranks:
            rows = rank == n
            here = np.unique(found.vehicle[rows]).tolist() if n else ()
            yield None if len(ranks) == 1 else rows, {v: changes[v][n - 1][1] for v in here}

    def _judge(self) -> FenceJudge:
        """Fences under the number of their side, vehicles under their place."""
        plan = self.plan
        fences = [replace(term.fence, id=str(number)) for number, side in enumerate(plan.sides) for term in side]
        kinds = {
            place: plan.kinds[vehicle] for place, vehicle in enumerate(self.vehicles.tolist()) if vehicle in plan.kinds
        }
        return FenceJudge(fences, kinds, offset_ms=plan.offset_ms, most_kmh=plan.most_kmh)


class _Met:
    """What vehicles did, from its beginning to its end, as columns: a fence that is always broken has many events."""

    def __init__(self, sides: Sequence[Sequence[Term]], vehicles: NDArray[np.int32]) -> None:
        self.vehicles = vehicles
        self._terms = [(number, term) for number, side in enumerate(sides) for term in side]
        self._places = {(str(side), term.fence.version): n for n, (side, term) in enumerate(self._terms)}
        self._numbers: list[NDArray[np.int64]] = []  # vehicle, term, kind, ts, onset
        self._values: list[NDArray[np.float64]] = []  # value, lat, lon

    def note(self, events: Sequence[FenceEvent], positions: PositionColumns) -> None:
        """Take the events of positions that lie by vehicle, then time."""
        if not events:
            return
        rows = [(e.vehicle, self._places[e.fence, e.version], KINDS.index(e.kind), e.ts, e.onset) for e in events]
        numbers = np.array(rows, np.int64)
        at = first_at_least(positions.vehicle, positions.ts, numbers[:, 0], numbers[:, 3])
        self._numbers.append(numbers)
        self._values.append(
            np.column_stack([[e.value for e in events], positions.lat[at] / DEGREE, positions.lon[at] / DEGREE])
        )

    def found(self) -> Found:
        """Everything that began, in order."""
        if not self._numbers:
            return Found.empty()
        numbers, values = np.concatenate(self._numbers), np.concatenate(self._values)
        kind = numbers[:, 2]
        begins = np.isin(kind, list(_BEGINS))
        cleared = self._ends(numbers[begins], numbers[~begins])
        vehicle, term, kind, ts, onset = numbers[begins].T
        value, lat, lon = values[begins].T
        kinds = np.array([_BEGINS.get(number, 0) for number in range(len(KINDS))])[kind]
        quiet = np.array([not one.alarm_on_enter for _side, one in self._terms])[term]
        return Found.made(
            np.array([side for side, _one in self._terms])[term], self.vehicles[vehicle], onset, ts, cleared, value,
            level=np.array([one.level for _side, one in self._terms])[term],
            kind=np.where((kinds == ENTER) & quiet, NOTED, kinds), lat=lat, lon=lon,
        )  # fmt: skip

    def _ends(self, begun: NDArray[np.int64], ended: NDArray[np.int64]) -> NDArray[np.int64]:
        """When each ended: a stay and what came of it when the vehicle left, speeding when it was over; all know when
        theirs began. OPEN where it did not end."""

        def key(rows: NDArray[np.int64]) -> NDArray[np.int64]:
            fast = (rows[:, 2] == _SPEED) | (rows[:, 2] == _SPEED_END)
            return (rows[:, 0] * len(self._terms) + rows[:, 1]) * 2 + fast

        cleared = np.full(len(begun), OPEN, np.int64)
        if not len(ended):
            return cleared
        ended = ended[np.lexsort((ended[:, 4], key(ended)))]
        place = first_at_least(key(ended), ended[:, 4], key(begun), begun[:, 4])
        place = np.minimum(place, len(ended) - 1)
        same = (key(ended)[place] == key(begun)) & (ended[place, 4] == begun[:, 4])
        cleared[same] = ended[place[same], 3]
        return cleared
