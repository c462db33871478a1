"""Rows of readings in a body (JSON arrays, line protocol): how each fared, and the items of those read one by one."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.base import BAD, GOOD, NO_DEVICE_TIME
from zhenan.telemetry.codecs.compiled import compiled, find, find_pair, is_pair

# How a row fared. SLOW: to be read one by one.
TAKEN, SLOW, UNKNOWN, FORBIDDEN, UNMAPPED, VALUE, TIME, FUTURE, SHAPE = range(9)
WORDS: Final = (
    "taken", "slow", "unknown_device", "forbidden", "unmapped", "value", "time", "future", "shape",
)  # fmt: skip
EARLIEST_MS: Final = 10**11  # 1973: an earlier time counts seconds where milliseconds were asked for
NO_TIME: Final = -(2**62)
PAD: Final = 8  # zero bytes behind a body, so that the compiled scan need not look for its end at every step


class Item(msgspec.Struct, frozen=True, gc=False):
    """One reading as a row says it. `ts_ms` None: none was given. `value`: a number, or a word for a state."""

    row: int
    device: str
    channel: str
    ts_ms: int | None
    value: float | str


class Fault(msgspec.Struct, frozen=True, gc=False):
    """A row that cannot be read. `status`: VALUE, TIME or SHAPE; `detail`: what came and what would be right."""

    row: int
    status: int
    detail: str
    device: str = ""


class Scan(NamedTuple):
    """Rows of a body, arrays of shape (n,). The last four mean something only where `status` is TAKEN.

    `row`: its number in the body; `start`, `end`: its bytes.
    """

    status: NDArray[np.uint8]
    row: NDArray[np.int32]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    point: NDArray[np.int32]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]

    @classmethod
    def room(cls, rows: int) -> Scan:
        """For so many rows; memory is only taken where it is written to."""
        kinds: tuple[Any, ...] = (np.uint8, np.int32, np.int64, np.int64, np.int32, np.int64, np.float64, np.uint8)
        return cls._make(np.empty(rows, kind) for kind in kinds)

    def first(self, rows: int) -> Scan:
        """The first rows alone."""
        return Scan._make(column[:rows] for column in self)


def padded(body: bytes) -> NDArray[np.uint8]:
    """The body with PAD zero bytes behind it."""
    data = np.zeros(len(body) + PAD, np.uint8)
    data[: len(body)] = np.frombuffer(body, np.uint8)
    return data


@compiled
def settle(points, allowed, received, latest, data, said, out):  # type: ignore[no-untyped-def]
    """Each row of `said` becomes a reading in `out`, or gets its reason why not.

    `said`: int64, shape (n, 4), where device and channel begin and end in `data`; out.ts: the times in ms, NO_TIME
    where none was given; out.value: the numbers as they came; out.status: SLOW stays. `allowed`: uint8, one a device.
    """
    slots, hashes, starts, text = points.channels
    slots2, hashes2, starts2, text2 = points.devices
    status, point, times, values, quality = out.status, out.point, out.ts, out.value, out.quality
    ids, device, scale, offset, low, high = (
        points.point, points.device, points.scale, points.offset, points.low, points.high
    )  # fmt: skip
    after, before = points.after, 0
    for n in range(said.shape[0]):
        if status[n] == SLOW:
            continue
        first, end, first2, end2, ts = said[n, 0], said[n, 1], said[n, 2], said[n, 3], times[n]
        entry = after[before] if after.size else ids.size
        if entry >= ids.size or not is_pair(starts, text, entry, data, first, end, first2, end2):
            entry = find_pair(slots, hashes, starts, text, data, first, end, first2, end2)
            if entry >= 0:
                after[before] = entry
        if entry >= 0:
            before = entry
        if entry < 0:
            known = find(slots2, hashes2, starts2, text2, data, first, end)
            if known < 0:
                status[n] = UNKNOWN
            else:
                status[n] = UNMAPPED if allowed[known] else FORBIDDEN
        elif not allowed[device[entry]]:
            status[n] = FORBIDDEN
        elif ids[entry] < 0:
            status[n] = SLOW
        elif ts != NO_TIME and ts < EARLIEST_MS:
            status[n] = TIME
        elif ts > latest:
            status[n] = FUTURE
        else:
            number = values[n] * scale[entry] + offset[entry]
            fit = low[entry] <= number <= high[entry]
            timed = ts != NO_TIME
            status[n] = TAKEN
            point[n] = ids[entry]
            times[n] = ts if timed else received
            values[n] = number
            quality[n] = (GOOD if timed else NO_DEVICE_TIME) if fit else BAD
