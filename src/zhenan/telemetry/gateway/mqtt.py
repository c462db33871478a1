"""JSON over MQTT from the broker: the queue of QoS 1 exactly once into the log, and QoS 0 as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import structlog

from zhenan.telemetry.codecs.rows import PAD
from zhenan.telemetry.codecs.samples import Payloads
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.mqtt_messages import TELEMETRY, Messages
from zhenan.telemetry.gateway.mqtt_queue import MqttQueue
from zhenan.telemetry.gateway.quick_mqtt import QuickMqtt
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.log.connect import PASSING
from zhenan.telemetry.log.follower import Message
from zhenan.telemetry.log.wire import WireClient

QOS: Final = b"\r\nNmqtt-Pub:"
_PREFIX: Final = "$MQTT.msgs."
_TURN_S: Final = 0.005
_TOGETHER: Final = 256
_MAX_TOPICS: Final = 200_000
_TOPICS: dict[str, tuple[str, str]] = {}  # subjects come again and again
log = structlog.get_logger("zhenan.gateway")


def topic_of(subject: str) -> tuple[str, str]:
    """(device, what) of a NATS subject such as d.<device>.up.telemetry; a dot inside a topic level arrives as //.

    ("", subject) when it is not a topic of a device.
    """
    known = _TOPICS.get(subject)
    if known is None:
        if len(_TOPICS) >= _MAX_TOPICS:
            _TOPICS.clear()
        known = _TOPICS[subject] = _read_topic(subject)
    return known


def _read_topic(subject: str) -> tuple[str, str]:
    levels = [level.replace("\x00", ".") for level in subject.replace("//", "\x00").split(".")]
    if len(levels) < 4 or levels[0] != "d" or levels[2] != "up":
        return "", subject
    return levels[1], "/".join(levels[3:])


class MqttListener:
    """What the broker has of MQTT devices: telemetry, birth, will, answers to orders."""

    def __init__(self, client: WireClient, registry: Registry, intake: Intake, counters: Counters, *,
                 messages_per_s: float = 200, burst: float = 1000) -> None:  # fmt: skip
        self.client, self.intake = client, intake
        self.queue = MqttQueue(client)
        self.buckets = Buckets(messages_per_s, burst)
        self.messages = Messages(registry, intake, counters, self.buckets)
        self.quick = QuickMqtt(registry, intake, counters)
        self.warming: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()  # from then on the broker keeps for us what devices send

    async def open(self) -> None:
        """Find where the log stands in the queue. After `intake.open`, before anything is taken."""
        self.warming = asyncio.create_task(self.quick.warm())
        self.intake.epoch = await self.queue.open()
        resumed = self.intake.resumed
        if resumed.epoch and resumed.epoch != self.intake.epoch:
            log.warning("mqtt.queue_is_new", was=resumed.epoch, epoch=self.intake.epoch)
            resumed.sequences, resumed.kept = [0] * self.intake.lanes, frozenset()
        await self.client.subscribe_direct("d.*.up.>", self._at_most_once)
        with contextlib.suppress(*PASSING):
            await self.client.flush()
        self.ready.set()

    async def run(self) -> None:
        """Take the queue into the log, for ever."""
        acknowledging: set[asyncio.Task[None]] = set()
        while True:
            await self.intake.room()
            messages = await self.queue.read(1.0)
            if not messages:
                continue
            last: asyncio.Future[None] | None = None
            began = time.monotonic()
            for first in range(0, len(messages), _TOGETHER):
                last = self._queued(messages[first : first + _TOGETHER]) or last
                if time.monotonic() - began > _TURN_S:  # let commits and other devices have their turn
                    await asyncio.sleep(0)
                    await self.intake.room()
                    began = time.monotonic()
            task = asyncio.create_task(self._acknowledge(last, messages[-1].seq))
            acknowledging.add(task)
            task.add_done_callback(acknowledging.discard)

    async def _acknowledge(self, done: asyncio.Future[None] | None, upto: int) -> None:
        if done is not None:
            await asyncio.shield(done)
        await self.queue.acknowledge(upto)

    def _queued(self, messages: Sequence[Message]) -> asyncio.Future[None] | None:
        """Take messages of the queue; None when the log has them already."""
        resumed, last = self.intake.resumed.sequences, None
        torn = max(resumed)
        # Those of a commit that was torn by a kill are told apart one by one.
        first = 0
        while first < len(messages) and messages[first].seq <= torn:
            if messages[first].seq > resumed[0]:
                last = self._singly(messages[first])
            first += 1
        return self._together(messages[first:]) or last

    def _together(self, messages: Sequence[Message]) -> asyncio.Future[None] | None:
        if not messages:
            return None
        pieces: list[bytes] = []
        for message in messages:
            device, what = topic_of(message.subject.removeprefix(_PREFIX))
            pieces += (device.encode() if what == TELEMETRY else b"", message.data)
        ends = np.cumsum([len(piece) for piece in pieces])
        names, bodies = ends[0::2], ends[1::2]
        payloads = Payloads(np.concatenate(([0], bodies[:-1])), names, names, bodies)
        data = np.frombuffer(b"".join((*pieces, bytes(PAD))), np.uint8)
        queued = np.array([message.seq for message in messages])
        came_ms = min(message.at_ms for message in messages)
        return self.quick.take(data, payloads, came_ms, lambda n: self._singly(messages[n]), queued, self.buckets)

    def _singly(self, message: Message) -> asyncio.Future[None]:
        return self._take(message.subject.removeprefix(_PREFIX), message.data, message.at_ms, message.seq)

    def _at_most_once(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """QoS 0: taken when we are here, promised nothing. Those of QoS 1 are in the queue too and are left to it."""
        if QOS not in headers or headers.partition(QOS)[2].lstrip().startswith(b"0"):
            self._take(subject.decode("utf-8", "replace"), data, time.time_ns() // 1_000_000, 0)

    def _take(self, subject: str, data: bytes, at_ms: int, seq: int) -> asyncio.Future[None]:
        return self.messages.take(subject, *topic_of(subject), data, at_ms, seq=seq)
