"""The platform beside its peers: the same readings as line protocol, judged by three rules, on disk at the yes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench._senders import FIRST_OF_CLOUD
from bench.ingest import judged, running
from bench.peers import common
from bench.peers.stream import ROWS, Rows, Sending, Target, as_lines

from zhenan.server import embedded
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.history.keeping import Merging
from zhenan.telemetry.history.table import History, as_table, finished
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect

PATH = "/ingest/line?precision=ms"


async def _last(nats_url: str) -> int:
    client = await connect(nats_url, "bench")
    info = await client.jetstream().stream_info(streams.READINGS)
    await client.close()
    return int(info.state.last_seq)


async def _through(nats: embedded.Nats, target: Target, bodies: Sequence[bytes]) -> tuple[Sending, float]:
    """Send and judge; when the last reading was judged."""
    judging = asyncio.create_task(judged(nats.url, await _last(nats.url), len(bodies) * ROWS))
    await asyncio.sleep(0.2)
    sending = Sending(target, bodies)
    done, _ = await asyncio.wait_for(judging, common.LONGEST_S)
    await asyncio.to_thread(sending.wait, common.LONGEST_S)
    return sending, done


@contextlib.contextmanager
def _engines(folder: Path) -> Iterator[tuple[embedded.Nats, Target, list[psutil.Process]]]:
    """NATS and the gateway, the latter in a process of its own."""
    before = set(psutil.Process().children())
    with running(folder, durable=True) as (nats, ports):
        yield nats, Target("http", ports["http"], PATH), [p for p in psutil.Process().children() if p not in before]


def measure(folder: Path, warm: Sequence[Rows], stream: Sequence[Rows]) -> dict[str, Any]:
    """The figures of the gateway, the log and the judge; and of history, which takes the same readings."""
    warm_up()
    first, bodies = [as_lines(rows) for rows in warm], [as_lines(rows) for rows in stream]
    with _engines(folder) as (nats, target, roots):
        asyncio.run(_through(nats, target, first))
        used, own = common.cpu_s(roots), time.process_time()
        sending, done = asyncio.run(_through(nats, target, bodies))
        used = common.cpu_s(roots) - used + time.process_time() - own
    readings = len(bodies) * ROWS
    history_s, size = _history(folder, stream)
    return {
        "name": "Zhen'an", "judged_by": "three rules a point", "readings": readings,
        "readings_per_s": round(readings / (done - sending.started)),
        "cpu_s_per_million": round(used / readings * 1e6, 2),
        "history_cpu_s_per_million": round(history_s / readings * 1e6, 2),
        "bytes_a_reading": round(size / readings, 2),
    }  # fmt: skip


def _history(folder: Path, stream: Sequence[Rows]) -> tuple[float, int]:
    """(CPU seconds to write and merge the readings as the historian does, bytes they then take)."""
    table, own = History(str(folder / "history")), os.times()
    for seq, part in enumerate(np.array_split(np.arange(len(stream)), max(1, len(stream) * ROWS // 500_000)), 1):
        some = [stream[n] for n in part]
        point = [FIRST_OF_CLOUD + rows.first * rows.value.shape[1] + np.arange(ROWS) for rows in some]
        columns = Columns.of(
            np.concatenate(point), np.repeat([rows.at_ms for rows in some], ROWS),
            np.concatenate([rows.value.ravel() for rows in some]), np.zeros(len(some) * ROWS),
        )  # fmt: skip
        table.append(as_table(columns, np.full(len(columns), seq, np.int64)), "bench", seq)
    Merging(table, finished).run(datetime.now(UTC).date().replace(year=2100))
    now = os.times()
    size = sum(file.size for file in table.files())
    shutil.rmtree(folder / "history")
    return now.user + now.system - own.user - own.system, size
