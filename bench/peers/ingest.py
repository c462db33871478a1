"""`zhenan bench ingest --peers`: the same readings into the platform, VictoriaMetrics and Zabbix.

Each is given every point once before the clock runs (caches are warm, series and items known), then the stream as fast
as it answers. The clock runs from the first body until everything is answered and stored: readings are counted in the
store itself, for row counters lag. CPU is that of the peer's whole process tree (Zabbix's database with it) until its
merges are done. What VictoriaMetrics judges is nothing; its yes comes from memory, Zabbix's too.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.peers import common, ours, victoria, zabbix
from bench.peers.stream import POINTS, PROGRAMS, ROWS, Rows, Sending, rows

PEERS: dict[str, tuple[Callable[..., AbstractContextManager[Any]], float]] = {
    "VictoriaMetrics": (victoria.running, 1.0),
    "Zabbix": (zabbix.running, 0.1),  # a tenth of the readings, so that it lasts about as long
}


def stream_of(readings: int, began_ms: int) -> list[Rows]:
    """Whole turns of all points, a second apart."""
    turns = max(1, readings // POINTS)
    return [rows(n, began_ms + n // PROGRAMS * 1000) for n in range(turns * PROGRAMS)]


def measure(readings: int = 4_000_000) -> dict[str, Any]:
    """All figures of one run."""
    began_ms = (int(time.time()) - 7200) * 1000
    warm, stream = stream_of(POINTS, began_ms), stream_of(readings, began_ms + 1000)
    with tempfile.TemporaryDirectory(prefix="zhenan-peers-") as name:
        found: list[dict[str, Any]] = [ours.measure(Path(name), warm, stream)]
    for peer, (running, share) in PEERS.items():
        part = stream[: max(PROGRAMS, round(len(stream) * share) // PROGRAMS * PROGRAMS)]
        with tempfile.TemporaryDirectory(prefix="zhenan-peers-") as name:
            try:
                with running(Path(name)) as one:
                    found.append(_measured(one, warm, part))
            except common.NotInstalled as err:
                found.append({"name": peer, "missing": str(err)})
    return {"points": POINTS, "load": common.load(), "peers": found}


def _measured(peer: common.Peer, warm: list[Rows], stream: list[Rows]) -> dict[str, Any]:
    first, bodies = [peer.encode(some) for some in warm], [peer.encode(some) for some in stream]
    Sending(peer.target, first).wait(common.LONGEST_S)
    before = _settled(peer, len(first) * ROWS)
    used = peer.cpu_s()
    sending = Sending(peer.target, bodies)
    sending.wait(common.LONGEST_S)
    wanted = before + len(bodies) * ROWS
    common.wait_until(lambda: peer.stored(wanted) >= wanted, f"{peer.name} storing everything")
    done, stored = time.time(), peer.stored(wanted)
    if stored != wanted:
        raise RuntimeError(f"{peer.name} was given {wanted} readings and has stored {stored}")
    peer.settle()
    readings = len(bodies) * ROWS
    return {
        "name": peer.name, "judged_by": peer.judged_by, "readings": readings,
        "readings_per_s": round(readings / (done - sending.started)),
        "answered_per_s": round(readings / (sending.answered - sending.started)),
        "cpu_s_per_million": round((peer.cpu_s() - used) / readings * 1e6, 2),
        "bytes_a_reading": round(peer.disk() / stored, 2),
    }  # fmt: skip


def _settled(peer: common.Peer, wanted: int) -> int:
    """Readings it has stored, when they are all there and no more come."""
    counts = [0]

    def steady() -> bool:
        counts.append(peer.stored(0))
        return counts[-1] >= wanted and counts[-1] == counts[-2]

    common.wait_until(steady, f"{peer.name} storing what warms it up", every_s=1.5)
    return counts[-1]


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{found['points']:,} points, bodies of {ROWS:,} readings; load {found['load']}"]
    for one in found["peers"]:
        if "missing" in one:
            lines.append(f"{one['name']:<16} {one['missing']}")
            continue
        beside = f"  + {one['history_cpu_s_per_million']} for history" if "history_cpu_s_per_million" in one else ""
        lines.append(
            f"{one['name']:<16} {one['readings_per_s']:>9,} readings/s stored  {one['cpu_s_per_million']:>6.2f} CPU s"
            f" per million{beside}  {one['bytes_a_reading']:>6.2f} bytes a reading  judged by {one['judged_by']}"
        )
    return "\n".join(lines)


def main(*, as_json: bool, readings: int) -> int:
    """Print the figures."""
    found = measure(readings)
    print(json.dumps(found) if as_json else table(found))
    return 0
