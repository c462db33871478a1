"""Group commit: whatever came since the last commit goes to the log together, then all of it is answered.

Order within one commit: the kept refusals, positions, then every lane but the first, then lane 0. What lane 0's commit
names (keys of messages, source sequence, totals of refusals) is therefore entirely in the log, and what it does not
name was never acknowledged. A commit torn by a kill is made good when its messages come again: each lane drops what it
has already.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog
from nats.aio.client import Client
from numpy.typing import NDArray

from zhenan.telemetry.columns import PARTITIONS, ROW_BYTES, Columns
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.quarantine import Keeper, Refusal
from zhenan.telemetry.gateway.registry import Registry, Rows
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import KEYS, MAX_KEYS, RECEIVED, SOURCE_SEQ, Chain, read_keys, write_keys
from zhenan.telemetry.log.follower import Follower
from zhenan.telemetry.log.retry import retried
from zhenan.telemetry.tracks.columns import PositionColumns
from zhenan.telemetry.tracks.stream import Position, PositionLog

REFUSED: Final = "Zn-Refused"
EPOCH: Final = "Zn-Source-Epoch"
MAX_READINGS: Final = 100_000  # in one commit
HEADER_BYTES: Final = 80_000
MAX_REFUSED_BYTES: Final = 2 * 1024 * 1024
MAX_WAITING: Final = 400_000  # readings that may wait for the log before senders are held back
KEY_S: Final = 120.0  # how long a message is known by its key; devices send again within half a minute
MAX_KNOWN: Final = 2_000_000
ALL_LANES: Final = -1
log = structlog.get_logger("zhenan.gateway")


@dataclass
class Batch:
    """What will be one commit. `done` resolves when all of it is on disk."""

    done: asyncio.Future[None]
    most: int = 0
    since: float = 0.0  # by the loop's clock
    parts: list[Columns] = field(default_factory=list)
    tail: Rows = field(default_factory=Rows)  # of small messages, behind the parts
    readings: int = 0
    positions: list[Position | PositionColumns] = field(default_factory=list)
    places: int = 0  # how many positions those are
    keys: list[bytes] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    refused_bytes: int = 0
    source_seq: int = 0

    def full(self) -> bool:
        return (
            self.readings >= self.most
            or self.places >= MAX_READINGS
            or len(self.keys) >= MAX_KEYS
            or self.refused_bytes >= MAX_REFUSED_BYTES
            or len(self.refusals) >= quarantine.MAX_ROWS - 600
        )

    def empty(self) -> bool:
        return not (self.readings or self.positions or self.keys or self.refusals or self.refused or self.source_seq)

    def add(self, rows: Rows | Columns) -> None:
        """Readings behind those that are here."""
        self.readings += len(rows)
        if isinstance(rows, Rows):
            self.tail.extend(rows)
            return
        self._close_tail()
        self.parts.append(rows)

    def whole(self) -> list[Columns]:
        """All readings, in the order in which they came."""
        self._close_tail()
        return self.parts

    def _close_tail(self) -> None:
        if len(self.tail):
            self.parts.append(self.tail.columns())
            self.tail = Rows()


def most_readings(max_payload: int) -> int:
    """How many readings one commit may hold: a message of the broker takes so many bytes, headers included."""
    return max(1, min(MAX_READINGS, (max_payload - HEADER_BYTES) // ROW_BYTES))


@dataclass
class Resumed:
    """What the log knew of the source when this process began. Sequences by lane; lane 0 knows what is whole."""

    epoch: str
    sequences: list[int]
    kept: frozenset[int]  # source sequences of the refusals in the last quarantine commit


class Intake:
    """Takes rows and refusals from listeners and commits them. One event loop; `open`, then `run` as a task."""

    def __init__(
        self, client: Client, registry: Registry, counters: Counters, *, source: str = "gateway", lanes: int = 1,
        linger_s: float = 0.002,
    ) -> None:  # fmt: skip
        if lanes < 1 or PARTITIONS % lanes:
            raise ValueError(f"lanes must divide {PARTITIONS}; got {lanes}")
        self.client, self.registry, self.counters = client, registry, counters
        self.lanes, self.linger_s, self.source = lanes, linger_s, source
        self.chains = [Chain(client, streams.READINGS, streams.readings_subject(n, source)) for n in range(lanes)]
        self.quarantine = Chain(client, streams.QUARANTINE, streams.quarantine_subject(source))
        self.most = MAX_READINGS
        self.positions = PositionLog(client, source)
        self.totals: dict[str, int] = {}
        self.epoch = ""
        self.resumed = Resumed("", [0] * lanes, frozenset())
        self.torn: set[bytes] = set()  # messages of which a commit torn by a kill holds some lanes
        self._keeper = Keeper()
        self._known: OrderedDict[bytes, tuple[float, int, asyncio.Future[None] | None]] = OrderedDict()
        self._ready: deque[Batch] = deque()
        self._open: Batch | None = None
        self._committing: Batch | None = None
        self._wake = asyncio.Event()
        self._waiting = 0
        self._room = asyncio.Event()
        self._room.set()

    async def open(self) -> None:
        """Make the streams and take up where the log stands."""
        await retried(lambda: streams.ensure(self.client.jetstream()), "streams")
        self.most = most_readings(self.client.max_payload)
        heads = [await chain.open() for chain in self.chains]
        kept = await self.quarantine.open()
        await self.positions.open()
        self.totals = json.loads(heads[0].headers.get(REFUSED, "{}"))
        rows = quarantine.unpack(kept.data).rows if kept.data else []
        self.resumed = Resumed(
            heads[0].headers.get(EPOCH, ""),
            [head.source_seq for head in heads],
            frozenset(row.source_seq for row in rows if row.source_seq),
        )
        await self._recall_keys()
        log.info("gateway.log_taken_up", commits=[head.seq for head in heads])

    async def _recall_keys(self) -> None:
        """The keys of the last two minutes of commits, so that a message sent again after a kill is known."""
        newest = max((chain.head for chain in self.chains), key=lambda head: head.seq)
        if not newest.seq:
            return
        since = newest.at_s - KEY_S
        name = f"{self.source}-keys"
        reader = Follower(
            self.client, streams.READINGS, name, subject=f"readings.*.{self.source}", since_s=since, headers_only=True
        )
        while reader.last < newest.seq:
            for message in await reader.read(most=1024, wait_s=1.0):
                lane = int(message.subject.split(".")[1])
                for key in read_keys(message.headers.get(KEYS, "")):
                    self._remember(key, ALL_LANES if lane == 0 else self._mask(key) | 1 << lane, None)
        await reader.close()
        self.torn = {key for key, (_, lanes, _) in self._known.items() if lanes != ALL_LANES}

    def _mask(self, key: bytes) -> int:
        known = self._known.get(key)
        return 0 if known is None else known[1]

    def _remember(self, key: bytes, lanes: int, done: asyncio.Future[None] | None) -> None:
        now = time.monotonic()
        self._known[key] = (now, lanes, done)
        self._known.move_to_end(key)
        while self._known:
            oldest = next(iter(self._known.values()))[0]
            if now - oldest < KEY_S and len(self._known) <= MAX_KNOWN:
                break
            self._known.popitem(last=False)

    def heard(self, keys: Iterable[bytes]) -> None:
        """Messages that another gateway has in the log: they are answered here too, and not taken again."""
        for key in keys:
            self._remember(key, ALL_LANES, None)

    # taking

    @property
    def crowded(self) -> bool:
        """Whether too much waits for the log: then nothing more is to be taken until there is `room`."""
        return not self._room.is_set()

    async def room(self) -> None:
        """Wait while too much waits for the log."""
        await self._room.wait()

    def again(self, key: bytes) -> asyncio.Future[None] | None:
        """When a message was taken before: what its sender must wait for to be answered once more."""
        known = self._known.get(key)
        if known is None or known[1] != ALL_LANES:
            return None
        if known[2] is not None:
            return known[2]
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    def take(
        self,
        rows: Rows | Columns | None = None,
        *,
        key: bytes | None = None,
        keys: Sequence[bytes] = (),
        refusals: Iterable[Refusal] = (),
        source_seq: int = 0,
        positions: Sequence[Position] | PositionColumns = (),
    ) -> asyncio.Future[None]:
        """Readings, positions and refusals of one message; the future resolves when they are on disk.

        `keys`: of several messages whose readings come together, none of them `torn`.

        One message is one commit, never two. Raises ValueError when it has more readings than a commit holds (`most`).
        """
        size = 0 if rows is None else len(rows)
        if size > self.most:
            raise ValueError(f"a message may have {self.most} readings; got {size}")
        batch = self._batch(size)
        if len(positions):
            batch.places += len(positions)
            batch.positions += [positions] if isinstance(positions, PositionColumns) else positions
        known = keys if key is None else (key, *keys)
        if rows is not None and size:
            mask = 0 if key is None else self._mask(key)
            self._add_rows(batch, rows if not mask else self._without(rows, mask), source_seq)
        for refusal in refusals:
            self._refuse(batch, refusal)
        for one in known:
            batch.keys.append(one)
            self._remember(one, ALL_LANES, batch.done)
        batch.source_seq = max(batch.source_seq, source_seq)
        self._wake.set()
        return batch.done

    def _batch(self, size: int) -> Batch:
        if self._open is not None and (self._open.full() or self._open.readings + size > self.most):
            self._ready.append(self._open)
            self._open = None
        if self._open is None:
            loop = asyncio.get_running_loop()
            self._open = Batch(loop.create_future(), self.most, loop.time())
        return self._open

    def _add_rows(self, batch: Batch, rows: Rows | Columns, source_seq: int) -> None:
        if source_seq and source_seq <= max(self.resumed.sequences[1:], default=0):
            lanes = sum(1 << n for n, seq in enumerate(self.resumed.sequences) if seq >= source_seq)
            rows = self._without(rows, lanes) if lanes else rows
        batch.add(rows)
        self._waiting += len(rows)
        if self._waiting > MAX_WAITING:
            self._room.clear()

    def _without(self, rows: Rows | Columns, lanes: int) -> Columns:
        """The rows of other lanes than these (a mask): those are in the log already, from a commit that was torn."""
        columns = rows.columns() if isinstance(rows, Rows) else rows
        return columns.take(np.int64(lanes) >> self._lanes(columns) & 1 == 0)

    def _lanes(self, columns: Columns) -> NDArray[np.int64]:
        """The lane of each reading."""
        partition = self.registry.partition
        known = np.minimum(columns.point, partition.size - 1)  # a point may have left the register since it was taken
        return partition[known].astype(np.int64) * self.lanes // PARTITIONS

    def _refuse(self, batch: Batch, refusal: Refusal) -> None:
        batch.refused[refusal.reason] = batch.refused.get(refusal.reason, 0) + refusal.count
        self.counters.add("refused", refusal.reason, refusal.count)
        if refusal.source_seq and refusal.source_seq in self.resumed.kept:
            return  # its row was written before a kill tore the commit
        if self._keeper.keep(refusal):
            batch.refusals.append(refusal)
            batch.refused_bytes += len(refusal.raw) + 1024

    # committing

    async def run(self) -> None:
        """Commit for ever. Ends with Fenced when another gateway took over; then nothing more is acknowledged."""
        while True:
            await self._wake.wait()
            await self._linger()
            try:
                await self.flush()
            except Exception as err:
                for batch in (*self._ready, *filter(None, [self._open, self._committing])):
                    if not batch.done.done():
                        batch.done.set_exception(err)
                        batch.done.exception()  # seen: those who wait for it are told as well
                raise

    async def _linger(self) -> None:
        """Let the first messages of a commit wait for others; those that waited for the last commit go at once."""
        batch = self._open
        if self.linger_s and not self._ready and batch is not None and not batch.full():
            waited_s = asyncio.get_running_loop().time() - batch.since
            if waited_s < self.linger_s:
                await asyncio.sleep(self.linger_s - waited_s)

    async def flush(self) -> None:
        """Commit what waits now."""
        self._wake.clear()
        if self._open is not None:
            self._ready.append(self._open)
            self._open = None
        while self._ready:
            batch = self._committing = self._ready.popleft()
            if not batch.empty():
                await self._commit(batch)
            batch.done.set_result(None)

    async def _commit(self, batch: Batch) -> None:
        now_ms = time.time_ns() // 1_000_000
        headers = {RECEIVED: str(now_ms)}
        if batch.keys:
            headers[KEYS] = write_keys(batch.keys)
        if batch.source_seq:
            headers |= {SOURCE_SEQ: str(batch.source_seq), EPOCH: self.epoch}
        elif self.chains[0].head.headers.get(SOURCE_SEQ):  # the newest commit always tells how far the source is
            known = self.chains[0].head.headers
            headers |= {SOURCE_SEQ: known[SOURCE_SEQ], EPOCH: known.get(EPOCH, "")}
        if batch.refusals:
            await self.quarantine.commit(quarantine.pack(batch.refusals), {RECEIVED: str(now_ms)})
        await self.positions.commit(batch.positions)
        parts = self._by_lane(batch.whole())
        first = parts.pop(0, [])
        await asyncio.gather(*(self.chains[lane].commit(Columns.packed(part), headers) for lane, part in parts.items()))
        totals = {
            reason: self.totals.get(reason, 0) + batch.refused.get(reason, 0)
            for reason in {*self.totals, *batch.refused}
        }
        await self.chains[0].commit(Columns.packed(first), {**headers, REFUSED: json.dumps(totals)})
        self.totals = totals
        self._committed(batch.readings)

    def _by_lane(self, parts: list[Columns]) -> dict[int, list[Columns]]:
        if self.lanes == 1:
            return {0: parts}
        columns = Columns.concat(parts)
        return {lane: [part] for lane, part in columns.split(self._lanes(columns))}

    def _committed(self, readings: int) -> None:
        self.counters.add("commits")
        self.counters.add("readings", "", readings)
        self._waiting -= readings
        if self._waiting <= MAX_WAITING // 2:
            self._room.set()
