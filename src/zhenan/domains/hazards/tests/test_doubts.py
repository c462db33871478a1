"""The checker is warned of photos from elsewhere, from before, and seen before."""

from datetime import timedelta

from django.utils import translation

from zhenan.domains.hazards import services
from zhenan.domains.hazards.doubts import doubts
from zhenan.domains.hazards.tests.conftest import NOON, photo
from zhenan.kernel.evidence import services as evidence


def said(hazard):
    one = hazard.rounds.order_by("-number").first()
    photos = evidence.of(hazard)
    with translation.override("en"):
        return doubts(one, [p for p in photos if p.purpose == one.purposes[1]], photos)


def submit(loop, hazard, colour="blue", **given):
    services.submit_rectification(
        hazard.pk, note="done", after=[photo(colour)], by=loop.p["enterprise_safety_here"], at=NOON, **given
    )
    return loop.fresh(hazard)


def test_a_photo_taken_here_and_now_raises_no_doubt(loop):
    # 0.004 degree of latitude is 445 m: within 500
    hazard = submit(loop, loop.to("rectifying"), lon=119.57, lat=32.004, taken_at=NOON)
    assert said(hazard) == []


def test_a_photo_from_afar_and_from_before_is_named(loop):
    # 0.005 degree of latitude is 556 m
    hazard = submit(loop, loop.to("rectifying"), lon=119.57, lat=32.005, taken_at=NOON - timedelta(days=2))
    assert said(hazard) == [
        "“photo.jpg” was taken 556 m away",
        "“photo.jpg” was taken on 2026-02-28 12:00, before this round began",
    ]


def test_the_photo_of_the_rejected_round_does_not_pass_as_new(loop):
    hazard = submit(loop, loop.to("rejected"), "green")
    assert "“photo.jpg” was submitted for this hazard before" in said(hazard)


def test_a_photo_that_proves_another_hazard_is_named(loop):
    loop.to("rectified_pending_check", location="store")
    hazard = submit(loop, loop.to("rectifying"), "green")
    assert "“photo.jpg” already proves something else" in said(hazard)
