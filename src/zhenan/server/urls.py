"""All addresses: each room's ``urls.py`` is found and put under the ``prefix`` it declares."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path

from zhenan.server import found, health, metrics
from zhenan.server.api import api


def rooms() -> list[URLPattern | URLResolver]:
    """Rooms with a prefix first, so that the shell's own pages at the root do not hide them."""
    at = [(getattr(module, "prefix", ""), module) for _, module in found.modules("urls")]
    return [path(prefix, include(module)) for prefix, module in sorted(at, key=lambda pair: pair[0] == "")]


handler404 = "zhenan.server.api.not_found"

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("metrics", metrics.page, name="metrics"),
    path("api/", api.urls),
    path("accounts/", include("allauth.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    *rooms(),
]
