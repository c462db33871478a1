"""Changing the register: what is refused, what is recorded, who may."""

from __future__ import annotations

import pytest

from zhenan.domains.register import queries, services
from zhenan.domains.register.history import changes_of
from zhenan.domains.register.models import Subject
from zhenan.domains.register.services import BadSubject, Outside
from zhenan.domains.register.tests.conftest import AT, CATERER, ENTERPRISE, required
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.events.services import timeline_of
from zhenan.rules import credit_code

pytestmark = pytest.mark.django_db
CODE = credit_code.complete("91", "321181", "MA1ABCDE")


def kinds_of(subject: Subject) -> list[str]:
    return [event.kind for event in timeline_of(subject)]


def test_a_subject_is_added_with_typed_attributes_and_leaves_one_event(personas):
    subject = services.create_subject(
        actor=personas["town_officer_here"], at=AT, type=CATERER, name=" 司徒饭店 ", division=personas.grid,
        attributes={**required(), "seats": "80", "floor_area_m2": 120, "shutoff_fitted": True, "duty_phone": None},
    )  # fmt: skip
    assert (subject.name, subject.key, subject.programme) == ("司徒饭店", "司徒饭店", "catering_gas")
    assert subject.attributes["seats"] == 80
    assert "duty_phone" not in subject.attributes
    assert subject.initials == "stfd"
    assert kinds_of(subject) == ["subject.created"]


def test_every_fault_is_named_with_its_field_and_nothing_is_written(personas):
    with pytest.raises(BadSubject) as caught:
        services.create_subject(
            actor=None, at=AT, type=CATERER, name="", division=personas.here, lon=119.5, credit_code=CODE[:-1] + "0",
            attributes={"gas_kind": "coal", "seats": 2.5, "seets": 1},
        )  # fmt: skip
    assert set(caught.value.errors) == {
        "name", "lon", "credit_code", "attributes.gas_kind", "attributes.seats", "attributes.seets",
    }  # fmt: skip
    assert "seats" in caught.value.errors["attributes.seets"]
    assert not Subject.objects.exists()


def test_an_identity_is_given_once_within_a_type(make):
    make("甲", key="7")
    with pytest.raises(BadSubject, match="exists already"):
        make("乙", key="7")


def test_a_type_that_no_pack_declares_is_refused(personas):
    with pytest.raises(BadSubject, match="no programme"):
        services.create_subject(actor=None, at=AT, type="x.y", name="甲", division=personas.here)


def test_an_officer_adds_within_the_own_area_and_programme_alone(personas):
    def add(user, division, kind=CATERER, name="甲", attributes=None):
        services.create_subject(
            actor=personas[user], at=AT, type=kind, name=name, division=division, attributes=attributes or required()
        )

    with pytest.raises(Outside):
        add("town_officer_here", personas.elsewhere)
    with pytest.raises(NotAllowed):
        add("grid_worker", personas.grid)
    with pytest.raises(Outside):  # a department of another programme
        add("gas_department", personas.here, ENTERPRISE, attributes={"unified_code": CODE})
    add("gas_department", personas.here)
    assert Subject.objects.count() == 1


def test_nobody_moves_a_subject_out_of_or_into_an_area_not_theirs(make, personas):
    mine, theirs = make("甲"), make("乙", "elsewhere")
    officer = personas["town_officer_here"]
    with pytest.raises(Outside):
        services.move_subject(mine.pk, personas.elsewhere, actor=officer, at=AT)
    with pytest.raises(NotAllowed):
        services.move_subject(theirs.pk, personas.here, actor=officer, at=AT)
    moved = services.move_subject(mine.pk, personas.grid, actor=officer, at=AT, note="网格划分")
    assert kinds_of(moved) == ["subject.moved", "subject.created"]


def test_a_change_records_who_changed_what_from_what_to_what(make, personas):
    subject = make("甲", attributes={"seats": 20})
    officer = personas["town_officer_here"]
    services.update_subject(
        subject.pk, actor=officer, at=AT, changes={"phone": "0511-86666666", "attributes": {"seats": 40}}
    )
    newest = changes_of(subject)[0]
    assert newest.actor == officer
    assert {(d.label, d.before, d.after) for d in newest.differences} == {
        ("phone", "", "0511-86666666"), ("Seats", "20", "40"),
    }  # fmt: skip
    assert changes_of(subject)[-1].created


def test_attributes_that_are_not_named_stay_and_none_takes_one_away(make):
    subject = make("甲", attributes={"seats": 20, "staff": 3})
    changed = services.update_subject(subject.pk, actor=None, at=AT, changes={"attributes": {"seats": None}})
    assert changed.attributes["staff"] == 3
    assert "seats" not in changed.attributes


def test_a_required_attribute_cannot_be_taken_away(make):
    subject = make("甲")
    with pytest.raises(BadSubject, match="gas_kind"):
        services.update_subject(subject.pk, actor=None, at=AT, changes={"attributes": {"gas_kind": None}})


def test_saving_what_is_there_already_records_nothing(make):
    subject = make("甲")
    services.update_subject(subject.pk, actor=None, at=AT, changes={"name": "甲", "attributes": {}})
    assert kinds_of(subject) == ["subject.created"]


def test_a_change_over_someone_elses_change_is_refused(make):
    subject = make("甲")
    seen = subject.updated_at
    services.update_subject(subject.pk, actor=None, at=AT, changes={"phone": "110"})
    with pytest.raises(services.Changed):
        services.update_subject(subject.pk, actor=None, at=AT, changes={"phone": "119"}, seen=seen)


def test_closing_twice_is_refused_and_taking_up_again_is_told(make):
    subject = make("甲")
    services.close_subject(subject.pk, actor=None, at=AT, note="搬迁")
    with pytest.raises(BadSubject, match="already"):
        services.close_subject(subject.pk, actor=None, at=AT)
    services.set_status(subject.pk, "active", actor=None, at=AT)
    assert kinds_of(subject) == ["subject.active", "subject.closed", "subject.created"]


def test_what_is_near_comes_nearest_first_with_metres(make):
    make("东", lon=119.51, lat=32.0)
    make("这里", lon=119.50, lat=32.0)
    make("远", lon=119.60, lat=32.0)
    found = queries.near(119.50, 32.0, radius_m=2000)
    assert [subject.name for subject, _m in found] == ["这里", "东"]
    # 0.01 degrees of longitude at 32° N: 111,195 m x 0.01 x cos 32° = 943 m
    assert found[1][1] == pytest.approx(943, abs=1)


def test_counts_by_status_are_of_what_one_may_see(make, personas):
    make("甲")
    services.close_subject(make("乙").pk, actor=None, at=AT)
    make("丙", "elsewhere")
    assert queries.counts_by_status(personas["town_officer_here"]) == {"active": 1, "suspended": 0, "closed": 1}
    assert queries.counts_by_status(personas["city_officer"])["active"] == 2
