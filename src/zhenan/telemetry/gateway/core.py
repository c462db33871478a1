"""The gateway as a whole: registry kept fresh, listeners, intake. One event loop, no Django."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from zhenan.telemetry.codecs.jt808 import Reassembler
from zhenan.telemetry.gateway.attachments import Address
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.downlink import Downlink, Patience
from zhenan.telemetry.gateway.http import HttpIngest
from zhenan.telemetry.gateway.http_server import HttpLimits
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.keys import Key, Keys
from zhenan.telemetry.gateway.mqtt import MqttListener
from zhenan.telemetry.gateway.mqtt_front import Front, MqttLimits
from zhenan.telemetry.gateway.registry import Make, PointLike, Register, Registry
from zhenan.telemetry.gateway.sessions import Gb26875, Hj212, Session
from zhenan.telemetry.gateway.sessions_jt808 import Jt808, Media
from zhenan.telemetry.gateway.tcp import Limits, Listener
from zhenan.telemetry.gateway.udp import UdpListener
from zhenan.telemetry.log.tasks import end
from zhenan.telemetry.log.wire import WireClient
from zhenan.telemetry.standing import standing

log = structlog.get_logger("zhenan.gateway")
Load = Callable[[], Awaitable[tuple[str, Iterable[PointLike]]]]
Stamp = Callable[[], Awaitable[str]]
LoadKeys = Callable[[], Awaitable[Sequence[Key]]]
HTTP, MQTT = "http", "mqtt"


@dataclass(frozen=True)
class Config:
    """How to run. `ports`: protocol → TCP port, 0 for any free one; a protocol left out is not served.

    `gb26875_hex` is GB/T 26875.3 from devices that write two hex characters a byte. `udp`: the same over UDP.
    `files`: where terminals are told to bring the files of their alarms.
    `tls`: protocols whose listener speaks TLS, and with what.
    """

    host: str = "0.0.0.0"  # devices come from outside  # noqa: S104
    ports: dict[str, int] = field(default_factory=lambda: {"gb26875": 5875, "jt808": 6808, "hj212": 6212})
    udp: dict[str, int] = field(default_factory=dict)
    files: Address | None = None
    patience: Patience | None = None  # with devices that are asked something; None: as their protocols have it
    mqtt: bool = True
    mqtt_broker: tuple[str, int] | None = None  # (host, port) of the broker's MQTT, before which port `mqtt` stands
    mqtt_user: str = ""  # under which devices come whose readings are taken there; others are left to the broker
    mqtt_limits: MqttLimits = field(default_factory=MqttLimits)
    lanes: int = 1
    source: str = "gateway"
    secret: bytes = b""
    hj212_password: str = ""  # of loggers for which the register has none; "": theirs is not checked
    limits: Limits = field(default_factory=Limits)
    messages_per_s: float = 200
    burst: float = 1000
    refresh_s: float = 5.0
    keys_refresh_s: float = 60.0  # what a key may report for moves with its devices' places, which have no stamp
    http_limits: HttpLimits = field(default_factory=HttpLimits)
    tls: dict[str, ssl.SSLContext] = field(default_factory=dict)


class Gateway:
    """`start`, then `wait` until it fails or is cancelled, then `stop`.

    Args:
        load: the register as it is now, with its stamp.
        stamp: the stamp alone; asked every `refresh_s` and whenever `changed` is set.
        load_keys: the API keys that are good now; asked with the register, and every `keys_refresh_s`.
    """

    def __init__(
        self, client: WireClient, load: Load, stamp: Stamp, config: Config | None = None,
        load_keys: LoadKeys | None = None, *, media: Callable[[Media], bool] | None = None,
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
        self.keys, self._load_keys, self._keys_at = Keys(), load_keys, 0.0
        self.http = HttpIngest(self.registry, self.keys, self.intake, self.counters, config.http_limits)
        self.front: Front | None = None
        self.media = media
        self.downlink = Downlink(client, self.counters, source=config.source, patience=config.patience)
        self.mqtt.messages.notes = self.downlink.note
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
            protocol = name.removesuffix("_hex")
            tls = self.config.tls.get(protocol)
            if name == HTTP:
                await self.http.start(self.config.host, port, tls)
                continue
            if name == MQTT:
                await self._start_front(port, tls)
                continue
            listener = Listener(protocol, self._sessions(name), self.intake, self.counters, self.config.limits)
            await listener.start(self.config.host, port, tls)
            self.listeners[name] = listener
        for name, port in self.config.udp.items():
            peers = UdpListener(name, self._sessions(name), self.intake, self.counters, self.config.limits)
            await peers.start(self.config.host, port)
            self.udp[name] = peers
        self._tasks.append(asyncio.create_task(self._keep_fresh(), name="registry"))

    async def _start_front(self, port: int, tls: ssl.SSLContext | None) -> None:
        config = self.config
        if config.mqtt_broker is None:
            raise ValueError("port mqtt is served before a broker; got no mqtt_broker")
        self.front = Front(
            config.mqtt_broker, config.mqtt_user, self.registry, self.intake, self.counters, config.mqtt_limits
        )
        await self.front.start(config.host, port, tls)

    def _sessions(self, protocol: str) -> Callable[[], Session]:
        registry, downlink, config = self.registry, self.downlink, self.config
        if protocol in ("gb26875", "gb26875_hex"):
            return lambda: Gb26875(registry, downlink, hex_text=protocol == "gb26875_hex")
        if protocol == "hj212":
            return lambda: Hj212(registry, downlink, password=config.hj212_password)
        if protocol == "jt808":
            reassembler = Reassembler()
            return lambda: Jt808(
                registry, config.secret, reassembler, downlink, files=config.files, media=self.media
            )  # fmt: skip
        raise ValueError(f"no such protocol {protocol!r}; known: gb26875, gb26875_hex, hj212, http, jt808")

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
        await self.http.stop()
        if self.front is not None:
            await self.front.stop()
        for listener in self.listeners.values():
            await listener.stop()
        for peers in self.udp.values():
            await peers.stop()
        await self.downlink.close()
        await end(self._tasks)

    async def _reload(self) -> None:
        known, rows = await self._load()
        register = await asyncio.to_thread(self._made, rows, self.registry.now.wanted())
        former = self.registry.take(register)
        self._known = known
        await asyncio.to_thread(former.discard)
        await self._reload_keys()
        self.counters.add("registry_loads")
        log.info("gateway.register_loaded", devices=len(self.registry), points=self.registry.points)

    @staticmethod
    def _made(rows: Iterable[PointLike], wanted: Iterable[Make]) -> Register:
        with standing():
            return Register(rows, wanted)

    async def _reload_keys(self) -> None:
        if self._load_keys is not None:
            self._keys_at = time.monotonic()
            self.keys.load(await self._load_keys())

    def ports(self) -> dict[str, int]:
        """protocol → the port it is served on."""
        found = {protocol: listener.port for protocol, listener in self.listeners.items()}
        found |= {f"{protocol}/udp": peers.port for protocol, peers in self.udp.items()}
        found |= {MQTT: self.front.port} if self.front is not None else {}
        return found | ({HTTP: self.http.server.port} if self.http.server.port else {})

    async def _keep_fresh(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), self.config.refresh_s)
            self.changed.clear()
            try:
                if await self._stamp() != self._known:
                    await self._reload()
                elif time.monotonic() - self._keys_at > self.config.keys_refresh_s:
                    await self._reload_keys()
            except Exception as err:  # the register is out of reach for now: go on with the one we have
                log.warning("gateway.register_unreadable", error=str(err))
                await asyncio.sleep(1.0)
