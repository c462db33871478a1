"""Coverage: every required level of every subject; it reaches zero, and shows when it leaves it."""

import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.domains.duty import queries, services
from zhenan.kernel.lists.testing import assert_query_budget

pytestmark = pytest.mark.usefixtures("duties")


def test_the_list_reaches_zero_and_stays_until_someone_leaves(make_shop, personas, client):
    shops = [make_shop(f"s{n}") for n in range(3)]
    officer = personas["town_officer_here"]
    assert queries.missing_count(officer) == 6
    client.force_login(officer)
    page = reverse("duty:gaps", args=["grid"])
    assert client.get(page).context["list"].count.value == 3
    done = client.post(page, {"action": "by_post", "all": "1", "confirmed": "1"})
    assert (done.context["done"], done.context["refused"]) == (3, 0)
    form = {"action": "assign", "all": "1", "confirmed": "1", "person": "town_officer_2_here"}
    answer = client.post(reverse("duty:gaps", args=["town"]), form | {"begins_on": timezone.localdate().isoformat()})
    assert answer.context["done"] == 3
    assert queries.missing_count(officer) == 0
    assert client.get(page).context["list"].count.value == 0
    assert "text-success" in client.get(reverse("duty:coverage")).content.decode()
    contract = shops[0].contracts.get(level="grid")
    services.withdraw_contract(contract.pk, reason="typo", by=None, at=timezone.now())
    assert [s.name for s in queries.gaps(officer, "grid")] == ["s0"]


def test_counts_are_by_division_and_within_reach(make_shop, personas):
    make_shop("a")
    make_shop("b", personas.here)
    make_shop("c", personas.elsewhere, "enterprise-elsewhere")
    city = queries.coverage(personas["city_officer"], "320000/321100/")
    assert {code: cells["grid"].missing for code, cells in city.items()} == {"321181": 2, "321183": 1}
    town = queries.coverage(personas["town_officer_here"], personas.here.path)
    assert {code: cells["town"].missing for code, cells in town.items()} == {"": 1, personas.grid.code: 1}


def test_several_in_post_want_a_name(make_shop, personas, client):
    make_shop("a")
    client.force_login(personas["town_officer_here"])
    answer = client.post(reverse("duty:gaps", args=["town"]), {"action": "by_post", "all": "1", "confirmed": "1"})
    assert (answer.context["done"], answer.context["refused"]) == (0, 1)
    assert "town_officer_2_here" in answer.content.decode()


def test_a_subject_closed_down_needs_nobody(make_shop, personas):
    make_shop("a", status="closed")
    assert queries.missing_count(personas["city_officer"]) == 0


def test_the_page_asks_the_same_however_many_subjects(make_shop, personas, client):
    client.force_login(personas["city_officer"])
    for n in range(20):
        make_shop(f"s{n}")
    assert_query_budget(client, reverse("duty:coverage"), 16)
