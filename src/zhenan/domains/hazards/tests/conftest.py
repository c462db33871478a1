"""Hazards in each state, made by the services as people would."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from zhenan.domains.hazards import services
from zhenan.domains.hazards.models import Hazard
from zhenan.domains.register.models import Subject

NOON = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)  # Monday, 12:00 in the city
DAY = timedelta(days=1)
PLAN = {
    "plan_unit": "Lucky Noodles", "plan_person": "Wang", "plan_post": "manager", "plan_phone": "13800000000",
    "measures": "replace the hose", "interim_measures": "gas shut off", "funds_yuan": 300, "funds_materials": "hose",
    "contingency": "call 119, leave by the back door",
}  # fmt: skip


def photo(colour: str = "red", name: str = "photo.jpg") -> SimpleUploadedFile:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(buffer, "JPEG")
    return SimpleUploadedFile(name, buffer.getvalue(), "image/jpeg")


@pytest.fixture(autouse=True)
def _own_evidence(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "evidence"


@pytest.fixture
def shop(personas):
    """A caterer here, owned by the enterprise here."""
    return Subject.objects.create(
        type="catering_gas.caterer", programme="catering_gas", key="S1", name="Lucky Noodles", division=personas.grid,
        organisation=personas.organisations["enterprise-here"], lon=119.57, lat=32.0,
    )  # fmt: skip


class Loop:
    """Drives a hazard of the shop to a state, each step by the person whose it is."""

    def __init__(self, personas, shop):
        self.p, self.shop, self.at = personas, shop, NOON

    def report(self, **given):
        given = {"source": "inspection", "title": "Gas hose cracked", "by": self.p["grid_worker"], **given}
        return services.report_hazard(
            subject=given.pop("subject", self.shop), at=given.pop("at", self.at), photos=[photo()], **given
        )

    def grade(self, hazard, severity="general", **given):
        given = {
            "criterion_code": "hose",
            "legal_basis": "GB 17905-2008",
            "by": self.p["town_officer_here"],
            "at": self.at,
        } | given
        return services.grade_hazard(hazard.pk, severity=severity, **given)

    def to(self, state, severity="general", **report):
        """A hazard in the state, or in the last one before it that exists."""
        officer, head = self.p["town_officer_here"], self.p["enterprise_head_here"]
        safety, district = self.p["enterprise_safety_here"], self.p["district_officer_here"]
        major = severity == "major"
        steps = {
            "found": lambda h: self.report(**report),
            "graded": lambda h: self.grade(h, severity),
            "plan_pending": lambda h: services.assign(h.pk, rectifier=safety, by=officer, at=self.at),
            "rectifying": lambda h: services.fill_plan(
                h.pk, by=head, at=self.at, **PLAN, **({"due_on": (self.at + 40 * DAY).date()} if major else {})
            ),
            "rectified_pending_check": lambda h: services.submit_rectification(
                h.pk, note="hose replaced", after=[photo("green")], by=safety, at=self.at
            ),
            "accepted": lambda h: services.accept(h.pk, note="seen on site", by=officer, at=self.at),
        }
        extra = {
            "rejected": (
                "rectified_pending_check",
                lambda h: services.reject(h.pk, note="still leaks", by=officer, at=self.at),
            ),
            "suspended_operation": (
                "rectifying",
                lambda h: services.suspend_operation(h.pk, order_number="S-1", reason="danger", by=officer, at=self.at),
            ),
            "transferred": (
                "graded",
                lambda h: services.transfer(
                    h.pk, to=self.p.organisations["housing"], reason="gas", by=officer, at=self.at
                ),
            ),
        }
        if state in extra:
            before, step = extra[state]
            step(self.to(before, severity, **report))
        elif state in ("gov_review_pending", "delisted"):
            hazard = self.to("rectifying", "major", **report)
            services.list_for_supervision(
                hazard.pk, number=f"L-{hazard.pk}", body="district", due_on=(self.at + 60 * DAY).date(),
                leader_name="Deputy mayor Li", by=district, at=self.at,
            )  # fmt: skip
            for name in ("rectified_pending_check", "accepted"):
                hazard = steps[name](hazard)
            services.apply_for_review(hazard.pk, application="please come", by=head, at=self.at)
            if state == "delisted":
                services.delist(hazard.pk, finding="sound", notice_number="N-1", by=district, at=self.at)
        else:
            hazard = None
            for name, step in steps.items():
                hazard = step(hazard)
                if name == state:
                    break
            return self.fresh(hazard)
        return Hazard.objects.order_by("-pk").first()

    def fresh(self, hazard):
        return Hazard.objects.get(pk=hazard.pk)


@pytest.fixture
def loop(personas, shop):
    return Loop(personas, shop)
