"""Sends devices what they were told to do: MQTT topic ``d/{device}/down/cmd/{id}``, again until the device reports it.

Runs inside the judge's process, beside its loop: an alarm's command goes out as soon as the alarm is recorded.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import nats
import structlog
from django.utils import timezone
from nats.errors import Error as NatsError

from zhenan.domains.monitoring import commands
from zhenan.server.processes import Process

log = structlog.get_logger("zhenan.commands")
EVERY_S = 2.0


async def send_commands(process: Process, client: nats.NATS, asked: asyncio.Event) -> None:
    """For ever: what waits is published, then marked sent; a broker that is away leaves it waiting."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), EVERY_S)
        asked.clear()
        try:
            await _send(process, client)
        except (NatsError, OSError) as err:
            log.warning("commands.waiting", error=repr(err))


async def _send(process: Process, client: nats.NATS) -> None:
    due = await process.database(commands.due_commands, timezone.now())
    if not due:
        return
    for one in due:
        await client.publish(f"d.{one.key}.down.cmd.{one.id}", msgspec.json.encode(one.payload | {"id": one.id}))
    await client.flush(timeout=5)
    await process.database(commands.mark_sent, [one.id for one in due], at=timezone.now())
    log.info("commands.sent", count=len(due))
