"""Decoding alone: messages a second of each protocol, beside a floor measured in the same run.

    python -m bench.decode [--json] [--frames N]

The floor is a memory copy of the same bytes. `plain`: one message at a time, as the gateway reads what is rare, up to
readings; `batch`: many at a time, compiled, to columns (analogue values of GB/T 26875.3, locations of JT/T 808);
`points`: the same, but to readings of points, each looked up in a register of all the devices that send.
Each figure is the best of `repeats` runs.
"""

import argparse
import json
import struct
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from zhenan.telemetry.codecs import batch_points, gb26875, hj212, jt808, mqtt_json
from zhenan.telemetry.codecs.batch import decode_batch
from zhenan.telemetry.codecs.gb26875_units import write_unit

NOON_MS = 1_778_817_600_000  # 2026-05-15 12:00:00 in China
NOON = datetime(2026, 5, 15, 12, 0, 0)  # noqa: DTZ001  (device clocks carry no zone)
VALUES = 8  # analogue values in a frame of GB/T 26875.3, factors in a message of HJ 212, keys in a payload


def gb26875_frames(count: int) -> list[bytes]:
    """Analogue values of eight components a frame."""
    found = []
    for number in range(count):
        parts = [
            {"sys_type": 1, "sys_addr": 1, "comp_type": 30, "comp_addr": at, "analog_type": 3,
             "raw": (number + at) % 500, "time": (NOON + timedelta(seconds=number % 3600)).isoformat()}
            for at in range(VALUES)
        ]  # fmt: skip
        found.append(
            gb26875.encode(
                serial=number, command=2, src=f"{number % 80_000:012x}", dst="1" * 12, time=NOON.isoformat(),
                unit=write_unit(3, parts),
            )
        )  # fmt: skip
    return found


def jt808_frames(count: int) -> list[bytes]:
    """Locations of vehicles, with mileage."""
    found = []
    for number in range(count):
        lat, lon = 32_000_000 + number % 90_000, 119_400_000 + number % 70_000
        place = struct.pack(">IIIIHHH", 0, 2, lat, lon, 10, number % 900, number % 360)
        body = place + bytes.fromhex("260515120000") + b"\x01\x04" + struct.pack(">I", number)
        header = jt808.Header(msg_id=0x0200, phone=f"{13_800_000_000 + number % 5000:012d}", serial=number & 0xFFFF)
        found.append(jt808.write_frame(header, body))
    return found


def hj212_frames(count: int) -> list[bytes]:
    """Real-time data of eight factors."""
    found = []
    for number in range(count):
        factors = {f"a{21000 + at}": {"Rtd": f"{(number + at) % 900 / 10}", "Flag": "N"} for at in range(VALUES)}
        found.append(
            hj212.upload(
                qn=f"20260515120000{number % 1000:03d}", st="22", mn=f"{number % 900:024d}",
                data_time="20260515120000", factors=factors,
            )
        )  # fmt: skip
    return found


def mqtt_payloads(count: int) -> list[bytes]:
    """A time and eight values."""
    return [
        json.dumps({"ts": NOON_MS + n, "values": {f"m{at}": (n + at) % 900 / 10 for at in range(VALUES)}}).encode()
        for n in range(count)
    ]


def _gb26875(frames: list[bytes]) -> int:
    return sum(len(gb26875.readings(gb26875.decode(frame), NOON_MS)) for frame in frames)


def _jt808(frames: list[bytes]) -> int:
    return sum(len(jt808.readings(jt808.decode(frame), NOON_MS)) for frame in frames)


def _hj212(frames: list[bytes]) -> int:
    return sum(len(hj212.readings(hj212.decode(frame), NOON_MS)) for frame in frames)


def _mqtt(frames: list[bytes]) -> int:
    return sum(len(mqtt_json.decode(frame, NOON_MS, device="d").readings) for frame in frames)


MAKERS = {"gb26875": gb26875_frames, "jt808": jt808_frames, "hj212": hj212_frames, "mqtt_json": mqtt_payloads}
PLAIN: dict[str, Callable[[list[bytes]], int]] = {
    "gb26875": _gb26875, "jt808": _jt808, "hj212": _hj212, "mqtt_json": _mqtt,
}  # fmt: skip
BATCH = ("gb26875", "jt808")


def measure(frames: int = 20_000, repeats: int = 3) -> dict[str, Any]:
    """All figures of one run. Takes about 15 s."""
    found: dict[str, Any] = {"messages": frames, "cases": []}
    for protocol, make in MAKERS.items():
        messages = make(frames)
        readings = PLAIN[protocol](messages)
        floor = frames / _best(_copier(b"".join(messages)), repeats)
        found["cases"].append(
            _case(
                protocol, "plain", messages, readings, _best(lambda m=messages, p=protocol: PLAIN[p](m), repeats), floor
            )
        )
        if protocol in BATCH:
            work, rows = _batch(protocol, messages)
            found["cases"].append(_case(protocol, "batch", messages, rows, _best(work, repeats), floor))
            work, rows = _points(protocol, messages)
            found["cases"].append(_case(protocol, "points", messages, rows, _best(work, repeats), floor))
    return found


def _batch(protocol: str, messages: list[bytes]) -> tuple[Callable[[], Any], int]:
    """The work, and how many rows it makes; every frame must be one that the compiled decoder takes."""
    sizes = np.array([len(message) for message in messages], np.int64)
    ends = np.cumsum(sizes)
    buffer = np.frombuffer(b"".join(messages), np.uint8)
    columns, slow = decode_batch(protocol, buffer, ends - sizes, ends, NOON_MS)
    if slow.any():
        raise ValueError(f"{protocol}: {int(slow.sum())} of {len(messages)} frames were left to the plain decoder")
    return lambda: decode_batch(protocol, buffer, ends - sizes, ends, NOON_MS), len(columns["frame"])


def _points(protocol: str, messages: list[bytes]) -> tuple[Callable[[], Any], int]:
    """As `_batch`, with the register: a point for each channel of each device that sends."""
    codec: Any = {"gb26875": gb26875, "jt808": jt808}[protocol]
    channels = {
        (reading.device, reading.channel): None
        for message in messages
        for reading in codec.readings(codec.decode(message), NOON_MS)
    }
    entries = [batch_points.Entry(device, channel, number) for number, (device, channel) in enumerate(channels, 1)]
    make = batch_points.analogue_table if protocol == "gb26875" else batch_points.location_table
    table = make(entries)
    sizes = np.array([len(message) for message in messages], np.int64)
    ends = np.cumsum(sizes)
    starts, buffer = ends - sizes, np.frombuffer(b"".join(messages), np.uint8)
    work = lambda: batch_points.decode(protocol, buffer, starts, ends, NOON_MS, NOON_MS + 86_400_000, table)  # noqa: E731
    found = work()
    if found.slow.any():
        raise ValueError(
            f"{protocol}: {int(found.slow.sum())} of {len(messages)} frames were left to the plain decoder"
        )
    return work, len(found.ts)


def _case(
    protocol: str, path: str, messages: list[bytes], readings: int, seconds: float, floor: float
) -> dict[str, str | float | int]:
    rate = len(messages) / seconds
    return {
        "protocol": protocol,
        "path": path,
        "bytes_per_message": round(sum(map(len, messages)) / len(messages)),
        "messages_per_s": round(rate),
        "rows_per_s": round(readings / seconds),
        "copy_floor_messages_per_s": round(floor),
        "ratio_to_copy_floor": float(f"{rate / floor:.3g}"),
    }


def _copier(data: bytes) -> Callable[[], None]:
    source = np.frombuffer(data, np.uint8)
    target = np.zeros_like(source)
    return lambda: np.copyto(target, source)


def _best(work: Callable[[], Any], repeats: int) -> float:
    """Seconds of the quickest run after one that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"{found['messages']:,} messages of each protocol"]
    for case in found["cases"]:
        lines.append(
            f"{case['protocol']:<10} {case['path']:<6} {case['messages_per_s'] / 1e3:9.1f} k messages/s"
            f" {case['rows_per_s'] / 1e6:7.2f} M readings/s {case['bytes_per_message']:4d} bytes"
            f" {case['ratio_to_copy_floor']:9.5f} x copy floor ({case['copy_floor_messages_per_s'] / 1e6:.0f} M/s)"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench decode", description="Decoding alone, beside a memory copy.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--frames", type=int, default=20_000)
    options = parser.parse_args(argv)
    found = measure(options.frames)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
