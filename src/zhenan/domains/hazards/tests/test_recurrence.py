"""The same hazard found thrice is one hazard; one that comes back is a new one with its own clock."""

from datetime import timedelta

import pytest

from zhenan.domains.hazards import clocks, services
from zhenan.domains.hazards.models import Finding, Hazard
from zhenan.domains.hazards.tests.conftest import DAY, NOON, photo

SAME = {"criterion_code": "hose", "location": "Kitchen, 2nd floor"}


def test_found_by_three_it_is_one_hazard_with_three_findings(loop):
    first = loop.report(**SAME)
    again = loop.report(by=loop.p["town_officer_here"], **SAME)
    third = loop.report(
        by=loop.p["enterprise_safety_here"], source="self_check", **SAME | {"location": "kitchen 2ND floor"}
    )
    assert first == again == third
    assert [f.found_by.username for f in first.findings.all()] == [
        "grid_worker",
        "town_officer_here",
        "enterprise_safety_here",
    ]


@pytest.mark.parametrize("other", [{"criterion_code": "valve"}, {"location": "store"}, {"criterion_code": ""}], ids=str)
def test_another_criterion_or_place_is_another_hazard(loop, other):
    assert loop.report(**SAME) != loop.report(**SAME | other)
    assert not Hazard.objects.filter(repeat=True).exists()


def test_a_record_reported_twice_is_one_hazard_and_one_finding(loop):
    given = {"source": "alarm", "source_key": "monitoring.alarm:018f", "by": None}
    assert loop.report(**given) == loop.report(**given)
    assert Finding.objects.count() == 1


def test_a_record_whose_find_was_merged_finds_the_hazard_again(loop):
    first = loop.report(**SAME)
    merged = loop.report(source_key="checks.answer:7", **SAME)
    again = loop.report(source_key="checks.answer:7", **SAME)
    assert first == merged == again
    assert Finding.objects.count() == 2


@pytest.mark.parametrize(("days", "repeat"), [(180, True), (181, False)])
def test_within_180_days_it_is_a_repeat_linked_to_the_former(loop, days, repeat):
    former = loop.to("accepted", **SAME)
    loop.at = NOON + days * DAY
    fresh = loop.report(**SAME)
    assert fresh != former
    assert fresh.repeat is repeat
    assert fresh.former == (former if repeat else None)
    assert fresh.found_at == loop.at
    assert loop.fresh(former).state == "accepted"  # the old one stays closed


def test_the_grader_s_criterion_decides_on_recurrence(loop):
    former = loop.to("accepted", location="store")  # graded by criterion "hose"
    loop.at = NOON + DAY
    fresh = loop.report(location="store")  # no criterion yet
    assert not fresh.repeat
    assert loop.grade(fresh).former == former


def test_a_city_may_have_repeats_graded_major(loop, monkeypatch):
    loop.to("accepted", **SAME)
    table = {**clocks.table(), "recurrence": clocks.table()["recurrence"] | {"one_level_up": "severity"}}
    monkeypatch.setattr(clocks, "table", lambda: table)
    loop.at = NOON + DAY
    assert loop.grade(loop.report(**SAME)).severity == "major"


def test_fixed_on_the_spot_before_an_inspector_s_eyes_it_is_accepted_at_once(loop):
    done = services.report_fixed_on_spot(
        subject=loop.shop, source="inspection", title="Blocked exit", by=loop.p["grid_worker"], at=NOON,
        before=[photo()], after=[photo("green")], done_by_name="Wang",
    )  # fmt: skip
    assert (done.state, done.fixed_on_the_spot, done.closed_at) == ("accepted", True, NOON)
    assert (done.rounds.get().done_by_name, done.rounds.get().verified_by.username) == ("Wang", "grid_worker")


def test_fixed_on_the_spot_by_the_finder_waits_for_another_s_check(loop):
    safety = loop.p["enterprise_safety_here"]
    done = services.report_fixed_on_spot(
        subject=loop.shop, source="self_check", title="Blocked exit", by=safety, at=NOON,
        before=[photo()], after=[photo("green")],
    )  # fmt: skip
    assert done.state == "rectified_pending_check"
    accepted = services.accept(done.pk, by=loop.p["town_officer_here"], at=NOON + timedelta(hours=1))
    assert (accepted.state, accepted.fixed_on_the_spot) == ("accepted", True)


def test_a_city_s_own_clock_file_replaces_single_values_and_names_what_it_does_not_know(settings, tmp_path):
    own = tmp_path / "clocks.yaml"
    own.write_text("rectify_general: {days: 10}\n", "utf-8")
    settings.HAZARD_CLOCKS = own
    clocks.table.cache_clear()
    try:
        assert (clocks.value("rectify_general"), clocks.value("verify")) == (10, 10)
        own.write_text("rectify_genral: {days: 10}\n", "utf-8")
        clocks.table.cache_clear()
        with pytest.raises(ValueError, match="rectify_genral"):
            clocks.table()
    finally:
        clocks.table.cache_clear()
