"""The table of positions: by UTC day, within it by hour, vehicle and time, with a cell for questions about an area.

By the hour first: one vehicle's day is a row group of each of 24 hours, and everything in an area at a moment is within
one hour. Columns: `vehicle`, `ts` (ms UTC), `lat`, `lon` (1e-7 degrees), `cell`, `speed` (0.1 km/h), `heading`,
`status`, `quality`, `late` (came after a newer position of its vehicle: kept, and judged by no fence).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zhenan.telemetry.history.delta import DAY_MS, END_MS, DayTable, Layout, Span
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns

HOUR_MS: Final = 3_600_000
CELL: Final = DEGREE // 50  # 0.02 degrees: about 2 km
_ROW: Final = 20_000  # cells of one row around the earth, rounded up
MOST_CELLS: Final = 4_000  # of an area asked for: more than a prefecture
SCHEMA: Final = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("vehicle", pa.int32(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("lat", pa.int32(), nullable=False),
        pa.field("lon", pa.int32(), nullable=False),
        pa.field("cell", pa.int32(), nullable=False),
        pa.field("speed", pa.int32(), nullable=False),
        pa.field("heading", pa.int32(), nullable=False),
        pa.field("status", pa.int64(), nullable=False),
        pa.field("quality", pa.int16(), nullable=False),
        pa.field("late", pa.bool_()),
    ]
)
LAYOUT: Final = Layout(
    "positions", SCHEMA, key="vehicle", time="ts", deltas=("vehicle", "ts", "lat", "lon"), block_ms=HOUR_MS,
    row_group=16_384,
)  # fmt: skip
_NAMES: Final = ["vehicle", "ts", "lat", "lon", "speed", "heading", "status", "quality"]


@dataclass(frozen=True)
class Box:
    """An area between parallels and meridians, in degrees; south < north and west < east within one turn."""

    south: float
    west: float
    north: float
    east: float

    def __post_init__(self) -> None:
        inside = -90 <= self.south < self.north <= 90 and -180 <= self.west < self.east <= 180
        if not inside:
            raise ValueError(f"an area is south < north and west < east, in degrees; got {self}")

    def cells(self) -> list[int]:
        """Its cells. Raises ValueError when they are more than MOST_CELLS."""
        south, north = (int(np.floor(x * DEGREE)) // CELL for x in (self.south, self.north))
        west, east = (int(np.floor(x * DEGREE)) // CELL for x in (self.west, self.east))
        count = (north - south + 1) * (east - west + 1)
        if count > MOST_CELLS:
            raise ValueError(f"an area has at most {MOST_CELLS} cells of 0.02 degrees; got {count}")
        return sorted(_cell(y, x) for y in range(south, north + 1) for x in range(west, east + 1))


def _cell(y: int, x: int) -> int:
    return (y + 4_500) * _ROW + x + 9_000


def cells_of(positions: PositionColumns) -> NDArray[np.int32]:
    """The cell of each position."""
    return ((positions.lat // CELL + 4_500) * _ROW + positions.lon // CELL + 9_000).astype(np.int32)


def by_day(positions: PositionColumns, late: NDArray[np.bool_] | None = None) -> Iterator[tuple[date, list[pa.Table]]]:
    """Positions in the order of the table, as what `DayTable.write_days` takes. `late`: shape (n,); None: none is."""
    late = np.zeros(len(positions), np.bool_) if late is None else late
    day = (positions.ts // DAY_MS).astype(np.int64)
    order = np.lexsort((positions.ts, positions.vehicle, positions.ts // HOUR_MS))
    positions, day, late = positions.take(order), day[order], late[order]
    for number in np.unique(day).tolist():
        chosen = day == number
        yield date(1970, 1, 1) + timedelta(days=number), [_rows(positions.take(chosen), late[chosen])]


def _rows(positions: PositionColumns, late: NDArray[np.bool_]) -> pa.Table:
    names = [name for name in SCHEMA.names if name != "day"]
    columns = {name: getattr(positions, name, None) for name in names}
    columns |= {"cell": cells_of(positions), "late": late}
    schema = pa.schema([SCHEMA.field(name) for name in names])
    return pa.Table.from_arrays([pa.array(columns[n]).cast(SCHEMA.field(n).type) for n in names], schema=schema)


class Tracks(DayTable):
    """The positions' table."""

    def __init__(self, url: str) -> None:
        super().__init__(url, LAYOUT)

    def append(self, positions: PositionColumns, epoch: str, seq: int, late: NDArray[np.bool_] | None = None) -> None:
        """Add positions and the place in the log (made at `epoch`) they reach up to, in one commit.

        `late`: which came after a newer one of their vehicle, shape (n,); None: none.
        """
        self.write_days(by_day(positions, late), marks={f"tracks@{epoch}": seq})

    def committed(self, epoch: str) -> int:
        """The sequence of the log up to which everything is here; 0 for nothing."""
        return self.mark(f"tracks@{epoch}")

    def read(self, vehicles: Sequence[int], t0_ms: int, t1_ms: int) -> PositionColumns:
        """Positions of these vehicles with t0 <= ts < t1, by vehicle, then time."""
        return _positions(self.scan(Span(t0_ms, t1_ms, sorted(set(vehicles))), _NAMES))

    def judged(self, vehicles: Sequence[int], t0_ms: int, t1_ms: int) -> tuple[PositionColumns, int]:
        """Positions of these vehicles with t0 <= ts < t1 as the judge of fences met them, by vehicle, then time, and
        how many came late besides."""
        rows = self.scan(Span(t0_ms, t1_ms, sorted(set(vehicles))), [*_NAMES, "late"])
        if rows is None or not rows.num_rows:
            return PositionColumns.empty(), 0
        late = rows["late"].fill_null(False)
        return _positions(rows.filter(pc.invert(late))), int(pc.sum(late).as_py() or 0)

    def read_area(self, box: Box, t0_ms: int, t1_ms: int) -> PositionColumns:
        """Usable positions of all vehicles in an area, by vehicle, then time. Raises ValueError for too large a one."""
        span = Span(t0_ms, t1_ms, more={"cell": box.cells()})
        found = _positions(self.scan(span, _NAMES))
        south, north, west, east = (round(x * DEGREE) for x in (box.south, box.north, box.west, box.east))
        inside = (found.lat >= south) & (found.lat <= north) & (found.lon >= west) & (found.lon <= east)
        return found.take(inside & (found.quality != 1))

    def since(self, t0_ms: int) -> PositionColumns:
        """Everything from t0 on, by vehicle, then time."""
        return _positions(self.scan(Span(t0_ms, END_MS), _NAMES))


def _positions(rows: pa.Table | None) -> PositionColumns:
    if rows is None or not rows.num_rows:
        return PositionColumns.empty()
    found = PositionColumns.of(*(rows[name].to_numpy() for name in _NAMES))
    return found.take(np.lexsort((found.ts, found.vehicle)))
