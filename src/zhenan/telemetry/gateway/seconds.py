"""Device clocks of the TCP protocols tick in whole seconds: what a device says twice within one is kept apart.

Without this the second word would carry the time of the first and be taken for a duplicate: a detector that reports
normal and fire within one second would never raise its alarm. The frame's own key tells a repetition from a new word
before this is asked, so a repeated frame is not spread.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from zhenan.telemetry.codecs.base import Reading

SECOND_MS = 1000


class Seconds:
    """The last time of each channel. Not for more than one thread."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], int] = {}

    def spread(self, readings: Sequence[Reading]) -> list[Reading]:
        """The readings in their order, each later by milliseconds than what came before it in the same second.

        >>> s = Seconds()
        >>> [r.ts_ms for v in (0, 1, 1) for r in s.spread([Reading("d", "c", 5000, v, 0)])]
        [5000, 5001, 5002]
        """
        return [self._one(reading) for reading in readings]

    def _one(self, reading: Reading) -> Reading:
        channel = (reading.device, reading.channel)
        last = self._last.get(channel)
        ts = reading.ts_ms
        if last is not None and ts <= last < ts // SECOND_MS * SECOND_MS + SECOND_MS - 1:
            reading = msgspec.structs.replace(reading, ts_ms=last + 1)
        if last is None or reading.ts_ms > last:
            self._last[channel] = reading.ts_ms
        return reading
