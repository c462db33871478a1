"""Ending tasks for certain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


async def end(tasks: Iterable[asyncio.Task[Any]], *, tries: int = 20) -> None:
    """Cancel tasks and wait for their end; what they raised is not looked at.

    More than once: `asyncio.wait_for` and the broker's client may each lose a cancellation that comes together with
    what they were waiting for.
    """
    left = {task for task in tasks if not task.done()}
    for _ in range(tries):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.5)
