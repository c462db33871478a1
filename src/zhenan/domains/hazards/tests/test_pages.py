"""Pages of hazards: within reach, forms for what this person may do now, the reason for what they may not."""

import json

import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.domains.hazards import queries, services, shown
from zhenan.domains.hazards.lists import HazardList
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.tests.conftest import photo
from zhenan.kernel.lists.contract import check_list_page
from zhenan.kernel.lists.testing import assert_query_budget


@pytest.fixture(autouse=True)
def _now(loop):
    loop.at = timezone.now()


def test_the_list_keeps_the_contract_of_lists(client, personas, loop):
    def make(n):
        for one in range(n):
            loop.report(title=f"hazard {Hazard.objects.count()} {one}")

    users = [personas["city_officer"], personas["town_officer_elsewhere"]]
    check_list_page(client, HazardList, reverse("hazards:list"), users=users, make=make)


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("town_officer_here", 200),
        ("enterprise_safety_here", 200),
        ("gas_department", 200),
        ("discipline_inspector", 200),
        ("town_officer_elsewhere", 404),
        ("enterprise_head_elsewhere", 404),
        ("insurer", 404),
        ("administrator", 403),
        ("no_post", 403),
    ],
)
def test_a_hazard_its_photos_and_its_figures_are_seen_within_reach(client, personas, loop, who, status):
    hazard = loop.to("found")
    client.force_login(personas[who])
    assert client.get(hazard.get_absolute_url()).status_code == status
    assert shown.may_see(personas[who], str(hazard.pk)) is (status == 200)
    assert queries.figures(personas[who], loop.at).found == (status == 200)
    assert len(shown.map_layer(personas[who], None)["features"]) == (status == 200)
    assert client.get(f"/api/hazards/{hazard.pk}").status_code == (200 if status == 200 else 404)


def test_whoever_found_it_sees_it_and_whoever_it_was_transferred_to(client, personas, loop):
    loop.shop.viewers = [personas.organisations["insurer"].pk]
    loop.shop.save()
    hazard = loop.report(by=personas["insurer"], source="insurer")
    loop.shop.viewers = []
    loop.shop.save()
    assert Hazard.objects.visible_to(personas["insurer"]).get() == hazard
    department = personas.organisation("transport", "department", personas.elsewhere)
    personas.add("transport_officer", "department", department, personas.elsewhere, ["roads"])
    assert not Hazard.objects.visible_to(personas["transport_officer"]).exists()
    services.transfer(hazard.pk, to=department, reason="a bus", by=personas["town_officer_here"], at=loop.at)
    assert Hazard.objects.visible_to(personas["transport_officer"]).get() == hazard
    assert services.receive_transfer(hazard.pk, by=personas["transport_officer"], at=loop.at).state == "found"


def steps_on(client, hazard):
    answer = client.get(hazard.get_absolute_url())
    return {s["action"].code for s in answer.context["open_steps"]}, {
        s.action.code: str(s.error) for s in answer.context["closed_steps"]
    }


def test_the_page_offers_what_this_person_may_do_and_says_why_not(client, personas, loop):
    hazard = loop.to("rectified_pending_check")
    client.cookies["django_language"] = "en"
    client.force_login(personas["town_officer_here"])
    assert steps_on(client, hazard) == ({"accept", "reject"}, {})
    client.force_login(personas["enterprise_safety_here"])
    mine, others = steps_on(client, hazard)
    assert mine == set()
    assert "hazard.verify" in others["accept"]


def test_the_whole_loop_on_the_pages(client, personas, loop, shop):
    def act(who, action, **data):
        client.force_login(personas[who])
        answer = client.post(
            reverse("hazards:act", args=[hazard.pk, action]), {f"{action}-{k}": v for k, v in data.items()}
        )
        assert answer.status_code == 302, answer.content.decode()[:3000]

    client.force_login(personas["grid_worker"])
    form = {"title": "Hose cracked", "severity": "general", "source": "inspection", "photos": [photo()]}
    answer = client.post(reverse("hazards:report_on", args=[shop.pk]), form | {"lon": "119.57", "lat": "32.001"})
    assert answer.status_code == 302
    hazard = Hazard.objects.get()
    act("town_officer_here", "grade", severity="general", criterion_code="hose")
    act("town_officer_here", "assign", rectifier="enterprise_safety_here")
    act("enterprise_safety_here", "plan", measures="new hose", plan_person="Wang")
    act("enterprise_safety_here", "submit", note="done", after=[photo("green")], lon="119.57", lat="32")
    act("town_officer_here", "accept", note="seen")
    client.force_login(personas["discipline_inspector"])
    page = client.get(hazard.get_absolute_url())
    assert [stop.where for stop in page.context["road"]] == ["done"] * 6
    one = page.context["rounds"][0]
    assert (len(one["before"]), len(one["after"])) == (1, 1)
    assert one["before"][0].distance_m == pytest.approx(111, abs=1)  # 0.001 degree of latitude


def test_what_is_wrong_is_shown_at_its_form_and_changes_nothing(client, personas, loop):
    hazard = loop.to("rectifying")
    client.force_login(personas["enterprise_safety_here"])
    answer = client.post(reverse("hazards:act", args=[hazard.pk, "submit"]), {"submit-note": "done"})
    assert answer.status_code == 422
    assert 'id="step-submit" open' in answer.content.decode()
    assert loop.fresh(hazard).state == "rectifying"
    unreadable = {"submit-note": "done", "submit-after": [photo(name="x.jpg"), b"not a photo"]}
    assert client.post(reverse("hazards:act", args=[hazard.pk, "submit"]), unreadable).status_code in (302, 422)
    assert client.post(reverse("hazards:act", args=[hazard.pk, "explode"])).status_code == 404


def test_a_step_that_is_over_says_so(client, personas, loop):
    hazard = loop.to("accepted")
    client.cookies["django_language"] = "en"
    client.force_login(personas["town_officer_here"])
    answer = client.post(reverse("hazards:act", args=[hazard.pk, "reject"]), {"reject-note": "no"})
    assert answer.status_code == 422
    assert "possible when it is: Rectified, awaiting check" in answer.content.decode()


def test_grading_and_assigning_in_bulk_say_row_by_row_what_was_refused(client, personas, loop):
    first, second = loop.report(criterion_text="a"), loop.report(title="no criterion")
    client.force_login(personas["town_officer_here"])
    ids = {"ids": [first.pk, second.pk], "confirmed": "1"}
    answer = client.post(reverse("hazards:list"), {"action": "grade", "severity": "general", **ids})
    assert (answer.context["done"], answer.context["refused"]) == (1, 1)
    answer = client.post(reverse("hazards:list"), {"action": "assign", "rectifier": "enterprise_safety_here", **ids})
    assert (answer.context["done"], answer.context["refused"]) == (1, 1)


def test_each_headline_figure_equals_the_list_that_it_opens(client, personas, loop):
    for state in ("found", "rectifying", "accepted"):
        loop.to(state, location=state)
    late = loop.to("rectifying", "major", location="late")
    Hazard.objects.filter(pk=late.pk).update(due_at="2026-01-01T00:00Z")
    user = personas["city_officer"]
    client.force_login(user)
    seen = {}
    for tile in shown.tiles():
        figure = tile.load(user)
        seen[tile.code] = figure["value"]
        if tile.code != "hazards_rate":
            assert client.get(figure["url"]).context["list"].count.value == figure["value"], tile.code
    assert seen == {"hazards_open": 3, "hazards_major": 1, "hazards_overdue": 1, "hazards_rate": 25.0}


def test_today_shows_each_what_waits_for_them(personas, loop):
    loop.to("found", location="a")
    loop.to("rectifying", location="b")
    loop.to("rectified_pending_check", location="c")

    def today(who):
        return [str(item.title).partition(":")[0] for item in shown.before_me(personas[who], loop.at)]

    from django.utils import translation

    with translation.override("en"):
        assert today("town_officer_here") == ["To check", "To grade"]
        assert today("enterprise_safety_here") == ["To rectify"]
        assert today("grid_worker") == []


def test_pages_ask_a_fixed_number_of_times(client, personas, loop):
    hazard = loop.to("rejected", "major")
    client.force_login(personas["town_officer_here"])
    assert_query_budget(client, hazard.get_absolute_url(), 36)


def test_the_api_reports_and_verifies_by_the_same_rules(client, personas, loop, shop):
    client.force_login(personas["grid_worker"])
    body = {"subject_id": shop.pk, "source": "inspection", "source_key": "x:1", "title": "Hose"}
    post = lambda url, data: client.post(url, json.dumps(data), content_type="application/json")  # noqa: E731
    first, again = post("/api/hazards/", body), post("/api/hazards/", body)
    assert (first.status_code, first.json()["id"]) == (201, again.json()["id"])
    assert post("/api/hazards/", body | {"lon": 1.0}).status_code == 422
    assert post("/api/hazards/", body | {"subject_id": 10**6}).status_code == 404
    hazard = loop.to("rectified_pending_check")
    refused = post(f"/api/hazards/{hazard.pk}/verification", {"accepted": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "access.not_allowed")
    client.force_login(personas["town_officer_here"])
    assert post(f"/api/hazards/{hazard.pk}/verification", {"accepted": True}).json()["state"] == "accepted"
    listed = client.get("/api/hazards/", {"state": "accepted"}).json()
    assert [row["id"] for row in listed["items"]] == [hazard.pk]


def test_the_api_takes_photos_with_a_submission(client, personas, loop):
    hazard = loop.to("rectifying")
    client.force_login(personas["enterprise_safety_here"])
    answer = client.post(f"/api/hazards/{hazard.pk}/rectification", {"note": "done", "after": [photo("green")]})
    assert (answer.status_code, answer.json()["state"]) == (200, "rectified_pending_check")
