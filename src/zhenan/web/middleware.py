"""What every page's answer carries: the language chosen, the content policy, messages for partial pages."""

from __future__ import annotations

import json
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.messages import get_messages
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin

TIANDITU = "https://*.tianditu.gov.cn"


class LanguageByChoice(MiddlewareMixin):
    """The language of the cookie, else the city's (settings.LANGUAGE_CODE): never the browser's guess."""

    def process_request(self, request: HttpRequest) -> None:
        asked = request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, "")
        known = dict(settings.LANGUAGES)
        translation.activate(asked if asked in known else settings.LANGUAGE_CODE)
        request.LANGUAGE_CODE = translation.get_language()

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        patch_vary_headers(response, ["Cookie"])
        response.headers.setdefault("Content-Language", translation.get_language() or settings.LANGUAGE_CODE)
        return response


def content_policy() -> str:
    """Everything from this server; MapLibre and ECharts write style attributes, MapLibre runs a worker."""
    tiles = f" {TIANDITU}" if getattr(settings, "TIANDITU_KEY", "") else ""
    return (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        f"img-src 'self' data: blob:{tiles}; font-src 'self' data:; connect-src 'self'{tiles}; "
        "worker-src 'self' blob:; manifest-src 'self'; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'self'"
    )


class ShellHeaders:
    """The content policy on every answer that has none, and pending messages in the header of htmx answers."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        self.policy = content_policy()
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self.get_response):
            return self._async(request)
        return self._finish(request, self.get_response(request))

    async def _async(self, request: HttpRequest) -> HttpResponse:
        return self._finish(request, await self.get_response(request))

    def _finish(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.headers.setdefault("Content-Security-Policy", self.policy)
        response.headers.setdefault("Permissions-Policy", "geolocation=(self), camera=(self), microphone=()")
        if self._is_partial(request, response):
            texts = [{"level": m.level_tag, "text": str(m)} for m in get_messages(request)]
            if texts:
                response["HX-Trigger"] = json.dumps({"toasts": texts})  # ASCII: headers carry no Chinese
        return response

    @staticmethod
    def _is_partial(request: HttpRequest, response: HttpResponse) -> bool:
        if "HX-Request" not in request.headers or "HX-Boosted" in request.headers or "HX-Trigger" in response:
            return False
        return response.status_code < 300 and "HX-Redirect" not in response and "HX-Refresh" not in response
