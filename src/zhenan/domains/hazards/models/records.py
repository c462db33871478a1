"""What is recorded on the way: findings, rounds of rectification, extensions, suspension, supervision, transfer."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from zhenan.domains.hazards.models.hazard import Hazard

USER = "people.User"


class Finding(models.Model):
    """Somebody found the hazard. Found three times while open, it stays one hazard with three findings."""

    hazard = models.ForeignKey(Hazard, models.CASCADE, related_name="findings")
    source = models.CharField(_("source"), max_length=20)
    source_key = models.CharField(max_length=120, blank=True)
    found_at = models.DateTimeField(_("found at"))
    reported_at = models.DateTimeField(_("reported at"))
    found_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    organisation = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    description = models.TextField(_("description"), blank=True)

    class Meta:
        ordering = ["found_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                name="finding_once_per_source", fields=["source", "source_key"], condition=~Q(source_key="")
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hazard_id} {self.source} {self.found_at:%Y-%m-%d}"


class Round(models.Model):
    """One round of rectification and its check, with a clock of its own.

    Fixer and checker stand in one row, so that the database itself refuses a check by the one who rectified; for a
    major hazard it also wants another organisation, or named experts.
    """

    class Result(models.TextChoices):
        ACCEPTED = "accepted", _("Accepted")
        REJECTED = "rejected", _("Rejected")

    hazard = models.ForeignKey(Hazard, models.CASCADE, related_name="rounds")
    number = models.PositiveSmallIntegerField(_("round"))
    major = models.BooleanField(default=False)
    started_at = models.DateTimeField(_("started at"))
    due_at = models.DateTimeField(_("due"))
    rectifier = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    submitted_at = models.DateTimeField(_("submitted at"), null=True, blank=True)
    submitted_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    submitted_org = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    done_by_name = models.CharField(_("done by"), max_length=100, blank=True)  # someone without an account
    note = models.TextField(_("what was done"), blank=True)
    result = models.CharField(_("result"), max_length=10, choices=Result, blank=True)
    verified_at = models.DateTimeField(_("verified at"), null=True, blank=True)
    verified_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    verified_org = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    experts = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    verify_note = models.TextField(_("finding of the check"), blank=True)

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(name="round_number_once", fields=["hazard", "number"]),
            models.CheckConstraint(
                name="round_checker_did_not_submit",
                condition=Q(verified_by=None) | Q(submitted_by=None) | ~Q(verified_by=F("submitted_by")),
            ),
            models.CheckConstraint(
                name="round_checker_did_not_rectify",
                condition=Q(verified_by=None) | Q(rectifier=None) | ~Q(verified_by=F("rectifier")),
            ),
            models.CheckConstraint(
                name="round_major_checked_from_outside",
                condition=Q(major=False)
                | ~Q(result="accepted")
                | Q(verified_by=None)
                | Q(submitted_org=None, verified_org__isnull=False)
                | ~Q(verified_org=F("submitted_org"))
                | Q(experts__len__gte=1),
            ),
            models.CheckConstraint(
                name="round_checked_after_submission",
                condition=Q(verified_at=None) | Q(submitted_at__isnull=False, verified_at__gte=F("submitted_at")),
            ),
            models.CheckConstraint(
                name="round_result_has_its_time",
                condition=Q(result="", verified_at=None) | (~Q(result="") & Q(verified_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hazard_id} #{self.number}"

    @property
    def purposes(self) -> tuple[str, str, str]:
        """Purposes of its evidence: before, after, check."""
        return f"before.{self.number}", f"after.{self.number}", f"check.{self.number}"

    @property
    def met(self) -> bool | None:
        """Whether it was submitted in time; None while it was not submitted."""
        return None if self.submitted_at is None else self.submitted_at <= self.due_at


class Extension(models.Model):
    """A request for more time. Whoever asks does not decide."""

    hazard = models.ForeignKey(Hazard, models.CASCADE, related_name="extensions")
    round_number = models.PositiveSmallIntegerField()
    days = models.PositiveSmallIntegerField(_("days"))
    reason = models.TextField(_("reason"))
    old_due_at = models.DateTimeField()
    asked_at = models.DateTimeField(_("asked at"))
    asked_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    granted = models.BooleanField(_("granted"), null=True)
    decided_at = models.DateTimeField(_("decided at"), null=True, blank=True)
    decided_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    decision_note = models.TextField(_("reason of the decision"), blank=True)
    new_due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["asked_at", "pk"]
        constraints = [
            models.UniqueConstraint(name="extension_one_undecided", fields=["hazard"], condition=Q(granted=None)),
            models.CheckConstraint(
                name="extension_not_by_the_asker",
                condition=Q(decided_by=None) | Q(asked_by=None) | ~Q(decided_by=F("asked_by")),
            ),
            models.CheckConstraint(
                name="extension_decision_has_its_time",
                condition=Q(granted=None, decided_at=None) | Q(granted__isnull=False, decided_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hazard_id} +{self.days}"


class Suspension(models.Model):
    """An order to stop (WSL art 65); operation resumes only after review and consent."""

    hazard = models.ForeignKey(Hazard, models.CASCADE, related_name="suspensions")
    order_number = models.CharField(_("order number"), max_length=100)
    reason = models.TextField(_("reason"))
    ordered_at = models.DateTimeField(_("ordered at"))
    ordered_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    lifted_at = models.DateTimeField(_("lifted at"), null=True, blank=True)
    lifted_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    lift_note = models.TextField(_("review and consent"), blank=True)

    class Meta:
        ordering = ["ordered_at", "pk"]
        constraints = [
            models.UniqueConstraint(name="suspension_one_in_force", fields=["hazard"], condition=Q(lifted_at=None)),
        ]

    def __str__(self) -> str:
        return self.order_number


class Supervision(models.Model):
    """A listing for supervision (挂牌督办) and its delisting (销号)."""

    class Body(models.TextChoices):
        COMMITTEE = "committee", _("Safety committee office")
        CITY = "city", _("City")
        DISTRICT = "district", _("District")

    hazard = models.OneToOneField(Hazard, models.CASCADE, related_name="supervision")
    number = models.CharField(_("listing number"), max_length=60, unique=True)
    body = models.CharField(_("listing body"), max_length=12, choices=Body)
    listed_at = models.DateTimeField(_("listed at"))
    listed_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    due_at = models.DateTimeField(_("due"))
    leader = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    leader_name = models.CharField(_("responsible leader"), max_length=100)
    department = models.ForeignKey("people.Organisation", models.PROTECT, null=True, blank=True, related_name="+")
    publicity_url = models.URLField(_("publicity link"), blank=True)
    delisted_at = models.DateTimeField(_("delisted at"), null=True, blank=True)

    class Meta:
        ordering = ["-listed_at"]

    def __str__(self) -> str:
        return self.number


class Review(models.Model):
    """An application to resume or to be delisted, and the on-site review that answers it (O16 arts 18, 23)."""

    hazard = models.ForeignKey(Hazard, models.CASCADE, related_name="reviews")
    application = models.TextField(_("application"))
    applied_at = models.DateTimeField(_("applied at"))
    applied_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    passed = models.BooleanField(_("passed"), null=True)
    reviewed_at = models.DateTimeField(_("reviewed at"), null=True, blank=True)
    reviewed_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    finding = models.TextField(_("finding of the on-site review"), blank=True)
    notice_number = models.CharField(_("delisting notice"), max_length=100, blank=True)

    class Meta:
        ordering = ["applied_at", "pk"]
        constraints = [
            models.UniqueConstraint(name="review_one_undecided", fields=["hazard"], condition=Q(passed=None)),
            models.CheckConstraint(
                name="review_not_by_the_applicant",
                condition=Q(reviewed_by=None) | Q(applied_by=None) | ~Q(reviewed_by=F("applied_by")),
            ),
            models.CheckConstraint(
                name="review_result_has_its_time",
                condition=Q(passed=None, reviewed_at=None) | Q(passed__isnull=False, reviewed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.hazard_id} {self.applied_at:%Y-%m-%d}"


class Transfer(models.Model):
    """A hazard that belongs to another department (WSL art 69): recorded, and the receiver acts promptly."""

    hazard = models.ForeignKey(Hazard, models.CASCADE, related_name="transfers")
    to = models.ForeignKey("people.Organisation", models.PROTECT, related_name="+", verbose_name=_("to"))
    reason = models.TextField(_("reason"))
    document = models.CharField(_("document number"), max_length=100, blank=True)
    made_at = models.DateTimeField(_("transferred at"))
    made_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")
    received_at = models.DateTimeField(_("received at"), null=True, blank=True)
    received_by = models.ForeignKey(USER, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["made_at", "pk"]
        constraints = [
            models.UniqueConstraint(name="transfer_one_on_the_way", fields=["hazard"], condition=Q(received_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.hazard_id} → {self.to_id}"
