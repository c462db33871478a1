"""Imports that were made: who, when, which file, what became of each row."""

from __future__ import annotations

from typing import Any, Self

from django.contrib.auth.models import AnonymousUser
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.people.models import User

# Counts of a run; ``rows`` = created + updated + unchanged + refused, always.
COUNTS = ("rows", "created", "updated", "unchanged", "refused", "warned", "blank")


def stored_name(run: ImportRun, _name: str) -> str:
    """Where the file is kept: below its hash, never under the name that came."""
    return f"imports/{run.sha256[:2]}/{run.sha256}{run.suffix}"


class ImportRunQuerySet(models.QuerySet["ImportRun"]):
    def visible_to(self, user: User | AnonymousUser, capability: str = "") -> Self:
        """One's own imports; all of them for those who see the state of the system."""
        if not isinstance(user, User) or not user.is_active:
            return self.none()
        return self.all() if user.can("system.view") else self.filter(actor=user)


class ImportRun(models.Model):
    """One file for one kind of record: judged first (a dry run), then applied, or not."""

    class State(models.TextChoices):
        JUDGING = "judging", _("Being judged")
        JUDGED = "judged", _("Dry run done")
        APPLYING = "applying", _("Being imported")
        DONE = "done", _("Imported")
        FAILED = "failed", _("Failed")

    spec = models.CharField(_("kind of record"), max_length=120)
    actor = models.ForeignKey(
        "people.User", models.PROTECT, null=True, blank=True, related_name="imports", verbose_name=_("imported by")
    )
    at = models.DateTimeField(_("uploaded at"))
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    file = models.FileField(upload_to=stored_name, max_length=200)
    file_name = models.CharField(_("file"), max_length=200)
    suffix = models.CharField(max_length=8)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    language = models.CharField(max_length=10, default="zh-hans")
    state = models.CharField(_("state"), max_length=10, choices=State, default=State.JUDGING)
    dry_run = models.BooleanField(default=True)  # False once the rows may be written
    whole = models.BooleanField(_("all rows or none"), default=False)
    header = models.JSONField(default=list)
    facts = models.JSONField(default=dict)  # kind, encoding, delimiter, header_line
    notes = models.JSONField(default=list)
    total = models.PositiveIntegerField(null=True)  # rows of the file, once known
    progress = models.PositiveIntegerField(default=0)
    counts = models.JSONField(default=dict)
    error = models.TextField(blank=True)
    objects = ImportRunQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-pk"]
        verbose_name = _("import")
        constraints = [
            models.CheckConstraint(
                name="importrun_finished_has_time",
                condition=~Q(state__in=["done", "failed"]) | Q(finished_at__isnull=False),
            ),
        ]
        indexes = [
            models.Index(name="importrun_at", fields=["-at", "-id"]),
            models.Index(name="importrun_actor", fields=["actor", "-at"]),
        ]

    def __str__(self) -> str:
        return f"{self.file_name} ({self.get_state_display()})"

    def get_absolute_url(self) -> str:
        return reverse("imports:run", args=[self.pk])

    @property
    def busy(self) -> bool:
        return self.state in (self.State.JUDGING, self.State.APPLYING)

    def count(self, name: str) -> int:
        return int(self.counts.get(name, 0))

    @property
    def rows(self) -> int:
        return self.count("rows")

    @property
    def refused(self) -> int:
        return self.count("refused")

    @property
    def writes(self) -> int:
        return self.count("created") + self.count("updated")


class ImportRowQuerySet(models.QuerySet["ImportRow"]):
    def visible_to(self, user: User | AnonymousUser, capability: str = "") -> Self:
        return self.filter(run__in=ImportRun.objects.visible_to(user, capability))


class ImportRow(models.Model):
    """One row's verdict. Refused rows and rows with a message are kept, of a dry run also others; up to bounds."""

    class Verdict(models.TextChoices):
        CREATE = "create", _("New record")
        UPDATE = "update", _("Changed record")
        UNCHANGED = "unchanged", _("Unchanged")
        REFUSE = "refuse", _("Refused")

    run = models.ForeignKey(ImportRun, models.CASCADE, related_name="judged_rows")
    line = models.PositiveIntegerField(_("row"))
    verdict = models.CharField(_("verdict"), max_length=10, choices=Verdict)
    title = models.CharField(_("record"), max_length=200, blank=True)
    messages = models.JSONField(default=list)  # [{"level", "text"}]
    warned = models.BooleanField(default=False)
    cells = models.JSONField(null=True)  # as read; None when the row could not be read
    raw = models.BinaryField(default=bytes)  # a refused row's own bytes, its beginning at least
    objects = ImportRowQuerySet.as_manager()

    class Meta:
        ordering = ["line"]
        constraints = [models.UniqueConstraint(name="importrow_line_once", fields=["run", "line"])]
        indexes = [models.Index(name="importrow_verdict", fields=["run", "verdict", "line"])]

    def __str__(self) -> str:
        return f"{self.line} {self.title}"

    @property
    def text(self) -> str:
        """All messages, for lists and files."""
        return "; ".join(message["text"] for message in self.messages)

    @property
    def beginning(self) -> str:
        """How a row without a name begins."""
        text = ", ".join(self.cells) if self.cells is not None else bytes(self.raw[:300]).decode("utf-8", "replace")
        return text[:80].replace("\x00", "\ufffd")

    def as_cells(self, width: int) -> list[Any]:
        """The row as it came, for the file of refused rows: what could not be read stands in its first cell."""
        if self.cells is not None:
            return [*self.cells, *[""] * (width - len(self.cells))]
        return [bytes(self.raw).decode("utf-8", "replace")[:2000].replace("\x00", "\ufffd"), *[""] * (width - 1)]
