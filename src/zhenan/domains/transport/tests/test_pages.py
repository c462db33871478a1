"""Pages of transport: who sees which vehicle, what a day and an area show, a fence from drawing to its end."""

import csv
import json
import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.urls import reverse
from numba import typeof

from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.domains.transport import lists, queries, services
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion
from zhenan.domains.transport.tests.conftest import LAT, LON, NOON, SQUARE, T0, TERMS, TRIP
from zhenan.kernel import slots
from zhenan.kernel.lists.contract import check_list_page
from zhenan.telemetry.tracks import fence_core


def test_a_vehicles_day_shows_its_track_stops_and_events(trip, as_):
    client = as_("town_officer_here")
    assert client.get(reverse("transport:day", args=[trip.pk])).status_code == 200
    data = client.get(reverse("transport:day_data", args=[trip.pk]), {"day": "2026-03-05"}).json()
    assert [row[0] for row in data["positions"]] == [T0 + s * 1000 for s, _, _ in TRIP]
    assert data["positions"][1][1:4] == [pytest.approx(LON), pytest.approx(LAT + 5 / 110_574, abs=1e-6), 30.0]
    assert [event["kind"] for event in data["events"]] == ["enter", "speed", "speed_end", "dwell", "leave"]
    assert [fence["name"] for fence in data["fences"]] == ["城东禁行区"]
    assert len(data["stops"]) == 1
    other = client.get(reverse("transport:day_data", args=[trip.pk]), {"day": "2026-03-06"}).json()
    assert (other["positions"], other["events"]) == ([], [])
    assert client.get(reverse("transport:day_data", args=[trip.pk]), {"day": "yesterday"}).status_code == 400


def test_what_a_web_process_warms_up_is_what_a_vehicles_day_runs(trip, as_, monkeypatch):
    """Numba loads a loop for each combination of types of its arguments: another one warmed up would help nobody."""
    seen = {}
    for name in ("accepted", "stopped"):

        def spied(*args, _name=name, _loop=getattr(fence_core, name)):
            seen.setdefault(_name, []).append(tuple(typeof(arg) for arg in args))
            return _loop(*args)

        monkeypatch.setattr(fence_core, name, spied)
    warmers = [warmer for warmer in slots.warmers.ordered() if warmer.code == "tracks"]
    assert [warmer.run() for warmer in warmers] == [None]
    warmed = {name: set(kinds) for name, kinds in seen.items()}
    seen.clear()
    client = as_("town_officer_here")
    assert client.get(reverse("transport:day_data", args=[trip.pk]), {"day": "2026-03-05"}).json()["count"] == len(TRIP)
    assert {name: set(kinds) for name, kinds in seen.items()} == warmed
    assert len(warmed) == 2


def test_the_pages_with_a_map_say_that_they_are_loading(trip, as_):
    client = as_("town_officer_here")
    for url, words in ((reverse("transport:day", args=[trip.pk]), "正在载入当日轨迹"),
                       (reverse("transport:map"), "正在载入车辆")):  # fmt: skip
        page = client.get(url).content.decode()
        assert re.search(rf'id="map-state"[^>]*role="status"[^>]*aria-live="polite">{words} …<', page)


def test_vehicles_beyond_the_reach_do_not_exist(trip, as_):
    client = as_("town_officer_elsewhere")
    assert client.get(reverse("transport:day", args=[trip.pk])).status_code == 404
    assert client.get(reverse("transport:day_data", args=[trip.pk]), {"day": "2026-03-05"}).status_code == 404
    assert client.get(reverse("transport:live")).json()["features"] == []
    box = {"bbox": "119,32,120,33", "at": (NOON + timedelta(hours=1)).isoformat(), "minutes": 60}
    assert client.get(reverse("transport:area"), box).json()["vehicles"] == []


def test_an_area_at_a_moment_shows_who_was_there(trip, as_):
    client = as_("town_officer_here")
    assert client.get(reverse("transport:map")).status_code == 200
    (feature,) = client.get(reverse("transport:live"), {"bbox": "119,32,120,33"}).json()["features"]
    assert feature["properties"]["id"] == trip.pk
    box = {"bbox": "119.4,32.19,119.5,32.25", "at": (NOON + timedelta(seconds=200)).isoformat(), "minutes": 3}
    (found,) = client.get(reverse("transport:area"), box).json()["vehicles"]
    assert [point[0] for point in found["points"]] == [T0 + s * 1000 for s in (60, 120, 180)]
    for wrong in ({"minutes": 0}, {"minutes": 61}, {"at": "noon"}, {"bbox": "1,2,3"}, {"bbox": "9,9,1,1"},
                  {"bbox": "100,20,130,40"}, {"bbox": "nan,1,2,3"}):  # fmt: skip
        assert client.get(reverse("transport:area"), box | wrong).status_code == 400


def test_a_fence_is_drawn_changed_and_ended_on_the_pages(personas, as_):
    client = as_("city_officer")
    form = {
        "name": "画的围栏", "division": personas.here.pk, "shape": "polygon", "points": json.dumps(SQUARE),
        "hysteresis_m": "30", "level": "2", "alarm_on_enter": "on", "days": ["0", "1"], "begins": "22:00",
        "ends": "06:00", "further_windows": "67 00:00-24:00\r\n\r\n3 07:30-9:00",
        "vehicle_classes": ["van", "tanker"], "dwell_min": "10", "speed_kmh": "40",
    }  # fmt: skip
    crossing = [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]
    for wrong in (
        {"points": "[[1]]"},
        {"points": json.dumps(crossing)},
        {"ends": ""},
        {"days": []},
        {"level": "7"},
        {"days": [], "begins": "", "ends": ""},
        {"further_windows": "8 07:00-09:00"},
        {"further_windows": "1 07:60-09:00"},
        {"further_windows": "1 07:00-24:01"},
        {"vehicle_classes": ["tankr"]},
    ):
        assert client.post(reverse("transport:new_fence"), form | wrong).status_code == 422
    assert not Fence.objects.exists()
    assert client.post(reverse("transport:new_fence"), form).status_code == 302
    made = Fence.objects.get()
    version = made.versions.get()
    assert (version.windows, version.vehicle_classes, version.dwell_s) == (
        [[3, 1320, 360], [96, 0, 1440], [4, 450, 540]], ["tanker", "van"], 600,
    )  # fmt: skip
    page = client.get(reverse("transport:edit_fence", args=[made.pk]))
    assert 'value="22:00"' in page.content.decode()
    ticked = re.findall(r'<input[^>]*name="vehicle_classes" value="(\w+)"[^>]* checked>', page.content.decode())
    assert ticked == ["tanker", "van"]
    assert "罐式车" in page.content.decode()
    again = page.context["form"].initial["further_windows"]
    assert again == "67 00:00-24:00\n3 07:30-09:00"
    changed = client.post(
        reverse("transport:edit_fence", args=[made.pk]), form | {"level": "1", "further_windows": again}
    )
    assert changed.status_code == 302
    assert made.versions.latest("version").windows == version.windows
    assert [v.level for v in made.versions.order_by("version")] == [2, 1]
    assert client.post(reverse("transport:end_fence", args=[made.pk])).status_code == 302
    assert "画的围栏" in client.get(reverse("transport:fence", args=[made.pk])).content.decode()
    made.refresh_from_db()
    assert made.ended_at is not None


def test_a_fences_page_leads_to_all_its_events_and_to_no_others(trip, fence, personas, as_):
    twin = services.make_fence(
        name=fence.name, division=fence.division, terms=TERMS, valid_from=NOON, by=None, at=NOON
    ).versions.get()
    FenceRecord.objects.create(id=uuid4(), device=trip, version=twin, kind="enter", at=NOON, onset=NOON, value=1.0)
    client = as_("town_officer_here")
    page = client.get(reverse("transport:fence", args=[fence.pk])).content.decode()
    link = f"{reverse('transport:events')}?fence={fence.pk}"
    assert f'href="{link}"' in page
    rows = client.get(link).context["list"].rows
    mine = set(FenceRecord.objects.filter(version__fence=fence).values_list("pk", flat=True))
    assert (len(mine), {row.obj.pk for row in rows}) == (5, mine)
    wrong = client.get(reverse("transport:events"), {"fence": "东"}).content.decode()
    assert "“东”不是围栏编号。" in wrong


def test_a_list_of_events_says_what_its_figures_are(trip, as_):
    rows = as_("town_officer_here").get(reverse("transport:events"), {"export": "csv"})
    lines = list(csv.reader(b"".join(rows.streaming_content).decode("utf-8-sig").splitlines()))
    told = {line[3]: line[4] for line in lines[1:]}
    assert told == {"驶入": "30 km/h", "超速": "55 km/h", "不再超速": "20 km/h", "停留超时": "11 min", "驶出": "12 min"}


def test_maps_go_by_the_citys_clock_and_levels_are_named(trip, fence, as_, settings):
    client = as_("city_officer")
    for name in ("day", "fence"):
        page = client.get(reverse(f"transport:{name}", args=[trip.pk if name == "day" else fence.pk]))
        assert page.context["config"]["zone"] == settings.TIME_ZONE
    assert "三级 黄" in client.get(reverse("transport:new_fence")).content.decode()


def test_an_alarm_of_a_fence_opens_in_the_console(trip, as_):
    client = as_("town_officer_here")
    alarm = Alarm.objects.order_by("rule").first()
    assert alarm.rule in client.get(reverse("monitoring:alarms")).content.decode()
    assert client.get(reverse("monitoring:alarm", args=[alarm.pk])).status_code == 200
    assert len(queries.fence_setup(NOON).fences) == 1


def more(kind, vehicle, personas):
    """Adds n vehicles, fences or events that a town officer sees."""

    def make(n):
        for number in range(n):
            if kind is lists.VehicleList:
                Device.objects.create(
                    protocol="jt808", key=f"1{Device.objects.count():010}", model="transport.terminal",
                    name=f"车{number}",
                    programme="catering_gas", subject=vehicle.subject,
                )  # fmt: skip
            elif kind is lists.FenceList:
                services.make_fence(
                    name=f"f{number}", division=personas.here, terms=TERMS, valid_from=NOON, by=None, at=NOON
                )
            else:
                version = FenceVersion.objects.first()
                FenceRecord.objects.create(
                    id=uuid4(), device=vehicle, version=version, kind="enter", at=NOON, onset=NOON, value=1.0
                )

    return make


@pytest.mark.parametrize("page", [lists.VehicleList, lists.FenceList, lists.EventList])
def test_lists_keep_the_contract(vehicle, fence, personas, client, page):
    names = {lists.VehicleList: "vehicles", lists.FenceList: "fences", lists.EventList: "events"}
    users = [personas["town_officer_here"], personas["town_officer_elsewhere"], personas["grid_worker"]]
    make = more(page, vehicle, personas)
    check_list_page(client, page, reverse(f"transport:{names[page]}"), users=users, make=make)
