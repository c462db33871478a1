"""Lanes of the log: what of the register concerns each, and in which order several gateways' readings are judged."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from django.db import connection, connections, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from zhenan.domains.monitoring.queries import JudgeSetup
from zhenan.server import config
from zhenan.server.processes import Process, gateway, judge, setups, sharing
from zhenan.server.processes.setups import divide
from zhenan.telemetry.columns import Columns, partitions
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.ids import alarm_id
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.rulefile import rules_from
from zhenan.telemetry.judge.table import Groups
from zhenan.telemetry.lease import Lost
from zhenan.telemetry.log import states, streams
from zhenan.telemetry.log.chain import Chain
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.log.states import State

HIGH = {"id": "high", "kind": "threshold", "above": 25, "level": 2}
LOW = {"id": "low", "kind": "threshold", "below": 1, "level": 3, "points": ["7"]}
ANY = {"id": "quiet", "kind": "silence", "after_s": 60, "level": 4}


def setup(partition: dict[int, int], *rules: dict[str, object]) -> JudgeSetup:
    """Points by id, each in a partition; as the platform does, by group which rules look at them."""
    made = tuple(rules_from({"rules": list(rules)}))
    looking = [tuple(n for n, r in enumerate(made) if r.points is None or str(p) in r.points) for p in partition]
    return JudgeSetup(
        stamp="s",
        rules=made,
        holidays=np.empty(0, np.int64),
        groups=Groups(looking, np.arange(len(looking), dtype=np.int32)),
        points=[str(point) for point in partition],
        registered_at=np.array([1000 + point for point in partition], np.int64),
        partition=np.array(list(partition.values()), np.uint8),
    )


def test_each_lane_gets_its_points_and_the_rules_that_look_at_them():
    whole = setup({5: 0, 6: 15, 7: 16, 8: 63}, {**HIGH, "points": ["5", "7", "8"]}, LOW, ANY)
    parts = divide(whole, 4)
    assert [part.points for part in parts] == [["5", "6"], ["7"], [], ["8"]]
    assert [part.registered_at.tolist() for part in parts] == [[1005, 1006], [1007], [], [1008]]
    raised = []
    for part in parts:
        points = [int(point) for point in part.points]
        columns = Columns.of(points, [5000] * len(points), [30.0] * len(points), [0] * len(points))
        found = LiveJudge(part).judge(columns, 1)
        raised.append([(one.point, one.rule) for one in found])
    assert raised == [[("5", "high")], [("7", "high")], [], [("8", "high")]]
    assert divide(whole, 1)[0].points == whole.points
    assert len(divide(whole, 64)) == 64


def test_a_lane_refuses_the_points_of_others_and_all_lanes_share_one_table_of_them():
    parts = divide(setup({5: 0, 6: 15, 7: 16, 8: 63}, HIGH), 4)
    live = LiveJudge(parts[0])
    found = live.judge(Columns.of([7, 5, 8, 6, 9, -1], [5000] * 6, [30.0] * 6, [0] * 6), 1)
    assert [t.point for t in found] == ["5", "6"]
    assert (live.counters.refused, live.counters.judged) == (4, 2)
    assert len({id(part.numbers.number) for part in parts}) == len({id(part.numbers.lane) for part in parts}) == 1


COMPOSITES = (
    Composite(id="fire", level=1, kind="all_of", rules=["smoke", "heat"]),
    Composite(id="soon", level=1, kind="all_of", rules=["smoke", "heat"], within_s=3),
    Composite(id="two", level=1, kind="n_of", n=2, rules=["smoke", "heat", "button"]),
)
PARTS = {
    "rules": [
        {"id": "smoke", "kind": "threshold", "above": 5, "level": 2, "points": ["1", "4", "7"]},
        {"id": "heat", "kind": "threshold", "above": 5, "for_s": 1, "level": 2, "points": ["2", "5", "8"]},
        {"id": "button", "kind": "threshold", "above": 5, "level": 2, "points": ["3", "6", "9"]},
    ]
}
# Three houses with a smoke detector, a heat detector and a button each, which are devices of their own. Of two lanes
# the second house is in the other one.
HOUSES = {point: 10 + 40 * ((point - 1) // 3) for point in range(1, 10)}


def city_of_houses() -> JudgeSetup:
    return JudgeSetup(
        stamp="s",
        rules=tuple(rules_from(PARTS)),
        holidays=np.empty(0, np.int64),
        groups=None,
        points=[str(point) for point in HOUSES],
        registered_at=np.zeros(len(HOUSES), np.int64),
        partition=partitions(np.array(list(HOUSES.values()))),
        composites=COMPOSITES,
        subjects={str(point): str(house) for point, house in HOUSES.items()},
    )


def register_of_houses() -> Registry:
    rest = {"scale": 1.0, "offset": 0.0, "bit": None, "low": None, "high": None, "states": None}
    return Registry(
        SimpleNamespace(protocol="gb26875", device_key=f"D{point}", device_id=point * 21, channel="c",
                        point_id=point, subject_id=house, **rest)
        for point, house in HOUSES.items()
    )  # fmt: skip


def as_columns(rows):
    return Columns.of([r[0] for r in rows], [r[1] * 1000 for r in rows], [r[2] for r in rows], [0] * len(rows))


class Book:
    """What is recorded: by identity, the first word stands, as in the database."""

    def __init__(self):
        self.raised, self.cleared = {}, {}

    def record(self, transitions):
        for t in transitions:
            kept, said = (self.raised, t) if t.kind == "raise" else (self.cleared, (t.rule, t.ts))
            before = kept.setdefault(alarm_id(t.point, t.rule, t.onset), said)
            assert repr(before) == repr(said), "it was said otherwise before"


reading = st.tuples(st.sampled_from(list(HOUSES)), st.integers(0, 20), st.sampled_from([0.0, 9.0]))


@settings(max_examples=25, deadline=None)
@given(
    log=st.lists(st.lists(reading, min_size=1, max_size=12), min_size=3, max_size=12),
    lanes=st.sampled_from([2, 64]),
    dice=st.randoms(use_true_random=False),
)
def test_lanes_that_are_judged_in_any_order_and_killed_say_of_composites_what_one_judge_says(log, lanes, dice):
    whole, registry, alone, together = city_of_houses(), register_of_houses(), Book(), Book()
    single = LiveJudge(whole)
    for number, rows in enumerate(log):
        alone.record(single.judge(as_columns(rows), number + 1))
    messages: dict[int, list[Columns]] = {}
    for rows in log:
        columns = as_columns(rows)
        for lane, part in columns.split(registry.partition[columns.point].astype(np.int64) * lanes // 64):
            messages.setdefault(lane, []).append(part)
    parts = divide(whole, lanes)
    judges, kept = {lane: LiveJudge(parts[lane]) for lane in messages}, {lane: [] for lane in messages}
    while todo := [lane for lane in messages if judges[lane].place.seq < len(messages[lane])]:
        lane = dice.choice(todo)
        live = judges[lane]
        together.record(live.judge(messages[lane][live.place.seq], live.place.seq + 1))
        if dice.random() < 0.3:
            kept[lane] = [live.save()]
        if dice.random() < 0.3:  # killed: the next holder takes the lane up as it was kept, and reads on from there
            judges[lane] = LiveJudge.resume(kept[lane], parts[lane])
    assert (together.raised, together.cleared) == (alone.raised, alone.cleared)


@pytest.mark.parametrize("lanes", ["0", "3", "128"])
def test_lanes_are_a_power_of_two_up_to_64(lanes, monkeypatch):
    monkeypatch.setenv("ZHENAN_LOG_LANES", lanes)
    with pytest.raises(config.BadSetting, match="want 1, 2, 4"):
        sharing.lane_count()


@pytest.mark.parametrize("name", ["a.b", "a b", "*", "mqtt"])
def test_a_gateways_name_is_a_word_of_the_log(name, monkeypatch):
    monkeypatch.setenv("ZHENAN_GATEWAY_NAME", name)
    with pytest.raises(config.BadSetting, match="ZHENAN_GATEWAY_NAME"):
        gateway.source_name()


def test_in_a_cluster_a_gateway_is_called_after_its_machine(monkeypatch):
    monkeypatch.delenv("ZHENAN_GATEWAY_NAME", raising=False)
    assert gateway.source_name() == "gateway"
    monkeypatch.setenv("ZHENAN_CLUSTER", "1")
    monkeypatch.setattr(gateway.socket, "gethostname", lambda: "gateway-0.example")
    assert gateway.source_name() == "gateway-0_example"


async def judged(nats, commits, recorded, kept, *, allowed=judge._always):
    """Judge what two gateways wrote to lane 0, in this order: (gateway, second, value) of point 5."""
    client = await connect(nats.url, "test")
    await streams.ensure(client.jetstream())
    chains = {name: Chain(client, streams.READINGS, streams.readings_subject(0, name)) for name in ("g1", "g2")}
    for chain in chains.values():
        await chain.open()
    for name, second, value in commits:
        await chains[name].commit(Columns.of([5], [second * 1000], [value], [0]).pack(), {})

    async def database(call, transitions, **more):
        recorded.extend((t.kind, t.ts // 1000, t.onset // 1000) for t in transitions)

    async def keep(data):
        kept.append(data)

    part = divide(setup({5: 0}, HIGH), 64)[0]
    follower = Follower(client, streams.READINGS, f"t{os.urandom(3).hex()}", subject=streams.readings_subject(0, "*"))
    one = judge.Judging(SimpleNamespace(database=database), LiveJudge(part), follower, keep, lambda: part, allowed)
    try:
        deadline = asyncio.get_running_loop().time() + 10
        while one.live.counters.readings < len(commits) and asyncio.get_running_loop().time() < deadline:
            await one._turn()
        return one.live.counters
    finally:
        await follower.close()
        await client.close()


def test_readings_of_one_point_by_two_gateways_are_judged_in_the_order_of_the_log(tmp_nats):
    commits = [
        ("g1", 10, 30.0),  # raised
        ("g2", 11, 20.0),  # the device went over to another gateway: cleared
        ("g1", 11, 40.0),  # what the first had in hand comes after all: a duplicate,
        ("g1", 9, 40.0),  # and a late one; neither is judged
        ("g2", 12, 26.0),
    ]
    recorded: list[tuple[str, int, int]] = []
    counts = asyncio.run(judged(tmp_nats, commits, recorded, []))
    assert recorded == [("raise", 10, 10), ("clear", 11, 10), ("raise", 12, 12)]
    assert (counts.readings, counts.judged, counts.duplicate, counts.late) == (5, 3, 1, 1)


def test_judging_goes_on_while_the_state_is_kept(tmp_nats):
    recorded: list[tuple[str, int]] = []
    kept: list[bytes] = []
    may_keep = asyncio.Event()

    async def database(_call, transitions, **_more):
        recorded.extend((t.kind, t.ts // 1000) for t in transitions)

    async def keep(data):
        await may_keep.wait()
        kept.append(data)

    async def story():
        client = await connect(tmp_nats.url, "test")
        await streams.ensure(client.jetstream())
        chain = Chain(client, streams.READINGS, streams.readings_subject(0, "g"))
        await chain.open()
        part = divide(setup({5: 0}, HIGH), 64)[0]
        follower = Follower(client, streams.READINGS, "t", subject=streams.readings_subject(0, "*"))
        one = judge.Judging(SimpleNamespace(database=database), LiveJudge(part), follower, keep, lambda: part)
        one._save_s = 0.0  # at the end of each turn
        for second, value in ((10, 30.0), (11, 20.0), (12, 30.0)):
            await chain.commit(Columns.of([5], [second * 1000], [value], [0]).pack(), {})
            while one.live.place.seq < second - 9:
                await one._turn()
        assert (recorded, kept) == ([("raise", 10), ("clear", 11), ("raise", 12)], [])
        may_keep.set()
        await one.save()
        await one.close()
        await follower.close()
        await client.close()
        return [LiveJudge.resume([data], part) for data in kept]

    first, last = asyncio.run(asyncio.wait_for(story(), 30))
    assert (first.place.seq, [t.onset for t in first.engine.raised()]) == (1, [10_000])  # as it was when it was taken
    assert (last.place.seq, [t.onset for t in last.engine.raised()]) == (3, [12_000])


def test_a_judge_whose_lane_is_another_s_records_and_keeps_nothing(tmp_nats):
    async def lost():
        raise Lost("judge lane 0")

    recorded, kept = [], []

    async def story():
        with pytest.raises(Lost):
            await judged(tmp_nats, [("g1", 10, 30.0)], recorded, kept, allowed=lost)

    asyncio.run(story())
    assert (recorded, kept) == ([], [])


@pytest.mark.django_db
def test_the_database_does_not_wait_long_for_a_worker_that_stands_still_in_a_transaction(monkeypatch):
    monkeypatch.setitem(connections.settings["default"], "OPTIONS", {**connections.settings["default"]["OPTIONS"]})
    sharing.let_others_write()
    own = connections["default"].copy()
    own.settings_dict["OPTIONS"] = connections.settings["default"]["OPTIONS"]
    try:
        with own.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("4s",)
    finally:
        own.close()


@pytest.mark.django_db(transaction=True)
def test_a_worker_whose_session_was_ended_while_it_stood_still_makes_its_call_again():
    calls = []

    def claim():
        calls.append(len(calls))
        with transaction.atomic(), connection.cursor() as cursor:
            if len(calls) == 1:  # as after a pause in the middle of writing
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 50")
                time.sleep(0.3)
            cursor.execute("SELECT 7")
            return cursor.fetchone()[0]

    def close():
        connection.close()

    async def story():
        process = Process("test")
        found = await process.database(claim)
        await process.database(close)
        return found

    assert asyncio.run(story()) == 7
    assert calls == [0, 1]


def hand_over(folder: Path, nats_url: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "zhenan.server.cli", "judge", "--hand-over"]
    env = {**os.environ, "NATS_URL": nats_url, "ZHENAN_DATA": str(folder), "PYTHONPATH": str(config.ROOT / "src")}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60)


def test_there_must_be_something_to_hand_over(tmp_nats, tmp_path):
    done = hand_over(tmp_path, tmp_nats.url)
    assert done.returncode == 1
    assert "nothing to hand over" in done.stderr


def test_a_judge_that_was_alone_is_divided_among_lanes_with_the_alarms_that_stand(tmp_nats, tmp_path):
    whole = setup({5: 0, 6: 16, 7: 48, 8: 63}, HIGH)
    alone = LiveJudge(whole)
    alone.place.seq = 41
    raised = alone.judge(Columns.of([5, 6, 7, 8], [1000] * 4, [30.0, 30.0, 10.0, 30.0], [0] * 4), 41)
    assert [t.point for t in raised] == ["5", "6", "8"]
    now = setup({5: 0, 6: 16, 7: 48}, HIGH)  # point 8 is registered no more

    async def story():
        client = await connect(tmp_nats.url, "test")
        await streams.ensure(client.jetstream())
        await states.ensure(client.jetstream())
        alone.place.epoch = await streams.epoch(client.jetstream(), streams.READINGS)
        Generations(tmp_path / "state" / "judge", "judge").save(alone.save())
        done = await asyncio.to_thread(hand_over, tmp_path, tmp_nats.url)
        assert done.returncode == 0, done.stderr
        process_setups = setups.Setups(SimpleNamespace(), 4)
        process_setups._parts = divide(now, 4)
        lanes = judge.Lanes(SimpleNamespace(), client, process_setups, SimpleNamespace())
        found = []
        for lane in range(4):
            state = State(client, "judge", lane, 4, token=7)
            live = await lanes._taken_up(state, await state.open())
            again = await lanes._taken_up(state, await State(client, "judge", lane, 4, token=8).open())
            assert again.place == live.place
            standing = [(t.point, t.onset) for t in live.engine.raised()]
            found.append((live.place.seq, standing, [(t.point, t.kind) for t in live.pending]))
        await client.close()
        return found

    assert asyncio.run(story()) == [
        (41, [("5", 1000)], [("8", "clear")]),  # cleared once, by the first lane of those it was divided into
        (41, [("6", 1000)], []),
        (41, [], []),
        (41, [], []),
    ]


def test_a_pause_is_not_taken_for_the_silence_of_devices(monkeypatch):
    part = setups.LaneSetup("s", (), ["5"], np.array([0], np.int64), np.empty(0, np.int64), None)
    heard = SimpleNamespace(caught_up=True, read=lambda **_: nothing(), waiting=0, gaps=0)

    async def nothing():
        return []

    async def story():
        one = judge.Judging(SimpleNamespace(), LiveJudge(part), heard, lambda data: nothing(), lambda: part)
        advanced = []
        monkeypatch.setattr(one.live, "advance", lambda now: advanced.append(now) or [])
        one.live.stamp = "s"
        clock = one._broken_at
        for at, wanted in ((4, 0), (8, 0), (12, 0), (15, 1), (16, 2), (80, 2), (84, 2), (88, 2), (92, 2), (95, 3)):
            monkeypatch.setattr(judge.time, "monotonic", lambda at=at: clock + at)
            await one._turn()
            assert len(advanced) == wanted, at

    asyncio.run(story())


def test_a_lane_is_taken_up_under_the_register_of_that_moment(monkeypatch):
    """What the holder before judged by a newer register must not be taken for gone."""
    asked: list[str] = []

    async def database(call):
        asked.append(call.__name__)
        await asyncio.sleep(0.01)
        return call()

    def judge_stamp():
        return "new"

    def judge_setup():
        return replace(setup({5: 0, 6: 63}, HIGH), stamp="new")

    monkeypatch.setattr(setups.queries, "judge_stamp", judge_stamp)
    monkeypatch.setattr(setups.queries, "judge_setup", judge_setup)

    async def story():
        process_setups = setups.Setups(SimpleNamespace(database=database), 2)
        process_setups._parts, process_setups.stamp = divide(setup({5: 0}, HIGH), 2), "old"
        await asyncio.gather(*(process_setups.fresh() for _ in range(16)))
        assert [process_setups.of(lane).points for lane in (0, 1)] == [["5"], ["6"]]
        # those who asked when the first was looking already are answered by one more look
        assert asked == ["judge_stamp", "judge_setup", "judge_stamp"]
        await process_setups.fresh()
        assert asked[3:] == ["judge_stamp"]

    asyncio.run(story())


def test_a_lane_looks_at_the_register_before_it_takes_up_what_was_kept(monkeypatch):
    said = []

    async def fresh():
        said.append("looked")

    async def open_():
        said.append("opened")
        raise Lost("enough")

    monkeypatch.setattr(judge, "State", lambda *_: SimpleNamespace(open=open_))
    lanes = judge.Lanes(
        SimpleNamespace(), SimpleNamespace(jetstream=lambda **_: None), SimpleNamespace(lanes=1, fresh=fresh), None
    )

    async def story():
        with pytest.raises(Lost):
            await lanes.serve(SimpleNamespace(lane=0, token=1))

    asyncio.run(story())
    assert said == ["looked", "opened"]
