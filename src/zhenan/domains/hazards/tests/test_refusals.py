"""What each step wants, and that a refusal leaves nothing behind."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import translation

from zhenan.domains.hazards import errors, services
from zhenan.domains.hazards.models import Hazard, Round
from zhenan.domains.hazards.tests.conftest import DAY, NOON, PLAN, photo
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.people.models import Post

TABLES = (
    "hazards_hazard", "hazards_finding", "hazards_round", "hazards_extension", "hazards_suspension", "hazards_review",
    "hazards_supervision", "hazards_transfer", "events_event", "workflow_deadline", "notices_notice",
    "evidence_evidence",
)  # fmt: skip


def everything():
    """A digest of every row that the loop writes."""
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t")
            yield table, cursor.fetchone()[0]


@pytest.fixture
def refused():
    """``with refused(Error, "words")``: raises it, and every row is as before."""

    class Refused:
        def __init__(self, error, words=""):
            self.error, self.words = error, words

        def __enter__(self):
            self.before = dict(everything())

        def __exit__(self, kind, value, trace):
            assert kind is not None, f"{self.error.__name__} was not raised"
            assert issubclass(kind, self.error), value
            assert self.words in str(value)
            assert dict(everything()) == self.before
            return True

    with translation.override("en"):
        yield Refused


def test_a_report_wants_a_title_a_known_source_and_a_time_that_has_been(loop, refused):
    with refused(errors.NeedsTitle):
        loop.report(title="  ")
    with refused(errors.UnknownSource, "rumour"):
        loop.report(source="rumour")
    with refused(errors.UnknownSeverity, "huge"):
        loop.report(severity="huge")
    with refused(errors.FoundInTheFuture):
        loop.report(found_at=NOON + timedelta(minutes=6))


def test_a_report_on_a_subject_elsewhere_is_not_allowed(loop, refused):
    with refused(NotAllowed):
        loop.report(by=loop.p["town_officer_elsewhere"])


def test_a_major_hazard_wants_the_code_and_the_legal_basis_of_its_criterion(loop, refused):
    hazard = loop.report()
    with refused(errors.NeedsCriterion, "criterion, legal basis"):
        loop.grade(hazard, "major", criterion_code="", legal_basis="")
    with refused(errors.NeedsCriterion, "legal basis"):
        loop.grade(hazard, "major", legal_basis="")


def test_a_general_hazard_wants_a_criterion(loop, refused):
    hazard = loop.report()
    with refused(errors.NeedsCriterion):
        loop.grade(hazard, criterion_code="")


ELEMENTS = {
    "plan_unit": "responsible unit", "plan_person": "responsible person", "plan_post": "post", "plan_phone": "phone",
    "measures": "measures", "interim_measures": "interim control measures", "contingency": "contingency plan",
    "funds_yuan": "funds (yuan)",
}  # fmt: skip


@pytest.mark.parametrize("name", list(ELEMENTS))
def test_a_major_hazard_leaves_planning_only_with_all_five_elements(loop, refused, name):
    hazard = loop.to("plan_pending", "major")
    Hazard.objects.filter(pk=hazard.pk).update(rectifier=None)  # else the person is the rectifier by name
    plan = PLAN | {name: None if name == "funds_yuan" else ""}
    with refused(errors.NeedsElements, ELEMENTS[name]):
        services.fill_plan(
            hazard.pk, by=loop.p["enterprise_head_here"], at=NOON, due_on=(NOON + 40 * DAY).date(), **plan
        )


def test_no_funds_want_a_reason_and_no_date_is_no_plan(loop, refused):
    hazard, head = loop.to("plan_pending", "major"), loop.p["enterprise_head_here"]
    with refused(errors.NeedsElements, "why no funds"):
        services.fill_plan(hazard.pk, by=head, at=NOON, due_on=(NOON + 40 * DAY).date(), **PLAN | {"funds_yuan": 0})
    with refused(errors.NeedsElements, "due date"):
        services.fill_plan(hazard.pk, by=head, at=NOON, **PLAN)
    plan = PLAN | {"funds_yuan": 0, "funds_reason": "own staff, stock on hand"}
    assert (
        services.fill_plan(hazard.pk, by=head, at=NOON, due_on=(NOON + 40 * DAY).date(), **plan).state == "rectifying"
    )


def test_a_general_hazard_wants_person_measures_and_date_alone(loop, refused):
    hazard, safety = loop.to("plan_pending"), loop.p["enterprise_safety_here"]
    with refused(errors.NeedsElements, "measures"):
        services.fill_plan(hazard.pk, by=safety, at=NOON)
    done = services.fill_plan(hazard.pk, by=safety, at=NOON, measures="new hose")
    assert (done.state, done.plan_person) == ("rectifying", "enterprise_safety_here")


@pytest.mark.parametrize(("severity", "first_bad_day"), [("general", 16), ("major", 92)])
def test_a_date_beyond_the_limit_or_in_the_past_is_refused(loop, refused, severity, first_bad_day):
    """15 days for a general hazard; at most 90 for a major one (31 May 2026 is a Sunday: it ends on 1 June)."""
    hazard, head = loop.to("plan_pending", severity), loop.p["enterprise_head_here"]
    for days in (-1, first_bad_day):
        with refused(errors.BadDueDate):
            services.fill_plan(hazard.pk, by=head, at=NOON, due_on=(NOON + days * DAY).date(), **PLAN)
    good = (NOON + (first_bad_day - 1) * DAY).date()
    assert services.fill_plan(hazard.pk, by=head, at=NOON, due_on=good, **PLAN).state == "rectifying"


def test_a_submission_wants_words_and_photos_before_and_after(loop, refused):
    hazard, safety = loop.to("rectifying"), loop.p["enterprise_safety_here"]
    with refused(errors.NeedsNote):
        services.submit_rectification(hazard.pk, note=" ", after=[photo()], by=safety, at=NOON)
    with refused(errors.NeedsPhotos, "after the rectification"):
        services.submit_rectification(hazard.pk, note="done", by=safety, at=NOON)


def test_without_a_photo_of_the_report_one_before_is_wanted(loop, refused):
    hazard = services.report_hazard(subject=loop.shop, source="public", title="x", by=loop.p["grid_worker"], at=NOON)
    loop.grade(hazard)
    safety = loop.p["enterprise_safety_here"]
    services.assign(hazard.pk, rectifier=safety, by=loop.p["town_officer_here"], at=NOON)
    services.fill_plan(hazard.pk, by=safety, at=NOON, measures="m")
    with refused(errors.NeedsPhotos, "before the rectification"):
        services.submit_rectification(hazard.pk, note="done", after=[photo()], by=safety, at=NOON)
    both = {"before": [photo("black")], "after": [photo()]}
    assert (
        services.submit_rectification(hazard.pk, note="done", by=safety, at=NOON, **both).state
        == "rectified_pending_check"
    )


def test_whoever_rectified_never_checks_even_with_the_office_hat_on(loop, refused):
    hazard = loop.to("rectifying")
    officer = loop.p["town_officer_here"]
    services.assign(hazard.pk, rectifier=officer, by=loop.p["town_officer_2_here"], at=NOON)
    services.submit_rectification(hazard.pk, note="done", after=[photo("blue")], by=officer, at=NOON)
    for step in (services.accept, services.reject):
        with refused(errors.SamePerson, "somebody else"):
            step(hazard.pk, note="fine", by=officer, at=NOON)
    assert services.accept(hazard.pk, note="fine", by=loop.p["town_officer_2_here"], at=NOON).state == "accepted"


def test_a_named_rectifier_does_not_check_what_a_colleague_submitted(loop, refused):
    hazard = loop.to("rectifying")
    officer, head = loop.p["town_officer_here"], loop.p["enterprise_head_here"]
    services.assign(hazard.pk, rectifier=officer, by=loop.p["town_officer_2_here"], at=NOON)
    services.submit_rectification(hazard.pk, note="done", after=[photo("blue")], by=head, at=NOON)
    with refused(errors.SamePerson):
        services.accept(hazard.pk, note="fine", by=officer, at=NOON)


def test_the_database_itself_refuses_a_check_by_the_rectifier(loop):
    hazard = loop.to("rectified_pending_check")
    for who in ("submitted_by_id", "rectifier_id"):
        one = Round.objects.get(hazard=hazard)
        one.result, one.verified_at, one.verified_by_id = "accepted", NOON, getattr(one, who)
        with pytest.raises(IntegrityError, match="round_checker_did_not"), transaction.atomic():
            one.save()


def test_a_major_hazard_is_checked_from_outside_or_with_two_experts(loop, refused):
    hazard = loop.to("rectifying", "major")
    officer, colleague = loop.p["town_officer_here"], loop.p["town_officer_2_here"]
    services.assign(hazard.pk, rectifier=officer, by=colleague, at=NOON)
    services.submit_rectification(hazard.pk, note="done", after=[photo("blue")], by=officer, at=NOON)
    for experts in ([], ["Dr Zhang"], ["Dr Zhang", "Dr Zhang"]):
        with refused(errors.SameOrganisation):
            services.accept(hazard.pk, note="fine", experts=experts, by=colleague, at=NOON)
    done = services.accept(hazard.pk, note="fine", experts=["Dr Zhang", "Dr Xu"], by=colleague, at=NOON)
    assert done.rounds.get().experts == ["Dr Zhang", "Dr Xu"]


def test_the_database_refuses_a_major_check_from_inside_without_experts(loop):
    one = Round.objects.get(hazard=loop.to("rectified_pending_check", "major"))
    officer = loop.p["town_officer_here"]
    one.result, one.verified_at, one.verified_by, one.verified_org = "accepted", NOON, officer, one.submitted_org
    with pytest.raises(IntegrityError, match="round_major_checked_from_outside"), transaction.atomic():
        one.save()


def test_a_major_hazard_without_its_elements_cannot_even_be_stored(loop):
    hazard = loop.to("rectifying", "major")
    with pytest.raises(IntegrityError, match="hazard_major_has_five_elements"), transaction.atomic():
        Hazard.objects.filter(pk=hazard.pk).update(contingency="")


def test_a_rejection_and_a_major_acceptance_want_a_finding(loop, refused):
    hazard = loop.to("rectified_pending_check", "major")
    with refused(errors.NeedsNote):
        services.reject(hazard.pk, note="", by=loop.p["town_officer_here"], at=NOON)
    with refused(errors.NeedsNote):
        services.accept(hazard.pk, note="", by=loop.p["town_officer_here"], at=NOON)


def test_an_extension_is_asked_once_in_time_and_decided_by_another(loop, refused):
    hazard, safety, officer = loop.to("rectifying"), loop.p["enterprise_safety_here"], loop.p["town_officer_here"]
    for days in (0, 16):
        with refused(errors.ExtensionRefused, "1 to 15"):
            services.request_extension(hazard.pk, days=days, reason="parts", by=safety, at=NOON)
    with refused(errors.NeedsNote):
        services.request_extension(hazard.pk, days=5, reason="", by=safety, at=NOON)
    with refused(errors.ExtensionRefused, "time is up"):
        services.request_extension(
            hazard.pk, days=5, reason="parts", by=safety, at=hazard.due_at + timedelta(seconds=1)
        )
    services.request_extension(hazard.pk, days=5, reason="parts", by=safety, at=NOON)
    with refused(errors.ExtensionRefused, "waiting"):
        services.request_extension(hazard.pk, days=5, reason="parts", by=safety, at=NOON)
    with refused(NotAllowed):
        services.decide_extension(hazard.pk, granted=True, note="", by=safety, at=NOON)
    with refused(errors.NeedsNote):
        services.decide_extension(hazard.pk, granted=False, note="", by=officer, at=NOON)
    due = hazard.due_at
    services.decide_extension(hazard.pk, granted=True, note="", by=officer, at=NOON)
    # 17 March 2026 + 5 days is Sunday the 22nd: it ends on Monday
    assert loop.fresh(hazard).due_at == due + timedelta(days=6)
    with refused(errors.ExtensionRefused, "already"):
        services.request_extension(hazard.pk, days=5, reason="more", by=safety, at=NOON)


def test_whoever_asks_does_not_decide_even_if_they_could(loop, refused):
    hazard, officer = loop.to("rectifying"), loop.p["town_officer_here"]
    services.assign(hazard.pk, rectifier=officer, by=loop.p["town_officer_2_here"], at=NOON)
    services.request_extension(hazard.pk, days=5, reason="parts", by=officer, at=NOON)
    with refused(errors.AskerDecides):
        services.decide_extension(hazard.pk, granted=True, note="", by=officer, at=NOON)


def test_a_major_hazard_is_extended_only_when_listed_and_above_the_town(loop, refused):
    hazard, safety = loop.to("rectifying", "major"), loop.p["enterprise_safety_here"]
    with refused(errors.ExtensionRefused, "listed supervision"):
        services.request_extension(hazard.pk, days=5, reason="parts", by=safety, at=NOON)
    district = loop.p["district_officer_here"]
    services.list_for_supervision(
        hazard.pk,
        number="L-1",
        body="district",
        due_on=(NOON + 60 * DAY).date(),
        leader_name="Li",
        by=district,
        at=NOON,
    )
    services.request_extension(hazard.pk, days=5, reason="parts", by=safety, at=NOON)
    with refused(NotAllowed, "hazard.supervise"):
        services.decide_extension(hazard.pk, granted=True, note="", by=loop.p["town_officer_here"], at=NOON)
    assert services.decide_extension(hazard.pk, granted=True, note="", by=district, at=NOON).granted


def test_a_listing_number_is_used_once(loop, refused):
    first, second = loop.to("graded", "major"), loop.to("graded", "major", location="store")
    given = {"number": "L-1", "body": "city", "due_on": (NOON + DAY).date(), "leader_name": "Li", "at": NOON}
    services.list_for_supervision(first.pk, by=loop.p["city_officer"], **given)
    with refused(errors.NumberTaken):
        services.list_for_supervision(second.pk, by=loop.p["city_officer"], **given)
    with refused(errors.AlreadyListed, "L-1"):
        services.list_for_supervision(first.pk, by=loop.p["city_officer"], **given | {"number": "L-2"})


def test_a_rectifier_must_be_someone_who_can_act(loop, refused):
    hazard, officer = loop.to("graded"), loop.p["town_officer_here"]
    with refused(errors.RectifierCannotSee):
        services.assign(hazard.pk, rectifier=loop.p["no_post"], by=officer, at=NOON)
    gone = loop.p["enterprise_safety_here"]
    gone.is_active = False
    gone.save()
    with refused(errors.RectifierGone):
        services.assign(hazard.pk, rectifier=gone, by=officer, at=NOON)


def test_an_officer_whose_post_ended_yesterday_may_nothing(loop, refused):
    hazard = loop.to("found")
    Post.objects.filter(user=loop.p["town_officer_here"]).update(until="2020-02-01")
    with refused(NotAllowed):
        loop.grade(hazard)


def test_a_failed_review_begins_a_new_round(loop):
    hazard = loop.to("gov_review_pending")
    later = NOON + DAY
    services.refuse_delisting(hazard.pk, finding="still leaks", by=loop.p["district_officer_here"], at=later)
    hazard = loop.fresh(hazard)
    assert (hazard.state, hazard.accepted_at, hazard.closed_at) == ("rejected", None, None)
    assert [r.result for r in hazard.rounds.all()] == ["accepted", ""]
    assert hazard.reviews.get().passed is False
