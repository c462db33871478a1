"""What the judge judges by, read again when it changed, and divided into the lanes that judges share."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import structlog
from numpy.typing import NDArray

from zhenan.domains.monitoring import queries
from zhenan.domains.monitoring.queries import JudgeSetup
from zhenan.server.processes import Process
from zhenan.telemetry.columns import PARTITIONS
from zhenan.telemetry.judge.rules import Rule

log = structlog.get_logger("zhenan.judge")
STAMP_S = 3.0


@dataclass(frozen=True)
class LaneSetup:
    """The part of a JudgeSetup that concerns one lane."""

    stamp: str
    rules: tuple[Rule, ...]
    points: list[str]
    registered_at: NDArray[np.int64]


def divide(setup: JudgeSetup, lanes: int) -> list[LaneSetup]:
    """One part a lane: its points, and the rules that look at any of them. O(points and what rules name)."""
    if lanes == 1:
        return [LaneSetup(setup.stamp, setup.rules, setup.points, setup.registered_at)]
    lane = setup.partition.astype(np.int64) * lanes // PARTITIONS
    of = dict(zip(setup.points, lane.tolist(), strict=True))
    rules: list[list[Rule]] = [[] for _ in range(lanes)]
    for rule in setup.rules:
        for number, keys in enumerate(_spread(rule.points, of, lanes)):
            if keys is None or keys:
                rules[number].append(rule.model_copy(update={"points": keys}))
    points: list[list[str]] = [[] for _ in range(lanes)]
    for key, number in of.items():
        points[number].append(key)
    return [
        LaneSetup(setup.stamp, tuple(rules[n]), points[n], setup.registered_at[lane == n]) for n in range(lanes)
    ]  # fmt: skip


def _spread(keys: list[str] | None, of: Mapping[str, int], lanes: int) -> list[list[str] | None]:
    if keys is None:
        return [None] * lanes
    found: list[list[str] | None] = [[] for _ in range(lanes)]
    for key in keys:
        if key in of:
            found[of[key]].append(key)  # type: ignore[union-attr]
    return found


class Setups:
    """The setup of now, by lane. `load` first; `run` as a task reads it again when its stamp moved."""

    def __init__(self, process: Process, lanes: int) -> None:
        self.process, self.lanes = process, lanes
        self.changed = asyncio.Event()  # set it to have the stamp looked at now
        self.stamp = ""
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
            if await self.process.database(queries.judge_stamp) != self.stamp:
                await self.load()
