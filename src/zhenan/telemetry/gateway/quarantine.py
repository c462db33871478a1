"""What could not be taken, as it is kept for the operator; of a flood only a sample is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from zhenan.telemetry.gateway.limits import Buckets

MAX_RAW: Final = 16_384  # bytes of a frame that are kept
ROW_BITS: Final = 12
MAX_ROWS: Final = 1 << ROW_BITS  # in one commit

UNKNOWN: Final = "unknown_device"
MALFORMED: Final = "malformed"
BODY: Final = "malformed_body"
FUTURE: Final = "future"
FLOOD: Final = "flood"
UNMAPPED: Final = "unmapped"
IDENTITY: Final = "identity"
FORBIDDEN: Final = "forbidden"


class Refusal(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One frame, message or set of readings refused. `count`: how many readings, where they can be told, else 1.

    `source_seq`: its place in the MQTT queue, 0 for none.
    """

    reason: str
    protocol: str
    device_key: str = ""
    peer: str = ""
    received_ms: int = 0
    raw: bytes = b""
    decoded: Any = None
    detail: str = ""
    count: int = 1
    source_seq: int = 0


class Record(msgspec.Struct, kw_only=True):
    """One commit of the quarantine log."""

    rows: list[Refusal]


class Keeper:
    """Decides which refusals are kept: so many of each (reason, device or peer), lest a flood drive out the others'.

    How many were refused is told exactly elsewhere (`Intake.totals`); the rows kept are for the operator to look at.
    """

    def __init__(self, *, rate_per_s: float = 0.1, burst: float = 20) -> None:
        self._buckets = Buckets(rate_per_s, burst)

    def keep(self, refusal: Refusal) -> bool:
        """Whether to keep this one; if so its bytes are cut to what is kept."""
        who = f"{refusal.reason} {refusal.protocol} {refusal.device_key or refusal.peer.rpartition(':')[0]}"
        if not self._buckets.of(who, refusal.received_ms).take(refusal.received_ms):
            return False
        if len(refusal.raw) > MAX_RAW:
            refusal.detail = f"{refusal.detail} ({len(refusal.raw)} bytes, cut)".strip()
            refusal.raw = refusal.raw[:MAX_RAW]
        return True


def pack(rows: list[Refusal]) -> bytes:
    """One commit of the quarantine log."""
    return msgspec.msgpack.encode(Record(rows=rows))


def unpack(data: bytes) -> Record:
    """Read a commit of the quarantine log. Raises ValueError (msgspec's is one) when it is damaged."""
    return msgspec.msgpack.decode(data, type=Record)


def numbered(seq: int, record: Record) -> Iterator[tuple[int, Refusal]]:
    """Each row with a number of its own, the same at every reading."""
    return ((seq << ROW_BITS | place, row) for place, row in enumerate(record.rows))
