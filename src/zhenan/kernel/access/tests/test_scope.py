"""The queryset filter and the live feed's judgement agree, for every persona."""

import pytest
from django.contrib.auth.models import AnonymousUser

from zhenan.domains.register.models import Subject
from zhenan.kernel.access import NotAllowed, require, scope_of


@pytest.fixture
def subjects(personas):
    def make(key, division, organisation=None, viewers=(), programme="catering_gas"):
        return Subject.objects.create(
            type=f"{programme}.site",
            programme=programme,
            key=key,
            name=key,
            division=division,
            organisation=organisation,
            viewers=list(viewers),
        )

    return {
        "own": make("own", personas.grid, personas.organisations["enterprise-here"]),
        "town": make("town", personas.here),
        "insured": make("insured", personas.elsewhere, viewers=[personas.organisations["insurer"].pk]),
        "fire": make("fire", personas.elsewhere, programme="smart_fire"),
    }


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("city_officer", {"own", "town", "insured", "fire"}),
        ("district_officer_here", {"own", "town"}),
        ("district_officer_elsewhere", {"insured", "fire"}),
        ("town_officer_here", {"own", "town"}),
        ("grid_worker", {"own"}),
        ("enterprise_head_here", {"own"}),
        ("enterprise_head_elsewhere", set()),
        ("insurer", {"insured"}),
        ("gas_department", {"own", "town", "insured"}),
        ("no_post", set()),
    ],
)
def test_each_persona_sees_its_part_in_lists_and_in_the_feed(personas, subjects, name, seen):
    user = personas[name]
    assert set(Subject.objects.all().visible_to(user).values_list("key", flat=True)) == seen
    scope = scope_of(user, "subject.view")
    admitted = {
        key
        for key, s in subjects.items()
        if scope.admits(path=s.place["path"], organisations=tuple(s.place["organisations"]), programme=s.programme)
    }
    assert admitted == seen


def test_someone_not_signed_in_sees_nothing(subjects):
    assert not Subject.objects.all().visible_to(AnonymousUser()).exists()


def test_a_change_is_refused_outside_the_reach_and_without_the_capability(personas, subjects):
    require(personas["town_officer_here"], "subject.edit", subjects["town"])
    with pytest.raises(NotAllowed):
        require(personas["town_officer_elsewhere"], "subject.edit", subjects["town"])
    with pytest.raises(NotAllowed):
        require(personas["grid_worker"], "subject.edit", subjects["own"])


def test_a_post_that_ended_gives_nothing(personas, subjects):
    user = personas["district_officer_here"]
    user.posts.update(until="2021-01-01")
    assert not Subject.objects.all().visible_to(personas["district_officer_here"]).exists()
