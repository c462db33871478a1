"""Holds what a lane's judge has standing against what is open on record, page by page, and puts right what differs.

Pages are asked for off the judging turn and looked at in it, when everything the judge has said so far is recorded. So
a row that was read a moment ago and does not stand now has either ended meanwhile (its clear, said again, changes
nothing) or should be open no more. What is put right is kept in the state before it is recorded, like all that the log
does not bring again: a judge that has lost its lane is refused there and records nothing.

It needs a setup as new as that of whoever judged the lane before, and has it: it is looked at when a lane is taken up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import structlog

from zhenan.domains.monitoring import standing as record
from zhenan.server.processes import Process
from zhenan.telemetry.columns import PARTITIONS
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.results import Transition
from zhenan.telemetry.judge.standing import OnRecord, recall, repair, settle
from zhenan.telemetry.log.tasks import end

log = structlog.get_logger("zhenan.judge")
EVERY_S = 600.0  # a database that was promoted, or a clear that was refused, is found out within this time
AGAIN_S = 1.0  # after a round that other rules broke off, or an error
PAGE = 2_000


class _Standing(NamedTuple):
    """Some of what stands, and what the record says of it: when it ended, None for open; missing where it has none."""

    rows: list[tuple[UUID, Transition]]
    ends: dict[UUID, int | None]


class Reconciling:
    """One lane's. `turn` at the end of each turn of the judge; `recall` before the first, of a judge in doubt."""

    def __init__(self, process: Process, live: LiveJudge, lane: int = 0, lanes: int = 1) -> None:
        self.process, self.live = process, live
        each = PARTITIONS // lanes
        self.partitions = range(lane * each, (lane + 1) * each)
        self.withdrawn = self.raised = self.rounds = 0
        self._asked: asyncio.Task[Any] | None = None
        self._caught_up = False
        self._due = time.monotonic()
        self._engine: Judge | None = None  # that of the round
        self._here: list[list[Any]] = []  # pages of what stands that are still to be asked about
        self._next: tuple[int, Any] | None = None
        self._of_composites: list[OnRecord] = []  # looked at last: what they are made of must be known

    async def recall(self) -> None:
        """In doubt: what was raised before the log begins stands, whatever this state says."""
        rows: list[OnRecord] = []
        following: tuple[int, Any] | None = (0, None)
        while following is not None:
            page = await self._page(following)
            rows += page.rows
            following = page.next
        taken = recall(self.live, rows, before_ms=self.live.begins_ms)
        log.info("judge.recalled", open=len(rows), taken_on=taken)

    async def end(self) -> None:
        if self._asked is not None:
            await end([self._asked])

    @property
    def busy(self) -> bool:
        """Whether a round is under way, so that the next turn should not wait long for readings."""
        return self._engine is not None

    def turn(self, *, caught_up: bool) -> list[Transition]:
        """A step, where one is due; what to record of it, first kept in the state."""
        self._caught_up |= caught_up
        if self._asked is None:
            if self._engine is None and (not self._caught_up or time.monotonic() < self._due):
                return []
            self._ask()
            return []
        if not self._asked.done():
            return []
        asked, self._asked = self._asked, None
        if (err := asked.exception()) is not None:  # judging goes on; in doubt without silences, until it succeeds
            log.error("judge.not_reconciled", error=repr(err))
            return self._finish(AGAIN_S)
        answer = asked.result()
        if self.live.engine is not self._engine:  # other rules, other points: begin again
            return self._finish(AGAIN_S)
        return self._repair(answer) if isinstance(answer, _Standing) else self._settle(answer)

    def _ask(self) -> None:
        if self._engine is None:
            self._begin()
        asking = self._ends(self._here.pop()) if self._here else self._page(self._next or (0, None))
        self._asked = asyncio.create_task(asking)

    def _begin(self) -> None:
        engine = self._engine = self.live.engine
        rows: list[Any] = [*engine.state.raised_rows(), *self.live.composer.standing()]
        self._here = [rows[at : at + PAGE] for at in range(0, len(rows), PAGE)]
        self._next, self._of_composites = (0, None), []

    async def _page(self, after: tuple[int, Any]) -> record.Page:
        return await self.process.database(record.open_on_record, self.partitions, after=after, most=PAGE)

    async def _ends(self, rows: Sequence[Any]) -> _Standing:
        engine = self.live.engine

        def named() -> list[tuple[UUID, Transition]]:
            found = [row if isinstance(row, Transition) else engine.standing(*row.tolist()) for row in rows]
            return [(alarm_id(t.point, t.rule, t.onset), t) for t in found]

        pairs = await asyncio.to_thread(named)
        return _Standing(pairs, await self.process.database(record.ends_on_record, [pk for pk, _t in pairs]))

    def _repair(self, answer: _Standing) -> list[Transition]:
        missing = [t for pk, t in answer.rows if pk not in answer.ends]
        over = [(t, at) for pk, t in answer.rows if (at := answer.ends.get(pk)) is not None]
        return self._told(repair(self.live, missing, over)) if missing or over else []

    def _settle(self, page: record.Page) -> list[Transition]:
        names = {one.id for one in self.live.composer.composites}
        self._of_composites += [row for row in page.rows if row.rule in names]
        rows, self._next = [row for row in page.rows if row.rule not in names], page.next
        if page.next is None:
            rows += self._of_composites
        found = settle(self.live, rows, now_ms=time.time_ns() // 1_000_000)
        if page.next is None:
            self.live.doubt = False
            self.rounds += 1
            self._finish(EVERY_S)
        return self._told(found)

    def _finish(self, again_s: float) -> list[Transition]:
        self._engine, self._here, self._due = None, [], time.monotonic() + again_s
        return []

    def _told(self, found: list[Transition]) -> list[Transition]:
        raised = sum(t.kind == "raise" for t in found)
        self.raised, self.withdrawn = self.raised + raised, self.withdrawn + len(found) - raised
        if found:
            log.warning("judge.put_right", raised=raised, withdrawn=len(found) - raised)
        return found
