"""Pages of responsibility: within reach, and saying what is wrong."""

import pytest
from django.urls import reverse
from django.utils import timezone

from zhenan.domains.duty import services
from zhenan.domains.duty.lists import ContractList
from zhenan.domains.duty.models import Contract
from zhenan.domains.duty.tests.conftest import DAY
from zhenan.kernel.imports.specs import spec_of
from zhenan.kernel.lists.contract import check_list_page
from zhenan.kernel.lists.testing import assert_query_budget

PEOPLE = ("city_officer", "town_officer_here", "town_officer_elsewhere", "enterprise_head_here", "discipline_inspector")


@pytest.fixture
def contract(sign):
    return sign(begins_on=timezone.localdate() - 30 * DAY, at=timezone.now() - 30 * DAY, visit_every_days=10)


def test_the_list_of_contracts_keeps_the_contract_of_lists(client, personas, sign, make_shop):
    def make(n):
        for _ in range(n):
            sign(subject=make_shop(f"shop {Contract.objects.count()}"))

    users = [personas["city_officer"], personas["town_officer_elsewhere"]]
    check_list_page(client, ContractList, reverse("duty:contracts"), users=users, make=make)


def test_each_gap_page_shows_what_is_in_reach_alone(client, personas, make_shop, duties):
    make_shop("here")
    make_shop("there", personas.elsewhere, "enterprise-elsewhere")
    seen = {}
    for name in (*PEOPLE, "grid_worker"):
        client.force_login(personas[name])
        answer = client.get(reverse("duty:gaps", args=["grid"]))
        seen[name] = {row.obj.name for row in answer.context["list"].rows}
    assert seen == {
        "city_officer": {"here", "there"}, "town_officer_here": {"here"}, "town_officer_elsewhere": {"there"},
        "enterprise_head_here": {"here"}, "discipline_inspector": {"here", "there"}, "grid_worker": {"here"},
    }  # fmt: skip
    assert client.get(reverse("duty:gaps", args=["province"])).status_code == 404


@pytest.mark.parametrize(
    ("who", "status"), [("town_officer_here", 200), ("town_officer_elsewhere", 404), ("insurer", 403)]
)
def test_a_contract_is_seen_within_reach(client, personas, contract, who, status):
    client.force_login(personas[who])
    assert client.get(contract.get_absolute_url()).status_code == status
    assert client.get(reverse("duty:chain", args=[contract.subject_id])).status_code == status


def test_signing_on_the_page_and_the_reason_when_someone_is_there(client, personas, shop, contract):
    client.force_login(personas["town_officer_here"])
    page = reverse("duty:sign_for", args=[shop.pk])
    form = {"level": "grid", "person": "town_officer_2_here", "begins_on": timezone.localdate().isoformat()}
    refused = client.post(page, form)
    assert refused.status_code == 422
    assert "grid_worker" in refused.content.decode()
    assert client.post(page, form | {"level": "town"}).status_code == 302
    assert client.post(page, form | {"person": "nobody such"}).status_code == 422
    assert shop.contracts.count() == 2


def test_a_grid_worker_records_a_visit_on_the_page(client, personas, contract):
    client.force_login(personas["grid_worker"])
    page = reverse("duty:act", args=[contract.pk, "visit"])
    assert client.post(page, {"visit-note": "all well"}).status_code == 422  # no proof
    assert client.post(page, {"visit-note": "all well", "visit-lon": "119.57", "visit-lat": "32"}).status_code == 302
    assert contract.visits.get().in_time is False  # ten days were over after twenty
    assert (
        client.post(
            reverse("duty:act", args=[contract.pk, "end"]), {"end-reason": "x", "end-ends_on": "2030-01-01"}
        ).status_code
        == 422
    )


def test_the_chain_of_a_day_is_asked_by_date_and_a_bad_date_shows_today(client, personas, contract):
    client.force_login(personas["town_officer_here"])
    page = reverse("duty:chain", args=[contract.subject_id])
    assert "grid_worker" in client.get(page).content.decode()
    before = (contract.begins_on - DAY).isoformat()
    assert contract.get_absolute_url() not in client.get(page, {"day": before}).content.decode()
    assert client.get(page, {"day": "31.12.2025"}).status_code == 200


def test_the_load_of_a_person_counts_what_is_overdue(client, personas, contract):
    client.force_login(personas["grid_worker"])
    answer = assert_query_budget(client, reverse("duty:my_load"), 14)
    assert (answer.context["total"], answer.context["due"], answer.context["overdue"]) == (1, 1, 1)
    client.force_login(personas["town_officer_elsewhere"])
    assert client.get(reverse("duty:load", args=[personas["grid_worker"].pk])).context["total"] == 0


def test_contracts_come_from_a_file_and_each_row_is_judged(personas, make_shop, tmp_path):
    from zhenan.kernel.imports.specs import Context, Row

    shops = [make_shop(f"shop {n}", key=f"K{n}") for n in range(3)]
    make_shop("there", personas.elsewhere, "enterprise-elsewhere", key="K9")
    services.sign_contract(
        subject=shops[1], level="grid", person=personas["town_officer_here"], begins_on=timezone.localdate(), by=None,
        at=timezone.now(),
    )  # fmt: skip
    spec = spec_of("contract")
    context = Context(actor=personas["town_officer_here"], at=timezone.now(), file_name="contracts.csv")
    given = [
        ("K0", "grid_worker"),
        ("K1", "grid_worker"),
        ("K2", "nobody"),
        ("K7", "grid_worker"),
        ("K9", "grid_worker"),
    ]
    rows = [Row(n, {"subject": key, "person": who, "level": "grid"}) for n, (key, who) in enumerate(given, start=2)]
    verdicts = spec.judge(rows, context)
    assert [v.kind for v in verdicts] == ["create", "refuse", "refuse", "refuse", "refuse"]
    spec.apply([(rows[0], verdicts[0])], context)
    assert shops[0].contracts.get().person == personas["grid_worker"]
    assert spec.judge(rows[:1], context)[0].kind == "unchanged"
    assert len(list(spec.export(personas["town_officer_here"]))) == 2
