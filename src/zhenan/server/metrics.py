"""Figures about the platform itself as Prometheus text: requests here, and what the other processes wrote down.

A process that serves no pages calls ``write("gateway", registry)`` every few seconds; /metrics appends its text.
Anything registered with prometheus_client's default registry inside the web process appears by itself.
"""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    write_to_textfile,
)

from zhenan.server import config

FRESH_S = 120  # text older than this is of a process that has ended
REQUESTS = Counter("zhenan_http_requests", "Requests answered", ["method", "route", "status"])
LATENCY = Histogram(
    "zhenan_http_request_seconds",
    "Time from request to the answer's first byte",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2.5, 5, 10),
)


def folder() -> Path:
    """Where the other processes leave their figures."""
    return config.data_dir() / "run" / "metrics"


def write(name: str, registry: CollectorRegistry) -> None:
    """Leave a process's figures for /metrics. Names of the figures must be the process's own."""
    folder().mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(folder() / f"{name}.prom"), registry)


def exposition() -> bytes:
    """All figures as Prometheus text."""
    parts = [generate_latest(REGISTRY)]
    for path in sorted(folder().glob("*.prom")):
        if time.time() - path.stat().st_mtime < FRESH_S:
            parts.append(path.read_bytes())
    return b"".join(parts)


def page(request: HttpRequest) -> HttpResponse:
    """For this machine without a token; for others with ``Authorization: Bearer`` and ZHENAN_METRICS_TOKEN."""
    token = os.environ.get("ZHENAN_METRICS_TOKEN", "")
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    local = request.META.get("REMOTE_ADDR", "") in ("127.0.0.1", "::1") and "X-Forwarded-For" not in request.headers
    if not local and not (token and hmac.compare_digest(given, token)):
        return HttpResponse(
            "metrics: from this machine only, or with ZHENAN_METRICS_TOKEN\n", status=403, content_type="text/plain"
        )
    return HttpResponse(exposition(), content_type=CONTENT_TYPE_LATEST)


class MetricsMiddleware:
    """Count and time requests by route, so that ids in addresses do not multiply the series."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        if iscoroutinefunction(self.get_response):
            return self._async(request)
        started = time.perf_counter()
        return self._count(request, self.get_response(request), started)

    async def _async(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        return self._count(request, await self.get_response(request), started)

    @staticmethod
    def _count(request: HttpRequest, response: HttpResponse, started: float) -> HttpResponse:
        match = request.resolver_match
        route = f"/{match.route}" if match else ("/static/" if request.path.startswith("/static/") else "none")
        method = request.method or "?"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        LATENCY.labels(method, route).observe(time.perf_counter() - started)
        return response
