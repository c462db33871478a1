"""What is slow the first time in a process, gone through when a web process starts, beside its first requests."""

from __future__ import annotations

import threading
import time

import structlog

from zhenan.kernel import slots

log = structlog.get_logger("zhenan.web")


def warm() -> None:
    """Run every warmer in turn. One that fails is logged: what it was for is then slow once, or says itself what is
    wrong."""
    for warmer in slots.warmers.ordered():
        began = time.perf_counter()
        try:
            warmer.run()
        except Exception:
            log.exception("warm.failed", what=warmer.code)
        else:
            log.info("warm.done", what=warmer.code, ms=round((time.perf_counter() - began) * 1000))


def warm_in_background() -> threading.Thread:
    """The same in a thread that ends with the process."""
    thread = threading.Thread(target=warm, name="warm", daemon=True)
    thread.start()
    return thread
