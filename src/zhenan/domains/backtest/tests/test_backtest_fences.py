"""A fence tried on the recorded positions: what vehicles did, whose they are, who is told; beside what was verified."""

import csv
import json
from datetime import timedelta

import numpy as np
import pytest
from django.apps import apps
from django.urls import reverse
from django.utils import timezone, translation

from zhenan.domains.backtest import commands, services, words
from zhenan.domains.backtest.errors import (
    BadFence,
    BadPeriod,
    NoHistory,
    NoVehicles,
    UnknownFence,
    UnknownVersion,
)
from zhenan.domains.backtest.fences import FenceQuestion, fence_question
from zhenan.domains.backtest.lists import EventList
from zhenan.domains.backtest.models import Trial
from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.domains.register.models import Subject
from zhenan.domains.transport import queries
from zhenan.domains.transport import services as transport
from zhenan.domains.transport.errors import UnknownClass
from zhenan.domains.transport.models import Fence, FenceVersion
from zhenan.domains.transport.tests.conftest import LAT, LON, NOON, SQUARE, TERMS, fence, positions, vehicle
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.lists.contract import check_list_page
from zhenan.telemetry.tracks.columns import PositionColumns
from zhenan.telemetry.tracks.judge import FenceJudge

__all__ = ["fence", "vehicle"]
SINCE, UNTIL = NOON - timedelta(hours=4), NOON + timedelta(hours=4)
TRIP = ((0, -500, 30), (60, 5, 30), (120, 50, 55), (180, 60, 20), (700, 70, 0), (800, -500, 30))


@pytest.fixture(autouse=True)
def own_history(settings, tmp_path, monkeypatch):
    settings.HISTORY_URL = str(tmp_path / "history")
    monkeypatch.setenv("ZHENAN_BACKTEST_WORKERS", "1")


@pytest.fixture
def other(vehicle, personas):
    """A vehicle of another enterprise, elsewhere, that took the same way an hour later."""
    subject = Subject.objects.create(
        type="catering_gas.caterer", programme="catering_gas", key="V2", name="客运二号车", division=personas.elsewhere,
        organisation=personas.organisations["enterprise-elsewhere"], attributes={"vehicle_class": "客车"},
    )  # fmt: skip
    return Device.objects.create(
        protocol="jt808", key="13912345679", model="transport.terminal", programme="catering_gas", subject=subject,
        name="苏L54321",
    )  # fmt: skip


@pytest.fixture
def trips(vehicle, other, settings):
    found = PositionColumns.concat(
        [positions(vehicle, *TRIP), positions(other, *((s + 3600, m, kmh) for s, m, kmh in TRIP))]
    )
    queries.tracks(settings.HISTORY_URL).append(found, "t", 1)
    return found


def verify(found, cause_of):
    """What the live judge would have recorded, with what people made of it."""
    setup = queries.fence_setup(NOON)
    events, _ = FenceJudge(setup.fences, setup.kinds).judge(found.take(np.argsort(found.ts, kind="stable")))
    transport.record_fence_events(events, at=NOON)
    for rule, cause in cause_of.items():
        changed = Alarm.objects.filter(rule__endswith=rule).update(cause=cause, state="judged", judged_at=NOON)
        assert changed


def ask(personas, fence, by="city_officer", **more):
    given = {"changed": {}, "division": None, "since": SINCE, "until": UNTIL, **more}
    return services.begin(rule=f"fence:{fence.pk}", **given, by=personas[by], at=timezone.now())


def done(trial):
    assert services.carry_out(trial.pk) == "done", Trial.objects.get(pk=trial.pk).error
    trial.refresh_from_db()
    return trial.summary["versions"]


def test_events_are_counted_by_kind_vehicle_and_organisation_and_held_against_verified_causes(trips, fence, personas):
    verify(trips, {"驶入": "false_alarm", "超速": "real"})
    trial = ask(personas, fence, changed={"speed_kmh": 60.0, "alarm_on_enter": False})
    found = done(trial)
    standing, changed = found["standing"], found["changed"]
    assert standing["by_kind"] == {"enter": 2, "dwell": 2, "speed": 2}
    assert changed["by_kind"] == {"noted": 2, "dwell": 2}
    assert (standing["alarms"], changed["alarms"], changed["events"]) == (6, 2, 4)
    assert standing["causes"] == {"false_alarm": 1, "real": 1, "": 1}  # the other vehicle has no point, so no alarm
    assert (standing["precision"], changed["precision"]) == (0.5, None)
    assert (standing["missed_real"], changed["missed_real"]) == (0, 1)
    assert standing["by_vehicle"] == [[trips.vehicle[0], "苏L12345", 3], [trips.vehicle[-1], "苏L54321", 3]]
    names = [personas.organisations[f"enterprise-{place}"].name for place in ("here", "elsewhere")]
    assert sorted(standing["by_organisation"]) == sorted([[name, 3] for name in names])
    told = {(name, n) for name, role, n in standing["by_person"] if role == "town_office"}  # those of the two towns
    assert told == {("town_officer_here", 3), ("town_officer_2_here", 3), ("town_officer_elsewhere", 3)}
    assert len(standing["by_person"]) == 3
    hit = trial.hits.get(version="standing", kind="speed", device=trips.vehicle[0])
    assert (hit.lat, hit.lon, hit.value) == (pytest.approx(LAT + 50 / 110_574, abs=1e-6), pytest.approx(LON), 55.0)
    assert (hit.raised_at, hit.cleared_at) == (NOON + timedelta(seconds=120), NOON + timedelta(seconds=180))
    assert hit.recorded.cause == "real"


def test_alarms_found_are_the_alarms_that_were_recorded_live(trips, fence, personas):
    verify(trips, {})
    trial = ask(personas, fence)
    done(trial)
    mine = trial.hits.filter(device__points__isnull=False)
    found = {(hit.recorded_id, hit.onset, hit.raised_at, hit.cleared_at, hit.level) for hit in mine}
    assert len(found) == 3
    assert found == {(a.pk, a.onset, a.raised_at, a.cleared_at, a.level) for a in Alarm.objects.all()}


def test_as_it_was_and_in_two_versions(trips, fence, personas):
    later = NOON + timedelta(minutes=30)
    moved = [[lat + 1, lon] for lat, lon in SQUARE]
    transport.change_fence(fence.pk, terms={**TERMS, "points": moved}, valid_from=later, by=None, at=later)
    was = done(ask(personas, fence, standing_as="was"))
    assert was["standing"]["by_kind"] == {"enter": 1, "dwell": 1, "speed": 1}  # the second trip came after the change
    assert done(ask(personas, fence))["standing"]["events"] == 0  # by the version in force nobody was there
    both = ask(personas, fence, standing_as="v1", changed_as="v2")
    assert (both.standing_as, both.changed_as) == ("v1", "v2")
    found = done(both)
    assert (found["standing"]["events"], found["changed"]["events"]) == (6, 0)


def test_classes_and_time_windows_as_tried_choose_the_vehicles(trips, fence, personas):
    found = done(ask(personas, fence, changed={"vehicle_classes": ["客车"]}))
    assert found["changed"]["by_vehicle"] == [[trips.vehicle[-1], "苏L54321", 3]]
    found = done(ask(personas, fence, changed={"windows": [[127, 12 * 60, 12 * 60 + 30]]}))  # local noon is T0
    assert [name for _pk, name, _n in found["changed"]["by_vehicle"]] == ["苏L12345"]


def recorded_at(subject, *moments):
    """Backdate the records of the subject's changes, the first to the last."""
    records = apps.get_model("register", "SubjectEvent").objects.filter(pgh_obj=subject).order_by("pgh_id")
    for record, at in zip(records, moments, strict=True):
        records.filter(pk=record.pk).update(pgh_created_at=at)


def test_a_trip_is_judged_by_the_classes_that_are_recorded_of_its_time(trips, fence, personas, client):
    tanker, coach = (Device.objects.get(pk=pk).subject for pk in (trips.vehicle[0], trips.vehicle[-1]))
    terms = {"vehicle_classes": ["客车"], "goods_classes": []}
    assert done(ask(personas, fence, changed=terms))["changed"]["vehicles"] == 1
    assert Trial.objects.get().summary["classes"] == {"unrecorded": 2, "changed": 0}  # registered after their trips
    coach.attributes = {"vehicle_class": "罐车"}  # converted after its trip
    coach.save()
    tanker.name = "改名"  # no change of class
    tanker.save()
    tanker.attributes = {"vehicle_class": "客车"}  # while it was in the fence
    tanker.save()
    recorded_at(coach, SINCE, UNTIL)
    recorded_at(tanker, SINCE, SINCE, NOON + timedelta(seconds=150))
    trial = ask(personas, fence, changed=terms)
    found = done(trial)
    assert found["standing"]["events"] == 6
    assert sorted(found["changed"]["by_vehicle"]) == [[tanker.devices.get().pk, "苏L12345", 1],
                                                      [coach.devices.get().pk, "苏L54321", 3]]  # fmt: skip
    entered = trial.hits.get(version="changed", device__subject=tanker)
    assert (entered.kind, entered.raised_at) == ("enter", NOON + timedelta(seconds=180))  # and no longer too fast
    assert trial.summary["classes"] == {"unrecorded": 0, "changed": 1}
    client.force_login(personas["city_officer"])
    page = client.get(trial.get_absolute_url()).content.decode()
    assert "1 辆车在此期间有变更" in page


def test_a_person_tries_it_on_the_vehicles_and_fences_they_may_see(trips, fence, personas):
    trial = ask(personas, fence, by="district_officer_here")
    done(trial)
    assert set(trial.hits.values_list("device__name", flat=True)) == {"苏L12345"}
    with pytest.raises(UnknownFence):
        ask(personas, fence, by="district_officer_elsewhere")
    with pytest.raises(NotAllowed):
        ask(personas, fence, by="town_officer_here")
    assert "fence" not in [code.partition(":")[0] for code in _offered(personas["district_officer_elsewhere"])]
    assert f"fence:{fence.pk}" in _offered(personas["district_officer_here"])


def _offered(user):
    from zhenan.domains.backtest.forms import things

    return [code for _group, options in things(user) for code, _name in options]


CROSSING = [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"changed": {"points": CROSSING}}, BadFence, "cross"),
        ({"changed": {"points": [[float("nan"), LON], *SQUARE[1:]]}}, BadFence, "finite"),
        ({"changed": {"points": "here"}}, BadFence, "points"),
        ({"changed": {"speed_kmh": 900}}, BadFence, "200 km/h"),
        ({"changed": {"dwell_s": -5}}, BadFence, "stay"),
        ({"changed": {"speed": 40}}, BadFence, "speed_kmh?"),
        ({"changed": {"windows": [[0, 60, 120]]}}, BadFence, "day"),
        ({"changed": {"level": 9}}, BadFence, "level"),
        ({"changed": {"vehicle_classes": ["tankr"]}}, UnknownClass, "tanker"),
        ({"standing_as": "v7"}, UnknownVersion, "v1"),
        ({"since": UNTIL, "until": SINCE}, BadPeriod, "2026-03-05"),
        ({"since": timezone.now() + timedelta(days=1), "until": timezone.now() + timedelta(days=2)}, BadPeriod, "now"),
    ],
)
def test_what_cannot_be_asked_of_a_fence_is_refused_in_words(trips, fence, personas, given, error, said):
    with translation.override("en"):
        with pytest.raises(error) as caught:
            ask(personas, fence, **given)
        assert said in str(caught.value)
        assert "{" not in str(caught.value)
    assert not Trial.objects.exists()


def test_an_empty_history_is_said_to_be_empty(vehicle, fence, personas, settings, trips):
    trial = ask(personas, fence, since=SINCE - timedelta(days=60), until=UNTIL - timedelta(days=60))
    assert services.carry_out(trial.pk) == "failed"
    trial.refresh_from_db()
    assert "2026-03-05" in trial.error
    settings.HISTORY_URL += "-none"
    question = fence_question(str(fence.pk), changed={}, standing_as="", changed_as="", user=None, at=NOON)
    with pytest.raises(NoHistory):
        services.judged(question, since=SINCE, until=UNTIL, user=None, path="")
    with pytest.raises(NoVehicles):
        services.judged(question, since=SINCE, until=UNTIL, user=None, path="/nowhere/")


def test_a_fence_with_the_name_of_another_is_held_against_its_own_alarms(trips, fence, personas):
    verify(trips, {"驶入": "real"})
    twin = Fence.objects.create(name=fence.name, division=fence.division, made_at=NOON)
    FenceVersion.objects.create(
        fence=twin, version=1, valid_from=NOON, made_at=NOON, **TERMS, hysteresis_m=30, alarm_on_enter=True
    )
    found = done(ask(personas, twin))
    assert found["standing"]["causes"] == {}
    with pytest.raises(UnknownFence):
        fence_question(fence.name, changed={}, standing_as="", changed_as="", user=None, at=NOON)


def form(fence, **more):
    return {
        "rule": f"fence:{fence.pk}", "since": "2026-03-05", "until": "2026-03-05", "standing_as": "",
        "changed_as": "terms", "shape": "polygon", "points": json.dumps(SQUARE), "hysteresis_m": "30", "level": "2",
        "alarm_on_enter": "on", "speed_kmh": "40", "dwell_min": "10", **more,
    }  # fmt: skip


def test_the_pages_ask_show_and_list(trips, fence, personas, client):
    client.force_login(personas["city_officer"])
    page = client.get(reverse("backtest:new"), {"rule": f"fence:{fence.pk}"}).content.decode()
    for word in ('id="id_points"', 'value="40"', "城东禁行区", 'name="standing_as"'):
        assert word in page
    for wrong in ({"points": json.dumps(CROSSING)}, {"points": "x"}, {"since": "2100-01-01", "until": "2100-01-02"},
                  {"speed_kmh": "nan"}):  # fmt: skip
        assert client.post(reverse("backtest:new"), form(fence, **wrong)).status_code == 422
    assert not Trial.objects.exists()
    same = client.post(reverse("backtest:new"), form(fence))
    assert same.status_code == 302, same.content.decode()
    assert Trial.objects.get().changed == {}
    client.post(reverse("backtest:new"), form(fence, dwell_min="5"))
    trial = Trial.objects.order_by("pk").last()
    assert (trial.changed["dwell_s"], trial.standing["dwell_s"], trial.fence) == (300, 600, fence)
    done(trial)
    page = client.get(trial.get_absolute_url()).content.decode()
    for word in ("map-config", "苏L54321", "城东禁行区", personas.organisations["enterprise-here"].name):
        assert word in page
    rows = client.get(reverse("backtest:events", args=[trial.pk]), {"version": "changed", "kind": "dwell"})
    assert rows.content.decode().count("苏L54321") >= 1
    assert f'class="page-back" href="{trial.get_absolute_url()}"' in rows.content.decode()
    out = client.get(reverse("backtest:events", args=[trial.pk]), {"export": "csv"})
    lines = list(csv.reader(b"".join(out.streaming_content).decode("utf-8-sig").splitlines()))
    assert len(lines) == 1 + 12
    assert f"{LAT + 5 / 110_574:.5f}" in {cell for line in lines for cell in line}


def test_a_fences_page_and_its_alarms_lead_to_its_back_test(trips, fence, personas, client):
    verify(trips, {})
    link = f'href="{reverse("backtest:new")}?rule=fence%3A{fence.pk}"'
    pages = [reverse("transport:fence", args=[fence.pk]),
             *(reverse("monitoring:alarm", args=[alarm.pk]) for alarm in Alarm.objects.all())]  # fmt: skip
    assert len(pages) == 4
    for person, shown in (("city_officer", True), ("town_officer_here", False)):  # who may not try rules sees none
        client.force_login(personas[person])
        for page in pages:
            answer = client.get(page)
            assert (answer.status_code, link in answer.content.decode()) == (200, shown), (person, page)
    client.force_login(personas["city_officer"])
    chosen = client.get(reverse("backtest:new"), {"rule": f"fence:{fence.pk}"}).content.decode()
    assert f'<option value="fence:{fence.pk}" selected>' in chosen


def test_the_list_of_events_keeps_its_contract(trips, fence, personas, client):
    officer = personas["city_officer"]
    trial = ask(personas, fence)
    done(trial)
    hit = trial.hits.first()

    def more(count):
        for i in range(count):
            hit.pk, hit.raised_at = None, NOON + timedelta(minutes=i)
            hit.save(force_insert=True)

    check_list_page(client, EventList, reverse("backtest:events", args=[trial.pk]), users=[officer], make=more)


def test_the_command_tries_a_fence_by_name_or_number(trips, fence, capsys, tmp_path):
    out = tmp_path / "events.csv"
    argv = ["--fence", fence.name, "--from", "2026-03-05", "--to", "2026-03-05"]
    assert commands.main([*argv, "--set", "speed_kmh=60", "--set", "dwell_s=", "--json", "--out", str(out)]) == 0
    found = json.loads(capsys.readouterr().out)["versions"]
    assert (found["standing"]["by_kind"], found["changed"]["by_kind"]) == (
        {"enter": 2, "dwell": 2, "speed": 2}, {"enter": 2},
    )  # fmt: skip
    rows = list(csv.DictReader(out.open(encoding="utf-8-sig")))
    assert [row["kind"] for row in rows if row["version"] == "changed"] == ["enter", "enter"]
    assert rows[0]["organisation"]
    argv[1] = str(fence.pk)
    assert commands.main([*argv, "--as-it-was", "--against", "1"]) == 0
    assert "2 enter" in capsys.readouterr().out
    for wrong in (["--set", "points=[[1,2"], ["--set", f"points={json.dumps(CROSSING)}"], ["--version", "9"]):
        assert commands.main([*argv, *wrong]) == 2
    assert commands.main(["--fence", "nowhere"]) == 2
    for wrong in (["--rule", "catering_gas.gas_alarm", "--as-it-was"], [*argv, "--set", "level=1", "--against", "1"]):
        with pytest.raises(SystemExit):
            commands.main(wrong)


def test_the_api_asks_for_a_fence(trips, fence, personas, client):
    client.force_login(personas["city_officer"])
    body = {"rule": f"fence:{fence.pk}", "since": SINCE.isoformat(), "until": UNTIL.isoformat()}
    tried = {**body, "changed": {"points": CROSSING}}
    answer = client.post("/api/backtests", tried, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "backtest.bad_fence")
    answer = client.post("/api/backtests", {**body, "standing_as": "later"}, content_type="application/json")
    assert answer.status_code == 422
    answer = client.post("/api/backtests", {**body, "standing_as": "was"}, content_type="application/json")
    assert answer.status_code == 201, answer.content
    found = answer.json()
    assert (found["standing_as"], found["changed"]) == ("was", {})
    done(Trial.objects.get(pk=found["id"]))
    found = client.get(f"/api/backtests/{found['id']}").json()
    assert found["summary"]["versions"]["standing"]["events"] == 6


def test_windows_and_classes_are_shown_in_words(fence):
    terms = fence_question(str(fence.pk), changed={}, standing_as="", changed_as="", user=None, at=NOON).standing
    shown = words.terms(terms | {"windows": [[127, 420, 1140], [96, 0, 60]], "vehicle_classes": ["tanker", "客车"]})
    assert {"每天 07:00–19:00; 周六, 周日 00:00–01:00", "罐式车, 客车"} <= {str(text) for text in shown.values()}


def test_a_version_with_more_windows_than_the_form_shows_keeps_them(fence, personas, trips, client):
    windows = [[127, 0, 60], [127, 120, 180]]
    FenceVersion.objects.filter(fence=fence).update(windows=windows)
    client.force_login(personas["city_officer"])
    sent = form(fence, speed_kmh="50", days=[str(n) for n in range(7)], begins="00:00", ends="01:00")
    assert client.post(reverse("backtest:new"), sent).status_code == 302
    assert Trial.objects.get().changed["windows"] == windows
    assert isinstance(services.question_of(Trial.objects.get()), FenceQuestion)
