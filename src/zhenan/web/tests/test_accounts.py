"""Signing in, being locked out, and what administrators do with accounts and posts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.kernel.access import NotAllowed
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.web import people_services as services

pytestmark = pytest.mark.django_db
PASSWORD = "long-enough-Passw0rd"


@pytest.fixture
def person(personas):
    user = personas["grid_worker"]
    user.set_password(PASSWORD)
    user.save()
    return user


def sign_in(client, password):
    return client.post("/accounts/login/", {"login": "grid_worker", "password": password})


def test_the_right_password_opens_today_in_the_persons_language(client, person):
    answer = sign_in(client, PASSWORD)
    assert (answer.status_code, answer["Location"]) == (302, "/")
    assert answer.cookies["django_language"].value == "en"
    assert "<h1>Today</h1>" in client.get("/").content.decode()


def test_five_wrong_passwords_lock_the_account_even_for_the_right_one(client, person):
    for _ in range(5):
        answer = sign_in(client, "wrong")
    assert answer.status_code == 429
    assert "账号暂时锁定" in answer.content.decode()
    assert sign_in(client, PASSWORD).status_code == 429


def test_nobody_registers_alone(client):
    assert "管理员" in client.get("/accounts/signup/").content.decode()
    client.post("/accounts/signup/", {"username": "intruder", "password1": PASSWORD, "password2": PASSWORD})
    assert not User.objects.filter(username="intruder").exists()


def test_an_administrator_makes_a_person_then_a_post_and_both_are_told(client, personas):
    client.force_login(personas["administrator"])
    made = client.post(
        reverse("web:person-new"),
        {"username": "zhang.wei", "name": "张伟", "phone": "138 0000", "language": "zh-hans", "password": PASSWORD},
    )
    user = User.objects.get(username="zhang.wei")
    assert made["Location"] == reverse("web:post-new", args=[user.pk])
    sent = {
        "organisation_code": "town-here",
        "role": "grid_worker",
        "division": personas.here.pk,
        "since": "2025-01-01",
    }
    client.post(made["Location"], sent)
    assert user.posts.get().role == "grid_worker"
    assert [event.kind for event in timeline_of(user)] == ["people.post_begun", "people.person_created"]
    page = client.get(reverse("web:person", args=[user.pk])).content.decode()
    assert "已创建张伟的账号" in page


@pytest.mark.parametrize(
    ("field", "value"),
    [("username", "GRID_worker"), ("username", "a b"), ("password", "short"), ("name", ""), ("phone", "call me")],
)
def test_a_bad_value_comes_back_beside_its_field_and_makes_nobody(client, personas, field, value):
    client.force_login(personas["administrator"])
    good = {"username": "new.one", "name": "x", "phone": "", "language": "en", "password": PASSWORD}
    before = User.objects.count()
    answer = client.post(reverse("web:person-new"), good | {field: value})
    assert answer.status_code == 422
    assert f'id="id_{field}_errors"' in answer.content.decode()
    assert User.objects.count() == before


def test_a_post_for_an_unknown_organisation_or_ending_before_it_begins_is_refused(client, personas):
    client.force_login(personas["administrator"])
    url = reverse("web:post-new", args=[personas["no_post"].pk])
    sent = {
        "organisation_code": "nowhere",
        "role": "expert",
        "division": personas.here.pk,
        "since": "2025-02-01",
        "until": "2025-01-01",
    }
    answer = client.post(url, sent)
    assert answer.status_code == 422
    assert {"organisation_code", "until"} <= set(answer.context["form"].errors)
    assert not Post.objects.filter(user=personas["no_post"]).exists()


def test_only_those_who_may_edit_people_change_them(client, personas):
    officer = personas["city_officer"]
    client.force_login(officer)
    target = personas["expert"]
    for name, arguments in (
        ("person-new", []),
        ("post-new", [target.pk]),
        ("organisation-new", []),
        ("person-password", [target.pk]),
    ):
        assert client.get(reverse(f"web:{name}", args=arguments)).status_code == 403
    client.post(reverse("web:person", args=[target.pk]), {"active": "0"})
    assert User.objects.get(pk=target.pk).is_active
    with pytest.raises(NotAllowed):
        services.end_post(
            Post.objects.get(user=target).pk, last_day_after=timezone.localdate(), actor=officer, at=timezone.now()
        )


def test_a_district_officer_opens_the_people_of_the_own_district_alone(client, personas):
    client.force_login(personas["district_officer_here"])
    assert client.get(reverse("web:person", args=[personas["town_officer_here"].pk])).status_code == 200
    assert client.get(reverse("web:person", args=[personas["town_officer_elsewhere"].pk])).status_code == 404
    there = Organisation.objects.get(code="town-elsewhere")
    assert client.get(reverse("web:organisation", args=[there.pk])).status_code == 404


def test_a_post_ends_once(personas):
    post = Post.objects.get(user=personas["expert"])
    day, at = timezone.localdate(), timezone.now()
    assert services.end_post(post.pk, last_day_after=day, actor=personas["administrator"], at=at).until == day
    with pytest.raises(services.PostAlreadyEnded):
        services.end_post(post.pk, last_day_after=day, actor=personas["administrator"], at=at)
    assert not personas["expert"].capabilities


def test_a_post_cannot_end_before_it_began(personas):
    post = Post.objects.get(user=personas["expert"])
    with pytest.raises(services.PostTooYoung):
        services.end_post(post.pk, last_day_after=post.since - timedelta(days=1), actor=None, at=timezone.now())


def test_a_closed_account_is_signed_out_at_once_and_cannot_sign_in(client, person, personas):
    sign_in(client, PASSWORD)
    services.set_active(person.pk, active=False, actor=personas["administrator"], at=timezone.now())
    assert client.get("/")["Location"].startswith("/accounts/login/")
    sign_in(client, PASSWORD)
    assert client.get("/")["Location"].startswith("/accounts/login/")


def test_a_password_given_anew_works_and_the_old_one_no_longer(client, person, personas):
    services.reset_password(person.pk, password="another-Passw0rd", actor=personas["administrator"], at=timezone.now())
    assert sign_in(client, PASSWORD).status_code == 200
    assert sign_in(client, "another-Passw0rd").status_code == 302
