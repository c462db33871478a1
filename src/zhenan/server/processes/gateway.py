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
from collections.abc import Iterator, Mapping
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
import structlog
from django.conf import settings
from django.utils import timezone

from zhenan.domains.monitoring import adoption, keys, queries
from zhenan.server import config, embedded
from zhenan.server.processes import Process, addresses, announced, listen, run
from zhenan.server.processes.files import Files
from zhenan.server.processes.gateway_together import MQTT_SOURCE, Together
from zhenan.server.processes.sharing import beside, lane_count, shared
from zhenan.telemetry.gateway.attachments import Address
from zhenan.telemetry.gateway.core import Config, Gateway
from zhenan.telemetry.gateway.http_server import HttpLimits
from zhenan.telemetry.gateway.keys import Key
from zhenan.telemetry.gateway.mqtt_front import MqttLimits
from zhenan.telemetry.gateway.registry import drained
from zhenan.telemetry.gateway.replaying import Kept, replay
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.gateway.tls import TlsFault, server_context
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.standing import standing

log = structlog.get_logger("zhenan.gateway")
PORTS = {"gb26875": 5875, "jt808": 6808, "hj212": 6212, "http": 8080, "mqtt": 1883}
USED_S = 30.0
# Served only where a port is set: few devices need them.
FURTHER_PORTS = {"gb26875_hex": "ZHENAN_GB26875_HEX_PORT"}
UDP = {"gb26875": "ZHENAN_GB26875_UDP_PORT", "jt808": "ZHENAN_JT808_UDP_PORT"}
FILES_PORT = 6809
ADOPTED_S = 5.0  # how often the gateway looks for kept frames of devices that were registered since


def main(argv: list[str]) -> int:
    """Serve devices until a signal comes."""
    parser = argparse.ArgumentParser(prog="zhenan gateway", description=__doc__)
    parser.add_argument("--host", default=os.environ.get("ZHENAN_GATEWAY_HOST", "0.0.0.0"))  # noqa: S104
    for protocol, port in PORTS.items():
        default = config.number(f"ZHENAN_{protocol.upper()}_PORT", default=port)
        parser.add_argument(f"--{protocol}-port", type=int, default=default, metavar="PORT")
    asked = parser.parse_args(argv)
    ports = {protocol: _free(protocol, getattr(asked, f"{protocol}_port")) for protocol in PORTS}
    further = {name: config.number(setting, default=0) for name, setting in FURTHER_PORTS.items()}
    ports |= {name: port for name, port in further.items() if port}
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


def settings_of(host: str, ports: dict[str, int], mqtt_url: str = "") -> Config:
    """The gateway's configuration from the environment. Without a broker's address it serves no MQTT."""
    broker = urlsplit(mqtt_url)
    ports = {name: port for name, port in ports.items() if name != "mqtt" or mqtt_url}
    rate, burst = config.number("ZHENAN_DEVICE_RATE", default=200), config.number("ZHENAN_DEVICE_BURST", default=1000)
    return Config(
        host=host,
        ports=ports,
        lanes=lane_count(),
        source=source_name(),
        mqtt=not shared(),
        mqtt_broker=(broker.hostname or "127.0.0.1", broker.port or 1883) if mqtt_url else None,
        mqtt_user=unquote(broker.username or ""),
        mqtt_limits=MqttLimits(messages_per_s=rate, burst=burst),
        secret=hashlib.sha256(f"jt808:{settings.SECRET_KEY}".encode()).digest(),
        hj212_password=os.environ.get("ZHENAN_HJ212_PASSWORD", ""),
        limits=Limits(frames_per_s=rate, burst=burst),
        messages_per_s=rate,
        burst=burst,
        http_limits=HttpLimits(body=config.number("ZHENAN_HTTP_BODY_MB", default=4) * 1024 * 1024),
        tls=tls_of(),
        udp={name: port for name, setting in UDP.items() if (port := config.number(setting, default=0))},
        files=files_address(),
    )


def files_address() -> Address | None:
    """Where terminals are told to bring the files of their alarms; None: they are not asked for."""
    name = os.environ.get("ZHENAN_FILES_ADDRESS", "")
    return Address(name, config.number("ZHENAN_FILES_PORT", default=FILES_PORT)) if name else None


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

    async def load() -> tuple[str, Iterator[queries.PointRow]]:
        seen = await process.database(_stamp)
        return seen, drained(await process.database(_points))

    async def load_keys() -> list[Key]:
        return await process.database(keys.gateway_keys)

    async def note_use() -> None:
        while True:
            await asyncio.sleep(USED_S)
            if used := gateway.keys.take_used():
                await process.database(keys.record_use, used)

    files = Files(process)
    gateway = Gateway(client, load, stamp, settings_of(host, ports, engines.mqtt_url), load_keys, media=files.media)
    together = Together(gateway, engines.nats_url) if shared() else None

    def figures() -> Mapping[str, float]:
        known = gateway.counters.counts.items()
        counts = {f"{name}:{label}" if label else name: float(n) for (name, label), n in known}
        totals = {f"refused_total:{reason}": float(n) for reason, n in gateway.intake.totals.items()}
        now = {"open_connections": float(sum(len(listener.open) for listener in gateway.listeners.values())),
               "http_connections": float(len(gateway.http.server.open)), "keys": len(gateway.keys),
               "mqtt_connections": float(len(gateway.front.open) if gateway.front else 0)}  # fmt: skip
        mqtt = together.mqtt if together else gateway.mqtt
        waiting = mqtt.queue.waiting if mqtt else 0
        return {**counts, **totals, **now, "mqtt_waiting": waiting, "devices": len(gateway.registry)}

    try:
        await process.until_stopped(
            _serve(gateway, files, together),
            process.report(figures),
            listen("zhenan_devices", gateway.changed),
            note_use(),
            take_adopted(process, gateway),
            files.run(),
        )
        if together is not None:
            await together.sharing.finish()
    finally:
        await files.stop()
        await gateway.stop()
        await client.close()
    return 0


def _points() -> list[queries.PointRow]:
    with standing():
        return list(queries.gateway_points())


def _stamp() -> str:
    return f"{queries.devices_stamp()}|{keys.keys_stamp()}"


async def _serve(gateway: Gateway, files: Files, together: Together | None) -> None:
    await gateway.start()
    ports = gateway.ports()
    if gateway.config.files is not None:
        ports["files"] = await files.start(gateway)
    with announced("gateway", {"ports": ports}):
        await (beside(gateway.wait(), together.run()) if together else gateway.wait())


async def take_adopted(process: Process, gateway: Gateway) -> None:
    """What devices said before they were adopted goes into the log, for ever."""
    while True:
        await asyncio.sleep(ADOPTED_S)
        due = await process.database(adoption.frames_due, timezone.now())
        taken: list[int] = []
        useless: list[int] = []
        for one in due:
            if gateway.registry.find(one.protocol, one.device_key) is None:
                continue  # the register that knows it is not loaded yet
            kept = Kept(one.protocol, one.device_key, one.raw, one.received_ms)
            (taken if await replay(gateway.registry, gateway.intake, kept) else useless).append(one.sequence)
        if taken or useless:
            await process.database(adoption.frames_taken, taken, useless)
            log.info("gateway.adopted_frames", taken=len(taken), useless=len(useless))


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
