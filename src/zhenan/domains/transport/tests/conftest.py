"""A tanker with a terminal, and a square fence in the town."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from zhenan.domains.monitoring.models import Device, Point
from zhenan.domains.register.models import Subject
from zhenan.domains.transport import queries, services
from zhenan.packkit.sync import sync_packs
from zhenan.telemetry.tracks.columns import PositionColumns, from_degrees
from zhenan.telemetry.tracks.judge import FenceJudge

NOON = datetime(2026, 3, 5, 4, 0, tzinfo=UTC)
T0 = int(NOON.timestamp() * 1000)
LAT, LON = 32.2, 119.45
SQUARE = [[LAT, LON - 0.01], [LAT, LON + 0.01], [LAT + 0.01, LON + 0.01], [LAT + 0.01, LON - 0.01]]
TERMS = {"shape": "polygon", "points": SQUARE, "level": 2, "speed_kmh": 40.0, "dwell_s": 600}
TRIP = ((0, -500, 30), (60, 5, 30), (120, 50, 55), (180, 60, 20), (700, 70, 0), (800, -500, 30))


@pytest.fixture(autouse=True)
def _own_history(settings, tmp_path):
    settings.HISTORY_URL = str(tmp_path / "history")


@pytest.fixture
def vehicle(personas, db):
    sync_packs()
    subject = Subject.objects.create(
        type="catering_gas.caterer", programme="catering_gas", key="V1", name="危货一号车", division=personas.grid,
        organisation=personas.organisations["enterprise-here"],
        attributes={"vehicle_class": "罐车", "goods_class": "3"},
    )  # fmt: skip
    device = Device.objects.create(
        protocol="jt808", key="13912345678", model="transport.terminal", programme="catering_gas", subject=subject,
        name="苏L12345",
    )  # fmt: skip
    Point.objects.create(device=device, channel="speed_kmh", measure="speed", unit="km/h")
    return device


@pytest.fixture
def fence(personas, db):
    return services.make_fence(
        name="城东禁行区", division=personas.here, terms=TERMS, valid_from=NOON - timedelta(days=1), by=None, at=NOON
    )


def positions(vehicle, *rows):
    """(seconds, metres north of the square's south side, km/h) …"""
    n = len(rows)
    return PositionColumns.of(
        [vehicle.pk] * n, [T0 + int(s * 1000) for s, _, _ in rows],
        from_degrees([LAT + m / 110_574 for _, m, _ in rows]),
        from_degrees([LON] * n), [int(k * 10) for _, _, k in rows], [90] * n, [3] * n, [0] * n,
    )  # fmt: skip


def store(settings, found):
    queries.tracks(settings.HISTORY_URL).append(found, "t", int(np.random.default_rng().integers(1, 2**30)))


def judged(*, at=NOON):
    setup = queries.fence_setup(at)
    return FenceJudge(setup.fences, setup.kinds)


@pytest.fixture
def trip(vehicle, fence, settings):
    """The vehicle after its trip through the fence."""
    found = positions(vehicle, *TRIP)
    store(settings, found)
    services.save_last_positions(found.take(found.ts == found.ts.max()))
    services.record_fence_events(judged().judge(found)[0], at=NOON)
    return vehicle


@pytest.fixture
def as_(client, personas):
    """Signs the client in as a persona."""

    def go(name):
        client.force_login(personas[name])
        return client

    return go
