"""People suggested while one types in a form."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from zhenan.kernel.people.forms import matching, options
from zhenan.kernel.people.models import Post

AT_MOST = 12
# Those who name others in forms; an enterprise's own people name their colleagues.
CITY_WIDE = ("contract.edit", "hazard.assign", "alarm.handle", "people.view")


@login_required
def search(request: HttpRequest) -> HttpResponse:
    """Options for a <datalist>: ``field`` names the parameter that holds the letters typed."""
    user = request.user
    text = request.GET.get(request.GET.get("field", "q"), "").strip()[:60]
    if "\x00" in text:
        return HttpResponse("")
    people = matching(text)
    offices = [p for p in user.current_posts if p.role_entry.reach != "organisation"]  # type: ignore[union-attr]
    if not user.is_superuser and not (offices and any(user.can(c) for c in CITY_WIDE)):  # type: ignore[union-attr]
        own = [p.organisation_id for p in user.current_posts]  # type: ignore[union-attr]
        colleagues = Post.objects.held_on(timezone.localdate()).filter(organisation_id__in=own)
        people = people.filter(pk__in=colleagues.values("user_id"))
    return HttpResponse(options(people[:AT_MOST]))
