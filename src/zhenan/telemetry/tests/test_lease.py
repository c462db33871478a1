"""Lanes are shared evenly, change hands in time, and nobody who lost one can keep anything for it."""

import asyncio
import os

import pytest

from zhenan.telemetry import lease as leases
from zhenan.telemetry.lease import Book, Leases, Lost
from zhenan.telemetry.log import states
from zhenan.telemetry.log.chain import Fenced
from zhenan.telemetry.log.connect import connect, servers
from zhenan.telemetry.log.states import State

QUICK = {"beat_s": 0.1, "hold_s": 0.5, "ttl_s": 0.8, "gap_s": 0.4}


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 40))


class Worker:
    """A member with a connection of its own that gives back what it is asked to, at once."""

    def __init__(self, client, role, count, name):
        self.leases = Leases(client, role, count, name=name, **QUICK)
        self.task = asyncio.create_task(self.leases.run())
        self.giving = asyncio.create_task(self._give_back())

    @classmethod
    async def start(cls, url, role, count, name):
        return cls(await connect(url, name), role, count, name)

    async def _give_back(self):
        while True:
            for one in list(self.leases.held.values()):
                if one.leaving.is_set():
                    self.leases.release(one)
            await asyncio.sleep(0.02)

    @property
    def lanes(self):
        return sorted(self.leases.held)

    def pause(self):
        self.task.cancel()

    def wake(self):
        self.task = asyncio.create_task(self.leases.run())

    async def end(self):
        self.task.cancel()
        self.giving.cancel()
        await self.leases.client.close()


async def until(condition, within_s=10.0):
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it never came so"
        await asyncio.sleep(0.01)


def spread(*workers):
    return [len(worker.lanes) for worker in workers]


def all_lanes(*workers):
    return sorted(lane for worker in workers for lane in worker.lanes)


@pytest.mark.parametrize(("count", "names", "wanted"), [(64, 3, [22, 21, 21]), (1, 3, [1, 0, 0]), (8, 4, [2, 2, 2, 2])])
def test_shares_are_even(count, names, wanted):
    book = Book(count, members={f"m{n}": f"m{n}" for n in range(names)})
    assert [book.share(f"m{n}") for n in range(names)] == wanted


def test_lanes_are_shared_evenly_as_workers_come_and_go(nats_url):
    async def story():
        role = f"r{os.urandom(3).hex()}"
        one = await Worker.start(nats_url, role, 8, "one")
        await until(lambda: spread(one) == [8])
        two = await Worker.start(nats_url, role, 8, "two")
        await until(lambda: spread(one, two) == [4, 4])
        assert all_lanes(one, two) == list(range(8))
        three = await Worker.start(nats_url, role, 8, "three")
        await until(lambda: sorted(spread(one, two, three)) == [2, 3, 3])
        assert all_lanes(one, two, three) == list(range(8))
        await three.leases.leave()  # in good order: nobody waits for a lapse
        three.pause()
        await until(lambda: spread(one, two) == [4, 4], within_s=QUICK["ttl_s"])
        for worker in (one, two, three):
            await worker.end()

    run(story())


def test_a_worker_that_stands_still_is_put_out_after_it_has_stopped_by_its_own_clock(nats_url):
    async def story():
        role = f"r{os.urandom(3).hex()}"
        one, two = [await Worker.start(nats_url, role, 4, name) for name in ("one", "two")]
        await until(lambda: spread(one, two) == [2, 2])
        held = list(one.leases.held.values())
        one.pause()
        stopped_before = []

        def taken():
            if spread(two) != [4]:
                return False
            stopped_before.append(not one.leases.valid())
            return True

        await until(taken)
        assert stopped_before == [True]
        assert all(two.leases.held[lease.lane].token > lease.token for lease in held)
        one.wake()
        with pytest.raises(Lost):
            await asyncio.wait_for(one.leases.ensure(held[0]), 5)
        await until(lambda: spread(one, two) == [2, 2])  # and it joins again as a new member
        assert one.leases.evicted == 1
        for worker in (one, two):
            await worker.end()

    run(story())


def test_a_beat_whose_answer_was_lost_is_recognised(nats_url):
    async def story():
        one = await Worker.start(nats_url, f"r{os.urandom(3).hex()}", 2, "one")
        await until(lambda: spread(one) == [2])
        one.pause()
        await asyncio.sleep(0.05)
        before = one.leases._revision
        assert await one.leases._beat()
        one.leases._attempts = {(await one.leases._kv.get(one.leases._key(one.leases.member))).value: 0.0}
        one.leases._revision = before  # as if we had never heard of it
        assert await one.leases._beat()
        assert one.leases._revision > before
        assert spread(one) == [2]
        await one.end()

    run(story())


def test_while_the_broker_is_away_holders_wait_and_then_go_on_with_what_they_had(tmp_nats):
    async def story():
        one, two = [await Worker.start(tmp_nats.url, "judge", 4, name) for name in ("one", "two")]
        await until(lambda: spread(one, two) == [2, 2])
        tokens = {
            **{k: v.token for k, v in one.leases.held.items()},
            **{k: v.token for k, v in two.leases.held.items()},
        }
        tmp_nats.kill()
        await until(lambda: not one.leases.valid() and not two.leases.valid())
        asking = asyncio.create_task(one.leases.ensure(next(iter(one.leases.held.values()))))
        await asyncio.sleep(1.5)
        assert not asking.done()
        await asyncio.to_thread(tmp_nats.start)
        await asking
        await until(lambda: one.leases.valid() and two.leases.valid())
        await asyncio.sleep(1.0)
        again = {**{k: v.token for k, v in one.leases.held.items()}, **{k: v.token for k, v in two.leases.held.items()}}
        assert again == tokens
        assert one.leases.evictions + two.leases.evictions == 0
        for worker in (one, two):
            await worker.end()

    run(story())


def test_workers_that_were_told_different_lanes_do_not_share(nats_url):
    async def story():
        role = f"r{os.urandom(3).hex()}"
        one = await Worker.start(nats_url, role, 4, "one")
        await until(lambda: spread(one) == [4])
        two = await Worker.start(nats_url, role, 8, "two")
        with pytest.raises(leases.WrongLanes, match="one share 4 lanes, this worker was told 8"):
            await two.task
        for worker in (one, two):
            await worker.end()

    run(story())


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_a_state_is_taken_up_by_the_next_holder_and_refused_from_the_one_before(nats_url, size):
    async def story():
        client = await connect(nats_url, "test")
        await states.ensure(client.jetstream())
        role = f"r{os.urandom(3).hex()}"
        first = State(client, role, 3, 16, token=5)
        assert await first.open() is None
        kept = os.urandom(size)
        await first.save(kept)
        await first.save(kept)
        second = State(client, role, 3, 16, token=6)
        assert await second.open() == kept
        with pytest.raises(Fenced):
            await first.save(b"from beyond the grave")
        await second.save(b"new")
        with pytest.raises(Fenced):
            await State(client, role, 3, 16, token=4).open()
        assert await State(client, role, 3, 16, token=7).open() == b"new"
        if size > states.PART:
            subjects = (
                await client.jetstream().stream_info(states.STATES, subjects_filter=f"states.{role}.>")
            ).state.subjects
            assert subjects[f"states.{role}.16.3.head"] == 1
        await client.close()

    run(story())


def test_several_addresses_share_the_login_of_the_first():
    assert servers("nats://u:p@a:4222, b:4222,nats://x:y@c:4222") == [
        "nats://u:p@a:4222",
        "nats://u:p@b:4222",
        "nats://x:y@c:4222",
    ]
    assert servers("nats://a:4222") == ["nats://a:4222"]
