"""The hazard itself: its states are those of the hazard rules; overdue is derived, never stored."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self

import pghistory
from django.contrib.auth.models import AnonymousUser
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import get_language, pgettext_lazy
from django.utils.translation import gettext_lazy as _
from django_fsm import FSMField, FSMModelMixin, transition

from zhenan.kernel.access.scope import ScopedQuerySet, scope_of
from zhenan.kernel.people.models import User
from zhenan.packkit.vocabulary import vocabulary


class State(models.TextChoices):
    FOUND = "found", _("Found")
    GRADED = "graded", _("Graded")
    PLAN_PENDING = "plan_pending", _("Plan pending")
    RECTIFYING = "rectifying", _("Being rectified")
    SUSPENDED_OPERATION = "suspended_operation", _("Operation suspended")
    RECTIFIED_PENDING_CHECK = "rectified_pending_check", _("Rectified, awaiting check")
    ACCEPTED = "accepted", _("Accepted")
    REJECTED = "rejected", _("Rejected, to be rectified again")
    GOV_REVIEW_PENDING = "gov_review_pending", _("Awaiting government review")
    DELISTED = "delisted", _("Delisted")
    TRANSFERRED = "transferred", _("Transferred")


class Severity(models.TextChoices):
    GENERAL = "general", pgettext_lazy("hazard", "General")
    MAJOR = "major", pgettext_lazy("hazard", "Major")


ENDED = (State.ACCEPTED, State.DELISTED)
# Nothing is left to do here: closed, or another department's.
AWAY = (*ENDED, State.TRANSFERRED)
WORKING = (State.RECTIFYING, State.REJECTED, State.SUSPENDED_OPERATION)
BEYOND_PLAN = (State.RECTIFYING, State.RECTIFIED_PENDING_CHECK, State.ACCEPTED, State.REJECTED,
               State.GOV_REVIEW_PENDING, State.DELISTED)  # fmt: skip


class HazardQuerySet(ScopedQuerySet):
    scope_capability = "hazard.view"
    scope_path = "subject__division__path"
    scope_organisations = (
        "subject__organisation_id", "subject__viewers__contains", "found_org_id", "rectifier_org_id", "department_id",
    )  # fmt: skip
    scope_programme = "subject__programme"

    def visible_to(self, user: User | AnonymousUser, capability: str = "") -> Self:
        """As everywhere, and besides: a department sees what was transferred to it, whatever the programme."""
        scope = scope_of(user, capability or self.scope_capability)
        if scope.everything:
            return self.all()
        if scope.empty or not isinstance(user, User):
            return self.none()
        wanted = Q(department_id__in=self._organisations(user, capability or self.scope_capability))
        for reach in scope.reaches:
            wanted |= self._condition(reach)
        return self.filter(wanted)

    @staticmethod
    def _organisations(user: User, capability: str) -> list[int]:
        return [p.organisation_id for p in user.current_posts if capability in p.role_entry.capabilities]

    def open(self) -> Self:
        """Neither closed nor another department's."""
        return self.filter(closed_at=None).exclude(state=State.TRANSFERRED)

    def overdue(self, at: datetime) -> Self:
        """Past the due date and not accepted: a flag, not a state."""
        return self.open().exclude(state__in=(State.ACCEPTED, State.GOV_REVIEW_PENDING)).filter(due_at__lt=at)

    def major(self) -> Self:
        return self.filter(severity=Severity.MAJOR)


@pghistory.track(exclude=["updated_at"])
class Hazard(FSMModelMixin, models.Model):
    """A hidden danger at a subject, from discovery to verified closure.

    ``state`` moves by the services alone. Two clocks are kept: ``found_at`` (discovered) and ``reported_at`` (entered).
    ``due_at`` is that of the current round, ``first_due_at`` the first promise.
    """

    State = State
    Severity = Severity

    number = models.CharField(_("number"), max_length=24, unique=True)
    state = FSMField(_("state"), max_length=30, choices=State, default=State.FOUND, protected=True)
    subject = models.ForeignKey("register.Subject", models.PROTECT, related_name="hazards", verbose_name=_("subject"))
    source = models.CharField(_("source"), max_length=20)  # a word of the vocabulary: inspection, alarm …
    source_key = models.CharField(max_length=120, blank=True)  # key of the record it came from
    title = models.CharField(_("title"), max_length=200)
    description = models.TextField(_("description"), blank=True)
    severity = models.CharField(_("severity"), max_length=10, choices=Severity, default=Severity.GENERAL)
    criterion_code = models.CharField(_("criterion"), max_length=120, blank=True)
    criterion_text = models.TextField(_("criterion's text"), blank=True)
    legal_basis = models.CharField(_("legal basis"), max_length=400, blank=True)
    location = models.CharField(_("where at the subject"), max_length=200, blank=True)
    location_key = models.CharField(max_length=200, blank=True, editable=False)  # location without spaces and case
    lon = models.FloatField(_("longitude (WGS-84)"), null=True, blank=True)
    lat = models.FloatField(_("latitude (WGS-84)"), null=True, blank=True)
    found_at = models.DateTimeField(_("found at"))
    found_by = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, related_name="+")
    found_org = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    reported_at = models.DateTimeField(_("reported at"))
    fixed_on_the_spot = models.BooleanField(_("fixed on the spot"), default=False)
    graded_at = models.DateTimeField(_("graded at"), null=True, blank=True)
    graded_by = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, related_name="+")
    repeat = models.BooleanField(_("repeated"), default=False)
    former = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="repeats")
    rectifier = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, related_name="to_rectify")
    rectifier_org = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    verifier = models.ForeignKey("people.User", models.PROTECT, null=True, blank=True, related_name="+")
    department = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    # The five elements of rectification (O16 art 15)
    plan_unit = models.CharField(_("responsible unit"), max_length=200, blank=True)
    plan_person = models.CharField(_("responsible person"), max_length=100, blank=True)
    plan_post = models.CharField(_("post"), max_length=100, blank=True)
    plan_phone = models.CharField(_("phone"), max_length=40, blank=True)
    measures = models.TextField(_("measures"), blank=True)
    interim_measures = models.TextField(_("interim control measures"), blank=True)
    funds_yuan = models.DecimalField(_("funds (yuan)"), max_digits=14, decimal_places=2, null=True, blank=True)
    funds_materials = models.TextField(_("material list"), blank=True)
    funds_reason = models.CharField(_("why no funds are needed"), max_length=300, blank=True)
    contingency = models.TextField(_("contingency plan"), blank=True)
    due_at = models.DateTimeField(_("due"), null=True, blank=True)
    first_due_at = models.DateTimeField(_("first due"), null=True, blank=True)
    escalated_to = models.CharField(_("escalated to"), max_length=20, blank=True)  # the highest rung reached
    listed = models.BooleanField(_("under listed supervision"), default=False)
    suspended = models.BooleanField(_("operation suspended"), default=False)
    accepted_at = models.DateTimeField(_("accepted at"), null=True, blank=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)
    objects = HazardQuerySet.as_manager()

    class Meta:
        ordering = ["-reported_at", "-pk"]
        verbose_name = _("hazard")
        constraints = [
            models.UniqueConstraint(
                name="hazard_once_per_source", fields=["source", "source_key"], condition=~Q(source_key="")
            ),
            models.CheckConstraint(
                name="hazard_closed_only_when_ended", condition=Q(closed_at=None) | Q(state__in=[str(s) for s in ENDED])
            ),
            models.CheckConstraint(
                name="hazard_delisted_is_closed", condition=~Q(state="delisted") | Q(closed_at__isnull=False)
            ),
            models.CheckConstraint(
                name="hazard_accepted_has_its_time",
                condition=~Q(state__in=["accepted", "gov_review_pending", "delisted"]) | Q(accepted_at__isnull=False),
            ),
            models.CheckConstraint(
                name="hazard_repeat_names_the_former", condition=Q(repeat=False) | Q(former__isnull=False)
            ),
            models.CheckConstraint(
                name="hazard_major_has_five_elements",
                condition=Q(severity="general")
                | ~Q(state__in=[str(s) for s in BEYOND_PLAN])
                | (
                    ~Q(plan_unit="") & ~Q(plan_person="") & ~Q(plan_post="") & ~Q(plan_phone="") & ~Q(measures="")
                    & ~Q(interim_measures="") & ~Q(contingency="") & Q(due_at__isnull=False)
                    & (Q(funds_yuan__gt=0) | (Q(funds_yuan=0) & ~Q(funds_reason="")))
                ),
            ),
            models.CheckConstraint(
                name="hazard_place_whole", condition=Q(lon=None, lat=None) | Q(lon__isnull=False, lat__isnull=False)
            ),
            models.CheckConstraint(name="hazard_only_major_is_listed", condition=Q(listed=False) | Q(severity="major")),
        ]  # fmt: skip
        indexes = [
            models.Index(name="hazard_reported", fields=["-reported_at", "-id"]),
            models.Index(name="hazard_found", fields=["-found_at"]),
            models.Index(name="hazard_subject_state", fields=["subject", "state"]),
            models.Index(name="hazard_open_due", fields=["due_at"], condition=Q(closed_at=None)),
            models.Index(name="hazard_state", fields=["state", "-reported_at"]),
            models.Index(name="hazard_rectifier", fields=["rectifier"], condition=Q(closed_at=None)),
            models.Index(name="hazard_recurrence", fields=["subject", "criterion_code", "location_key", "-found_at"],
                         condition=~Q(criterion_code="")),
            GinIndex(name="hazard_title_trgm", fields=["title"], opclasses=["gin_trgm_ops"]),
            GinIndex(name="hazard_number_trgm", fields=["number"], opclasses=["gin_trgm_ops"]),
        ]  # fmt: skip

    def __str__(self) -> str:
        return f"{self.number} {self.title}"

    def get_absolute_url(self) -> str:
        return reverse("hazards:detail", args=[self.pk])

    @property
    def is_major(self) -> bool:
        return self.severity == Severity.MAJOR

    @property
    def is_open(self) -> bool:
        return self.closed_at is None and self.state != State.TRANSFERRED

    @property
    def is_overdue(self) -> bool:
        return self.overdue_at(timezone.now())

    def overdue_at(self, at: datetime) -> bool:
        """The same judgement as the queryset's ``overdue``."""
        waiting = self.is_open and self.state not in (State.ACCEPTED, State.GOV_REVIEW_PENDING)
        return bool(waiting and self.due_at is not None and self.due_at < at)

    @property
    def source_label(self) -> str:
        word = vocabulary().hazard_sources.get(self.source)
        return word.label(get_language() or "zh-hans") if word else self.source

    @property
    def needs_review(self) -> bool:
        """Acceptance alone does not end it: the listing or suspending body reviews on site."""
        return bool(self.listed or self.suspended)

    @property
    def point(self) -> tuple[float, float] | None:
        """lon, lat in WGS-84 of the hazard, else of its subject."""
        for thing in (self, self.subject):
            if thing.lon is not None and thing.lat is not None:
                return thing.lon, thing.lat
        return None

    @property
    def place(self) -> dict[str, Any]:
        """Where it happens, in the words of ``events.record`` and ``open_deadline``."""
        place: dict[str, Any] = dict(self.subject.place)
        more = (self.found_org_id, self.rectifier_org_id, self.department_id)
        place["organisations"] = list(dict.fromkeys([*place["organisations"], *(o for o in more if o is not None)]))
        return place

    # The legal moves. Thin on purpose: who may, what must be given and what follows is in the services.

    @transition(field=state, source=[State.FOUND, State.GRADED], target=State.GRADED)
    def grade(self) -> None: ...

    @transition(field=state, source=[State.GRADED, State.PLAN_PENDING], target=State.PLAN_PENDING)
    def assign(self) -> None: ...

    @transition(field=state, source=list(WORKING), target=None)
    def reassign(self) -> None: ...

    @transition(field=state, source=State.PLAN_PENDING, target=State.RECTIFYING)
    def start(self) -> None: ...

    @transition(field=state, source=list(WORKING), target=State.RECTIFIED_PENDING_CHECK)
    def submit(self) -> None: ...

    @transition(field=state, source=State.RECTIFIED_PENDING_CHECK, target=State.ACCEPTED)
    def accept(self) -> None: ...

    @transition(field=state, source=State.RECTIFIED_PENDING_CHECK, target=State.REJECTED)
    def check_failed(self) -> None: ...

    @transition(field=state, source=State.GOV_REVIEW_PENDING, target=State.REJECTED)
    def review_failed(self) -> None: ...

    @transition(
        field=state, source=[State.PLAN_PENDING, State.RECTIFYING, State.REJECTED], target=State.SUSPENDED_OPERATION
    )
    def suspend_operation(self) -> None: ...

    @transition(field=state, source=[State.SUSPENDED_OPERATION, State.REJECTED], target=State.RECTIFYING)
    def resume(self) -> None: ...

    @transition(field=state, source=State.SUSPENDED_OPERATION, target=State.PLAN_PENDING)
    def resume_without_plan(self) -> None: ...

    @transition(field=state, source=list(WORKING), target=None)
    def extend(self) -> None: ...

    @transition(
        field=state, source=[State.GRADED, State.PLAN_PENDING, *WORKING, State.RECTIFIED_PENDING_CHECK], target=None
    )
    def list_for_supervision(self) -> None: ...

    @transition(field=state, source=State.ACCEPTED, target=State.GOV_REVIEW_PENDING)
    def apply_for_review(self) -> None: ...

    @transition(field=state, source=State.GOV_REVIEW_PENDING, target=State.DELISTED)
    def delist(self) -> None: ...

    @transition(field=state, source=[State.FOUND, State.GRADED, State.PLAN_PENDING, *WORKING], target=State.TRANSFERRED)
    def transfer(self) -> None: ...

    @transition(field=state, source=State.TRANSFERRED, target=State.FOUND)
    def receive(self) -> None: ...

    @transition(field=state, source=State.FOUND, target=State.RECTIFIED_PENDING_CHECK)
    def fix_on_the_spot(self) -> None: ...
