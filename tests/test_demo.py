"""The demo city: the same rows twice, nothing doubled, its figures counted, its people able to work."""

from __future__ import annotations

import csv
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count
from django.test import Client
from django.urls import reverse
from shapely import contains_xy, union_all
from shapely.geometry import Point as Place
from shapely.geometry import shape

from zhenan.domains.checks.models import Answer, Inspection
from zhenan.domains.duty.models import Contract, Visit
from zhenan.domains.duty.queries import chain_on
from zhenan.domains.hazards import services as hazards
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.indicators import queries as figures
from zhenan.domains.monitoring import services as monitoring
from zhenan.domains.monitoring.models import Alarm, Device, Point
from zhenan.domains.register.models import Subject
from zhenan.domains.transport import queries as transport
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion, LastPosition
from zhenan.kernel.events.models import Event
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.territory.models import Division
from zhenan.kernel.workflow.models import Deadline
from zhenan.packkit.registry import registry
from zhenan.packkit.simulate import DeviceSpec, Town
from zhenan.server import embedded
from zhenan.server.demo import accounts, build, charts, command, photos, reset, subjects
from zhenan.server.demo.plan import Demo
from zhenan.telemetry.tracks.trips import track_of

SHARED = Path(os.environ.get("ZHENAN_SHARED") or Path(__file__).resolve().parents[2] / "shared")
NOW = datetime(2026, 6, 10, 15, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
CITY = Demo(seed=7, scale=0.005, now=NOW, say=lambda line: None)

# Table → what must be the same at every build: no ids, which the database gives.
ROWS = {
    Division: ("code", "name", "lon", "lat"),
    Organisation: ("code", "kind", "name", "division__code"),
    User: ("username", "name", "phone"),
    Subject: ("key", "name", "credit_code", "lon", "lat", "address", "attributes", "division__code"),
    Device: ("key", "model", "name", "installed_on", "replace_by", "parent__key"),
    Point: ("device__key", "channel", "measure", "last_value", "last_at"),
    Contract: ("subject__key", "level", "person__username", "period", "visit_every_days", "last_visit_at"),
    Visit: ("contract__subject__key", "contract__level", "made_at", "note", "distance_m"),
    Inspection: ("subject__key", "checklist", "done_at", "failed_items", "inspector__username"),
    Answer: ("inspection__subject__key", "inspection__done_at", "item", "value", "note"),
    Alarm: ("device__key", "rule", "raised_at", "value", "state", "cause", "acknowledged_at", "closed_at"),
    Hazard: ("subject__key", "title", "found_at", "state", "severity", "due_at", "closed_at", "repeat"),
    Deadline: ("kind", "owner__username", "started_at", "due_at", "next_step", "met"),
    Event: ("kind", "at", "actor__username"),
    Fence: ("name", "division__code", "made_at"),
    FenceVersion: ("fence__name", "version", "shape", "points", "valid_from", "valid_to"),
    FenceRecord: ("device__key", "version__fence__name", "version__version", "kind", "at", "value"),
    LastPosition: ("device__key", "at", "lat", "lon", "speed_kmh"),
}


@pytest.fixture(scope="module", autouse=True)
def _quiet() -> Iterator[None]:
    """No log line for each invented event."""
    log = logging.getLogger("zhenan")
    before, _ = log.level, log.setLevel(logging.WARNING)
    yield
    log.setLevel(before)


@pytest.fixture(scope="module")
def city(_quiet: None, django_db_setup: None, django_db_blocker: Any) -> Iterator[Demo]:
    """A small demo city for the whole file, gone at its end."""
    with django_db_blocker.unblock(), transaction.atomic():
        assert build.build(CITY) == len(build.STEPS)
        yield CITY
        transaction.set_rollback(True)


@pytest.fixture
def undone(city: Demo) -> Iterator[Demo]:
    """The city for a test that changes it."""
    kept = {path: path.read_text("utf-8") for path in (accounts.file(), accounts.signin_file())}
    with transaction.atomic():
        yield city
        transaction.set_rollback(True)
    for path, text in kept.items():
        embedded.write_private(path, text)


def digest() -> dict[str, str]:
    found = {}
    for model, fields in ROWS.items():
        rows = sorted(repr(row) for row in model._default_manager.values_list(*fields))
        found[model.__name__] = hashlib.sha256("\n".join(rows).encode()).hexdigest()[:12] + f" of {len(rows)}"
    return found


def test_the_same_seed_gives_the_same_rows_and_a_reset_leaves_none(undone):
    first = digest()
    reset.wipe(undone)
    connection.check_constraints()
    assert [m.__name__ for m in ROWS if m is not Division and m._default_manager.exists()] == []
    assert not Evidence.objects.exists()
    assert not Division.objects.filter(level="grid").exists()
    assert build.standing() is None
    build.build(undone)
    assert digest() == first


def test_a_second_run_adds_nothing(city):
    before = {model: model._default_manager.count() for model in ROWS}
    assert build.build(city) == 0
    assert {model: model._default_manager.count() for model in ROWS} == before
    assert build.standing() == (city.scale, city.seed)


def test_the_headline_figures_are_what_counting_finds(city):
    asked = figures.Question(None, city.as_of)
    found = {i.figure: figures.figure(i, asked).value for i in registry().indicators() if i.figure}
    caterers = Subject.objects.filter(type="catering_gas.caterer", status="active")
    models = caterers.filter(devices__model__in=("catering_gas.gas_detector", "catering_gas.shutoff_valve"))
    fitted = models.annotate(kinds=Count("devices__model", distinct=True)).filter(kinds=2).count()
    assert found["F22"] == Organisation.objects.filter(kind="service_centre").count() == 1
    assert found["F23"] == Subject.objects.filter(type="smart_fire.site").count() == 46  # 9,297 x 0.005
    assert found["F24"] == Device.objects.filter(programme="smart_fire").count() == 417  # 83,491 x 0.005
    assert found["F25"] == caterers.count() == 47  # 9,385 x 0.005
    assert found["F26"] == pytest.approx(100 * fitted / 47)


def test_the_real_citys_size_adds_up_to_the_published_figures():
    table = SHARED / "figures.csv"
    if not table.exists():
        pytest.skip(f"the published figures are not here ({table}); set ZHENAN_SHARED")
    with table.open(encoding="utf-8") as file:
        published = {row["id"]: float(row["value"]) for row in csv.DictReader(file) if row["id"] in PUBLISHED}
    towns = [Town(f"321{i:06d}", f"第{i}街道", lambda rng: (119.4, 32.2), "京口区") for i in range(60)]
    counts: dict[str, int] = {}
    fitted: dict[str, set[str]] = {}
    for _pack, specs in subjects.populations(Demo(1, 1.0, NOW, print).simulation(towns)):
        for spec in specs:
            kind = getattr(spec, "type", None) or getattr(spec, "model", None) or getattr(spec, "kind", "")
            counts[kind] = counts.get(kind, 0) + 1
            if isinstance(spec, DeviceSpec) and spec.model in (
                "catering_gas.gas_detector",
                "catering_gas.shutoff_valve",
            ):
                fitted.setdefault(spec.subject_key, set()).add(spec.model)
    both = sum(len(models) == 2 for models in fitted.values())
    assert published == {
        "F22": counts["service_centre"],
        "F23": counts["smart_fire.site"],
        "F24": sum(n for kind, n in counts.items() if kind.startswith("smart_fire.") and kind != "smart_fire.site"),
        "F25": counts["catering_gas.caterer"],
        "F26": round(100 * both / counts["catering_gas.caterer"], 1),
    }


PUBLISHED = ("F22", "F23", "F24", "F25", "F26")


def test_every_account_signs_in_and_sees_its_day(city):
    shown = accounts.greeting()
    names = User.objects.exclude(password="!").values_list("username", flat=True)
    roles = {
        "city",
        "district",
        "town",
        "grid",
        "enterprise",
        "gas",
        "fire",
        "centre",
        "insurer",
        "discipline",
        "admin",
    }
    assert roles <= set(names)
    for name in names:
        client = Client()
        signed_in = client.post(reverse("account_login"), {"login": name, "password": accounts.password()})
        assert signed_in.status_code == 302, name
        assert client.get("/").status_code == 200, name
        assert f"\n  {name} " in shown


def test_the_password_is_made_for_this_city_and_kept_from_others(city):
    assert stat.S_IMODE(accounts.file().stat().st_mode) == 0o600
    assert stat.S_IMODE(accounts.signin_file().stat().st_mode) == 0o600
    old = accounts.password()
    accounts.file().unlink()
    build.build(city)
    assert accounts.password() != old
    assert len(accounts.password()) == 14


def test_every_subject_lies_in_the_county_to_which_its_town_belongs(city):
    outlines = {d.code: shape(d.boundary).buffer(0.001) for d in Division.objects.filter(level="county") if d.boundary}
    for subject in Subject.objects.select_related("division__parent__parent"):
        town = subject.division.parent
        county = town.legal_parent_code or town.parent.code
        assert outlines[county].contains(Place(subject.lon, subject.lat)), subject


def test_vehicles_drive_within_the_city_and_their_day_has_trips_and_stops(city):
    devices = Device.objects.filter(protocol="jt808").order_by("key")
    assert devices.count() == Subject.objects.filter(type="hazmat_transport.vehicle").count() == 25  # 5,000 x 0.005
    land = union_all([shape(d.boundary) for d in Division.objects.filter(level="county") if d.boundary]).buffer(0.001)
    table = transport.tracks(settings.HISTORY_URL)
    t0, t1 = transport.day_span((city.now - timedelta(days=1)).date())
    day = table.read([d.pk for d in devices], t0, t1)
    assert len(day) > 25 * 86_400 / 300 * 0.9  # a report every five minutes at least, but for those that were off
    assert contains_xy(land, day.lon / 1e7, day.lat / 1e7).all()
    found = [track_of(day.take(day.vehicle == device.pk)) for device in devices]
    assert sum(bool(track.trips) for track in found) > 15
    assert max(trip.metres for track in found for trip in track.trips) > 5_000
    assert sum(track.jumps + track.unfit for track in found) == 0
    owner = Subject.objects.filter(type="hazmat_transport.vehicle").select_related("owner").first()
    assert (owner.organisation_id, owner.owner.type) == (owner.owner.organisation_id, "hazmat_transport.carrier")


def test_the_demo_has_fences_of_every_shape_one_of_them_changed_and_events_that_are_over(city):
    assert set(FenceVersion.objects.values_list("shape", flat=True)) == {"circle", "polygon", "corridor"}
    assert FenceVersion.objects.filter(version=2).count() == 1
    kinds = set(FenceRecord.objects.values_list("kind", flat=True))
    assert {"enter", "leave"} <= kinds
    assert not FenceRecord.objects.filter(at__gt=city.now).exists()
    assert LastPosition.objects.count() >= 20


def test_an_alarm_is_followed_from_the_device_to_closure_by_the_named_accounts(undone):
    who = {name: User.objects.get(username=name) for name in ("town", "grid", "enterprise")}
    place = Subject.objects.get(organisation__posts__user=who["enterprise"])
    assert {link.level: link.person for link in chain_on(place, undone.as_of)}.get("grid", who["grid"]) == who["grid"]
    alarm = Alarm.objects.visible_to(who["town"]).open().get(subject=place, state="raised")
    at = undone.now + timedelta(minutes=1)
    monitoring.assign(alarm.pk, to=who["grid"], by=who["town"], at=at)
    monitoring.arrive(alarm.pk, by=who["grid"], at=at, photos=[photos.photo("arrival")], lon=place.lon, lat=place.lat)
    alarm = monitoring.raise_hazard(alarm.pk, by=who["grid"], at=at)
    hazards.grade_hazard(alarm.hazard_id, severity="general", by=who["town"], at=at, criterion_text="泄漏")
    hazards.assign(alarm.hazard_id, rectifier=who["enterprise"], by=who["town"], at=at)
    hazards.fill_plan(alarm.hazard_id, by=who["enterprise"], at=at, measures="更换软管")
    hazards.submit_rectification(
        alarm.hazard_id,
        note="已更换",
        by=who["enterprise"],
        at=at,
        before=[photos.photo("1")],
        after=[photos.photo("2")],
    )
    assert hazards.accept(alarm.hazard_id, by=who["town"], at=at).closed_at == at
    monitoring.judge_cause(alarm.pk, cause="real", by=who["town"], at=at)
    assert monitoring.close(alarm.pk, by=who["town"], at=at).state == "closed"


def test_history_holds_every_kind_of_case(city):
    states = set(Hazard.objects.values_list("state", flat=True))
    assert {"found", "rectifying", "rectified_pending_check", "accepted", "plan_pending"} <= states
    assert Hazard.objects.overdue(city.now).exists()
    assert Hazard.objects.filter(repeat=True).exists()
    assert not Hazard.objects.filter(severity="major", closed_at__isnull=False, contingency="").exists()
    assert Hazard.objects.major().open().filter(listed=True, supervision__delisted_at=None).exists()
    assert not Alarm.objects.filter(closed_at__gt=city.now).exists()
    assert set(Alarm.objects.values_list("state", flat=True)) >= {"raised", "closed"}
    assert {"real", "false_alarm", "fault", "test"} <= set(Alarm.objects.values_list("cause", flat=True))
    assert not Event.objects.filter(at__gt=city.now).exists()


def test_a_failed_item_and_a_true_alarm_lead_to_the_hazard_they_became(city):
    failed = Answer.objects.filter(value="fail")
    assert failed.exists()
    assert not failed.filter(hazard=None).exists()
    for answer in failed.select_related("hazard", "inspection")[:20]:
        assert answer.hazard.subject_id == answer.inspection.subject_id


def test_an_episode_lies_beyond_its_threshold_for_as_long_as_the_alarm_stood():
    import numpy as np

    ts = np.arange(0, 600_000, 60_000)
    quiet = np.full(ts.size, 2.0)
    leak = charts.Episode(120_000, 360_000, "threshold", 20.0, 26.0)
    value, there = leak.over(ts, quiet)
    assert there.all()
    assert (value[(ts < 120_000) | (ts >= 360_000)] == 2.0).all()
    assert (value[(ts >= 120_000) & (ts < 360_000)] > 20.0).all()
    assert value.max() <= 26.0
    silent = charts.Episode(120_000, 360_000, "silence", None, None)
    assert ts[silent.over(ts, quiet)[1]].tolist() == [0, 60_000, 360_000, 420_000, 480_000, 540_000]


def test_a_reset_without_confirmation_is_refused(capsys):
    assert command.main(["--reset"]) == 2
    assert "add --yes" in capsys.readouterr().err


@pytest.mark.parametrize("came", ["0", "-1", "twenty", "nan"])
def test_an_impossible_scale_is_refused_with_what_would_be_right(came, capsys):
    with pytest.raises(SystemExit):
        command.parsed([f"--scale={came}"])
    assert "want a number from 0.0005 to 13" in capsys.readouterr().err
