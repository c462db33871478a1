"""`zhenan historian`: the readings log into history; what was refused and who was heard into the database.

Alone it takes the whole log and keeps its state in a folder. With ZHENAN_CLUSTER it shares the lanes of the log with
other historians by lease, and what another needs to go on is in the table itself and in the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import structlog
from deltalake.exceptions import CommitFailedError
from django.conf import settings
from django.utils import timezone
from nats.aio.client import Client

from zhenan.domains.monitoring import series, services
from zhenan.domains.monitoring.models import QuarantinedFrame
from zhenan.server import config
from zhenan.server.processes import Process, addresses, run, state_folder
from zhenan.server.processes.sharing import Sharing, beside, lane_count, leases_of, let_others_write, shared
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.history.historian import Counts, Historian
from zhenan.telemetry.history.keeping import Keep, Keeper
from zhenan.telemetry.history.lanes import Lane, LaneHistorian, place_of
from zhenan.telemetry.history.table import History
from zhenan.telemetry.lease import Lease, Leases
from zhenan.telemetry.log import states, streams
from zhenan.telemetry.log.connect import PASSING, connect
from zhenan.telemetry.log.follower import Follower, Message
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.log.retry import retried
from zhenan.telemetry.log.states import State

log = structlog.get_logger("zhenan.historian")
SEEN_S = 3.0
OFFLINE_S = 30.0
SAVE_S = 2.0
TEND_S = 60.0


def main(argv: list[str]) -> int:
    """Follow the log until a signal comes."""
    argparse.ArgumentParser(prog="zhenan historian", description=__doc__).parse_args(argv)
    return run("historian", _main)


async def _main(process: Process) -> int:
    client = await connect(addresses().nats_url, "historian")
    try:
        await retried(lambda: streams.ensure(client.jetstream(timeout=5)), "streams")
        await (_together(process, client) if shared() else _alone(process, client))
    finally:
        await client.close()
    return 0


def _every_s() -> float:
    return max(1, config.number("ZHENAN_HISTORY_SECONDS", default=10))


async def _alone(process: Process, client: Client) -> None:
    files = Generations(state_folder("historian"), "historian")
    files.hold()
    js = client.jetstream(timeout=5)
    epoch = await retried(lambda: streams.epoch(js, streams.READINGS), "stream")
    history, keeper = History(settings.HISTORY_URL), Keeper(series.summaries(settings.HISTORY_URL), keep())
    await asyncio.to_thread(lambda: place_of(history.create(), epoch, 0, 1))  # refuses what others share
    historian = await asyncio.to_thread(lambda: Historian(history, files, epoch, every_s=_every_s(), keeper=keeper))
    follower = Follower(client, streams.READINGS, "historian", after=historian.committed)
    places = Generations(files.folder, "quarantine")

    async def keep_place(data: bytes) -> None:
        await asyncio.to_thread(places.save, data)

    frames = Frames(process, Follower(client, streams.QUARANTINE, "quarantine"), keep_place)
    frames.open(places.load(), await retried(lambda: streams.epoch(js, streams.QUARANTINE), "stream"))
    heard = Heard(process)
    log.info("historian.ready", after=historian.committed, url=settings.HISTORY_URL)

    def figures() -> Mapping[str, float]:
        told = {"committed": historian.committed, "waiting": follower.waiting, "gaps": follower.gaps}
        return {**counted(historian.counts), **told, "quarantined": frames.stored}

    try:
        await process.until_stopped(
            _follow(historian, follower, heard), heard.run(), frames.run(), process.report(figures)
        )
        await historian.commit()
    finally:
        await follower.close()
        await frames.follower.close()
        files.release()


def counted(counts: Counts) -> Mapping[str, float]:
    """What a historian did, as figures."""
    return {
        "readings": counts.readings, "kept": counts.kept, "late": counts.late, "duplicate": counts.duplicate,
        "commits": counts.commits, "written": counts.written,
    }  # fmt: skip


async def _together(process: Process, client: Client) -> None:
    let_others_write()
    js = client.jetstream(timeout=5)
    await retried(lambda: states.ensure(js), "streams")
    epoch = await retried(lambda: streams.epoch(js, streams.READINGS), "stream")
    count = lane_count()
    historian = LaneHistorian(History(settings.HISTORY_URL), epoch, count, every_s=_every_s())
    leases = leases_of(client, "historian", count)
    lanes = HistoryLanes(process, client, historian, leases)
    sharing = Sharing(leases, lanes.serve)

    def figures() -> Mapping[str, float]:
        return {**counted(historian.counts), **lanes.figures(), "lanes": len(leases.held), "evicted": leases.evicted}

    await process.until_stopped(sharing.run(), lanes.commit(), lanes.heard.run(), process.report(figures))
    await sharing.finish()


def keep() -> Keep:
    """How long each table keeps its rows, from the environment."""
    return Keep(
        readings=config.number("ZHENAN_HISTORY_DAYS", default=0),
        hourly=config.number("ZHENAN_HISTORY_HOURLY_DAYS", default=0),
        daily=config.number("ZHENAN_HISTORY_DAILY_DAYS", default=0),
    )


async def _follow(historian: Historian, follower: Follower, heard: Heard) -> None:
    """Take and commit, for ever. A failing commit ends the process: it starts again behind the last good one."""
    committing: asyncio.Task[None] | None = None
    try:
        while True:
            messages = await follower.read(most=256, wait_s=0.5)
            if messages:
                heard.note(historian.take(messages))
            if committing is not None and committing.done():
                committing.result()
                committing = None
                await historian.tend(datetime.now(UTC))
            if committing is None and historian.due():
                committing = asyncio.create_task(historian.commit())
            elif committing is not None and historian.waiting >= 10 * historian.at_readings:
                await committing  # the table is slower than the log: do not gather all of it in memory
    finally:
        if committing is not None:
            await committing


class HistoryLanes:
    """Serves lanes of the log for one historian. Whoever holds lane 0 keeps the table in order and stores refusals."""

    def __init__(self, process: Process, client: Client, historian: LaneHistorian, leases: Leases) -> None:
        self.process, self.client, self.historian, self.leases = process, client, historian, leases
        self.js = client.jetstream(timeout=5)
        self.heard = Heard(process)
        self.followers: dict[int, Follower] = {}
        self.quarantined = self.gaps = 0  # of lanes that are given back
        self._overtaken: set[int] = set()

    async def serve(self, lease: Lease) -> None:
        """Take one lane until it is to be given back. Raises Lost, Fenced."""
        state = State(self.client, "historian", lease.lane, self.historian.count, lease.token)
        kept = await state.open()
        with contextlib.suppress(*PASSING):
            await self.js.delete_consumer(streams.READINGS, _reader(lease.lane, state.before))
        more = () if lease.lane else (self._frames(lease), self._tend())
        await beside(self._take(lease, state, kept), *more)

    async def _take(self, lease: Lease, state: State, kept: bytes | None) -> None:
        while not await self._follow(lease, state, kept):
            kept = await state.open()  # the former holder's last commit came after our look: begin behind that

    async def _follow(self, lease: Lease, state: State, kept: bytes | None) -> bool:
        """Take the lane up and go on. False when the table has moved on without us; True when all is given back."""
        self._overtaken.discard(lease.lane)
        lane = await self.historian.add(lease.lane, kept)
        follower = self.followers[lease.lane] = Follower(
            self.client, streams.READINGS, _reader(lease.lane, lease.token), after=lane.taken,
            subject=streams.readings_subject(lease.lane, "*"),
        )  # fmt: skip
        try:
            while not lease.leaving.is_set():
                messages = await follower.read(most=256, wait_s=0.5, until=lease.leaving)
                await self.leases.ensure(lease)
                self.heard.note(self.historian.take(lane, messages))
                await self._keep(lane, state)
                if lease.lane in self._overtaken:
                    return False
                while self.historian.waiting >= 10 * self.historian.at_readings:
                    await asyncio.sleep(0.05)  # the table is slower than the log: do not gather all of it in memory
            self._overtaken |= await self.historian.commit()
            if lease.lane not in self._overtaken:
                await state.save(self.historian.keepsake(lane))
            return True
        finally:
            self.historian.drop(lane)
            if self.followers.get(lease.lane) is follower:
                del self.followers[lease.lane]
            self.gaps += follower.gaps
            await follower.close()

    async def _keep(self, lane: Lane, state: State) -> None:
        kept, lane.to_keep = lane.to_keep, None
        if kept is not None:
            await state.save(kept)

    async def commit(self) -> None:
        """Commit what is due, for ever. An error of the table ends the process: it starts again behind the last one."""
        while True:
            await asyncio.sleep(0.1)
            if self.historian.due() and self.leases.valid():
                # Ended in the middle, it is not torn: what the end commits waits for it.
                self._overtaken |= await asyncio.shield(self.historian.commit())

    async def _tend(self) -> None:
        """Keep the tables, for ever; of two that do so at once the table refuses one."""
        keeper = Keeper(series.summaries(settings.HISTORY_URL), keep())
        while True:
            await asyncio.sleep(TEND_S)
            try:
                await asyncio.to_thread(keeper.run, datetime.now(UTC).date())
            except CommitFailedError as err:
                log.warning("historian.not_kept", error=str(err))

    async def _frames(self, lease: Lease) -> None:
        state = State(self.client, "quarantine", 0, 1, lease.token)
        kept = await state.open()
        frames = Frames(
            self.process, Follower(self.client, streams.QUARANTINE, f"quarantine-{lease.token}"), state.save
        )
        frames.open([kept] if kept else [], await retried(lambda: streams.epoch(self.js, streams.QUARANTINE), "stream"))
        try:
            await frames.run()
        finally:
            self.quarantined += frames.stored
            await frames.follower.close()

    def figures(self) -> Mapping[str, float]:
        followers = self.followers.values()
        return {
            "committed": min((lane.reached for lane in self.historian.lanes.values()), default=0),
            "waiting": sum(one.waiting for one in followers),
            "gaps": self.gaps + sum(one.gaps for one in followers),
            "quarantined": self.quarantined,
        }


def _reader(lane: int, token: int) -> str:
    """The name of the lane's consumer: one a holder, so that a former one that wakes up cannot take it away."""
    return f"historian-{lane}-{token}"


class Heard:
    """The newest value of each point, written to the database every few seconds."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self._newest: dict[int, tuple[int, float]] = {}

    def note(self, columns: Columns) -> None:
        """Remember the last reading of each point in these columns."""
        if not len(columns):
            return
        order = np.lexsort((columns.ts, columns.point))
        point = columns.point[order]
        last = np.flatnonzero(np.append(point[1:] != point[:-1], True))
        chosen = order[last]
        values = (columns.point[chosen].tolist(), columns.ts[chosen].tolist(), columns.value[chosen].tolist())
        for number, ts, value in zip(*values, strict=True):
            known = self._newest.get(number)
            if known is None or ts >= known[0]:
                self._newest[number] = (ts, value)

    async def run(self) -> None:
        """Write for ever."""
        offline_at = time.monotonic()
        while True:
            await asyncio.sleep(SEEN_S)
            newest, self._newest = self._newest, {}
            if newest:
                seen = {n: (datetime.fromtimestamp(ts / 1000, UTC), value) for n, (ts, value) in newest.items()}
                await self.process.database(services.mark_seen, seen)
            if time.monotonic() - offline_at >= OFFLINE_S:
                offline_at = time.monotonic()
                await self.process.database(services.mark_offline, at=timezone.now())


class Frames:
    """The quarantine log into the database, each row once. `keep` stores how far it is."""

    def __init__(self, process: Process, follower: Follower, keep: Callable[[bytes], Awaitable[None]]) -> None:
        self.process, self.follower, self._keep = process, follower, keep
        self.stored = 0
        self._epoch = ""

    def open(self, kept: Sequence[bytes], epoch: str) -> None:
        """Go on where the last run stopped; what was stored after that is stored again, which changes nothing."""
        self._epoch = epoch
        for data in kept:
            known, _, seq = data.decode("ascii", "replace").partition(" ")
            if known == epoch and seq.isdigit():
                self.follower.last = int(seq)
                return

    async def run(self) -> None:
        """Store for ever."""
        saved_at, saved = time.monotonic(), self.follower.last
        while True:
            messages = await self.follower.read(most=64, wait_s=1.0)
            rows = [row for message in messages for row in frames_of(message)]
            if rows:
                await self.process.database(services.store_quarantined, rows)
                self.stored += len(rows)
            if self.follower.last != saved and time.monotonic() - saved_at >= SAVE_S:
                saved_at, saved = time.monotonic(), self.follower.last
                await self._keep(f"{self._epoch} {saved}".encode("ascii"))


def frames_of(message: Message) -> list[QuarantinedFrame]:
    """The rows of one commit of the quarantine log."""
    record = quarantine.unpack(message.data)
    return [
        QuarantinedFrame(
            sequence=number,
            reason=row.reason,
            protocol=row.protocol,
            device_key=_plain(row.device_key),
            peer=row.peer[:80],
            received_at=datetime.fromtimestamp((row.received_ms or message.at_ms) / 1000, UTC),
            raw=row.raw,
            decoded=_storable(row.decoded),
            detail=_plain(row.detail)[:300],
            count=row.count,
        )
        for number, row in quarantine.numbered(message.seq, record)
    ]


def _plain(text: str) -> str:
    """Text as PostgreSQL takes it: devices send zero bytes and halves of characters too."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _storable(value: object) -> object:
    """A decoded frame as JSON that PostgreSQL takes."""
    if isinstance(value, str):
        return _plain(value)
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {_plain(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value
