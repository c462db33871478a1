"""The register's pages and API: who sees what, forms, one file per enterprise, query budgets."""

from __future__ import annotations

import json

import pytest
from django.urls import reverse

from zhenan.domains.register import services, shown
from zhenan.domains.register.lists import NumberFilter, SubjectList, TypeList
from zhenan.domains.register.models import Subject
from zhenan.domains.register.tests.conftest import AT, CATERER
from zhenan.kernel.lists import FilterError, contract
from zhenan.kernel.lists.contract import check_list_page
from zhenan.kernel.lists.testing import assert_query_budget, query_budget
from zhenan.kernel.people.models import Post
from zhenan.packkit.registry import registry

pytestmark = pytest.mark.django_db
EVERYONE = (
    "city_officer", "district_officer_here", "town_officer_here", "town_officer_elsewhere", "gas_department",
    "enterprise_head_here", "service_centre_operator", "insurer", "no_post",
)  # fmt: skip


@pytest.fixture
def subjects(make, personas):
    """One here, one in the grid, one elsewhere that the insurer may see, one of the enterprise here."""
    insurer = personas.organisations["insurer"].pk
    enterprise = personas.organisations["enterprise-here"]
    return [
        make("甲餐馆", attributes={"seats": 10}),
        make("乙餐馆", "grid", attributes={"seats": 200, "basement": True}),
        make("丙餐馆", "elsewhere", viewers=[insurer]),
        make("丁餐馆", "elsewhere", organisation=enterprise),
    ]


def names_on(answer) -> set[str]:
    return {row.obj.name for row in answer.context["list"].rows}


def test_the_list_keeps_the_contract(client, personas, make, subjects):
    made = iter(range(1000))

    def more(n: int) -> None:
        for _ in range(n):
            make(f"餐馆{next(made)}")

    users = [personas[name] for name in ("city_officer", "town_officer_here", "insurer")]
    check_list_page(client, SubjectList, reverse("register:list"), users=users, make=more)


def test_the_list_of_a_type_pages_searches_sorts_and_exports_the_same_rows(client, personas, subjects):
    kind = registry().subject_type(CATERER)
    bound = TypeList()
    bound.kind = kind
    page = type("Caterers", (TypeList,), {"kind": kind, "columns": bound.columns, "filters": bound.filters})
    url = reverse("register:type", args=[CATERER])
    for name in ("city_officer", "town_officer_here"):
        user = personas[name]
        client.force_login(user)
        expected = set(Subject.objects.visible_to(user).values_list("pk", flat=True))
        contract.check_same_rows(client, page, url, user, expected)
        contract.check_search(client, page, url, user)
        contract.check_sorting(client, page, url, expected)


@pytest.mark.parametrize("came", ["x", "1..x", "\x00", "1e309", "--1", "..", ">="])
def test_an_unreadable_attribute_filter_gives_a_message_and_filters_nothing(client, personas, subjects, came):
    client.force_login(personas["city_officer"])
    answer = client.get(reverse("register:type", args=[CATERER]), {"f_gas_kind": came, "f_basement": came})
    assert names_on(answer) == {"甲餐馆", "乙餐馆", "丙餐馆", "丁餐馆"}
    with pytest.raises(FilterError):
        NumberFilter(name="f_seats", label="", field="seats").condition({"f_seats": came}, None)


@pytest.mark.parametrize("name", EVERYONE)
def test_list_detail_search_api_and_map_show_the_same_subjects(client, personas, subjects, name):
    user = personas[name]
    client.force_login(user)
    may = {s.name for s in Subject.objects.visible_to(user)}
    listed = client.get(reverse("register:list"))
    if not user.can("subject.view"):
        assert listed.status_code == 403
        assert client.get("/api/subjects/").status_code == 403
        return
    assert names_on(listed) == may
    assert names_on(client.get(reverse("register:list"), {"q": "餐馆"})) == may
    opened = {s.name for s in subjects if client.get(reverse("register:detail", args=[s.pk])).status_code == 200}
    printed = {s.name for s in subjects if client.get(reverse("register:file", args=[s.pk])).status_code == 200}
    by_api = {s.name for s in subjects if client.get(f"/api/subjects/{s.pk}").status_code == 200}
    assert opened == printed == by_api == may
    assert {one["name"] for one in client.get("/api/subjects/").json()["items"]} == may


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"f_basement": "1"}, {"乙餐馆"}),
        ({"f_gas_kind": "natural"}, {"甲餐馆", "乙餐馆", "丙餐馆", "丁餐馆"}),
        ({"f_gas_company": "华润"}, set()),
        ({"q": "jcg"}, {"甲餐馆"}),  # first letters: jia can guan
        ({"division": "321183"}, {"丙餐馆", "丁餐馆"}),
        ({"status": "closed"}, set()),
    ],
)
def test_a_packs_fields_filter_its_list(client, personas, subjects, query, found):
    client.force_login(personas["city_officer"])
    answer = client.get(reverse("register:type", args=[CATERER]), query)
    assert names_on(answer) == found


@pytest.mark.parametrize(("text", "found"), [("100..", {"乙餐馆"}), (">=10", {"甲餐馆", "乙餐馆"}), ("10", {"甲餐馆"})])
def test_a_number_is_filtered_by_value_and_by_span(personas, subjects, text, found):
    wanted = NumberFilter(name="f_seats", label="", field="seats").condition({"f_seats": text}, None)
    assert set(Subject.objects.filter(wanted).values_list("name", flat=True)) == found


def test_a_type_that_does_not_exist_is_not_found(client, personas):
    client.force_login(personas["city_officer"])
    assert client.get(reverse("register:type", args=["x.y"])).status_code == 404


def test_the_detail_page_asks_a_constant_number_of_queries(client, personas, subjects):
    client.force_login(personas["town_officer_here"])
    url = reverse("register:detail", args=[subjects[0].pk])
    client.get(url)
    with query_budget(60) as few:
        client.get(url)
    for n in range(10):
        services.update_subject(subjects[0].pk, actor=None, at=AT, changes={"phone": f"0511-8666666{n}"})
    assert_query_budget(client, url, len(few))


def test_the_detail_page_tells_who_changed_what(client, personas, subjects):
    officer = personas["town_officer_here"]
    services.update_subject(subjects[0].pk, actor=officer, at=AT, changes={"attributes": {"seats": 33}})
    client.force_login(officer)
    page = client.get(reverse("register:detail", args=[subjects[0].pk])).content.decode()
    for text in ("Seats", "<s>10</s>", ">33<", "town_officer_here"):
        assert text in page


def test_a_place_is_drawn_as_a_map(client, personas, make):
    subject = make("甲", lon=119.57, lat=32.0)
    client.force_login(personas["city_officer"])
    assert "<circle" in client.get(reverse("register:detail", args=[subject.pk])).content.decode()


def form_data(**changes):
    return {"name": "新店", "a_gas_kind": "natural", "division": "", **changes}


def test_a_form_adds_a_subject_and_shows_faults_beside_their_fields(client, personas):
    client.force_login(personas["town_officer_here"])
    url = reverse("register:create") + f"?type={CATERER}"
    assert "Kind of gas" in client.get(url).content.decode()
    bad = client.post(url, form_data(division=personas.grid.code, a_seats="-3", phone="abc", lon="119.5"))
    assert bad.status_code == 422
    assert set(bad.context["form"].errors) == {"a_seats", "phone"}
    half = client.post(url, form_data(division=personas.grid.code, lon="119.5"))
    assert set(half.context["form"].errors) == {"lon"}
    good = client.post(url, form_data(division=personas.grid.code, a_seats="30", a_basement="0"))
    assert good.status_code == 302
    made = Subject.objects.get()
    assert made.attributes == {"gas_kind": "natural", "seats": 30, "basement": False}


def test_a_form_offers_only_divisions_within_reach(client, personas):
    client.force_login(personas["town_officer_here"])
    url = reverse("register:create") + f"?type={CATERER}"
    offered = {code for code, _label in client.get(url).context["form"].fields["division"].choices}
    assert offered == {"", personas.here.code, personas.grid.code}
    assert client.post(url, form_data(division=personas.elsewhere.code)).status_code == 422
    assert not Subject.objects.exists()


def test_a_form_changes_a_subject_and_refuses_over_someone_elses_change(client, personas, subjects):
    client.force_login(personas["town_officer_here"])
    url = reverse("register:edit", args=[subjects[0].pk])
    seen = client.get(url).context["form"]["seen"].value()
    data = form_data(name="甲餐馆", division=personas.here.code, a_seats="11", seen=seen)
    assert client.post(url, data).status_code == 302
    answer = client.post(url, {**data, "a_seats": "12"})
    assert answer.status_code == 422
    assert "changed by someone else" in answer.content.decode()
    assert Subject.objects.get(pk=subjects[0].pk).attributes["seats"] == 11


def test_those_who_may_not_change_are_refused(client, personas, subjects):
    for name, status in (("grid_worker", 403), ("town_officer_elsewhere", 404)):
        client.force_login(personas[name])
        assert client.post(reverse("register:edit", args=[subjects[0].pk]), form_data()).status_code == status
        assert (
            client.post(reverse("register:status", args=[subjects[0].pk]), {"status": "closed"}).status_code == status
        )
    assert Subject.objects.get(pk=subjects[0].pk).status == "active"


def test_a_bulk_move_goes_row_by_row_and_says_what_became_of_each(client, personas, subjects):
    client.force_login(personas["city_officer"])
    town = personas.elsewhere
    ids = [s.pk for s in subjects[:3]]
    data = {"action": "move", "ids": ids, "confirmed": "1", "code": town.code, "note": "调整"}
    answer = client.post(reverse("register:list"), data)
    assert answer.context["done"] == 3
    assert set(Subject.objects.values_list("division", flat=True)) == {town.pk}
    closing = {"action": "close", "ids": ids, "confirmed": "1", "note": "关停"}
    services.close_subject(ids[0], actor=None, at=AT)
    results = client.post(reverse("register:list"), closing).context
    assert (results["done"], results["refused"]) == (2, 1)


def test_the_file_for_printing_names_who_printed_it(client, personas, subjects):
    client.force_login(personas["town_officer_here"])
    page = client.get(reverse("register:file", args=[subjects[0].pk])).content.decode()
    assert "甲餐馆" in page
    assert "Printed by town_officer_here" in page


# Map and board


def test_the_map_layer_is_limited_to_the_box_and_to_what_one_may_see(make, personas, monkeypatch):
    make("甲", lon=119.5, lat=32.0)
    make("乙", lon=119.9, lat=32.0)
    make("丙", "elsewhere", lon=119.5, lat=32.0)
    officer = personas["town_officer_here"]
    found = shown.sites(officer, (119.4, 31.9, 119.6, 32.1))
    assert [f["properties"]["name"] for f in found["features"]] == ["甲"]
    monkeypatch.setattr(shown, "SITES_AT_MOST", 1)
    many = shown.sites(personas["city_officer"], (119.4, 31.9, 120.0, 32.1))
    assert sum(f["properties"]["count"] for f in many["features"]) == 3


def test_the_board_counts_what_one_may_see_and_leads_to_it(client, personas, subjects):
    tile = shown.subjects_tile(personas["town_officer_here"])
    client.force_login(personas["town_officer_here"])
    assert tile["value"] == len(names_on(client.get(tile["url"]))) == 2


# API


def send(client, method, url, data, **headers):
    return getattr(client, method)(url, json.dumps(data), content_type="application/json", headers=headers)


def test_the_api_adds_changes_and_refuses_like_the_form(client, personas):
    client.force_login(personas["town_officer_here"])
    data = {"type": CATERER, "name": "新店", "division": personas.grid.code, "attributes": {"gas_kind": "natural"}}
    made = send(client, "post", "/api/subjects/", data)
    assert made.status_code == 201
    url = f"/api/subjects/{made.json()['id']}"
    bad = send(client, "patch", url, {"attributes": {"seats": -1, "x": 1}})
    assert bad.status_code == 422
    assert set(bad.json()["errors"]) == {"attributes.seats", "attributes.x"}
    assert send(client, "patch", url, {"division": personas.elsewhere.code}).status_code == 403
    assert send(client, "post", "/api/subjects/", {**data, "division": personas.elsewhere.code}).status_code == 403
    assert send(client, "patch", url, {"phone": "0511-86666666"}).json()["phone"] == "0511-86666666"


def test_the_api_answers_unchanged_and_refuses_a_stale_change(client, personas, subjects):
    client.force_login(personas["town_officer_here"])
    url = f"/api/subjects/{subjects[0].pk}"
    tag = client.get(url)["ETag"]
    assert client.get(url, headers={"If-None-Match": tag}).status_code == 304
    assert send(client, "patch", url, {"phone": "110"}, **{"If-Match": tag}).status_code == 200
    assert send(client, "patch", url, {"phone": "119"}, **{"If-Match": tag}).status_code == 409


def test_the_api_pages_by_cursor_without_losing_a_row(client, personas, make):
    for n in range(25):
        make(f"店{n % 3}", key=str(n))
    client.force_login(personas["city_officer"])
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get("/api/subjects/", {"limit": 7, "cursor": cursor}).json()
        seen += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert sorted(seen) == sorted(Subject.objects.values_list("pk", flat=True))
    assert client.get("/api/subjects/", {"cursor": "x!"}).status_code == 422


def test_a_post_that_has_ended_shows_nothing(client, personas, subjects):
    Post.objects.filter(user=personas["town_officer_here"]).update(until="2021-01-01")
    client.force_login(personas["town_officer_here"])
    assert client.get(reverse("register:detail", args=[subjects[0].pk])).status_code == 403
