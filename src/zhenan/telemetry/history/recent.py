"""The newest readings, also those of the last seconds that are in the log and not yet in the table."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import nats
import numpy as np

from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.lanes import stored_upto
from zhenan.telemetry.history.table import History
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import PASSING, servers
from zhenan.telemetry.log.follower import Follower

_MOST = 20_000  # messages of the log looked through


async def tail(nats_url: str, history: History, points: Sequence[int], t0_ms: int, *, wait_s: float = 2.0) -> Columns:
    """Readings of these points from t0 on that the log holds behind the table's last commit; none without NATS."""
    try:
        client = await nats.connect(
            servers(nats_url), connect_timeout=1, max_reconnect_attempts=0, allow_reconnect=False
        )
    except PASSING:
        return Columns.empty()
    try:
        return await asyncio.wait_for(_tail(client, history, points, t0_ms), wait_s)
    except PASSING:
        return Columns.empty()
    finally:
        await client.close()


async def _tail(client: nats.NATS, history: History, points: Sequence[int], t0_ms: int) -> Columns:
    js = client.jetstream(timeout=1)
    epoch = await streams.epoch(js, streams.READINGS)
    after = await asyncio.to_thread(stored_upto, history, epoch)
    last = (await js.stream_info(streams.READINGS)).state.last_seq
    reader = Follower(client, streams.READINGS, f"recent-{os.urandom(6).hex()}", after=max(after, last - _MOST))
    wanted = np.unique(np.array(points, np.int32))
    found: list[Columns] = []
    try:
        while reader.last < last:
            for message in await reader.read(most=512, wait_s=0.5):
                columns = Columns.unpack(message.data)
                part = columns.take(np.isin(columns.point, wanted) & (columns.ts >= t0_ms))
                if len(part):
                    found.append(part)
    finally:
        await reader.close()
    return Columns.concat(found)


def _newest(nats_url: str, history: History, points: Sequence[int], t0_ms: int) -> Columns:
    """The log's tail, from a thread of its own: the caller's may have a loop running."""
    with ThreadPoolExecutor(1) as own:
        return own.submit(lambda: asyncio.run(tail(nats_url, history, points, t0_ms))).result()


def recent(nats_url: str, history: History, points: Sequence[int], t0_ms: int, t1_ms: int | None = None) -> Columns:
    """Readings of these points with t0 <= ts < t1 (None: up to now), by time, each once. For code without a loop."""
    end = 253_402_300_799_999 if t1_ms is None else t1_ms
    newest = _newest(nats_url, history, points, t0_ms) if nats_url else Columns.empty()
    both = Columns.concat([history.read(points, t0_ms, end), newest.take(newest.ts < end)])
    order = np.lexsort((both.point, both.ts))
    both = both.take(order)
    if not len(both):
        return both
    first = np.ones(len(both), bool)
    first[1:] = (np.diff(both.ts) != 0) | (np.diff(both.point) != 0)
    return both.take(first)
