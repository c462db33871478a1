"""The MQTT queue: messages of QoS 1 as the broker keeps them for us, in order, each once, over kills of either side.

The broker answers PUBACK when a message is in its stream `$MQTT_msgs`; our durable consumer makes it stay there until
we acknowledge it. A consumer may deliver a message to a connection that has just died and go on with the next one, so
the order is guarded here: deliveries are numbered, and after a gap or a reconnect the messages that were delivered but
not taken are fetched by their sequence before anything new is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from typing import Final

import nats.errors
import nats.js.errors
import structlog
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import PASSING, wait_connected
from zhenan.telemetry.log.follower import Message
from zhenan.telemetry.log.wire import WireClient

log = structlog.get_logger("zhenan.gateway")
FILTER: Final = "$MQTT.msgs.d.*.up.>"
DURABLE: Final = "gateway"
BATCH: Final = 1024
_ACK_WAIT_S: Final = 10.0
_MAX_PENDING: Final = 65_536
_HEARTBEAT_S: Final = 2.0
_STATUS: Final = b"NATS/1.0 "  # how the broker's own words begin; with a message there is no blank
_Delivery = tuple[bytes, bytes, bytes, bytes]  # subject, where to acknowledge, data, headers


class MqttQueue:
    """Messages behind sequence `taken`, in order. `acknowledge` when they are in the log."""

    def __init__(self, client: WireClient) -> None:
        self.client = client
        self.js = client.jetstream(timeout=5)
        self.taken = 0  # every message up to here was returned, or was acknowledged before
        self.waiting = 0
        self._acknowledged = 0
        self._replies: list[tuple[int, str]] = []  # (sequence, where to acknowledge), ascending
        self._found: list[Message] = []
        self._subscription: Subscription | None = None
        self._came: deque[_Delivery] = deque()
        self._woken = asyncio.Event()
        self._inbox = ""
        self._asked = 0
        self._delivered = 0
        self._reconnects = 0
        self._heard = 0.0

    async def open(self) -> str:
        """Make the durable consumer; from then on the broker keeps every message for us. Returns the queue's epoch.

        Waits for the stream, which the broker makes at its first MQTT connection.
        """
        while True:
            try:
                await wait_connected(self.client)
                await self.js.add_consumer(
                    streams.MQTT,
                    ConsumerConfig(
                        durable_name=DURABLE,
                        deliver_policy=DeliverPolicy.ALL,
                        ack_policy=AckPolicy.ALL,
                        ack_wait=_ACK_WAIT_S,
                        max_ack_pending=_MAX_PENDING,
                        filter_subject=FILTER,
                    ),
                )
                return await streams.epoch(self.js, streams.MQTT)
            except nats.js.errors.NotFoundError:
                await asyncio.sleep(0.5)
            except PASSING as err:
                log.warning("mqtt.no_queue", error=str(err) or type(err).__name__)
                await asyncio.sleep(0.5)

    async def read(self, wait_s: float) -> list[Message]:
        """The next messages, in order; [] when none came within `wait_s`. Waits through failures of the broker."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                if self._subscription is None or self.client.stats["reconnects"] != self._reconnects:
                    await self._recover()
                if not self._found:
                    await self._deliveries(deadline)
                if self._found or time.monotonic() >= deadline:
                    found, self._found = self._found[:BATCH], self._found[BATCH:]
                    return found
            except PASSING as err:
                if self.client.is_closed:
                    raise
                log.warning("mqtt.read_anew", why=str(err) or type(err).__name__)
                await self._drop()
                await asyncio.sleep(0.2)

    async def acknowledge(self, upto: int) -> None:
        """Everything up to this sequence is in the log. Best effort: what comes again is known."""
        self._acknowledged = max(self._acknowledged, upto)
        reply = ""
        while self._replies and self._replies[0][0] <= upto:
            reply = self._replies.pop(0)[1]
        if reply:
            with contextlib.suppress(*PASSING):
                await self.client.publish(reply, b"+ACK")

    async def _recover(self) -> None:
        """Fetch what was delivered but never taken, then start asking with a fresh inbox."""
        await self._drop()
        await wait_connected(self.client)
        reconnects = self.client.stats["reconnects"]
        info = await self.js.consumer_info(streams.MQTT, DURABLE)
        floor = info.ack_floor.stream_seq if info.ack_floor else 0
        self.taken = max(self.taken, floor)
        upto = info.delivered.stream_seq if info.delivered else 0
        found: list[Message] = []
        at = self.taken
        while at < upto:
            message = await self._fetch(at + 1)
            if message is None or message.seq > upto:
                break
            found.append(message)
            at = message.seq
        if found:
            log.warning("mqtt.recovered", messages=len(found))
        self._found += found
        self.taken = max(self.taken, at)
        self._delivered = info.delivered.consumer_seq if info.delivered else 0
        self._inbox = self.client.new_inbox()
        # One that comes late from a connection given up meanwhile goes into that one's own queue, which nobody reads
        # any more. No more can come than was asked for.
        came: deque[_Delivery] = deque()
        self._came = came

        def arrived(*delivery: bytes) -> None:
            came.append(delivery)  # type: ignore[arg-type]
            self._woken.set()

        self._subscription = await self.client.subscribe_direct(self._inbox, arrived)
        self._asked, self._heard, self._reconnects = 0, time.monotonic(), reconnects

    async def _fetch(self, seq: int) -> Message | None:
        try:
            raw = await self.js.get_msg(streams.MQTT, seq, subject=FILTER, next=True)
        except nats.js.errors.NotFoundError:
            return None
        at_ms = int(raw.time.timestamp() * 1000) if raw.time else 0
        return Message(raw.seq or 0, raw.subject or "", raw.data or b"", raw.headers or {}, at_ms, 0)

    async def _drop(self) -> None:
        if self._subscription is not None:
            with contextlib.suppress(*PASSING):
                await self.client.unsubscribe_direct(self._subscription)
            self._subscription = None

    async def _ask(self) -> None:
        if self._asked >= BATCH // 2:
            return
        request = {"batch": BATCH, "expires": 30_000_000_000, "idle_heartbeat": int(_HEARTBEAT_S * 1e9)}
        self._asked += BATCH
        await self.client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{streams.MQTT}.{DURABLE}", json.dumps(request).encode(), reply=self._inbox
        )

    async def _deliveries(self, deadline: float) -> None:
        subscription = self._subscription
        while subscription is not None and len(self._found) < BATCH:
            if self.client.is_closed:
                raise nats.errors.ConnectionClosedError
            await self._ask()
            if not self._came:
                if self._found:
                    break
                self._woken.clear()
                wait_s = max(0.001, min(deadline - time.monotonic(), _HEARTBEAT_S))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), wait_s)
            if not self._came:
                if time.monotonic() - self._heard > 3 * _HEARTBEAT_S:
                    raise nats.errors.Error("not even a heartbeat") from None
                if time.monotonic() >= deadline:
                    break
                continue
            raw = self._came.popleft()
            self._heard = time.monotonic()
            if raw[3].startswith(_STATUS):
                self._status(raw[3])
            elif not await self._delivery(raw):
                break

    def _status(self, headers: bytes) -> None:
        code, _, words = headers[len(_STATUS) :].partition(b"\r\n")[0].decode("utf-8", "replace").partition(" ")
        if code == "100":
            return
        if code in ("404", "408") or (code == "409" and "Consumer" not in words and "Server" not in words):
            self._asked = 0
            return
        raise nats.errors.Error(f"{code} {words}")

    async def _delivery(self, raw: _Delivery) -> bool:
        """Take one delivery; False when one before it was lost, and everything is to be looked at again."""
        subject, where, data, _ = raw
        reply = where.decode("ascii")
        parts = reply.split(".")
        waiting, at_ns, consumer_seq, seq = (int(parts[-n]) for n in (1, 2, 3, 4))
        self._asked = max(0, self._asked - 1)
        if consumer_seq != self._delivered + 1:
            await self._drop()
            return False
        self._delivered, self.waiting = consumer_seq, waiting
        if seq <= self._acknowledged:  # its acknowledgement was lost
            await self.client.publish(reply, b"+ACK")
        elif seq > self.taken:
            self._replies.append((seq, reply))
            self._found.append(Message(seq, subject.decode("utf-8", "replace"), data, {}, at_ns // 1_000_000, waiting))
            self.taken = seq
        return True
