"""Asking the broker until it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from zhenan.telemetry.log.connect import PASSING

log = structlog.get_logger("zhenan.log")
T = TypeVar("T")


async def retried(call: Callable[[], Awaitable[T]], what: str) -> T:
    """The answer to a call, made until the broker gives one."""
    while True:
        try:
            return await call()
        except PASSING as err:
            log.warning("broker.no_answer", asked=what, error=str(err) or type(err).__name__)
            await asyncio.sleep(0.2)
