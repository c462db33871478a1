"""What the tables need beside new rows: merging, summing up, deleting what is too old, removing files no one reads.

Each step looks at the tables and does what is missing, so it may be killed anywhere and run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import pyarrow as pa
import structlog

from zhenan.telemetry.history.delta import DayTable, FileInfo
from zhenan.telemetry.history.summaries import Summaries
from zhenan.telemetry.history.table import finished

log = structlog.get_logger("zhenan.history")
MANY_FILES: Final = 48  # of the running day: then its small ones are merged
LATE_FILES: Final = 8  # that came for a day merged before: then its small ones are merged once more
MERGED: Final = 1  # tag of a file merged once its day was over
SMALL_ROWS: Final = 4_000_000
TIDY_S: Final = 3600.0


@dataclass(frozen=True)
class Keep:
    """Days that rows are kept, by table; 0: for ever."""

    readings: int = 0
    hourly: int = 0
    daily: int = 0


class Merging:
    """The files of one table: few and sorted. `finish`: what becomes of a day's sorted rows once it is over."""

    def __init__(self, table: DayTable, finish: Callable[[pa.Table], pa.Table] | None = None) -> None:
        self.table, self.finish = table, finish

    def run(self, today: date) -> int:
        """Merge what is due; returns how many files were merged."""
        by_day: dict[date, list[FileInfo]] = {}
        for file in self.table.files():
            by_day.setdefault(file.day, []).append(file)
        merged = 0
        for day, files in sorted(by_day.items()):
            chosen = self._due(files, over=day < today)
            if chosen:
                merged += len(chosen)
                self._merge(day, chosen, over=day < today)
        return merged

    def _due(self, files: list[FileInfo], *, over: bool) -> list[FileInfo]:
        small = [file for file in files if file.rows < SMALL_ROWS]
        if not over:
            return small if len(small) >= MANY_FILES else []
        fresh = [file for file in files if file.tag != MERGED]
        if len(fresh) == len(files):
            return files
        return small if len(fresh) >= LATE_FILES else []

    def _merge(self, day: date, files: list[FileInfo], *, over: bool) -> None:
        began, rows = time.monotonic(), sum(file.rows for file in files)
        pieces = self.table.sorted_pieces(files)
        if over and self.finish is not None:
            pieces = map(self.finish, pieces)
        self.table.write(day, pieces, removing=files, data_change=False, tag=MERGED if over else 0)
        size = sum(file.size for file in self.table.files([day]))
        log.info(
            "history.merged", table=self.table.layout.name, day=str(day), files=len(files), rows=rows,
            bytes=size, seconds=round(time.monotonic() - began, 2),
        )  # fmt: skip


class Keeper:
    """Keeps the readings' table and its summaries. For one process, the one that writes the readings."""

    def __init__(self, summaries: Summaries, keep: Keep | None = None) -> None:
        self.summaries, self.keep = summaries, keep or Keep()
        self.merging: Merging | None = None
        self._tidied = time.monotonic()

    def run(self, today: date) -> None:
        """All steps, in an order in which none undoes another: first what is too old goes."""
        tables = self.summaries
        for table, days in (
            (tables.history, self.keep.readings), (tables.hourly, self.keep.hourly), (tables.daily, self.keep.daily),
        ):  # fmt: skip
            delete_old(table, days, today)
        if self.merging is None and tables.history.open() is not None:
            whole = tables.history.nullable("value")  # else made by an earlier version: goes on as it was
            self.merging = Merging(tables.history, finished if whole else None)
        if self.merging is not None:
            self.merging.run(today)
        for day in tables.stale(today):
            began = time.monotonic()
            readings = tables.make(day)
            seconds = round(time.monotonic() - began, 2)
            log.info("history.summed", day=str(day), readings=readings, seconds=seconds)
        tables.make_daily()
        if time.monotonic() - self._tidied > TIDY_S:
            self._tidied = time.monotonic()
            for kept in (tables.history, tables.hourly, tables.daily):
                if kept.open() is not None:
                    log.info("history.tidied", table=kept.layout.name, files=kept.tidy())


def delete_old(table: DayTable, days: int, today: date) -> int:
    """Delete what is older than so many days (0: nothing), and say so in the log; returns the rows deleted.

    Summaries go by whole months, for daily rows lie in one file a month, made of the hours of that month.
    """
    if not days or table.open() is None:
        return 0
    before = today - timedelta(days=days)
    if table.layout.name == "daily":
        before = before.replace(day=1)
    elif table.layout.name == "hourly":  # a month's first local day begins on the UTC day before it
        before = before.replace(day=1) - timedelta(days=1)
    gone, rows = table.delete_before(before)
    if gone:
        log.warning("history.deleted", table=table.layout.name, before=str(before), days=gone, rows=rows, keep=days)
    return rows
