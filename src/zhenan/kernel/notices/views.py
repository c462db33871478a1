"""A person's own notices."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from zhenan.kernel.access import AuthedRequest, needs
from zhenan.kernel.notices.services import mark_read

SHOWN = 200


@needs("")
def notices(request: AuthedRequest) -> HttpResponse:
    """The newest notices; ``?unread=1`` those not read yet."""
    mine = request.user.notices.all()
    only_unread = request.GET.get("unread") == "1"
    rows = (mine.unread() if only_unread else mine)[:SHOWN]
    context = {"notices": rows, "only_unread": only_unread, "unread": mine.unread().count(), "shown": SHOWN}
    return render(request, "notices/list.html", context)


@needs("")
def bell(request: AuthedRequest) -> HttpResponse:
    """The bell of the top bar, with how many are unread."""
    return render(request, "notices/_bell.html", {"unread": request.user.notices.unread().count()})


@needs("")
def open_notice(request: AuthedRequest, pk: int) -> HttpResponseRedirect:
    """Mark one's notice read and go where it points."""
    notice = get_object_or_404(request.user.notices, pk=pk)
    mark_read(request.user, pks=[pk], at=timezone.now())
    return HttpResponseRedirect(notice.url) if notice.url.startswith("/") else redirect("notices:list")


@require_POST
@needs("")
def read_all(request: AuthedRequest) -> HttpResponse:
    mark_read(request.user, pks=None, at=timezone.now())
    return redirect("notices:list")
