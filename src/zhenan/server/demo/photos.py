"""Evidence photos of the demo city: drawn, small, and marked 演示 (for demonstration) on their face."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256

import numpy as np
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from PIL import Image, ImageDraw

from zhenan.kernel.evidence.models import ALLOWED, Evidence
from zhenan.server.demo.copying import copy_in

KINDS = 12  # different drawings; each photo's bytes are its own nevertheless
WIDTH, HEIGHT = 360, 270
# The two characters as 24 x 24 dots, a row a number: no font with Chinese characters need be installed.
YAN = (
    "000f00 180700 3ffffc 1ffffc 05c00c 01c00c 01fffc 207ff0 780700 7c0700 38fffc 08fffc "
    "00e71c 00fffc 0efffc 0ee71c 1ce71c 1cfffc 1cfffc 383860 38f8f8 7bf03c 11c01c 000008"
)
SHI = (
    "000000 000000 1ffff0 1ffff0 1ffff0 000000 000000 000000 7ffffe 7ffffe 7ffffe 003c00 "
    "003c00 0e3c60 0e3cf0 0e3c70 1e3c38 3c3c3c 3c3c1c 783c1c 703c1e 01fc08 01f800 01f000"
)


@dataclass(frozen=True)
class Shot:
    """A photo to keep: of which object (its key), for which purpose, by whom, when and where."""

    target: str
    purpose: str
    by_id: int | None
    at: datetime
    lon: float | None = None
    lat: float | None = None
    distance_m: float | None = None


def photo(words: str) -> UploadedFile:
    """A file as a phone would send it; the same words give the same bytes, other words other bytes."""
    name = f"demo-{sha256(words.encode()).hexdigest()[:8]}.jpg"
    return SimpleUploadedFile(name, _bytes(words), ALLOWED["JPEG"][1])


def keep(shots: Iterable[Shot]) -> int:
    """Store many photos at once, as ``evidence.store`` would one by one. Returns how many."""
    rows = list(_rows(shots))
    copy_in(rows)
    return len(rows)


def _rows(shots: Iterable[Shot]) -> Iterator[Evidence]:
    suffix, content_type = ALLOWED["JPEG"]
    storage = Evidence._meta.get_field("file").storage
    for shot in shots:
        words = f"{shot.target}/{shot.purpose}/{shot.at.isoformat()}"
        data = _bytes(words)
        digest = sha256(data).hexdigest()
        name = storage.save(f"{digest[:2]}/{digest}{suffix}", ContentFile(data))
        yield Evidence(
            target=shot.target, purpose=shot.purpose, file=name, thumbnail=_drawn(_kind(words))[1], suffix=suffix,
            name=f"demo-{digest[:8]}{suffix}", content_type=content_type, sha256=digest, size_bytes=len(data),
            width_px=WIDTH, height_px=HEIGHT, taken_at=shot.at, lon=shot.lon, lat=shot.lat,
            distance_m=shot.distance_m, uploaded_by_id=shot.by_id, uploaded_at=shot.at,
        )  # fmt: skip


def _kind(words: str) -> int:
    return sha256(words.encode()).digest()[0] % KINDS


def _bytes(words: str) -> bytes:
    """The drawing with the words as a JPEG comment: the file is unique, as two photos always are."""
    drawing = _drawn(_kind(words))[0]
    comment = f"synthetic {words}".encode()[:60_000]
    return drawing[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + drawing[2:]


@lru_cache(maxsize=KINDS)
def _drawn(kind: int) -> tuple[bytes, bytes]:
    """A drawing as JPEG, and its thumbnail."""
    rng = np.random.default_rng(kind)
    base = rng.integers(70, 170, 3)
    shade = np.linspace(1.15, 0.75, HEIGHT)[:, None, None] * base + rng.normal(0, 6, (HEIGHT, WIDTH, 1))
    image = Image.fromarray(np.clip(shade, 0, 255).astype(np.uint8), "RGB")
    draw = ImageDraw.Draw(image)
    for _ in range(7):
        x, y = int(rng.integers(0, WIDTH - 60)), int(rng.integers(60, HEIGHT - 30))
        colour = tuple(int(c) for c in rng.integers(30, 230, 3))
        draw.rectangle(
            (x, y, x + int(rng.integers(25, 110)), y + int(rng.integers(20, 90))), fill=colour, outline=(40, 40, 40)
        )
    draw.rectangle((8, 8, 124, 64), fill=(255, 255, 255))
    for place, glyph in enumerate((YAN, SHI)):
        _stamp(image, glyph, 14 + 54 * place, 12)
    whole, small = io.BytesIO(), io.BytesIO()
    image.save(whole, "JPEG", quality=70)
    image.save(small, "JPEG", quality=60)
    return whole.getvalue(), small.getvalue()


def _stamp(image: Image.Image, glyph: str, left: int, top: int) -> None:
    for y, row in enumerate(glyph.split()):
        dots = int(row, 16)
        for x in range(24):
            if dots >> (23 - x) & 1:
                image.paste((200, 30, 30), (left + 2 * x, top + 2 * y, left + 2 * x + 2, top + 2 * y + 2))
