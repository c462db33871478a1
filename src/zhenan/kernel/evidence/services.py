"""Storing a file as evidence: judged by its bytes, hashed, placed in time and space, thumbnailed."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.uploadedfile import UploadedFile
from django.db import models
from django.utils.translation import gettext_lazy as _
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from zhenan.kernel.errors import DomainError
from zhenan.kernel.events.models import key_of
from zhenan.kernel.evidence.models import ALLOWED, Evidence
from zhenan.kernel.people.models import User

MAX_BYTES = 20 * 1024 * 1024
MAX_PIXELS = 60_000_000
CHINA = timezone(timedelta(hours=8))
# Who may see an object's evidence: label ("hazards.hazard") → (user, pk) → bool. Rooms register in ``ready``.
viewers: dict[str, Callable[[Any, str], bool]] = {}


class UnfitFile(DomainError):
    code = "evidence.unfit_file"
    message = _("“{name}” is not accepted: {why}. Photos as JPEG, PNG or WebP, or a PDF, up to {limit} MB.")


def store(
    upload: UploadedFile | ContentFile[bytes],
    *,
    target: models.Model | str,
    purpose: str,
    actor: User | None,
    at: datetime,
    taken_at: datetime | None = None,
    lon: float | None = None,
    lat: float | None = None,
    near: tuple[float, float] | None = None,
) -> Evidence:
    """Keep a file as evidence of an object; the same file for the same purpose is kept once.

    ``near``: lon, lat of the object in WGS-84, from which the photo's distance is measured (metres).
    Time and place come from the caller (the phone) or else from the photo's own EXIF. A photo that already
    proves another object is kept and marked ``reused_from``: the verifier sees it. Raises UnfitFile.
    """
    name = (upload.name or "")[-200:]
    data = _bytes_of(upload, name)
    key = target if isinstance(target, str) else key_of(target)
    digest = hashlib.sha256(data).hexdigest()
    known = Evidence.objects.filter(target=key, purpose=purpose, sha256=digest).first()
    if known:
        return known
    suffix, content_type, facts = _inspect(data, name)
    lon, lat = (lon, lat) if lon is not None and lat is not None else (facts.get("lon"), facts.get("lat"))
    evidence = Evidence(
        target=key,
        purpose=purpose,
        name=name or digest[:12],
        suffix=suffix,
        content_type=content_type,
        sha256=digest,
        size_bytes=len(data),
        width_px=facts.get("width"),
        height_px=facts.get("height"),
        thumbnail=facts.get("thumbnail"),
        taken_at=taken_at or facts.get("taken_at"),
        lon=lon,
        lat=lat,
        distance_m=distance_m((lon, lat), near) if near and lon is not None and lat is not None else None,
        reused_from=Evidence.objects.filter(sha256=digest).exclude(target=key).order_by("uploaded_at").first(),
        uploaded_by=actor,
        uploaded_at=at,
    )
    evidence.file.save(evidence.name, ContentFile(data), save=False)
    evidence.save()
    return evidence


def of(target: models.Model | str) -> list[Evidence]:
    """All evidence of an object, in the order it came; thumbnails are left to their own request."""
    key = target if isinstance(target, str) else key_of(target)
    return list(Evidence.objects.filter(target=key).select_related("uploaded_by").defer("thumbnail"))


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Great-circle distance in metres between two (lon, lat) in degrees."""
    lon1, lat1, lon2, lat2 = (math.radians(value) for value in (*a, *b))
    half = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(min(1.0, math.sqrt(half)))


def _bytes_of(upload: UploadedFile | ContentFile[bytes], name: str) -> bytes:
    if (upload.size or 0) > MAX_BYTES:
        raise UnfitFile(name=name, why=_("it has {size} MB").format(size=round((upload.size or 0) / 1e6, 1)), limit=20)
    data = bytes(upload.read())
    if not data:
        raise UnfitFile(name=name, why=_("it is empty"), limit=20)
    return data


def _inspect(data: bytes, name: str) -> tuple[str, str, dict[str, Any]]:
    if data.startswith(b"%PDF-"):
        return (*ALLOWED["PDF"], {})
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.format not in ALLOWED:
                raise UnfitFile(name=name, why=_("it is a {format} file").format(format=image.format), limit=20)
            if image.width * image.height > MAX_PIXELS:
                raise UnfitFile(name=name, why=_("it has too many pixels"), limit=20)
            facts = _exif(image) | {"width": image.width, "height": image.height}
            small = ImageOps.exif_transpose(image).convert("RGB")
            small.thumbnail((480, 480))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=80)
            return (*ALLOWED[image.format], facts | {"thumbnail": buffer.getvalue()})
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError, SyntaxError) as err:
        raise UnfitFile(name=name, why=_("it cannot be read as a picture"), limit=20) from err


def _exif(image: Image.Image) -> dict[str, Any]:
    """Time and place that the camera wrote; what is missing or broken is left out."""
    facts: dict[str, Any] = {}
    try:
        exif = image.getexif()
        details, gps = exif.get_ifd(ExifTags.IFD.Exif), exif.get_ifd(ExifTags.IFD.GPSInfo)
        taken = details.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
        if taken:
            facts["taken_at"] = datetime.strptime(str(taken), "%Y:%m:%d %H:%M:%S").replace(tzinfo=CHINA).astimezone(UTC)
        if 2 in gps and 4 in gps:
            facts["lat"] = _degrees(gps[2]) * (-1 if str(gps.get(1)).upper() == "S" else 1)
            facts["lon"] = _degrees(gps[4]) * (-1 if str(gps.get(3)).upper() == "W" else 1)
    except (ValueError, TypeError, KeyError, ZeroDivisionError, SyntaxError):
        pass
    return facts


def _degrees(parts: Any) -> float:
    degrees, minutes, seconds = (float(part) for part in parts)
    return degrees + minutes / 60 + seconds / 3600
