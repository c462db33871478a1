"""Judge a file of readings without any server: CSV in, alarms out as CSV, a summary to standard error.

The clock of a file is the largest ts read so far, and at the end that or `until`, whichever is later. Within the file a
silence is judged by the gap to the next reading of the same point: the same raise as by the clock where the file is in
order of time, and where it is not, one that does not depend on how its points are shuffled together.
"""

import csv
import heapq
import itertools
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Final, TextIO

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.judge.composites import Composer, RuleFile
from zhenan.telemetry.judge.engine import Judge, warm_up
from zhenan.telemetry.judge.readings_csv import Block, read_blocks
from zhenan.telemetry.judge.results import Columns, Transition, Transitions
from zhenan.telemetry.judge.rulefile import load_rules
from zhenan.telemetry.judge.schedule import epoch_days

OUT_HEADER: Final = ("point", "rule", "kind", "ts", "onset", "value", "level")
MAX_TOLD: Final = 20  # malformed rows printed; all are counted
_SLICE: Final = 100_000  # rows made into text at a time


@dataclass
class Summary:
    """What became of the rows of a file. readings = judged + late + duplicate + unfit; malformed rows are none."""

    readings: int = 0
    judged: int = 0
    late: int = 0
    duplicate: int = 0
    unfit: int = 0
    malformed: int = 0
    raises: int = 0
    clears: int = 0
    seconds: float = 0.0

    @property
    def per_second(self) -> int:
        """Readings read and judged in a second, without loading the program and writing the alarms."""
        return round(self.readings / self.seconds) if self.seconds else 0

    def lines(self) -> list[str]:
        names = ("readings", "judged", "late", "duplicate", "unfit", "malformed", "raises", "clears")
        return [f"{name}: {getattr(self, name)}" for name in names] + [f"readings/s: {self.per_second}"]


def judge_file(
    rules_path: Path, input_path: Path, out_path: Path, until: int | None = None, stderr: TextIO | None = None
) -> Summary:
    """Judge `input_path` and write `out_path`, whole or not at all. Malformed rows and the summary go to `stderr`.

    until: ms UTC, where silence is judged at the end. Raises RulesFault, InputFault, OSError; nothing is written then.
    """
    stderr = stderr or sys.stderr
    if out_path.exists() and any(out_path.samefile(path) for path in (rules_path, input_path) if path.exists()):
        raise FileExistsError(17, "the alarms would overwrite what is read", str(out_path))
    book = load_rules(rules_path)
    judge = Judge(book.rules, holidays=epoch_days(book.holidays))
    warm_up()
    start, malformed = time.perf_counter(), 0
    parts: list[Transitions] = []
    clock: int | None = None
    for block in read_blocks(input_path):
        for line, why in block.malformed:
            malformed += 1
            if malformed <= MAX_TOLD:
                print(f"{input_path.name}: line {line}: {why}", file=stderr)
        if block.ts.size:
            latest = int(block.ts.max())
            clock = latest if clock is None else max(clock, latest)
            parts.append(judge.judge(_columns(judge, block)).transitions)
    if clock is not None:
        parts.append(judge.advance(clock if until is None else max(clock, until)))
    found = _ordered(judge, Transitions.joined(parts))
    made = _composed(book, found, judge) if book.composites else []
    c, seconds = judge.counters, time.perf_counter() - start
    raises = c.raises + sum(t.kind == "raise" for t in made)
    clears = c.clears + sum(t.kind == "clear" for t in made)
    summary = Summary(c.readings, c.judged, c.late, c.duplicate, c.unfit, malformed, raises, clears, seconds)
    _write(judge, found, made, out_path)
    if malformed > MAX_TOLD:
        print(f"{input_path.name}: and {malformed - MAX_TOLD} more malformed rows", file=stderr)
    print("\n".join(summary.lines()), file=stderr)
    return summary


def _columns(judge: Judge, block: Block) -> Columns:
    """The block with points numbered as in the judge, which learns of those it has not met."""
    judge.add_points(list(itertools.filterfalse(judge.index.__contains__, block.names)))
    number = np.fromiter(map(judge.index.__getitem__, block.names), np.int32, len(block.names))
    return Columns(number[block.code], block.ts, block.value, block.quality)


def in_order(judge: Judge, found: Transitions) -> NDArray[np.int64]:
    """The order of the output: by ts, point, rule, kind; names as text, a raise before a clear."""
    points = np.unique(found.point)
    by_name = sorted(points.tolist(), key=judge.keys.__getitem__)
    point_rank = np.zeros(len(judge.keys), dtype=np.int64)
    point_rank[by_name] = np.arange(len(by_name))
    rule_rank = np.zeros(len(judge.rules), dtype=np.int64)
    rule_rank[sorted(range(len(judge.rules)), key=lambda n: judge.rules[n].id)] = np.arange(len(judge.rules))
    return np.lexsort((found.kind, rule_rank[found.rule], point_rank[found.point], found.ts))


def _ordered(judge: Judge, found: Transitions) -> Transitions:
    return found.at(in_order(judge, found))


def _composed(book: RuleFile, found: Transitions, judge: Judge) -> list[Transition]:
    """What the composites make of the alarms of the whole file, in order of time."""
    composer = Composer(book.composites, book.subject_of())
    own = {composite.id for composite in book.composites}
    return [t for t in composer.feed(judge.records(found)) if t.rule in own]


def _place(t: Transition) -> tuple[int, str, str, bool]:
    return t.ts, t.point, t.rule, t.kind == "clear"


def _write(judge: Judge, found: Transitions, made: list[Transition], path: Path) -> None:
    """The alarms as CSV, under a name of its own until it is whole (a device such as /dev/stdout: at once)."""
    special = path.exists() and not path.is_file()
    part = path if special else path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", errors="surrogatepass", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(OUT_HEADER)
            writer.writerows(_rows(judge, found, made))
        if not special:
            part.replace(path)
    finally:
        if not special:
            part.unlink(missing_ok=True)


def _rows(judge: Judge, found: Transitions, made: list[Transition]) -> Iterator[tuple[object, ...]]:
    parts = (np.arange(start, min(start + _SLICE, len(found))) for start in range(0, len(found), _SLICE))
    simple = (t for part in parts for t in judge.records(found.at(part)))
    every = heapq.merge(simple, sorted(made, key=_place), key=_place) if made else simple
    for t in every:
        yield t.point, t.rule, t.kind, t.ts, t.onset, value_text(t), t.level


def value_text(t: Transition) -> str:
    """The shortest text that reads back as the same number, 25 rather than 25.0; nothing for a silence raise."""
    if isnan(t.value) and t.kind == "raise":
        return ""
    return repr(t.value).removesuffix(".0")
