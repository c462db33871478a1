"""A point's readings as a file: what its chart shows, not thinned."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.utils.translation import gettext as _

from zhenan.domains.monitoring import series
from zhenan.domains.monitoring.models import Device, Point
from zhenan.domains.monitoring.views import _time
from zhenan.kernel.access import AuthedRequest, needs

TYPES = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
MOST = timedelta(days=400)


@needs("alarm.view")
def export(request: AuthedRequest, pk: int) -> HttpResponse | StreamingHttpResponse:
    """From `since` to `until` (left out: the last 24 hours), `format` csv or parquet, `resolution` raw, hour or day."""
    devices = Device.objects.visible_to(request.user)
    point = get_object_or_404(Point.objects.filter(device__in=devices).select_related("device"), pk=pk)
    until = _time(request, "until") or timezone.now()
    since = _time(request, "since") or until - timedelta(hours=24)
    form = request.GET.get("format", "csv")
    if not timedelta(0) < until - since <= MOST:
        return JsonResponse({"error": _("Give a period of up to 400 days: since before until.")}, status=400)
    try:
        parts = series.export(point, since=since, until=until, form=form, resolution=request.GET.get("resolution", ""))
    except ValueError as err:
        return JsonResponse({"error": str(err)}, status=400)
    answer = StreamingHttpResponse(parts, content_type=TYPES[form])
    days = f"{timezone.localtime(since):%Y%m%d}-{timezone.localtime(until):%Y%m%d}"
    name = f"{point.device.key}-{point.measure}-{days}.{form}"
    safe = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-_.") else "_" for letter in name)
    answer["Content-Disposition"] = f'attachment; filename="{safe}"'
    return answer
