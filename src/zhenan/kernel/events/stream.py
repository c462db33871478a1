"""The live feed: one LISTEN connection a process, fanned out to the pages that are open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from django.db import connections

from zhenan.kernel.access.scope import Scope
from zhenan.kernel.events.services import CHANNEL

log = structlog.get_logger("zhenan.events.stream")
LISTEN_WAIT_S = 5.0
QUEUE_LIMIT = 500  # a page that reads slower than this many messages is told to reload what it shows


@dataclass(frozen=True)
class Message:
    """What an open page hears: that something of this topic changed; the page then asks for what it may see."""

    id: str
    topic: str
    kind: str
    path: str
    organisations: tuple[int, ...]
    programme: str
    targets: tuple[str, ...]
    users: tuple[int, ...] = ()  # when given: for these people alone

    def within(self, scope: Scope, user_id: int | None = None) -> bool:
        if self.users:
            return user_id in self.users
        return scope.admits(path=self.path, organisations=self.organisations, programme=self.programme)


MISSED = Message("", "*", "feed.missed", "", (), "", ())  # told after a lost connection or a full queue: reload all


class Hub:
    """Subscribers of this process. Runs one listener task while anyone is subscribed."""

    def __init__(self) -> None:
        self._queues: dict[asyncio.Queue[Message], tuple[Scope, int | None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening = asyncio.Event()

    @asynccontextmanager
    async def subscribe(self, scope: Scope, user_id: int | None = None) -> AsyncIterator[asyncio.Queue[Message]]:
        """A queue of the messages within the scope, and of those for this person, from now on.

        Entered when the database listens, or after LISTEN_WAIT_S when it cannot be reached: MISSED follows once it can.
        """
        queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_LIMIT)
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._loop is not loop:
            self._queues = {}
            self._loop = loop
            self._listening = asyncio.Event()
            self._task = loop.create_task(self._listen())
        self._queues[queue] = (scope, user_id)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._listening.wait(), LISTEN_WAIT_S)
            yield queue
        finally:
            self._queues.pop(queue, None)
            if not self._queues and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _listen(self) -> None:
        lost = False
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**_parameters(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._listening.set()
                    if lost:  # told only now: a page that asked before this could miss what came in between
                        self._spread(MISSED)
                    async for notification in connection.notifies():
                        self._spread(parse(notification.payload))
            except psycopg.Error as err:
                log.warning("feed lost its database connection", error=str(err))
                lost = True
                await asyncio.sleep(1)

    def _spread(self, message: Message) -> None:
        for queue, (scope, user_id) in list(self._queues.items()):
            if message is not MISSED and not message.within(scope, user_id):
                continue
            full = queue.full()
            while full and not queue.empty():
                queue.get_nowait()
            queue.put_nowait(MISSED if full else message)


def parse(payload: str) -> Message:
    raw: dict[str, Any] = json.loads(payload)
    return Message(
        raw["id"],
        raw["topic"],
        raw["kind"],
        raw["path"],
        tuple(raw["organisations"]),
        raw["programme"],
        tuple(raw["targets"]),
        tuple(raw.get("users", ())),
    )


def _parameters() -> dict[str, Any]:
    params = dict(connections["default"].get_connection_params())
    return {key: params[key] for key in ("host", "port", "user", "password", "dbname") if params.get(key)}


hub = Hub()
