"""The API: each room's ``api.py`` brings a ``router`` and, where it differs from the app's label, a ``prefix``."""

from __future__ import annotations

from ninja import NinjaAPI
from ninja.security import django_auth

from zhenan import __version__
from zhenan.server import found


def build() -> NinjaAPI:
    """One API out of all rooms' routers; everything asks for a signed-in user unless a router says otherwise."""
    whole = NinjaAPI(title="Zhen'an", version=__version__, urls_namespace="api", auth=django_auth)
    for room, module in found.modules("api"):
        whole.add_router(getattr(module, "prefix", f"/{room.label}"), module.router, tags=[room.label])
    return whole


api = build()
