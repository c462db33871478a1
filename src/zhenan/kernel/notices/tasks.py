"""Jobs of notices."""

from __future__ import annotations

from contextlib import suppress

from django.db import transaction
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.exceptions import AlreadyEnqueued

from zhenan.kernel.notices.services import deliver_due


@app.periodic(cron="* * * * *")
@app.task(name="notices.deliver_waiting", queueing_lock="deliver_waiting", pass_context=False)
def deliver_waiting(timestamp: int = 0) -> int:
    """Send what waits; runs every minute and whenever something new is queued."""
    return deliver_due(timezone.now())


def wake() -> None:
    """Ask the worker to send soon. Nothing to do when a run is queued already."""
    with (
        suppress(AlreadyEnqueued),
        transaction.atomic(),
    ):  # the savepoint keeps a refused insert from spoiling the change
        deliver_waiting.defer()
