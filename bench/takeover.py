"""A judge is killed under load: how long until another has its lanes, and until it has judged all that came meanwhile.

    python -m bench.takeover [--json] [--points N] [--lanes N] [--rate READINGS_A_SECOND] [--seconds N]

Two judges share the lanes of a NATS that flushes every commit: the platform's own leases, states and readers, each
judge in a process of its own with every point of its lanes under three rules. What they would record goes to files.
One is killed after so many seconds of load, when the states it kept are about a minute old, and the load goes on.
In the end the alarms of both together must be those of one judge that nobody disturbed.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
from bench.ingest import SPAWN
from bench.judge import RULES

from zhenan.server import embedded
from zhenan.telemetry.columns import PARTITIONS, Columns, partitions
from zhenan.telemetry.judge.engine import Judge, warm_up
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.results import Transition
from zhenan.telemetry.judge.rulefile import parse_rules
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import Chain
from zhenan.telemetry.log.connect import connect

STEP_S = 0.25  # between two commits of the load
AFTER_S = 10.0  # the load goes on so long after the kill
WAIT_S = 120.0


def second(number: int, points: int, rate: float, began_ms: int) -> Columns:
    """The load's commit `number`: the points take turns, and one reading in a thousand is high."""
    size = int(rate * STEP_S)
    place = np.arange(number * size, (number + 1) * size)
    value = np.where(place % 1009 == 0, 30.0, 10.0)
    ts = np.full(size, began_ms + int(number * STEP_S * 1000))
    return Columns.of(place % points, ts, value, np.zeros(size))


def said(transitions: Sequence[Transition]) -> list[str]:
    return [f"{alarm_id(t.point, t.rule, t.onset)} {t.kind} {t.ts}\n" for t in transitions]


def serve(url: str, name: str, folder: str, points: int, lanes: int, since_ms: int) -> None:
    """A judge's process: `name.alarms` is what it records, `name.json` how it stands."""
    os.environ |= {"ZHENAN_DATA": folder, "DJANGO_SETTINGS_MODULE": "zhenan.server.settings"}
    import django

    django.setup()
    from zhenan.domains.monitoring import queries, standing
    from zhenan.server.processes import judge, setups, sharing
    from zhenan.telemetry.log import states

    whole = queries.JudgeSetup(
        "s", parse_rules(RULES), [str(n) for n in range(points)], np.full(points, since_ms, np.int64),
        partitions(np.arange(points)), None, np.empty(0, np.int64),
    )  # fmt: skip

    async def body() -> None:
        with (Path(folder) / f"{name}.alarms").open("a") as book:

            async def database(call: Callable[..., Any], *given: Any, **_more: Any) -> Any:
                if call is judge.services.record_transitions:
                    book.writelines(said(given[0]))
                    book.flush()
                elif call is queries.judge_stamp:
                    return divided.stamp
                elif call is standing.ends_on_record:  # all that stands is on record, and open
                    return dict.fromkeys(given[0])
                elif call is standing.open_on_record:
                    return standing.Page([], None)
                return None

            process: Any = SimpleNamespace(database=database)
            client = await connect(url, name)
            await states.ensure(client.jetstream(timeout=5))
            divided = setups.Setups(process, lanes)
            divided._parts = setups.divide(whole, lanes)
            leases = sharing.leases_of(client, "judge", lanes)
            serving = judge.Lanes(process, client, divided, leases)
            task = asyncio.create_task(sharing.Sharing(leases, serving.serve).run())
            while not task.done():
                told = {
                    "at": time.time(), "held": len(leases.held), "judging": len(serving.judging),
                    "caught_up": all(one.follower.caught_up for one in serving.judging.values()),
                    "state_bytes": sum(one.live.engine.state.nbytes() for one in serving.judging.values()),
                    "rss": psutil.Process().memory_info().rss, **serving.figures(),
                }  # fmt: skip
                fresh = Path(folder) / f"{name}.new"
                fresh.write_text(json.dumps(told))
                fresh.replace(Path(folder) / f"{name}.json")
                await asyncio.sleep(0.1)
            task.result()

    os.environ["ZHENAN_WORKER"] = name
    warm_up()
    asyncio.run(body())


def stands(folder: Path, name: str) -> Mapping[str, float]:
    with suppress(FileNotFoundError):
        found: Mapping[str, float] = json.loads((folder / f"{name}.json").read_text())
        return found
    return {}


async def until(true: Callable[[], bool], what: str) -> float:
    """The moment at which it became so. Raises TimeoutError."""
    deadline = time.time() + WAIT_S
    while not true():
        if time.time() > deadline:
            raise TimeoutError(f"{what}: not within {WAIT_S:.0f} s")
        await asyncio.sleep(0.05)
    return time.time()


class Load:
    """Commits at the pace asked for, on all lanes; `sent` counts the commits. A commit that is late is not left out."""

    def __init__(self, url: str, points: int, lanes: int, rate: float, began_ms: int) -> None:
        self.url, self.points, self.lanes, self.rate, self.began_ms = url, points, lanes, rate, began_ms
        self.sent = 0
        self.stop = asyncio.Event()

    async def run(self) -> None:
        client = await connect(self.url, "load")
        chains = [Chain(client, streams.READINGS, streams.readings_subject(n, "load")) for n in range(self.lanes)]
        for chain in chains:
            await chain.open()
        began = time.monotonic()
        while not self.stop.is_set():
            columns = second(self.sent, self.points, self.rate, self.began_ms)
            lane = partitions(columns.point.astype(np.int64)).astype(np.int64) * self.lanes // PARTITIONS
            parts = columns.split(lane)
            await asyncio.gather(*(chains[n].commit(part.pack(), {}) for n, part in parts))
            self.sent += 1
            await asyncio.sleep(max(0.0, began + self.sent * STEP_S - time.monotonic()))
        await client.close()


async def measured(url: str, folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Start, load, kill, wait; then compare."""
    client = await connect(url, "bench")
    await streams.ensure(client.jetstream())
    began_ms = int(time.time() * 1000)
    given = (str(folder), asked.points, asked.lanes, began_ms)
    judges = {name: SPAWN.Process(target=serve, args=(url, name, *given), daemon=True) for name in ("one", "two")}
    for judge in judges.values():
        judge.start()
    half = asked.lanes // 2
    await until(lambda: all(stands(folder, n).get("judging") == half for n in judges), "both judge half of the lanes")
    load = Load(url, asked.points, asked.lanes, asked.rate, began_ms)
    sending = asyncio.create_task(load.run())
    await asyncio.sleep(asked.seconds)
    state = stands(folder, "one")
    judges["one"].kill()
    killed, at_kill = time.time(), load.sent
    taken = await until(lambda: stands(folder, "two").get("judging") == asked.lanes, "all lanes taken up")
    caught = await until(lambda: bool(stands(folder, "two")["caught_up"]), "caught up")
    await asyncio.sleep(max(0.0, AFTER_S - (time.time() - killed)))
    load.stop.set()
    await sending
    last = (await client.jetstream().stream_info(streams.READINGS)).state.last_seq
    ended = stands(folder, "two")
    await until(lambda: stands(folder, "two")["sequence"] >= last and bool(stands(folder, "two")["caught_up"]), "end")
    await asyncio.sleep(1.0)
    judges["two"].kill()
    await client.close()
    return {
        "readings_per_s": asked.rate, "commits": load.sent, "load_average": os.getloadavg()[0],
        "taken_up_s": round(taken - killed, 1), "caught_up_s": round(caught - killed, 1),
        "readings_before_kill": at_kill * int(asked.rate * STEP_S),
        "state_bytes_per_point": round(state["state_bytes"] / (asked.points / 2), 1),
        "rss_two_mb": round(ended["rss"] / 1e6), "gaps": ended["gaps"], "unrecorded": ended["unrecorded"],
        **compared(folder, asked, load.sent, began_ms),
    }  # fmt: skip


def compared(folder: Path, asked: argparse.Namespace, commits: int, began_ms: int) -> dict[str, int]:
    """What one judge says of the whole load, against what the two recorded together."""
    judge = Judge(parse_rules(RULES), [str(n) for n in range(asked.points)], np.full(asked.points, began_ms, np.int64))
    wanted: set[str] = set()
    for number in range(commits):
        result = judge.judge(second(number, asked.points, asked.rate, began_ms))
        wanted |= set(said(list(judge.records(result.transitions))))
    found = {line for name in ("one", "two") for line in (folder / f"{name}.alarms").open()}
    return {"transitions": len(wanted), "lost": len(wanted - found), "too_many": len(found - wanted)}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 1 where anything was lost or is too many."""
    parser = argparse.ArgumentParser(prog="bench.takeover", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--points", type=int, default=1_300_000)
    parser.add_argument("--lanes", type=int, default=16)
    parser.add_argument("--rate", type=float, default=100_000)
    parser.add_argument("--seconds", type=float, default=62.0)
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        nats = embedded.nats_in(Path(name), port=0, mqtt_port=0, http_port=0, durable=True)
        engine = embedded.start(nats, log=Path(name) / "nats.log")
        try:
            found = asyncio.run(measured(nats.url, Path(name), asked))
        finally:
            embedded.stop(engine, nats.stop_signal)
    lines = "\n".join(f"{key:<24} {value:>14,}" for key, value in found.items())
    sys.stdout.write((json.dumps(found) if asked.json else lines) + "\n")
    return int(bool(found["lost"] or found["too_many"]))


if __name__ == "__main__":
    sys.exit(main())
