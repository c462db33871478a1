"""Visits: proved, counted once, due again; a missed one climbs the chain."""

import io
from datetime import timedelta
from uuid import UUID

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from zhenan.domains.duty import errors, services
from zhenan.domains.duty.models import Visit
from zhenan.domains.duty.tests.conftest import DAY, NOON, TODAY
from zhenan.kernel.events.services import timeline_of
from zhenan.kernel.notices.models import Notice
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import tick

HERE = {"lon": 119.57, "lat": 32.0}


def photo():
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(buffer, "JPEG")
    return SimpleUploadedFile("p.jpg", buffer.getvalue(), "image/jpeg")


@pytest.fixture
def contract(sign):
    return sign(visit_every_days=10)


@pytest.fixture
def visit(contract, personas):
    def do(at=NOON, **given):
        given = {"by": personas["grid_worker"], **HERE} | given
        return services.record_visit(contract.pk, at=at, **given)

    return do


def due(contract):
    return Deadline.objects.open().get(target=f"duty.contract:{contract.pk}").due_at


def test_a_visit_renews_the_clock(contract, visit):
    first = due(contract)
    assert first.date() == (TODAY + 10 * DAY)
    made = visit(at=NOON + 4 * DAY)
    assert (made.due_at, made.in_time, made.distance_m) == (first, True, 0.0)
    assert due(contract).date() == TODAY + 14 * DAY
    contract.refresh_from_db()
    assert contract.last_visit_at == NOON + 4 * DAY


def test_the_distance_to_the_subject_is_kept(visit):
    # 0.01 degree of latitude is 1,112 m
    assert visit(lat=32.01).distance_m == pytest.approx(1112, abs=1)


def test_a_visit_sent_twice_is_one(contract, visit):
    key = UUID("018f0000-0000-7000-8000-000000000001")
    assert visit(visit_id=key) == visit(visit_id=key)
    assert Visit.objects.count() == 1


def test_a_photo_alone_proves_it_and_nothing_does_not(visit):
    with pytest.raises(errors.NoProof):
        visit(lon=None, lat=None)
    assert visit(lon=None, lat=None, photos=[photo()]).distance_m is None


def test_only_the_person_themselves_on_a_day_of_the_contract_and_not_tomorrow(visit, personas):
    with pytest.raises(errors.NotTheirVisit):
        visit(by=personas["town_officer_here"])
    with pytest.raises(errors.NotInForce):
        visit(made_at=NOON - DAY)
    with pytest.raises(errors.InTheFuture):
        visit(made_at=NOON + timedelta(minutes=6))
    assert not Visit.objects.exists()


def test_a_visit_that_arrives_late_from_a_phone_does_not_turn_the_clock_back(contract, visit):
    visit(at=NOON + 6 * DAY)
    latest = due(contract)
    visit(at=NOON + 7 * DAY, made_at=NOON + 2 * DAY)
    assert due(contract) == latest
    assert Visit.objects.count() == 2


def test_a_missed_visit_is_seen_at_once_and_climbs(contract, shop):
    when = due(contract)
    told = lambda: list(Notice.objects.order_by("pk").values_list("recipient__username", flat=True))  # noqa: E731
    tick(when - timedelta(seconds=1))
    assert told() == ["grid_worker"]  # at 80 %
    tick(when)
    assert told() == ["grid_worker"] * 2
    assert timeline_of(shop)[0].kind == "duty.visit_missed"
    tick(when + DAY)
    assert set(told()[2:]) == {"town_officer_here", "town_officer_2_here"}
    tick(when + 3 * DAY)
    assert told()[4:] == ["district_officer_here"]
    tick(when + 7 * DAY)
    assert set(told()[5:]) == {"city_officer"}


def test_an_ended_contract_tells_nobody(contract):
    when = due(contract)
    services.end_contract(contract.pk, ends_on=TODAY + DAY, reason="left", by=None, at=NOON + DAY)
    tick(when + 30 * DAY)
    assert not Notice.objects.exists()


def test_no_visit_is_asked_for_beyond_the_contract(sign):
    sign(visit_every_days=10, ends_on=TODAY + 10 * DAY)
    assert not Deadline.objects.filter(kind="duty.visit").exists()


def test_the_programme_s_cadence_is_taken_and_zero_means_none(duties, sign, make_shop):
    assert sign().visit_every_days == 30
    assert sign(subject=make_shop("b"), visit_every_days=7).visit_every_days == 7
    assert sign(subject=make_shop("c"), visit_every_days=0).visit_every_days is None
