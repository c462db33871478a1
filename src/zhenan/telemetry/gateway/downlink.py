"""Commands to devices: from a subject of the broker to the connection that has the device, and what came of them back.

Whoever wants something of a device publishes an Order to `down.ask.<protocol>.<device>`. Every gateway hears it; the
one that holds the device's connection takes it, sends it, again after each time-out, and tells on
`down.said.<protocol>.<device>`: sent, then accepted, confirmed, denied, timed_out, or lost (the connection ended
first). A gateway without the connection says nothing, so an order that nobody answers is for a device that is not
here. Orders may be published again: one that is under way is not begun twice, and of one that has ended the end is
told again.

Both subjects are core NATS, not a stream: the order's row in the database is what lasts, and its sender asks until it
knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from zhenan.telemetry.codecs import commands
from zhenan.telemetry.codecs.base import Decoded
from zhenan.telemetry.codecs.commands import Command, Said
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.log.connect import PASSING
from zhenan.telemetry.log.tasks import end

log = structlog.get_logger("zhenan.gateway")
ASK: Final = "down.ask"
MQTT: Final = "mqtt_json"
SAID: Final = "down.said"
MAX_WAITING: Final = 32  # orders of one device at a time
REMEMBERED: Final = 10_000
TICK_S: Final = 2.0
MAX_REPLY: Final = 64_000  # bytes of what a device answers that are passed on
FINAL: Final = frozenset({"confirmed", "denied", "timed_out"})


class Order(msgspec.Struct):
    """What a device is to do. `id` names it for ever; `args` as `commands.checked` gives them; `key`: as registered."""

    id: int
    protocol: str
    key: str
    command: str
    args: dict[str, Any]
    options: dict[str, Any] = {}  # what belongs to the device and not to the command, such as its password
    until_ms: int = 0  # worth nothing after this; 0: no end


class Told(msgspec.Struct, omit_defaults=True):
    """What became of an order, or (`id` 0) what a device says of itself: here, gone, online, offline, guard, reply.

    `tries`: how often it was sent. `data`: what the device answered.
    """

    protocol: str
    key: str
    state: str
    id: int = 0
    at_ms: int = 0
    error: str = ""
    tries: int = 0
    gateway: str = ""
    data: Any = None


class Asking(Protocol):
    """What a connection's session must be able to do to be told something."""

    protocol: str

    def ask(self, command: Command, order: Order, now_ms: int) -> tuple[Any, bytes]:
        """(what an answer will repeat, the frame). Raises ValueError when it cannot be written."""
        ...

    def said(self, command: Command, decoded: Decoded) -> Said | None:
        """What a frame says to the command."""
        ...

    def due(self, now_ms: int) -> Sequence[bytes]:
        """Frames to send now without anyone having asked: what lacks of a message, what was not answered."""
        ...


@dataclass(eq=False)
class Link:
    """One device's connection, as far as orders go."""

    session: Asking
    key: str
    write: Callable[[bytes], None]
    close: Callable[[], None]
    waiting: dict[Any, _Waiting] = field(default_factory=dict)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    orders: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


@dataclass
class _Waiting:
    command: Command
    said: asyncio.Queue[Said]


@dataclass(frozen=True)
class Patience:
    """How long to wait for an answer before sending again (s), how often at most, and for an outcome once accepted."""

    answer_s: float = 10.0
    resends: int = 3
    outcome_s: float = 60.0

    def waits(self, protocol: str) -> list[float]:
        """The wait after the first sending and after each further one. Of JT/T 808 T, and T(n+1) = T(n)·(n+1)."""
        grown = protocol == "jt808"
        return [self.answer_s * (math.factorial(n + 1) if grown else 1) for n in range(1 + self.resends)]


# GB/T 26875.3: at most ten seconds and three resends; HJ 212: ten seconds over the air and three resends, where the
# device was not told otherwise (OverTime, ReCount). JT/T 808 leaves T to the parties: it grows to twenty-four of it.
PATIENCE: Final = {"gb26875": Patience(), "hj212": Patience(), "jt808": Patience(answer_s=5.0)}


def patience_of(protocol: str, options: Mapping[str, Any], asked: Patience | None = None) -> Patience:
    """How patient to be with a device: as asked for, or as its protocol has it, and as the device itself was told."""
    found = asked or PATIENCE.get(protocol, Patience())
    if "overtime_s" in options and "recount" in options:
        return replace(found, answer_s=float(options["overtime_s"]), resends=int(options["recount"]))
    return found


class Clock:
    """The time, and waiting for something no longer than so long."""

    def now_ms(self) -> int:
        return now_ms()

    async def within(self, wait_s: float, coming: Coroutine[Any, Any, Said]) -> Said | None:
        """What comes, or None when it does not come in time."""
        try:
            return await asyncio.wait_for(coming, wait_s)
        except TimeoutError:
            return None


def token(text: str) -> str:
    """A device's identity as one token of a subject."""
    return quote(text, safe="").replace(".", "%2E").replace("~", "%7E") or "%00"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Downlink:
    """The orders of one gateway. `open` once; sessions come with `here` and go with `gone`."""

    def __init__(
        self, client: Client | None, counters: Counters, *, source: str = "gateway", patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.client, self.counters, self.source = client, counters, source
        self.patience, self.clock = patience, clock or Clock()  # patience None: as each protocol has it
        self._links: dict[tuple[str, str], Link] = {}
        self._ended: OrderedDict[int, Told] = OrderedDict()
        self._under_way: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscription: Subscription | None = None

    async def open(self) -> None:
        """Hear orders from now on."""
        if self.client is not None:
            self._subscription = await self.client.subscribe(f"{ASK}.>", cb=self._asked)

    async def close(self) -> None:
        """Take no more orders; those under way are left to be asked for again."""
        if self._subscription is not None:
            with contextlib.suppress(*PASSING):
                await self._subscription.unsubscribe()
        await end([*self._tasks, *(task for link in self._links.values() for task in link.tasks)])

    # connections

    def here(self, session: Asking, key: str, write: Callable[[bytes], None], close: Callable[[], None]) -> Link:
        """A device is on this connection from now on; an older connection of its gets no more orders.

        Of JT/T 808, where a connection is signed in, the older one is closed: the newest wins.
        """
        link = Link(session, key, write, close)
        older = self._links.get((session.protocol, key))
        self._links[session.protocol, key] = link
        if older is not None:
            self._drop(older)
            if session.protocol == "jt808":
                self.counters.add("superseded", session.protocol)
                older.close()
        self.tell(Told(session.protocol, key, "here"))
        return link

    def gone(self, link: Link) -> None:
        """The connection has ended."""
        if self._links.get((link.session.protocol, link.key)) is link:
            del self._links[link.session.protocol, link.key]
            self.tell(Told(link.session.protocol, link.key, "gone"))
        self._drop(link)

    def _drop(self, link: Link) -> None:
        for task in list(link.tasks):
            task.cancel()

    def heard(self, link: Link, key: Any, decoded: Decoded) -> bool:
        """A frame that may answer one of our orders came. Whether it did."""
        waiting = link.waiting.get(key)
        said = link.session.said(waiting.command, decoded) if waiting is not None else None
        if waiting is None or said is None:
            return False
        waiting.said.put_nowait(said)
        return True

    def tell(self, told: Told) -> None:
        """Publish what became of an order, or what a device says."""
        if self.client is None:
            return
        told.at_ms, told.gateway = told.at_ms or now_ms(), self.source
        data = msgspec.json.encode(told)
        if len(data) > MAX_REPLY:
            told.data = None
            data = msgspec.json.encode(told)
        task = asyncio.ensure_future(self._publish(f"{SAID}.{told.protocol}.{token(told.key)}", data))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _publish(self, subject: str, data: bytes) -> None:
        assert self.client is not None  # noqa: S101
        with contextlib.suppress(*PASSING):  # lost: whoever waits for it asks again
            await self.client.publish(subject, data)

    def note(self, key: str, what: str, data: bytes, at_ms: int) -> bool:
        """What an MQTT device says beside telemetry: `state` (birth, last will) and `reply/<id>`. False: unreadable.

        Other topics are the device's own affair.
        """
        kind, _, number = what.partition("/")
        if kind not in ("state", "reply"):
            return True
        try:
            said = msgspec.json.decode(data) if len(data) <= MAX_REPLY else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            said = None
        if not isinstance(said, dict):
            return False
        if kind == "state":
            if not isinstance(said.get("online"), bool):
                return False
            self.tell(Told(MQTT, key, "online" if said["online"] else "offline", at_ms=at_ms))
            return True
        if not (number.isascii() and number.isdigit() and 0 < len(number) < 19):
            return False
        good = said.get("ok", said.get("success", True))
        error = "" if good is True else str(said.get("error", "") or "failed")[:200]
        self.tell(
            Told(MQTT, key, "denied" if error else "confirmed", int(number), at_ms=at_ms, error=error, data=said)
        )  # fmt: skip
        return True

    async def run(self) -> None:
        """Let sessions do what is due by the clock, for ever."""
        while True:
            await asyncio.sleep(TICK_S)
            at = now_ms()
            for link in list(self._links.values()):
                for frame in link.session.due(at):
                    link.write(frame)

    # orders

    async def _asked(self, message: Msg) -> None:
        try:
            order = msgspec.json.decode(message.data, type=Order)
        except msgspec.DecodeError:
            self.counters.add("orders_refused", "unreadable")
            return
        self.take(order)

    def take(self, order: Order) -> None:
        """Begin an order for a device that is here; for any other do nothing."""
        if order.id in self._ended:
            self.tell(self._ended[order.id])
            return
        link = self._links.get((order.protocol, order.key))
        if link is None or order.id in self._under_way:
            return
        told = Told(order.protocol, order.key, "denied", order.id)
        command = commands.find(order.protocol, order.command)
        try:
            if command is None:
                raise ValueError("unknown_command")
            order.args = commands.checked(command, order.args)
        except ValueError as err:
            self._end(told, "denied", str(err))
            return
        if link.orders >= MAX_WAITING:
            self.counters.add("orders_refused", "too_many")
            return  # it stays in the queue and is asked for again
        link.orders += 1
        self._under_way.add(order.id)
        task = asyncio.ensure_future(self._do(link, command, order))
        link.tasks.add(task)
        task.add_done_callback(link.tasks.discard)

    async def _do(self, link: Link, command: Command, order: Order) -> None:
        told = Told(order.protocol, order.key, "lost", order.id)
        try:
            async with link.turn:  # one after the other: simple devices know one exchange at a time
                if self._left_s(order) <= 0:
                    self._end(told, "timed_out", "expired")
                    return
                await self._exchange(link, command, order, told)
        except asyncio.CancelledError:
            told.state, told.error = "lost", "connection"
            self.tell(told)
            raise
        except ValueError as err:
            self._end(told, "denied", str(err)[:300])
        finally:
            link.orders -= 1
            self._under_way.discard(order.id)

    async def _exchange(self, link: Link, command: Command, order: Order, told: Told) -> None:
        key, frame = link.session.ask(command, order, self.clock.now_ms())
        waiting = _Waiting(command, asyncio.Queue())
        link.waiting[key] = waiting
        patience = patience_of(order.protocol, order.options, self.patience)
        collected: Any = None
        try:
            said = await self._send(link, waiting, frame, order, told, patience)
            if said is None:
                self._end(told, "timed_out", "no_answer")
                return
            while said.state == "accepted":
                collected = said.data if said.data is not None else collected
                if order.protocol == "gb26875":  # the outcome of a patrol is a report of its own: `guard`
                    self._end(told, "accepted", "")
                    return
                self.tell(Told(order.protocol, order.key, "accepted", order.id, tries=told.tries, data=collected))
                said = await self.clock.within(patience.outcome_s, waiting.said.get())
                said = said or Said("timed_out", "no_outcome")
            told.data = said.data if said.data is not None else collected
            self._end(told, said.state, said.error)
        finally:
            del link.waiting[key]

    async def _send(
        self, link: Link, waiting: _Waiting, frame: bytes, order: Order, told: Told, patience: Patience
    ) -> Said | None:
        """Send the frame, and again after each wait, until something is said; None when nothing is, or it is too
        late."""
        for wait_s in patience.waits(order.protocol):
            left_s = self._left_s(order)
            if left_s <= 0:
                break
            told.tries += 1
            link.write(frame)
            self.counters.add("orders_sent", order.protocol)
            if told.tries == 1:
                self.tell(Told(order.protocol, order.key, "sent", order.id, tries=1))
            said = await self.clock.within(min(wait_s, left_s), waiting.said.get())
            if said is not None:
                return said
        return None

    def _left_s(self, order: Order) -> float:
        """Seconds until the order is worth nothing."""
        return (order.until_ms - self.clock.now_ms()) / 1000 if order.until_ms else math.inf

    def _end(self, told: Told, state: str, error: str) -> None:
        told.state, told.error, told.at_ms = state, error, self.clock.now_ms()
        self.counters.add("orders_ended", state)
        self._ended[told.id] = told
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        self.tell(told)
