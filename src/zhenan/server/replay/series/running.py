"""What the running platform is asked: does the gateway know the device, has the judge read everything."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
from django.db.models.functions import Coalesce
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from zhenan.domains.monitoring import queries
from zhenan.domains.monitoring.models import Point
from zhenan.server import config
from zhenan.server.processes import state_folder
from zhenan.telemetry.gateway.mqtt_queue import DURABLE
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.generations import Generations

READY_S = 60.0
DONE_S = 300.0


class NotRunning(ValueError):
    """A process that is needed does not answer."""


class _State(msgspec.Struct):
    """What is read of the judge's saved state: everything up to ``seq`` is judged and recorded."""

    seq: int
    stamp: str


@dataclass(frozen=True)
class Health:
    """A process's health file, written every two seconds."""

    figures: dict[str, float]

    @classmethod
    def of(cls, process: str) -> Health:
        path = config.data_dir() / "run" / f"{process}.health.json"
        try:
            return cls(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError):
            return cls({})

    @property
    def fresh(self) -> bool:
        return time.time() - self.figures.get("at", 0.0) < 15

    def get(self, name: str) -> int:
        return int(self.figures.get(name, 0))

    def all_of(self, prefix: str) -> dict[str, int]:
        """Figures whose name begins with a prefix, without it."""
        return {n.removeprefix(prefix): int(v) for n, v in self.figures.items() if n.startswith(prefix)}


def judge_state() -> _State:
    """What the judge saved last; seq -1 when nothing."""
    for data in Generations(state_folder("judge"), "judge").load():
        try:
            return msgspec.msgpack.decode(data, type=_State)
        except msgspec.DecodeError:
            continue
    return _State(-1, "")


def devices_on_the_wire() -> int:
    """How many devices the gateway must know: those with points that report on a connection of their own."""
    wire = Coalesce("device__parent_id", "device_id")
    return Point.objects.filter(device__active=True).annotate(wire=wire).values("wire").distinct().count()


def wait_ready() -> None:
    """Until gateway and judge work by the register and the rules of now. Raises NotRunning."""
    for process in ("gateway", "judge"):
        if not Health.of(process).fresh:
            raise NotRunning(
                f"no {process} is running on {config.data_dir()} (set ZHENAN_DATA to the platform's folder)"
            )
    wanted, stamp = devices_on_the_wire(), queries.judge_stamp()
    _until(lambda: Health.of("gateway").get("devices") == wanted, READY_S, "the gateway has not read the register anew")
    _until(lambda: judge_state().stamp == stamp, READY_S, "the judge has not read rules and points anew")


def _until(true: Callable[[], bool], wait_s: float, why: str) -> None:
    deadline = time.monotonic() + wait_s
    while not true():
        if time.monotonic() > deadline:
            raise NotRunning(f"{why} within {wait_s:.0f} s")
        time.sleep(0.2)


def wait_judged() -> int:
    """Until everything published so far is through gateway and judge; the log's last sequence. Raises NotRunning."""
    address = config.engines().nats_url
    if not address:
        raise NotRunning("NATS_URL is not set, and no embedded engines run on this data folder")
    last = asyncio.run(_taken(address))
    _until(lambda: judge_state().seq >= last, DONE_S, "the judge has not read the log to its end")
    return last


async def _taken(address: str) -> int:
    client = await connect(address, "replay")
    try:
        js = client.jetstream(timeout=5)
        upto = (await js.stream_info(streams.MQTT)).state.last_seq
        await _settled(lambda: _acknowledged(client, upto), DONE_S, "the gateway has not taken the MQTT queue")
        return int((await js.stream_info(streams.READINGS)).state.last_seq)
    except NotFoundError as err:
        raise NotRunning(f"the broker has no stream for this: {err}") from err
    finally:
        await client.close()


async def _acknowledged(client: Client, upto: int) -> bool:
    info = await client.jetstream(timeout=5).consumer_info(streams.MQTT, DURABLE)
    floor = info.ack_floor.stream_seq if info.ack_floor else 0
    return floor >= upto or (not info.num_pending and not info.num_ack_pending)


async def _settled(true: Callable[[], Awaitable[bool]], wait_s: float, why: str) -> None:
    deadline = time.monotonic() + wait_s
    while not await true():
        if time.monotonic() > deadline:
            raise NotRunning(f"{why} within {wait_s:.0f} s")
        await asyncio.sleep(0.2)
