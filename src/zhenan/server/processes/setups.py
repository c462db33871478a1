"""What the judge judges by, read again when it changed, and divided into the lanes that judges share."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import structlog
from numpy.typing import NDArray

from zhenan.domains.monitoring import queries
from zhenan.domains.monitoring.queries import JudgeSetup
from zhenan.server.processes import Process
from zhenan.telemetry.columns import PARTITIONS
from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.live import Numbers
from zhenan.telemetry.judge.rules import Rule
from zhenan.telemetry.judge.table import Groups

log = structlog.get_logger("zhenan.judge")
STAMP_S = 3.0


@dataclass(frozen=True)
class LaneSetup:
    """The part of a JudgeSetup that concerns one lane."""

    stamp: str
    rules: tuple[Rule, ...]
    points: list[str]
    registered_at: NDArray[np.int64]
    holidays: NDArray[np.int64]
    groups: Groups | None
    composites: tuple[Composite, ...] = ()
    subjects: dict[str, str] = field(default_factory=dict)
    numbers: Numbers | None = None


def divide(setup: JudgeSetup, lanes: int) -> list[LaneSetup]:
    """One part a lane: its points with their groups, under all rules. O(points).

    All points of a subject are in one lane, so a composite, which is of one subject, is judged whole in one.
    """
    whole = LaneSetup(
        setup.stamp, setup.rules, setup.points, setup.registered_at, setup.holidays, setup.groups, setup.composites,
        setup.subjects,
    )  # fmt: skip
    if lanes == 1:
        return [whole]
    lane = setup.partition.astype(np.int64) * lanes // PARTITIONS
    points = np.array(setup.points, dtype=object)
    numbers = Numbers.of(np.fromiter(map(int, setup.points), np.int64, len(setup.points)), lane)
    parts = []
    for number in range(lanes):
        mine = lane == number
        groups = None if setup.groups is None else Groups(setup.groups.rules, setup.groups.of[mine])
        own = replace(numbers, mine=number)
        parts.append(
            replace(
                whole,
                points=points[mine].tolist(),
                registered_at=whole.registered_at[mine],
                groups=groups,
                numbers=own,
            )
        )
    return parts


class Setups:
    """The setup of now, by lane. `load` first; `run` as a task reads it again when its stamp moved."""

    def __init__(self, process: Process, lanes: int) -> None:
        self.process, self.lanes = process, lanes
        self.changed = asyncio.Event()  # set it to have the stamp looked at now
        self.stamp = ""
        self._looking, self._looked_at = asyncio.Lock(), 0.0
        self._parts: list[LaneSetup] = []

    def of(self, lane: int) -> LaneSetup:
        return self._parts[lane]

    def concerns(self, lane: int, of_lanes: range) -> Callable[[str], bool]:
        """Which points' alarms are a lane's when a coarser lane was divided into these: those of its own points, and
        for the first of them those of points that are registered no more."""
        own = set(self._parts[lane].points)
        others = {key for n in of_lanes for key in self._parts[n].points} - own
        return lambda point: point in own or (lane == of_lanes[0] and point not in others)

    async def load(self) -> None:
        """Read it all."""
        setup = await self.process.database(queries.judge_setup)
        self._parts = await asyncio.to_thread(divide, setup, self.lanes)
        self.stamp = setup.stamp
        log.info("judge.setup", rules=len(setup.rules), points=len(setup.points), lanes=self.lanes)

    async def run(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), STAMP_S)
            self.changed.clear()
            await self.fresh()

    async def fresh(self) -> None:
        """The setup of this moment, or a later one. Several that ask at once look once."""
        asked_at = time.monotonic()
        async with self._looking:
            if self._looked_at >= asked_at:
                return
            self._looked_at = time.monotonic()
            if await self.process.database(queries.judge_stamp) != self.stamp:
                await self.load()
