"""`zhenan judge`: follows the readings log, judges on arrival, records alarms before anything else happens."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence

import structlog
from django.utils import timezone

from zhenan.domains.monitoring import queries, services
from zhenan.server.processes import Process, addresses, listen, run, state_folder
from zhenan.server.processes.commands import send_commands
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.results import Transition
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower, Message
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.log.retry import retried

log = structlog.get_logger("zhenan.judge")
SAVE_S = 5.0
CLOCK_S = 1.0
STAMP_S = 3.0
QUIET_S = 15.0  # after a start or a break, devices first get this long to be heard before anyone is called silent
AT_ONCE = 256  # messages judged together


def main(argv: list[str]) -> int:
    """Judge until a signal comes."""
    argparse.ArgumentParser(prog="zhenan judge", description=__doc__).parse_args(argv)
    return run("judge", _main)


async def _main(process: Process) -> int:
    files = Generations(state_folder("judge"), "judge")
    files.hold()
    client = await connect(addresses().nats_url, "judge")
    js = client.jetstream(timeout=5)
    await retried(lambda: streams.ensure(js), "streams")
    setup = await process.database(queries.judge_setup)
    warm_up()
    live = await asyncio.to_thread(LiveJudge.resume, files.load(), setup)
    epoch = await retried(lambda: streams.epoch(js, streams.READINGS), "stream")
    if live.place.epoch not in ("", epoch):
        log.warning("judge.log_is_new", was=live.place.epoch, now=epoch)
        live.place.seq = 0
    live.place.epoch = epoch
    log.info("judge.ready", rules=len(live.engine.rules), points=len(live.engine.keys), after=live.place.seq)
    judging = Judging(process, live, Follower(client, streams.READINGS, "judge", after=live.place.seq), files)
    try:
        asked = asyncio.Event()
        await process.until_stopped(
            judging.run(),
            process.report(judging.figures),
            listen("zhenan_devices", judging.changed),
            listen("zhenan_commands", asked),
            send_commands(process, client, asked),
        )
        await judging.save()
    finally:
        await judging.follower.close()
        await client.close()
        files.release()
    return 0


class Judging:
    """The loop: read, judge, record; now and then the clock, the rules, the state."""

    def __init__(self, process: Process, live: LiveJudge, follower: Follower, files: Generations) -> None:
        self.process, self.live, self.follower, self.files = process, live, follower, files
        self.changed = asyncio.Event()
        self.behind_ms = 0
        self.recorded = self.unrecorded = 0
        now = time.monotonic()
        self._saved_seq, self._saved_at = -1, now
        self._clock_at = self._broken_at = self._stamp_at = now

    async def run(self) -> None:
        """For ever."""
        await self._record_pending()
        while True:
            messages = await self.follower.read(most=AT_ONCE, wait_s=0.25)
            if messages:
                await self._judge(messages)
            now = time.monotonic()
            if not self.follower.caught_up:
                self._broken_at = now
            if now - self._clock_at >= CLOCK_S and now - self._broken_at >= QUIET_S:
                self._clock_at = now
                await self._clock()
            if self.changed.is_set() or now - self._stamp_at >= STAMP_S:
                self.changed.clear()
                self._stamp_at = now
                await self._look_for_changes()
            if now - self._saved_at >= SAVE_S and self.live.place.seq != self._saved_seq:
                await self.save()

    async def _judge(self, messages: Sequence[Message]) -> None:
        columns = Columns.concat([Columns.unpack(message.data) for message in messages])
        found = self.live.judge(columns, messages[-1].seq)
        await self._record(found)
        self.behind_ms = max(0, time.time_ns() // 1_000_000 - messages[-1].at_ms)

    async def _record(self, transitions: Sequence[Transition]) -> None:
        if not transitions:
            return
        try:
            await self.process.database(services.record_transitions, transitions, at=timezone.now())
        except Exception as err:
            await self._record_singly(transitions, err)
        self.recorded += len(transitions)
        log.info("judge.transitions", count=len(transitions), seq=self.live.place.seq)

    async def _record_singly(self, transitions: Sequence[Transition], why: Exception) -> None:
        """One that the database will not take must not keep all others from being recorded."""
        log.error("judge.batch_refused", count=len(transitions), error=repr(why))
        for one in transitions:
            try:
                await self.process.database(services.record_transitions, [one], at=timezone.now())
            except Exception as err:
                self.unrecorded += 1
                log.exception("judge.not_recorded", transition=one._asdict(), error=repr(err))

    async def _record_pending(self) -> None:
        """What the log will not bring again: saved first, so that a kill between the two loses nothing."""
        if self.live.pending:
            await self.save()
            await self._record(self.live.pending)
            self.live.pending.clear()

    async def _clock(self) -> None:
        if self.live.advance(time.time_ns() // 1_000_000):
            await self._record_pending()

    async def _look_for_changes(self) -> None:
        if await self.process.database(queries.judge_stamp) == self.live.stamp:
            return
        setup = await self.process.database(queries.judge_setup)
        withdrawn = await asyncio.to_thread(self.live.change, setup)
        log.info("judge.rules_changed", rules=len(setup.rules), points=len(setup.points), withdrawn=len(withdrawn))
        await self.save()
        await self._record_pending()

    async def save(self) -> None:
        """Keep the state; every transition of the log up to it is recorded."""
        await asyncio.to_thread(self.files.save, self.live.save())
        self._saved_seq, self._saved_at = self.live.place.seq, time.monotonic()

    def figures(self) -> Mapping[str, float]:
        counts = self.live.counters
        return {
            "readings": counts.readings, "judged": counts.judged, "late": counts.late, "duplicate": counts.duplicate,
            "unfit": counts.unfit, "unknown_points": counts.refused, "raises": counts.raises, "clears": counts.clears,
            "sequence": self.live.place.seq, "waiting": self.follower.waiting, "gaps": self.follower.gaps,
            "unrecorded": self.unrecorded, "behind_ms": self.behind_ms,
            "rules": len(self.live.engine.rules), "points": len(self.live.engine.keys),
        }  # fmt: skip
