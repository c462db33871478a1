"""`zhenan worker`: background jobs and schedules (procrastinate); each room's ``tasks.py`` is found, not listed."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, cast

import structlog

from zhenan.server import found

STALLED_S = 30
log = structlog.get_logger("zhenan.worker")


def main(argv: list[str]) -> int:
    """Work until a signal comes; a job in hand is finished first, for at most 20 seconds."""
    parser = argparse.ArgumentParser(prog="zhenan worker")
    parser.add_argument("--concurrency", type=int, default=4)
    asked = parser.parse_args(argv)
    from procrastinate.contrib.django import app

    rooms = [room.label for room, _ in found.modules("tasks")]
    log.info("worker.started", rooms=rooms, tasks=len(app.tasks), concurrency=asked.concurrency)
    asyncio.run(work(asked.concurrency))
    return 0


async def work(concurrency: int) -> None:
    """One worker on all queues, with a connection pool of its own."""
    from procrastinate.contrib.django import app
    from procrastinate.contrib.django.django_connector import DjangoConnector

    connector = cast(DjangoConnector, app.connector).get_worker_connector()
    with app.replace_connector(connector) as own:
        async with own.open_async():
            rescue = asyncio.create_task(rescue_stalled(own))
            try:
                await own.run_worker_async(
                    concurrency=concurrency, shutdown_graceful_timeout=20, delete_jobs="successful"
                )
            finally:
                rescue.cancel()


async def rescue_stalled(own: Any) -> None:
    """Jobs that a killed worker had in hand go back into the queue (tasks are idempotent by design)."""
    while True:
        for job in await own.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_S):
            log.warning("worker.job_rescued", job=job.id, task=job.task_name)
            await own.job_manager.retry_job(job)
        await asyncio.sleep(STALLED_S)
