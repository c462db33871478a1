"""Fences over positions: who came in, stayed too long, drove too fast and left, each once, after any replay."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

import msgspec
import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.tracks import fence_core as core
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns
from zhenan.telemetry.tracks.fences import METRES_LAT, Fence, plane

KINDS: Final = ("enter", "leave", "dwell", "speed", "speed_end")
SHAPES: Final = {"circle": core.CIRCLE, "polygon": core.POLYGON, "corridor": core.CORRIDOR}
WIDE_CELLS: Final = 200_000  # a fence over more cells of the grid is looked at for every position instead
MOST_KMH: Final = 200.0  # configurable: faster than this nobody drives, so the place is doubtful
_SPACE: Final = UUID("5c1f0e1e-8f5b-5b0e-9d53-0e5a4d7c1f42")


class FenceEvent(NamedTuple):
    """One transition. `onset`: when the stay (enter, leave, dwell) or the speeding began. `value`: km/h for enter,
    speed and speed_end; seconds of the stay for leave and dwell."""

    vehicle: int
    fence: str
    version: int
    kind: str
    ts: int
    onset: int
    value: float

    @property
    def id(self) -> UUID:
        """The same for the same event, whoever finds it and however often."""
        return uuid5(_SPACE, f"{self.vehicle}|{self.fence}|{self.version}|{self.kind}|{self.onset}")


class VehicleKind(NamedTuple):
    """Numbers of the classes of a vehicle and of its goods, 0 to 62; -1: not known."""

    vehicle_class: int = -1
    goods: int = -1


@dataclass
class Counts:
    """Verdicts since the beginning. `crowded`: entries not followed because the vehicle was in 16 fences already."""

    positions: int = 0
    judged: int = 0
    late: int = 0
    duplicate: int = 0
    unfit: int = 0
    jumps: int = 0
    refused: int = 0
    crowded: int = 0


class _Saved(msgspec.Struct):
    fences: list[str]
    vehicles: bytes
    last: bytes
    slots: bytes
    since: bytes
    told: bytes
    speeding: bytes


class FenceJudge:
    """Judges positions in the order in which they came. For one thread at a time.

    Late, duplicate and unfit positions and places that cannot have been reached are not judged (and stay in history).
    Args:
        kinds: the classes of each vehicle; one left out is of no known class.
        offset_ms: local time of the windows.
    """

    def __init__(
        self, fences: Sequence[Fence], kinds: Mapping[int, VehicleKind] | None = None, *,
        offset_ms: int = 8 * 3_600_000, most_kmh: float = MOST_KMH,
    ) -> None:  # fmt: skip
        keys = [fence.key for fence in fences]
        if len(set(keys)) != len(keys):
            raise ValueError("versions of a fence must differ")
        self.fences = tuple(fences)
        self.offset_ms, self.most_kmh = offset_ms, most_kmh
        self.counts = Counts()
        self._table = _table(self.fences)
        self._out = np.empty((4096, 5), np.int64)
        self._values = np.empty(self._out.shape[0])
        self._kinds = dict(kinds or {})
        self._size = 0
        self._last = np.empty((0, 7), np.int64)
        self._slots = np.empty((0, core.SLOTS), np.int32)
        self._since = np.empty((0, core.SLOTS), np.int64)
        self._told = np.empty((0, core.SLOTS), np.uint8)
        self._speeding = np.empty((0, core.SLOTS), np.int64)
        self._class = np.empty(0, np.int64)
        self._goods = np.empty(0, np.int64)
        self._grow(max(self._kinds, default=0) + 1)

    def _grow(self, size: int) -> None:
        if size <= self._size:
            return
        more = max(size, self._size * 3 // 2) - self._size

        def longer(array: NDArray[Any], fill: int) -> NDArray[Any]:
            return np.concatenate([array, np.full((more, *array.shape[1:]), fill, array.dtype)])

        self._last, self._slots = longer(self._last, core.NONE), longer(self._slots, -1)
        self._since, self._told = longer(self._since, core.NONE), longer(self._told, 0)
        self._speeding = longer(self._speeding, core.NONE)
        self._class, self._goods = longer(self._class, -1), longer(self._goods, -1)
        for vehicle, kind in self._kinds.items():
            if self._size <= vehicle < self._size + more:
                self._class[vehicle], self._goods[vehicle] = kind
        self._size += more

    def reclass(self, kinds: Mapping[int, VehicleKind]) -> None:
        """From the next position on these vehicles are of these classes; in which fence each is stays."""
        self._kinds |= kinds
        for vehicle, kind in kinds.items():
            if vehicle < self._size:
                self._class[vehicle], self._goods[vehicle] = kind

    def judge(self, positions: PositionColumns) -> tuple[list[FenceEvent], NDArray[np.uint8]]:
        """The events in the order of their positions, and the verdict on each position (codes of fence_core)."""
        n = len(positions)
        verdict = np.empty(n, np.uint8)
        if not n:
            return [], verdict
        if int(positions.vehicle.min()) < 0:
            raise ValueError(f"a vehicle's id is a positive number; got {int(positions.vehicle.min())}")
        self._grow(int(positions.vehicle.max()) + 1)
        columns = [
            _column(column, kind)
            for column, kind in (
                (positions.vehicle, np.int32), (positions.ts, np.int64), (positions.lat, np.int32),
                (positions.lon, np.int32), (positions.speed, np.uint16), (positions.quality, np.uint8),
            )
        ]  # fmt: skip
        crowded, events, done, t = np.zeros(1, np.int64), [], 0, self._table
        while done < n:
            done, written = core.judge_columns(  # type: ignore[call-arg]
                done, *columns, self._class, self._goods, self.offset_ms, self.most_kmh, verdict, crowded,
                self._last, self._slots, self._since, self._told, self._speeding, t.ints, t.floats, t.xs, t.ys,
                t.windows, t.cells, t.cell_at, t.cell_fences, t.wide, self._out, self._values,
            )  # fmt: skip
            events += self._events(written)
        self._count(verdict, int(crowded[0]))
        return events, verdict

    def _events(self, written: int) -> list[FenceEvent]:
        rows = zip(self._out[:written].tolist(), self._values[:written].tolist(), strict=True)
        found = []
        for (vehicle, fence, kind, ts, onset), value in rows:
            which = self.fences[fence]
            found.append(FenceEvent(vehicle, which.id, which.version, KINDS[kind], ts, onset, value))
        return found

    def _count(self, verdict: NDArray[np.uint8], crowded: int) -> None:
        seen = np.bincount(verdict, minlength=6)
        c = self.counts
        c.positions += verdict.size
        c.judged += int(seen[core.JUDGED])
        c.late += int(seen[core.LATE])
        c.duplicate += int(seen[core.DUPLICATE])
        c.unfit += int(seen[core.UNFIT])
        c.jumps += int(seen[core.JUMP])
        c.refused += int(seen[core.REFUSED])
        c.crowded += crowded

    def inside(self) -> list[tuple[int, str, int, int]]:
        """(vehicle, fence, version, since) of everyone who is in a fence now."""
        places = np.argwhere(self._slots >= 0).tolist()
        found = []
        for vehicle, k in places:
            fence = self.fences[int(self._slots[vehicle, k])]
            found.append((vehicle, fence.id, fence.version, int(self._since[vehicle, k])))
        return sorted(found)

    def snapshot(self) -> bytes:
        """The whole state. `restore` of it goes on as if nothing had happened."""
        vehicles = np.flatnonzero(self._last[:, 0] != core.NONE)
        parts = (self._last, self._slots, self._since, self._told, self._speeding)
        saved = _Saved(
            [fence.key for fence in self.fences], vehicles.astype("<i8").tobytes(),
            *(array[vehicles].tobytes() for array in parts),
        )  # fmt: skip
        return msgspec.msgpack.encode(saved)

    def restore(self, data: bytes) -> list[FenceEvent]:
        """Take a snapshot up, perhaps under other fences.

        Returns the leaves of vehicles from fences that are no more, at their last position. Raises ValueError or
        msgspec.DecodeError for what is no snapshot.
        """
        saved = msgspec.msgpack.decode(data, type=_Saved)
        vehicles = np.frombuffer(saved.vehicles, "<i8")
        if not vehicles.size:
            return []
        self._grow(int(vehicles.max()) + 1)
        slots = np.frombuffer(saved.slots, np.int32).reshape(-1, core.SLOTS)
        places = {fence.key: n for n, fence in enumerate(self.fences)}
        renumbered = np.array([places.get(key, -1) for key in saved.fences] + [-1], np.int32)
        gone = (slots >= 0) & (renumbered[slots] < 0)
        since = np.frombuffer(saved.since, np.int64).reshape(-1, core.SLOTS)
        speeding = np.frombuffer(saved.speeding, np.int64).reshape(-1, core.SLOTS)
        self._last[vehicles] = np.frombuffer(saved.last, np.int64).reshape(-1, 7)
        self._slots[vehicles] = np.where(slots >= 0, renumbered[slots], -1)
        kept = self._slots[vehicles] >= 0
        self._since[vehicles] = np.where(kept, since, core.NONE)
        told = np.frombuffer(saved.told, np.uint8).reshape(-1, core.SLOTS)
        self._told[vehicles] = np.where(kept, told, 0)
        self._speeding[vehicles] = np.where(kept, speeding, core.NONE)
        return self._left(saved.fences, vehicles, slots, since, speeding, gone)

    def _left(
        self, keys: list[str], vehicles: NDArray[Any], slots: NDArray[Any], since: NDArray[Any],
        speeding: NDArray[Any], gone: NDArray[Any],
    ) -> list[FenceEvent]:  # fmt: skip
        found = []
        for row, k in np.argwhere(gone).tolist():
            vehicle, (fence, _, version) = int(vehicles[row]), keys[slots[row, k]].rpartition("@")
            ts, began = int(self._last[vehicle, 0]), int(since[row, k])
            if speeding[row, k] != core.NONE:
                found.append(FenceEvent(vehicle, fence, int(version), "speed_end", ts, int(speeding[row, k]), math.nan))
            found.append(FenceEvent(vehicle, fence, int(version), "leave", ts, began, (ts - began) / 1000))
        return found


def _column(data: NDArray[Any], kind: Any) -> NDArray[Any]:
    """As the one sort of array that the loop is compiled for: aligned and read-only, as columns off the wire are."""
    view = np.require(data, kind, ["C", "A"]).view()
    view.flags.writeable = False
    return view


class _Table(NamedTuple):
    ints: NDArray[np.int64]
    floats: NDArray[np.float64]
    xs: NDArray[np.float64]
    ys: NDArray[np.float64]
    windows: NDArray[np.int64]
    cells: NDArray[np.int64]
    cell_at: NDArray[np.int64]
    cell_fences: NDArray[np.int32]
    wide: NDArray[np.int32]


def _table(fences: Sequence[Fence]) -> _Table:
    """The fences as the loop wants them, with the grid that finds them."""
    ints, floats = np.zeros((len(fences), 9), np.int64), np.zeros((len(fences), 7))
    xs: list[float] = []
    ys: list[float] = []
    windows: list[tuple[int, int, int]] = []
    grid: dict[int, list[int]] = {}
    wide: list[int] = []
    for n, fence in enumerate(fences):
        lat, lon, per_degree = plane(fence.points)
        ints[n] = (
            SHAPES[fence.shape], fence.valid_from_ms, fence.valid_to_ms, _bits(fence.classes), _bits(fence.goods),
            len(windows), len(windows) + len(fence.windows), len(xs), len(xs) + len(fence.points),
        )  # fmt: skip
        floats[n] = (
            lat, lon, per_degree, fence.size_m, fence.hysteresis_m, fence.speed_kmh or 0.0, float(fence.dwell_s or 0),
        )  # fmt: skip
        xs += [(p[1] - lon) * per_degree for p in fence.points]
        ys += [(p[0] - lat) * METRES_LAT for p in fence.points]
        windows += [(w.days, w.start, w.end) for w in fence.windows]
        cells = _cells(fence, per_degree)
        if cells is None:
            wide.append(n)
        else:
            for cell in cells:
                grid.setdefault(cell, []).append(n)
    keys = sorted(grid)
    sizes = [len(grid[key]) for key in keys]
    return _Table(
        ints, floats, np.array(xs), np.array(ys), np.array(windows, np.int64).reshape(-1, 3),
        np.array(keys, np.int64), np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        np.array([n for key in keys for n in grid[key]], np.int32), np.array(wide, np.int32),
    )  # fmt: skip


def _bits(numbers: frozenset[int]) -> int:
    return sum(1 << number for number in numbers)


def _cells(fence: Fence, per_degree: float) -> list[int] | None:
    """The cells of the grid that the fence may reach into; None when they are too many."""
    lats, lons = [p[0] for p in fence.points], [p[1] for p in fence.points]
    up, right = (fence.size_m + 1) / METRES_LAT * 1.01, (fence.size_m + 1) / per_degree * 1.01
    south, north = (math.floor(x * DEGREE) // core.GRID for x in (min(lats) - up, max(lats) + up))
    west, east = (math.floor(x * DEGREE) // core.GRID for x in (min(lons) - right, max(lons) + right))
    if (north - south + 1) * (east - west + 1) > WIDE_CELLS:
        return None
    return [(y + 9_000) * core.GRID_ROW + x + 18_000 for y in range(south, north + 1) for x in range(west, east + 1)]
