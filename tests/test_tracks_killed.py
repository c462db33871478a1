"""`zhenan tracks` killed at random moments while positions come: each is stored once, each fence event told once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support import databases
from tests.support.live import ROOT

from zhenan.server import posix
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees
from zhenan.telemetry.tracks.fences import Fence
from zhenan.telemetry.tracks.judge import FenceJudge
from zhenan.telemetry.tracks.stream import Position, PositionLog
from zhenan.telemetry.tracks.table import Tracks

KILLS = 7
VEHICLES = 5
STEP_MS = 30_000
LEAST, MOST = 60, 600  # rounds: until the killing is over, but enough to show something
PACE_S = 0.09
LAT, LON = 32.2, 119.45
RADIUS_M, LIMIT_KMH = 500.0, 50.0

# One process that has everything imported, makes the vehicles and the fence, and then for each line becomes the parent
# of a `zhenan tracks`: a start costs what its work costs, not what Python's imports do.
STARTER = """
import json, os, signal, sys
import django
django.setup()
from datetime import UTC, datetime, timedelta
from django.db import connections
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.register.models import Subject
from zhenan.domains.transport.services import make_fence
from zhenan.kernel.territory.models import Division
from zhenan.packkit.sync import sync_packs
from zhenan.server import posix
from zhenan.server.processes import tracks

sync_packs()
town = Division.objects.create(code="321181000", name="town", level="town", path="321181000/")
now = datetime.now(UTC)
terms = {"shape": "circle", "points": [[LAT, LON]], "size_m": RADIUS_M, "speed_kmh": LIMIT_KMH, "level": 2}
fence = make_fence(name="F", division=town, terms=terms, valid_from=now - timedelta(days=1), by=None, at=now)
found = []
for n in range(VEHICLES):
    place = Subject.objects.create(
        type="hazmat_transport.vehicle", programme="hazmat_transport", key=f"V{n}", name=f"V{n}", division=town
    )
    device = register_device(
        subject=place, model="hazmat_transport.terminal", key=f"1990000000{n}", name=f"V{n}", by=None, at=now
    )
    found.append(device.pk)
connections.close_all()
print("FACTS" + json.dumps({"fence": fence.pk, "vehicles": found}), flush=True)
tie = posix.die_with_parent(signal.SIGKILL)
for _ in sys.stdin:
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            tie()
            status = tracks.main([])
        finally:
            sys.stderr.flush()
            os._exit(status)
    print(f"PID{pid}", flush=True)
    print(f"END{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}", flush=True)
"""


class Starter:
    """Starts `zhenan tracks` again and again on a test's own engines."""

    def __init__(self, folder: Path, database: str, nats: Any) -> None:
        env = {
            **os.environ, "DATABASE_URL": database, "NATS_URL": nats.url, "MQTT_URL": nats.mqtt_url,
            "ZHENAN_DATA": str(folder), "HISTORY_URL": str(folder / "history"), "PYTHONPATH": str(ROOT / "src"),
            "ZHENAN_HISTORY_SECONDS": "1", "DJANGO_SETTINGS_MODULE": "zhenan.server.settings",
        }  # fmt: skip
        words = f"LAT, LON, RADIUS_M, LIMIT_KMH, VEHICLES = {LAT}, {LON}, {RADIUS_M}, {LIMIT_KMH}, {VEHICLES}\n"
        self.log = folder / "tracks.log"
        self.history, self.database, self.nats = str(folder / "history"), database, nats.url
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", words + STARTER], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=out, text=True, start_new_session=True, preexec_fn=posix.die_with_parent(signal.SIGKILL),
            )  # fmt: skip
        self.facts = json.loads(self._said("FACTS"))

    def _said(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        raise AssertionError(f"ended before {word}\n{self.log.read_text('utf-8', 'replace')[-3000:]}")

    def start(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("start\n")
        self.process.stdin.flush()
        return int(self._said("PID"))

    def end(self, pid: int, how: signal.Signals) -> int:
        """Send a signal; the status with which the process ended."""
        with contextlib.suppress(ProcessLookupError):  # it ended by itself: its status says how
            os.kill(pid, how)
        return int(self._said("END"))

    def said(self) -> str:
        return self.log.read_text("utf-8", "replace")[-3000:]

    def starts(self) -> int:
        """How often one was ready to work."""
        return self.log.read_text("utf-8", "replace").count("tracks.ready")


@pytest.fixture
def starter(tmp_path: Path, tmp_nats: Any, database_server: str, django_db_setup: None) -> Any:
    name = f"tracks_{os.getpid()}"
    found = Starter(tmp_path, databases.make_database(database_server, name), tmp_nats)
    yield found
    os.killpg(found.process.pid, signal.SIGKILL)
    found.process.wait()
    with psycopg.connect(database_server, autocommit=True) as db:
        databases.drop_database(db, name)


def drive(vehicles: list[int], began_ms: int) -> Iterator[list[Position]]:
    """Rounds of one position a vehicle: to and fro across the fence, now and then too fast in it."""
    rng = random.Random(7)
    for n in range(MOST):
        there = []
        for vehicle in vehicles:
            metres = 150 * abs((n + 3 * vehicle) % 14 - 7)  # 0 to 1,050 m north of the middle
            lat, lon = from_degrees([LAT + metres / 110_574, LON]).tolist()
            there.append(Position(vehicle, began_ms + n * STEP_MS, lat, lon, rng.choice((200, 300, 650)), 0, 3, 0))
        yield there


async def send(url: str, rounds: Iterator[list[Position]], sent: list[list[Position]], over: threading.Event) -> None:
    """As the gateway does it: a commit a round; one in five comes a second time, as after a torn commit."""
    client = await connect(url, "test")
    log = PositionLog(client, "gateway")
    await log.open()
    for there in rounds:
        if over.is_set() and len(sent) >= LEAST:
            break
        sent.append(there)
        await log.commit(there)
        if len(sent) % 5 == 0:
            await log.commit(there)
        await asyncio.sleep(PACE_S)
    await client.close()


def kill_at_random(starter: Starter) -> int:
    """Now while it starts, now while it reads and writes: moments that nobody chose. The one that runs at the end."""
    rng = random.Random(20261128)
    running = starter.start()
    for number in range(KILLS):
        wanted, deadline = starter.starts() + 1, time.monotonic() + 30
        while number % 3 and starter.starts() < wanted and time.monotonic() < deadline:
            time.sleep(0.02)  # two of three only once it works
        time.sleep(rng.uniform(0.05, 1.3))
        assert starter.end(running, signal.SIGKILL) == -signal.SIGKILL, starter.said()
        running = starter.start()
    return running


def undisturbed(fence: int, rounds: list[list[Position]]) -> tuple[Counter[tuple[Any, ...]], PositionColumns]:
    """The events that one judge gives that nobody disturbs, and all positions."""
    whole = PositionColumns.of(*zip(*(position for there in rounds for position in there), strict=True))
    shape = Fence(str(fence), 1, "circle", ((LAT, LON),), size_m=RADIUS_M, speed_kmh=LIMIT_KMH)
    events, _ = FenceJudge([shape]).judge(whole)
    return Counter((str(e.id), e.vehicle, e.kind) for e in events), whole


def settled(starter: Starter, wanted: int) -> list[tuple[int, ...]]:
    """Everything in the table, once it is all there."""
    table, deadline = Tracks(f"{starter.history}-positions"), time.monotonic() + 40
    while True:
        found = table.since(0) if table.open() is not None else PositionColumns.empty()
        if len(found) >= wanted:
            return sorted(zip(*(column.tolist() for column in found.arrays()), strict=True))
        assert time.monotonic() < deadline, f"{len(found)} of {wanted}: {starter.log.read_text('utf-8')[-3000:]}"
        time.sleep(0.2)


def ask(database: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database) as db:
        return db.execute(query).fetchall()  # type: ignore[arg-type]


@pytest.mark.timeout(180)
def test_killed_at_random_moments_every_position_is_stored_once_and_every_event_told_once(starter: Starter) -> None:
    rounds = drive(starter.facts["vehicles"], (int(time.time()) - MOST * STEP_MS // 1000 - 60) * 1000)
    sent: list[list[Position]] = []
    over = threading.Event()
    sending = threading.Thread(target=lambda: asyncio.run(send(starter.nats, rounds, sent, over)), daemon=True)
    sending.start()
    running = kill_at_random(starter)
    over.set()
    sending.join(60)
    assert not sending.is_alive()
    wanted, whole = undisturbed(starter.facts["fence"], sent)
    stored = settled(starter, len(whole))
    assert stored == sorted(zip(*(column.tolist() for column in whole.arrays()), strict=True))
    assert starter.end(running, signal.SIGTERM) == 0

    told = Counter(
        (str(pk), device, kind)
        for pk, device, kind in ask(starter.database, "SELECT id, device_id, kind FROM transport_fencerecord")
    )
    assert len(wanted) > 60  # else the test shows little
    assert told == wanted
    raised = Counter(kind for _, _, kind in wanted.elements())
    ((alarms,),) = ask(starter.database, "SELECT count(*) FROM monitoring_alarm")
    assert alarms == raised["enter"] + raised["speed"]
    events = "SELECT count(*), count(DISTINCT targets[1]) FROM events_event WHERE kind = 'alarm.raised'"
    assert ask(starter.database, events) == [(alarms, alarms)]
