"""`zhenan gateway`: devices' protocols in, the readings log out; answers only for what is on disk.

With ZHENAN_CLUSTER it is one of several: each has its own chain in the log and hears what the others were sent, so that
a device may come back to any of them; the queue of MQTT is taken by whichever holds the lease for it, as the writer
`mqtt`, whose place in the queue the next one finds in the log.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
import structlog
from django.conf import settings

from zhenan.domains.monitoring import keys, queries
from zhenan.server import config, embedded
from zhenan.server.processes import Process, addresses, announced, listen, run
from zhenan.server.processes.sharing import Sharing, beside, lane_count, leases_of, shared
from zhenan.telemetry.gateway.core import Config, Gateway
from zhenan.telemetry.gateway.http_server import HttpLimits
from zhenan.telemetry.gateway.intake import KEY_S, Intake
from zhenan.telemetry.gateway.keys import Key
from zhenan.telemetry.gateway.mqtt import MqttListener
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.gateway.tls import TlsFault, server_context
from zhenan.telemetry.lease import Lease
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import KEYS, read_keys
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower

log = structlog.get_logger("zhenan.gateway")
MQTT_SOURCE = "mqtt"  # who writes to the log what came by MQTT, whichever gateway it is
PORTS = {"gb26875": 5875, "jt808": 6808, "hj212": 6212, "http": 8080}
USED_S = 30.0


def main(argv: list[str]) -> int:
    """Serve devices until a signal comes."""
    parser = argparse.ArgumentParser(prog="zhenan gateway", description=__doc__)
    parser.add_argument("--host", default=os.environ.get("ZHENAN_GATEWAY_HOST", "0.0.0.0"))  # noqa: S104
    for protocol, port in PORTS.items():
        default = config.number(f"ZHENAN_{protocol.upper()}_PORT", default=port)
        parser.add_argument(f"--{protocol}-port", type=int, default=default, metavar="PORT")
    asked = parser.parse_args(argv)
    ports = {protocol: _free(protocol, getattr(asked, f"{protocol}_port")) for protocol in PORTS}
    return run("gateway", lambda process: _main(process, asked.host, ports))


def _free(protocol: str, preferred: int) -> int:
    port = embedded.free_port(preferred)
    if preferred not in (0, port):
        log.warning("gateway.port_taken", protocol=protocol, wanted=preferred, taken=port)
    return port


def source_name() -> str:
    """The writer's name in the log: ZHENAN_GATEWAY_NAME, else `gateway`, in a cluster the machine's.

    Raises BadSetting.
    """
    given = os.environ.get("ZHENAN_GATEWAY_NAME", "")
    if given and (not re.fullmatch(r"[A-Za-z0-9_-]+", given) or given == MQTT_SOURCE):
        raise config.BadSetting("ZHENAN_GATEWAY_NAME", f"came {given!r}", "want letters, digits, - and _, not mqtt")
    return given or (re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname()) if shared() else "gateway")


def settings_of(host: str, ports: dict[str, int]) -> Config:
    """The gateway's configuration from the environment."""
    rate, burst = config.number("ZHENAN_DEVICE_RATE", default=200), config.number("ZHENAN_DEVICE_BURST", default=1000)
    return Config(
        host=host,
        ports=ports,
        lanes=lane_count(),
        source=source_name(),
        mqtt=not shared(),
        secret=hashlib.sha256(f"jt808:{settings.SECRET_KEY}".encode()).digest(),
        limits=Limits(frames_per_s=rate, burst=burst),
        messages_per_s=rate,
        burst=burst,
        http_limits=HttpLimits(body=config.number("ZHENAN_HTTP_BODY_MB", default=4) * 1024 * 1024),
        tls=tls_of(),
    )


def tls_of() -> dict[str, ssl.SSLContext]:
    """The protocols that speak TLS, by the settings. Raises BadSetting when the files cannot be used."""
    cert, key = os.environ.get("ZHENAN_TLS_CERT", ""), os.environ.get("ZHENAN_TLS_KEY", "")
    if not cert and not key:
        return {}
    wanted = config.names("ZHENAN_TLS_PROTOCOLS", "http")
    for name in wanted:
        if name not in PORTS:
            raise config.BadSetting("ZHENAN_TLS_PROTOCOLS", f"came {name!r}", f"want some of {', '.join(PORTS)}")
    try:
        context = server_context(cert, key, os.environ.get("ZHENAN_TLS_CLIENT_CA", ""))
    except TlsFault as err:
        raise config.BadSetting("ZHENAN_TLS_CERT", str(err), "name a certificate and its key in PEM files") from err
    return dict.fromkeys(wanted, context)


async def _main(process: Process, host: str, ports: dict[str, int]) -> int:
    engines = addresses()
    client = await connect(engines.nats_url, "gateway")
    if engines.mqtt_url:
        await asyncio.to_thread(wake_mqtt, engines.mqtt_url)

    async def stamp() -> str:
        return await process.once(_stamp)

    async def load() -> tuple[str, list[queries.PointRow]]:
        seen = await process.database(_stamp)
        return seen, await process.database(lambda: list(queries.gateway_points()))

    async def load_keys() -> list[Key]:
        return await process.database(keys.gateway_keys)

    async def note_use() -> None:
        while True:
            await asyncio.sleep(USED_S)
            if used := gateway.keys.take_used():
                await process.database(keys.record_use, used)

    gateway = Gateway(client, load, stamp, settings_of(host, ports), load_keys)
    together = Together(gateway, engines.nats_url) if shared() else None

    def figures() -> Mapping[str, float]:
        known = gateway.counters.counts.items()
        counts = {f"{name}:{label}" if label else name: float(n) for (name, label), n in known}
        totals = {f"refused_total:{reason}": float(n) for reason, n in gateway.intake.totals.items()}
        now = {"open_connections": float(sum(len(listener.open) for listener in gateway.listeners.values())),
               "http_connections": float(len(gateway.http.server.open)), "keys": len(gateway.keys)}  # fmt: skip
        mqtt = together.mqtt if together else gateway.mqtt
        waiting = mqtt.queue.waiting if mqtt else 0
        return {**counts, **totals, **now, "mqtt_waiting": waiting, "devices": len(gateway.registry)}

    try:
        await process.until_stopped(
            _serve(gateway, together), process.report(figures), listen("zhenan_devices", gateway.changed), note_use()
        )
        if together is not None:
            await together.sharing.finish()
    finally:
        await gateway.stop()
        await client.close()
    return 0


def _stamp() -> str:
    return f"{queries.devices_stamp()}|{keys.keys_stamp()}"


async def _serve(gateway: Gateway, together: Together | None) -> None:
    await gateway.start()
    with announced("gateway", {"ports": gateway.ports()}):
        await (beside(gateway.wait(), together.run()) if together else gateway.wait())


class Together:
    """What a gateway does besides when it is one of several."""

    def __init__(self, gateway: Gateway, nats_url: str) -> None:
        self.gateway, self._url = gateway, nats_url
        self.mqtt: MqttListener | None = None
        self.sharing = Sharing(leases_of(gateway.client, "mqtt", 1), self._take_mqtt)

    async def run(self) -> None:
        """For ever."""
        await beside(self.sharing.run(), self._hear_others())

    async def _hear_others(self) -> None:
        """Know the messages that other gateways have taken: a device whose answer was lost may send it here again."""
        own = self.gateway.config.source
        others = Follower(
            self.gateway.client, streams.READINGS, f"{own}-others", subject=streams.readings_subject(0, "*"),
            since_s=time.time() - KEY_S, headers_only=True,
        )  # fmt: skip
        try:
            while True:
                for message in await others.read(most=256, wait_s=1.0):
                    if not message.subject.endswith(f".{own}"):
                        self.gateway.intake.heard(read_keys(message.headers.get(KEYS, "")))
        finally:
            await others.close()

    async def _take_mqtt(self, lease: Lease) -> None:
        """Take the queue of MQTT until the lease is to be given back. Raises Fenced when another went on with it."""
        gateway, config = self.gateway, self.gateway.config
        client = await connect(self._url, "gateway-mqtt")
        intake = Intake(client, gateway.registry, gateway.counters, source=MQTT_SOURCE, lanes=config.lanes)
        listener = MqttListener(
            client, gateway.registry, intake, gateway.counters,
            messages_per_s=config.messages_per_s, burst=config.burst,
        )  # fmt: skip
        try:
            await intake.open()
            await listener.open()
            self.mqtt = listener
            log.info("gateway.takes_mqtt", token=lease.token)
            await beside(_until(lease.leaving), listener.run(), intake.run())
            await intake.flush()
        finally:
            self.mqtt = None
            await client.close()


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def wake_mqtt(url: str) -> None:
    """Connect to the MQTT listener once: the broker makes its streams at the first connection of the account."""
    address = urlsplit(url)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="zhenan-gateway-start")
    if address.username:
        client.username_pw_set(unquote(address.username), unquote(address.password or ""))
    try:
        client.connect(address.hostname or "127.0.0.1", address.port or 1883, keepalive=10)
        for _ in range(20):
            client.loop(0.1)
            if client.is_connected():
                break
        client.disconnect()
    except OSError as err:
        log.warning("gateway.mqtt_unreachable", error=str(err))
