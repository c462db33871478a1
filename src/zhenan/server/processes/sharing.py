"""A worker's lanes, each served by a task of its own for as long as it is held."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from django.db import connections
from nats.aio.client import Client

from zhenan.server import config
from zhenan.telemetry.columns import PARTITIONS
from zhenan.telemetry.lease import Lease, Leases, Lost
from zhenan.telemetry.log.chain import Fenced
from zhenan.telemetry.log.tasks import end

log = structlog.get_logger("zhenan.sharing")
STOP_S = 8.0
IDLE_MS = 4000


def shared() -> bool:
    """Whether judges and historians share lanes with others, and keep their states in the broker."""
    return config.flag("ZHENAN_CLUSTER", default=False)


def lane_count() -> int:
    """ZHENAN_LOG_LANES: a power of two up to 64, the same in every process. Raises BadSetting."""
    lanes = config.number("ZHENAN_LOG_LANES", default=1)
    if not lanes or PARTITIONS % lanes:
        raise config.BadSetting("ZHENAN_LOG_LANES", f"came {lanes}", f"want 1, 2, 4, 8, 16, 32 or {PARTITIONS}")
    return lanes


def let_others_write() -> None:
    """Before the first query: the database ends a session of ours that stands still in a transaction, so that a worker
    that is paused or cut off in the middle of writing does not keep whoever takes its lanes waiting for its locks."""
    options = connections.settings["default"].setdefault("OPTIONS", {})
    options["options"] = f"-c idle_in_transaction_session_timeout={IDLE_MS}"


def leases_of(client: Client, role: str, count: int) -> Leases:
    """This worker's part in a role's leases, under ZHENAN_WORKER or the machine's name."""
    return Leases(client, role, count, name=os.environ.get("ZHENAN_WORKER", ""))


async def beside(main: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]) -> None:
    """Run `main` to its end, with others beside it that end with it. Raises the error of whichever fails."""
    first, *_ = tasks = [asyncio.create_task(part) for part in (main, *others)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        await first
    finally:
        await end(tasks)


class Sharing:
    """Serves what the leases give. `run` as a task; after it was ended, `finish` gives everything back in good order.

    Args:
        serve: works for one lane until `lease.leaving` is set, keeps its state and returns; raises Lost or Fenced
            when the lane is another's. Any other error ends `run` with it.
    """

    def __init__(self, leases: Leases, serve: Callable[[Lease], Awaitable[None]]) -> None:
        self.leases, self._serve = leases, serve
        self.tasks: dict[Lease, asyncio.Task[None]] = {}
        self._renewing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """For ever."""
        self._renewing = asyncio.create_task(self.leases.run())
        changed = asyncio.create_task(self.leases.changed.wait())
        try:
            while True:
                await self._match()
                done, _ = await asyncio.wait(
                    [self._renewing, changed, *self.tasks.values()], return_when=asyncio.FIRST_COMPLETED
                )
                if self._renewing in done:
                    self._renewing.result()
                if changed in done:
                    self.leases.changed.clear()
                    changed = asyncio.create_task(self.leases.changed.wait())
                await self._reap()
        finally:
            changed.cancel()

    async def _match(self) -> None:
        """End the tasks of lanes that were lost, then start those of lanes that came."""
        held = set(self.leases.held.values())
        lost = [task for lease, task in self.tasks.items() if lease not in held]
        if lost:
            await end(lost)
            self.tasks = {lease: task for lease, task in self.tasks.items() if lease in held}
        for lease in held - self.tasks.keys():
            self.tasks[lease] = asyncio.create_task(self._serve_one(lease), name=f"lane {lease.lane}")

    async def _serve_one(self, lease: Lease) -> None:
        try:
            await self._serve(lease)
        except (Lost, Fenced) as why:
            log.warning("lane.lost", role=self.leases.role, lane=lease.lane, token=lease.token, why=str(why))

    async def _reap(self) -> None:
        for lease, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[lease]
                task.result()
                self.leases.release(lease)

    async def finish(self) -> None:
        """Have every lane keep its state, give all of them back, and be no member any more."""
        for lease in self.tasks:
            lease.leaving.set()
        if self.tasks:
            await asyncio.wait(self.tasks.values(), timeout=STOP_S)
        await end(self.tasks.values())
        if self._renewing is not None:
            await end([self._renewing])
        await self.leases.leave()
