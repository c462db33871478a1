"""What simulated devices put on the wire comes out of the gateway as what the packs said they measure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from zhenan.domains.monitoring import queries
from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.register.models import Subject
from zhenan.packkit.registry import registry
from zhenan.packkit.sync import sync_packs
from zhenan.server.processes.fleet import Fleet, Incident, Readings, steps_of, values_of
from zhenan.telemetry.codecs import gb26875, jt808, mqtt_json
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway.registry import Registry, map_readings
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.rulefile import rules_from

NOW = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
HOUR_MS = 3_600_000
VEHICLE = "19900000001"
WAY = [[119.40, 32.20], [119.60, 32.20], [119.60, 32.35]]


@pytest.fixture
def fleet(personas: Any) -> Fleet:
    """A detector over MQTT, a smoke detector and leakage meter behind a transmission device, and a tanker."""
    sync_packs()

    def site(kind: str, key: str) -> Subject:
        return Subject.objects.create(
            type=kind, programme=kind.partition(".")[0], key=key, name=key, division=personas.grid
        )

    def device(model: str, key: str, at: Subject, **more: Any) -> Any:
        return register_device(subject=at, model=model, key=key, name=key, by=None, at=NOW, **more)

    device("catering_gas.gas_detector", "GD1", site("catering_gas.caterer", "C1"))
    place = site("smart_fire.site", "S1")
    panel = device("smart_fire.transmission_device", "3211000003e9", place)
    device("smart_fire.smoke_detector", "3211000003e9-1", place, parent=panel, channels=["sys1.40.17.status"])
    channels = ["sys1.17.5.a9", "sys1.18.5.a3"]
    device("smart_fire.smart_electricity", "3211000003e9-2", place, parent=panel, channels=channels)
    tanker = site("hazmat_transport.vehicle", "V1")
    device("hazmat_transport.terminal", VEHICLE, tanker, attributes={"ways": [WAY], "plate": "苏LI0001"})
    return Fleet.load(7)


def through_the_gateway(fleet: Fleet, found: Readings) -> dict[tuple[int, int], float]:
    """(point id, ts) → value, as the gateway maps what is on the wire."""
    known = Registry(queries.gateway_points())
    seen: dict[tuple[int, int], float] = {}
    messages = []
    for key, samples in fleet.mqtt(found):
        payload = json.dumps(samples).encode()
        messages.append(("mqtt_json", key, mqtt_json.decode(payload, NOW_MS + HOUR_MS).readings))
    for key, kind, objects in fleet.gb26875(found):
        for one in objects:
            frame = gb26875.send(key, "000000000001", 1, kind, [one], NOW_MS)
            messages.append(("gb26875", key, gb26875.readings(gb26875.parse(frame), NOW_MS + HOUR_MS)))
    for _about, key, place in fleet.jt808(found):
        frame = jt808.location(jt808.Header(msg_id=0x0200, phone=key.zfill(12), serial=1), **place)
        messages.append(("jt808", key, jt808.readings(jt808.parse(frame), NOW_MS + HOUR_MS)))
    for protocol, key, readings in messages:
        device = known.find(protocol, key)
        assert device is not None
        mapped = map_readings(device, readings, NOW_MS + HOUR_MS)
        assert protocol == "jt808" or not mapped.unmapped  # of a location, latitude and such are no points
        assert not mapped.future
        seen |= dict(zip(zip(mapped.rows.point, mapped.rows.ts, strict=True), mapped.rows.value, strict=True))
    return seen


def test_values_survive_the_wire(fleet: Fleet) -> None:
    found = fleet.window(NOW_MS, NOW_MS + HOUR_MS)
    assert {fleet.wires[i].protocol for i in set(found.index.tolist())} == {"mqtt_json", "gb26875", "jt808"}
    seen = through_the_gateway(fleet, found)
    rows = list(queries.Point.objects.order_by("device_id", "id").values_list("id", "measure"))
    for index, ts, value in zip(found.index.tolist(), found.ts.tolist(), found.value.tolist(), strict=True):
        point, measure = rows[index]
        second = (
            ts if fleet.wires[index].protocol == "mqtt_json" else ts // 1000 * 1000
        )  # the frame's clock has no more
        step = 1.0 if measure == "residual_current" else 0.1
        assert seen[point, second] == pytest.approx(value, abs=step / 2 + 1e-9), (measure, ts)


def test_a_rate_is_kept_by_more_reports_or_by_fewer_devices(fleet: Fleet) -> None:
    fleet.window(NOW_MS - HOUR_MS, NOW_MS)
    found = fleet.window(NOW_MS, NOW_MS + 10_000, at_least_per_s=50)
    assert len(found.ts) == pytest.approx(500, abs=5)
    assert found.ts.min() >= NOW_MS
    assert found.ts.max() < NOW_MS + 10_000
    usual = fleet.usual_per_s(NOW_MS)
    fleet.limit(usual / 2, NOW_MS)
    assert 0.4 < fleet.share < 0.6


def test_every_incident_raises_its_alarm_and_clears_it(fleet: Fleet) -> None:
    rules = [rule for rule in registry().alarm_rules() if values_of(rule)]
    assert len(rules) > 5
    for rule in rules:
        judge = Judge(rules_from({"rules": [rule.judge_rule()]}), ["p"])
        steps = steps_of(rule, NOW_MS)
        times, values = zip(*steps, strict=True)
        found = judge.judge(Columns.of([0] * len(steps), times, values, [0] * len(steps)))
        kinds = [t.kind for t in judge.records(found.transitions)]
        assert kinds == ["raise", "clear"], rule.code


def test_an_incident_takes_the_place_of_the_points_own_readings(fleet: Fleet) -> None:
    begun = fleet.begin_incident(NOW_MS)
    assert begun is not None
    (incident,) = fleet.incidents.values()
    found = fleet.window(NOW_MS, NOW_MS + HOUR_MS)
    mine = found.index == incident.index
    assert list(zip(found.ts[mine].tolist(), found.value[mine].tolist(), strict=True)) == incident.steps
    assert not fleet.incidents


def test_a_speeding_vehicle_says_so_in_every_report_until_it_slows_down(fleet: Fleet) -> None:
    index = next(p.index for p in fleet.points if (p.device_key, p.measure) == (VEHICLE, "speed"))
    steps = [(NOW_MS + n * 10_000, kmh) for n, kmh in enumerate([60.0, 92.0, 92.0, 92.0, 50.0])]
    fleet.incidents[index] = Incident(index, steps)
    told: dict[str, float] = {}
    for n in range(60):  # a second a window, as the simulator does it
        found = fleet.window(NOW_MS + n * 1000, NOW_MS + (n + 1) * 1000)
        told |= {place["time"].isoformat(): place["speed_kmh"] for _, _, place in fleet.jt808(found)}
    assert [told[local_from_ms(ts).isoformat()] for ts, _ in steps] == [60.0, 92.0, 92.0, 92.0, 50.0]
    between = [kmh for at, kmh in told.items() if "12:00:10" <= at[11:] < "12:00:40"]
    assert set(between) == {92.0}


def test_a_vehicle_reports_where_it_is_on_its_way(fleet: Fleet) -> None:
    found = fleet.window(NOW_MS, NOW_MS + HOUR_MS)
    places = [place for _, key, place in fleet.jt808(found) if key == VEHICLE]
    assert len(places) >= 12  # one every five minutes in the yard, more on the way
    for place in places:
        on_first, on_second = abs(place["lat"] - 32.20) < 1e-4, abs(place["lon"] - 119.60) < 1e-4
        assert on_first or on_second
        assert bool(place["status"] & 1) == (place["speed_kmh"] > 0)
