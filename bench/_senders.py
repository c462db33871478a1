"""Devices for the benches: each sender makes everything it will say first, then sets the clock and sends."""

import asyncio
import json
import struct
import time
from multiprocessing.context import SpawnContext
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from zhenan.telemetry.codecs import gb26875, jt808
from zhenan.telemetry.codecs.base import local_from_ms
from zhenan.telemetry.codecs.batch_points import LOCATION
from zhenan.telemetry.columns import Columns

DEVICES = 64  # of MQTT and of GB/T 26875.3
VALUES = 4  # channels of a JSON device
OBJECTS = 30  # analogue values in a frame
PLACES = len(LOCATION)  # values of a location, mileage among them
CLOUD = 8000  # devices whose readings come over HTTP
PROGRAMS = 32  # that send them, each for devices of its own, so that these keep their order
ROWS = 4000  # readings in an HTTP body
CONNECTIONS = 8
IN_FLIGHT = 256
LINES = 1000  # devices of the cloud that come over MQTT, each by a connection of its own
TOKEN = "zk_bench"
UNANSWERED = 16  # frames of a connection
FIRST_OF_CLOUD = DEVICES * (VALUES + OBJECTS + PLACES) + 1  # point id


class Clock:
    """When a sender began to send, and the processor time it has spent on it by its end. Shared between processes."""

    def __init__(self, context: SpawnContext) -> None:
        self._at = context.Array("d", 2, lock=False)

    def begin(self) -> None:
        """Everything to be said is made; now it is sent."""
        self._at[0], self._at[1] = time.time(), -time.process_time()

    def end(self) -> None:
        """All is answered."""
        self._at[1] += time.process_time()

    @property
    def began(self) -> float:
        """Unix time."""
        return self._at[0]

    @property
    def cpu_s(self) -> float:
        """Processor seconds, once it has ended."""
        return self._at[1]


def mqtt_packet(topic: str, payload: bytes, packet_id: int) -> bytes:
    """PUBLISH, QoS 1, of MQTT 3.1.1."""
    name = topic.encode()
    body = struct.pack(">H", len(name)) + name + struct.pack(">H", packet_id) + payload
    length, size = b"", len(body)
    while True:
        size, seven = size >> 7, size & 127
        length += bytes((seven | (128 if size else 0),))
        if not size:
            return b"\x32" + length + body


async def mqtt_connected(url: str, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that has its CONNACK."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    said = [name.encode(), (address.username or "").encode(), unquote(address.password or "").encode()]
    texts = b"".join(struct.pack(">H", len(text)) + text for text in said)
    body = b"\0\x04MQTT\x04\xc2" + struct.pack(">H", 60) + texts
    writer.write(b"\x10" + bytes((len(body),)) + body)
    answer = await reader.readexactly(4)
    if answer[3]:
        raise RuntimeError(f"the broker refused the connection: {answer[3]}")
    return reader, writer


async def _publish(url: str, name: str, packets: list[bytes], begin: asyncio.Event, in_flight: int = IN_FLIGHT) -> None:
    reader, writer = await mqtt_connected(url, name)
    await begin.wait()
    sent = answered = 0
    while answered < 4 * len(packets):  # a PUBACK has four bytes
        until = min(len(packets), answered // 4 + in_flight)
        if until > sent:
            writer.write(b"".join(packets[sent:until]))
            sent = until
        answered += len(await reader.read(65_536))
    writer.close()


def publish(mqtt_url: str, samples: int, messages: int, began_ms: int, started: Clock, topic: str = "") -> None:
    """MQTT devices on a few connections: QoS 1, so many unacknowledged at a time."""
    packets: list[list[bytes]] = [[] for _ in range(CONNECTIONS)]
    for n in range(messages):
        at = began_ms + n // DEVICES * samples
        body: Any = [
            {"ts": at + k, "values": {f"v{v}": (n + k + v) % 40 for v in range(VALUES)}} for k in range(samples)
        ]
        payload = json.dumps(body[0] if samples == 1 else body, separators=(",", ":")).encode()
        # a device keeps to its connection, so that its messages come in order
        mine = packets[n % DEVICES % CONNECTIONS]
        mine.append(mqtt_packet(topic or f"d/m{n % DEVICES}/up/telemetry", payload, len(mine) % 65_535 + 1))

    async def body_() -> None:
        begin = asyncio.Event()
        tasks = [asyncio.create_task(_publish(mqtt_url, f"bench{n}", mine, begin)) for n, mine in enumerate(packets)]
        await asyncio.sleep(0.5)
        started.begin()
        begin.set()
        await asyncio.gather(*tasks)

    _run(body_(), started)


def publish_each(mqtt_url: str, messages: int, began_ms: int, started: Clock) -> None:
    """MQTT devices with a connection each, which wait for one answer before they say the next."""

    def made(n: int) -> list[bytes]:
        found = []
        for k in range(messages // LINES):
            values = {f"v{v}": (n + k + v) % 40 for v in range(VALUES)}
            payload = json.dumps({"ts": began_ms + k, "values": values}, separators=(",", ":")).encode()
            found.append(mqtt_packet(f"d/h{n:05d}/up/telemetry", payload, k % 65_535 + 1))
        return found

    async def body_() -> None:
        begin = asyncio.Event()
        everything = [made(n) for n in range(LINES)]
        tasks = [asyncio.create_task(_publish(mqtt_url, f"each{n}", everything[n], begin, 1)) for n in range(LINES)]
        await asyncio.sleep(3)
        started.begin()
        begin.set()
        await asyncio.gather(*tasks)

    _run(body_(), started)


def send_frames(port: int, frames: int, began_ms: int, started: Clock) -> None:
    """Transmission devices, a connection each, several frames unanswered at a time."""

    def made(n: int, count: int) -> list[bytes]:
        found = []
        for sent in range(count):
            at = began_ms + sent * 1000
            parts = [
                {"sys_type": 1, "sys_addr": 1, "comp_type": 30, "comp_addr": k, "analog_type": 3,
                 "raw": (sent + k) % 400, "time": local_from_ms(at)}
                for k in range(OBJECTS)
            ]  # fmt: skip
            found.append(gb26875.send(f"{n + 1:012x}", "1" * 12, sent % 65_536, 3, parts, at))
        return found

    async def device(mine: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sent = answered = 0
        while answered < 30 * len(mine):
            until = min(len(mine), answered // 30 + UNANSWERED)
            if until > sent:
                writer.write(b"".join(mine[sent:until]))
                sent = until
            answered += len(await reader.read(65_536))
        writer.close()

    async def body() -> None:
        everything = [made(n, frames // DEVICES) for n in range(DEVICES)]
        started.begin()
        await asyncio.gather(*(device(mine) for mine in everything))

    _run(body(), started)


def phone(number: int) -> str:
    """Of vehicle terminal `number`."""
    return f"{13_800_000_000 + number:012d}"


async def _signed_in(port: int, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A terminal's connection that has registered and given its code."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    form = jt808.Header(msg_id=0, phone=phone(number), serial=0)
    writer.write(jt808.register(form, province=32, city=1100, maker="bench", model="m", terminal_id="1",
                                plate_color=2, plate="苏L00001"))  # fmt: skip
    splitter = jt808.Splitter()

    async def heard() -> dict[str, Any]:
        while not (found := splitter.feed(await reader.read(4096))):
            pass
        return jt808.parse(found[0].raw)

    writer.write(jt808.auth(form, (await heard())["body"]["auth_code"]))
    if (await heard())["body"]["result"]:
        raise RuntimeError(f"terminal {number} may not sign in")
    return reader, writer


def send_locations(port: int, frames: int, began_ms: int, started: Clock) -> None:
    """Vehicle terminals, a connection each: locations with mileage, several unanswered at a time."""

    def made(n: int, count: int) -> list[bytes]:
        form = {"msg_id": 0, "phone": phone(n)}
        return [
            jt808.location(
                jt808.Header(serial=k % 65_536, **form), lat=32.2 + k % 100 / 1e4, lon=119.4 + n / 1e3,
                time=local_from_ms(began_ms + k * 1000), speed_kmh=k % 40, direction=k % 40, alt=12,
                items=[(1, k.to_bytes(4, "big"))],
            )
            for k in range(count)
        ]  # fmt: skip

    async def device(mine: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = answered = 0
        while answered < len(mine):
            until = min(len(mine), answered + UNANSWERED)
            if until > sent:
                writer.write(b"".join(mine[sent:until]))
                sent = until
            answered += (await reader.read(65_536)).count(b"\x7e") // 2  # an answer has a flag at either end
        writer.close()

    async def body() -> None:
        everything = [made(n, frames // DEVICES) for n in range(DEVICES)]
        lines = [await _signed_in(port, n) for n in range(DEVICES)]
        started.begin()
        await asyncio.gather(*(device(mine, *line) for mine, line in zip(everything, lines, strict=True)))

    _run(body(), started)


def body_of(kind: str, number: int, began_ms: int) -> bytes:
    """HTTP body number `number`, of program number % PROGRAMS: ROWS readings, its points in turn."""
    row, points = np.arange(ROWS), CLOUD * VALUES // PROGRAMS
    point = number % PROGRAMS * points + row % points
    turn = number // PROGRAMS * (ROWS // points) + row // points
    value = (point + turn * 7) % 400 / 10
    if kind == "columns":
        return Columns.of(point + FIRST_OF_CLOUD, began_ms + turn, value, np.zeros(ROWS)).pack()
    rows = zip((point // VALUES).tolist(), (point % VALUES).tolist(), (began_ms + turn).tolist(), value.tolist(),
               strict=True)  # fmt: skip
    if kind == "http_json":
        return ("[" + ",".join(f'{{"d":"h{d:05d}","m":"v{m}","t":{t},"v":{v}}}' for d, m, t, v in rows) + "]").encode()
    found = list(rows)
    return "\n".join(
        f"gas,device=h{found[k][0]:05d} " + ",".join(f"v{m}={v}" for _, m, _, v in found[k : k + VALUES])
        + f" {found[k][2]}" for k in range(0, ROWS, VALUES)
    ).encode()  # fmt: skip


PATHS = {"http_json": "/ingest/json", "line": "/ingest/line?precision=ms", "columns": "/ingest/columns"}


def post(port: int, kind: str, requests: int, began_ms: int, started: Clock) -> None:
    """Programs that send bodies of ROWS readings, a few at a time, each over a connection of its own."""
    bodies = [body_of(kind, n, began_ms) for n in range(requests)]
    head = f"POST {PATHS[kind]} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"

    async def program(mine: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        for body in mine:
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            said = json.loads(await reader.readexactly(int(answer.split(b"Content-Length: ")[1].split(b"\r")[0])))
            if said != {"taken": ROWS, "refused": 0}:
                raise RuntimeError(f"not all was taken: {said}")
        writer.close()

    async def body_() -> None:
        started.begin()
        await asyncio.gather(*(program(bodies[n::PROGRAMS]) for n in range(PROGRAMS)))

    _run(body_(), started)


def _run(work: Any, started: Clock) -> None:
    import uvloop

    uvloop.run(work)
    started.end()
