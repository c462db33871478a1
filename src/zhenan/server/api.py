"""The API: each room's ``api.py`` brings a ``router`` and, where it differs from the app's label, a ``prefix``.

Every refusal has one shape: ``code`` (stable), ``detail`` (a sentence), and ``errors`` by field where there are such.
"""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse
from django.views.defaults import page_not_found
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, AuthorizationError, HttpError, ValidationError
from ninja.security import django_auth

from zhenan import __version__
from zhenan.server import found

CODES = {
    400: "request.unreadable",
    401: "request.not_signed_in",
    403: "access.not_allowed",
    404: "request.not_found",
    422: "request.invalid",
}

NOT_THERE = "no such record, or beyond your reach"


def build() -> NinjaAPI:
    """One API out of all rooms' routers; everything asks for a signed-in user unless a router says otherwise."""
    whole = NinjaAPI(title="Zhen'an", version=__version__, urls_namespace="api", auth=django_auth)
    for room, module in found.modules("api"):
        whole.add_router(getattr(module, "prefix", f"/{room.label}"), module.router, tags=[room.label])
    _answer_refusals(whole)
    return whole


def _answer_refusals(whole: NinjaAPI) -> None:
    def refused(request: HttpRequest, status: int, detail: str, **more: Any) -> HttpResponse:
        code = CODES.get(status, f"request.{status}")
        return whole.create_response(request, {"code": code, "detail": detail, **more}, status=status)

    def unreadable(request: HttpRequest, err: Any) -> HttpResponse:
        errors = {".".join(map(str, one["loc"])): str(one["msg"]) for one in err.errors}
        detail = "; ".join(f"{where}: {what}" for where, what in errors.items())
        return refused(request, 422, detail, errors=errors)

    def by_status(request: HttpRequest, err: Any) -> HttpResponse:
        return refused(request, err.status_code, str(err))

    whole.add_exception_handler(ValidationError, unreadable)
    whole.add_exception_handler(HttpError, by_status)
    whole.add_exception_handler(AuthenticationError, lambda request, _err: refused(request, 401, "sign in first"))
    whole.add_exception_handler(AuthorizationError, lambda request, _err: refused(request, 403, "not allowed"))
    whole.add_exception_handler(Http404, lambda request, _err: refused(request, 404, NOT_THERE))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address that leads nowhere: in words of the API below /api/, as a page elsewhere."""
    if request.path.startswith("/api/"):
        return JsonResponse({"code": CODES[404], "detail": NOT_THERE}, status=HttpResponseNotFound.status_code)
    return page_not_found(request, exception)


api = build()
