"""`zhenan judge`: follows the readings log, judges on arrival, records alarms before anything else happens.

Alone it judges the whole log and keeps its state in a folder. With ZHENAN_CLUSTER it shares the lanes of the log with
other judges by lease, and keeps each lane's state in the broker, where the next holder finds it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict

import structlog
from django.utils import timezone
from nats.aio.client import Client
from nats.js import JetStreamContext

from zhenan.domains.monitoring import services
from zhenan.server.processes import Process, addresses, listen, run, state_folder
from zhenan.server.processes.commands import send_commands
from zhenan.server.processes.reconciling import Reconciling
from zhenan.server.processes.setups import LaneSetup, Setups
from zhenan.server.processes.sharing import Sharing, beside, lane_count, leases_of, let_others_write, shared
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.results import Transition
from zhenan.telemetry.lease import Lease, Leases
from zhenan.telemetry.log import states, streams
from zhenan.telemetry.log.connect import PASSING, connect
from zhenan.telemetry.log.follower import Follower, Message
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.log.retry import retried
from zhenan.telemetry.log.states import State
from zhenan.telemetry.log.tasks import end

log = structlog.get_logger("zhenan.judge")
SAVE_S = 5.0
SAVE_BYTES_PER_S = 100_000  # of a lane's state into the broker: three copies of it cross the network
SAVE_LONGEST_S = 60.0
CLOCK_S = 1.0
QUIET_S = 15.0  # after a start or a break, devices first get this long to be heard before anyone is called silent
PAUSED_S = 5.0  # a turn that took longer than this was a pause: what is known of the log is old
IDLE_S = 0.25  # how long a turn waits for readings
AT_ONCE = 256  # messages judged together


def main(argv: list[str]) -> int:
    """Judge until a signal comes."""
    parser = argparse.ArgumentParser(prog="zhenan judge", description=__doc__)
    parser.add_argument("--hand-over", action="store_true", help="put the state of the judge that was alone here into "
                        "the broker, where the judges of a cluster find it, and end")  # fmt: skip
    asked = parser.parse_args(argv)
    return run("judge", _hand_over if asked.hand_over else _main)


async def _main(process: Process) -> int:
    client = await connect(addresses().nats_url, "judge")
    js = client.jetstream(timeout=5)
    try:
        await retried(lambda: streams.ensure(js), "streams")
        await (_together(process, client) if shared() else _alone(process, client))
    finally:
        await client.close()
    return 0


async def _hand_over(process: Process) -> int:
    """The state in the folder becomes that of lane 0 of 1, of which every lane of a cluster takes its part."""
    files = Generations(state_folder("judge"), "judge")
    files.hold()
    kept = files.load()
    client = await connect(addresses().nats_url, "judge")
    try:
        if not kept:
            raise SystemExit(f"zhenan: no judge has kept a state in {files.folder}; nothing to hand over")
        await retried(lambda: states.ensure(client.jetstream(timeout=5)), "streams")
        state = State(client, "judge", 0, 1, token=0)
        await state.open()
        await state.save(kept[0])
    finally:
        await client.close()
        files.release()
    log.info("judge.handed_over", bytes=len(kept[0]))
    return 0


async def _alone(process: Process, client: Client) -> None:
    files = Generations(state_folder("judge"), "judge")
    files.hold()
    setups = Setups(process, lanes=1)
    _, _, kept = await asyncio.gather(setups.load(), asyncio.to_thread(warm_up), asyncio.to_thread(files.load))
    live = await resumed(client.jetstream(timeout=5), kept, setups.of(0))
    kept.clear()

    async def keep(data: bytes) -> None:
        await asyncio.to_thread(files.save, data)

    follower = Follower(client, streams.READINGS, "judge", after=live.place.seq)
    judging = Judging(process, live, follower, keep, lambda: setups.of(0), reconciling=Reconciling(process, live))
    asked = asyncio.Event()
    try:
        await process.until_stopped(
            judging.run(),
            setups.run(),
            process.report(lambda: figures([judging])),
            listen("zhenan_devices", setups.changed),
            listen("zhenan_commands", asked),
            send_commands(process, client, asked),
        )
        await judging.save()
    finally:
        await judging.close()
        await follower.close()
        files.release()


async def _together(process: Process, client: Client) -> None:
    let_others_write()
    await retried(lambda: states.ensure(client.jetstream(timeout=5)), "streams")
    setups = Setups(process, lane_count())
    await asyncio.gather(setups.load(), asyncio.to_thread(warm_up))
    leases = leases_of(client, "judge", setups.lanes)
    lanes = Lanes(process, client, setups, leases)
    sharing = Sharing(leases, lanes.serve)

    def told() -> Mapping[str, float]:
        return {**lanes.figures(), "lanes": len(leases.held), "evicted": leases.evicted}

    await process.until_stopped(
        sharing.run(),
        setups.run(),
        process.report(told),
        listen("zhenan_devices", setups.changed),
        listen("zhenan_commands", lanes.asked),
    )
    await sharing.finish()


async def resumed(js: JetStreamContext, kept: Sequence[bytes], setup: LaneSetup) -> LiveJudge:
    """The judge as it was kept, if the log is still the one it was reading."""
    live = await asyncio.to_thread(LiveJudge.resume, kept, setup)
    there = await retried(lambda: streams.extent(js, streams.READINGS), "stream")
    if live.place.epoch not in ("", there.epoch):
        log.warning("judge.log_is_new", was=live.place.epoch, now=there.epoch)
        live.place.seq, live.doubt = 0, True
    live.doubt |= there.first > live.place.seq + 1  # of a lane: of what is gone some may have been its own
    live.place.epoch = there.epoch
    if live.doubt:
        live.begins_ms = there.first_ms
        log.warning("judge.in_doubt", after=live.place.seq, log_from=there.first)
    log.info("judge.ready", rules=len(live.engine.rules), points=len(live.engine.keys), after=live.place.seq)
    return live


class Lanes:
    """Serves lanes of the log, each with a judge of its own. Whoever holds lane 0 sends the devices' commands."""

    def __init__(self, process: Process, client: Client, setups: Setups, leases: Leases) -> None:
        self.process, self.client, self.setups, self.leases = process, client, setups, leases
        self.js = client.jetstream(timeout=5)
        self.asked = asyncio.Event()
        self.judging: dict[int, Judging] = {}
        self.gaps = 0  # of lanes that are given back

    async def serve(self, lease: Lease) -> None:
        """Judge one lane until it is to be given back. Raises Lost, Fenced."""
        state = State(self.client, "judge", lease.lane, self.setups.lanes, lease.token)
        await self.setups.fresh()  # lest what the holder before judged by a newer one be taken for gone
        live = await self._taken_up(state, await state.open())
        with contextlib.suppress(*PASSING):  # the former holder's, which would be shown as one that lags
            await self.js.delete_consumer(streams.READINGS, _reader(lease.lane, state.before))
        follower = Follower(
            self.client, streams.READINGS, _reader(lease.lane, lease.token), after=live.place.seq,
            subject=streams.readings_subject(lease.lane, "*"),
        )  # fmt: skip
        judging = self.judging[lease.lane] = Judging(
            self.process, live, follower, state.save,
            lambda: self.setups.of(lease.lane), allowed=lambda: self.leases.ensure(lease),
            save_bytes_per_s=SAVE_BYTES_PER_S,
            reconciling=Reconciling(self.process, live, lease.lane, self.setups.lanes),
        )  # fmt: skip
        more = () if lease.lane else (send_commands(self.process, self.client, self.asked),)
        try:
            await beside(judging.run(lease.leaving), *more)
            await judging.save()
        finally:
            await judging.close()
            self.let_go(lease.lane, judging)
            await follower.close()

    def let_go(self, lane: int, judging: Judging) -> None:
        """The lane is another's, or is served anew; what it missed is told further on."""
        self.gaps += judging.follower.gaps
        if self.judging.get(lane) is judging:
            del self.judging[lane]

    def figures(self) -> Mapping[str, float]:
        """What the judging of the lanes held comes to, and what went missing in any that were held."""
        found = figures(self.judging.values())
        return {**found, "gaps": found["gaps"] + self.gaps}

    async def _taken_up(self, state: State, kept: bytes | None) -> LiveJudge:
        """The judge of a lane as it was kept; for a lane that is new, its part of the one that was divided."""
        setup = self.setups.of(state.lane)
        if kept:
            return await resumed(self.js, [kept], setup)
        whole, parts = await state.before_division()
        live = await resumed(self.js, [whole] if whole else [], setup)
        if whole:
            concerns = self.setups.concerns(state.lane, parts)
            live.pending = [one for one in live.pending if concerns(one.point)]
            await state.save(live.save())
        return live


def _reader(lane: int, token: int) -> str:
    """The name of the lane's consumer: one a holder, so that a former one that wakes up cannot take it away."""
    return f"judge-{lane}-{token}"


async def _always() -> None:
    """One that judges alone may always go on."""


class Judging:
    """The loop: read, judge, record; now and then the clock, the rules, the state.

    Args:
        keep: stores the state; every transition of the log up to it is recorded by then.
        setup: what to judge by now.
        allowed: returns when anything may be written; raises when this judge's lane is another's.
        save_bytes_per_s: a large state is saved less often than every SAVE_S; the log is replayed from there.
        reconciling: holds what stands against what is on record; None: nothing does.
    """

    def __init__(
        self, process: Process, live: LiveJudge, follower: Follower, keep: Callable[[bytes], Awaitable[None]],
        setup: Callable[[], LaneSetup], allowed: Callable[[], Awaitable[None]] = _always,
        save_bytes_per_s: float = math.inf, reconciling: Reconciling | None = None,
    ) -> None:  # fmt: skip
        self._reconciling = reconciling
        self.process, self.live, self.follower = process, live, follower
        self._keep, self._setup, self._allowed = keep, setup, allowed
        self._save_bytes_per_s, self._save_s = save_bytes_per_s, SAVE_S
        self.behind_ms = 0
        self.recorded = self.unrecorded = 0
        now = time.monotonic()
        self._saved_seq, self._saved_at = -1, now
        self._saving: asyncio.Task[None] | None = None
        self._clock_at = self._broken_at = self._turn_at = now

    async def run(self, until: asyncio.Event | None = None) -> None:
        """For ever, or until the event is set."""
        await self._record_pending()
        if self._reconciling is None:
            self.live.doubt = False
        try:
            if self._reconciling is not None and self.live.doubt:
                await self._reconciling.recall()
            while until is None or not until.is_set():
                await self._turn(until)
        finally:
            if self._reconciling is not None:
                await self._reconciling.end()

    async def _turn(self, until: asyncio.Event | None = None) -> None:
        busy = self._reconciling is not None and self._reconciling.busy
        messages = await self.follower.read(most=AT_ONCE, wait_s=0.01 if busy else IDLE_S, until=until)
        await self._allowed()
        if messages:
            await self._judge(messages)
        now = time.monotonic()
        if not self.follower.caught_up or now - self._turn_at > PAUSED_S:
            self._broken_at = now
        self._turn_at = now
        if now - self._clock_at >= CLOCK_S and now - self._broken_at >= QUIET_S and not self.live.doubt:
            self._clock_at = now
            await self._clock()
        if self._setup().stamp != self.live.stamp:
            await self._change(self._setup())
        if self._reconciling is not None:
            self.live.pending += self._reconciling.turn(caught_up=self.follower.caught_up)
            await self._record_pending()
        if self._saving is not None and self._saving.done():
            await self._saved()
        if now - self._saved_at >= self._save_s and self.live.place.seq != self._saved_seq and self._saving is None:
            self._begin_to_save()

    async def _judge(self, messages: Sequence[Message]) -> None:
        columns = Columns.concat([Columns.unpack(message.data) for message in messages])
        found = self.live.judge(columns, messages[-1].seq, messages[-1].at_ms)
        await self._record(found)
        self.behind_ms = max(0, time.time_ns() // 1_000_000 - messages[-1].at_ms)

    async def _record(self, transitions: Sequence[Transition]) -> None:
        if not transitions:
            return
        await self._allowed()
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
        """What the log will not bring again: saved first, so that a kill between the two loses nothing (and a judge
        that has lost its lane, whose saving is refused, records nothing)."""
        if self.live.pending:
            await self.save()
            await self._record(self.live.pending)
            self.live.pending.clear()

    async def _clock(self) -> None:
        if self.live.advance(time.time_ns() // 1_000_000):
            await self._record_pending()

    async def _change(self, setup: LaneSetup) -> None:
        withdrawn = await asyncio.to_thread(self.live.change, setup)
        log.info("judge.rules_changed", rules=len(setup.rules), points=len(setup.points), withdrawn=len(withdrawn))
        await self._record_pending()
        await self._saved()
        self._begin_to_save()

    async def save(self) -> None:
        """Keep the state; every transition of the log up to it is recorded."""
        await self._saved()
        self._begin_to_save()
        await self._saved()

    def _begin_to_save(self) -> None:
        """Judging goes on meanwhile: at the size of a city it takes a good part of a second."""
        self._saving = asyncio.create_task(self._save(self.live.taken(), self.live.place.seq))

    async def _save(self, data_of: Callable[[], bytes], seq: int) -> None:
        data = await asyncio.to_thread(data_of)
        await self._keep(data)
        self._save_s = min(max(SAVE_S, len(data) / self._save_bytes_per_s), SAVE_LONGEST_S)
        self._saved_seq, self._saved_at = seq, time.monotonic()

    async def _saved(self) -> None:
        """When nothing is being saved any more. Raises what saving raised."""
        if self._saving is not None:
            saving = self._saving
            try:
                await asyncio.shield(saving)
            finally:
                if saving.done():
                    self._saving = None

    async def close(self) -> None:
        """Let go of a save that is under way."""
        saving, self._saving = self._saving, None
        if saving is not None:
            await end([saving])
            if saving.done() and not saving.cancelled() and (err := saving.exception()) is not None:
                log.warning("judge.not_saved", error=repr(err))


def figures(all_of_them: Iterable[Judging]) -> Mapping[str, float]:
    """What the judging of every lane comes to."""
    judging = list(all_of_them)
    counts: Counter[str] = Counter()
    for one in judging:
        counts.update(asdict(one.live.counters))
    return {
        "readings": counts["readings"], "judged": counts["judged"], "late": counts["late"],
        "duplicate": counts["duplicate"], "unfit": counts["unfit"], "unknown_points": counts["refused"],
        "raises": counts["raises"], "clears": counts["clears"],
        "sequence": max((one.live.place.seq for one in judging), default=0),
        "waiting": sum(one.follower.waiting for one in judging), "gaps": sum(one.follower.gaps for one in judging),
        "unrecorded": sum(one.unrecorded for one in judging),
        "behind_ms": max((one.behind_ms for one in judging), default=0),
        "rules": max((len(one.live.engine.rules) for one in judging), default=0),
        "points": sum(len(one.live.engine.keys) for one in judging),
    }  # fmt: skip
