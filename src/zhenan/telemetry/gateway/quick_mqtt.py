"""Messages of MQTT devices, many at once: what is plainly a sample by the compiled loop, each other in its place.

The log is the same as of one message after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray

from zhenan.telemetry.codecs import samples
from zhenan.telemetry.codecs.compiled import Points
from zhenan.telemetry.codecs.samples import Payloads
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway import bulk
from zhenan.telemetry.gateway.bulk import PROTOCOL
from zhenan.telemetry.gateway.counters import Counters
from zhenan.telemetry.gateway.intake import Intake
from zhenan.telemetry.gateway.limits import Buckets
from zhenan.telemetry.gateway.registry import FUTURE_MS, Device, Register, Registry

MESSAGES: Final = 8192  # looked at together
READINGS: Final = max(131_072, samples.READINGS)
FEW: Final = 3  # up to so many are read sooner one by one
log = structlog.get_logger("zhenan.gateway")
Singly = Callable[[int], asyncio.Future[None] | None]


class Known(NamedTuple):
    """The register as the loop wants it. `plain`: whether a device's payloads are in the platform's own shape."""

    devices: list[Device]
    points: Points
    plain: NDArray[np.uint8]


def known_of(register: Register) -> Known:
    """For `Register.derived`."""
    points, _, devices = register.derived(bulk.known_of)
    return Known(devices, points, np.array([device.layout is None for device in devices], np.uint8))


class QuickMqtt:
    """Takes messages by the register as it is now."""

    def __init__(self, registry: Registry, intake: Intake, counters: Counters) -> None:
        self.registry, self.intake, self.counters = registry, intake, counters
        self._room = samples.Room.of(MESSAGES, READINGS)
        self.ready = False

    async def warm(self) -> None:
        """Compile (or load) the loop now. Until that is done every message is read singly: devices need not wait for
        the compiler."""
        try:
            await asyncio.to_thread(warm_up)
            await asyncio.to_thread(self.registry.now.derived, known_of)
        except Exception as err:  # whatever the compiler had: messages are read singly from now on, and it is said
            log.exception("gateway.not_compiled", protocol=PROTOCOL, error=repr(err))
            return
        self.ready = True

    def take(
        self, data: NDArray[np.uint8], payloads: Payloads, at_ms: int, singly: Singly,
        queued: NDArray[np.int64] | None = None, buckets: Buckets | None = None,
    ) -> asyncio.Future[None] | None:  # fmt: skip
        """All of these messages, in their order; the future resolves when they are on disk.

        Args:
            singly: takes one of them by its number.
            queued: of each, its place in the broker's queue. Then `at_ms` is when the first came there, and one
                without a time of its own is read singly: its time is that of its coming.
            buckets: of devices' shares. Messages of one that has used up its share are read singly.
        """
        done: asyncio.Future[None] | None = None
        if not self.ready or payloads.start.size <= FEW:
            for n in range(payloads.start.size):
                done = singly(n) or done
            return done
        known, room = self.registry.now.derived(known_of), self._room
        at = 0
        while at < payloads.start.size:
            rest = payloads.behind(at)
            count = samples.scan(data, rest, known.points, known.plain, at_ms, at_ms + FUTURE_MS, room)
            plain, last = room.plain[:count], room.last[:count]
            plain[last - room.first[:count] > self.intake.most] = 0
            if queued is not None:
                plain[room.timed[:count] == 0] = 0
            if buckets is not None:
                self._share(known, room.device[:count], plain, buckets, at_ms)
            # Where a run of plain ones ends or begins.
            turns = [0, *(np.flatnonzero(np.diff(plain)) + 1).tolist(), count]
            for first, end in pairwise(turns):
                if plain[first]:
                    done = self._run(first, end, None if queued is None else queued[at:])
                else:
                    for n in range(first, end):
                        done = singly(at + n) or done
            at += count
        return done

    def _share(
        self, known: Known, device: NDArray[np.int64], plain: NDArray[np.uint8], buckets: Buckets, at_ms: int
    ) -> None:
        counts = np.bincount(device[plain != 0], minlength=0)
        for number in np.flatnonzero(counts).tolist():
            bucket = buckets.of(known.devices[number].key, at_ms)
            if not bucket.take_all(int(counts[number]), at_ms):
                plain[device == number] = 0

    def _run(self, first: int, last: int, queued: NDArray[np.int64] | None) -> asyncio.Future[None]:
        """Plain messages first … last - 1 of those just looked at."""
        self.counters.add("frames", PROTOCOL, last - first)
        rows, begins, ends = self._room.rows, self._room.first, self._room.last
        while True:
            begin, upto = int(begins[first]), last
            if ends[last - 1] - begin > self.intake.most:  # a message stays in one commit
                upto = first + int(np.searchsorted(ends[first:last], begin + self.intake.most, "right"))
            which = slice(begin, int(ends[upto - 1]))
            columns = Columns(
                rows.point[which].copy(), rows.ts[which].copy(), rows.value[which].copy(), rows.quality[which].copy()
            )
            seq = 0 if queued is None else int(queued[upto - 1])
            done = self.intake.take(columns, source_seq=seq)
            if upto == last:
                return done
            first = upto


def warm_up() -> None:
    """Compile the loop."""
    data = np.frombuffer(b"d{}" + bytes(8), np.uint8)
    one = Payloads(*(np.array([place]) for place in (0, 1, 1, 3)))
    samples.scan(data, one, bulk.points_of([]), np.zeros(0, np.uint8), 0, 0, samples.Room.of(1, samples.MOST + 1))
