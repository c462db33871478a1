"""Several historians on one table: every reading once, whoever held its lane and whoever woke up late."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history import lanes
from zhenan.telemetry.history.dedupe import Dedupe
from zhenan.telemetry.history.lanes import LaneHistorian, Memory, OtherLanes, Overtaken, place_of, stored_upto
from zhenan.telemetry.history.table import History, as_table
from zhenan.telemetry.log.follower import Message

EPOCH = "e"


def message(seq, *rows):
    """One commit of the log: (point, second) a reading."""
    points, seconds = zip(*rows, strict=True)
    columns = Columns.of(
        points, np.array(seconds) * 1000 + 1_700_000_000_000, np.array(seconds, float), [0] * len(rows)
    )
    return Message(seq, "readings.0.g", columns.pack(), {}, 0, 0)


def historian(folder, count=4):
    return LaneHistorian(History(str(folder)), EPOCH, count)


def rows(folder):
    found, seq = History(str(folder)).rows_since(0)
    return sorted(zip(found.point.tolist(), (found.value).tolist(), seq.tolist(), strict=True))


def test_a_historian_that_lost_its_lane_cannot_add_its_rows_and_its_other_lanes_are_written(tmp_path):
    async def story():
        zombie, successor = historian(tmp_path), historian(tmp_path)
        lost, kept = await zombie.add(1, None), await zombie.add(2, None)
        zombie.take(lost, [message(1, (10, 1), (10, 2))])
        zombie.take(kept, [message(2, (20, 1))])
        taken = await successor.add(1, None)
        successor.take(taken, [message(1, (10, 1), (10, 2)), message(3, (10, 3))])
        assert await successor.commit() == frozenset()
        assert await zombie.commit() == {1}
        assert rows(tmp_path) == [(10, 1.0, 1), (10, 2.0, 1), (10, 3.0, 3), (20, 1.0, 2)]
        zombie.drop(lost)
        again = await zombie.add(1, None)  # the lane comes back to it: it reads from the log what it needs to remember
        assert (again.reached, again.taken) == (3, 0)
        fresh = zombie.take(again, [message(1, (10, 1), (10, 2)), message(3, (10, 3)), message(4, (10, 3), (10, 4))])
        assert fresh.value.tolist() == [4.0]

    asyncio.run(story())


@pytest.mark.parametrize("where", ["_files_of", "_unmoved"])
def test_a_commit_that_comes_between_the_look_and_the_write_is_seen(tmp_path, monkeypatch, where):
    history, other = History(str(tmp_path)), History(str(tmp_path))
    table = as_table(Columns.of([1], [1_700_000_000_000], [1.0], [0]), np.array([1]))
    real = getattr(history, where)  # called before, and at, the last look at the table

    def slow(*given):
        found = real(*given)
        monkeypatch.setattr(history, where, real)
        lanes.append(other, table, EPOCH, 4, {1: (0, 5)})
        return found

    history.create()
    monkeypatch.setattr(history, where, slow)
    with pytest.raises(Overtaken, match=r"lanes \[1\]"):
        lanes.append(history, table, EPOCH, 4, {1: (0, 3), 2: (0, 4)})
    assert place_of(other.create(), EPOCH, 1, 4) == (5, 5)
    assert place_of(other.create(), EPOCH, 2, 4) == (0, 0)
    assert len(rows(tmp_path)) == 1


def test_the_next_holder_knows_duplicates_from_what_was_kept_and_from_the_log(tmp_path):
    async def story():
        first = historian(tmp_path)
        lane = await first.add(0, None)
        log = [message(1, (10, 1), (11, 1)), message(2, (10, 2)), message(3, (10, 2), (10, 3))]
        first.take(lane, log[:1])
        await first.commit()
        kept, lane.to_keep = lane.to_keep, None
        assert kept is not None
        first.take(lane, log[1:2])
        await first.commit()
        assert lane.to_keep is None  # not at every commit: the log has the rest
        second = historian(tmp_path)
        taken = await second.add(0, kept)
        assert (taken.taken, taken.reached) == (1, 2)
        assert second.take(taken, log[1:]).value.tolist() == [3.0]
        assert (second.counts.duplicate, second.counts.readings) == (1, 2)
        await second.commit()
        assert [row[:2] for row in rows(tmp_path)] == [(10, 1.0), (10, 2.0), (10, 3.0), (11, 1.0)]

    asyncio.run(story())


def test_the_newest_is_looked_for_behind_the_lanes_that_report(tmp_path):
    async def story():
        history = History(str(tmp_path))
        assert stored_upto(history, EPOCH) == 0
        four = historian(tmp_path, 4)
        for number, seq in ((1, 30), (2, 20)):
            lane = await four.add(number, None)
            four.take(lane, [message(seq, (number, 1))])
        await four.commit()
        assert stored_upto(history, EPOCH) == 20

    asyncio.run(story())


def test_a_damaged_memory_is_none(tmp_path):
    memory, seq = Memory.restore(b"\x93nonsense", EPOCH)
    assert (seq, memory.points.size) == (0, 0)
    good = Memory()
    good.judge(Columns.of([3], [5], [1.0], [0]))
    assert Memory.restore(good.save("another log", 7), EPOCH)[1] == 0
    assert Memory.restore(good.save(EPOCH, 7), EPOCH)[1] == 7


def test_lanes_may_become_more_but_not_fewer(tmp_path):
    async def story():
        history = History(str(tmp_path))
        history.append(as_table(Columns.of([1], [1_700_000_000_000], [1.0], [0]), np.array([7])), EPOCH, 7)
        assert place_of(history.create(), EPOCH, 3, 4) == (0, 7)  # one historian alone had it so far
        assert stored_upto(history, EPOCH) == 7
        four = historian(tmp_path, 4)
        lane = await four.add(3, None)
        four.take(lane, [message(7, (5, 1)), message(9, (5, 2))])
        await four.commit()
        assert [row[:2] for row in rows(tmp_path)] == [(1, 1.0), (5, 2.0)]
        assert place_of(history.create(), EPOCH, 14, 16) == (0, 9)
        assert place_of(history.create(), EPOCH, 11, 16) == (0, 7)
        assert stored_upto(history, EPOCH) == 7
        with pytest.raises(OtherLanes, match="4 lanes"):
            place_of(history.create(), EPOCH, 0, 1)

    asyncio.run(story())


@given(
    st.lists(st.tuples(st.integers(0, 2**31 - 1) | st.integers(0, 5), st.integers(0, 20)), max_size=80),
    st.integers(1, 9),
)
def test_a_memory_by_lane_judges_as_one_by_point_id_does(pairs, size):
    few = {p: n for n, (p, _) in enumerate(pairs)}
    one, other = Dedupe(), Memory()
    for start in range(0, len(pairs), size):
        part = pairs[start : start + size]
        times, values = [t for _, t in part], [0.0] * len(part)
        wanted = one.judge(Columns.of([few[p] for p, _ in part], times, values, [0] * len(part)))
        found = other.judge(Columns.of([p for p, _ in part], times, values, [0] * len(part)))
        assert found.tolist() == wanted.tolist()
        other, _ = Memory.restore(other.save(EPOCH, start), EPOCH)
