"""Real records and recorded messages through the running platform: small files written here, the public ones if there.

The public data sets are looked for in the folder named by ZHENAN_SHARED, else in `shared` beside the checkout.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import re
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db.models import F

from zhenan.domains.checks.models import Inspection
from zhenan.domains.hazards.models import Finding, Hazard, Round
from zhenan.domains.monitoring.models import Alarm
from zhenan.kernel.events.services import timeline_of
from zhenan.packkit.contract import contract_faults
from zhenan.packkit.loader import discover, load_pack
from zhenan.packkit.registry import DEFAULT_DIR, invalidate
from zhenan.server import config, replay
from zhenan.server.replay.inspections import take_in
from zhenan.server.replay.inspections.items import Items
from zhenan.server.replay.inspections.lives import is_mark, lives_of
from zhenan.server.replay.inspections.records import BadRecords, read
from zhenan.server.replay.series import running
from zhenan.server.replay.series.sets import nab_set_points, read_gas, read_nab
from zhenan.telemetry.codecs import gb26875, hj212

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ZHENAN_SHARED") or ROOT.parent / "shared")
EXAMPLES = ROOT / "docs" / "examples" / "packs"

FACILITIES = """facility_id,name,address,city,zip,lat,lon
A1,NOODLE HOUSE,1 MAIN ST,DALY CITY,94014,37.69,-122.47
A2,VAN,2 ELM ST,HAYWARD,94541,0,0
"""
# A1: hands (recheck still lists it, then gone), water (gone at the recheck), floors (fixed at once), cooling (critical,
# gone at the next routine visit), hands again within 180 days and never looked at after. A2: nothing closes it.
INSPECTIONS = """inspection_id,facility_id,date,reason,result,score,violations
A1-001,A1,2016-03-01,routine,conditional_yellow,70,4
A1-002,A1,2016-03-10,followup,conditional_yellow,,1
A1-003,A1,2016-03-20,followup,pass_green,,0
A1-004,A1,2016-06-01,complaint,not_applicable,,1
A1-005,A1,2016-07-01,routine,pass_green,85,1
A2-001,A2,2016-05-02,routine,pass_green,85,2
A2-002,A2,2016-05-20,complaint,pass_green,,0
"""
VIOLATIONS = """violation_id,inspection_id,facility_id,description,degree,status
A1-001-01,A1-001,A1,Adequate handwashing facilities supplied & accessi,major,out_of_compliance
A1-001-02,A1-001,A1,21. Hot and cold water available,major,out_of_compliance
A1-001-03,A1-001,A1,"45. Floors, walls and ceiling: built, maintained and clean",,corrected
A1-001-04,A1-001,A1,C1 Referral,,out_of_compliance
A1-002-01,A1-002,A1,06. Adequate hand washing facilities:  supplied and accessible,major,out_of_compliance
A1-004-01,A1-004,A1,Proper cooling methods,critical,out_of_compliance
A1-005-01,A1-005,A1,06. Adequate hand washing facilities:  supplied and accessible,minor,out_of_compliance
A2-001-01,A2-001,A2,23. No insects rodents birds or animals present,major,out_of_compliance
A2-001-02,A2-001,A2,Compliance with something new,,out_of_compliance
"""


@pytest.fixture
def example_packs(db, monkeypatch):
    """The example packs beside the platform's own, synced."""
    monkeypatch.setattr(settings, "PACK_DIRS", [DEFAULT_DIR, EXAMPLES])
    from zhenan.packkit.sync import sync_packs

    sync_packs()


@pytest.fixture
def folder(tmp_path):
    """The three files of a county, a handful of rows each."""
    for name, text in (("facilities", FACILITIES), ("inspections", INSPECTIONS), ("violations", VIOLATIONS)):
        (tmp_path / f"sanmateo_{name}.csv").write_text(text, "utf-8")
    return tmp_path


@pytest.mark.parametrize("name", [folder.name for folder in discover([EXAMPLES])])
def test_an_example_pack_meets_the_contract(name):
    assert contract_faults(EXAMPLES / name, {}) == []


def public(*parts: str) -> Path:
    """A file or folder of the public data sets; the test is skipped without it."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the public data sets are not on this machine (no {path}); set ZHENAN_SHARED to their folder")
    return path


def story(hazard: Hazard) -> list[str]:
    return [event.kind.removeprefix("hazard.") for event in reversed(timeline_of(hazard))]


def rounds_of(hazard: Hazard) -> list[tuple[int, str, date | None, date]]:
    return [
        (r.number, r.result, r.verified_at and r.verified_at.date(), r.due_at.date())
        for r in Round.objects.filter(hazard=hazard)
    ]


# inspections


def test_visits_give_hazards_their_lives(folder):
    visits = read(folder).visits["A1"]
    lives = lives_of(visits, Items(load_pack(EXAMPLES / "food_premises").checklists[0]).criterion_of)
    told = [[(step.kind, step.visit.number) for step in life.steps] for life in lives]
    assert told == [
        [("found", "A1-001"), ("found_again", "A1-002"), ("rejected", "A1-002"), ("accepted", "A1-003")],
        [("found", "A1-001"), ("accepted", "A1-002")],
        [("on_the_spot", "A1-001")],
        [("found", "A1-004"), ("accepted", "A1-005")],
        [("found", "A1-005")],
    ]


def told_by_rows() -> list[tuple[object, ...]]:
    """Everything of the hazards that must not depend on how they were written."""
    return [
        (
            h.source_key, h.title, h.state, h.severity, h.criterion_code, h.legal_basis, h.found_at, h.reported_at,
            h.graded_at, h.due_at, h.first_due_at, h.accepted_at, h.closed_at, h.fixed_on_the_spot, h.repeat,
            h.former.source_key if h.former else "", str(h.rectifier), str(h.found_by), str(h.graded_by),
            str(h.rectifier_org), str(h.found_org), h.plan_person, h.measures, h.plan_unit, h.funds_reason,
            [
                (r.number, r.major, r.started_at, r.due_at, str(r.rectifier), r.submitted_at, str(r.submitted_by),
                 r.done_by_name, r.note, r.result, r.verified_at, str(r.verified_by), str(r.verified_org),
                 r.verify_note)
                for r in h.rounds.all()
            ],
            [(f.source_key, f.found_at, str(f.found_by), str(f.organisation), f.description) for f in h.findings.all()],
            [(e.kind, e.at, str(e.actor), {k: v for k, v in e.data.items() if k != "number"})
             for e in reversed(timeline_of(h))],
            [(a.inspection.source_key, a.item) for a in h.answers.order_by("pk")],
        )
        for h in Hazard.objects.order_by("source_key")
    ]  # fmt: skip


def test_rows_written_in_bulk_are_those_that_the_services_write(example_packs, folder):
    from django.db import transaction

    records = read(folder)
    with transaction.atomic():
        take_in(records, by="services")
        by_services = told_by_rows()
        transaction.set_rollback(True)
    take_in(records, by="bulk")
    in_bulk = told_by_rows()
    assert len(in_bulk) == 7
    for ours, theirs in zip(in_bulk, by_services, strict=True):
        assert ours == theirs


def test_a_county_s_records_go_through_the_loop(example_packs, folder, capsys):
    assert replay.main(["inspections", str(folder)]) == 0
    hands, water, floors = (Hazard.objects.get(source_key=f"US-06081/A1-001-0{n}") for n in (1, 2, 3))
    assert story(hands) == [
        "reported", "graded", "assigned", "plan_filled", "found_again", "submitted", "rejected", "submitted",
        "accepted",
    ]  # fmt: skip
    assert [(number, result, seen) for number, result, seen, _due in rounds_of(hands)] == [
        (1, "rejected", date(2016, 3, 10)),
        (2, "accepted", date(2016, 3, 20)),
    ]
    assert (water.state, water.closed_at.date()) == ("accepted", date(2016, 3, 10))
    assert (floors.fixed_on_the_spot, floors.closed_at) == (True, floors.found_at)
    cooling = Hazard.objects.get(source_key="US-06081/A1-004-01")
    assert (cooling.severity, cooling.state, cooling.closed_at.date()) == ("major", "accepted", date(2016, 7, 1))
    again = Hazard.objects.get(source_key="US-06081/A1-005-01")
    assert (again.former, again.state, again.closed_at) == (hands, "rectifying", None)
    strange = Hazard.objects.get(source_key="US-06081/A2-001-02")
    assert strange.criterion_code == "food_premises.form/other:compliancewithsomethingnew"
    assert strange.subject.division.code == "US-06081"
    assert hands.subject.division.name == "Daly City"
    said = capsys.readouterr().out
    assert "2 facilities, 7 inspections, 7 hazards written" in said
    assert "closed within 15 days: 1 = 16.7 % of all, 33.3 % of those closed" in said


def test_taking_records_in_twice_changes_nothing(example_packs, folder, capsys):
    replay.main(["inspections", str(folder)])
    before = [model.objects.count() for model in (Hazard, Finding, Round, Inspection)]
    assert replay.main(["inspections", str(folder), "--by", "bulk"]) == 0
    assert [model.objects.count() for model in (Hazard, Finding, Round, Inspection)] == before
    assert "0 hazards written; 2 facilities were there already" in capsys.readouterr().out


def test_an_inspection_taken_in_opens_like_any_other(example_packs, folder, client, django_user_model):
    replay.main(["inspections", str(folder)])
    client.force_login(django_user_model.objects.create(username="root", is_superuser=True, name="root"))
    for source_key in ("A1-001", "A1-003"):
        visit = Inspection.objects.get(source_key=f"US-06081/{source_key}")
        answer = client.get(visit.get_absolute_url())
        assert answer.status_code == 200
        assert "NOODLE HOUSE" in answer.content.decode()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("violations", "violation_id,inspection_id\n", "no column facility_id"),
        ("inspections", INSPECTIONS.replace("2016-03-10", "10.3.2016"), "line 3: date '10.3.2016'"),
        ("violations", VIOLATIONS.replace("corrected", "fixed"), "status 'fixed'"),
        ("facilities", FACILITIES.replace("A2,", "A3,"), "facility A2 (1 in all) is not in the facilities file"),
    ],
)
def test_files_that_are_something_else_are_refused_by_name_and_line(folder, name, text, fault):
    (folder / f"sanmateo_{name}.csv").write_text(text, "utf-8")
    with pytest.raises(BadRecords) as told:
        read(folder)
    assert fault in str(told.value)


def test_without_the_example_pack_the_command_says_how_to_get_it(db, folder, capsys, monkeypatch):
    monkeypatch.setattr(settings, "PACK_DIRS", [DEFAULT_DIR])
    invalidate()
    assert replay.main(["inspections", str(folder)]) == 2
    assert "ZHENAN_PACK_DIRS" in capsys.readouterr().err


def test_the_public_records_of_two_hundred_facilities(example_packs, capsys):
    folder = public("data", "inspection")
    assert replay.main(["inspections", str(folder), "--limit", "200"]) == 0
    records = read(folder).first(200)
    lines = [violation for visit in records.all_visits for violation in visit.violations]
    assert f"Violations of the files by degree and status ({len(lines):,})" in capsys.readouterr().out
    found = Finding.objects.values_list("source_key", flat=True)
    assert sorted(found) == sorted(f"US-06081/{one.number}" for one in lines if not is_mark(one))
    assert Inspection.objects.count() == sum(1 for _ in records.all_visits)
    assert not Hazard.objects.filter(closed_at__lt=F("found_at")).exists()
    spot = [one for one in lines if one.corrected and not is_mark(one)]
    assert 0 < Hazard.objects.filter(fixed_on_the_spot=True).count() <= len(spot)


# series and frames, through real processes


class Processes:
    """Gateway and judge as processes of their own, on this test's engines."""

    def __init__(self) -> None:
        for name in ("gateway", "judge"):  # of an earlier test's processes
            (config.data_dir() / "run" / f"{name}.health.json").unlink(missing_ok=True)
        self.started = [self._start(*GATEWAY), self._start("judge")]

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "zhenan.server.cli", *arguments]
        log = (config.data_dir() / f"{arguments[0]}.log").open("wb")
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait(self) -> None:
        deadline = time.monotonic() + 60
        told = config.data_dir() / "run" / "gateway.json"  # its ports, once it listens
        while not (all(running.Health.of(name).fresh for name in ("gateway", "judge")) and told.exists()):
            assert time.monotonic() < deadline, "the processes did not come up"
            assert all(process.poll() is None for process in self.started)
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait(20)


GATEWAY = ("gateway", "--host", "127.0.0.1", *(f"--{p}-port=0" for p in ("gb26875", "jt808", "hj212", "http")))


@pytest.fixture
def live(transactional_db, city, example_packs, nats_url):
    processes = Processes()
    try:
        processes.wait()
        yield processes
    finally:
        processes.stop()


@pytest.fixture
def smoke_file(tmp_path):
    """A smoke head's 400 seconds; the label and the eCO2 go up at second 200."""
    rows = [f"{i},20.0,50.0,{600 if i >= 200 else 400},{int(i >= 200)}" for i in range(400)]
    path = tmp_path / "lab.csv"
    path.write_text("row,temperature_c,humidity_pct,eco2_ppm,fire_alarm\n" + "\n".join(rows) + "\n", "utf-8")
    return path


def test_a_series_goes_over_mqtt_to_alarms_beside_its_labels(live, smoke_file, capsys):
    asked = ["series", "--set", "smoke", "--file", str(smoke_file), "--start", "2026-03-01T08:00:00+08:00"]
    assert replay.main(asked) == 0
    raised = Alarm.objects.exclude(rule="real_series.smoke_head_silent").get()  # that one is true: it is not March now
    assert (raised.rule, raised.raised_at - raised.onset) == ("real_series.eco2_high", timedelta(seconds=10))
    assert raised.onset == datetime(2026, 3, 1, 0, 3, 20, tzinfo=UTC)
    said = capsys.readouterr().out
    assert "400 rows, 1,200 readings in 1 messages" in said
    assert re.search(r"eco2_high +190 +190 +0 +100\.0 % +95\.0 %", said)
    assert re.search(r" hit +1 +10 s ", said)
    assert re.search(r"false alarms: 0 in 0\.00 days", said)

    assert replay.main(asked) == 0  # the same readings again are late: nothing is judged twice
    assert Alarm.objects.exclude(rule="real_series.smoke_head_silent").get() == raised
    assert "judged 0, late" in capsys.readouterr().out


def vectors(folder, *, wrong=False):
    """A good and a broken frame of each protocol, made here."""
    device = gb26875.send(
        "0000000000a1",
        "000000000001",
        7,
        24,
        [{"op": 1, "operator": 1, "time": "2024-01-01T08:00:00"}],
        1_704_067_200_000,
    )
    heartbeat = bytes.fromhex("7e000200000138001380000001")
    heartbeat += bytes([functools.reduce(operator.xor, heartbeat[1:])]) + b"\x7e"
    upload = hj212.encode("QN=20240101080000001;ST=31;CN=2011;PW=123456;MN=A1;Flag=5;CP=&&DataTime=20240101080000&&")
    whole = {
        "gb26875": (device, {"cmd": 2}),
        "jt808": (heartbeat, {"msg_id": "0x0002"}),
        "hj212": (upload, {"fields": {"CN": "2011", "Flag": "5"}}),
    }
    for protocol, (frame, expect) in whole.items():
        broken = bytearray(frame)
        broken[-6 if protocol == "hj212" else -3] ^= 1
        lines = [
            {"hex": frame.hex(), "expect": {"ok": True, **expect}},
            {"hex": bytes(broken).hex(), "expect": {"ok": wrong, "error": "checksum", **expect}},
            {"hex": frame.hex(), "expect": {"ok": True, **expect}},
            {"hex": "00", "level": "body", "expect": {"ok": True}},
        ]
        (folder / f"{protocol}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")
    return folder


def test_recorded_frames_reach_the_gateway_whole_and_in_pieces(live, tmp_path, capsys):
    assert replay.main(["frames", "--vectors", str(vectors(tmp_path))]) == 0
    said = capsys.readouterr().out
    for protocol, answers in (("gb26875", 2), ("jt808", 2), ("hj212", 0)):  # an unknown logger hears nothing
        assert re.search(rf"{protocol} +3 +1 +2 +1 +{answers} +{answers} +4 +2 +\d+ +yes", said), said
    assert "all as expected" in said

    # a frame that the gateway judges otherwise than expected is named
    assert replay.main(["frames", "--vectors", str(vectors(tmp_path, wrong=True))]) == 1
    said = capsys.readouterr().out
    assert "DISAGREES gb26875: 3 good frames sent twice, but the gateway took 4" in said
    assert "a good frame that demands an answer got none" in said


def test_the_public_temperature_series_and_the_recorded_messages(live, capsys):
    series, messages = public("data", "telemetry", "nab", "ambient_temperature_system_failure.csv"), public("vectors")
    assert replay.main(["series", "--set", "nab", "--file", str(series)]) == 0
    said = capsys.readouterr().out
    assert "readings 7,267, judged 7,267, late 0" in said
    assert said.count(" hit ") == 2
    assert "raised as silence: 9, missed: 0" in said
    assert replay.main(["frames", "--vectors", str(messages)]) == 0


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--set", "smoke", "--file", "nowhere.csv"], "cannot read nowhere.csv"),
        (["--set", "nab", "--file", "SMOKE"], "no column timestamp, value"),
        (["--set", "smoke", "--file", "SMOKE", "--speed", "-1"], "--speed: came '-1'"),
        (["--set", "smoke", "--file", "SMOKE", "--start", "noon"], "--start: came 'noon'"),
    ],
)
def test_a_series_that_cannot_be_replayed_is_refused_in_words(
    example_packs, city, smoke_file, capsys, arguments, fault
):
    assert replay.main(["series", *(str(smoke_file) if a == "SMOKE" else a for a in arguments)]) == 2
    assert fault in capsys.readouterr().err


def test_a_series_without_running_processes_says_what_is_missing(example_packs, city, smoke_file, capsys, monkeypatch):
    monkeypatch.setenv("ZHENAN_DATA", str(smoke_file.parent))
    assert replay.main(["series", "--set", "smoke", "--file", str(smoke_file)]) == 2
    assert "no gateway is running on" in capsys.readouterr().err


def test_set_points_come_from_the_first_part_of_the_series_alone(tmp_path):
    path = tmp_path / "room.csv"
    values = [68.0, 70.0, 72.0, 70.0, 200.0, 300.0]  # in the first four: mean 70 °F, deviation √2 °F
    path.write_text(
        "timestamp,value\n" + "\n".join(f"2024-01-01 0{i}:00:00,{v}" for i, v in enumerate(values)), "utf-8"
    )
    points = nab_set_points(read_nab(path, None), 4)
    assert points == {"room_band": {"low": round((70 - 32) / 1.8 - 4 * 2**0.5 / 1.8, 1),
                                    "high": round((70 - 32) / 1.8 + 4 * 2**0.5 / 1.8, 1)}}  # fmt: skip


def test_rows_whose_time_does_not_rise_are_left_out_and_counted(tmp_path):
    path = tmp_path / "meter.csv"
    path.write_text(
        "CreateDate,BTotal,BFlow,T,Pa,Alarm\n"
        "2021-01-01 08:00:00,1,0,5,420,\n2021-01-01 08:00:00,2,0,5,420,\n2021-01-01 07:00:00,3,0,5,420,\n"
        "2021-01-01 09:00:00,4,,5,420,0400\n",
        "utf-8",
    )
    series = read_gas(path, None)
    assert (len(series), series.skipped) == (2, 2)
    assert series.ts[0] == 1_609_459_200_000  # 08:00 in China is midnight UTC
    assert series.values["total"].tolist() == [1.0, 4.0]
    assert list(series.labelled) == [False, True]
