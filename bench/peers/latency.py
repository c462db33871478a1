"""`zhenan bench latency --peers`: from a sample to its alarm, in the platform, VictoriaMetrics with vmalert, Zabbix.

A paced stream of all points, in each body of which one more point goes beyond its threshold and stays there. The clock
of that sample runs from the moment at which its body is due until the alarm is told: by vmalert to what stands in for
an Alertmanager; by Zabbix as an event that another session sees in its database. The platform's figure is that of
`zhenan bench latency` at the same pace: through the gateway and the log to the alarm published. Every point was sent
before.
"""

from __future__ import annotations

import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench import latency
from bench.peers import common, victoria, zabbix
from bench.peers.stream import CHANNELS, POINTS, PROGRAMS, ROWS, Sending, device_name, rows

WAIT_S = 30.0  # for alarms after the last sample


def measure(rate: float, seconds: float) -> dict[str, Any]:
    """All figures of one run."""
    own = latency.measure(rate, seconds)
    found: list[dict[str, Any]] = [
        {"name": "Zhen'an", "alarms": own["readings"] // ROWS, "p50_ms": own["published_p50_ms"],
         "p99_ms": own["published_p99_ms"], "untold": 0}
    ]  # fmt: skip
    for name, running in (("VictoriaMetrics", victoria.running), ("Zabbix", zabbix.running)):
        with tempfile.TemporaryDirectory(prefix="zhenan-peers-") as folder:
            try:
                with partial(running, alarms=True)(Path(folder)) as one:
                    found.append(_measured(one, rate, seconds))
            except common.NotInstalled as err:
                found.append({"name": name, "missing": str(err)})
    return {"rate": rate, "points": POINTS, "load": common.load(), "peers": found}


def _measured(peer: common.Peer, rate: float, seconds: float) -> dict[str, Any]:
    calm = [peer.encode(rows(n, int(time.time() * 1000))) for n in range(PROGRAMS)]
    Sending(peer.target, calm).wait(common.LONGEST_S)
    time.sleep(3.0)  # caches of series, items and rules
    count = max(2 * PROGRAMS, round(rate * seconds / ROWS))
    if count > POINTS:
        raise ValueError(
            f"each body raises a point of its own: at most {POINTS} bodies; {rate=} {seconds=} makes {count}"
        )
    began = time.time() + 12.0 + count * 0.01  # bodies are made and their sender starts first
    due = [began + n * ROWS / rate for n in range(count)]
    bodies = [peer.encode(rows(n, int(due[n] * 1000), high=range(n // PROGRAMS + 1))) for n in range(count)]
    sending = Sending(peer.target, bodies, due)
    sending.wait(seconds + common.LONGEST_S)
    if sending.started > began:
        raise RuntimeError("the bodies were not ready in time; ask for fewer seconds")
    wanted = [_raised(n) for n in range(count)]
    ends = time.monotonic() + WAIT_S
    while any(one not in peer.alarmed for one in wanted) and time.monotonic() < ends:
        time.sleep(0.1)
    took = np.array([peer.alarmed.get(one, np.nan) for one in wanted]) - np.array(due)
    told = took[count // 10 :]  # the first tenth warms up
    return {
        "name": peer.name, "alarms": count,
        "p50_ms": round(float(np.nanpercentile(told, 50)) * 1000, 1),
        "p99_ms": round(float(np.nanpercentile(told, 99)) * 1000, 1), "untold": int(np.isnan(took).sum()),
    }  # fmt: skip


def _raised(number: int) -> tuple[str, str]:
    """The point that body `number` raises."""
    place, first = number // PROGRAMS, number % PROGRAMS * ROWS // len(CHANNELS)
    return device_name(first + place // len(CHANNELS)), CHANNELS[place % len(CHANNELS)]


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"paced at {found['rate']:,.0f} readings/s over {found['points']:,} points; load {found['load']}"]
    for one in found["peers"]:
        lines.append(
            f"{one['name']:<16} {one['missing']}"
            if "missing" in one
            else f"{one['name']:<16} sample → alarm told  p50 {one['p50_ms']:>8,.1f} ms  p99 {one['p99_ms']:>8,.1f} ms"
            f"  {one['alarms']} alarms, {one['untold']} of them never told"
        )
    return "\n".join(lines)


def main(*, as_json: bool, rate: float, seconds: float) -> int:
    """Print the figures."""
    found = measure(rate, seconds)
    print(json.dumps(found) if as_json else table(found))
    return 0
