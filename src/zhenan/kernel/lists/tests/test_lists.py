"""List pages, tested on the organisations: one real model behind the one mechanism."""

from __future__ import annotations

import csv
import io

import pytest
from django.urls import reverse

from zhenan.kernel.lists.contract import bound, check_list_page, download
from zhenan.kernel.lists.export import harmless
from zhenan.kernel.lists.paging import Count, Sort, count_of, page_of
from zhenan.kernel.lists.testing import assert_query_budget, query_budget
from zhenan.kernel.people.models import Organisation, User
from zhenan.web.views.people import OrganisationList, PersonList

pytestmark = pytest.mark.django_db


@pytest.fixture
def make_organisations(personas):
    made = []

    def make(n):
        for _ in range(n):
            number = len(made)
            made.append(
                Organisation.objects.create(
                    code=f"Z{number:04}", name=f"测试单位{number}", kind="enterprise", division=personas.here
                )
            )

    return make


@pytest.fixture
def officer(client, personas):
    user = personas["city_officer"]
    client.force_login(user)
    return user


ORGANISATIONS = "/system/organisations/"


def test_the_organisation_list_keeps_the_contract(client, personas, make_organisations):
    users = [
        personas[name] for name in ("city_officer", "administrator", "district_officer_here", "insurer", "no_post")
    ]
    check_list_page(client, OrganisationList, ORGANISATIONS, users=users, make=make_organisations)


def test_the_people_list_keeps_the_contract(client, personas):
    def make(n):
        for number in range(n):
            User.objects.create(username=f"u{User.objects.count()}-{number}", name="张三", language="en")

    users = [personas[name] for name in ("city_officer", "district_officer_elsewhere", "grid_worker")]
    check_list_page(client, PersonList, reverse("web:people"), users=users, make=make)


def test_a_district_officer_sees_the_organisations_of_the_own_district_alone(client, personas):
    client.force_login(personas["district_officer_here"])
    names = {row.obj.code for row in client.get(ORGANISATIONS).context["list"].rows}
    assert "town-here" in names
    assert not names & {"town-elsewhere", "enterprise-elsewhere", "city-office"}


def test_a_page_asks_the_database_a_fixed_number_of_times(client, officer, make_organisations):
    make_organisations(30)
    # session, user, posts; kinds and divisions for the filters; count, rows.
    assert_query_budget(client, ORGANISATIONS, 7)


def test_a_filter_value_that_cannot_be_read_is_said_beside_the_filter_and_filters_nothing(client, officer):
    answer = client.get(ORGANISATIONS, {"active": "maybe", "division": "999"})
    shown = answer.context["list"]
    assert shown.count.value == Organisation.objects.count()
    assert [b.name for b in shown.bound_filters if b.error] == ["division", "active"]
    assert 'id="list-error-active" class="list-error" role="alert">“maybe”' in answer.content.decode()


def test_filters_narrow_list_count_and_export_alike(client, officer, personas):
    params = {"division": personas.here.code, "kind": "enterprise"}
    assert [r.obj.code for r in client.get(ORGANISATIONS, params).context["list"].rows] == ["enterprise-here"]
    lines = list(csv.reader(io.StringIO(download(client, ORGANISATIONS, "csv", **params).decode("utf-8-sig"))))
    assert [line[1] for line in lines[1:]] == ["enterprise-here"]


def test_words_are_all_searched_for_and_wildcards_stand_for_themselves(client, officer, make_organisations):
    make_organisations(12)
    Organisation.objects.filter(code="Z0003").update(name="100%_安全\\")
    found = lambda q: [r.obj.code for r in client.get(ORGANISATIONS, {"q": q}).context["list"].rows]  # noqa: E731
    assert found("测试 Z0011") == ["Z0011"]
    assert found("%_") == ["Z0003"]
    assert found("安全\\") == ["Z0003"]
    assert found("测试 京口") == []


def test_a_cell_that_a_spreadsheet_would_run_is_exported_harmless(client, officer, personas):
    Organisation.objects.create(code="evil", name='=HYPERLINK("http://x","y")', kind="e", division=personas.here)
    body = download(client, ORGANISATIONS, "csv", q="evil").decode("utf-8-sig")
    assert list(csv.reader(io.StringIO(body)))[1][0] == '\'=HYPERLINK("http://x","y")'


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1", "'=1"),
        ("+86 138", "'+86 138"),
        ("-1.5", "-1.5"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("-x", "'-x"),
        ("镇江", "镇江"),
    ],
)
def test_text_that_begins_like_a_formula_gets_a_quote_unless_it_is_a_number(text, safe):
    assert harmless(text) == safe


def test_pages_by_key_stand_still_while_rows_come_and_go(client, officer, make_organisations):
    make_organisations(60)
    asked = {"sort": "-code", "q": "测试"}
    first = client.get(ORGANISATIONS, asked).context["list"].page
    seen = {row.pk for row in first.rows}
    Organisation.objects.create(code="ZZZZ", name="测试 new", kind="e", division=Organisation.objects.first().division)
    Organisation.objects.filter(pk=first.rows[3].pk).delete()
    second = client.get(ORGANISATIONS, {**asked, "pos": first.next}).context["list"].page
    assert not seen & {row.pk for row in second.rows}
    assert second.rows[0].code == "Z0034"


def test_empty_sort_values_come_last_both_ways_and_no_page_loses_them(personas):
    for number in range(7):
        User.objects.create(
            username=f"n{number}", name="n", last_login=None if number % 2 else f"2025-01-0{number + 1}T00:00Z"
        )
    rows = User.objects.filter(username__startswith="n", name="n")
    for descending in (False, True):
        sort, walked, pos = Sort("last_login", "last_login", descending=descending), [], ""
        while True:
            page = page_of(rows, sort, pos, 2, Count(7, exact=True))
            walked += page.rows
            if not page.has_next:
                break
            pos = page.next
        back = page_of(rows, sort, page.previous, 4, Count(7, exact=True)).rows
        assert [u.last_login is None for u in walked] == [False] * 4 + [True] * 3
        assert back == walked[2:6]


def test_beyond_the_cap_the_count_is_an_estimate_that_reads_no_rows(personas, make_organisations):
    make_organisations(30)
    counted = count_of(Organisation.objects.all(), exact_up_to=10)
    assert not counted.exact
    assert counted.value >= 11
    with query_budget(2):
        count_of(Organisation.objects.all(), exact_up_to=10)


def test_htmx_gets_the_results_alone_with_the_clean_address_to_push(client, officer):
    answer = client.get(
        ORGANISATIONS,
        {"q": "town", "kind": "", "sort": "name"},
        headers={"HX-Request": "true", "HX-Target": "list-results"},
    )
    html = answer.content.decode()
    assert "<html" not in html
    assert html.lstrip().startswith('<section id="list-results"')
    assert answer["HX-Push-Url"] == f"{ORGANISATIONS}?q=town&sort=name"
    assert "HX-Request" in answer["Vary"]
    assert 'id="list-status" class="visually-hidden" role="status"' in html


def test_sorted_columns_say_so_to_screen_readers(client, officer):
    html = client.get(ORGANISATIONS, {"sort": "-name"}).content.decode()
    assert html.count('aria-sort="descending"') == 1
    assert html.count('aria-sort="none"') == 3


def test_an_empty_list_says_what_to_do_next(client, officer):
    html = client.get(ORGANISATIONS, {"q": "nothing-like-this"}).content.decode()
    assert "清除筛选" in html
    assert "没有符合条件的记录" in html


def test_the_page_of_a_user_without_the_capability_is_refused(client, personas):
    client.force_login(personas["grid_worker"])
    assert client.get(ORGANISATIONS).status_code == 403
    assert client.get(ORGANISATIONS, {"export": "csv"}).status_code == 403


def test_the_export_is_offered_with_the_lists_own_state(client, officer):
    html = client.get(ORGANISATIONS, {"q": "town", "sort": "-name", "pos": "last"}).content.decode()
    assert "?q=town&amp;sort=-name&amp;pos=last&amp;export=xlsx" in html


def test_a_page_can_be_bound_outside_a_request_for_other_checks(personas):
    assert bound(OrganisationList, personas["city_officer"], ORGANISATIONS).count.exact
