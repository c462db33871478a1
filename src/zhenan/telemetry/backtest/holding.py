"""Which of the alarms found people would have been told of, and when: maintenance, and a gateway that was gone, hold
alarms back as the live recorder holds them.

Plain data in, columns out. What a gateway's alarm does not tell is not known: when it was last heard of, for one. Then
a silence behind it is taken as told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.backtest.found import OPEN

AT_ONCE: Final = 0  # why an alarm was held back:
MAINTENANCE: Final = 1
PARENT: Final = 2


class Span(NamedTuple):
    """A maintenance window, ms UTC: start included, end excluded."""

    start: int
    end: int


class Gone(NamedTuple):
    """An alarm of a gateway that takes the silences behind it, ms UTC; `cleared` is OPEN where it stands. `heard`: the
    last that was heard of the gateway before it, at the latest; OPEN where the alarm does not tell."""

    raised: int
    cleared: int
    heard: int


@dataclass(frozen=True)
class Quiet:
    """What held alarms back. `windows`: by device; `gone`: by device, the alarms of its gateway. `wait_ms`: how long a
    silence waits for word of the gateway; `alive_ms`: heard of so recently, the gateway is alive."""

    windows: dict[int, tuple[Span, ...]] = field(default_factory=dict)
    gone: dict[int, tuple[Gone, ...]] = field(default_factory=dict)
    wait_ms: int = 0
    alive_ms: int = 0

    def told(
        self, device: NDArray[np.int64], raised: NDArray[np.int64], cleared: NDArray[np.int64],
        silence: NDArray[np.bool_], until_ms: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:  # fmt: skip
        """When people are told of each alarm (OPEN: not before `until_ms`), and what held it back last; shape (n,)."""
        told, why = raised.copy(), np.zeros(raised.size, np.uint8)
        concerned = np.isin(device, list(self.windows)) | (silence & np.isin(device, list(self.gone)))
        for i in np.flatnonzero(concerned).tolist():
            at, why[i] = self._told(int(device[i]), int(raised[i]), int(cleared[i]), bool(silence[i]))
            told[i] = at if at < until_ms else OPEN
        return told, why

    def _told(self, device: int, raised: int, cleared: int, silence: bool) -> tuple[int, int]:
        at, why = raised, AT_ONCE
        while (held := self._held(device, at, silence, waited=at > raised)) is not None:
            until, why = held
            if cleared <= until:
                return OPEN, why
            at = until  # it still stands: one reason is over, another may hold
        return at, why

    def _held(self, device: int, at: int, silence: bool, *, waited: bool) -> tuple[int, int] | None:
        """Until when what is raised at `at` is held back, and why; None where people are told."""
        ends = [span.end for span in self.windows.get(device, ()) if span.start <= at < span.end]
        if ends:
            return max(ends), MAINTENANCE
        for gone in self.gone.get(device, ()) if silence else ():
            stands = gone.raised <= at < gone.cleared
            comes = not waited and at < gone.raised <= at + self.wait_ms and gone.heard <= at - self.alive_ms
            if stands or comes:
                return gone.cleared if gone.cleared == OPEN else gone.cleared + self.wait_ms, PARENT
        return None
