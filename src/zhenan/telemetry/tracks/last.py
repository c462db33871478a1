"""Where each vehicle is now: its newest position and, where that is unusable, the newest usable one."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.tracks.columns import PositionColumns

NONE = -(2**63)


class LastPositions:
    """By vehicle id, in arrays. `heard`: when anything came; `at`: the last usable position."""

    def __init__(self) -> None:
        self.heard: NDArray[np.int64] = np.empty(0, np.int64)
        self.at = PositionColumns.empty()

    def note(self, positions: PositionColumns) -> None:
        """Take positions, in any order; older ones change nothing."""
        if not len(positions):
            return
        self._grow(int(positions.vehicle.max()) + 1)
        np.maximum.at(self.heard, positions.vehicle, positions.ts)
        good = positions.take(positions.quality != 1)
        order = np.lexsort((good.ts, good.vehicle))
        good = good.take(order)
        if not len(good):
            return
        newest = good.take(np.append(good.vehicle[1:] != good.vehicle[:-1], True))
        newest = newest.take(newest.ts > self.at.ts[newest.vehicle])
        for mine, theirs in zip(self.at.arrays(), newest.arrays(), strict=True):
            mine[newest.vehicle] = theirs

    def _grow(self, size: int) -> None:
        more = max(size, self.heard.size * 3 // 2) - self.heard.size
        if size <= self.heard.size:
            return
        self.heard = np.concatenate([self.heard, np.full(more, NONE)])
        blank = PositionColumns.of(*(np.zeros(more),) * 8)
        blank.ts[:] = NONE
        self.at = PositionColumns.concat([self.at, blank]) if len(self.at) else blank

    def all(self) -> PositionColumns:
        """The last usable position of every vehicle that has one."""
        return self.at.take(self.at.ts != NONE)

    def save(self) -> bytes:
        """All of it."""
        heard = np.flatnonzero(self.heard != NONE)
        parts = (heard.astype("<i8").tobytes(), self.heard[heard].astype("<i8").tobytes(), self.all().pack())
        return msgspec.msgpack.encode(parts)

    @classmethod
    def restore(cls, data: bytes) -> LastPositions:
        """Read `save` back. Raises msgspec.DecodeError or ValueError for what is none."""
        vehicles, heard, positions = msgspec.msgpack.decode(data, type=tuple[bytes, bytes, bytes])
        found = cls()
        found.note(PositionColumns.unpack(positions))
        numbers = np.frombuffer(vehicles, "<i8")
        if numbers.size:
            found._grow(int(numbers.max()) + 1)
            found.heard[numbers] = np.frombuffer(heard, "<i8")
        return found
