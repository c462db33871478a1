"""`zhenan gateway`: devices' protocols in, the readings log out; answers only for what is on disk."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import ssl
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho
import structlog
from django.conf import settings

from zhenan.domains.monitoring import keys, queries
from zhenan.server import config, embedded
from zhenan.server.processes import Process, addresses, announced, listen, run
from zhenan.telemetry.gateway.core import Config, Gateway
from zhenan.telemetry.gateway.http_server import HttpLimits
from zhenan.telemetry.gateway.keys import Key
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.gateway.tls import TlsFault, server_context
from zhenan.telemetry.log.connect import connect

log = structlog.get_logger("zhenan.gateway")
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


def settings_of(host: str, ports: dict[str, int]) -> Config:
    """The gateway's configuration from the environment."""
    rate, burst = config.number("ZHENAN_DEVICE_RATE", default=200), config.number("ZHENAN_DEVICE_BURST", default=1000)
    return Config(
        host=host,
        ports=ports,
        lanes=config.number("ZHENAN_LOG_LANES", default=1),
        source=os.environ.get("ZHENAN_GATEWAY_NAME", "gateway"),
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

    def figures() -> Mapping[str, float]:
        known = gateway.counters.counts.items()
        counts = {f"{name}:{label}" if label else name: float(n) for (name, label), n in known}
        totals = {f"refused_total:{reason}": float(n) for reason, n in gateway.intake.totals.items()}
        now = {"open_connections": float(sum(len(listener.open) for listener in gateway.listeners.values())),
               "http_connections": float(len(gateway.http.server.open)), "keys": len(gateway.keys)}  # fmt: skip
        return {**counts, **totals, **now, "mqtt_waiting": gateway.mqtt.queue.waiting, "devices": len(gateway.registry)}

    try:
        await process.until_stopped(
            _serve(gateway), process.report(figures), listen("zhenan_devices", gateway.changed), note_use()
        )
    finally:
        await gateway.stop()
        await client.close()
    return 0


def _stamp() -> str:
    return f"{queries.devices_stamp()}|{keys.keys_stamp()}"


async def _serve(gateway: Gateway) -> None:
    await gateway.start()
    with announced("gateway", {"ports": gateway.ports()}):
        await gateway.wait()


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
