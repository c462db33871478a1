"""What other rooms and pages ask about hazards; everything starts from what the user may see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, QuerySet

from zhenan.domains.hazards.models import Hazard
from zhenan.domains.hazards.models.hazard import WORKING, State
from zhenan.domains.register.models import Subject
from zhenan.kernel.people.models import User


@dataclass(frozen=True)
class Figures:
    """Counts with their formulas (hazard rules 2.6). ``rate_pct``: accepted / all found; None when none was found."""

    found: int
    accepted: int
    in_time: int
    open: int
    open_major: int
    overdue: int
    on_the_spot: int

    @property
    def rate_pct(self) -> float | None:
        return round(100 * self.accepted / self.found, 1) if self.found else None

    @property
    def in_time_pct(self) -> float | None:
        """Accepted by the due date, of all accepted."""
        return round(100 * self.in_time / self.accepted, 1) if self.accepted else None


def figures(user: Any, at: datetime, *, since: datetime | None = None, until: datetime | None = None) -> Figures:
    """Figures of the hazards that the user sees, found from ``since`` (included) to ``until`` (excluded): one query."""
    rows = Hazard.objects.visible_to(user)
    if since is not None:
        rows = rows.filter(found_at__gte=since)
    if until is not None:
        rows = rows.filter(found_at__lt=until)
    is_open = Q(closed_at=None) & ~Q(state=State.TRANSFERRED)
    waiting = ~Q(state__in=(State.ACCEPTED, State.GOV_REVIEW_PENDING))
    accepted = Q(accepted_at__isnull=False)
    found: dict[str, int] = rows.aggregate(
        found=Count("pk"),
        accepted=Count("pk", filter=accepted),
        in_time=Count("pk", filter=accepted & Q(accepted_at__lte=F("due_at"))),
        open=Count("pk", filter=is_open),
        open_major=Count("pk", filter=is_open & Q(severity="major")),
        overdue=Count("pk", filter=is_open & waiting & Q(due_at__lt=at)),
        on_the_spot=Count("pk", filter=Q(fixed_on_the_spot=True)),
    )
    return Figures(**found)


def open_for(subject: Subject) -> QuerySet[Hazard]:
    """The open hazards of a subject, the most urgent first."""
    return subject.hazards.open().order_by(F("due_at").asc(nulls_last=True), "-found_at")


def of_source(source: str, source_key: str) -> Hazard | None:
    """The hazard that a record led to, also when it was found again and merged."""
    found: Hazard | None = Hazard.objects.filter(findings__source=source, findings__source_key=source_key).first()
    return found


def of_sources(source: str, source_keys: Iterable[str]) -> dict[str, Hazard]:
    """source_key → hazard, for many records: one query."""
    rows = Hazard.objects.filter(findings__source=source, findings__source_key__in=list(source_keys))
    return {row.found_as: row for row in rows.annotate(found_as=F("findings__source_key"))}


def to_rectify(user: User) -> QuerySet[Hazard]:
    """Named to this person and not submitted."""
    rows: QuerySet[Hazard] = Hazard.objects.open().filter(rectifier=user, state__in=(State.PLAN_PENDING, *WORKING))
    return rows


def to_grade(user: User) -> QuerySet[Hazard]:
    rows: QuerySet[Hazard] = Hazard.objects.visible_to(user, "hazard.grade").filter(state=State.FOUND)
    return rows


def to_assign(user: User) -> QuerySet[Hazard]:
    rows: QuerySet[Hazard] = Hazard.objects.visible_to(user, "hazard.assign").filter(state=State.GRADED)
    return rows


def to_check(user: User) -> QuerySet[Hazard]:
    """Awaiting a check that this person may make: never their own work."""
    rows: QuerySet[Hazard] = Hazard.objects.visible_to(user, "hazard.verify").filter(
        state=State.RECTIFIED_PENDING_CHECK
    )
    return rows.exclude(Q(rectifier=user) | Q(rounds__submitted_by=user, rounds__result=""))


def to_review(user: User) -> QuerySet[Hazard]:
    rows: QuerySet[Hazard] = Hazard.objects.visible_to(user, "hazard.supervise").filter(state=State.GOV_REVIEW_PENDING)
    return rows


def before(user: User) -> QuerySet[Hazard]:
    """Everything that waits for a step of this person: to rectify, grade, assign, check or review."""
    waiting = Q(pk__in=to_rectify(user).values("pk"))
    for rows in (to_grade(user), to_assign(user), to_check(user), to_review(user)):
        waiting |= Q(pk__in=rows.values("pk"))
    found: QuerySet[Hazard] = Hazard.objects.visible_to(user).filter(waiting)
    return found
