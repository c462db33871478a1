"""Sends devices what they were told to do, and writes down what becomes of it.

Over MQTT a command is published to ``d/{device}/down/cmd/{id}``, again until the device answers on ``up/reply/{id}``
or reports what it was told; for the other protocols it is an order to whichever gateway has the device's connection.
Runs inside the judge's process, beside its loop: an alarm's command goes out as soon as the alarm is recorded. Two
senders may run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import msgspec
import nats
import structlog
from django.utils import timezone
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from zhenan.domains.monitoring import commands
from zhenan.domains.monitoring.commands import MQTT, Outgoing
from zhenan.server.processes import Process
from zhenan.telemetry.gateway.downlink import ASK, SAID, Order, Told, token

log = structlog.get_logger("zhenan.commands")
EVERY_S = 2.0
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
    heard = Heard()
    subscription = await client.subscribe(f"{SAID}.>", cb=heard.take)
    writing = asyncio.create_task(_write(process, heard), name="commands-heard")
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
                await _send(process, client)
            except (NatsError, OSError) as err:
                log.warning("commands.waiting", error=repr(err))
    finally:
        writing.cancel()
        with contextlib.suppress(NatsError, OSError):
            await subscription.unsubscribe()


async def _write(process: Process, heard: Heard) -> None:
    while True:
        told = await heard.words.get()
        try:
            await process.database(commands.heard, told, at=timezone.now())
        except Exception:
            log.exception("commands.not_written", command=told.id, state=told.state)


async def _send(process: Process, client: nats.NATS) -> None:
    due = await process.database(commands.claim, timezone.now())
    if not due:
        return
    for one in due:
        await client.publish(*_message(one))
    await client.flush(timeout=5)
    over_mqtt = [one.id for one in due if one.protocol == MQTT]
    if over_mqtt:
        await process.database(commands.published, over_mqtt, at=timezone.now())
    log.info("commands.sent", count=len(due))


def _message(one: Outgoing) -> tuple[str, bytes]:
    """(subject, payload) of a command. A dot inside a topic level is // to the broker."""
    if one.protocol == MQTT:
        level = one.key.replace(".", "//")
        return f"d.{level}.down.cmd.{one.id}", msgspec.json.encode(one.payload | {"id": one.id})
    order = Order(one.id, one.protocol, one.key, one.command, one.payload, one.options, one.until_ms)
    return f"{ASK}.{one.protocol}.{token(one.key)}", msgspec.json.encode(order)


__all__: Sequence[str] = ["send_commands"]
