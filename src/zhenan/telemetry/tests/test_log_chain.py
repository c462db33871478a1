import asyncio
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js.api import Header

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.log import chain as chain_module
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.chain import Chain, Fenced
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 40))


def readings(n: int, *, first: int = 0) -> Columns:
    return Columns.of(range(first, first + n), range(n), np.arange(n) / 2, [0] * n)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**31 - 1), st.integers(), st.floats(), st.integers(0, 255)).filter(
            lambda r: abs(r[1]) < 2**63
        )
    )
)
def test_columns_come_back_as_they_were_packed(rows):
    columns = Columns.of(*(zip(*rows, strict=True) if rows else ((), (), (), ())))
    again = Columns.unpack(columns.pack())
    for name in ("point", "ts", "value", "quality"):
        assert getattr(again, name).tobytes() == getattr(columns, name).tobytes()


def test_damaged_columns_are_refused():
    good = readings(3).pack()
    flipped = good[:20] + bytes([good[20] ^ 1]) + good[21:]
    for bad in (b"", good[:10], good[:-1], good + b"x", flipped, b"XXXX" + good[4:]):
        with pytest.raises(ValueError, match=r"columns|readings"):
            Columns.unpack(bad)


def test_columns_split_by_group_keep_their_order():
    columns = readings(6)
    parts = dict(columns.split(np.array([1, 0, 1, 0, 2, 1])))
    assert {g: c.point.tolist() for g, c in parts.items()} == {0: [1, 3], 1: [0, 2, 5], 2: [4]}


def test_a_commit_whose_answer_was_lost_is_not_written_twice(tmp_nats):
    async def story():
        client = await connect(tmp_nats.url, "test")
        await streams.ensure(client.jetstream())
        chain = Chain(client, streams.READINGS, "readings.0.test")
        await chain.open()
        real, lost = chain._attempt, []

        async def answer_is_lost(data, headers):
            seq = await real(data, headers)
            if not lost:
                lost.append(seq)
                return None
            return seq

        chain._attempt = answer_is_lost
        assert await chain.commit(b"one", {}) == 1
        assert await chain.commit(b"two", {}) == 2
        assert (await client.jetstream().stream_info(streams.READINGS)).state.messages == 2
        await client.close()

    run(story())


def test_of_two_writers_on_one_chain_the_older_is_refused(tmp_nats):
    async def story():
        client = await connect(tmp_nats.url, "test")
        await streams.ensure(client.jetstream())
        old, new = (Chain(client, streams.READINGS, "readings.0.test") for _ in range(2))
        await old.open()
        await old.commit(b"a", {})
        await new.open()
        await new.commit(b"b", {})
        with pytest.raises(Fenced, match="another writer"):
            await old.commit(b"c", {})
        await client.close()

    run(story())


def test_a_follower_reads_each_message_once_over_kills_of_the_broker(tmp_nats):
    async def story():
        client = await connect(tmp_nats.url, "writer")
        await streams.ensure(client.jetstream())
        chain = Chain(client, streams.READINGS, "readings.0.test")
        await chain.open()
        reader = Follower(await connect(tmp_nats.url, "reader"), streams.READINGS, "reader", after=0, batch=16)
        seen: list[bytes] = []

        async def read():
            while len(seen) < 600:
                seen.extend(m.data for m in await reader.read(wait_s=0.5))

        async def write():
            for n in range(600):
                await chain.commit(str(n).encode(), {})

        async def kill():
            for _ in range(3):
                await asyncio.sleep(0.4)
                tmp_nats.kill()
                await asyncio.to_thread(tmp_nats.start)

        await asyncio.gather(read(), write(), kill())
        assert seen == [str(n).encode() for n in range(600)]
        assert (reader.gaps, reader.last) == (0, 600)
        await reader.close()
        await client.close()
        await reader.client.close()

    run(story())


@pytest.mark.parametrize("missing", ["stream", "broker"])
def test_a_reader_that_is_to_end_does_not_wait_for_a_consumer_that_cannot_be_made(tmp_nats, missing):
    async def story():
        client = await connect(tmp_nats.url, "reader")
        reader, leaving = Follower(client, streams.READINGS, "reader"), asyncio.Event()
        if missing == "broker":
            tmp_nats.kill()
            while client.is_connected:
                await asyncio.sleep(0.01)
        reading = asyncio.create_task(reader.read(wait_s=0.05, until=leaving))
        await asyncio.sleep(0.3)
        assert not reading.done()  # it waits through a failure of the broker
        leaving.set()
        assert await asyncio.wait_for(reading, 5) == []
        assert not reader.caught_up
        if missing == "broker":
            tmp_nats.start()
        await client.close()

    run(story())


def test_commits_out_of_turn_that_are_tried_again_are_told_of_with_their_number(tmp_nats, monkeypatch):
    told = []
    monkeypatch.setattr(chain_module.log, "warning", lambda event, **more: told.append((event, more["times"])))

    async def story():
        client = await connect(tmp_nats.url, "test")
        await streams.ensure(client.jetstream())
        chain = Chain(client, streams.READINGS, "readings.0.test")
        await chain.open()
        await chain.commit(b"one", {})
        for after in range(4):
            chain._told_at -= chain_module._TELL_S * (after == 3)  # a second is over
            assert await chain._attempt(b"two", {Header.EXPECTED_LAST_SUBJECT_SEQUENCE: "8"}) is None
        await client.close()

    run(story())
    assert told == [("log.commit_out_of_turn", 1), ("log.commit_out_of_turn", 3)]


def test_a_follower_counts_what_retention_took(tmp_nats):
    async def story():
        client = await connect(tmp_nats.url, "test")
        js = client.jetstream()
        await streams.ensure(js)
        for n in range(5):
            await js.publish("readings.0.test", str(n).encode())
        await js.purge_stream(streams.READINGS, seq=4)
        reader = Follower(client, streams.READINGS, "reader", after=1)
        assert [m.data for m in await reader.read(wait_s=2)] == [b"3", b"4"]
        assert reader.gaps == 2
        await client.close()

    run(story())


class Lanes:
    """Two writers on lane 0, one on lane 1; what is written by "a0" is the next commit of gateway a on lane 0."""

    def __init__(self, client):
        self.client, self.js = client, client.jetstream()
        self.chains = {
            f"{source}{lane}": Chain(client, streams.READINGS, streams.readings_subject(lane, source))
            for source, lane in (("a", 0), ("b", 0), ("a", 1))
        }

    @classmethod
    async def open(cls, url):
        lanes = cls(await connect(url, "test"))
        await streams.ensure(lanes.js)
        for chain in lanes.chains.values():
            await chain.open()
        return lanes

    async def write(self, *names):
        for name in names:
            await self.chains[name].commit(name.encode(), {})

    async def retention_takes(self, upto):
        await self.js.purge_stream(streams.READINGS, seq=upto + 1)

    def reader(self, after):
        return Follower(self.client, streams.READINGS, f"lane-{after}", after=after, subject="readings.0.*")


async def reads(reader, *wanted):
    """Whether the reader gets exactly these, and for the moment no more."""
    found = []
    while len(found) < len(wanted):
        found += [m.seq for m in await reader.read(most=100, wait_s=10)]
    return found == list(wanted) and not await reader.read(wait_s=0.05)


def test_the_reader_of_a_lane_counts_what_retention_took_from_its_lane_alone(tmp_nats):
    async def story():
        lanes = await Lanes.open(tmp_nats.url)
        await lanes.write("a0", "b0", "a1", "a1", "a1", "a0", "b0", "a0", "b0")  # 1 to 9
        read_by_2, read_by_6, read_by_8 = (lanes.reader(after) for after in (2, 6, 8))
        await lanes.retention_takes(7)
        assert await reads(read_by_2, 8, 9)
        assert await reads(read_by_6, 8, 9)
        assert await reads(read_by_8, 9)
        assert read_by_2.gaps == 2  # 6 of a, 7 of b; those of lane 1 are no matter
        assert read_by_6.gaps == 1  # 7 of b
        assert read_by_8.gaps == 0
        await lanes.client.close()

    run(story())


def test_a_reader_that_retention_overtakes_knows_how_many_it_missed(tmp_nats):
    async def story():
        lanes = await Lanes.open(tmp_nats.url)
        await lanes.write("a0", "b0")
        reader = lanes.reader(0)
        assert await reads(reader, 1, 2)
        assert reader.gaps == 0
        await reader._drop()
        await lanes.write("a0", "a0", "a0", "b0", "a0", "b0")  # 3 to 8
        await lanes.retention_takes(6)
        assert await reads(reader, 7, 8)
        assert reader.gaps == 4
        await lanes.write("a0", "b0")
        assert await reads(reader, 9, 10)
        assert reader.gaps == 4
        await lanes.client.close()

    run(story())


def test_a_writer_of_whom_retention_took_everything_tells_where_it_was(tmp_nats):
    async def story():
        lanes = await Lanes.open(tmp_nats.url)
        await lanes.write("a0", "a0", "a1")
        read, behind = lanes.reader(2), lanes.reader(1)
        await lanes.retention_takes(3)  # lane 0 was quiet for as long as the log is deep
        await lanes.write("a0", "a0")
        assert await reads(read, 4, 5)
        assert await reads(behind, 4, 5)
        assert (read.gaps, behind.gaps) == (0, 1)
        await lanes.client.close()

    run(story())


def test_a_reader_that_begins_at_a_moment_misses_nothing_from_before_it(tmp_nats):
    async def story():
        lanes = await Lanes.open(tmp_nats.url)
        await lanes.write("a0", "a0")
        await asyncio.sleep(0.05)
        reader = Follower(
            lanes.client, streams.READINGS, "late", subject="readings.0.*", since_s=time.time(), headers_only=True
        )
        await asyncio.sleep(0.05)
        await lanes.write("a0")
        assert await reads(reader, 3)
        assert reader.gaps == 0
        await lanes.client.close()

    run(story())
