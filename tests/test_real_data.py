"""Real records and recorded messages through the running platform: small files written here, the public ones if there.

The public data sets are looked for in the folder named by ZHENAN_SHARED, else in `shared` beside the checkout.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest
from django.conf import settings
from django.db.models import F

from zhenan.domains.checks.models import Inspection
from zhenan.domains.hazards.models import Finding, Hazard, Round
from zhenan.kernel.events.services import timeline_of
from zhenan.packkit.loader import load_pack
from zhenan.packkit.registry import DEFAULT_DIR, invalidate
from zhenan.server import replay
from zhenan.server.replay.inspections import take_in
from zhenan.server.replay.inspections.items import Items
from zhenan.server.replay.inspections.lives import is_mark, lives_of
from zhenan.server.replay.inspections.records import BadRecords, read

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
