"""Fences through the services: made, changed, ended; their events once, and in the alarm console."""

from datetime import timedelta

import pytest
from django.utils import translation

from zhenan.domains.monitoring.models import Alarm
from zhenan.domains.transport import queries, services
from zhenan.domains.transport.errors import FenceEnded, NoFence, NotBefore, UnknownClass
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion, LastPosition
from zhenan.domains.transport.tests.conftest import NOON, SQUARE, T0, TERMS, TRIP, judged, positions
from zhenan.kernel.access.guards import NotAllowed


def test_a_trip_through_a_fence_leaves_its_events_and_alarms_once(vehicle, fence):
    events, _ = judged().judge(positions(vehicle, *TRIP))
    assert [e.kind for e in events] == ["enter", "speed", "speed_end", "dwell", "leave"]
    assert services.record_fence_events(events, at=NOON) == 5
    assert services.record_fence_events(events, at=NOON) == 0
    assert FenceRecord.objects.count() == 5
    alarms = {a.rule: (a.level, a.cleared_at is not None, a.onset) for a in Alarm.objects.all()}
    assert alarms == {
        "围栏「城东禁行区」驶入": (2, True, NOON + timedelta(seconds=60)),
        "围栏「城东禁行区」停留超时": (2, True, NOON + timedelta(seconds=60)),
        "围栏「城东禁行区」超速": (2, True, NOON + timedelta(seconds=120)),
    }


def test_events_of_unknown_vehicles_and_fences_are_left_out(vehicle, fence):
    events, _ = judged().judge(positions(vehicle, *TRIP))
    strange = [events[0]._replace(vehicle=vehicle.pk + 999), events[0]._replace(fence="99999")]
    assert services.record_fence_events(strange, at=NOON) == 0


def test_classes_of_a_fence_are_those_of_the_subject(vehicle, personas):
    for name, classes in (("罐车", ["罐车", "tanker"]), ("厢式车", ["van"])):
        services.make_fence(
            name=name, division=personas.here, terms=TERMS | {"vehicle_classes": classes, "goods_classes": ["3"]},
            valid_from=NOON - timedelta(days=1), by=None, at=NOON,
        )  # fmt: skip
    events, _ = judged().judge(positions(vehicle, (0, 50, 10)))
    assert [Fence.objects.get(pk=int(e.fence)).name for e in events] == ["罐车"]


def test_a_class_that_no_programme_names_and_no_vehicle_has_is_refused_with_those_that_are_known(vehicle, personas):
    make = {"division": personas.here, "valid_from": NOON, "by": None, "at": NOON}
    with translation.override("en"):
        for terms, said in (({"vehicle_classes": ["tankr"]}, "Vehicle classes: no programme names “tankr”"),
                            ({"goods_classes": ["3", "2.4"]}, "Goods classes: no programme names “2.4”")):  # fmt: skip
            with pytest.raises(UnknownClass) as caught:
                services.make_fence(name="x", terms=TERMS | terms, **make)
            assert said in str(caught.value)
        assert "3 (3 Flammable liquids)" in str(caught.value)
    assert not Fence.objects.exists()
    made = services.make_fence(name="x", terms=TERMS | {"vehicle_classes": ["罐车"]}, **make)
    vehicle.subject.attributes = {}
    vehicle.subject.save()  # nobody has the class any more: what the fence has named it may go on naming
    later = NOON + timedelta(hours=1)
    services.change_fence(made.pk, terms=TERMS | {"vehicle_classes": ["罐车"]}, valid_from=later, by=None, at=later)
    with pytest.raises(UnknownClass):
        services.make_fence(name="y", terms=TERMS | {"vehicle_classes": ["罐车"]}, **make)


def test_a_change_is_a_new_version_and_a_past_trip_keeps_the_old_one(vehicle, fence):
    later = NOON + timedelta(hours=1)
    moved = [[lat + 1, lon] for lat, lon in SQUARE]
    made = services.change_fence(fence.pk, terms=TERMS | {"points": moved}, valid_from=later, by=None, at=later)
    assert (made.version, FenceVersion.objects.get(fence=fence, version=1).valid_to) == (2, later)
    judge = judged(at=later)
    assert [e.version for e in judge.judge(positions(vehicle, *TRIP))[0]] == [1] * 5
    assert judge.judge(positions(vehicle, (3700, 50, 10)))[0] == []
    with pytest.raises(NotBefore):
        services.change_fence(fence.pk, terms=TERMS, valid_from=NOON, by=None, at=later)


def test_an_ended_fence_judges_the_past_and_changes_no_more(vehicle, fence):
    end = NOON + timedelta(seconds=300)
    services.end_fence(fence.pk, by=None, at=end)
    kinds = [(e.kind, (e.ts - T0) // 1000) for e in judged(at=end).judge(positions(vehicle, *TRIP))[0]]
    assert kinds[0] == ("enter", 60)
    assert kinds[-1] == ("leave", 700)
    for call in (services.end_fence, lambda pk, **k: services.change_fence(pk, terms=TERMS, valid_from=end, **k)):
        with pytest.raises(FenceEnded):
            call(fence.pk, by=None, at=end)


def test_a_fence_ended_before_it_began_stands_for_nothing(personas, db):
    made = services.make_fence(
        name="x", division=personas.here, terms=TERMS, valid_from=NOON + timedelta(days=9), by=None, at=NOON
    )
    services.end_fence(made.pk, by=None, at=NOON)
    assert len(queries.fence_setup(NOON).fences) == 1


@pytest.mark.parametrize(
    "wrong", [{"points": SQUARE[:2]}, {"points": [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]}, {"speed_kmh": -1.0},
              {"windows": [[0, 0, 60]]}, {"shape": "circle", "points": SQUARE[:1], "size_m": 0}],
)  # fmt: skip
def test_what_is_no_fence_is_refused_and_nothing_is_kept(personas, db, wrong):
    with pytest.raises(NoFence):
        services.make_fence(name="x", division=personas.here, terms=TERMS | wrong, valid_from=NOON, by=None, at=NOON)
    assert not Fence.objects.exists()


def test_only_who_may_change_rules_here_makes_and_ends_fences(personas, fence):
    for name in ("town_officer_here", "grid_worker"):
        with pytest.raises(NotAllowed):
            services.make_fence(
                name="x", division=personas.here, terms=TERMS, valid_from=NOON, by=personas[name], at=NOON
            )
        with pytest.raises(NotAllowed):
            services.end_fence(fence.pk, by=personas[name], at=NOON)
    assert Fence.objects.count() == 1


def test_last_positions_are_kept_one_a_vehicle(vehicle):
    services.save_last_positions(positions(vehicle, (0, 0, 10)))
    services.save_last_positions(positions(vehicle, (9, 500, 20)))
    row = LastPosition.objects.get()
    assert (row.device_id, row.speed_kmh, row.at) == (vehicle.pk, 20.0, NOON + timedelta(seconds=9))


def test_the_stamp_moves_with_fences_and_vehicles(vehicle, fence):
    seen = {queries.fences_stamp()}
    services.change_fence(
        fence.pk, terms=TERMS, valid_from=NOON + timedelta(hours=1), by=None, at=NOON + timedelta(hours=1)
    )
    seen.add(queries.fences_stamp())
    services.end_fence(fence.pk, by=None, at=NOON + timedelta(hours=2))
    seen.add(queries.fences_stamp())
    vehicle.save()
    seen.add(queries.fences_stamp())
    assert len(seen) == 4
