"""One message of an MQTT device: its readings to the log, what is refused to quarantine, notes to whom they concern."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from zhenan.telemetry.codecs import mqtt_json
from zhenan.telemetry.codecs.base import BAD, GOOD, CodecError
from zhenan.telemetry.codecs.mqtt_json import Payload
from zhenan.telemetry.codecs.rows import EARLIEST_MS
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.bulk import PROTOCOL
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.message_key import DIGEST
from zhenan.telemetry.gateway.quarantine import Refusal
from zhenan.telemetry.gateway.registry import FUTURE_MS, Device, Registry, Rows, map_readings, shown

TELEMETRY: Final = "telemetry"
_DECODER: Final = msgspec.json.Decoder()
Notes = Callable[[str, str, bytes, int], bool]


class Refuse(Protocol):
    """Note a refusal of the message in hand."""

    def __call__(self, reason: str, detail: str, count: int = 1, decoded: object = None) -> None: ...


class Messages:
    """Takes messages one by one. The topic's device is the identity; what a payload says of itself is not believed.

    `buckets`: of devices that are refused what is beyond their share; None: who reads for them makes them wait.
    `notes`: takes birth, will and answers to orders; False for what cannot be read.
    """

    def __init__(self, registry: Registry, intake: Intake, counters: Counters, buckets: Buckets | None = None) -> None:
        self.registry, self.intake, self.counters, self.buckets = registry, intake, counters, buckets
        self.notes: Notes | None = None

    def take(
        self, topic: str, device: str, what: str, data: bytes, at_ms: int, *, seq: int = 0, peer: str = ""
    ) -> asyncio.Future[None]:
        """One message; the future resolves when what it says is on disk. `device` "": the topic is of no device.

        `seq`: its place in the broker's queue.
        """
        self.counters.add("frames", PROTOCOL)
        refusals: list[Refusal] = []

        def refuse(reason: str, detail: str, count: int = 1, decoded: object = None) -> None:
            refusals.append(
                Refusal(reason=reason, protocol=PROTOCOL, device_key=device[:64], peer=peer, received_ms=at_ms,
                        raw=data, decoded=decoded, detail=detail[:300], count=count, source_seq=seq)
            )  # fmt: skip

        rows: Rows | None = None
        if not device:
            refuse(quarantine.MALFORMED, f"topic {topic[:200]}")
        elif what == TELEMETRY:
            rows = self._telemetry(device, data, at_ms, refuse)
        else:
            self.counters.add("mqtt_notes", what.partition("/")[0] if what.isascii() else "other")
            known = self.registry.find(PROTOCOL, device)
            if known is not None and self.notes is not None and not self.notes(known.key, what, data, at_ms):
                refuse(quarantine.BODY, f"{what[:40]}: cannot be read")
        if rows is not None and len(rows) > self.intake.most:  # bits of a word may be points of their own
            refuse(quarantine.BODY, f"{len(rows)} readings; a message may have {self.intake.most}", len(rows))
            rows = None
        key = None
        if refusals:
            # A client that reconnects sends once more what was not PUBACKed to it: refused once is enough. (Of readings
            # that were taken the copy is known by its time, further on.)
            key = hashlib.blake2b(topic.encode() + b"\0" + data, digest_size=DIGEST).digest()
            if self.intake.again(key) is not None:
                self.counters.add("again", PROTOCOL)
                refusals, key = [], None
        return self.intake.take(rows, key=key, refusals=refusals, source_seq=seq)

    def _telemetry(self, key: str, data: bytes, at_ms: int, refuse: Refuse) -> Rows | None:
        device = self.registry.find(PROTOCOL, key)
        if device is not None and (rows := plain_sample(device, data, at_ms)) is not None:
            return rows if self._may(key, at_ms, len(rows), refuse) else None
        try:
            read = device.layout.decode if device and device.layout else mqtt_json.decode
            payload = read(data, at_ms, device=key, words=device.words if device else None)
        except CodecError as err:
            self.counters.add("bad_frames", f"{PROTOCOL}.{err.reason}")
            refuse(quarantine.MALFORMED, err.reason)
            return None
        said = len(payload.readings) + len(payload.errors)
        if device is None:
            refuse(quarantine.UNKNOWN, "", max(1, said), {"readings": shown(payload.readings[:200])})
            return None
        return self._of_device(device, payload, at_ms, refuse) if self._may(key, at_ms, said, refuse) else None

    def _may(self, key: str, at_ms: int, readings: int, refuse: Refuse) -> bool:
        """Whether the message is within the device's share; else it is refused."""
        if self.buckets is None or self.buckets.of(key, at_ms).take(at_ms):
            return True
        refuse(quarantine.FLOOD, f"more than {self.buckets.rate_per_s:g} messages/s", max(1, readings))
        return False

    def _of_device(self, device: Device, payload: Payload, at_ms: int, refuse: Refuse) -> Rows:
        mapped = map_readings(device, payload.readings, at_ms)
        if mapped.future:
            refuse(quarantine.FUTURE, "the device's clock is ahead", len(mapped.future),
                   {"readings": shown(mapped.future[:200])})  # fmt: skip
        if mapped.unmapped:
            names = ", ".join(sorted(set(mapped.unmapped))[:8])
            self.counters.add("unmapped", PROTOCOL, len(mapped.unmapped))
            refuse(quarantine.UNMAPPED, names, len(mapped.unmapped))
        if payload.errors:
            self.counters.add("bad_items", PROTOCOL, len(payload.errors))
            errors = msgspec.to_builtins(payload.errors[:50])
            first = payload.errors[0]
            refuse(quarantine.BODY, f"{first.where}: {first.reason}", len(payload.errors), {"errors": errors})
        return mapped.rows


def plain_sample(device: Device, data: bytes, at_ms: int) -> Rows | None:
    """The readings of {"ts": UTC ms, "values": {channel: number, …}} where nothing of it asks for more than a look-up;
    None: `mqtt_json.decode` and the register are to be asked. Says what they say."""
    if device.layout is not None or len(data) > mqtt_json.MAX_PAYLOAD:
        return None
    try:
        document = _DECODER.decode(data)
    except (ValueError, RecursionError):
        return None
    if type(document) is not dict or len(document) != 2:
        return None
    ts, values = document.get("ts"), document.get("values")
    if type(ts) is not int or type(values) is not dict or not EARLIEST_MS <= ts <= at_ms + FUTURE_MS:
        return None
    if len(values) > mqtt_json.MAX_KEYS:
        return None
    rows = Rows()
    for name, value in values.items():
        points = device.channels.get(name)
        if points is None or len(points) != 1 or points[0].bit is not None or type(value) not in (int, float):
            return None
        point = points[0]
        try:
            number = float(value) * point.scale + point.offset
        except OverflowError:
            return None
        if not math.isfinite(number):
            return None
        rows.add(point.id, ts, number, GOOD if point.low <= number <= point.high else BAD)
    return rows
