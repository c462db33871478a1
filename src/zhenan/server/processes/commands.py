"""Sends devices what they were told to do, and writes down what becomes of it.

Over MQTT a command is published to ``d/{device}/down/cmd/{id}`` with QoS 1 (mqtt_down.py), again until the device
answers on ``up/reply/{id}`` or reports what it was told; for the other protocols it is an order to whichever gateway
has the device's connection. Runs inside the judge's process, beside its loop: an alarm's command goes out as soon as
the alarm is recorded. Two senders may run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import msgspec
import nats
import structlog
from django.utils import timezone
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from zhenan.domains.monitoring import commands
from zhenan.domains.monitoring.commands import MQTT, Outgoing
from zhenan.server import config
from zhenan.server.processes import Process
from zhenan.server.processes.mqtt_down import Delivery, Publisher
from zhenan.telemetry.gateway.downlink import ASK, SAID, Order, Told, token

log = structlog.get_logger("zhenan.commands")
EVERY_S = 2.0
SWEEP_S = 5.0  # how often the broker is asked what it keeps of commands that have ended
WAITING = 10_000  # words of gateways that wait to be written down
DEVICE_NEWS = frozenset({"online", "offline", "guard"})


class Heard:
    """What gateways told and is not yet written down. Of connections, which are many at once, only who came counts."""

    def __init__(self) -> None:
        self.words: asyncio.Queue[Told] = asyncio.Queue(WAITING)
        self.came: set[tuple[str, str]] = set()

    async def take(self, message: Msg) -> None:
        """One word of a gateway."""
        try:
            told = msgspec.json.decode(message.data, type=Told)
        except msgspec.DecodeError:
            log.warning("commands.unreadable", subject=message.subject[:200])
            return
        if told.id == 0 and told.state == "here":
            self.came.add((told.protocol, told.key))
        elif told.id == 0 and told.state not in DEVICE_NEWS:
            return
        elif self.words.full():  # the sender asks again for what is lost here
            log.warning("commands.too_many_words", lost=told.state)
        else:
            self.words.put_nowait(told)

    def gone_through(self) -> set[tuple[str, str]]:
        """Who came since the last time."""
        came, self.came = self.came, set()
        return came


async def send_commands(process: Process, client: nats.NATS, asked: asyncio.Event) -> None:
    """For ever: what waits is sent; a broker that is away leaves it waiting."""
    heard, delivery = Heard(), delivery_of(client)
    subscription = await client.subscribe(f"{SAID}.>", cb=heard.take)
    writing = asyncio.create_task(_write(process, heard), name="commands-heard")
    swept = 0.0
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asked.wait(), EVERY_S)
            asked.clear()
            if writing.done():
                writing.result()
            if came := heard.gone_through():
                await process.database(commands.devices_came, came, at=timezone.now())
            try:
                await _send(process, client, delivery)
                if time.monotonic() - swept > SWEEP_S:
                    swept = time.monotonic()
                    await _take_back(process, delivery)
            except (NatsError, OSError) as err:
                log.warning("commands.waiting", error=repr(err))
    finally:
        writing.cancel()
        if delivery.publisher is not None:
            await asyncio.to_thread(delivery.publisher.stop)
        with contextlib.suppress(NatsError, OSError):
            await subscription.unsubscribe()


async def _write(process: Process, heard: Heard) -> None:
    while True:
        told = await heard.words.get()
        try:
            await process.database(commands.heard, told, at=timezone.now())
        except Exception:
            log.exception("commands.not_written", command=told.id, state=told.state)


def delivery_of(client: nats.NATS) -> Delivery:
    """How commands go out over MQTT: with QoS 1 where the broker's MQTT listener is known."""
    engines = config.engines()
    return Delivery(client, Publisher(engines.mqtt_url, engines.nats_url) if engines.mqtt_url else None)


async def _send(process: Process, client: nats.NATS, delivery: Delivery) -> None:
    due = await process.database(commands.claim, timezone.now())
    if not due:
        return
    for one in (one for one in due if one.protocol != MQTT):
        await client.publish(*_message(one))
    await client.flush(timeout=5)
    if over_mqtt := [one for one in due if one.protocol == MQTT]:
        with_broker, taken = await delivery.send(over_mqtt)
        await process.database(commands.published, with_broker, at=timezone.now())
        await process.database(commands.delivered, taken, at=timezone.now())
    log.info("commands.sent", count=len(due))


async def _take_back(process: Process, delivery: Delivery) -> None:
    """What has ended is kept no longer for a device that is away."""

    async def over(numbers: list[int]) -> set[int]:
        return await process.database(commands.ended_among, numbers, at=timezone.now())

    if count := await delivery.take_back(over):
        log.info("commands.taken_back", count=count)


def _message(one: Outgoing) -> tuple[str, bytes]:
    """(subject, payload) of an order to the gateways."""
    order = Order(one.id, one.protocol, one.key, one.command, one.payload, one.options, one.until_ms)
    return f"{ASK}.{one.protocol}.{token(one.key)}", msgspec.json.encode(order)


__all__: Sequence[str] = ["send_commands"]
