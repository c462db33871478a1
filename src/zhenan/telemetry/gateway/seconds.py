"""Device clocks of the TCP protocols tick in whole seconds: what a device says twice within one is kept apart.

Without this the second word would carry the time of the first and be taken for a duplicate: a detector that reports
normal and fire within one second would never raise its alarm. The frame's own key tells a repetition from a new word
before this is asked, so a repeated frame is not spread.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.compiled import compiled

SECOND_MS: Final = 1000
_NEVER: Final = -(2**62)


class Seconds:
    """The last time of each point. Not for more than one thread."""

    def __init__(self) -> None:
        self._last: NDArray[np.int64] = np.full(1024, _NEVER, np.int64)

    def spread(self, point: NDArray[np.int32], ts: NDArray[np.int64]) -> None:
        """Readings in their order: each made later, in place, by milliseconds than what came before it in its second.

        >>> s, ts = Seconds(), np.array([5000, 5000, 5000])
        >>> s.spread(np.array([7, 7, 7], np.int32), ts)
        >>> ts.tolist()
        [5000, 5001, 5002]
        """
        if not point.size:
            return
        most = int(point.max())
        if most >= self._last.size:
            grown = np.full(max(most + 1, 2 * self._last.size), _NEVER, np.int64)
            grown[: self._last.size] = self._last
            self._last = grown
        _spread(point, ts, self._last)


@compiled
def _spread(point, ts, last):  # type: ignore[no-untyped-def]
    for n in range(point.size):
        before = last[point[n]]
        if ts[n] <= before < ts[n] // SECOND_MS * SECOND_MS + SECOND_MS - 1:
            ts[n] = before + 1
        if ts[n] > before:
            last[point[n]] = ts[n]
