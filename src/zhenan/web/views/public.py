"""Pages without sign-in."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def about(request: HttpRequest) -> HttpResponse:
    """What the platform is, for anyone."""
    return render(request, "web/public.html")


def offline(request: HttpRequest) -> HttpResponse:
    """Kept by the service worker and shown when there is no connection."""
    return render(request, "web/offline.html")
