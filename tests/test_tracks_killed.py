"""`zhenan tracks` killed at random moments while positions come: each is stored once, each fence event told once."""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from tests.support import databases
from tests.support.live import Running

from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees
from zhenan.telemetry.tracks.fences import Fence
from zhenan.telemetry.tracks.judge import FenceJudge
from zhenan.telemetry.tracks.stream import Position, PositionLog
from zhenan.telemetry.tracks.table import Tracks

KILLS = 4
VEHICLES = 5
STEP_MS = 30_000
LEAST, MOST = 60, 600  # rounds: until the killing is over, but enough to show something
PACE_S = 0.09
LAT, LON = 32.2, 119.45
RADIUS_M, LIMIT_KMH = 500.0, 50.0

PREPARE = """
import json
from datetime import UTC, datetime, timedelta
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.register.models import Subject
from zhenan.domains.transport.services import make_fence
from zhenan.kernel.territory.models import Division
from zhenan.packkit.sync import sync_packs

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
print("FACTS" + json.dumps({"fence": fence.pk, "vehicles": found}))
"""


@pytest.fixture
def running(tmp_path: Path, tmp_nats: Any, database_server: str, django_db_setup: None) -> Any:
    name = f"tracks_{os.getpid()}"
    url = databases.make_database(database_server, name)
    found = Running(tmp_path, postgres=SimpleNamespace(url=url), nats=tmp_nats, ZHENAN_HISTORY_SECONDS="1")
    yield found
    found.end()
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


def kill_at_random(running: Running) -> None:
    """Now while it starts, now while it reads and writes: moments that nobody chose."""
    rng = random.Random(20261128)
    for number in range(KILLS):
        deadline = time.monotonic() + 20
        while number % 2 == 0 and not running.health("tracks") and time.monotonic() < deadline:
            time.sleep(0.02)  # every other one only once it works
        time.sleep(rng.uniform(0.1, 1.2))
        (running.folder / "run" / "tracks.health.json").unlink(missing_ok=True)
        running.kill("tracks")


def undisturbed(fence: int, rounds: list[list[Position]]) -> tuple[Counter[tuple[Any, ...]], PositionColumns]:
    """The events that one judge gives that nobody disturbs, and all positions."""
    whole = PositionColumns.of(*zip(*(position for there in rounds for position in there), strict=True))
    shape = Fence(str(fence), 1, "circle", ((LAT, LON),), size_m=RADIUS_M, speed_kmh=LIMIT_KMH)
    events, _ = FenceJudge([shape]).judge(whole)
    return Counter((str(e.id), e.vehicle, e.kind) for e in events), whole


def settled(running: Running, wanted: int) -> list[tuple[int, ...]]:
    """Everything in the table, once it is all there."""
    table, deadline = Tracks(f"{running.env['HISTORY_URL']}-positions"), time.monotonic() + 30
    while True:
        found = table.since(0) if table.open() is not None else PositionColumns.empty()
        if len(found) >= wanted:
            return sorted(zip(*(column.tolist() for column in found.arrays()), strict=True))
        assert time.monotonic() < deadline, f"{len(found)} of {wanted} positions\n{running.log('tracks')}"
        time.sleep(0.2)


@pytest.mark.timeout(120)
def test_killed_at_random_moments_every_position_is_stored_once_and_every_event_told_once(running: Running) -> None:
    words = f"LAT, LON, RADIUS_M, LIMIT_KMH, VEHICLES = {LAT}, {LON}, {RADIUS_M}, {LIMIT_KMH}, {VEHICLES}\n"
    facts = json.loads(running.command("shell", "-c", words + PREPARE).partition("FACTS")[2])
    rounds = drive(facts["vehicles"], (int(time.time()) - MOST * STEP_MS // 1000 - 60) * 1000)
    sent: list[list[Position]] = []
    over = threading.Event()
    running.start("tracks")
    sending = threading.Thread(target=lambda: asyncio.run(send(running.nats.url, rounds, sent, over)), daemon=True)
    sending.start()
    kill_at_random(running)
    over.set()
    sending.join(60)
    assert not sending.is_alive()
    wanted, whole = undisturbed(facts["fence"], sent)
    stored = settled(running, len(whole))
    assert stored == sorted(zip(*(column.tolist() for column in whole.arrays()), strict=True))
    assert running.stop() == {"tracks": 0}

    told = Counter((str(pk), device, kind) for pk, device, kind in running.rows(
        "SELECT id, device_id, kind FROM transport_fencerecord"))  # fmt: skip
    assert len(wanted) > 60  # else the test shows little
    assert told == wanted
    raised = Counter(kind for _, _, kind in wanted.elements())
    alarms = running.rows("SELECT count(*), count(cleared_at) FROM monitoring_alarm")
    events = running.rows("SELECT count(*), count(DISTINCT targets[1]) FROM events_event WHERE kind = 'alarm.raised'")
    assert alarms[0][0] == raised["enter"] + raised["speed"]
    assert events == [(alarms[0][0], alarms[0][0])]
