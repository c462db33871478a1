"""The gateway as a whole: registry kept fresh, listeners, intake. One event loop, no Django."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog
from nats.aio.client import Client

from zhenan.telemetry.codecs.jt808 import Reassembler
from zhenan.telemetry.gateway.attachments import Address
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.downlink import Downlink, Patience
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.mqtt import MqttListener
from zhenan.telemetry.gateway.registry import PointLike, Registry
from zhenan.telemetry.gateway.sessions import Gb26875, Hj212, Session
from zhenan.telemetry.gateway.sessions_jt808 import Jt808, Media
from zhenan.telemetry.gateway.tcp import Limits, Listener
from zhenan.telemetry.gateway.udp import UdpListener
from zhenan.telemetry.log.tasks import end

log = structlog.get_logger("zhenan.gateway")
Load = Callable[[], Awaitable[tuple[str, Sequence[PointLike]]]]
Stamp = Callable[[], Awaitable[str]]


@dataclass(frozen=True)
class Config:
    """How to run. `ports`: protocol → TCP port, 0 for any free one; a protocol left out is not served.

    `gb26875_hex` is GB/T 26875.3 from devices that write two hex characters a byte. `udp`: the same over UDP.
    `files`: where terminals are told to bring the files of their alarms.
    """

    host: str = "0.0.0.0"  # devices come from outside  # noqa: S104
    ports: dict[str, int] = field(default_factory=lambda: {"gb26875": 5875, "jt808": 6808, "hj212": 6212})
    udp: dict[str, int] = field(default_factory=dict)
    files: Address | None = None
    patience: Patience = field(default_factory=Patience)
    mqtt: bool = True
    lanes: int = 1
    source: str = "gateway"
    secret: bytes = b""
    limits: Limits = field(default_factory=Limits)
    messages_per_s: float = 200
    burst: float = 1000
    refresh_s: float = 5.0


class Gateway:
    """`start`, then `wait` until it fails or is cancelled, then `stop`.

    Args:
        load: the register as it is now, with its stamp.
        stamp: the stamp alone; asked every `refresh_s` and whenever `changed` is set.
    """

    def __init__(
        self, client: Client, load: Load, stamp: Stamp, config: Config | None = None, *,
        media: Callable[[Media], bool] | None = None,
    ) -> None:  # fmt: skip
        self.client, self._load, self._stamp, self.config = client, load, stamp, config or Config()
        self.counters = Counters()
        self.registry = Registry()
        self.changed = asyncio.Event()
        config = self.config
        self.intake = Intake(client, self.registry, self.counters, source=config.source, lanes=config.lanes)
        self.mqtt = MqttListener(
            client, self.registry, self.intake, self.counters, messages_per_s=config.messages_per_s, burst=config.burst
        )
        self.media = media
        self.downlink = Downlink(client, self.counters, source=config.source, patience=config.patience)
        self.mqtt.notes = self.downlink.note
        self.listeners: dict[str, Listener] = {}
        self.udp: dict[str, UdpListener] = {}
        self._known = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Take the log up, load the register, listen."""
        await self._reload()
        await self.intake.open()
        self._tasks.append(asyncio.create_task(self.intake.run(), name="intake"))
        if self.config.mqtt:
            self._tasks.append(asyncio.create_task(self._run_mqtt(), name="mqtt"))
        await self.downlink.open()
        self._tasks.append(asyncio.create_task(self.downlink.run(), name="downlink"))
        for name, port in self.config.ports.items():
            protocol, sessions = name.removesuffix("_hex"), self._sessions(name)
            listener = Listener(protocol, sessions, self.intake, self.counters, self.config.limits)
            await listener.start(self.config.host, port)
            self.listeners[name] = listener
        for name, port in self.config.udp.items():
            peers = UdpListener(name, self._sessions(name), self.intake, self.counters, self.config.limits)
            await peers.start(self.config.host, port)
            self.udp[name] = peers
        self._tasks.append(asyncio.create_task(self._keep_fresh(), name="registry"))

    def _sessions(self, protocol: str) -> Callable[[], Session]:
        registry, downlink, config = self.registry, self.downlink, self.config
        if protocol in ("gb26875", "gb26875_hex"):
            return lambda: Gb26875(registry, downlink, hex_text=protocol == "gb26875_hex")
        if protocol == "hj212":
            return lambda: Hj212(registry, downlink)
        if protocol == "jt808":
            reassembler = Reassembler()
            return lambda: Jt808(
                registry, config.secret, reassembler, downlink, files=config.files, media=self.media
            )  # fmt: skip
        raise ValueError(f"no such protocol {protocol!r}; known: gb26875, gb26875_hex, hj212, jt808")

    async def _run_mqtt(self) -> None:
        await self.mqtt.open()
        await self.mqtt.run()

    async def wait(self) -> None:
        """Until one of the parts fails; its error is raised."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self) -> None:
        """Stop listening, commit what was taken, end."""
        for listener in self.listeners.values():
            await listener.stop()
        for peers in self.udp.values():
            await peers.stop()
        await self.downlink.close()
        await end(self._tasks)

    async def _reload(self) -> None:
        self._known, rows = await self._load()
        self.registry.load(rows)
        self.counters.add("registry_loads")
        log.info("gateway.register_loaded", devices=len(self.registry), points=self.registry.points)

    async def _keep_fresh(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), self.config.refresh_s)
            self.changed.clear()
            try:
                if await self._stamp() != self._known:
                    await self._reload()
            except Exception as err:  # the register is out of reach for now: go on with the one we have
                log.warning("gateway.register_unreadable", error=str(err))
                await asyncio.sleep(1.0)
