"""Sign-in as allauth does it, without self-registration: accounts are made by administrators."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest, HttpResponse


class ClosedSignup(DefaultAccountAdapter):
    """No sign-up page; after sign-in the pages speak the person's own language."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> HttpResponse:
        response = super().post_login(request, user, **kwargs)
        remember_language(response, user.language)
        return response


def remember_language(response: HttpResponse, language: str) -> None:
    """Keep the choice in Django's language cookie for a year."""
    response.set_cookie(settings.LANGUAGE_COOKIE_NAME, language, max_age=365 * 86400, samesite="Lax", httponly=True)
