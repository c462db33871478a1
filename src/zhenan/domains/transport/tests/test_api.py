"""The API of transport: what the pages show, to those to whom they show it; fences made, changed and ended."""

from datetime import timedelta

import pytest
from django.utils import timezone

from zhenan.domains.transport.models import Fence
from zhenan.domains.transport.tests.conftest import LON, NOON, SQUARE, T0, TRIP

TERMS = {"shape": "polygon", "points": SQUARE, "speed_kmh": 40, "windows": [{"days": 31, "start": 1320, "end": 360}]}


def test_vehicles_come_with_their_last_positions_and_may_be_asked_for_by_area(trip, as_):
    client = as_("town_officer_here")
    (found,) = client.get("/api/transport/vehicles").json()
    assert (found["id"], found["key"], found["subject"]) == (trip.pk, "13912345678", "危货一号车")
    assert found["last"]["lon"] == pytest.approx(LON)
    assert client.get(f"/api/transport/vehicles/{trip.pk}").json() == found
    assert client.get("/api/transport/vehicles", {"after": trip.pk}).json() == []
    here, away = "119,32,120,33", "110,30,111,31"
    assert len(client.get("/api/transport/vehicles", {"bbox": here}).json()) == 1
    assert client.get("/api/transport/vehicles", {"bbox": away}).json() == []
    assert client.get("/api/transport/vehicles", {"bbox": "9,9,1,1"}).status_code == 422


def test_a_day_has_track_trips_stops_and_events(trip, as_):
    client = as_("town_officer_here")
    day = client.get(f"/api/transport/vehicles/{trip.pk}/day", {"day": "2026-03-05"}).json()
    assert [row[0] for row in day["positions"]] == [T0 + s * 1000 for s, _, _ in TRIP]
    assert [event["kind"] for event in day["events"]] == ["enter", "speed", "speed_end", "dwell", "leave"]
    assert (len(day["stops"]), [f["name"] for f in day["fences"]]) == (1, ["城东禁行区"])
    page = client.get(f"/transport/vehicles/{trip.pk}/data/", {"day": "2026-03-05"}).json()
    assert page == day
    assert client.get(f"/api/transport/vehicles/{trip.pk}/day", {"day": "1999-01-01"}).status_code == 422


def test_an_area_at_a_moment_has_those_who_were_there(trip, as_):
    asked = {"bbox": "119.4,32.19,119.5,32.25", "at": (NOON + timedelta(seconds=200)).isoformat(), "minutes": 3}
    found = as_("town_officer_here").get("/api/transport/area", asked).json()
    assert [point[0] for vehicle in found["vehicles"] for point in vehicle["points"]] == [
        T0 + s * 1000 for s in (60, 120, 180)
    ]
    assert as_("town_officer_here").get("/api/transport/area", asked | {"bbox": "100,20,130,40"}).status_code == 422


def test_what_is_beyond_the_reach_is_not_there(trip, fence, as_):
    client = as_("town_officer_elsewhere")
    for path in (f"vehicles/{trip.pk}", f"vehicles/{trip.pk}/day", f"fences/{fence.pk}"):
        assert client.get(f"/api/transport/{path}").status_code == 404, path
    for path in ("vehicles", "fences", "events"):
        assert client.get(f"/api/transport/{path}").json() == [], path
    asked = {"bbox": "119,32,120,33", "at": (NOON + timedelta(hours=1)).isoformat(), "minutes": 60}
    assert client.get("/api/transport/area", asked).json()["vehicles"] == []


def test_events_are_listed_by_vehicle_fence_and_time(trip, fence, as_):
    client = as_("town_officer_here")
    found = client.get("/api/transport/events", {"fence_id": fence.pk, "vehicle_id": trip.pk}).json()
    assert [row["kind"] for row in found] == ["leave", "dwell", "speed_end", "speed", "enter"]
    until = client.get("/api/transport/events", {"until": found[2]["at"]}).json()
    assert [row["kind"] for row in until] == ["speed", "enter"]


def test_a_fence_is_made_changed_and_ended_over_the_api(personas, as_):
    client = as_("city_officer")

    def post(path, body):
        return client.post(f"/api/transport/{path}", body, content_type="application/json")

    made = post("fences", {"name": "夜间禁行区", "division": personas.here.code, "terms": TERMS})
    assert made.status_code == 201
    pk = made.json()["id"]
    (version,) = made.json()["versions"]
    assert (version["version"], version["windows"], version["valid_to"]) == (1, TERMS["windows"], None)
    later = (timezone.now() + timedelta(days=1)).isoformat()
    changed = post(f"fences/{pk}/versions", {"terms": TERMS | {"level": 1}, "valid_from": later})
    assert [(v["version"], v["level"]) for v in changed.json()["versions"]] == [(2, 1), (1, 3)]
    crossing = TERMS | {"points": [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]}
    refused = post("fences", {"name": "x", "division": personas.here.code, "terms": crossing})
    assert (refused.status_code, refused.json()["code"]) == (409, "fence.invalid")
    strange = TERMS | {"goods_classes": ["liquids"]}
    refused = post("fences", {"name": "x", "division": personas.here.code, "terms": strange})
    assert (refused.status_code, refused.json()["code"]) == (409, "fence.unknown_class")
    assert "liquids" in refused.json()["detail"]
    assert post(f"fences/{pk}/end", {}).json()["ended_at"] is not None
    assert post(f"fences/{pk}/end", {}).json()["code"] == "fence.ended"
    assert [f["id"] for f in client.get("/api/transport/fences", {"ended": "true"}).json()] == [pk]


def test_who_may_not_edit_rules_makes_no_fence(personas, fence, as_):
    client = as_("town_officer_here")
    body = {"name": "x", "division": personas.here.code, "terms": TERMS}
    assert client.post("/api/transport/fences", body, content_type="application/json").status_code == 403
    ended = client.post(f"/api/transport/fences/{fence.pk}/end", {}, content_type="application/json")
    assert ended.status_code == 403
    fence.refresh_from_db()
    assert (fence.ended_at, Fence.objects.count()) == (None, 1)
