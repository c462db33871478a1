"""Hazards of the last weeks, each told step by step through the platform's own services, in the order of time.

What the worker would have done on the way (reminders, escalation) is done between the steps.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from django.core.files.uploadedfile import UploadedFile

from zhenan.domains.checks.models import Answer
from zhenan.domains.hazards import services as hazards
from zhenan.domains.monitoring.models import Alarm
from zhenan.kernel.people.models import Organisation, User
from zhenan.kernel.workflow.services import tick
from zhenan.server.demo import photos
from zhenan.server.demo.cases import Case
from zhenan.server.demo.contracts import Posted
from zhenan.server.demo.plan import PREFIX, Demo

GENERAL_DAYS, MAJOR_DAYS = 28, 60
Telling = Generator[datetime, None, None]  # yields when the next step is made, makes it when resumed
# What becomes of a hazard, and how often; the rest is rectified and accepted.
FATES = {
    "unseen": 0.07,
    "graded": 0.05,
    "unplanned": 0.07,
    "idle": 0.20,
    "rejected": 0.12,
    "extended": 0.08,
    "stopped": 0.05,
    "transferred": 0.04,
}
LISTED_RATIO = 0.4  # of major ones


def split(demo: Demo, cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """(cases for the past, cases to be told): some hundred at most of those of the last weeks are told."""
    at_most = min(200, 10 + round(1500 * demo.scale))
    fresh = [c for c in cases if demo.now - c.found_at < timedelta(days=MAJOR_DAYS if c.major else GENERAL_DAYS)]
    fresh.sort(key=lambda c: (not c.fate, demo.chance("told", c.key)))
    told = {id(case) for case in fresh[:at_most]}
    return [c for c in cases if id(c) not in told], [c for c in cases if id(c) in told]


def tell(demo: Demo, people: Posted, cases: Sequence[Case]) -> int:
    """Tell the cases side by side up to now; returns how many steps were made."""
    waiting: list[tuple[datetime, int, Telling]] = []
    for number, case in enumerate(cases):
        telling = _Teller(demo, people, case).telling()
        heapq.heappush(waiting, (next(telling), number, telling))
    steps, walked = 0, min((case.found_at for case in cases), default=demo.now)
    while waiting and waiting[0][0] <= demo.now:
        at, number, telling = heapq.heappop(waiting)
        while walked + timedelta(days=1) < at:
            walked += timedelta(days=1)
            tick(walked)
        coming = next(telling, None)
        steps += 1
        if coming is not None:
            heapq.heappush(waiting, (coming, number, telling))
    tick(demo.now)
    return steps


class _Teller:
    """One case and the people around it."""

    def __init__(self, demo: Demo, people: Posted, case: Case) -> None:
        self.demo, self.people, self.case = demo, people, case
        self.at = case.found_at
        self.pk = 0
        self.fate = case.fate or self._fate()

    def _fate(self) -> str:
        draw = self.demo.chance("fate", self.case.key)
        if self.case.major and self.demo.chance("listed", self.case.key) < LISTED_RATIO:
            return "listed"
        for fate, ratio in FATES.items():
            draw -= ratio
            if draw < 0:
                return fate
        return "straight"

    def one(self, role: str) -> User | None:
        several = self.people.holders(self.case.subject, role)
        return self.demo.one_of(several, role, self.case.subject.key) if several else None

    def after(self, least_h: float, most_h: float, step: str) -> datetime:
        """The moment of the next step, within the bounds after the last one, moved into the working day."""
        hours = least_h + (most_h - least_h) * self.demo.chance("after", step, self.case.key)
        self.at += timedelta(seconds=round(3600 * hours))
        return self.at

    def picture(self, step: str) -> list[UploadedFile]:
        return [photos.photo(f"{self.case.key}/{step}")]

    def telling(self) -> Telling:
        """From the report to where its fate, or now, ends it."""
        office = self.one("district_office" if self.case.major else "town_office")
        head = next(iter(self.people.holders(self.case.subject, "enterprise_head")), None)
        yield self.at
        fresh = self._report()
        if not fresh or self.fate == "unseen" or office is None or head is None:
            return
        yield self.after(2, 20, "grade")
        hazards.grade_hazard(
            self.pk, severity=self.case.severity, by=office, at=self.at, criterion_text=self.case.criterion_text
        )
        if self.fate == "transferred":
            yield self.after(2, 20, "transfer")
            self._transfer(office)
        if self.fate in ("graded", "transferred"):
            return
        yield self.after(1, 6, "assign")
        hazards.assign(self.pk, rectifier=head, by=office, at=self.at)
        if self.fate == "unplanned":
            return
        yield self.after(2, 30, "plan")
        self._plan(head)
        yield from self._rectify(head, office)

    def _rectify(self, head: User, office: User) -> Telling:
        if self.fate == "idle":
            return
        if self.fate in ("listed", "under_listing"):
            yield self.after(4, 30, "list")
            self._list()
        if self.fate == "under_listing":
            return
        if self.fate == "stopped":
            yield self.after(2, 20, "stop")
            hazards.suspend_operation(
                self.pk,
                order_number=f"镇应急停字（演示）{self.pk}号",
                reason="整改期间不能保证安全",
                by=office,
                at=self.at,
            )
        if self.fate == "extended" and not self.case.major:
            yield self.after(24, 60, "ask")
            hazards.request_extension(self.pk, days=7, reason="配件到货延迟", by=head, at=self.at)
            yield self.after(3, 24, "decide")
            hazards.decide_extension(self.pk, granted=True, note="情况属实", by=office, at=self.at)
        yield self.after(30, 230, "submit")
        self._submit(head, "submit")
        if self.fate == "unchecked":
            return
        if self.fate == "rejected":
            yield self.after(4, 60, "reject")
            hazards.reject(
                self.pk, note="整改不彻底，仍有一处未处理", by=office, at=self.at, photos=self.picture("reject")
            )
            yield self.after(40, 200, "again")
            self._submit(head, "again")
        yield self.after(5, 90, "accept")
        hazards.accept(self.pk, by=office, at=self.at, note="现场复查，整改到位", photos=self.picture("accept"))
        if self.fate in ("listed", "stopped"):
            yield self.after(4, 40, "apply")
            hazards.apply_for_review(self.pk, application="整改完成，申请现场核查", by=head, at=self.at)
            yield self.after(20, 120, "delist")
            reviewer = self.one("city_office") or office
            hazards.delist(
                self.pk, finding="核查通过", notice_number=f"镇安办销〔演示〕{self.pk}号", by=reviewer, at=self.at
            )

    def _report(self) -> bool:
        """Whether it became a hazard of its own (an open one with the same criterion takes the find as its own)."""
        case = self.case
        by = self.people.users.get(case.by.pk) if case.by else None
        hazard = hazards.report_hazard(
            subject=case.subject, source=case.source, title=case.title, by=by, at=self.at, source_key=case.source_key,
            description=case.description, severity=case.severity, criterion_code=case.criterion_code,
            criterion_text=case.criterion_text, legal_basis=case.legal_basis, photos=self.picture("report"),
            location=case.location,
            lon=case.subject.lon, lat=case.subject.lat,
        )  # fmt: skip
        self.pk = hazard.pk
        if case.answer_pk:
            Answer.objects.filter(pk=case.answer_pk).update(hazard=hazard)
        if case.alarm:
            Alarm.objects.filter(pk=case.alarm.pk).update(hazard=hazard)
        return bool(hazard.reported_at == self.at and hazard.source_key == case.source_key)

    def _transfer(self, office: User) -> None:
        department = Organisation.objects.get(code=f"{PREFIX}dept-{self.case.subject.programme}")
        hazards.transfer(
            self.pk, to=department, reason="属行业主管部门职责", by=office, at=self.at, document="移送函（演示）"
        )

    def _plan(self, head: User) -> None:
        measures, interim = self.case.cure
        words: dict[str, str | Decimal] = {"plan_person": head.name, "measures": measures}
        if self.case.major:
            words |= {
                "plan_unit": self.case.subject.name, "plan_post": "主要负责人", "plan_phone": head.phone,
                "interim_measures": interim, "contingency": "发现异常立即停用、疏散人员并报告",
                "funds_yuan": Decimal(5000 + int(45_000 * self.demo.chance("funds", self.case.key))),
            }  # fmt: skip
        days = (20 if self.case.major else 9) + int(10 * self.demo.chance("days", self.case.key))
        due_on = (self.at + timedelta(days=days)).date() if self.case.major else None
        hazards.fill_plan(self.pk, by=head, at=self.at, due_on=due_on, **words)

    def _list(self) -> None:
        leader = self.one("city_office")
        hazards.list_for_supervision(
            self.pk, number=f"镇安督〔演示〕{self.pk}号", body="city", due_on=(self.at + timedelta(days=45)).date(),
            leader_name=str(leader), leader=leader, by=leader, at=self.at,
        )  # fmt: skip

    def _submit(self, head: User, step: str) -> None:
        measures, _interim = self.case.cure
        hazards.submit_rectification(
            self.pk, note=f"{measures}，已完成", by=head, at=self.at, before=self.picture(f"{step}/before"),
            after=self.picture(f"{step}/after"), taken_at=self.at,
            lon=self.case.subject.lon, lat=self.case.subject.lat,
        )  # fmt: skip
