"""`zhenan tracks`: the positions log through the fences and into the table; last positions into the database."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import structlog
from django.conf import settings
from django.utils import timezone

from zhenan.domains.transport import queries, services
from zhenan.server import config
from zhenan.server.processes import Process, addresses, listen, run, state_folder
from zhenan.telemetry.history.keeping import Merging, delete_old
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower, Message
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.log.retry import retried
from zhenan.telemetry.tracks import stream
from zhenan.telemetry.tracks.judge import FenceEvent, FenceJudge
from zhenan.telemetry.tracks.table import Tracks
from zhenan.telemetry.tracks.writer import TrackWriter

log = structlog.get_logger("zhenan.tracks")
LAST_S = 3.0
STAMP_S = 15.0
KEEP_S = 600.0
AT_ONCE = 10_000  # events of one transaction


def main(argv: list[str]) -> int:
    """Follow the positions until a signal comes."""
    argparse.ArgumentParser(prog="zhenan tracks", description=__doc__).parse_args(argv)
    return run("tracks", _main)


def judge_of(setup: queries.FenceSetup) -> FenceJudge:
    offset = timezone.localtime(datetime(2026, 1, 1, tzinfo=UTC)).utcoffset()
    most_kmh = config.number("ZHENAN_TRACK_MAX_KMH", default=200)
    return FenceJudge(
        setup.fences, setup.kinds, offset_ms=int(offset.total_seconds() * 1000) if offset else 0, most_kmh=most_kmh
    )


async def _main(process: Process) -> int:
    files = Generations(state_folder("tracks"), "tracks")
    files.hold()
    client = await connect(addresses().nats_url, "tracks")
    js = client.jetstream(timeout=5)
    await retried(lambda: stream.ensure(js), "positions")
    epoch = await retried(lambda: streams.epoch(js, stream.POSITIONS), "stream")
    setup = await process.database(queries.fence_setup, timezone.now())
    table = Tracks(queries.tracks(settings.HISTORY_URL).url)
    every_s = max(1, config.number("ZHENAN_HISTORY_SECONDS", default=10))
    writer = await asyncio.to_thread(lambda: TrackWriter(table, files, epoch, judge_of(setup), every_s=every_s))
    following = Following(process, writer, Follower(client, stream.POSITIONS, "tracks", after=writer.committed))
    following.stamp = setup.stamp
    log.info("tracks.ready", after=writer.committed, fences=len(setup.fences))
    try:
        await process.until_stopped(
            following.run(), following.keep(), following.show(), process.report(following.figures),
            listen("zhenan_fences", following.changed),
        )  # fmt: skip
        await writer.commit()
    finally:
        await following.follower.close()
        await client.close()
        files.release()
    return 0


class Following:
    """The loops: read, judge, record, commit; last positions; the table's files."""

    def __init__(self, process: Process, writer: TrackWriter, follower: Follower) -> None:
        self.process, self.writer, self.follower = process, writer, follower
        self.changed = asyncio.Event()
        self.stamp = ""
        self._stamp_at = time.monotonic()

    async def run(self) -> None:
        """For ever. A failing commit ends the process: it starts again behind the last good one."""
        await self._record(self.writer.withdrawn)
        while True:
            messages = await self.follower.read(most=256, wait_s=0.5)
            if messages:
                await self._take(messages)
            if self.writer.due():
                await self.writer.commit()
            if self.changed.is_set() or time.monotonic() - self._stamp_at >= STAMP_S:
                self.changed.clear()
                self._stamp_at = time.monotonic()
                await self._look_for_changes()

    async def _take(self, messages: Sequence[Message]) -> None:
        await self._record(self.writer.take(messages))  # before the commit that says it was done

    async def _record(self, events: Sequence[FenceEvent]) -> None:
        for start in range(0, len(events), AT_ONCE):
            part = events[start : start + AT_ONCE]
            new = await self.process.database(services.record_fence_events, part, at=timezone.now())
            log.info("tracks.events", count=len(part), new=new)

    async def _look_for_changes(self) -> None:
        if await self.process.database(queries.fences_stamp) == self.stamp:
            return
        setup = await self.process.database(queries.fence_setup, timezone.now())
        await self._record(self.writer.change(judge_of(setup)))
        self.stamp = setup.stamp
        log.info("tracks.fences_changed", fences=len(setup.fences))

    async def show(self) -> None:
        """Last positions into the database, those that changed, every few seconds."""
        shown = np.empty(0, np.int64)
        while True:
            await asyncio.sleep(LAST_S)
            last = self.writer.last.all()
            known = np.zeros(int(last.vehicle.max(initial=-1)) + 1, np.int64)
            known[: shown.size] = shown[: known.size]
            fresh = last.take(last.ts > known[last.vehicle])
            if len(fresh):
                await self.process.database(services.save_last_positions, fresh)
                known[fresh.vehicle] = fresh.ts
                shown = known

    async def keep(self) -> None:
        """Merge the table's files, delete what is too old, every ten minutes."""
        days = config.number("ZHENAN_POSITION_DAYS", default=0)
        table = Tracks(self.writer.table.url)
        merging = Merging(table)
        tidied = time.monotonic()
        while True:
            await asyncio.sleep(KEEP_S)
            if table.open() is None:
                continue
            today = datetime.now(UTC).date()
            try:
                await asyncio.to_thread(delete_old, table, days, today)
                await asyncio.to_thread(merging.run, today)
                if time.monotonic() - tidied > 3600:
                    tidied = time.monotonic()
                    log.info("tracks.tidied", files=await asyncio.to_thread(table.tidy))
            except Exception as err:  # the next round tries again; what is written stays readable meanwhile
                log.exception("tracks.keeping_failed", error=repr(err))

    def figures(self) -> Mapping[str, float]:
        counts, judged = self.writer.counts, self.writer.judge.counts
        return {
            "positions": counts.positions, "kept": counts.kept, "late": counts.late, "duplicate": counts.duplicate,
            "events": counts.events, "commits": counts.commits, "committed": self.writer.committed,
            "unfit": judged.unfit, "jumps": judged.jumps, "crowded": judged.crowded,
            "fences": len(self.writer.judge.fences), "waiting": self.follower.waiting, "gaps": self.follower.gaps,
        }  # fmt: skip
