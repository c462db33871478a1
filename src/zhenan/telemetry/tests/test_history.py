"""History holds every reading once, whatever was sent twice and whoever was killed."""

import asyncio
import random
from datetime import UTC, datetime

import numpy as np
import pytest

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.dedupe import DEPTH, DUPLICATE, LATE, NEW, Dedupe
from zhenan.telemetry.history.historian import Historian
from zhenan.telemetry.history.recent import recent
from zhenan.telemetry.history.table import DAY_MS, History
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import Chain
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Message
from zhenan.telemetry.log.generations import Generations

T0 = int(datetime(2026, 3, 1, 23, 59, 50, tzinfo=UTC).timestamp() * 1000)


def columns(*rows):
    """(point, ts, value) …"""
    points, times, values = zip(*rows, strict=True)
    return Columns.of(points, times, values, [0] * len(rows))


def message(seq, *rows):
    return Message(seq, "readings.0.t", columns(*rows).pack(), {}, 0, 0)


def historian(tmp_path, **more):
    return Historian(History(str(tmp_path / "h")), Generations(tmp_path / "s", "historian"), "e1", **more)


def rows(found):
    return list(zip(found.point.tolist(), found.ts.tolist(), found.value.tolist(), strict=True))


def commit(him):
    asyncio.run(him.commit())


def test_late_readings_are_kept_once_and_equal_times_are_duplicates():
    verdicts = Dedupe().judge(
        columns((1, 10, 0), (1, 20, 0), (1, 20, 1), (1, 15, 0), (1, 15, 1), (2, 10, 0), (1, 10, 0))
    )
    assert verdicts.tolist() == [NEW, NEW, DUPLICATE, LATE, DUPLICATE, NEW, DUPLICATE]


def test_the_memory_of_late_readings_has_its_depth_and_survives_a_restart():
    memory = Dedupe()
    memory.judge(columns(*((1, t, 0) for t in range(DEPTH + 1))))
    memory = Dedupe.restore(memory.save())
    assert memory.judge(columns((1, 1, 0), (1, 0, 0))).tolist() == [DUPLICATE, LATE]


def test_what_is_committed_can_be_read_by_point_and_time(tmp_path):
    him = historian(tmp_path)
    him.take([message(1, (1, T0, 1.5), (2, T0, 2.5)), message(2, (1, T0 + 20_000, 3.5))])  # into the next day
    commit(him)
    history = History(str(tmp_path / "h"))
    assert rows(history.read([1], T0, T0 + DAY_MS)) == [(1, T0, 1.5), (1, T0 + 20_000, 3.5)]
    assert rows(history.read([1, 2], T0, T0 + 1)) == [(1, T0, 1.5), (2, T0, 2.5)]
    assert rows(history.read([3], T0, T0 + 1)) == []
    assert history.committed("e1") == 2


def test_a_table_never_written_reads_as_empty(tmp_path):
    assert len(History(str(tmp_path / "none")).read([1], 0, T0)) == 0


def test_a_killed_historian_goes_on_exactly_behind_its_last_commit(tmp_path):
    """Killed after the state was saved and before the table was written, and after both."""
    log = [message(n, (1, T0 + n * 1000, n), (1, T0 + (n - 1) * 1000, n)) for n in range(1, 40)]
    rng = random.Random(7)
    at = 0
    while at < len(log):
        him = historian(tmp_path)
        at = him.committed
        for n in range(rng.randrange(1, 9)):
            him.take(log[at + n : at + n + 1])
        if rng.random() < 0.4:
            him.history.append = lambda *a: (_ for _ in ()).throw(RuntimeError("killed"))
            with pytest.raises(RuntimeError):
                commit(him)
        else:
            commit(him)
        at = historian(tmp_path).committed
    found = rows(History(str(tmp_path / "h")).read([1], 0, T0 + DAY_MS))
    assert found == [(1, T0, 1.0)] + [(1, T0 + n * 1000, float(n)) for n in range(1, 40)]


def test_without_its_state_files_the_memory_is_taken_from_the_table(tmp_path):
    him = historian(tmp_path)
    him.take([message(1, (1, T0, 1), (1, T0 + 5, 1))])
    commit(him)
    for file in (tmp_path / "s").iterdir():
        file.unlink()
    him = historian(tmp_path)
    assert len(him.take([message(2, (1, T0 + 5, 9), (1, T0, 9), (1, T0 + 6, 9))])) == 1


def test_recent_readings_include_those_that_are_only_in_the_log(tmp_nats, tmp_path):
    async def write():
        client = await connect(tmp_nats.url, "test")
        js = client.jetstream()
        await streams.ensure(js)
        chain = Chain(client, streams.READINGS, "readings.0.t")
        for n in range(1, 4):
            await chain.commit(columns((1, T0 + n, n), (2, T0 + n, n)).pack(), {})
        found = await streams.epoch(js, streams.READINGS)
        await client.close()
        return found

    epoch = asyncio.run(write())
    him = Historian(History(str(tmp_path / "h")), Generations(tmp_path / "s", "historian"), epoch)
    him.take([message(1, (1, T0 + 1, 1), (2, T0 + 1, 1))])
    commit(him)
    found = recent(tmp_nats.url, him.history, [1], T0)
    assert rows(found) == [(1, T0 + 1, 1.0), (1, T0 + 2, 2.0), (1, T0 + 3, 3.0)]


def test_many_points_are_written_and_one_points_day_is_read_quickly(tmp_path):
    him = historian(tmp_path)
    n = 200_000
    point = np.tile(np.arange(1000, dtype=np.int32), n // 1000)
    ts = T0 - DAY_MS // 2 + np.repeat(np.arange(n // 1000), 1000) * 1000
    part = Columns.of(point, ts, np.sin(ts / 1e5), np.zeros(n))
    him.take([Message(1, "readings.0.t", part.pack(), {}, 0, 0)])
    commit(him)
    found = him.history.read([77], 0, T0 + DAY_MS)
    assert len(found) == n // 1000
    assert np.array_equal(found.ts, ts[point == 77])
