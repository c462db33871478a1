"""Evidence is judged by its bytes; the same file counts once; an old photo used again is seen."""

import io
from datetime import UTC, datetime

import pytest
from django.core.files.base import ContentFile
from PIL import Image

from zhenan.kernel.evidence.models import Evidence
from zhenan.kernel.evidence.services import UnfitFile, distance_m, of, store

AT = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


def photo(colour="red", size=(800, 600), fmt="JPEG", exif=None):
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, fmt, **({"exif": exif} if exif else {}))
    return ContentFile(buffer.getvalue(), name="../../etc/photo.jpg")


def test_a_photo_is_hashed_thumbnailed_and_placed(db, tmp_path):
    kept = store(
        photo(), target="thing:1", purpose="before", actor=None, at=AT, lon=119.5, lat=32.0, near=(119.5, 32.001)
    )
    assert len(kept.sha256) == 64
    assert kept.file.name == f"{kept.sha256[:2]}/{kept.sha256}.jpg"
    assert (kept.width_px, kept.height_px) == (800, 600)
    assert Image.open(io.BytesIO(bytes(kept.thumbnail))).width == 480
    assert kept.distance_m == pytest.approx(111.2, abs=0.2)


def test_time_and_place_come_from_the_camera_when_the_phone_gives_none(db):
    exif = Image.Exif()
    exif[0x0132] = "2026:03:01 09:30:00"
    kept = store(photo(exif=exif), target="thing:1", purpose="before", actor=None, at=AT)
    assert kept.taken_at == datetime(2026, 3, 1, 1, 30, tzinfo=UTC)


def test_the_same_file_counts_once_and_reuse_elsewhere_is_marked(db):
    first = store(photo(), target="thing:1", purpose="after", actor=None, at=AT)
    again = store(photo(), target="thing:1", purpose="after", actor=None, at=AT)
    other = store(photo(), target="thing:2", purpose="after", actor=None, at=AT)
    assert again.pk == first.pk
    assert other.reused_from_id == first.pk
    assert [e.pk for e in of("thing:1")] == [first.pk]


@pytest.mark.parametrize("data", [b"", b"<svg onload=alert(1)>", b"GIF89a" + b"\0" * 50, b"\xff\xd8\xff\xe0 broken"])
def test_a_file_that_is_no_photo_is_refused_whatever_its_name(db, data):
    with pytest.raises(UnfitFile):
        store(ContentFile(data, name="x.jpg"), target="thing:1", purpose="after", actor=None, at=AT)
    assert not Evidence.objects.exists()


def test_distance_of_a_degree_of_latitude():
    assert distance_m((119, 32), (119, 33)) == pytest.approx(111_195, abs=10)
