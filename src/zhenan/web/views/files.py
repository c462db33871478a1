"""The two files of an installable web application that must sit at the root."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.templatetags.static import static
from django.utils.translation import gettext as _

STATIC = Path(__file__).resolve().parents[1] / "static" / "web"


@lru_cache(maxsize=1)
def _worker() -> str:
    """The service worker with a version that changes whenever our own static files do."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return (STATIC / "sw.js").read_text("utf-8").replace("{{version}}", digest.hexdigest()[:12])


def service_worker(request: HttpRequest) -> HttpResponse:
    source = (STATIC / "sw.js").read_text("utf-8") if settings.DEBUG else _worker()
    return HttpResponse(source, content_type="text/javascript; charset=utf-8", headers={"Cache-Control": "no-cache"})


def manifest(request: HttpRequest) -> JsonResponse:
    sizes = ((192, "any"), (512, "any"), (512, "maskable"))
    answer = JsonResponse(
        {
            "name": _("Zhen'an safety platform"),
            "short_name": _("Zhen'an"),
            "start_url": "/",
            "scope": "/",
            "display": "standalone",
            "background_color": "#14365f",
            "theme_color": "#14365f",
            "lang": getattr(request, "LANGUAGE_CODE", settings.LANGUAGE_CODE),
            "icons": [
                {"src": static(f"web/icon-{n}.png"), "sizes": f"{n}x{n}", "type": "image/png", "purpose": purpose}
                for n, purpose in sizes
            ],
        }
    )
    answer["Content-Type"] = "application/manifest+json"
    return answer
