"""Which readings are new: the judge's rule for the latest ones, and a short memory for those that come late.

A reading at the point's last time is a duplicate, the first stands. A late one (judged by nobody, yet kept) is a
duplicate when its time is among the last `DEPTH` taken of its point: what a device sends once more after a broken
connection is never further back than that.
"""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.jit import compiled

NONE: Final = -(2**63)
DEPTH: Final = 32
NEW: Final = 0
LATE: Final = 1
DUPLICATE: Final = 2


@compiled()
def _judge(point, ts, last, ring, place, verdict):  # type: ignore[no-untyped-def]
    for i in range(point.size):
        p, t = point[i], ts[i]
        if t == last[p]:
            verdict[i] = DUPLICATE
            continue
        if t < last[p]:
            known = False
            for k in range(DEPTH):
                if ring[p, k] == t:
                    known = True
                    break
            if known:
                verdict[i] = DUPLICATE
                continue
            verdict[i] = LATE
        else:
            verdict[i] = NEW
            last[p] = t
        ring[p, place[p]] = t
        place[p] = (place[p] + 1) % DEPTH


class _Saved(msgspec.Struct):
    points: bytes
    last: bytes
    ring: bytes
    place: bytes


# made here, by one thread: of several that meet a type for the first time msgspec may crash
_DECODER: Final = msgspec.msgpack.Decoder(_Saved)


class Dedupe:
    """The memory, by point id (0 and up)."""

    def __init__(self) -> None:
        self.last: NDArray[np.int64] = np.empty(0, np.int64)
        self.ring: NDArray[np.int64] = np.empty((0, DEPTH), np.int64)
        self.place: NDArray[np.uint8] = np.empty(0, np.uint8)

    def judge(self, columns: Columns) -> NDArray[np.uint8]:
        """NEW, LATE or DUPLICATE for each reading, in their order. Point ids must not be negative."""
        verdict = np.empty(len(columns), np.uint8)
        if len(columns):
            self._grow(int(columns.point.max()) + 1)
            point, ts = np.ascontiguousarray(columns.point, np.int32), np.ascontiguousarray(columns.ts, np.int64)
            _judge(point, ts, self.last, self.ring, self.place, verdict)
        return verdict

    def _grow(self, size: int) -> None:
        have = self.last.size
        if size <= have:
            return
        more = max(size, have + have // 2) - have
        self.last = np.concatenate([self.last, np.full(more, NONE)])
        self.ring = np.concatenate([self.ring, np.full((more, DEPTH), NONE)])
        self.place = np.concatenate([self.place, np.zeros(more, np.uint8)])

    def save(self) -> bytes:
        """All of it. O(points that ever reported)."""
        points = np.flatnonzero(self.last != NONE)
        saved = _Saved(
            points.astype("<i8").tobytes(),
            self.last[points].astype("<i8").tobytes(),
            self.ring[points].astype("<i8").tobytes(),
            self.place[points].tobytes(),
        )
        return msgspec.msgpack.encode(saved)

    @classmethod
    def restore(cls, data: bytes) -> Dedupe:
        """Read `save` back. Raises msgspec.DecodeError or ValueError for what is none."""
        saved = _DECODER.decode(data)
        found = cls()
        points = np.frombuffer(saved.points, "<i8")
        if points.size:
            found._grow(int(points.max()) + 1)
            found.last[points] = np.frombuffer(saved.last, "<i8")
            found.ring[points] = np.frombuffer(saved.ring, "<i8").reshape(-1, DEPTH)
            found.place[points] = np.frombuffer(saved.place, np.uint8)
        return found
