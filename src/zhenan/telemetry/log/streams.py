"""The streams and their bounds."""

from __future__ import annotations

import os
import time
from typing import Any, Final, NamedTuple

from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StoreCompression, StreamConfig, StreamInfo
from nats.js.errors import NotFoundError

READINGS: Final = "READINGS"
QUARANTINE: Final = "QUARANTINE"
MQTT: Final = "$MQTT_msgs"  # made by NATS at the first MQTT session of the account

DUPLICATES_S: Final = 120


def readings_subject(lane: int, source: str) -> str:
    return f"readings.{lane}.{source}"


def quarantine_subject(source: str) -> str:
    return f"quarantine.{source}"


def _megabytes(name: str, default: int) -> int:
    return int(os.environ.get(name, "") or default) * 1024 * 1024


def replicas() -> int:
    """Copies of everything kept in the broker: 1 on one node, 3 in a cluster of three."""
    return int(os.environ.get("ZHENAN_LOG_REPLICAS", "") or 1)


def configs() -> list[StreamConfig]:
    """Both streams of the log. The oldest messages make room.

    The rule that keeps nothing from being lost: the log reaches further back than any reader's last snapshot. Readers
    save theirs every few seconds, so a reader may be down as long as the log is deep (by default seven days or 8 GB,
    whichever is less); `zhenan doctor` shows how far each is behind.
    """
    hours = float(os.environ.get("ZHENAN_LOG_HOURS", "") or 168)
    shared: dict[str, Any] = {
        "retention": RetentionPolicy.LIMITS,
        "storage": StorageType.FILE,
        "discard": DiscardPolicy.OLD,
        "max_age": hours * 3600,
        "allow_direct": True,
        "compression": StoreCompression.S2,
        "duplicate_window": DUPLICATES_S,
        "num_replicas": replicas(),
    }
    return [
        StreamConfig(
            name=READINGS, subjects=["readings.*.*"], max_bytes=_megabytes("ZHENAN_LOG_MB", 8192), **shared
        ),
        StreamConfig(
            name=QUARANTINE, subjects=["quarantine.*"], max_bytes=_megabytes("ZHENAN_QUARANTINE_MB", 512), **shared
        ),
    ]  # fmt: skip


async def ensure(js: JetStreamContext) -> None:
    """Make the streams, or bring their bounds up to date."""
    for config in configs():
        try:
            await js.stream_info(str(config.name))
        except NotFoundError:
            await js.add_stream(config)
        else:
            await js.update_stream(config)


async def epoch(js: JetStreamContext, stream: str) -> str:
    """When the stream was made: its sequences mean nothing to readers of an earlier stream of that name."""
    return _epoch(await js.stream_info(stream))


def _epoch(info: StreamInfo) -> str:
    return f"{info.created:%Y%m%dT%H%M%S.%f}" if info.created else ""


class Extent(NamedTuple):
    """What a stream holds. `first`: the sequence of its first message, or of the next one where it holds none;
    `first_ms`: when that was stored (UTC), or now."""

    epoch: str
    first: int
    first_ms: int


async def extent(js: JetStreamContext, stream: str) -> Extent:
    """Where a stream begins."""
    info = await js.stream_info(stream)
    first, now = info.state.first_seq, time.time_ns() // 1_000_000
    try:
        found = await js.get_msg(stream, first) if info.state.messages else None
    except NotFoundError:  # retention took it meanwhile
        found = None
    at = found.time.timestamp() * 1000 if found is not None and found.time else now
    return Extent(_epoch(info), first, int(at))
