"""From devices to judged and durable: readings a second over each way in, beside a floor of the same run.

    python -m bench.ingest [--json] [--seconds N] [--only CASE] [--lanes N]

Everything is real: a NATS that flushes every acknowledged message to disk, the gateway in a process of its own, devices
in another that wait for their answers, the judge here, three rules a point. The clock runs from the first message to
the last reading judged. Beside each rate stands the processor time that each process spent on a reading: what the
machine limits, however busy it is with other things; the devices' own part would be other machines'.
The floor writes what the log then holds to a file, as many bytes at a time as a commit had, each flushed to disk.

Cases: `columns`, `http_json`, `line`: bodies of 4,000 readings over HTTP; `gb26875`: frames of 30 values;
`jt808`: locations with mileage, 8 values; `mqtt batch`: a minute of four values a message, QoS 1; `mqtt single`: one
sample of four values a message; `mqtt each`: the same from a thousand devices, a connection each and one message at a
time. These come to the gateway's port. `mqtt queue`: single messages to the broker's own port, which flushes each
before it answers; `mqtt interval`: the same on a broker that flushes every two minutes (safe against kill, not against
power loss). Beside single messages stands the broker alone, which the same devices fill with nobody reading.
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
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
import paho.mqtt.client as paho
import psutil
from bench import _senders as senders
from bench._senders import CLOUD, DEVICES, LINES, OBJECTS, PLACES, ROWS, TOKEN, VALUES
from nats.js.api import ConsumerConfig

from zhenan.server import embedded
from zhenan.telemetry.codecs.batch_points import LOCATION
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway.core import Config, Gateway
from zhenan.telemetry.gateway.keys import Key, digest_of
from zhenan.telemetry.gateway.mqtt_front import MqttLimits
from zhenan.telemetry.gateway.tcp import Limits
from zhenan.telemetry.judge.engine import warm_up
from zhenan.telemetry.judge.live import LiveJudge
from zhenan.telemetry.judge.rulefile import parse_rules
from zhenan.telemetry.log import streams
from zhenan.telemetry.log.connect import connect
from zhenan.telemetry.log.follower import Follower

RULES = """rules:
  - {id: high, kind: threshold, above: 45, clear: 42, level: 2}
  - {id: very_high, kind: threshold, above: 60, clear: 55, level: 1}
  - {id: quiet, kind: silence, after_s: 900, level: 4}
"""
SPAWN = multiprocessing.get_context("spawn")


def register() -> list[SimpleNamespace]:
    """Points of all devices: VALUES of one of MQTT or of the cloud, OBJECTS of one of fire, PLACES of a vehicle."""
    names = []
    for n in range(DEVICES):
        names += [("mqtt_json", f"m{n}", n, f"v{k}") for k in range(VALUES)]
        names += [("gb26875", f"{n + 1:012x}", 10_000 + n, f"sys1.30.{k}.a3") for k in range(OBJECTS)]
        names += [("jt808", senders.phone(n), 40_000 + n, channel) for channel in LOCATION]
    names += [("mqtt_json", f"h{n:05d}", 20_000 + n, f"v{k}") for n in range(CLOUD) for k in range(VALUES)]
    return [
        SimpleNamespace(
            protocol=protocol, device_key=key, device_id=device, channel=channel, point_id=number, scale=1.0,
            offset=0.0, bit=None, low=None, high=None, states=None,
        )
        for number, (protocol, key, device, channel) in enumerate(names, 1)
    ]  # fmt: skip


def serve(nats_url: str, mqtt_url: str, ports: dict[str, int], lanes: int, ready: Event, stop: Event) -> None:
    """The gateway's process."""

    async def body() -> None:
        client = await connect(nats_url, "gateway")
        rows = register()

        async def stamp() -> str:
            return "1"

        async def load() -> tuple[str, list[SimpleNamespace]]:
            return "1", rows

        async def keys() -> list[Key]:
            return [Key(1, "bench", digest_of(TOKEN), 1e12, 1e12)]

        limits = Limits(frames_per_s=1e9, burst=1e9)
        broker = urlsplit(mqtt_url)
        config = Config(
            host="127.0.0.1", ports=ports, limits=limits, messages_per_s=1e9, burst=1e9, lanes=lanes,
            mqtt_broker=(broker.hostname or "", broker.port or 0), mqtt_user=broker.username or "",
            mqtt_limits=MqttLimits(messages_per_s=1e9, burst=1e9),
        )  # fmt: skip
        gateway = Gateway(client, load, stamp, config, keys)
        await gateway.start()
        await gateway.mqtt.ready.wait()
        for warming in (gateway.mqtt.warming, gateway.front.warming if gateway.front else None):
            if warming is not None:
                await warming
        ready.set()
        await asyncio.to_thread(stop.wait)
        await gateway.stop()
        await client.close()

    import uvloop

    uvloop.run(body())


def setup_of() -> SimpleNamespace:
    """What the judge judges by: three rules on every point."""
    keys = [str(row.point_id) for row in register()]
    return SimpleNamespace(
        stamp="", rules=parse_rules(RULES), points=keys, registered_at=np.zeros(len(keys), np.int64),
        holidays=np.empty(0, np.int64), groups=None, composites=(), subjects={},
    )  # fmt: skip


async def judged(nats_url: str, after: int, readings: int) -> tuple[float, list[int]]:
    """(moment at which so many readings behind `after` are judged, bytes of each commit that held them)."""
    client = await connect(nats_url, "judge")
    live, seen, sizes = LiveJudge(setup_of()), 0, []
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


class Platform(NamedTuple):
    """What is measured. `processes`: who it runs in, by name."""

    nats: embedded.Nats
    ports: dict[str, int]
    processes: dict[str, psutil.Process]

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds of each process so far, the kernel's on its behalf too; this one is the judge."""
        found = {name: sum(process.cpu_times()[:2]) for name, process in self.processes.items()}
        return {**found, "judge": time.process_time()}


@contextlib.contextmanager
def running(folder: Path, *, durable: bool, lanes: int = 1) -> Iterator[Platform]:
    """A NATS and a gateway."""
    nats = embedded.nats_in(folder, port=0, mqtt_port=0, http_port=0, durable=durable)
    engine = embedded.start(nats, log=folder / "nats.log")
    ports = {name: embedded.free_port(0) for name in ("gb26875", "jt808", "http", "mqtt")}
    ready, stop = SPAWN.Event(), SPAWN.Event()
    address = urlsplit(nats.mqtt_url)
    first = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="first")  # the broker makes its MQTT streams
    first.username_pw_set(address.username, unquote(address.password or ""))
    first.connect(address.hostname or "", address.port or 1883)
    first.loop_start()
    gateway = SPAWN.Process(target=serve, args=(nats.url, nats.mqtt_url, ports, lanes, ready, stop), daemon=True)
    gateway.start()
    try:
        if not ready.wait(180):  # after a change the loops are compiled anew
            raise RuntimeError("the gateway did not start within three minutes")
        first.disconnect()
        yield Platform(nats, ports, {"nats": psutil.Process(engine.pid), "gateway": psutil.Process(gateway.pid)})
    finally:
        stop.set()
        gateway.join(10)
        if gateway.is_alive():
            gateway.kill()
        embedded.stop(engine, nats.stop_signal)


class Case:
    """One way in: how many readings a message has, a first guess of messages a second, and who sends them."""

    def __init__(
        self, name: str, readings: int, guess: int, most: int, *, durable: bool = True, front: bool = True
    ) -> None:
        self.name, self.readings, self.guess, self.most, self.durable = name, readings, guess, most, durable
        self.front = front

    def sender(self, nats: embedded.Nats, ports: dict[str, int]) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """The sender's function and its first arguments."""
        if self.name in senders.PATHS:
            return senders.post, (ports["http"], self.name)
        if self.name == "gb26875":
            return senders.send_frames, (ports["gb26875"],)
        if self.name == "jt808":
            return senders.send_locations, (ports["jt808"],)
        url = nats.mqtt_url
        if self.front:
            url = url.rpartition(":")[0] + f":{ports['mqtt']}"
        if self.name == "mqtt each":
            return senders.publish_each, (url,)
        return senders.publish, (url, self.readings // VALUES)


CASES = [
    Case("columns", ROWS, 800, 4000), Case("http_json", ROWS, 300, 1500), Case("line", ROWS, 300, 1500),
    Case("gb26875", OBJECTS, 3000, 60_000), Case("jt808", PLACES, 10_000, 200_000),
    Case("mqtt batch", 60 * VALUES, 2000, 16_000), Case("mqtt single", VALUES, 60_000, 1_000_000),
    Case("mqtt each", VALUES, 10_000, 200_000),
    Case("mqtt queue", VALUES, 2000, 20_000, front=False),
    Case("mqtt interval", VALUES, 20_000, 300_000, durable=False, front=False),
]  # fmt: skip


def measure(seconds: float = 6.0, only: str = "", lanes: int = 1) -> dict[str, Any]:
    """All figures of one run. Each case is sized by a short run of itself to last about `seconds`."""
    warm_up()
    found = []
    for durable in (True, False):
        cases = [case for case in CASES if case.durable == durable and only in ("", case.name)]
        if not cases:
            continue
        with (
            tempfile.TemporaryDirectory(prefix="zhenan-bench-") as name,
            running(Path(name), durable=durable, lanes=lanes) as platform,
        ):
            began_ms = (int(time.time()) - 30 * 86_400) * 1000
            for case in cases:
                short = _case(case, platform, Path(name), DEVICES * -(-case.guess // 10 // DEVICES), began_ms)
                began_ms += 100_000_000
                count = min(case.most, max(case.guess // 4, round(short["messages"] * seconds / short["seconds"])))
                found.append({"case": case.name, **_case(case, platform, Path(name), count, began_ms)})
                began_ms += 200_000_000
    return {"devices": DEVICES, "lanes": lanes, "cases": found}


def _case(case: Case, platform: Platform, folder: Path, messages: int, began_ms: int) -> dict[str, Any]:
    many = LINES if case.name == "mqtt each" else DEVICES
    messages = max(many, messages - messages % many)
    readings = messages * case.readings
    nats, clock = platform.nats, senders.Clock(SPAWN)
    send, given = case.sender(nats, platform.ports)
    sender = SPAWN.Process(target=send, args=(*given, messages, began_ms, clock), daemon=True)

    async def body() -> tuple[float, list[int]]:
        client = await connect(nats.url, "bench")
        info = await client.jetstream().stream_info(streams.READINGS)
        await client.close()
        waiting = asyncio.create_task(judged(nats.url, info.state.last_seq, readings))
        await asyncio.sleep(0.2)
        sender.start()
        while not clock.began and sender.is_alive():  # until then it makes what it will say, and connects
            await asyncio.sleep(0.001)
        before.update(platform.cpu_s())
        return await asyncio.wait_for(waiting, 300)

    before: dict[str, float] = {}
    done, sizes = asyncio.run(body())
    sender.join(30)
    cpu_s = {name: seconds - before[name] for name, seconds in platform.cpu_s().items()}
    took = done - clock.began
    floor = readings / flushed(folder, sizes)
    found = {
        "messages": messages,
        "readings": readings,
        "seconds": round(took, 3),
        "readings_per_s": round(readings / took),
        "messages_per_s": round(messages / took),
        "commits": len(sizes),
        "readings_a_commit": round(readings / max(1, len(sizes))),
        "flush_floor_readings_per_s": round(floor),
        "ratio_to_flush_floor": round(readings / took / floor, 4),
        "cpu_us_a_reading": {
            name: round(seconds / readings * 1e6, 4) for name, seconds in {"sender": clock.cpu_s, **cpu_s}.items()
        },
    }
    if case.readings == VALUES and case.name.startswith("mqtt"):
        alone = asyncio.run(_broker_alone(nats, min(messages, 8_000 if case.durable else 300_000)))
        found |= {"broker_alone_messages_per_s": round(alone), "ratio_to_broker": round(messages / took / alone, 4)}
    return found


async def _broker_alone(nats: embedded.Nats, messages: int) -> float:
    """Messages a second that the broker stores and acknowledges when nobody reads them."""
    client = await connect(nats.url, "floor")
    js = client.jetstream(timeout=60)
    wanted = ConsumerConfig(durable_name="floor", filter_subject="$MQTT.msgs.d.floor.up")  # else it would keep nothing
    await js.add_consumer(streams.MQTT, wanted)
    clock = senders.Clock(SPAWN)
    sender = SPAWN.Process(
        target=senders.publish, args=(nats.mqtt_url, 1, messages, 0, clock, "d/floor/up"), daemon=True
    )
    sender.start()
    await asyncio.to_thread(sender.join, 120)
    done = time.time()
    await js.delete_consumer(streams.MQTT, "floor")
    await client.close()
    return messages / (done - clock.began)


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"answered, on disk and judged by three rules a point; {found['lanes']} lane(s)"]
    for case in found["cases"]:
        beside = (
            f"{case['ratio_to_flush_floor']:.3f} x flush floor ({case['flush_floor_readings_per_s'] / 1e6:.1f} M/s)"
        )
        if "ratio_to_broker" in case:
            beside = (
                f"{case['ratio_to_broker']:.3f} x the broker alone ({case['broker_alone_messages_per_s']:,} messages/s)"
            )
        spent = "  ".join(f"{name} {us:.3f}" for name, us in case["cpu_us_a_reading"].items())
        lines.append(
            f"{case['case']:<13} {case['readings_per_s']:>9,} readings/s {case['messages_per_s']:>7,} messages/s"
            f" {case['readings_a_commit']:>6} a commit  {beside}\n{'':<13} CPU µs a reading: {spent}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench ingest", description="From devices to judged and durable.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--seconds", type=float, default=6.0, help="about how long each case lasts")
    parser.add_argument("--only", default="", choices=[case.name for case in CASES], help="one case")
    parser.add_argument("--lanes", type=int, default=1, help="lanes of the readings log")
    parser.add_argument(
        "--peers", action="store_true", help="instead: beside VictoriaMetrics and Zabbix, on one stream"
    )
    parser.add_argument("--peer-readings", type=int, default=4_000_000, help="readings of that stream")
    options = parser.parse_args(argv)
    if options.peers:
        from bench.peers import ingest as peers

        return peers.main(as_json=options.json, readings=options.peer_readings)
    found = measure(options.seconds, options.only, options.lanes)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
