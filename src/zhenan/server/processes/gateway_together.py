"""What a gateway does besides when it is one of several: hears the others, and takes the queue of MQTT by lease."""

from __future__ import annotations

import asyncio
import time

import structlog

from zhenan.server.processes.sharing import Sharing, beside, leases_of
from zhenan.telemetry.gateway.core import Gateway
from zhenan.telemetry.gateway.intake import KEY_S, Intake
from zhenan.telemetry.gateway.mqtt import MqttListener
from zhenan.telemetry.lease import Lease
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import KEYS, read_keys
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower

log = structlog.get_logger("zhenan.gateway")
MQTT_SOURCE = "mqtt"  # who writes to the log what came by MQTT, whichever gateway it is


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
        listener.messages.notes = gateway.downlink.note
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
