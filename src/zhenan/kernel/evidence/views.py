"""Files, shown to those who may see the object that they prove."""

from __future__ import annotations

from uuid import UUID

from django.http import FileResponse, Http404, HttpResponse
from django.shortcuts import get_object_or_404

from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.evidence.services import viewers


def _visible(request: AuthedRequest, pk: UUID) -> Evidence:
    evidence = get_object_or_404(Evidence, pk=pk)
    label, _, key = evidence.target.partition(":")
    viewer = viewers.get(label)
    if viewer is None or not viewer(request.user, key):
        raise Http404  # as if it were not there: its existence is not for everyone
    return evidence


@needs("")
def original(request: AuthedRequest, pk: UUID) -> FileResponse:
    evidence = _visible(request, pk)
    response = FileResponse(evidence.file.open("rb"), content_type=evidence.content_type)
    response["Content-Disposition"] = (
        "inline" if evidence.is_image else f'attachment; filename="{evidence.pk}{evidence.suffix}"'
    )
    response["Content-Security-Policy"] = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox"
    response["Cache-Control"] = "private, max-age=86400"
    return response


@needs("")
def thumbnail(request: AuthedRequest, pk: UUID) -> HttpResponse:
    evidence = _visible(request, pk)
    if not evidence.thumbnail:
        raise Http404
    return HttpResponse(
        bytes(evidence.thumbnail), content_type="image/jpeg", headers={"Cache-Control": "private, max-age=86400"}
    )
