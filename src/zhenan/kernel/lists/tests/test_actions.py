"""Bulk actions: asked once more, done row by row, each row's own result."""

from __future__ import annotations

import pytest
from django.contrib.messages.storage.fallback import FallbackStorage
from django.core.exceptions import PermissionDenied
from django.test import RequestFactory

from zhenan.kernel.errors import DomainError
from zhenan.kernel.lists import BulkAction, Column, ListPage
from zhenan.kernel.people.models import Organisation

pytestmark = pytest.mark.django_db


class Refused(DomainError):
    message = "“{name}” stays."


def close(row, actor, data):
    row.active = False
    row.save()
    if row.code.startswith("town"):
        raise Refused(name=row.name)
    return "closed"


class Closable(ListPage):
    model = Organisation
    title = "x"
    columns = (Column("code", "code", sort="code"),)
    default_sort = "code"
    actions = (
        BulkAction("close", "Close", do=close),
        BulkAction("grave", "Grave", do=close, capability="people.edit"),
    )

    def get_queryset(self):
        return Organisation.objects.exclude(code="city-office")


def post(user, data):
    request = RequestFactory().post("/x/", data)
    request.user, request.session = user, {}
    request._messages = FallbackStorage(request)
    request.LANGUAGE_CODE = "en"
    return Closable.as_view()(request)


def pk(code):
    return Organisation.objects.get(code=code).pk


def test_the_first_post_asks_and_changes_nothing(personas):
    answer = post(personas["city_officer"], {"action": "close", "ids": [pk("insurer")]})
    assert answer.status_code == 200
    assert f'name="ids" value="{pk("insurer")}"' in answer.content.decode()
    assert Organisation.objects.get(code="insurer").active


def test_each_row_gets_its_own_result_and_a_refused_row_is_left_whole(personas):
    chosen = [pk("insurer"), pk("town-here"), pk("experts")]
    html = post(personas["city_officer"], {"action": "close", "ids": chosen, "confirmed": "1"}).content.decode()
    assert "“town-here” stays." in html
    assert set(Organisation.objects.filter(active=False).values_list("code", flat=True)) == {"insurer", "experts"}


def test_rows_out_of_sight_are_not_touched_whatever_ids_come(personas):
    answer = post(
        personas["city_officer"], {"action": "close", "ids": [pk("city-office"), "x", "9" * 30], "confirmed": "1"}
    )
    assert answer.status_code == 422
    assert Organisation.objects.get(code="city-office").active


def test_all_that_match_are_frozen_as_ids_on_the_page_that_asks(personas):
    html = post(personas["city_officer"], {"action": "close", "all": "1"}).content.decode()
    assert html.count('name="ids"') == Organisation.objects.count() - 1


def test_an_action_without_its_capability_is_refused(personas):
    with pytest.raises(PermissionDenied):
        post(personas["city_officer"], {"action": "grave", "ids": [pk("insurer")], "confirmed": "1"})
    assert (
        post(personas["administrator"], {"action": "grave", "ids": [pk("insurer")], "confirmed": "1"}).status_code
        == 200
    )
