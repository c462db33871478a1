"""Jobs of responsibility."""

from __future__ import annotations

from django.utils import timezone
from procrastinate.contrib.django import app

from zhenan.domains.duty.services import daily


@app.periodic(cron="5 0 * * *")
@app.task(name="duty.daily", queueing_lock="duty.daily")
def every_day(timestamp: int = 0) -> int:
    """Stop the clocks of contracts that ended; hand over the work of those that changed hands today."""
    return daily(timezone.now())
