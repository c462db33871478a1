"""The one stream of readings that everyone gets, each in the words it understands, and the programs that send it.

32,000 points (8,000 devices of four channels), sent by 16 programs, each for points of its own. A body has ROWS
readings: one of each point of a program. Values have one decimal, at random between 5 and 14.9 (100 steps); an alarm's
threshold is 45.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bench._senders import CLOUD, TOKEN, VALUES

POINTS = CLOUD * VALUES
PROGRAMS = 16
ROWS = POINTS // PROGRAMS
THRESHOLD = 45.0
HIGH = 50.0
CHANNELS = [f"v{n}" for n in range(VALUES)]
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Rows:
    """Readings of one program at one moment. `first`: its first device; `value`: shape (devices, VALUES)."""

    first: int
    at_ms: int
    value: np.ndarray

    def devices(self) -> list[str]:
        return [device_name(self.first + n) for n in range(len(self.value))]


def device_name(number: int) -> str:
    """As the bench's register calls the devices whose readings come over HTTP."""
    return f"h{number:05d}"


def rows(number: int, at_ms: int, *, high: range = range(0)) -> Rows:
    """Body `number`, of program number % PROGRAMS; the points at places `high` of it are beyond the threshold."""
    value = np.random.default_rng(number).integers(50, 150, ROWS) / 10
    value[list(high)] = HIGH
    return Rows(number % PROGRAMS * ROWS // VALUES, at_ms, value.reshape(-1, VALUES))


def as_lines(some: Rows) -> bytes:
    """InfluxDB line protocol, times in ms."""
    return "\n".join(
        f"gas,device={device} " + ",".join(f"{c}={v}" for c, v in zip(CHANNELS, values, strict=True)) + f" {some.at_ms}"
        for device, values in zip(some.devices(), some.value.tolist(), strict=True)
    ).encode()


def as_trapper(some: Rows) -> bytes:
    """The request of a Zabbix sender."""
    clock, ns = some.at_ms // 1000, some.at_ms % 1000 * 1_000_000
    data = [
        {"host": device, "key": channel, "value": str(v), "clock": clock, "ns": ns}
        for device, values in zip(some.devices(), some.value.tolist(), strict=True)
        for channel, v in zip(CHANNELS, values, strict=True)
    ]
    said = json.dumps({"request": "sender data", "data": data}, separators=(",", ":")).encode()
    return b"ZBXD\x01" + struct.pack("<Q", len(said)) + said


@dataclass(frozen=True)
class Target:
    """Where bodies go. kind: `http` (path; connections stay open) or `trapper` (a connection a body)."""

    kind: str
    port: int
    path: str = ""


async def _http(target: Target, waiting: asyncio.Queue[bytes | None]) -> None:
    head = f"POST {target.path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n"
    reader = writer = None
    while (body := await waiting.get()) is not None:
        if reader is None or writer is None:  # not before: servers close a connection that says nothing for seconds
            reader, writer = await asyncio.open_connection("127.0.0.1", target.port, limit=1 << 20)
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if answer.split(None, 2)[1] not in (b"200", b"204"):
            raise RuntimeError(answer.decode("utf-8", "replace"))
        length = answer.lower().partition(b"content-length:")[2].split(b"\r")[0]
        said = await reader.readexactly(int(length or 0))
        if said and json.loads(said) != {"taken": ROWS, "refused": 0}:
            raise RuntimeError(f"not all was taken: {said!r}")
    if writer is not None:
        writer.close()


async def trap(port: int, body: bytes) -> str:
    """What a Zabbix server answers to one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(body)
    said = await reader.read()
    writer.close()
    return str(json.loads(said[13:]).get("info", said))


async def _trapper(target: Target, waiting: asyncio.Queue[bytes | None]) -> None:
    while (body := await waiting.get()) is not None:
        info = await trap(target.port, body)
        if f"processed: {ROWS}; failed: 0" not in info:
            raise RuntimeError(f"not all was taken: {info}")


SENDERS: dict[str, Callable[[Target, asyncio.Queue[bytes | None]], Any]] = {"http": _http, "trapper": _trapper}


def _send(target: Target, bodies: Sequence[bytes], due: Sequence[float], started: Any, answered: Any) -> None:
    """The senders' process: body n when it is due (or as soon as its program may, when `due` is empty)."""

    async def work() -> None:
        waiting: list[asyncio.Queue[bytes | None]] = [asyncio.Queue() for _ in range(PROGRAMS)]
        programs = [asyncio.create_task(SENDERS[target.kind](target, mine)) for mine in waiting]
        started.value = time.time()
        for n, body in enumerate(bodies):
            if due and (wait_s := due[n] - time.time()) > 0:
                await asyncio.sleep(wait_s)
            waiting[n % PROGRAMS].put_nowait(body)
        for mine in waiting:
            mine.put_nowait(None)
        await asyncio.gather(*programs)
        answered.value = time.time()

    import uvloop

    uvloop.run(work())


class Sending:
    """Bodies on their way, from a process of their own. `started`, `answered`: when the first left, the last's yes."""

    def __init__(self, target: Target, bodies: Sequence[bytes], due: Sequence[float] = ()) -> None:
        self._started, self._answered = SPAWN.Value("d", 0.0), SPAWN.Value("d", 0.0)
        given = (target, bodies, due, self._started, self._answered)
        self.process = SPAWN.Process(target=_send, args=given, daemon=True)
        self.process.start()

    def wait(self, most_s: float) -> None:
        """Raises RuntimeError when not everything was answered in time."""
        self.process.join(most_s)
        if not self.answered:
            self.process.kill()
            raise RuntimeError(f"the peer refused, or did not take everything within {most_s:.0f} s")

    @property
    def started(self) -> float:
        return float(self._started.value)

    @property
    def answered(self) -> float:
        return float(self._answered.value)
