"""Readings of points that the judge does not know yet: the gateway reads the register a moment before it does.

They are judged when the point becomes known, before anything later of it. A device that speaks only when something is
wrong may say it once: what came in that moment must not be what nobody looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns

MOST: Final = 100_000  # readings; the oldest make room
KEEP_MS: Final = 900_000  # by the log's time: what was refused for longer is of points that are gone


class Waiting:
    """At most MOST readings, none older than KEEP_MS before the newest message. `kept`: (ms, readings), in order."""

    def __init__(self, kept: Sequence[tuple[int, bytes]] = ()) -> None:
        self.kept = [(at_ms, Columns.unpack(data)) for at_ms, data in kept]

    def __len__(self) -> int:
        return sum(len(columns) for _at_ms, columns in self.kept)

    def keep(self, columns: Columns, at_ms: int) -> None:
        self.kept.append((at_ms, columns.take(np.arange(max(0, len(columns) - MOST), len(columns)))))
        too_many = len(self) - MOST
        while too_many > 0:
            at_ms, oldest = self.kept.pop(0)
            if len(oldest) > too_many:
                self.kept.insert(0, (at_ms, oldest.take(np.arange(too_many, len(oldest)))))
            too_many -= len(oldest)

    def forget(self, now_ms: int) -> None:
        """What is too old at the time of the newest message."""
        if self.kept and self.kept[0][0] < now_ms - KEEP_MS:
            self.kept = [one for one in self.kept if one[0] >= now_ms - KEEP_MS]

    def take(self, known: Callable[[NDArray[np.int32]], NDArray[Any]]) -> Columns:
        """Those of points that are known now (a mask over points), in order; they wait no more."""
        found, left = [], []
        for at_ms, columns in self.kept:
            mask = known(columns.point)
            found.append(columns.take(mask))
            if not mask.all():
                left.append((at_ms, columns.take(~mask)))
        self.kept = left
        return Columns.concat(found)

    def save(self) -> list[tuple[int, bytes]]:
        return [(at_ms, columns.pack()) for at_ms, columns in self.kept]
