"""MQTT for devices: a front before the broker, which takes readings itself and answers them once they are on disk.

Readings of all connections that have sent something are read together, go to the log in one commit and are answered
together. All else (sessions, subscriptions, commands, retained messages, wills, births) is the broker's, which knows
each device by a connection of its own; who may come in is the broker's to say.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import structlog

from zhenan.telemetry.codecs.mqtt_packets import PASSED, TAKEN, Greeting, Packets, Segments, acknowledged, split
from zhenan.telemetry.codecs.rows import PAD
from zhenan.telemetry.codecs.samples import Payloads
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.bulk import PROTOCOL
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.mqtt_link import Device
from zhenan.telemetry.gateway.mqtt_messages import TELEMETRY, Messages
from zhenan.telemetry.gateway.quarantine import Refusal
from zhenan.telemetry.gateway.quick_mqtt import MESSAGES, QuickMqtt
from zhenan.telemetry.gateway.registry import Registry

log = structlog.get_logger("zhenan.gateway")
_TURN: Final = 262_144  # bytes that are read before others have their turn
_AT_ONCE: Final = 64  # connections to the broker that are being made
_SAME, _NAMELESS = 4, 256  # connections that wait for their welcome under one name, or under none


@dataclass(frozen=True)
class MqttLimits:
    """What one connection and all together may do. Times in seconds, sizes in bytes."""

    greeting_s: float = 10
    partial_s: float = 120
    drain_s: float = 30
    unanswered: int = 4096  # messages that wait for the disk
    kept: int = 64 * 1024 * 1024  # of half packets of all connections
    messages_per_s: float = 200
    burst: float = 1000
    connections: int = 20_000


class Front:
    """One TCP port.

    Args:
        broker: (host, port) of the broker's own MQTT.
        user: readings are taken of those who come under this name, which may report for every device; whoever comes
            under another is passed to the broker whole, which knows what that one may.
    """

    def __init__(self, broker: tuple[str, int], user: str, registry: Registry, intake: Intake, counters: Counters,
                 limits: MqttLimits | None = None) -> None:  # fmt: skip
        self.broker, self.user, self.registry, self.intake, self.counters = broker, user, registry, intake, counters
        self.limits = limits or MqttLimits()
        self.buckets = Buckets(self.limits.messages_per_s, self.limits.burst)
        self.messages = Messages(registry, intake, counters)
        self.quick = QuickMqtt(registry, intake, counters)
        self.open: set[Device] = set()
        self.kept = 0
        self.port = 0
        self._due: dict[Device, None] = {}
        self._working: asyncio.Handle | None = None
        self._packets = Packets.room(MESSAGES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._meeting = asyncio.Semaphore(_AT_ONCE)
        self.meeting: Counter[str] = Counter()  # names that wait for their welcome
        self._roomless: set[Device] = set()
        self.warming: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port (0 asks for any free one)."""
        more: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": 10, "ssl_shutdown_timeout": 2} if tls else {}
        await asyncio.to_thread(split, np.zeros(PAD, np.uint8), Segments.of([0]), Packets.room(1))  # compiled now
        self.warming = asyncio.create_task(self.quick.warm())
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Device(self), host, port, backlog=1024, **more)
        self.port = int(self._server.sockets[0].getsockname()[1])
        log.info("gateway.listening", protocol="mqtt", host=host, port=self.port, tls=tls is not None)
        return self.port

    async def stop(self, wait_s: float = 3.0) -> None:
        """Take no more; what was taken is answered as far as the log allows."""
        if self._server is not None:
            self._server.close()
        for device in list(self.open):
            device.farewell()
        for _ in range(int(wait_s * 100)):
            if not self.open:
                break
            await asyncio.sleep(0.01)
        for device in list(self.open):
            device.abort()
        for task in self._tasks:
            task.cancel()

    # connections

    def came(self, device: Device) -> None:
        """A connection more."""
        if len(self.open) >= self.limits.connections:
            self.counters.add("connections_refused", "mqtt")
            device.abort()
            return
        self.open.add(device)
        self.counters.add("connections", "mqtt")

    def met(self, device: Device) -> None:
        """It waits no more for its welcome."""
        self.meeting[device.client] -= 1
        if not self.meeting[device.client]:
            del self.meeting[device.client]

    def gone(self, device: Device) -> None:
        """A connection less."""
        if device.greeted and not device.welcome:
            self.met(device)
        self.open.discard(device)
        self._due.pop(device, None)
        self._roomless.discard(device)

    def introduce(self, device: Device, greeting: Greeting) -> None:
        """Bring a device to the broker, not too many at once.

        One name that waits for its welcome several times over is a sign that the broker's address leads back here.
        """
        device.client = greeting.client
        self.meeting[device.client] += 1
        if self.meeting[device.client] > (_SAME if device.client else _NAMELESS):
            self.counters.add("mqtt_broker_is_here")
            log.error("gateway.mqtt_broker_not_behind", broker=self.broker, hint="MQTT_URL is the broker's own port")
            device.abort()
            return

        async def meet() -> None:
            async with self._meeting:
                if not device.ending:
                    await device.meet(greeting)

        self._do(meet())

    def _do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def spoilt(self, device: Device, raw: bytes, reason: str) -> None:
        """What a device sends is no MQTT, or never ends: kept for the operator, and the connection is closed."""
        self.counters.add("bad_frames", f"mqtt.{reason}")
        refusal = Refusal(
            reason=quarantine.MALFORMED, protocol=PROTOCOL, device_key=device.client[:64], peer=device.peer,
            received_ms=time.time_ns() // 1_000_000, raw=raw[: quarantine.MAX_RAW], detail=f"MQTT: {reason}",
        )  # fmt: skip
        self.intake.take(refusals=[refusal])
        device.end()

    # work

    def due(self, device: Device) -> None:
        """It has sent something: read it together with what others send in this turn of the loop."""
        self._due[device] = None
        if self._working is None:
            self._working = asyncio.get_running_loop().call_soon(self._work)

    def now(self, device: Device) -> None:
        """Read at once what it has sent: there will be no more of it."""
        if device in self._due:
            del self._due[device]
            Turn(self, [device]).run()

    def _work(self) -> None:
        self._working = None
        devices: list[Device] = []
        size = 0
        while self._due and size < _TURN:
            device = next(iter(self._due))
            del self._due[device]
            devices.append(device)
            size += sum(map(len, device.chunks))
        if self._due:
            self._working = asyncio.get_running_loop().call_soon(self._work)
        Turn(self, devices).run()
        if self.intake.crowded:
            self._wait_for_room(devices)

    def _wait_for_room(self, devices: list[Device]) -> None:
        """Too much waits for the log: those who have sent are not read until there is room."""

        async def wait() -> None:
            await self.intake.room()
            waiting, self._roomless = self._roomless, set()
            for device in waiting:
                device.release("room")

        if not self._roomless:
            self._do(wait())
        for device in devices:
            if not device.ending:
                device.hold("room")
                self._roomless.add(device)

    def share(self, device: Device, who: str, messages: int, at_ms: int) -> None:
        """A device that sends more than its share is read more slowly; TCP makes it wait."""
        bucket = self.buckets.of(who, at_ms)
        bucket.spend(messages, at_ms)
        wait_ms = bucket.missing_ms(at_ms)
        if wait_ms > 0 and not device.ending:
            self.counters.add("slowed", "mqtt")
            device.hold("share")
            asyncio.get_running_loop().call_later(wait_ms / 1000, device.release, "share")

    def refused_long(self, device: Device, packet_id: int) -> None:
        """A message that was too long to be kept has ended: what was kept of it is on its way to quarantine."""
        device.asked(1)
        done = self.intake.take(refusals=[])
        self.answer_when(done, [(device, 1, acknowledged(np.array([packet_id])))])

    def answer_when(self, done: asyncio.Future[None], answers: list[tuple[Device, int, bytes]]) -> None:
        """Answer once it is on disk; where the log is lost to this process nothing more is acknowledged."""

        def told(future: asyncio.Future[None]) -> None:
            lost = future.cancelled() or future.exception() is not None
            for device, count, acks in answers:
                if lost:
                    device.abort()
                else:
                    device.answer(count, acks)

        done.add_done_callback(told)


class Turn:
    """What some connections have sent, read together."""

    def __init__(self, front: Front, devices: list[Device]) -> None:
        self.front, self.devices = front, devices
        pieces = [b"".join((device.tail, *device.chunks)) for device in devices]
        for device in devices:
            device.chunks.clear()
        self.raw = b"".join((*pieces, bytes(PAD)))
        self.data = np.frombuffer(self.raw, np.uint8)
        self.segments = Segments.of([len(piece) for piece in pieces])
        self.at_ms = time.time_ns() // 1_000_000

    def run(self) -> None:
        """Take readings, pass on the rest, keep what is not whole."""
        begin = self.segments.at.tolist()
        while True:
            count = split(self.data, self.segments, self.front._packets)
            if not count:
                break
            self._packets(self.front._packets.first(count))
        at, end, left = (column.tolist() for column in (self.segments.at, self.segments.end, self.segments.left))
        for n, device in enumerate(self.devices):
            device.left = left[n]
            if self.segments.bad[n]:
                self.front.spoilt(device, self.raw[at[n] : end[n]], "packet")
            elif device.tail or at[n] < end[n]:
                device.rest(self.raw[at[n] : end[n]], fresh=at[n] > begin[n])

    def _packets(self, packets: Packets) -> None:
        kind = packets.kind
        for n in np.flatnonzero(kind != TAKEN).tolist():
            device, piece = self.devices[packets.segment[n]], self.raw[packets.start[n] : packets.end[n]]
            device.passing = kind[n] == PASSED
            if device.passing:
                device.send_on(piece)
            else:
                self._long(device, packets, n)
        taken = np.flatnonzero(kind == TAKEN)
        if taken.size:
            self._take(Packets._make(column[taken] for column in packets))

    def _long(self, device: Device, packets: Packets, n: int) -> None:
        """The beginning of a message of readings that is too long; the rest of it is not kept."""
        front = self.front
        size = int(packets.end[n] - packets.body[n] + self.segments.left[packets.segment[n]])
        front.counters.add("bad_frames", f"{PROTOCOL}.too_long")
        refusal = Refusal(
            reason=quarantine.MALFORMED, protocol=PROTOCOL, device_key=self._name(packets, n)[:64], peer=device.peer,
            received_ms=self.at_ms, raw=self.raw[packets.body[n] : packets.end[n]][: quarantine.MAX_RAW],
            detail=f"too_long ({size} bytes, cut)",
        )  # fmt: skip
        front.intake.take(refusals=[refusal])
        device.owed = int(packets.id[n])

    def _name(self, packets: Packets, n: int) -> str:
        return self.raw[packets.name[n] : packets.name_end[n]].decode("utf-8", "replace")

    def _take(self, packets: Packets) -> None:
        """Messages of readings, all whole."""
        front = self.front

        def singly(n: int) -> asyncio.Future[None]:
            name, device = self._name(packets, n), self.devices[packets.segment[n]]
            data = self.raw[packets.body[n] : packets.end[n]]
            topic = f"d/{name}/up/{TELEMETRY}"
            return front.messages.take(topic, name, TELEMETRY, data, self.at_ms, peer=device.peer)

        payloads = Payloads(packets.name, packets.name_end, packets.body, packets.end)
        done = front.quick.take(self.data, payloads, self.at_ms, singly)
        if done is not None:
            front.answer_when(done, self._answers(packets))
        self._share(packets)

    def _answers(self, packets: Packets) -> list[tuple[Device, int, bytes]]:
        """(device, its messages, what it is to hear): a connection's packets lie side by side."""
        segment, ids = packets.segment, packets.id
        edges = [0, *(np.flatnonzero(np.diff(segment)) + 1).tolist(), segment.size]
        found = []
        for first, last in pairwise(edges):
            device, mine = self.devices[segment[first]], ids[first:last]
            acks = acknowledged(mine if mine.all() else mine[mine > 0])
            device.asked(last - first)
            found.append((device, last - first, acks))
        return found

    def _share(self, packets: Packets) -> None:
        """What each device has sent counts against its share; with strangers it is the connection's."""
        counts: dict[tuple[int, bytes], int] = {}
        raw = self.raw
        places = zip(packets.segment.tolist(), packets.name.tolist(), packets.name_end.tolist(), strict=True)
        for segment, first, last in places:
            key = segment, raw[first:last]
            counts[key] = counts.get(key, 0) + 1
        for (segment, name), messages in counts.items():
            device, who = self.devices[segment], name.decode("utf-8", "replace")
            known = self.front.registry.find(PROTOCOL, who) is not None
            self.front.share(device, who if known else device.peer, messages, self.at_ms)
