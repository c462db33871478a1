"""States of readers kept in the broker, so that another machine can take a lane up; fenced against the one before.

A state is one message, the *head* of (role, lane, number of lanes): small ones lie in it, of large ones it names the
parts. Each head is written by compare-and-set after the one before and carries the writer's token. Whoever takes a lane
over first writes the head anew under its own token; from then on everything the former holder tries to keep is refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import zlib
from typing import Final

import msgspec
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StoreCompression, StreamConfig

from zhenan.telemetry.log.chain import Chain, Fenced, head_of
from zhenan.telemetry.log.connect import PASSING
from zhenan.telemetry.log.retry import retried
from zhenan.telemetry.log.streams import replicas

STATES: Final = "STATES"
FENCE: Final = "Zn-Token"
_ROLLUP: Final = {"Nats-Rollup": "sub"}  # a head replaces the one before it
PART: Final = 512 * 1024  # below the 1 MB that a NATS server takes unless told otherwise
_IN_FLIGHT: Final = 8
_TRIES: Final = 5
log = structlog.get_logger("zhenan.log")


class _Head(msgspec.Struct):
    """What a head message holds: `data` itself, or the sequences of its parts. `digest` is of the bytes as kept."""

    digest: bytes
    data: bytes = b""
    parts: list[int] = []


async def ensure(js: JetStreamContext) -> None:
    """Make the stream of states when it is missing."""
    config = StreamConfig(
        name=STATES,
        subjects=["states.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        compression=StoreCompression.NONE,
        allow_rollup_hdrs=True,
        num_replicas=replicas(),
        max_bytes=int(os.environ.get("ZHENAN_STATES_MB", "") or 4096) * 1024 * 1024,
    )
    try:
        await js.stream_info(STATES)
    except nats.js.errors.NotFoundError:
        await js.add_stream(config)
    else:
        await js.update_stream(config)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class State:
    """The kept state of one lane of a role. `open`, then `save`; both raise Fenced when a later holder was here.

    Args:
        count: how many lanes there are; lane 3 of 16 and lane 3 of 64 are different ones.
        token: of the lease under which it is held. A state kept under a greater one is another's.
    """

    def __init__(self, client: Client, role: str, lane: int, count: int, token: int) -> None:
        self.client, self.role, self.lane, self.count, self.token = client, role, lane, count, token
        self.subject = f"states.{role}.{count}.{lane}"
        self.chain = Chain(client, STATES, f"{self.subject}.head")
        self.js = client.jetstream(timeout=5)
        self.before = 0  # the token of the holder before

    async def open(self) -> bytes | None:
        """The state as it was kept last, None when there is none; from now on no holder before this one can keep any.

        Raises Fenced.
        """
        for _ in range(_TRIES):
            head = await head_of(self.js, STATES, self.chain.subject)
            self.before = int(head.headers.get(FENCE, "0"))
            if self.before > self.token:
                raise Fenced(f"{self.subject}: kept under token {self.before}, later than our {self.token}")
            self.chain.head = head
            data = await self._read(head.data) if head.data else None
            if head.data and data is None:
                continue  # its parts were replaced while we read: someone is still at it
            try:
                await self._commit(head.data or msgspec.msgpack.encode(_Head(_digest(b""))))
            except Fenced:
                continue  # the holder before wrote once more between our look and our mark
            return data
        raise Fenced(f"{self.subject}: it changed at each of {_TRIES} looks; who holds it is still writing")

    async def before_division(self) -> tuple[bytes | None, range]:
        """(the state of the coarser lane that this one was part of when there were fewer, all that are now parts of
        it); None when there is none."""
        count = self.count
        while count > 1:
            count //= 2
            lane, each = self.lane * count // self.count, self.count // count
            head = await head_of(self.js, STATES, f"states.{self.role}.{count}.{lane}.head")
            found = await self._read(head.data) if head.data else None
            if found:
                return found, range(lane * each, (lane + 1) * each)
        return None, range(self.lane, self.lane + 1)

    async def save(self, data: bytes) -> None:
        """In the broker, on disk, when this returns. Raises Fenced."""
        packed = await asyncio.to_thread(zlib.compress, data, 1)
        if len(packed) <= PART:
            await self._commit(msgspec.msgpack.encode(_Head(_digest(packed), packed)))
            return
        parts = await self._write_parts(packed)
        await self._commit(msgspec.msgpack.encode(_Head(_digest(packed), parts=parts)))
        try:  # what earlier heads named; what is left over for now goes at the next turn
            await self.js.purge_stream(STATES, seq=min(parts), subject=f"{self.subject}.part")
        except PASSING as err:
            log.warning("state.not_purged", subject=self.subject, error=str(err) or type(err).__name__)

    async def _commit(self, head: bytes) -> None:
        await self.chain.commit(head, {FENCE: str(self.token), **_ROLLUP})

    async def _write_parts(self, packed: bytes) -> list[int]:
        gate = asyncio.Semaphore(_IN_FLIGHT)

        async def write(start: int) -> int:
            async with gate:
                part = packed[start : start + PART]
                answer = await retried(lambda: self.js.publish(f"{self.subject}.part", part), "state part")
                return answer.seq

        return list(await asyncio.gather(*(write(start) for start in range(0, len(packed), PART))))

    async def _read(self, head: bytes) -> bytes | None:
        """The state a head tells of; None when a part is gone. b"" for the mark of a holder that never kept any."""
        found = msgspec.msgpack.decode(head, type=_Head)
        packed = found.data
        if found.parts:
            try:
                packed = b"".join([await self._part(seq) for seq in found.parts])
            except nats.js.errors.NotFoundError:
                return None
        if _digest(packed) != found.digest:
            log.error("state.damaged", subject=self.subject, bytes=len(packed))
            return b""
        return await asyncio.to_thread(zlib.decompress, packed) if packed else b""

    async def _part(self, seq: int) -> bytes:
        async def get() -> bytes:
            return (await self.js.get_msg(STATES, seq)).data or b""

        while True:
            try:
                return await get()
            except nats.js.errors.NotFoundError:
                raise
            except PASSING as err:
                log.warning("broker.no_answer", asked="state part", error=str(err) or type(err).__name__)
                await asyncio.sleep(0.2)
