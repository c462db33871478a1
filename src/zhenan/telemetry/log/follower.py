"""Reading a stream in order from any place, over restarts of the broker, without ever skipping in silence."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from zhenan.telemetry.log.chain import Link
from zhenan.telemetry.log.connect import PASSING, wait_connected
from zhenan.telemetry.log.tasks import end

log = structlog.get_logger("zhenan.log")
_HEARTBEAT_S: Final = 2.0
_EXPIRES_S: Final = 30.0
_CLIENT_LIMIT: Final = 256 * 1024 * 1024


@dataclass(frozen=True)
class Message:
    """One message of a stream. `at_ms`: when the broker stored it, UTC. `waiting`: how many were behind it."""

    seq: int
    subject: str
    data: bytes
    headers: Mapping[str, str]
    at_ms: int
    waiting: int


class _Lost(Exception):
    """The consumer is gone or has missed something: make it anew behind the last message taken."""


class Follower:
    """Messages of a stream behind sequence `after`, in order, each once.

    Args:
        name: of the reader. It names the consumer, so that `zhenan doctor` shows its lag, and a second reader of the
            same name takes the first one's place.
        subject: only messages on it (wildcards allowed). Gaps are then seen by the writers' chains.
        since_s: begin at this moment (Unix time) instead of behind `after`.
        headers_only: leave the data with the broker.
    `gaps` counts messages that retention had removed before they were read (of a subject: at least so many, and known
    when its writer's next message is read); each gap is logged as an error.
    """

    def __init__(
        self, client: Client, stream: str, name: str, *, after: int = 0, subject: str = "", batch: int = 64,
        since_s: float | None = None, headers_only: bool = False,
    ) -> None:  # fmt: skip
        self.since_s, self.headers_only = since_s, headers_only
        self.client, self.stream, self.name, self.subject, self.batch = client, stream, name, subject, batch
        self.js = client.jetstream(timeout=5)
        self.last = after
        self.gaps = 0
        self.waiting = 0  # messages not yet read, as last told
        self._subscription: Subscription | None = None
        self._asked = 0  # messages asked for and not yet delivered
        self._delivered = 0  # the consumer's own count, to see a lost delivery
        self._heard = 0.0
        self._after: int | None = None if since_s is not None else after  # by then everything had been read
        self._links: dict[str, tuple[int, Link]] = {}  # of each writer's last message

    @property
    def caught_up(self) -> bool:
        """Whether everything in the stream had been returned when the broker was last heard."""
        return self._subscription is not None and self.waiting == 0 and self.client.is_connected

    async def read(
        self, *, most: int = 0, wait_s: float = 0.0, until: asyncio.Event | None = None
    ) -> list[Message]:  # fmt: skip
        """What is there, at most `most` (default: the batch size); [] when nothing came within `wait_s`.

        Waits through failures of the broker, but no longer than `until` is set. Cancelling is safe: a message not
        returned is delivered again.
        """
        most = most or self.batch
        found: list[Message] = []
        deadline = time.monotonic() + wait_s
        while len(found) < most:
            try:
                if self._subscription is None and not await self._started(found, until):
                    break
                message = await self._next(0.0 if found else max(0.0, deadline - time.monotonic()))
            except _Lost as why:
                log.warning("log.read_anew", stream=self.stream, reader=self.name, why=str(why))
                await self._drop()
                continue
            if message is None:
                break
            found.append(message)
        if found:
            self.last = found[-1].seq
        return found

    async def close(self) -> None:
        """End the consumer."""
        await self._drop()
        with contextlib.suppress(*PASSING):
            await self.js.delete_consumer(self.stream, self.name)

    async def _started(self, found: list[Message], until: asyncio.Event | None) -> bool:
        """Make the consumer, as long as that takes; False when `until` was set first. Raises _Lost."""
        if until is None:
            await self._start(found)
            return True
        starting, ending = asyncio.create_task(self._start(found)), asyncio.create_task(until.wait())
        try:
            await asyncio.wait([starting, ending], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return False
            starting.result()
            return True
        finally:
            await end([starting, ending])

    async def _start(self, found: list[Message]) -> None:
        """Make the consumer behind the last message taken, also those taken in this call."""
        await wait_connected(self.client)
        after = found[-1].seq if found else self.last
        try:
            with contextlib.suppress(nats.js.errors.NotFoundError):
                await self.js.delete_consumer(self.stream, self.name)
            made = await self.js.add_consumer(self.stream, self._config(after))
            info = await self.js.stream_info(self.stream)
            inbox = self.client.new_inbox()
            self._subscription = await self.client.subscribe(
                inbox, pending_msgs_limit=1_000_000, pending_bytes_limit=_CLIENT_LIMIT
            )
        except PASSING as err:
            await asyncio.sleep(0.2)
            raise _Lost(f"no consumer: {err or type(err).__name__}") from err
        self._inbox, self._asked, self._delivered, self._heard = inbox, 0, 0, time.monotonic()
        first = info.state.first_seq
        if first > after + 1 and not self.subject:
            self._tell_gap(after + 1, first - 1)
        self._expected = max(after + 1, first)
        self.waiting = made.num_pending or 0

    def _config(self, after: int) -> ConsumerConfig:
        by_time = self.since_s is not None and not after
        return ConsumerConfig(
            name=self.name,
            deliver_policy=DeliverPolicy.BY_START_TIME if by_time else DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=None if by_time else after + 1,
            opt_start_time=datetime.fromtimestamp(self.since_s or 0, UTC) if by_time else None,
            headers_only=self.headers_only or None,
            ack_policy=AckPolicy.NONE,
            filter_subject=self.subject or None,
            mem_storage=True,
            inactive_threshold=120,
            num_replicas=1,
        )

    async def _drop(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(*PASSING):
                await self._subscription.unsubscribe()
            self._subscription = None

    async def _ask(self) -> None:
        """Keep at least one request with the broker, so that a new message comes at once."""
        if self._asked > self.batch:
            return
        request = {
            "batch": self.batch * 4,
            "expires": int(_EXPIRES_S * 1e9),
            "idle_heartbeat": int(_HEARTBEAT_S * 1e9),
            "max_bytes": 64 * 1024 * 1024,
        }
        self._asked += self.batch * 4
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.stream}.{self.name}"
        try:
            await self.client.publish(subject, json.dumps(request).encode(), reply=self._inbox)
        except PASSING as err:
            raise _Lost(f"cannot ask: {err}") from err

    async def _next(self, wait_s: float) -> Message | None:
        subscription = self._subscription
        if subscription is None:
            raise _Lost("not subscribed")
        deadline = time.monotonic() + wait_s
        while True:
            await self._ask()
            if subscription.pending_msgs == 0:
                left = deadline - time.monotonic()
                if time.monotonic() - self._heard > 3 * _HEARTBEAT_S:
                    raise _Lost("silence: not even a heartbeat")
                if left <= 0:
                    await asyncio.sleep(0)
                    if subscription.pending_msgs == 0:
                        return None
            try:
                raw = await subscription.next_msg(min(max(deadline - time.monotonic(), 0.005), _HEARTBEAT_S))
            except TimeoutError:
                continue
            except PASSING as err:
                raise _Lost(str(err) or type(err).__name__) from err
            self._heard = time.monotonic()
            if raw.headers and "Status" in raw.headers:
                self._status(raw.headers)
                continue
            return self._message(raw)

    def _status(self, headers: Mapping[str, str]) -> None:
        code, words = headers.get("Status", ""), headers.get("Description", "")
        if code == "100":  # idle heartbeat
            return
        if code in ("404", "408") or (code == "409" and "Consumer" not in words and "Server" not in words):
            self._asked = 0  # a request has run out
            return
        raise _Lost(f"{code} {words}".strip())

    def _message(self, raw: Any) -> Message:
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time ns>.<pending>
        parts = raw.reply.split(".")
        waiting, at_ns, consumer_seq, seq = (int(parts[-n]) for n in (1, 2, 3, 4))
        if consumer_seq != self._delivered + 1:
            raise _Lost(f"delivery {consumer_seq} came after {self._delivered}")
        self._delivered, self.waiting = consumer_seq, waiting
        self._asked = max(0, self._asked - 1)
        if self.subject:
            self._look_back(raw.subject, seq, raw.headers or {})
        elif seq != self._expected:
            self._tell_gap(self._expected, seq - 1)
        self._expected = seq + 1
        return Message(seq, raw.subject, raw.data, raw.headers or {}, at_ns // 1_000_000, waiting)

    def _look_back(self, subject: str, seq: int, headers: Mapping[str, str]) -> None:
        """Whether what this writer wrote before was read; a reader that began at some moment cannot know at first."""
        link = Link.of(headers)
        if link is None:
            return
        read, known = self._links.get(subject, (self._after, None))
        self._links[subject] = seq, link
        if read is not None and read < link.before < seq:
            self.gaps += (missing := link.missing(known))
            log.error(
                "log.gap", stream=self.stream, reader=self.name, subject=subject, first=read + 1, last=link.before,
                at_least=missing,
            )  # fmt: skip

    def _tell_gap(self, first: int, last: int) -> None:
        self.gaps += last - first + 1
        log.error("log.gap", stream=self.stream, reader=self.name, first=first, last=last)
