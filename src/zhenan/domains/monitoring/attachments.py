"""Files of vehicles' terminals as evidence: of the alarm that they prove, or else of the device."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.db import models, transaction

from zhenan.domains.monitoring.models import Alarm, Device
from zhenan.kernel.events.models import key_of
from zhenan.kernel.events.services import record
from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.evidence.services import UnfitFile, store
from zhenan.telemetry.codecs.base import iso_to_ms
from zhenan.telemetry.codecs.jt808 import phone_keys, phone_label
from zhenan.telemetry.gateway.attachments import NUMBER_TIME, FileOf, suffix_of
from zhenan.telemetry.gateway.sessions_jt808 import Media

NEAR = timedelta(seconds=2)  # an alarm and the file that proves it carry the terminal's same second
PICTURES = frozenset({".jpg", ".jpeg", ".png"})
TYPES = {
    ".mp4": "video/mp4", ".avi": "video/x-msvideo", ".h264": "video/h264", ".wav": "audio/wav", ".mp3": "audio/mpeg",
    ".aac": "audio/aac", ".amr": "audio/amr", ".txt": "text/plain", ".csv": "text/csv", ".bin":
    "application/octet-stream",
}  # fmt: skip
MEDIA_SUFFIXES = {0: ".jpg", 1: ".bin", 2: ".mp3", 3: ".wav", 4: ".bin"}  # by the format byte of 0x0801
SAFETY = ("adas.", "dsm.", "bsd.", "tyre")


def purpose_of(number: str) -> str:
    """The purpose under which the files of one alarm number are kept; the day of asking is not part of it."""
    return f"files:{number[NUMBER_TIME:]}"


def names_stored(number: str) -> set[str]:
    """The names of the files of an alarm number that are here."""
    return set(Evidence.objects.filter(purpose=purpose_of(number)).values_list("name", flat=True))


def store_file(one: FileOf, *, at: datetime) -> Evidence | None:
    """Keep a file of an active-safety alarm. The same file again changes nothing; None for a terminal that is gone."""
    device = device_of(one.phone)
    if device is None:
        return None
    taken_at = datetime.fromtimestamp(iso_to_ms(one.alarm_key["time"]) / 1000, UTC) if one.alarm_key["time"] else None
    alarm = alarm_at(device, taken_at) if taken_at else None
    return _keep(
        alarm or device, device, one.path.read_bytes(), name=one.name, suffix=suffix_of(one.name),
        purpose=purpose_of(one.number), taken_at=taken_at, at=at,
    )  # fmt: skip


def store_media(media: Media, *, at: datetime) -> Evidence | None:
    """Keep a picture, sound or film that a terminal sent by itself."""
    device = Device.objects.filter(protocol="jt808", key=media.device_key).select_related("subject__division").first()
    if device is None:
        return None
    suffix = MEDIA_SUFFIXES.get(media.format, ".bin")
    time = media.place.get("time")
    return _keep(
        device, device, media.data, name=f"{media.media_id}{suffix}", suffix=suffix, purpose="media",
        taken_at=datetime.fromtimestamp(iso_to_ms(time) / 1000, UTC) if time else None, at=at,
    )  # fmt: skip


def device_of(phone: str) -> Device | None:
    """The registered terminal of a phone as it stands on the wire, with or without its leading zeros."""
    forms = {*phone_keys(phone), phone_label(phone)}
    rows = Device.objects.filter(protocol="jt808", key__in=forms).select_related("subject__division")
    return rows.order_by("pk").first()


def alarm_at(device: Device, moment: datetime) -> Alarm | None:
    """The active-safety alarm of the device that began at this moment of its clock; the nearest."""
    rows = Alarm.objects.filter(device=device, onset__range=(moment - NEAR, moment + NEAR)).select_related("point")
    near = [alarm for alarm in rows if alarm.point.channel.startswith(SAFETY)]
    return min(near, key=lambda alarm: abs(alarm.onset - moment), default=None)


def _keep(
    target: models.Model, device: Device, data: bytes, *, name: str, suffix: str, purpose: str,
    taken_at: datetime | None, at: datetime,
) -> Evidence:  # fmt: skip
    key, digest = key_of(target), hashlib.sha256(data).hexdigest()
    name = name.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[-200:]
    with transaction.atomic():
        known = Evidence.objects.filter(target=key, purpose=purpose, sha256=digest).first()
        if known is not None:
            return known
        evidence = _picture(data, name, suffix, target, purpose, taken_at, at) or _other(
            data, name, suffix, key, purpose, digest, taken_at, at
        )
        targets: list[Any] = list(dict.fromkeys([key, key_of(device)]))
        record("device.file", targets=targets, actor=None, at=at, data={"name": name}, **device.subject.place)
    return evidence


def _picture(
    data: bytes, name: str, suffix: str, target: models.Model, purpose: str, taken_at: datetime | None, at: datetime
) -> Evidence | None:
    """A picture with its thumbnail; None for what is none, whatever its name claims."""
    if suffix not in PICTURES:
        return None
    try:
        return store(
            ContentFile(data, name=name), target=target, purpose=purpose, actor=None, at=at, taken_at=taken_at
        )  # fmt: skip
    except UnfitFile:
        return None


def _other(
    data: bytes, name: str, suffix: str, key: str, purpose: str, digest: str, taken_at: datetime | None, at: datetime
) -> Evidence:
    """Films, sounds and the rest as they came, under their hash; never shown in the page, only to be saved."""
    suffix = suffix if suffix in TYPES else ".bin"
    evidence = Evidence(
        target=key, purpose=purpose, name=name or digest[:12], suffix=suffix, content_type=TYPES[suffix],
        sha256=digest, size_bytes=len(data), taken_at=taken_at, uploaded_at=at,
    )  # fmt: skip
    evidence.file.save(evidence.name, ContentFile(data), save=False)
    evidence.save()
    return evidence
