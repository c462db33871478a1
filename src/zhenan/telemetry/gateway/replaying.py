"""Kept frames of devices that were registered since: their readings, as if the frames came now."""

from __future__ import annotations

import hashlib

import msgspec

from zhenan.telemetry.codecs import mqtt_json
from zhenan.telemetry.codecs.base import CodecError, Reading
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.message_key import DIGEST
from zhenan.telemetry.gateway.mqtt_messages import PROTOCOL
from zhenan.telemetry.gateway.registry import Device, Registry, map_readings
from zhenan.telemetry.gateway.sessions import Gb26875, Hj212


class Kept(msgspec.Struct, frozen=True):
    """A frame as it was kept: `raw` is its bytes, or an MQTT payload."""

    protocol: str
    device_key: str
    raw: bytes
    received_ms: int


def readings_of(registry: Registry, kept: Kept) -> tuple[Device | None, list[Reading]]:
    """(device, readings) of a kept frame; nothing for what cannot be decoded.

    A vehicle that was not registered was never signed in, so that its kept frames say nothing but that it came.
    """
    device = registry.find(kept.protocol, kept.device_key)
    if device is None:
        return None, []
    try:
        if kept.protocol == PROTOCOL:
            read = device.layout.decode if device.layout else mqtt_json.decode
            payload = read(kept.raw, kept.received_ms, device=device.key, words=device.words)
            return device, payload.readings
        if kept.protocol == "gb26875":
            taken = Gb26875(registry).take(kept.raw, kept.received_ms)
        elif kept.protocol == "hj212":
            taken = Hj212(registry).take(kept.raw, kept.received_ms)
        else:
            return device, []
    except CodecError:
        return device, []
    return device, taken.readings


async def replay(registry: Registry, intake: Intake, kept: Kept) -> bool:
    """Take one frame's readings into the log; whether there were any. Returns when they are on disk."""
    device, readings = readings_of(registry, kept)
    rows = map_readings(device, readings, kept.received_ms).rows if device is not None else None
    if rows is None or not rows.ts:
        return False
    # A key of its own: under the message's key the gateway remembers that it refused it.
    key = hashlib.blake2b(b"kept" + msgspec.msgpack.encode(kept), digest_size=DIGEST).digest()
    done = intake.again(key)
    if done is None:
        await intake.room()
        done = intake.take(rows, key=key)
    await done
    return True
