"""One person a level, provably: signing, handing over, ending, and the chain of any past day."""

import threading
from datetime import date, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.backends.postgresql.psycopg_any import DateRange
from django.utils import translation

from zhenan.domains.duty import errors, queries, services
from zhenan.domains.duty.bulk import Wanted, sign_many
from zhenan.domains.duty.models import Contract
from zhenan.domains.duty.tests.conftest import DAY, NOON, TODAY
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.kernel.territory.services import load_city
from zhenan.kernel.workflow.models import Deadline


def chain(shop, day):
    return [(link.level, link.person.username if link.person else None) for link in queries.chain_on(shop, day)]


def test_a_signed_contract_makes_one_person_responsible(sign, shop, personas):
    contract = sign()
    assert queries.responsible(shop, "grid", NOON) == personas["grid_worker"]
    assert [e.kind for e in timeline_of(contract)] == ["duty.signed"]
    assert [e.kind for e in timeline_of(shop)] == ["duty.signed"]


@pytest.mark.parametrize(
    ("begins", "ends", "fits"),
    [
        (date(2026, 1, 1), date(2026, 3, 2), True),  # ends on the first day of the other: no day in common
        (date(2026, 1, 1), date(2026, 3, 3), False),
        (date(2026, 4, 1), None, True),  # the other ends on that day
        (date(2026, 3, 31), None, False),
        (date(2026, 3, 10), date(2026, 3, 11), False),
    ],
)
def test_two_people_share_no_day_of_one_level(sign, begins, ends, fits):
    sign(ends_on=date(2026, 4, 1))
    if fits:
        sign("town_officer_here", begins_on=begins, ends_on=ends)
    else:
        with translation.override("en"), pytest.raises(errors.LevelTaken, match="grid_worker already answers"):
            sign("town_officer_here", begins_on=begins, ends_on=ends)
    assert Contract.objects.count() == 1 + fits


def test_other_levels_and_subjects_are_free(sign, make_shop):
    sign()
    sign("town_officer_here", "town")
    sign(subject=make_shop("Other"))
    assert Contract.objects.count() == 3


def test_the_database_refuses_an_overlap_whoever_writes_it(sign, personas):
    first = sign()
    with pytest.raises(IntegrityError, match="contract_one_person_per_subject_and_level"), transaction.atomic():
        Contract.objects.create(
            subject=first.subject, level="grid", person=personas["town_officer_here"], signed_at=NOON,
            period=DateRange(TODAY + 30 * DAY, None, "[)"),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"level": "province"}, errors.UnknownLevel),
        ({"ends_on": TODAY}, errors.BadPeriod),
        ({"ends_on": TODAY - DAY}, errors.BadPeriod),
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(sign, given, error):
    with pytest.raises(error):
        sign(**given)
    assert not Contract.objects.exists()


def test_nobody_signs_for_a_subject_outside_their_reach(sign, personas):
    for name in ("town_officer_elsewhere", "grid_worker", "enterprise_head_here", "insurer", "no_post"):
        with pytest.raises(NotAllowed):
            sign(by=personas[name])


def test_somebody_who_left_cannot_be_made_responsible(sign, personas):
    User.objects.filter(username="grid_worker").update(is_active=False)
    with pytest.raises(errors.PersonGone):
        sign()


def test_handing_over_leaves_no_day_without_anyone(sign, shop, personas):
    old = sign(ends_on=date(2027, 1, 1), visit_every_days=20)
    officer = personas["town_officer_here"]
    fresh = services.hand_over(old.pk, to=officer, on=TODAY + 10 * DAY, by=officer, at=NOON, reason="moved")
    old.refresh_from_db()
    assert (old.ends_on, fresh.begins_on, fresh.ends_on) == (TODAY + 10 * DAY, TODAY + 10 * DAY, date(2027, 1, 1))
    assert (fresh.visit_every_days, fresh.follows) == (20, old)
    assert chain(shop, TODAY + 9 * DAY) == [("grid", "grid_worker")]
    assert chain(shop, TODAY + 10 * DAY) == [("grid", "town_officer_here")]


def test_the_chain_of_a_past_day_is_as_it_was(sign, shop, personas):
    sign("enterprise_head_here", "enterprise", begins_on=date(2024, 1, 1))
    first = sign(begins_on=date(2024, 1, 1))
    services.end_contract(first.pk, ends_on=date(2025, 6, 1), reason="left", by=None, at=NOON)
    sign("town_officer_here", begins_on=date(2025, 7, 1))
    assert chain(shop, date(2023, 12, 31)) == []
    assert chain(shop, date(2025, 5, 31)) == [("enterprise", "enterprise_head_here"), ("grid", "grid_worker")]
    assert chain(shop, date(2025, 6, 15)) == [("enterprise", "enterprise_head_here")]
    assert chain(shop, date(2025, 7, 1)) == [("enterprise", "enterprise_head_here"), ("grid", "town_officer_here")]


def test_an_ended_contract_ends_once_and_a_wrong_one_is_withdrawn(sign):
    contract = sign()
    services.end_contract(contract.pk, ends_on=TODAY + DAY, reason="left", by=None, at=NOON)
    with pytest.raises(errors.AlreadyEnded):
        services.end_contract(contract.pk, ends_on=TODAY + 5 * DAY, reason="left", by=None, at=NOON)
    with pytest.raises(errors.BadPeriod):
        services.end_contract(contract.pk, ends_on=TODAY, reason="left", by=None, at=NOON)
    services.withdraw_contract(contract.pk, reason="typo", by=None, at=NOON)
    assert not Contract.objects.exists()


def test_the_nearest_person_is_by_contract_else_by_post_and_it_says_so(sign, shop, personas):
    with translation.override("en"):
        found = queries.nearest_responsible(shop, NOON)
        assert (found.level, found.person.username, found.contract) == ("grid", "grid_worker", None)
        assert "by post" in found.how
        contract = sign("town_officer_here")
        found = queries.nearest_responsible(shop, NOON)
        assert (found.person.username, found.contract) == ("town_officer_here", contract)
        assert "by contract" in found.how
        town = queries.nearest_responsible(shop, NOON, levels=("town", "district"))
        assert {p.username for p in town.people} == {"town_officer_here", "town_officer_2_here"}


def test_thousands_are_signed_at_once_and_each_conflict_is_named(sign, make_shop, personas):
    shops = [make_shop(f"shop {n}") for n in range(50)]
    sign("town_officer_here", subject=shops[7], visit_every_days=0)
    worker, officer = personas["grid_worker"], personas["town_officer_here"]
    rows = [Wanted(shop, "grid", worker, TODAY, visit_every_days=30) for shop in shops]
    rows.append(
        Wanted(shops[0], "grid", officer, TODAY + DAY, visit_every_days=0)
    )  # conflicts with a row of the same call
    with translation.override("en"):
        results = list(sign_many(rows, by=officer, at=NOON))
    refused = [index for index, result in enumerate(results) if result.contract is None]
    assert refused == [7, 50]
    assert "town_officer_here already answers for shop 7" in results[7].error
    assert Contract.objects.count() == 50
    assert results[3].contract.pk == Contract.objects.get(subject=shops[3]).pk
    assert Deadline.objects.open().filter(kind="duty.visit").count() == 49


def test_bulk_signing_keeps_to_the_signer_s_reach(make_shop, personas):
    here, there = make_shop("here"), make_shop("there", personas.elsewhere, "enterprise-elsewhere")
    rows = [Wanted(shop, "grid", personas["grid_worker"], TODAY) for shop in (here, there)]
    results = list(sign_many(rows, by=personas["town_officer_here"], at=NOON))
    assert [result.contract is not None for result in results] == [True, False]


@pytest.mark.django_db(transaction=True)
def test_of_two_who_sign_at_the_same_moment_one_wins(transactional_db, request):
    """Two connections, both past their checks before either writes."""
    load_city(boundaries=False)
    division = Division.objects.filter(level="town").first()
    shop = Subject.objects.create(type="t.t", programme="t", key="1", name="shop", division=division)
    people = [User.objects.create(username=name, name=name) for name in ("first", "second")]
    barrier, outcomes = threading.Barrier(2), []

    def attempt(person):
        try:
            with transaction.atomic():
                barrier.wait(10)
                services.sign_contract(subject=shop, level="grid", person=person, begins_on=TODAY, by=None, at=NOON)
            outcomes.append("signed")
        except errors.LevelTaken as err:
            outcomes.append(str(err.values["person"]))
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert Contract.objects.count() == 1
    assert sorted(outcomes) == sorted(["signed", Contract.objects.get().person.username])


def test_daily_stops_the_clock_of_what_ended(sign):
    contract = sign(visit_every_days=10, ends_on=TODAY + 20 * DAY)
    assert services.daily(NOON + 19 * DAY) == 0
    assert services.daily(NOON + 20 * DAY) == 1
    assert Deadline.objects.get(target=f"duty.contract:{contract.pk}").met is None
    assert services.daily(NOON + 21 * DAY + timedelta(hours=1)) == 0
