"""A caterer with a gas detector and a shut-off valve, as the tests of monitoring know it."""

from datetime import UTC, datetime

import pytest

from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import Device, Point
from zhenan.domains.register.models import Subject
from zhenan.packkit.sync import sync_packs
from zhenan.telemetry.judge.results import Transition

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
ONSET = int(NOON.timestamp() * 1000)


@pytest.fixture
def packs(db):
    sync_packs()


@pytest.fixture
def caterer(personas, packs):
    return Subject.objects.create(
        type="catering_gas.caterer",
        programme="catering_gas",
        key="C1",
        name="老街饭店",
        division=personas.grid,
        organisation=personas.organisations["enterprise-here"],
        lon=119.55,
        lat=32.0,
        address="中山路1号",
    )


@pytest.fixture
def detector(caterer):
    return register_device(
        subject=caterer, model="catering_gas.gas_detector", key="GD0001", name="后厨报警器", by=None, at=NOON
    )


@pytest.fixture
def valve(caterer):
    return register_device(
        subject=caterer, model="catering_gas.shutoff_valve", key="SV0001", name="切断阀", by=None, at=NOON
    )


@pytest.fixture
def transition(detector):
    """Makes the judge's word about the detector's gas point: raise or clear of an episode."""
    point = detector.points.get(measure="gas_lel")

    def make(kind="raise", *, rule="catering_gas.gas_alarm", onset=ONSET, after_s=0, value=22.0, level=2):
        return Transition(str(point.pk), rule, kind, onset + after_s * 1000, onset, value, level)

    return make


@pytest.fixture
def detectors(caterer):
    """Makes so many detectors at the caterer, or another site, quickly; their gas points."""

    def make(count, site=caterer):
        first = Device.objects.count()
        devices = Device.objects.bulk_create(
            Device(
                protocol="mqtt_json", key=f"S{first + n}", model="catering_gas.gas_detector", programme="catering_gas",
                subject=site, name=f"报警器{first + n}",
            )
            for n in range(count)
        )  # fmt: skip
        return Point.objects.bulk_create(
            Point(device=device, channel="lel", measure="gas_lel", unit="%LEL") for device in devices
        )

    return make


def raises(points, *, level=2, rule="catering_gas.gas_alarm", onset=ONSET, kind="raise", after_s=0):
    return [Transition(str(p.pk), rule, kind, onset + after_s * 1000, onset, 22.0, level) for p in points]
