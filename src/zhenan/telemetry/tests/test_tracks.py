"""Positions: whole over the wire, once in the table, by vehicle or by area; trips and stops of a day on paper."""

import asyncio
import random
import time
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhenan.telemetry.codecs import jt808
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.history.delta import DAY_MS, Span
from zhenan.telemetry.history.keeping import Merging
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower, Message
from zhenan.telemetry.log.generations import Generations
from zhenan.telemetry.tests.gateway_support import gateway, point, readings_of
from zhenan.telemetry.tracks import stream
from zhenan.telemetry.tracks.columns import DEGREE, PositionColumns, from_degrees
from zhenan.telemetry.tracks.judge import FenceJudge
from zhenan.telemetry.tracks.last import LastPositions
from zhenan.telemetry.tracks.table import Box, Tracks
from zhenan.telemetry.tracks.trips import LEFT_OUT, MOVING, STOPPED, Thresholds, track_of
from zhenan.telemetry.tracks.writer import TrackWriter

DAY = date(2026, 3, 5)
T0 = int(datetime(2026, 3, 5, tzinfo=UTC).timestamp() * 1000)
NOW = int(time.time()) * 1000  # a terminal's clock must be believable to the gateway
LAT, LON = 32.2, 119.45
METRE = 1 / 110_574.0  # degrees of latitude


def track(*rows):
    """(vehicle, seconds, metres north of LAT, km/h[, quality]) …"""
    full = [(*row, 0)[:5] for row in rows]
    return PositionColumns.of(
        [r[0] for r in full], [T0 + int(r[1] * 1000) for r in full],
        from_degrees([LAT + r[2] * METRE for r in full]), from_degrees([LON] * len(full)),
        [int(r[3] * 10) for r in full], [0] * len(full), [3] * len(full), [r[4] for r in full],
    )  # fmt: skip


def rows(positions):
    return sorted(zip(*(column.tolist() for column in positions.arrays()), strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**31 - 1), st.integers(-(2**62), 2**62), st.integers(-900_000_000, 900_000_000),
            st.integers(-1_800_000_000, 1_800_000_000), st.integers(0, 65535), st.integers(0, 65535),
            st.integers(0, 2**32 - 1), st.integers(0, 255),
        )
    ),
    st.integers(0, 10_000), st.integers(1, 255),
)  # fmt: skip
def test_positions_travel_unharmed_and_damage_is_seen(found, at, flip):
    positions = PositionColumns.of(*zip(*found, strict=True)) if found else PositionColumns.empty()
    data = positions.pack()
    assert rows(PositionColumns.unpack(data)) == sorted(found)
    broken = bytearray(data)
    broken[at % len(data)] ^= flip
    if bytes(broken[5:8]) == data[5:8]:  # three bytes of the head mean nothing
        with pytest.raises(ValueError, match=r"want|positions"):
            PositionColumns.unpack(bytes(broken))
    with pytest.raises(ValueError, match=r"head|should take"):
        PositionColumns.unpack(data[:-1])


def test_a_location_becomes_one_position_and_a_backfill_all_of_its():
    at = datetime(2026, 3, 5, 8, 0, 0)  # local: 00:00 UTC
    place = {"lat": LAT, "lon": LON, "speed_kmh": 61.5, "direction": 90, "time": at}
    now, header = T0 + 60_000, jt808.Header(msg_id=0x0200, phone="013912345678", serial=1)
    head = jt808.parse(jt808.location(header, **place))
    (position,) = stream.positions_of("jt808", 7, head, now)
    assert position == (7, T0, round(LAT * DEGREE), round(LON * DEGREE), 615, 90, 3, 0)
    many = jt808.parse(jt808.batch(header, [jt808.location_body(**place)] * 3, backfill=True))
    assert [p.vehicle for p in stream.positions_of("jt808", 7, many, now)] == [7, 7, 7]
    assert stream.positions_of("jt808", None, head, now) == []
    assert stream.positions_of("hj212", 7, head, now) == []
    assert stream.positions_of("jt808", 7, head, T0 - 400_000) == []  # its clock is ahead


def message(seq, positions):
    return Message(seq, "positions.t", positions.pack(), {}, 0, 0)


def writer(tmp_path, fences=()):
    return TrackWriter(
        Tracks(str(tmp_path / "p")), Generations(tmp_path / "s", "tracks"), "e1", FenceJudge(fences)
    )  # fmt: skip


def test_a_killed_writer_stores_each_position_once_and_knows_the_last_ones(tmp_path):
    log = [message(n, track((n % 3, n, n, 10), (n % 3, n - 3, n, 10))) for n in range(1, 50)]
    rng = random.Random(3)
    at = 0
    while at < len(log):
        him = writer(tmp_path)
        at = him.committed
        him.take(log[at : at + rng.randrange(1, 8)])
        if rng.random() < 0.4:
            him.table.append = lambda *a: (_ for _ in ()).throw(RuntimeError("killed"))
            with pytest.raises(RuntimeError):
                asyncio.run(him.commit())
        else:
            asyncio.run(him.commit())
        at = writer(tmp_path).committed
    him = writer(tmp_path)
    stored = him.table.read([0, 1, 2], 0, T0 + DAY_MS)
    assert len({row[:2] for row in rows(stored)}) == len(stored) == 49 + 3
    assert rows(him.last.all()) == sorted(rows(track((1, 49, 49, 10), (2, 47, 47, 10), (0, 48, 48, 10))))
    for file in (tmp_path / "s").iterdir():
        file.unlink()
    assert rows(writer(tmp_path).last.all()) == rows(him.last.all())


def test_the_last_position_is_the_newest_usable_one_and_survives_being_saved():
    last = LastPositions()
    last.note(track((5, 10, 1, 0), (5, 30, 3, 0, 1), (5, 20, 2, 0), (9, 1, 0, 0, 1)))
    last.note(track((5, 15, 9, 0)))
    last = LastPositions.restore(last.save())
    assert [(v, ts - T0) for v, ts in zip(last.all().vehicle, last.all().ts, strict=True)] == [(5, 20_000)]
    assert last.heard[5] == T0 + 30_000
    assert last.heard[9] == T0 + 1000


def test_one_vehicles_day_and_all_in_an_area_at_a_moment_are_found(tmp_path):
    him = writer(tmp_path)
    for n in range(4):
        him.take(
            [message(n + 1, track(*((v, n * 21_600 + s * 60, v * 3000, 30) for v in range(20) for s in range(60))))]
        )
        asyncio.run(him.commit())
    for merged in (False, True):
        if merged:
            assert Merging(him.table).run(DAY + timedelta(days=1)) == 4
        found = him.table.read([7], T0, T0 + DAY_MS)
        assert len(found) == 240
        assert (np.diff(found.ts) > 0).all()
        box = Box(LAT + 5000 * METRE, LON - 0.01, LAT + 10_000 * METRE, LON + 0.01)
        moment = him.table.read_area(box, T0 + 21_600_000, T0 + 21_600_000 + 300_000)
        assert sorted(set(moment.vehicle.tolist())) == [2, 3]
        assert len(moment) == 10


def test_an_area_too_large_or_upside_down_is_refused():
    with pytest.raises(ValueError, match="south < north"):
        Box(2, 0, 1, 1)
    with pytest.raises(ValueError, match="4000 cells"):
        Box(0, 0, 10, 10).cells()


def test_a_vehicles_day_touches_a_row_group_an_hour(tmp_path):
    table = Tracks(str(tmp_path / "p"))
    seconds, vehicles = np.arange(0, 86_400, 60), 1500
    n = seconds.size * vehicles
    vehicle = np.tile(np.arange(vehicles), seconds.size)
    ts = T0 + np.repeat(seconds, vehicles) * 1000
    zero = np.zeros(n, np.int64)
    table.append(PositionColumns.of(vehicle, ts, zero + 5, zero, zero, zero, zero, zero), "e", 1)
    seen = table.touched(Span(T0, T0 + DAY_MS, [700]), ["ts"])
    assert seen.of_row_groups == 132  # 2,160,000 positions
    assert 24 <= seen.row_groups <= 48  # at most two an hour, where it lies on the border of two
    hour = table.touched(Span(T0 + 3_600_000, T0 + 3_700_000, None), ["ts"])
    assert hour.row_groups <= 7


def test_positions_go_through_the_log_of_the_broker(tmp_nats):
    async def run():
        client = await connect(tmp_nats.url, "test")
        writing = stream.PositionLog(client, "g1")
        await writing.open()
        await writing.commit([])
        await writing.commit([stream.Position(1, T0, 5, 6, 7, 8, 9, 0), stream.Position(2, T0, 5, 6, 7, 8, 9, 1)])
        reader = Follower(client, stream.POSITIONS, "t")
        messages = await reader.read(most=9, wait_s=2.0)
        await reader.close()
        await client.close()
        return stream.columns_of(messages)

    (positions,) = asyncio.run(run())
    assert rows(positions) == [(1, T0, 5, 6, 7, 8, 9, 0), (2, T0, 5, 6, 7, 8, 9, 1)]


def test_a_day_on_paper_has_its_stops_trips_gap_and_jump():
    parked = [(1, s, 5 * (s // 30 % 2), 0) for s in range(0, 601, 30)]  # ten minutes, wandering by 5 m
    drive = [(1, 630 + 30 * k, 500 * (k + 1), 60) for k in range(10)]  # five kilometres
    wait = [(1, 930 + 30 * k, 5000, 0) for k in range(1, 11)]
    later = [(1, 9000 + 30 * k, 5000 + 500 * k, 60) for k in range(5)]  # after a gap of over two hours
    jump = [(1, 945, 400_000, 60)]
    found = track_of(track(*drive, *parked, *jump, *wait, *later, (1, 700, 3, 0, 1), *wait[:2]))
    assert [((s.t0_ms - T0) // 1000, (s.t1_ms - T0) // 1000) for s in found.stops] == [(0, 600), (900, 1230)]
    assert [((t.t0_ms - T0) // 1000, (t.t1_ms - T0) // 1000) for t in found.trips] == [(600, 900), (9000, 9120)]
    assert found.trips[0].metres == pytest.approx(5000, abs=30)
    assert found.trips[0].most_kmh == 60
    assert (found.jumps, found.unfit) == (1, 1)
    assert found.gaps == [(T0 + 1_230_000, T0 + 9_000_000)]
    assert sorted(np.unique(found.state).tolist()) == [MOVING, STOPPED, LEFT_OUT]


def test_a_track_without_positions_or_of_several_vehicles():
    assert track_of(PositionColumns.empty()).trips == []
    with pytest.raises(ValueError, match="one vehicle"):
        track_of(track((1, 0, 0, 0), (2, 0, 0, 0)))
    with pytest.raises(ValueError, match="above 0"):
        Thresholds(stop_s=0)


def test_a_vehicles_location_is_in_both_logs_when_it_is_acknowledged(tmp_nats):
    def head(serial):
        return jt808.Header(msg_id=0, phone="013800138000", serial=serial)

    place = {"lat": LAT, "lon": LON, "time": local_from_ms(NOW), "speed_kmh": 56.5}
    older = jt808.location_body(**place | {"time": local_from_ms(NOW - 60_000)})
    register = jt808.register(head(1), province=32, city=1100, maker="ZH", model="T1", terminal_id="1", plate_color=1,
                              plate="苏L12345")  # fmt: skip

    async def story():
        async with gateway(tmp_nats, [point("jt808", "13800138000", 9, "speed_kmh", 5)]) as up:
            reader, writer = await asyncio.open_connection("127.0.0.1", up.port("jt808"))
            splitter = jt808.Splitter()

            async def ask(frame):
                writer.write(frame)
                while not (found := splitter.feed(await asyncio.wait_for(reader.read(999), 5))):
                    pass
                return jt808.parse(found[0].raw)["body"]

            code = (await ask(register))["auth_code"]
            await ask(jt808.auth(head(3), code))
            assert (await ask(jt808.location(head(4), **place)))["result"] == jt808.OK
            assert (await ask(jt808.location(head(4), **place)))["result"] == jt808.OK  # sent once more
            assert (await ask(jt808.batch(head(5), [older, older], backfill=True)))["result"] == jt808.OK
            writer.close()
        client = await connect(tmp_nats.url, "test")
        messages = await Follower(client, stream.POSITIONS, "t").read(most=9, wait_s=2.0)
        await client.close()
        return messages

    messages = asyncio.run(story())
    found = [tuple(row[:2]) for positions in stream.columns_of(messages) for row in rows(positions)]
    assert found == [(9, NOW), (9, NOW - 60_000), (9, NOW - 60_000)]
    assert asyncio.run(readings_of(tmp_nats))[0] == (5, NOW, 56.5)
