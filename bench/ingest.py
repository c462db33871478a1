"""From devices to judged and durable: readings a second over MQTT QoS 1 and GB/T 26875.3, beside a floor.

    python -m bench.ingest [--json] [--seconds N]

Everything is real: a NATS that flushes every acknowledged message to disk, the gateway in a process of its own, devices
in another that wait for their answers, the judge here. The clock runs from the first message to the last reading
judged.
The floor writes what the log then holds to a file, as many bytes at a time as a commit had, each flushed to disk.

Cases: `mqtt small`: four values a message; `mqtt batch`: a minute of them, 240 values; `gb26875`: frames of 30 values.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import paho.mqtt.client as paho

from zhenan.server import embedded
from zhenan.telemetry.codecs import gb26875
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway.core import Config, Gateway
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.rulefile import parse_rules
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower

DEVICES = 64  # of each protocol
VALUES = 4
OBJECTS = 30
CONNECTIONS = 8
IN_FLIGHT = 64
RULES = """rules:
  - {id: high, kind: threshold, above: 25, clear: 20, level: 2}
  - {id: quiet, kind: silence, after_s: 900, level: 4}
"""
SPAWN = multiprocessing.get_context("spawn")


def register() -> list[SimpleNamespace]:
    """Points of all devices: an MQTT device has VALUES, a transmission device OBJECTS."""
    rows = []
    for n in range(DEVICES):
        names = [("mqtt_json", f"m{n}", f"v{k}") for k in range(VALUES)]
        names += [("gb26875", f"{n + 1:012x}", f"sys1.30.{k}.a3") for k in range(OBJECTS)]
        for protocol, key, channel in names:
            rows.append(
                SimpleNamespace(
                    protocol=protocol, device_key=key, device_id=n + (1000 if protocol == "gb26875" else 0),
                    channel=channel, point_id=len(rows) + 1, scale=1.0, offset=0.0, bit=None, low=None, high=None,
                    states=None,
                )
            )  # fmt: skip
    return rows


def serve(nats_url: str, port: int, ready: Event, stop: Event) -> None:
    """The gateway's process."""

    async def body() -> None:
        client = await connect(nats_url, "gateway")
        rows = register()

        async def stamp() -> str:
            return "1"

        async def load() -> tuple[str, list[SimpleNamespace]]:
            return "1", rows

        limits = Limits(frames_per_s=1e9, burst=1e9)
        config = Config(host="127.0.0.1", ports={"gb26875": port}, limits=limits, messages_per_s=1e9, burst=1e9)
        gateway = Gateway(client, load, stamp, config)
        await gateway.start()
        await gateway.mqtt.ready.wait()
        ready.set()
        await asyncio.to_thread(stop.wait)
        await gateway.stop()
        await client.close()

    import uvloop

    uvloop.run(body())


def publish(mqtt_url: str, samples: int, messages: int, began_ms: int, started: Any) -> None:
    """MQTT devices on a few connections: QoS 1, so many unacknowledged at a time."""
    address = urlsplit(mqtt_url)
    clients, left = [], [messages]
    for n in range(CONNECTIONS):
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=f"bench{n}")
        client.username_pw_set(address.username, unquote(address.password or ""))
        client.max_inflight_messages_set(IN_FLIGHT)
        client.on_publish = lambda *_: left.__setitem__(0, left[0] - 1)
        client.connect(address.hostname or "", address.port or 1883)
        client.loop_start()
        clients.append(client)
    while not all(client.is_connected() for client in clients):
        time.sleep(0.01)
    started.value = time.time()
    for n in range(messages):
        at = began_ms + n // DEVICES * samples
        body = [{"ts": at + k, "values": {f"v{v}": (n + k + v) % 40 for v in range(VALUES)}} for k in range(samples)]
        clients[n % CONNECTIONS].publish(f"d/m{n % DEVICES}/up/telemetry", json.dumps(body), qos=1)
    while left[0] > 0:
        time.sleep(0.002)
    for client in clients:
        client.disconnect()


def send_frames(port: int, frames: int, began_ms: int, started: Any) -> None:
    """Transmission devices, a connection each, several frames unanswered at a time."""

    async def device(n: int, count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = answered = 0
        while answered < count:
            while sent < count and sent - answered < IN_FLIGHT // 4:
                at = began_ms + sent * 1000
                parts = [
                    {"sys_type": 1, "sys_addr": 1, "comp_type": 30, "comp_addr": k, "analog_type": 3,
                     "raw": (sent + k) % 400, "time": local_from_ms(at)}
                    for k in range(OBJECTS)
                ]  # fmt: skip
                writer.write(gb26875.send(f"{n + 1:012x}", "1" * 12, sent + 1, 3, parts, at))
                sent += 1
            answered += len(await reader.readexactly(30)) // 30
        writer.close()

    async def body() -> None:
        started.value = time.time()
        await asyncio.gather(*(device(n, frames // DEVICES) for n in range(DEVICES)))

    asyncio.run(body())


async def judged(nats_url: str, after: int, readings: int) -> tuple[float, list[int]]:
    """(moment at which so many readings behind `after` are judged, bytes of each commit that held them)."""
    client = await connect(nats_url, "judge")
    rows = register()
    keys = [str(row.point_id) for row in rows]
    setup = SimpleNamespace(
        stamp="",
        rules=parse_rules(RULES),
        points=keys,
        registered_at=np.zeros(len(keys), np.int64),
        holidays=np.empty(0, np.int64),
        groups=None,
        composites=(),
        subjects={},
    )
    live, seen, sizes = LiveJudge(setup), 0, []
    follower = Follower(client, streams.READINGS, "bench", after=after)
    while seen < readings:
        messages = await follower.read(most=256, wait_s=1.0)
        if messages:
            columns = Columns.concat([Columns.unpack(message.data) for message in messages])
            live.judge(columns, messages[-1].seq)
            seen += len(columns)
            sizes += [len(message.data) for message in messages if len(message.data) > 16]
    done = time.time()
    await follower.close()
    await client.close()
    return done, sizes


def flushed(folder: Path, sizes: Sequence[int]) -> float:
    """Seconds to write pieces of these sizes to a file, each flushed to disk."""
    pieces = [os.urandom(size) for size in sizes]
    handle = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    start = time.perf_counter()
    for piece in pieces:
        os.write(handle, piece)
        os.fdatasync(handle)
    seconds = time.perf_counter() - start
    os.close(handle)
    return seconds


@contextlib.contextmanager
def running(folder: Path) -> Iterator[tuple[embedded.Nats, int]]:
    """A durable NATS and a gateway."""
    nats = embedded.nats_in(folder, port=0, mqtt_port=0, http_port=0, durable=True)
    engine = embedded.start(nats, log=folder / "nats.log")
    port, ready, stop = embedded.free_port(0), SPAWN.Event(), SPAWN.Event()
    address = urlsplit(nats.mqtt_url)
    first = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="first")  # the broker makes its MQTT streams
    first.username_pw_set(address.username, unquote(address.password or ""))
    first.connect(address.hostname or "", address.port or 1883)
    first.loop_start()
    gateway = SPAWN.Process(target=serve, args=(nats.url, port, ready, stop), daemon=True)
    gateway.start()
    try:
        if not ready.wait(60):
            raise RuntimeError("the gateway did not start within a minute")
        first.disconnect()
        yield nats, port
    finally:
        stop.set()
        gateway.join(10)
        if gateway.is_alive():
            gateway.kill()
        embedded.stop(engine, nats.stop_signal)


def measure(seconds: float = 6.0) -> dict[str, Any]:
    """All figures of one run. Each case is sized by a short run of itself to last about `seconds`."""
    warm_up()
    with tempfile.TemporaryDirectory(prefix="zhenan-bench-") as name, running(Path(name)) as (nats, port):
        folder, began_ms = Path(name), (int(time.time()) - 3 * 86_400) * 1000
        cases = []
        for label, samples in (("mqtt small", 1), ("mqtt batch", 60), ("gb26875", 0)):
            short = _case(nats, port, folder, samples, 1280, began_ms)
            began_ms += 10_000_000
            count = max(1280, round(1280 * seconds / max(short["seconds"], 0.05)))
            cases.append({"case": label, **_case(nats, port, folder, samples, min(count, 200_000), began_ms)})
            began_ms += 50_000_000
    return {"devices": DEVICES, "cases": cases}


def _case(nats: embedded.Nats, port: int, folder: Path, samples: int, messages: int, began_ms: int) -> dict[str, Any]:
    """`samples` 0: frames over TCP, else an MQTT message of so many samples."""
    messages -= messages % DEVICES
    readings = messages * (samples * VALUES if samples else OBJECTS)
    started = SPAWN.Value("d", 0.0)
    given = (nats.mqtt_url, samples, messages, began_ms, started) if samples else (port, messages, began_ms, started)
    sender = SPAWN.Process(target=publish if samples else send_frames, args=given, daemon=True)

    async def body() -> tuple[float, list[int]]:
        client = await connect(nats.url, "bench")
        info = await client.jetstream().stream_info(streams.READINGS)
        await client.close()
        waiting = asyncio.create_task(judged(nats.url, info.state.last_seq, readings))
        await asyncio.sleep(0.2)
        sender.start()
        return await waiting

    done, sizes = asyncio.run(body())
    sender.join(30)
    took = done - started.value
    floor = readings / flushed(folder, sizes)
    return {
        "messages": messages,
        "readings": readings,
        "seconds": round(took, 3),
        "readings_per_s": round(readings / took),
        "messages_per_s": round(messages / took),
        "commits": len(sizes),
        "readings_a_commit": round(readings / max(1, len(sizes))),
        "flush_floor_readings_per_s": round(floor),
        "ratio_to_flush_floor": round(readings / took / floor, 4),
    }


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{found['devices']} devices of each protocol; answered, on disk and judged"]
    for case in found["cases"]:
        lines.append(
            f"{case['case']:<11} {case['readings_per_s']:>9,} readings/s {case['messages_per_s']:>7,} messages/s"
            f" {case['readings_a_commit']:>6} a commit  {case['ratio_to_flush_floor']:.3f} x flush floor"
            f" ({case['flush_floor_readings_per_s'] / 1e6:.1f} M/s)"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench ingest", description="From devices to judged and durable.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=6.0, help="about how long each case lasts")
    options = parser.parse_args(argv)
    found = measure(options.seconds)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
