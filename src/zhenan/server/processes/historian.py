"""`zhenan historian`: the readings log into history; what was refused and who was heard into the database."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import structlog
from django.conf import settings
from django.utils import timezone

from zhenan.domains.monitoring import series, services
from zhenan.domains.monitoring.models import QuarantinedFrame
from zhenan.server import config
from zhenan.server.processes import Process, addresses, run, state_folder
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.history.historian import Historian
from zhenan.telemetry.history.keeping import Keep, Keeper
from zhenan.telemetry.history.table import History
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower, Message
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.log.retry import retried

log = structlog.get_logger("zhenan.historian")
SEEN_S = 3.0
OFFLINE_S = 30.0
SAVE_S = 2.0


def main(argv: list[str]) -> int:
    """Follow the log until a signal comes."""
    argparse.ArgumentParser(prog="zhenan historian", description=__doc__).parse_args(argv)
    return run("historian", _main)


async def _main(process: Process) -> int:
    files = Generations(state_folder("historian"), "historian")
    files.hold()
    client = await connect(addresses().nats_url, "historian")
    js = client.jetstream(timeout=5)
    await retried(lambda: streams.ensure(js), "streams")
    epoch = await retried(lambda: streams.epoch(js, streams.READINGS), "stream")
    every_s = config.number("ZHENAN_HISTORY_SECONDS", default=10)
    keeper = Keeper(series.summaries(settings.HISTORY_URL), keep())
    historian = await asyncio.to_thread(
        lambda: Historian(History(settings.HISTORY_URL), files, epoch, every_s=max(1, every_s), keeper=keeper)
    )
    follower = Follower(client, streams.READINGS, "historian", after=historian.committed)
    frames = Frames(process, Follower(client, streams.QUARANTINE, "quarantine"), files)
    await frames.open(await retried(lambda: streams.epoch(js, streams.QUARANTINE), "stream"))
    heard = Heard(process)
    log.info("historian.ready", after=historian.committed, url=settings.HISTORY_URL)

    def figures() -> Mapping[str, float]:
        counts = historian.counts
        return {
            "readings": counts.readings, "kept": counts.kept, "late": counts.late, "duplicate": counts.duplicate,
            "commits": counts.commits, "written": counts.written, "committed": historian.committed,
            "waiting": follower.waiting, "gaps": follower.gaps, "quarantined": frames.stored,
        }  # fmt: skip

    try:
        await process.until_stopped(
            _follow(historian, follower, heard), heard.run(), frames.run(), process.report(figures)
        )
        await historian.commit()
    finally:
        await follower.close()
        await frames.follower.close()
        await client.close()
        files.release()
    return 0


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
    """The quarantine log into the database, each row once."""

    def __init__(self, process: Process, follower: Follower, files: Generations) -> None:
        self.process, self.follower = process, follower
        self.files = Generations(files.folder, "quarantine")
        self.stored = 0
        self._epoch = ""

    async def open(self, epoch: str) -> None:
        """Go on where the last run stopped; what was stored after that is stored again, which changes nothing."""
        self._epoch = epoch
        for data in self.files.load():
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
                await asyncio.to_thread(self.files.save, f"{self._epoch} {saved}".encode("ascii"))


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
