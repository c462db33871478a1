"""Jobs of deadlines."""

from __future__ import annotations

from django.utils import timezone
from procrastinate.contrib.django import app

from zhenan.kernel.workflow.services import tick


@app.periodic(cron="* * * * * */15")  # every 15 s: an alarm's response time is minutes
@app.task(name="workflow.tick", queueing_lock="workflow.tick", lock="workflow.tick")
def walk_deadlines(timestamp: int = 0) -> int:
    """Walk the deadlines whose next step has come."""
    return tick(timezone.now())
