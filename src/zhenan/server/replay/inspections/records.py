"""The public inspection records as they are published: three CSV files, read whole and judged before anything is done.

Files: sanmateo_facilities.csv, sanmateo_inspections.csv, sanmateo_violations.csv (see the data sets' own README).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path

from django.utils import timezone

FILES = {
    "facilities": ("facility_id", "name", "address", "city", "zip", "lat", "lon"),
    "inspections": ("inspection_id", "facility_id", "date", "reason", "result", "score"),
    "violations": ("violation_id", "inspection_id", "facility_id", "description", "degree", "status"),
}
STATUSES = ("corrected", "out_of_compliance")


class BadRecords(ValueError):
    """The files cannot be read as inspection records."""


@dataclass(frozen=True)
class Facility:
    """``lon``/``lat`` are None where the record has none (it writes 0)."""

    number: str
    name: str
    address: str
    city: str
    zip: str
    lon: float | None
    lat: float | None


@dataclass(frozen=True)
class Violation:
    """One line of a visit. ``corrected``: put right before the inspector's eyes."""

    number: str
    words: str
    degree: str
    corrected: bool


@dataclass(frozen=True)
class Visit:
    """One inspection. ``score_ratio`` 0-1, None where none was given."""

    number: str
    facility: str
    at: datetime
    reason: str
    result: str
    score_ratio: float | None
    violations: tuple[Violation, ...]


@dataclass(frozen=True)
class Records:
    """``visits``: facility number → its visits in order."""

    facilities: tuple[Facility, ...]
    visits: Mapping[str, tuple[Visit, ...]]

    def first(self, count: int) -> Records:
        """The records of the first so many facilities."""
        kept = self.facilities[:count]
        return Records(kept, {one.number: self.visits.get(one.number, ()) for one in kept})

    @property
    def all_visits(self) -> Iterator[Visit]:
        for facility in self.facilities:
            yield from self.visits.get(facility.number, ())


def read(folder: Path) -> Records:
    """The three files of a folder. Raises BadRecords naming file, line and what was expected."""
    facilities = tuple(_facility(line, row) for line, row in _rows(folder, "facilities"))
    violations: dict[str, list[Violation]] = defaultdict(list)
    for line, row in _rows(folder, "violations"):
        if row["status"] not in STATUSES:
            raise BadRecords(f"violations, line {line}: status {row['status']!r}; want one of {', '.join(STATUSES)}")
        violations[row["inspection_id"]].append(
            Violation(row["violation_id"], words_of(row["description"]), row["degree"], row["status"] == "corrected")
        )
    visits: dict[str, list[tuple[date, dict[str, str]]]] = defaultdict(list)
    for line, row in _rows(folder, "inspections"):
        visits[row["facility_id"]].append((_day(line, row["date"]), row))
    known = {one.number for one in facilities}
    strangers = sorted(set(visits) - known)
    if strangers:
        raise BadRecords(
            f"inspections: facility {strangers[0]} ({len(strangers)} in all) is not in the facilities file"
        )
    return Records(facilities, {number: tuple(_in_order(rows, violations)) for number, rows in visits.items()})


def words_of(description: str) -> str:
    """The description on one line, without the quotes that some rows carry."""
    return " ".join(description.replace('"', " ").split())


def _rows(folder: Path, kind: str) -> Iterator[tuple[int, dict[str, str]]]:
    path = folder / f"sanmateo_{kind}.csv"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in FILES[kind] if name not in (reader.fieldnames or ())]
            if missing:
                raise BadRecords(f"{path.name}: no column {', '.join(missing)}; it has {reader.fieldnames}")
            for row in reader:
                yield reader.line_num, {name: (row[name] or "").strip() for name in FILES[kind]}
    except OSError as err:
        raise BadRecords(f"cannot read {path}: {err.strerror}") from err
    except UnicodeDecodeError as err:
        raise BadRecords(f"{path.name} is not UTF-8: {err}") from err


def _facility(line: int, row: dict[str, str]) -> Facility:
    try:
        lon, lat = float(row["lon"]), float(row["lat"])
    except ValueError as err:
        raise BadRecords(f"facilities, line {line}: lon and lat are {row['lon']!r}, {row['lat']!r}") from err
    placed = (lon, lat) != (0.0, 0.0) and abs(lon) <= 180 and abs(lat) <= 90
    return Facility(
        row["facility_id"], row["name"], row["address"], row["city"], row["zip"],
        lon if placed else None, lat if placed else None,
    )  # fmt: skip


def _day(line: int, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as err:
        raise BadRecords(f"inspections, line {line}: date {text!r}; want 2016-02-29") from err


def _in_order(rows: list[tuple[date, dict[str, str]]], violations: Mapping[str, list[Violation]]) -> Iterator[Visit]:
    """The records give days alone: the first visit of a day is put at noon, each further one a minute later."""
    rows.sort(key=lambda entry: (entry[0], entry[1]["inspection_id"]))
    before, nth = None, 0
    for day, row in rows:
        nth = nth + 1 if day == before else 0
        before = day
        noon = timezone.make_aware(datetime.combine(day, time(12)), timezone.get_default_timezone())
        yield Visit(
            row["inspection_id"], row["facility_id"], noon + timedelta(minutes=nth), row["reason"], row["result"],
            min(1.0, max(0.0, float(row["score"]) / 100)) if row["score"] else None,
            tuple(violations.get(row["inspection_id"], ())),
        )  # fmt: skip
