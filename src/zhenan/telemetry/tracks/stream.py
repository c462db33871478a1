"""The log of positions: a JetStream stream of its own, written by the gateway in the commit of the same message.

The gateway writes positions before it writes the readings whose commit acknowledges the message. A kill in between
makes the device send again and the position come twice: the reader drops what has the vehicle's time already.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StoreCompression, StreamConfig
from nats.js.errors import NotFoundError

from zhenan.telemetry.codecs import jt808
from zhenan.telemetry.codecs.base import BAD, Decoded, clock
from zhenan.telemetry.log.chain import RECEIVED, Chain
from zhenan.telemetry.log.retry import retried
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees

POSITIONS: Final = "POSITIONS"
FUTURE_MS: Final = 300_000  # as for readings: further ahead of the server's clock is refused


class Position(NamedTuple):
    """One position as a row of PositionColumns."""

    vehicle: int
    ts: int
    lat: int
    lon: int
    speed: int
    heading: int
    status: int
    quality: int


def config() -> StreamConfig:
    """Bounded like the readings' log, and as deep in hours."""
    return StreamConfig(
        name=POSITIONS, subjects=["positions.*"], retention=RetentionPolicy.LIMITS, storage=StorageType.FILE,
        discard=DiscardPolicy.OLD, max_age=float(os.environ.get("ZHENAN_LOG_HOURS", "") or 168) * 3600,
        max_bytes=int(os.environ.get("ZHENAN_POSITIONS_MB", "") or 2048) * 1024 * 1024, allow_direct=True,
        compression=StoreCompression.S2, duplicate_window=120,
        num_replicas=int(os.environ.get("ZHENAN_LOG_REPLICAS", "") or 1),
    )  # fmt: skip


async def ensure(js: JetStreamContext) -> None:
    """Make the stream, or bring its bounds up to date."""
    try:
        await js.stream_info(POSITIONS)
    except NotFoundError:
        await js.add_stream(config())
    else:
        await js.update_stream(config())


class PositionLog:
    """The writer's end. `open`, then `commit` whatever came, in order."""

    def __init__(self, client: Client, source: str) -> None:
        self.client = client
        self.chain = Chain(client, POSITIONS, f"positions.{source}")

    async def open(self) -> None:
        await retried(lambda: ensure(self.client.jetstream()), "positions")
        await self.chain.open()

    async def commit(self, positions: Sequence[Position | PositionColumns]) -> None:
        """On disk when this returns; nothing for no positions. Raises Fenced when another writer took over."""
        if positions:
            packed = gathered(positions).pack()
            await self.chain.commit(packed, {RECEIVED: str(time.time_ns() // 1_000_000)})


def gathered(positions: Sequence[Position | PositionColumns]) -> PositionColumns:
    """Single ones and many together, in their order."""
    parts: list[PositionColumns] = []
    single: list[Position] = []
    for one in (*positions, PositionColumns.empty()):
        if isinstance(one, Position):
            single.append(one)
            continue
        if single:
            parts.append(PositionColumns.of(*zip(*single, strict=True)))
            single = []
        parts.append(one)
    return PositionColumns.concat(parts)


def positions_of(protocol: str, device_id: int | None, decoded: Decoded | None, now_ms: int) -> list[Position]:
    """The positions of a registered terminal's message, in the order of the message; [] for anything else.

    A message of several (0x0704: what gathered where there was no network) gives them all. A time that is ahead of the
    server's clock is left out here as its readings are.
    """
    if protocol != "jt808" or device_id is None or decoded is None or "body_error" in decoded:
        return []
    found = (_position(device_id, place, now_ms) for place in _places(decoded))
    return [position for position in found if position.ts <= now_ms + FUTURE_MS]


def _places(decoded: Decoded) -> list[Decoded]:
    body = decoded.get("body") or {}
    if decoded["msg_id"] == "0x0200":
        return [body] if body else []
    if decoded["msg_id"] == "0x0704":
        return list(body.get("items", ()))
    return []


def _position(device_id: int, place: Decoded, now_ms: int) -> Position:
    ts_ms, quality = clock(place["time"], now_ms)
    quality = quality if jt808.position_is_usable(place) else BAD
    lat, lon = from_degrees([place["lat"], place["lon"]]).tolist()
    speed = min(round(place["speed_kmh"] * 10), 0xFFFF)
    return Position(device_id, ts_ms, lat, lon, speed, place["direction"] & 0xFFFF, place["status"], quality)


def columns_of(messages: Iterable[Any]) -> list[PositionColumns]:
    """The positions of messages of the log. Raises ValueError for a damaged one."""
    return [PositionColumns.unpack(message.data) for message in messages]
