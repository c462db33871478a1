"""Jobs of monitoring."""

from __future__ import annotations

from django.utils import timezone
from procrastinate.contrib.django import app

from zhenan.domains.monitoring.recording import release_held


@app.periodic(cron="* * * * * */15")
@app.task(name="monitoring.release_held", queueing_lock="monitoring.release_held", lock="monitoring.release_held")
def raise_what_was_held(timestamp: int = 0) -> int:
    """Raise what was held by maintenance that is over, or waited in vain for word of a parent."""
    return len(release_held(at=timezone.now()).raised)
