"""Merging, summing up, deleting: what is charted is what was read, before and after, late or not."""

import asyncio
import io
import math
import threading
from datetime import UTC, date, datetime, timedelta

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from deltalake.exceptions import CommitFailedError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history import delta
from zhenan.telemetry.history.chart import (
    EXPORT_RAW,
    EXPORT_SUMMARY,
    Course,
    as_csv,
    as_parquet,
    resolution_of,
    tables,
)
from zhenan.telemetry.history.delta import DAY_MS, Span, day_ms
from zhenan.telemetry.history.historian import Historian
from zhenan.telemetry.history.keeping import LATE_FILES, MANY_FILES, Keep, Keeper
from zhenan.telemetry.history.summaries import HOUR_MS, Summaries, joined, summed
from zhenan.telemetry.history.table import READING, SCHEMA, History, as_table
from zhenan.telemetry.log.follower import Message
from zhenan.telemetry.log.generations import Generations

DAY = date(2026, 3, 5)
T0 = day_ms(DAY)
EIGHT = 8 * HOUR_MS


@pytest.fixture
def made(tmp_path):
    return Summaries.beside(str(tmp_path / "h"))


def put(made, *rows, seq=1):
    """(point, ts, value[, quality]) … into the readings' table, as one commit."""
    point, ts, value, quality = zip(*((*row, 0)[:4] for row in rows), strict=True)
    made.history.append(as_table(Columns.of(point, ts, value, quality), np.full(len(rows), seq, np.int64)), "e", seq)


def kept(made, today=DAY + timedelta(days=1), **days):
    Keeper(made, Keep(**days)).run(today)


def bits(columns):
    return [
        columns.point.tolist(),
        columns.ts.tolist(),
        columns.value.view(np.int64).tolist(),
        columns.quality.tolist(),
    ]


any_float = st.one_of(st.floats(), st.integers(-(10**6), 10**6).map(lambda n: n / 100))
readings = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 2 * DAY_MS - 1), any_float, st.sampled_from([0, 1, 2])),
    min_size=1, max_size=60, unique_by=lambda row: row[:2],
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=readings, cuts=st.integers(1, 5))
def test_merging_loses_no_bit_of_any_reading(tmp_path_factory, rows, cuts):
    made = Summaries.beside(str(tmp_path_factory.mktemp("m")))
    for n in range(cuts):
        if rows[n::cuts]:
            put(made, *((p, T0 + t, v, q) for p, t, v, q in rows[n::cuts]), seq=n + 1)
    before = bits(made.history.read(range(5), T0, T0 + 2 * DAY_MS))
    assert len(before[0]) == len(rows)
    kept(made, DAY + timedelta(days=2))
    assert bits(made.history.read(range(5), T0, T0 + 2 * DAY_MS)) == before
    assert set(made.history.files_by_day().values()) == {1}
    assert made.history.committed("e") == max(n + 1 for n in range(cuts) if rows[n::cuts])


def slow_summary(rows, step_ms, offset_ms):
    """[(point, begin, low, high, mean, first, last, count, unfit)], one reading at a time."""
    groups = {}
    for p, t, v, q in sorted(rows, key=lambda row: row[:2]):
        groups.setdefault((p, (t + offset_ms) // step_ms * step_ms - offset_ms), []).append((v, q))
    found = []
    for (p, begin), values in sorted(groups.items()):
        fit = [v for v, q in values if q != 1 and math.isfinite(v)]
        five = (min(fit), max(fit), sum(fit) / len(fit), fit[0], fit[-1]) if fit else (math.nan,) * 5
        found.append((p, begin, *five, len(fit), len(values) - len(fit)))
    return found


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 3 * DAY_MS),
            st.one_of(st.just(math.nan), st.just(math.inf), st.integers(-500, 500).map(lambda n: n / 4)),
            st.sampled_from([0, 1, 2]),
        ), max_size=50, unique_by=lambda row: row[:2],
    )
)  # fmt: skip
def test_hours_and_days_are_those_of_a_slow_count(rows):
    ordered = sorted(rows, key=lambda row: row[:2])
    columns = Columns.of(*zip(*ordered, strict=True)) if rows else Columns.empty()
    hours = summed(columns, HOUR_MS)
    for found, wanted in (
        (hours, slow_summary(rows, HOUR_MS, 0)), (joined(hours, DAY_MS, EIGHT), slow_summary(rows, DAY_MS, EIGHT)),
    ):  # fmt: skip
        got = list(zip(*(column.tolist() for column in found.columns()), strict=True))
        assert len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            assert one == pytest.approx(other, nan_ok=True)


def test_a_chart_is_the_same_from_tables_and_from_readings_and_names_its_resolution(made):
    rng = np.random.default_rng(3)
    rows = [(p, T0 + int(t), float(rng.integers(0, 99)) / 10) for p in (1, 2) for t in rng.integers(0, 3 * DAY_MS, 400)]
    put(made, *{row[:2]: row for row in rows}.values())
    course = Course(made, 1)
    for which in ("hour", "day"):
        before = course.series(T0, T0 + 3 * DAY_MS, which).summary
        kept(made, DAY + timedelta(days=3))
        after = course.series(T0, T0 + 3 * DAY_MS, which).summary
        assert len(before) > 2
        for one, other in zip(before.columns(), after.columns(), strict=True):
            assert np.allclose(one, other, equal_nan=True)
    assert [resolution_of(0, n * DAY_MS) for n in (1, 3, 4, 92, 93, 366)] == [
        "raw",
        "raw",
        "hour",
        "hour",
        "day",
        "day",
    ]


def test_a_peak_that_comes_late_shows_at_once_and_is_summed_up_at_the_next_round(made):
    put(made, (1, T0, 1.0), (1, T0 + 2 * DAY_MS, 1.0))
    kept(made, DAY + timedelta(days=3))
    assert made.stale(DAY + timedelta(days=3)) == []
    put(made, (1, T0 + 5, 77.0), seq=2)
    year = (T0 - 200 * DAY_MS, T0 + 3 * DAY_MS)
    for _ in range(2):
        found = Course(made, 1).series(*year).summary
        assert (found.high.max(), found.count.sum()) == (77.0, 3)
        stale = made.stale(DAY + timedelta(days=3))
        kept(made, DAY + timedelta(days=3))
    assert stale == []
    direct = made.daily.read([1], *year)
    assert (direct.high.max(), direct.count.sum()) == (77.0, 3)


def test_local_days_run_from_midnight_in_china(made):
    put(made, (1, T0 + 15 * HOUR_MS, 5.0), (1, T0 + 16 * HOUR_MS, 9.0), (1, T0 + 17 * HOUR_MS, 7.0))
    kept(made, DAY + timedelta(days=2))
    found = made.daily.read([1], 0, T0 + 9 * DAY_MS)
    assert found.ts.tolist() == [T0 - 8 * HOUR_MS, T0 + 16 * HOUR_MS]
    assert (found.high.tolist(), found.first.tolist(), found.last.tolist()) == ([5.0, 9.0], [5.0, 9.0], [5.0, 7.0])


def test_deleting_old_readings_leaves_their_hours_and_days(made):
    for n in range(4):
        put(made, (1, T0 + n * DAY_MS, float(n)), seq=n + 1)
    kept(made, DAY + timedelta(days=4))
    whole = Course(made, 1).series(T0, T0 + 4 * DAY_MS, "day").summary
    kept(made, DAY + timedelta(days=4), readings=2)
    assert sorted(made.history.days()) == [DAY + timedelta(days=2), DAY + timedelta(days=3)]
    assert len(made.history.read([1], 0, T0 + 9 * DAY_MS)) == 2
    again = Course(made, 1).series(T0, T0 + 4 * DAY_MS, "day").summary
    assert again.high.tolist() == whole.high.tolist() == [0.0, 1.0, 2.0, 3.0]
    kept(made, DAY + timedelta(days=4), hourly=3)
    assert made.daily.read([1], 0, T0 + 9 * DAY_MS).high.tolist() == whole.high.tolist()
    # A reading so late that its day is gone is deleted with the next round and spoils no summary.
    put(made, (1, T0 + 7, 50.0), seq=9)
    kept(made, DAY + timedelta(days=4), readings=2)
    assert made.hourly.read([1], T0, T0 + DAY_MS).high.tolist() in ([0.0], [])
    assert DAY not in made.history.days()


def test_deletion_is_told_in_the_log(made):
    put(made, (1, T0, 1.0))
    with capture_logs() as told:
        kept(made, DAY + timedelta(days=40), readings=30)
    (line,) = [line for line in told if line["event"] == "history.deleted"]
    assert (line["table"], line["days"], line["rows"], line["keep"]) == ("readings", 1, 1, 30)


def test_files_of_the_running_day_are_merged_when_many_and_of_past_days_when_late_ones_gathered(made):
    for n in range(MANY_FILES):
        put(made, (1, T0 + n, n), seq=n + 1)
        kept(made, DAY)
    assert made.history.files_by_day() == {DAY: 1}
    kept(made)
    for n in range(1, LATE_FILES + 1):
        put(made, (1, T0 + 1000 + n, n), seq=100 + n)
        kept(made)
        assert made.history.files_by_day() == {DAY: n + 1 if n < LATE_FILES else 1}
    assert len(made.history.read([1], T0, T0 + DAY_MS)) == MANY_FILES + LATE_FILES


def test_a_day_too_large_for_memory_is_merged_in_pieces(made, monkeypatch):
    for n in range(4):
        put(made, *((p, T0 + n * 1000 + p, p + n / 10) for p in range(50)), seq=n + 1)
    before = bits(made.history.read(range(50), T0, T0 + DAY_MS))
    monkeypatch.setattr(delta.DayTable.sorted_pieces, "__kwdefaults__", {"most": 30})
    monkeypatch.setattr(delta, "FILE_ROWS", 90)
    kept(made)
    assert made.history.files_by_day()[DAY] == 2  # 28 rows a piece, 112 and 88 rows a file
    assert bits(made.history.read(range(50), T0, T0 + DAY_MS)) == before
    kept(made)
    assert made.history.files_by_day()[DAY] == 2


def test_merging_while_readings_are_committed_loses_none(made, tmp_path):
    """Two tables on one folder, as in the historian: one appends, the other merges, sums up and deletes nothing."""
    other = Summaries.beside(str(tmp_path / "h"))
    stop, failed = threading.Event(), []

    def keep():
        keeper = Keeper(other)
        while not stop.is_set():
            try:
                keeper.run(DAY + timedelta(days=1))
            except Exception as err:
                failed.append(err)

    thread = threading.Thread(target=keep)
    put(made, (1, T0, 0.0))
    thread.start()
    for n in range(1, 40):
        put(made, (1, T0 + n, float(n)), (1, T0 + DAY_MS + n, float(n)), seq=n)
    stop.set()
    thread.join()
    assert not failed
    assert len(made.history.read([1], T0, T0 + 2 * DAY_MS)) == 79
    assert made.history.committed("e") == 39


def test_reading_a_points_day_touches_only_the_row_groups_that_hold_it(made):
    n, points = 1440, 500
    point = np.repeat(np.arange(points, dtype=np.int32), n)
    ts = T0 + np.tile(np.arange(n) * 60_000, points)
    columns = Columns.of(point, ts, np.round(np.sin(ts / 1e7), 2), np.zeros(n * points))
    made.history.append(as_table(columns, np.ones(len(columns), np.int64)), "e", 1)
    kept(made)
    seen = made.history.touched(Span(T0, T0 + DAY_MS, [250]), READING)
    assert (seen.files, seen.row_groups) == (1, 1)
    assert seen.of_row_groups == -(-n * points // delta.ROW_GROUP)
    (file,) = made.history.files()
    assert file.size / file.rows < 1.0  # nothing but a slow sine here


def test_an_export_is_what_is_charted_in_csv_and_parquet(made):
    put(made, *((1, T0 + n * 1_800_000, n / 10) for n in range(300)), (1, T0 + 1, 3.0, 1))
    course = Course(made, 1)
    for which, schema in (("raw", EXPORT_RAW), ("hour", EXPORT_SUMMARY), ("day", EXPORT_SUMMARY)):
        span = (T0, T0 + 7 * DAY_MS, which)
        series = course.series(*span)
        ts = series.readings.ts if which == "raw" else series.summary.ts
        csv = pa_csv.read_csv(io.BytesIO(b"".join(as_csv(tables(course, *span), schema))))
        parquet = pq.read_table(io.BytesIO(b"".join(as_parquet(tables(course, *span), schema))))
        assert csv.num_rows == parquet.num_rows == len(ts) > 5
        assert parquet["time"].cast("int64").to_pylist() == ts.tolist()
        name, values = ("value", series.readings.value) if which == "raw" else ("high", series.summary.high)
        assert parquet[name].to_pylist() == csv[name].to_pylist() == values.tolist()


def test_the_historian_keeps_its_tables_beside_its_commits(tmp_path, made):
    async def run():
        him = Historian(
            made.history, Generations(tmp_path / "s", "historian"), "e1",
            keeper=Keeper(Summaries.beside(str(tmp_path / "h"))),
        )  # fmt: skip
        for n in range(1, MANY_FILES + 1):
            part = Columns.of([1], [T0 + n], [n], [0])
            him.take([Message(n, "readings.0.t", part.pack(), {}, 0, 0)])
            await him.commit()
            await him.tend(datetime(2026, 3, 5, 12, tzinfo=UTC))
        await him._keeping

    asyncio.run(run())
    assert made.history.files_by_day() == {DAY: 1}


def test_a_table_of_an_earlier_version_goes_on(tmp_path):
    """Without the columns of whole numbers, its values never null."""
    fields = [field.with_nullable(False) for field in SCHEMA if field.name not in ("scaled", "digits", "late")]
    url = str(tmp_path / "old")
    columns = Columns.of([1, 1], [T0, T0 + 5], [1.5, 1 / 3], [0, 0])
    rows = as_table(columns, np.ones(2, np.int64)).select([field.name for field in fields]).cast(pa.schema(fields))
    deltalake.write_deltalake(url, rows, partition_by=["day"])
    assert bits(History(url).read([1], T0, T0 + 9)) == bits(columns)
    made = Summaries.beside(url)
    put(made, (1, T0 + 9, 2.5), seq=2)
    for _ in range(2):
        kept(made)
        assert made.history.read([1], T0, T0 + DAY_MS).value.tolist() == [1.5, 1 / 3, 2.5]
    assert not made.history.nullable("value")
    assert made.history.files_by_day() == {DAY: 1}


@pytest.mark.parametrize("where", ["sorted_pieces", "_unmoved"])
def test_two_that_merge_one_day_at_once_store_it_once(tmp_path, monkeypatch, where):
    first, second = History(str(tmp_path)), History(str(tmp_path))
    for n in range(3):
        first.append(as_table(Columns.of([1], [n], [1.0], [0]), np.array([n + 1])), "e", n + 1)
    files = first.files()
    day = files[0].day
    assert len(second.files()) == 3
    real = getattr(second, where)

    def slow(*given):
        found = real(*given)
        monkeypatch.setattr(second, where, real)
        first.write(day, first.sorted_pieces(files), removing=files, data_change=False, tag=1)
        return found

    monkeypatch.setattr(second, where, slow)
    for _ in range(2):  # the second time it was known before it began
        with pytest.raises(CommitFailedError):
            second.write(day, second.sorted_pieces(files), removing=files, data_change=False, tag=1)
    assert len(second.read([1], 0, 10)) == 3
