"""What a checker should look at twice in a round's photos: place, time, and photos seen before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from zhenan.domains.hazards import clocks
from zhenan.domains.hazards.models import Round
from zhenan.kernel.evidence.models import Evidence


def doubts(one: Round, after: Sequence[Evidence], every: Sequence[Evidence]) -> list[Any]:
    """Warnings on the photos that shall prove the rectification. ``every``: all photos of the hazard."""
    far_m = float(clocks.value("evidence", "far_m"))
    found: list[Any] = []
    for photo in after:
        if photo.distance_m is not None and photo.distance_m > far_m:
            found.append(_("“%(name)s” was taken %(m)s m away") % {"name": photo.name, "m": round(photo.distance_m)})
        elif photo.lon is None:
            found.append(_("“%(name)s” does not say where it was taken") % {"name": photo.name})
        if photo.taken_at is not None and photo.taken_at < one.started_at:
            day = timezone.localtime(photo.taken_at).strftime("%Y-%m-%d %H:%M")
            found.append(
                _("“%(name)s” was taken on %(day)s, before this round began") % {"name": photo.name, "day": day}
            )
        if photo.reused_from_id is not None:
            found.append(_("“%(name)s” already proves something else") % {"name": photo.name})
        if any(p.sha256 == photo.sha256 and p.pk != photo.pk and p.uploaded_at <= photo.uploaded_at for p in every):
            found.append(_("“%(name)s” was submitted for this hazard before") % {"name": photo.name})
    return found
