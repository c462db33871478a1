"""Photos and documents kept as proof; the file is never changed, its hash is its identity."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from zhenan.kernel.events.models import new_id


def stored_name(evidence: Evidence, _name: str) -> str:
    """Path below the evidence folder: made by us alone, never from the name that came."""
    return f"{evidence.sha256[:2]}/{evidence.sha256}{evidence.suffix}"


class Evidence(models.Model):
    """One file for one purpose of one object, with the time and place it claims and the time it came."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    target = models.CharField(max_length=80)  # key of the object, such as hazards.hazard:12
    purpose = models.CharField(_("purpose"), max_length=40)  # before, after, arrival, answer …
    file = models.FileField(upload_to=stored_name, max_length=200)
    thumbnail = models.BinaryField(null=True, editable=False)
    name = models.CharField(_("file name"), max_length=200)
    suffix = models.CharField(max_length=10)
    content_type = models.CharField(max_length=60)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.BigIntegerField()
    width_px = models.IntegerField(null=True)
    height_px = models.IntegerField(null=True)
    taken_at = models.DateTimeField(_("taken at"), null=True)
    lon = models.FloatField(null=True)
    lat = models.FloatField(null=True)
    distance_m = models.FloatField(_("distance to the object (m)"), null=True)
    reused_from = models.ForeignKey("self", models.PROTECT, null=True, related_name="+")
    uploaded_by = models.ForeignKey("people.User", models.PROTECT, null=True, related_name="+")
    uploaded_at = models.DateTimeField()

    class Meta:
        ordering = ["uploaded_at", "id"]
        indexes = [
            models.Index(name="evidence_target", fields=["target", "purpose"]),
            models.Index(name="evidence_hash", fields=["sha256"]),
        ]
        constraints = [
            models.UniqueConstraint(name="evidence_once_per_target", fields=["target", "purpose", "sha256"]),
        ]

    def __str__(self) -> str:
        return f"{self.purpose}: {self.name}"

    @property
    def is_image(self) -> bool:
        return self.content_type.startswith("image/")


ALLOWED: dict[str, tuple[str, str]] = {
    # Pillow format or magic → (suffix, content type)
    "JPEG": (".jpg", "image/jpeg"),
    "PNG": (".png", "image/png"),
    "WEBP": (".webp", "image/webp"),
    "PDF": (".pdf", "application/pdf"),
}
