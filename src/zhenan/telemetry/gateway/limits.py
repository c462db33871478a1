"""Token buckets: so many at once, so many a second, each device for itself."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_KEPT: Final = 200_000


class Bucket:
    """Full at first. Times are in milliseconds and may stand still; going back they count as standing still."""

    __slots__ = ("at_ms", "burst", "left", "per_ms")

    def __init__(self, rate_per_s: float, burst: float, now_ms: int) -> None:
        self.per_ms, self.burst, self.left, self.at_ms = rate_per_s / 1000, burst, burst, now_ms

    def take(self, now_ms: int) -> bool:
        """One token, if there is one."""
        self._fill(now_ms)
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def take_all(self, tokens: int, now_ms: int) -> bool:
        """So many tokens, if they are all there; else none."""
        self._fill(now_ms)
        if self.left < tokens:
            return False
        self.left -= tokens
        return True

    def wait_ms(self, now_ms: int) -> float:
        """Take a token in any case, and return how long its bearer must wait for it."""
        self._fill(now_ms)
        self.left -= 1
        return 0.0 if self.left >= 0 else -self.left / self.per_ms

    def spend(self, tokens: float, now_ms: int) -> None:
        """Take so many, whether they are there or not."""
        self._fill(now_ms)
        self.left -= tokens

    def missing_ms(self, now_ms: int) -> float:
        """How long until nothing is owed; 0 when something is left."""
        self._fill(now_ms)
        return 0.0 if self.left > 0 else (1 - self.left) / self.per_ms

    def _fill(self, now_ms: int) -> None:
        if now_ms > self.at_ms:
            self.left = min(self.burst, self.left + (now_ms - self.at_ms) * self.per_ms)
            self.at_ms = now_ms


class Buckets:
    """A bucket a device; those longest unused are forgotten (and are full when they come again)."""

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s, self.burst = rate_per_s, burst
        self._known: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, device: str, now_ms: int) -> Bucket:
        found = self._known.get(device)
        if found is None:
            found = self._known[device] = Bucket(self.rate_per_s, self.burst, now_ms)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(device)
        return found
