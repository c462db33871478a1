"""One device's MQTT connection and the one to the broker that stands behind it.

What the device sends goes on to the broker, and what the broker sends to the device; readings alone are kept here, and
answered here once they are on disk. The broker never hears of them, so the device's keep-alive is watched here as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from zhenan.telemetry.codecs import mqtt_packets
from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.mqtt_packets import DISCONNECT, Frames, Greeting, read_connect

if TYPE_CHECKING:
    from zhenan.telemetry.gateway.mqtt_front import Front

log = structlog.get_logger("zhenan.gateway")
_TICK_S: Final = 5.0


class Broker(asyncio.Protocol):
    """The broker's end of a device's connection."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.transport: Any = None
        self.frames = Frames()
        self._greeting = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        device = self.device
        if not device.welcome:
            self._greeting += data
            if len(self._greeting) < 4:
                return
            data, self._greeting = self._greeting, b""
            device.welcomed(accepted=data[0] == mqtt_packets.CONNACK and data[3] == 0)
        try:
            self.frames.feed(data)
        except CodecError:
            log.warning("gateway.mqtt_broker_garbled", peer=device.peer)
            device.abort()
            return
        device.pass_on(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.device.left_alone()

    def pause_writing(self) -> None:
        self.device.hold("broker")

    def resume_writing(self) -> None:
        self.device.release("broker")


class Device(asyncio.Protocol):
    """A device's end. `tail`: the beginning of a packet that is not all here; `left`: bytes still to come of one that
    is not kept, which go to the broker where `passing`, else nowhere."""

    def __init__(self, front: Front) -> None:
        self.front, self.limits = front, front.limits
        self.transport: Any = None
        self.broker: Broker | None = None
        self.peer, self.client = "", ""
        self.chunks: list[bytes] = []
        self.tail = b""
        self.left, self.passing, self.owed = 0, False, 0
        self.greeted = False  # it has said who it is
        self.welcome = False  # the broker has let it in
        self.takes = False  # its readings are taken here
        self.ending = False
        self.unanswered = 0
        self.why: set[str] = set()
        self.held = b""
        self.keepalive_s = 0.0
        self.heard = self.partial_since = self.stuck_since = 0.0
        self.timer: asyncio.TimerHandle | None = None

    # transport

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        peer = transport.get_extra_info("peername") or ("?", 0)
        self.peer = f"{peer[0]}:{peer[1]}"
        self.heard = self.partial_since = time.monotonic()
        self.front.came(self)
        self._again()

    def data_received(self, data: bytes) -> None:
        if self.ending:
            return
        self.heard = time.monotonic()
        if self.welcome:
            self._received(data)
            return
        self._keep(self.tail + data)
        if self.front.kept > self.limits.kept:
            self.front.spoilt(self, self.tail, "too much is half said")
        elif not self.greeted:
            self._greet()

    def _received(self, data: bytes) -> None:
        if not self.takes:
            self.send_on(data)
            return
        if self.left and not self.chunks:
            data = self._stream(data)
        if data:
            self.chunks.append(data)
            self.front.due(self)

    def _stream(self, data: bytes) -> bytes:
        """What is behind the packet whose rest is not kept."""
        part, rest = data[: self.left], data[self.left :]
        self.left -= len(part)
        if self.passing:
            self.send_on(part)
        if not self.left and self.owed:
            self.front.refused_long(self, self.owed)
            self.owed = 0
        return rest

    def eof_received(self) -> bool:
        self.front.now(self)  # some say what they have to say and go
        self.end()
        return not self.transport.is_closing()  # half closed: what came whole is still answered

    def connection_lost(self, exc: Exception | None) -> None:
        self.front.now(self)
        self.ending = True
        if self.timer is not None:
            self.timer.cancel()
        self._keep(b"")
        self.chunks.clear()
        self.front.gone(self)
        if self.broker is not None and self.broker.transport is not None:
            self.broker.transport.close()

    def pause_writing(self) -> None:
        self.stuck_since = time.monotonic()
        self.hold("device")
        if self.broker is not None and self.broker.transport is not None:
            with contextlib.suppress(RuntimeError):
                self.broker.transport.pause_reading()

    def resume_writing(self) -> None:
        self.stuck_since = 0.0
        self.release("device")
        if self.broker is not None and self.broker.transport is not None:
            with contextlib.suppress(RuntimeError):
                self.broker.transport.resume_reading()

    # reading on, or not

    def hold(self, why: str) -> None:
        """Read nothing until it is released."""
        if not self.why and not self.transport.is_closing():
            self.transport.pause_reading()
        self.why.add(why)

    def release(self, why: str) -> None:
        """One reason less not to read."""
        if why not in self.why:
            return
        self.why.discard(why)
        if not self.why and not self.transport.is_closing():
            self.heard = time.monotonic()
            self.transport.resume_reading()

    def _keep(self, tail: bytes) -> None:
        self.front.kept += len(tail) - len(self.tail)
        self.tail = tail

    def rest(self, tail: bytes, *, fresh: bool) -> None:
        """The beginning of a packet, until the rest of it comes. `fresh`: it has only just begun."""
        if fresh or not self.tail:
            self.partial_since = time.monotonic()
        self._keep(tail)
        if self.front.kept > self.limits.kept and tail:
            self.front.spoilt(self, tail, "too much is half said")

    # the greeting

    def _greet(self) -> None:
        try:
            greeting = read_connect(self.tail)
        except CodecError as err:
            self.front.spoilt(self, self.tail, err.reason)
            return
        if greeting is not None:
            self.greeted = True
            self.hold("welcome")
            self.front.introduce(self, greeting)

    async def meet(self, greeting: Greeting) -> None:
        """Connect to the broker and pass the CONNECT on, without its keep-alive: that is watched here."""
        loop = asyncio.get_running_loop()
        broker = self.broker = Broker(self)
        try:
            async with asyncio.timeout(self.limits.greeting_s):
                await loop.create_connection(lambda: broker, *self.front.broker)
        except (OSError, TimeoutError) as err:
            self.front.counters.add("mqtt_broker_away")
            log.warning("gateway.mqtt_broker_away", error=str(err) or type(err).__name__)
            self.abort()
            return
        if self.ending:
            broker.transport.close()
            return
        self.keepalive_s = 1.5 * greeting.keepalive_s
        self.takes = greeting.level == 4 and greeting.user == self.front.user
        said = bytearray(self.tail[: greeting.end])
        said[greeting.keepalive_at : greeting.keepalive_at + 2] = b"\0\0"
        self._keep(self.tail[greeting.end :])
        broker.transport.write(bytes(said))

    def welcomed(self, *, accepted: bool) -> None:
        """The broker has answered."""
        self.welcome = True
        self.front.met(self)
        self.partial_since = time.monotonic()
        if not accepted:  # it closes the connection itself
            self._keep(b"")
            self.ending = True
            return
        early = self.tail
        self._keep(b"")
        if early:
            self._received(early)
        self.release("welcome")

    # answering

    def send_on(self, data: bytes) -> None:
        """To the broker."""
        if self.broker is not None and not self.broker.transport.is_closing():
            self.broker.transport.write(data)

    def pass_on(self, data: bytes) -> None:
        """From the broker to the device; between two packets the answers of ours."""
        if self.transport.is_closing():
            return
        if self.broker is not None and self.broker.frames.between and self.held:
            data, self.held = data + self.held, b""
        self.transport.write(data)

    def asked(self, count: int) -> None:
        """So many messages more wait for their answers."""
        self.unanswered += count
        if self.unanswered >= self.limits.unanswered:
            self.hold("answers")

    def answer(self, count: int, acks: bytes) -> None:
        """So many messages are on disk."""
        self.unanswered -= count
        if self.unanswered <= self.limits.unanswered // 2:
            self.release("answers")
        if acks and not self.transport.is_closing():
            if self.broker is None or self.broker.frames.between:
                self.transport.write(acks)
            else:
                self.held += acks
        if self.ending and not self.unanswered:
            self.transport.close()

    # the end

    def left_alone(self) -> None:
        """The broker has closed the connection."""
        self.front.now(self)
        self.end()

    def end(self) -> None:
        """Read no more; what was taken is still answered."""
        self.ending = True
        self.hold("end")
        if self.broker is not None and self.broker.transport is not None:
            self.broker.transport.close()
        if not self.unanswered and self.transport is not None:
            self.transport.close()

    def farewell(self) -> None:
        """The gateway stops: no fault of the device's, so that its will is not told."""
        if self.welcome and not self.ending:
            self.send_on(DISCONNECT)
        self.end()

    def abort(self) -> None:
        """Away with it, unanswered."""
        self.ending = True
        if self.broker is not None and self.broker.transport is not None:
            self.broker.transport.abort()
        if self.transport is not None:
            self.transport.abort()

    def _again(self) -> None:
        self.timer = asyncio.get_running_loop().call_later(_TICK_S, self._look)

    def _look(self) -> None:
        """What has lasted too long?"""
        now, limits, counters = time.monotonic(), self.limits, self.front.counters
        self._again()
        if not self.welcome and now - self.partial_since > limits.greeting_s:
            counters.add("idle", "mqtt")
            self.abort()
        elif self.stuck_since and now - self.stuck_since > limits.drain_s:
            self.abort()
        elif self.welcome and not self.why and self.keepalive_s and now - self.heard > self.keepalive_s:
            counters.add("idle", "mqtt")
            self.abort()  # without a farewell: the broker tells its will
        elif self.welcome and not self.why and self.tail and now - self.partial_since > limits.partial_s:
            self.front.spoilt(self, self.tail, "half a packet")
