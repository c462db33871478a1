"""Short lines for the person who waits: what is being done, and how long it took."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

QUIET_S = 5  # a step that says nothing for this long is reported as still going on


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"  {line}\n")
    sys.stdout.flush()


@contextmanager
def step(name: str) -> Iterator[None]:
    """Announce a step that takes more than a second, remind every few seconds, and say how long it took."""
    began, done = time.monotonic(), threading.Event()

    def remind() -> None:
        if done.wait(1):
            return
        say(f"{name} …")
        while not done.wait(QUIET_S):
            say(f"{name} … {time.monotonic() - began:.0f} s")

    reminder = threading.Thread(target=remind, daemon=True)
    reminder.start()
    try:
        yield
    finally:
        done.set()
        reminder.join()
    took = time.monotonic() - began
    say(f"{name}: done in {took:.1f} s")
