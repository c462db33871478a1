"""The measured series that can be replayed: how a file is read, what its labels are, how its set-points are found."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

PACK = "real_series"
CHINA = ZoneInfo("Asia/Shanghai")


class BadSeries(ValueError):
    """The file cannot be read as this kind of series."""


@dataclass(frozen=True)
class Window:
    """A labelled time, ms UTC, both ends included. ``at``: the labelled moment within it, where one is given."""

    start: int
    end: int
    at: int | None = None


@dataclass
class Series:
    """Readings of one device: ``ts`` int64 ms UTC, rising; ``values`` channel → float64, NaN where none came.

    ``labelled``: which rows are labelled as an event, where the file says so row by row. ``skipped``: rows left out
    because their time was not later than that of the row before, or could not be read.
    """

    name: str
    model: str
    ts: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    windows: list[Window] = field(default_factory=list)
    labelled: NDArray[np.bool_] | None = None
    skipped: int = 0
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return int(self.ts.size)

    def shifted(self, ms: int) -> Series:
        """The same series later by so much."""
        windows = [Window(w.start + ms, w.end + ms, None if w.at is None else w.at + ms) for w in self.windows]
        return Series(
            self.name, self.model, self.ts + ms, self.values, windows, self.labelled, self.skipped, self.notes
        )


SetPoints = Mapping[str, Mapping[str, float]]  # rule without its pack → the parameters to lay over it


@dataclass(frozen=True)
class Kind:
    """A set. ``set_points``: from the first so many rows; None where the pack's stand. ``share``: how much that is."""

    read: Callable[[Path, Path | None], Series]
    set_points: Callable[[Series, int], SetPoints] | None
    share: float
    timed: bool = True


def key_of(text: str) -> str:
    """A device identity that may stand in an MQTT topic."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:50].strip("-").lower()


def _rows(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in needed if name not in (reader.fieldnames or ())]
            if missing:
                raise BadSeries(f"{path.name}: no column {', '.join(missing)}; it has {reader.fieldnames}")
            for row in reader:
                yield reader.line_num, row
    except OSError as err:
        raise BadSeries(f"cannot read {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise BadSeries(f"{path.name} is not UTF-8: {err}") from err


def _number(text: str | None) -> float:
    try:
        return float(text) if text not in (None, "") else math.nan
    except ValueError:
        return math.nan


def _ms(text: str, zone: tzinfo) -> int | None:
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return round((time if time.tzinfo else time.replace(tzinfo=zone)).timestamp() * 1000)


def _timed(
    path: Path, needed: tuple[str, ...], clock: str, zone: tzinfo, columns: Mapping[str, str]
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]], int, list[dict[str, str]]]:
    """Rows with a clock of their own; those whose time does not rise are left out and counted."""
    ts: list[int] = []
    kept: list[dict[str, str]] = []
    skipped = 0
    for _line, row in _rows(path, needed):
        at = _ms(row[clock] or "", zone)
        if at is None or (ts and at <= ts[-1]):
            skipped += 1
            continue
        ts.append(at)
        kept.append(row)
    if not ts:
        raise BadSeries(f"{path.name}: no row with a time in {clock}")
    values = {name: np.array([_number(row[column]) for row in kept]) for name, column in columns.items()}
    return np.array(ts, np.int64), values, skipped, kept


# smoke: a fire-lab smoke head, about 1 Hz, the times were lost: row order is time order

SMOKE = {"temp": "temperature_c", "humidity": "humidity_pct", "eco2": "eco2_ppm"}


def read_smoke(path: Path, _labels: Path | None) -> Series:
    rows = [row for _line, row in _rows(path, (*SMOKE.values(), "fire_alarm"))]
    if not rows:
        raise BadSeries(f"{path.name}: no rows")
    labelled = np.array([row["fire_alarm"].strip() == "1" for row in rows])
    ts = np.arange(len(rows), dtype=np.int64) * 1000
    values = {name: np.array([_number(row[column]) for row in rows]) for name, column in SMOKE.items()}
    return Series(path.stem, f"{PACK}.smoke_head", ts, values, runs(labelled, ts), labelled)


def runs(mask: NDArray[np.bool_], ts: NDArray[np.int64]) -> list[Window]:
    """Each unbroken run of True as a window."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return [Window(int(ts[a]), int(ts[b - 1])) for a, b in zip(edges[::2], edges[1::2], strict=True)]


# gas meter: hourly, with gaps; its clock shows China's time

GAS = {"total": "BTotal", "flow": "BFlow", "temp": "T", "pressure": "Pa"}


def read_gas(path: Path, _labels: Path | None) -> Series:
    ts, values, skipped, kept = _timed(path, ("CreateDate", *GAS.values(), "Alarm"), "CreateDate", CHINA, GAS)
    labelled = np.array([bool((row["Alarm"] or "").strip()) for row in kept])
    series = Series(path.stem, f"{PACK}.gas_meter", ts, values, labelled=labelled, skipped=skipped)
    codes = sorted({(row["Alarm"] or "").strip() for row in kept} - {""})
    series.notes.append(
        f"the meter's own Alarm column: {int(labelled.sum()):,} rows, codes {', '.join(codes) or 'none'}"
    )
    return series


def gas_set_points(series: Series, rows: int) -> SetPoints:
    """Pressure: half of the median; flow: one and a half times the highest."""
    pressure = float(np.nanmedian(series.values["pressure"][:rows]))
    flow = float(np.nanmax(series.values["flow"][:rows]))
    return {
        "pressure_lost": {"below": round(pressure / 2, 1), "clear": round(pressure * 0.6, 1)},
        "flow_high": {"above": round(max(flow * 1.5, 1.0), 1), "clear": round(max(flow, 0.5), 1)},
    }


# nab: temperatures with windows set by people who knew the failure; the files name neither zone nor unit

SIGMAS = 4.0


def read_nab(path: Path, labels: Path | None) -> Series:
    ts, values, skipped, _kept = _timed(path, ("timestamp", "value"), "timestamp", UTC, {"temp_f": "value"})
    machine = "machine" in path.stem
    model = f"{PACK}.{'machine' if machine else 'room'}_thermometer"
    series = Series(path.stem, model, ts, values, skipped=skipped)
    series.windows = _windows(path, labels or path.with_name("labels.json"), series)
    return series


def _windows(path: Path, labels: Path, series: Series) -> list[Window]:
    try:
        known: dict[str, Any] = json.loads(labels.read_text("utf-8"))
    except OSError:
        series.notes.append(f"no labels: {labels.name} is not there")
        return []
    except ValueError as err:
        raise BadSeries(f"{labels} is not JSON: {err}") from err
    entry = next((value for name, value in known.items() if name.rpartition("/")[2] == path.name), None)
    if entry is None:
        series.notes.append(f"no labels of {path.name} in {labels.name}")
        return []
    spans = entry["windows"] if isinstance(entry, dict) else entry
    points = [_ms(text, UTC) for text in (entry.get("points", []) if isinstance(entry, dict) else [])]
    found = []
    for first, last in spans:
        start, end = _ms(first, UTC), _ms(last, UTC)
        if start is None or end is None:
            raise BadSeries(f"{labels}: {first} … {last} is not a window")
        found.append(Window(start, end, next((p for p in points if p is not None and start <= p <= end), None)))
    return found


def nab_set_points(series: Series, rows: int) -> SetPoints:
    """Mean ± 4 standard deviations, in degrees Celsius."""
    celsius = (series.values["temp_f"][:rows] - 32) / 1.8
    mean, spread = float(np.nanmean(celsius)), float(np.nanstd(celsius))
    rule = "machine_band" if series.model.endswith("machine_thermometer") else "room_band"
    return {rule: {"low": round(mean - SIGMAS * spread, 1), "high": round(mean + SIGMAS * spread, 1)}}


KINDS = {
    "smoke": Kind(read_smoke, None, 0.0, timed=False),
    "gas_meter": Kind(read_gas, gas_set_points, 0.15),
    "nab": Kind(read_nab, nab_set_points, 0.15),
}
