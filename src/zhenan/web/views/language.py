"""Choosing the language."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from zhenan.kernel.people.models import User
from zhenan.web.accounts import remember_language


@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    """Remember the language in a cookie, and on the account of who is signed in; back to the page."""
    language = request.POST.get("language", "")
    if language not in dict(settings.LANGUAGES):
        return HttpResponseBadRequest(_("No such language; choose zh-hans or en."))
    after = request.POST.get("next", "/")
    if not url_has_allowed_host_and_scheme(after, {request.get_host()}, require_https=request.is_secure()):
        after = "/"
    if isinstance(request.user, User) and request.user.language != language:
        User.objects.filter(pk=request.user.pk).update(language=language)
    answer = HttpResponseRedirect(after)
    remember_language(answer, language)
    return answer
