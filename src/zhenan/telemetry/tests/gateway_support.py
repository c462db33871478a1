"""A gateway on a real broker, devices that speak real protocols, and what the log holds of them."""

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as paho

from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway.core import Config, Gateway
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower

CENTRE = "000000000001"


def point(protocol, key, device_id, channel, point_id, **more):
    """A row of the register."""
    rest = {"scale": 1.0, "offset": 0.0, "bit": None, "low": None, "high": None, "states": None, **more}
    return SimpleNamespace(protocol=protocol, device_key=key, device_id=device_id, channel=channel, point_id=point_id,
                           **rest)  # fmt: skip


@dataclass
class Started:
    gateway: Gateway
    rows: list
    client: object

    def port(self, protocol):
        return self.gateway.ports()[protocol]


@contextlib.asynccontextmanager
async def gateway(nats, rows, load_keys=None, **config):
    """A running gateway; `rows` may be changed, `gateway.changed.set()` tells it."""
    client = await connect(nats.url, "gateway")

    async def stamp():
        return str(len(rows))

    async def load():
        return await stamp(), list(rows)

    settings = {"host": "127.0.0.1", "ports": {"gb26875": 0, "jt808": 0, "hj212": 0}, "secret": b"test", **config}
    running = Gateway(client, load, stamp, Config(**settings), load_keys)
    await running.start()
    try:
        yield Started(running, rows, client)
    finally:
        await running.stop()
        await client.close()


async def log_of(nats, *, stream=streams.READINGS):
    """Every message of a stream."""
    client = await connect(nats.url, "test")
    js = client.jetstream()
    last = (await js.stream_info(stream)).state.last_seq
    reader = Follower(client, stream, "test-reader")
    found = []
    while reader.last < last:
        found += await reader.read(wait_s=2)
    await reader.close()
    await client.close()
    return found


async def readings_of(nats):
    """(point, ts, value) of all readings in the log, in its order."""
    columns = Columns.concat([Columns.unpack(m.data) for m in await log_of(nats)])
    return list(zip(columns.point.tolist(), columns.ts.tolist(), columns.value.tolist(), strict=True))


def mqtt_client(nats, name, *, clean=True):
    """A connected MQTT device."""
    address = urlsplit(nats.mqtt_url)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, clean_session=clean)
    client.username_pw_set(address.username, unquote(address.password))
    client.reconnect_delay_set(0.1, 0.3)
    client.acknowledged = set()
    client.on_publish = lambda c, u, mid, *more: client.acknowledged.add(mid)
    up = threading.Event()
    client.on_connect = lambda *a: up.set()
    client.connect(address.hostname, address.port, keepalive=5)
    client.loop_start()
    assert up.wait(10)
    return client


def front_of(nats, port):
    """Where devices come in before the broker: the gateway's own MQTT port."""
    return SimpleNamespace(mqtt_url=f"{nats.mqtt_url.rpartition(':')[0]}:{port}")


def with_front(nats, **more):
    """How to configure a gateway that stands before the broker."""
    address = urlsplit(nats.mqtt_url)
    return {
        "ports": {"mqtt": more.pop("port", 0)}, "mqtt_broker": (address.hostname, address.port),
        "mqtt_user": address.username, **more,
    }  # fmt: skip


def publish_all(nats, device, payloads, *, pause_s=0.01, wait_s=30):
    """Publish these as readings of an MQTT device, and wait for PUBACK of all; how many had theirs."""
    client = mqtt_client(nats, device, clean=False)
    for payload in payloads:
        client.publish(f"d/{device}/up/telemetry", payload, qos=1)
        time.sleep(pause_s)
    deadline = time.monotonic() + wait_s
    while len(client.acknowledged) < len(payloads) and time.monotonic() < deadline:
        time.sleep(0.05)
    client.disconnect()
    return len(client.acknowledged)


class Terminal:
    """A GB/T 26875.3 device that sends a frame again until it is confirmed."""

    def __init__(self, port, key, *, timeout_s=2.0):
        self.port, self.key, self.timeout_s, self.serial = port, key, timeout_s, 0
        self.reader = self.writer = None

    async def connect(self):
        while True:
            try:
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
                return
            except OSError:
                await asyncio.sleep(0.05)

    async def exchange(self, frame):
        """Send until confirmed; how often it had to be sent."""
        tries = 0
        while True:
            tries += 1
            try:
                if self.writer is None:
                    await self.connect()
                self.writer.write(frame)
                answer = await asyncio.wait_for(self.reader.readexactly(30), self.timeout_s)
                decoded = gb26875.parse(answer)
                if (decoded["cmd"], decoded["serial"]) == (gb26875.CONFIRM, frame[2] | frame[3] << 8):
                    return tries
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                self.close()
                await asyncio.sleep(0.05)

    async def report(self, objects, at_ms, kind=3):
        self.serial += 1
        return await self.exchange(gb26875.send(self.key, CENTRE, self.serial, kind, objects, at_ms))

    def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None
