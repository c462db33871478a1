"""Carrying out an inspection: nothing is left unanswered, what fails becomes a hazard once."""

import io
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from zhenan.domains.checks import services
from zhenan.domains.checks.errors import (
    AnotherInspector,
    AnswerNotAllowed,
    AnswersMissing,
    EvidenceMissing,
    NotUnderWay,
    WrongChecklist,
)
from zhenan.domains.checks.models import Answer, Inspection
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.register.models import Subject
from zhenan.kernel.access import NotAllowed
from zhenan.kernel.events.services import timeline_of
from zhenan.packkit.registry import registry
from zhenan.packkit.sync import sync_packs

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def caterer(personas):
    sync_packs()
    return Subject.objects.create(
        type="catering_gas.caterer",
        programme="catering_gas",
        key="C1",
        name="老街饭店",
        division=personas.grid,
        organisation=personas.organisations["enterprise-here"],
        lon=119.55,
        lat=32.0,
    )


@pytest.fixture
def worker(personas):
    return personas["grid_worker"]


@pytest.fixture
def checklist(caterer):
    return registry().checklists("catering_gas", subject_type=caterer.type)[0]


@pytest.fixture
def inspection(caterer, worker, checklist):
    return services.start(subject=caterer, checklist=checklist.code, by=worker, at=NOON)


def photo():
    buffer = io.BytesIO()
    Image.new("RGB", (320, 240), "blue").save(buffer, "JPEG")
    return ContentFile(buffer.getvalue(), name="scene.jpg")


def answer_all(inspection, checklist, by, fail=(), photos=True):
    for item in checklist.items:
        failed = item.code in fail
        services.answer(
            inspection.pk,
            item.code,
            "fail" if failed else "pass",
            by=by,
            at=NOON,
            photos=[photo()] if failed and photos and item.evidence != "none" else [],
        )


def test_a_clean_site_scores_full_and_opens_no_hazard(inspection, checklist, worker):
    answer_all(inspection, checklist, worker)
    done = services.submit(inspection.pk, by=worker, at=NOON + timedelta(minutes=20), lon=119.55, lat=32.001)
    assert (done.state, done.score_ratio, done.failed_items) == ("done", 1.0, 0)
    assert done.distance_m == pytest.approx(111, abs=1)
    assert not Hazard.objects.exists()
    assert [e.kind for e in timeline_of(done)] == ["inspection.done", "inspection.started"]


def test_a_failed_item_becomes_one_hazard_with_its_criterion_and_basis(inspection, checklist, worker):
    item = checklist.items[0]
    answer_all(inspection, checklist, worker, fail=[item.code])
    services.submit(inspection.pk, by=worker, at=NOON)
    hazard = Hazard.objects.get()
    assert (hazard.source, hazard.severity) == ("inspection", item.severity_if_failed)
    assert hazard.criterion_code == f"{checklist.code}/{item.code}"
    assert hazard.legal_basis
    assert Answer.objects.get(item=item.code).hazard == hazard


def test_nothing_is_submitted_with_items_unanswered(inspection, checklist, worker):
    services.answer(inspection.pk, checklist.items[0].code, "pass", by=worker, at=NOON)
    with pytest.raises(AnswersMissing, match=str(len(checklist.items) - 1)):
        services.submit(inspection.pk, by=worker, at=NOON)


def test_a_failed_item_that_asks_for_a_photo_is_not_submitted_without(inspection, checklist, worker):
    item = next(i for i in checklist.items if i.evidence != "none")
    answer_all(inspection, checklist, worker, fail=[item.code], photos=False)
    with pytest.raises(EvidenceMissing):
        services.submit(inspection.pk, by=worker, at=NOON)
    assert Inspection.objects.get().state == "draft"


def test_sending_the_same_inspection_again_changes_nothing(caterer, worker, checklist):
    known = uuid.uuid4()
    first = services.start(subject=caterer, checklist=checklist.code, by=worker, at=NOON, inspection_id=known)
    again = services.start(subject=caterer, checklist=checklist.code, by=worker, at=NOON, inspection_id=known)
    assert (first.pk, Inspection.objects.count()) == (again.pk, 1)


def test_a_submitted_inspection_cannot_be_changed(inspection, checklist, worker):
    answer_all(inspection, checklist, worker)
    services.submit(inspection.pk, by=worker, at=NOON)
    with pytest.raises(NotUnderWay):
        services.answer(inspection.pk, checklist.items[0].code, "fail", by=worker, at=NOON)


def test_who_may_not_inspect(inspection, caterer, personas, checklist):
    with pytest.raises(NotAllowed):
        services.start(subject=caterer, checklist=checklist.code, by=personas["enterprise_head_here"], at=NOON)
    with pytest.raises(NotAllowed):
        services.start(subject=caterer, checklist=checklist.code, by=personas["town_officer_elsewhere"], at=NOON)
    with pytest.raises(AnotherInspector):
        services.answer(inspection.pk, checklist.items[0].code, "pass", by=personas["town_officer_here"], at=NOON)


def test_what_is_no_answer_or_no_item_is_refused(inspection, checklist, worker):
    with pytest.raises(AnswerNotAllowed, match="maybe"):
        services.answer(inspection.pk, checklist.items[0].code, "maybe", by=worker, at=NOON)
    with pytest.raises(AnswerNotAllowed):
        services.answer(inspection.pk, "no_such_item", "pass", by=worker, at=NOON)


def test_a_checklist_of_another_type_is_refused(caterer, worker):
    other = next(c for c in registry().checklists("smart_fire"))
    with pytest.raises(WrongChecklist):
        services.start(subject=caterer, checklist=other.code, by=worker, at=NOON)


def test_the_checklist_stays_as_it_stood(inspection, checklist):
    assert services.checklist_of(inspection) == checklist
