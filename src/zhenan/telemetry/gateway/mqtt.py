"""JSON over MQTT: the queue of QoS 1 exactly once into the log, and QoS 0 as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import time
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog

from zhenan.telemetry.codecs import mqtt_json
from zhenan.telemetry.codecs.base import BAD, GOOD, CodecError
from zhenan.telemetry.codecs.mqtt_json import Payload
from zhenan.telemetry.codecs.rows import EARLIEST_MS
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.message_key import DIGEST
from zhenan.telemetry.gateway.mqtt_queue import MqttQueue
from zhenan.telemetry.gateway.quarantine import Refusal
from zhenan.telemetry.gateway.registry import FUTURE_MS, Device, Registry, Rows, map_readings, shown
from zhenan.telemetry.log.connect import PASSING
from zhenan.telemetry.log.follower import Message
from zhenan.telemetry.log.wire import WireClient

PROTOCOL: Final = "mqtt_json"
QOS: Final = b"\r\nNmqtt-Pub:"
_PREFIX: Final = "$MQTT.msgs."
_TURN_S: Final = 0.005
_MAX_TOPICS: Final = 200_000
_TOPICS: dict[str, tuple[str, str]] = {}  # subjects come again and again
_DECODER: Final = msgspec.json.Decoder()
log = structlog.get_logger("zhenan.gateway")


class Refuse(Protocol):
    """Note a refusal of the message in hand."""

    def __call__(self, reason: str, detail: str, count: int = 1, decoded: object = None) -> None: ...


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
    """Telemetry of MQTT devices. The topic's device is the identity; what a payload says of itself is not believed."""

    def __init__(self, client: WireClient, registry: Registry, intake: Intake, counters: Counters, *,
                 messages_per_s: float = 200, burst: float = 1000) -> None:  # fmt: skip
        self.client, self.registry, self.intake, self.counters = client, registry, intake, counters
        self.queue = MqttQueue(client)
        self.buckets = Buckets(messages_per_s, burst)
        self.notes: Callable[[str, str, bytes, int], bool] | None = None  # birth, will, answers to orders
        self.ready = asyncio.Event()  # from then on the broker keeps for us what devices send

    async def open(self) -> None:
        """Find where the log stands in the queue. After `intake.open`, before anything is taken."""
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
            for message in messages:
                last = self._queued(message) or last
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

    def _queued(self, message: Message) -> asyncio.Future[None] | None:
        """Take one message of the queue; None when the log has it already."""
        if message.seq <= self.intake.resumed.sequences[0]:
            return None
        subject = message.subject.removeprefix(_PREFIX)
        return self._take(subject, message.data, message.at_ms, message.seq)

    def _at_most_once(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """QoS 0: taken when we are here, promised nothing. Those of QoS 1 are in the queue too and are left to it."""
        if QOS not in headers or headers.partition(QOS)[2].lstrip().startswith(b"0"):
            self._take(subject.decode("utf-8", "replace"), data, time.time_ns() // 1_000_000, 0)

    def _take(self, subject: str, data: bytes, at_ms: int, seq: int) -> asyncio.Future[None]:
        self.counters.add("frames", PROTOCOL)
        device, what = topic_of(subject)
        refusals: list[Refusal] = []

        def refuse(reason: str, detail: str, count: int = 1, decoded: object = None) -> None:
            refusals.append(
                Refusal(reason=reason, protocol=PROTOCOL, device_key=device[:64], received_ms=at_ms, raw=data,
                        decoded=decoded, detail=detail[:300], count=count, source_seq=seq)
            )  # fmt: skip

        rows: Rows | None = None
        if not device:
            refuse(quarantine.MALFORMED, f"topic {subject[:200]}")
        elif what == "telemetry":
            rows = self._telemetry(device, data, at_ms, refuse)
        else:
            self.counters.add("mqtt_notes", what.partition("/")[0] if what.isascii() else "other")
            known = self.registry.find(PROTOCOL, device)
            if known is not None and self.notes is not None and not self.notes(known.key, what, data, at_ms):
                refuse(quarantine.BODY, f"{what[:40]}: cannot be read")
        key = None
        if refusals:
            # A client that reconnects sends once more what was not PUBACKed to it: refused once is enough. (Of readings
            # that were taken the copy is known by its time, further on.)
            key = hashlib.blake2b(subject.encode() + b"\0" + data, digest_size=DIGEST).digest()
            if self.intake.again(key) is not None:
                self.counters.add("again", PROTOCOL)
                refusals, key = [], None
        return self.intake.take(rows, key=key, refusals=refusals, source_seq=seq)

    def _telemetry(self, key: str, data: bytes, at_ms: int, refuse: Refuse) -> Rows | None:
        device = self.registry.find(PROTOCOL, key)
        if device is not None and (rows := plain_sample(device, data, at_ms)) is not None:
            if self.buckets.of(key, at_ms).take(at_ms):
                return rows
            refuse(quarantine.FLOOD, f"more than {self.buckets.rate_per_s:g} messages/s", max(1, len(rows)))
            return None
        try:
            read = device.layout.decode if device and device.layout else mqtt_json.decode
            payload = read(data, at_ms, device=key, words=device.words if device else None)
        except CodecError as err:
            self.counters.add("bad_frames", f"{PROTOCOL}.{err.reason}")
            refuse(quarantine.MALFORMED, err.reason)
            return None
        said = len(payload.readings) + len(payload.errors)
        if device is None:
            refuse(quarantine.UNKNOWN, "", max(1, said), {"readings": shown(payload.readings[:200])})
            return None
        if not self.buckets.of(key, at_ms).take(at_ms):
            refuse(quarantine.FLOOD, f"more than {self.buckets.rate_per_s:g} messages/s", max(1, said))
            return None
        return self._of_device(device, payload, at_ms, refuse)

    def _of_device(self, device: Device, payload: Payload, at_ms: int, refuse: Refuse) -> Rows:
        mapped = map_readings(device, payload.readings, at_ms)
        if mapped.future:
            refuse(quarantine.FUTURE, "the device's clock is ahead", len(mapped.future),
                   {"readings": shown(mapped.future[:200])})  # fmt: skip
        if mapped.unmapped:
            names = ", ".join(sorted(set(mapped.unmapped))[:8])
            self.counters.add("unmapped", PROTOCOL, len(mapped.unmapped))
            refuse(quarantine.UNMAPPED, names, len(mapped.unmapped))
        if payload.errors:
            self.counters.add("bad_items", PROTOCOL, len(payload.errors))
            errors = msgspec.to_builtins(payload.errors[:50])
            first = payload.errors[0]
            refuse(quarantine.BODY, f"{first.where}: {first.reason}", len(payload.errors), {"errors": errors})
        return mapped.rows


def plain_sample(device: Device, data: bytes, at_ms: int) -> Rows | None:
    """The readings of {"ts": UTC ms, "values": {channel: number, …}} where nothing of it asks for more than a look-up;
    None: `mqtt_json.decode` and the register are to be asked. Says what they say."""
    if device.layout is not None or len(data) > mqtt_json.MAX_PAYLOAD:
        return None
    try:
        document = _DECODER.decode(data)
    except (ValueError, RecursionError):
        return None
    if type(document) is not dict or len(document) != 2:
        return None
    ts, values = document.get("ts"), document.get("values")
    if type(ts) is not int or type(values) is not dict or not EARLIEST_MS <= ts <= at_ms + FUTURE_MS:
        return None
    if len(values) > mqtt_json.MAX_KEYS:
        return None
    rows = Rows()
    for name, value in values.items():
        points = device.channels.get(name)
        if points is None or len(points) != 1 or points[0].bit is not None or type(value) not in (int, float):
            return None
        point = points[0]
        try:
            number = float(value) * point.scale + point.offset
        except OverflowError:
            return None
        if not math.isfinite(number):
            return None
        rows.add(point.id, ts, number, GOOD if point.low <= number <= point.high else BAD)
    return rows
