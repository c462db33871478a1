"""Every codec on mutated messages, for a given CPU time: ``python -m zhenan.telemetry.tests.fuzz --cpu-seconds 3600``.

The corpus is what our own encoders write and, where there are any, the gathered vectors. Half of the mutants get a
right length and check sum again, so that what lies behind the frame is reached. What must hold of any bytes at all is
in the functions named ``*_holds``; a message for which it does not is printed with its hex and the seed, and the
status is 1.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from zhenan.telemetry.codecs import (
    commands,
    gb26875,
    gb26875_commands,
    hj212,
    hj212_commands,
    jt808,
    jt808_commands,
    mqtt_json,
)
from zhenan.telemetry.codecs.base import CodecError
from zhenan.telemetry.codecs.lines import decode_line
from zhenan.telemetry.gateway.mapping import Compiled, Layout
from zhenan.telemetry.gateway.registry import Registry
from zhenan.telemetry.gateway.sessions import Gb26875, Hj212
from zhenan.telemetry.gateway.sessions_jt808 import Jt808
from zhenan.telemetry.tests.gateway_support import point
from zhenan.telemetry.tests.test_codec_vectors import SHARED

NOW = 1_772_000_000_000
KEY, PHONE, MN = "0000000003e9", "013800138000", "MN1"
REGISTRY = Registry([
    point("gb26875", KEY, 1, "status", 1), point("jt808", PHONE, 2, "speed_kmh", 2), point("hj212", MN, 3, "a.Rtd", 3),
])  # fmt: skip
SHAPE = Compiled(Layout({"a": "$.v.a", "b": "$.b"}, samples="$.d[*]", ts="$.t"))


class Broken(AssertionError):
    """Something that must hold of any bytes does not."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Broken(what)


# corpus


def seeds(protocol: str) -> list[bytes]:
    """What our encoders write, and the gathered vectors of whole frames where they are at hand."""
    found = {"gb26875": _gb26875, "jt808": _jt808, "hj212": _hj212, "mqtt_json": _mqtt}[protocol]()
    path = SHARED / f"{protocol}.jsonl"
    for line in path.read_text("utf-8").splitlines() if path.exists() else []:
        vector = json.loads(line)
        if "level" not in vector:
            found.append(bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"].encode())
    return found


def _gb26875() -> list[bytes]:
    at = {"time": "2026-03-02T12:00:00"}
    system = {"sys_type": 1, "sys_addr": 1}
    component = system | {"comp_type": 40, "comp_addr": 17}
    units: dict[int, list[dict[str, Any]]] = {
        1: [system | {"status": 2} | at], 2: [component | {"status": 2, "desc": "三楼东"} | at] * 3,
        3: [component | {"analog_type": 3, "raw": -5} | at] * 4, 4: [system | {"op": 1, "operator": 2} | at],
        5: [system | {"ver_major": 1, "ver_minor": 2}], 6: [system | {"text": "系统配置"}],
        7: [component | {"desc": "部件"}], 8: [system | at], 21: [{"status": 1} | at],
        24: [{"op": 32, "operator": 1} | at], 25: [{"ver_major": 1, "ver_minor": 2}], 26: [{"text": "装置"}], 28: [at],
    }  # fmt: skip
    found = [gb26875.send(KEY, "0" * 12, n, kind, objects, NOW) for n, (kind, objects) in enumerate(units.items())]
    last = gb26875.parse(found[0])
    for command in commands.GB26875:
        args = {a.name: a.default or {"time": "2026-03-02T12:00:00"}.get(a.kind, a.low) for a in command.args}
        checked = commands.checked(command, args)
        found.append(gb26875_commands.write(command, checked, serial=1, last=last, now_ms=NOW))
    return found


def _jt808() -> list[bytes]:
    found = []
    key = {"terminal_id": "T1", "time": "2026-03-02T12:00:00", "seq": 0, "attachments": 2}
    place = {"lat": 32.2, "lon": 119.4, "time": "2026-03-02T12:00:00"}
    for version in (2013, 2019):
        head = jt808.Header(msg_id=0, phone=PHONE.zfill(20 if version == 2019 else 12), serial=7, version=version)
        item = jt808.safety_item(0x64, head=(1, 2, 0, 0, 0, 0, 0), alarm_id=1, flag=1, alarm_key=key, **place)  # type: ignore[arg-type]
        body = jt808.location_body(items=[item, (1, b"\0\0\0\5"), (0x2B, b"\0\1\0\2")], **place)  # type: ignore[arg-type]
        whole = (3).to_bytes(2, "big") + b"\0" + (len(body).to_bytes(2, "big") + body) * 3
        found += [
            jt808.register(head, province=32, city=1100, maker="M", model="T", terminal_id="1",
                           plate_color=1, plate="苏"),
            jt808.auth(head, "code", imei="1", software="2"), jt808.heartbeat(head), jt808.batch(head, [body]),
            jt808.write_frame(msgspec.structs.replace(head, msg_id=0x0200), body),
            jt808.write_frame(msgspec.structs.replace(head, msg_id=0x0201), b"\0\7" + body),
            jt808.write_frame(msgspec.structs.replace(head, msg_id=0x0104), b"\0\7\1\0\0\0\x55\4\0\0\0\x50"),
            jt808.write_frame(msgspec.structs.replace(head, msg_id=0x0801), bytes(8) + body[:28] + b"jpeg"),
            *jt808.write_frames(msgspec.structs.replace(head, msg_id=0x0704), whole * 4),
            jt808.file_list(head, terminal_id="T1", alarm_key=key, alarm_no="0" * 32, files=[("a.jpg", 5)]),
            jt808.file_info(head, name="a.jpg", file_type=0, size=5, sent=False),
            jt808.file_chunk("a.jpg", 0, b"12345"),
            jt808.terminal_response(head, 1, 0x8103),
        ]  # fmt: skip
    return found


def _hj212() -> list[bytes]:
    factors = {"a01001": {"Rtd": "21.5", "Flag": "N"}, "w01018": {"Avg": "1", "SampleTime": "20260302120000"}}
    found = [
        hj212.upload(qn="20260302120000000", st="22", mn=MN, data_time="20260302120000", factors=factors, cn=cn)
        for cn in ("2011", "2051", "3020")
    ]
    last = hj212.parse(found[0])
    for command in commands.HJ212:
        text = {"text": "a01001", "time": ""}
        args = {a.name: a.default if a.default is not None else text.get(a.kind, a.low) for a in command.args}
        args |= {"begin": "2026-03-02T12:00:00", "end": "2026-03-02T13:00:00"} if "begin" in args else {}
        checked = commands.checked(command, args)
        found.append(hj212_commands.write(command, checked, qn="20260302120000001", last=last, now_ms=NOW))
    fields = {"QN": "20260302120000001", "ST": "91", "CN": "9011", "PW": "1", "MN": MN, "Flag": "4"}
    found.append(hj212.encode(hj212.write_segment(fields, "QnRtn=1")))
    split = {"QN": "1", "ST": "22", "CN": "2011", "PW": "1", "MN": MN, "Flag": "7", "PNUM": "2", "PNO": "1"}
    found.append(hj212.encode(hj212.write_segment(split, "DataTime=20260302120000;a-Rtd=1")))
    return found


def _mqtt() -> list[bytes]:
    return [
        b'{"ts": 1772000000000, "values": {"lel": 3.2, "state": "open"}}', b'[{"ts": "2026-03-02T12:00:00Z", "a": 1}]',
        b'{"a": 1e999, "b": null, "c": [1], "d": {"e": {}}}', b'{"d": [{"t": 1772000000, "v": {"a": 1}, "b": "x"}]}',
        b'{"online": true}', b'{"ok": false, "error": "jammed"}',
    ]  # fmt: skip


# mutants


def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to four changes: bits, bytes, spans left out, doubled, moved in from another message, cut off."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        size = rng.choice((1, 1, 2, 4, rng.randint(1, 40)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x23, 0x26, 0x3B, 0x40, 0x7D, 0x7E, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 2:
            del out[at : at + size]
        elif kind == 3:
            out[at:at] = bytes(rng.randrange(256) for _ in range(size))
        elif kind == 4:
            out[at:at] = out[at : at + size]
        elif kind == 5 and other:
            start = rng.randrange(len(other))
            out[at : at + size] = other[start : start + size]
        else:
            del out[at:]
    return bytes(out[:8192])


def mended(protocol: str, data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A mutant whose frame is right and whose content is not."""
    if protocol == "gb26875" and 30 <= len(data) <= 1054:
        unit = mutate(data[27:-3] or b"\0", other[27:-3], rng)[:1024]
        body = data[2:24] + len(unit).to_bytes(2, "little") + bytes((rng.choice((data[26], 1, 2, 3, 5)),)) + unit
        return b"@@" + body + bytes((sum(body) & 0xFF,)) + b"##"
    if protocol == "jt808":
        try:
            packet = jt808.read_packet(data)
        except CodecError:
            return mutate(data, other, rng)
        content = mutate(packet.body or b"\0", other, rng)[:1023]
        return jt808.write_frame(packet.header, content)
    if protocol == "hj212":
        return hj212.encode(mutate(data[6:-6], other[6:-6], rng)[:8000])
    return mutate(data, other, rng)


# what must hold


def decoding_holds(protocol: str, data: bytes) -> None:
    if protocol == "mqtt_json":
        return
    found = decode_line(protocol, data.hex() or "00")
    must(isinstance(found.get("ok"), bool), "decode_line gives ok")
    must(found["ok"] or bool(found.get("error")), "a refusal has a reason")
    msgspec.json.encode(found)


SPLITTERS: dict[str, Callable[[], Any]] = {
    "gb26875": gb26875.Splitter, "jt808": jt808.Splitter, "hj212": hj212.Splitter,
}  # fmt: skip


def splitting_holds(protocol: str, data: bytes, rng: random.Random) -> list[bytes]:
    """However a stream is cut into reads the same frames come out, nothing is held without bound, nothing is lost."""
    if protocol == "mqtt_json":
        return []
    whole, cut = SPLITTERS[protocol](), SPLITTERS[protocol]()
    together = whole.feed(data) + whole.expire()
    pieces: list[Any] = []
    at = 0
    while at < len(data):
        size = rng.randint(1, 60)
        pieces += cut.feed(data[at : at + size])
        at += size
    pieces += cut.expire()
    frames = [[i.raw for i in items if type(i).__name__ == "Frame"] for items in (together, pieces)]
    must(frames[0] == frames[1], "frames do not depend on the reads")
    must(whole.pending == 0 and cut.pending == 0, "nothing is held after the end")
    if protocol == "jt808":
        files = jt808.Splitter(files=True)
        files.feed(data)
        files.expire()
    return frames[0]


def reading_holds(protocol: str, data: bytes) -> None:
    if protocol == "mqtt_json":
        for decode in (mqtt_json.decode, SHAPE.decode):
            try:
                payload = decode(data, NOW)
            except CodecError:
                continue
            _sound(payload.readings)
        return
    parse, readings, key = {
        "gb26875": (gb26875.parse, gb26875.readings, gb26875.message_key),
        "jt808": (jt808.parse, jt808.readings, jt808.message_key),
        "hj212": (hj212.parse, hj212.readings, hj212.message_key),
    }[protocol]
    try:
        decoded = parse(data)  # type: ignore[operator]
    except CodecError:
        return
    _sound(readings(decoded, NOW))  # type: ignore[operator]
    msgspec.msgpack.encode(key(decoded))  # type: ignore[operator]
    module: Any = {"gb26875": gb26875_commands, "jt808": jt808_commands, "hj212": hj212_commands}[protocol]
    if module.key_of(decoded) is not None:
        for command in commands.CATALOGUE[protocol].values():
            module.said(command, decoded)


def _sound(readings: Any) -> None:
    for reading in readings:
        must(math.isfinite(reading.value), "a reading is a number")
        must(0 < reading.ts_ms < NOW + 2 * 86_400_000, "a reading's time can be believed")
        must(0 <= reading.quality <= 2, "a quality is known")


def session_holds(protocol: str, frames: list[bytes], signed_in: bool) -> None:
    """What the gateway does with a frame: it answers, or refuses with a CodecError."""
    if protocol == "mqtt_json" or not frames:
        return
    reassembler = jt808.Reassembler()
    sessions: dict[str, Callable[[], Any]] = {
        "gb26875": lambda: Gb26875(REGISTRY), "hj212": lambda: Hj212(REGISTRY, password="" if signed_in else "1"),
        "jt808": lambda: Jt808(REGISTRY, b"secret", reassembler, media=lambda media: True),
    }  # fmt: skip
    session = sessions[protocol]()
    for raw in frames:
        try:
            if protocol == "jt808" and signed_in:
                session.signed_in.add(jt808.read_packet(raw).header.phone)
            taken = session.take(raw, NOW)
        except CodecError:
            continue
        if taken.reply is not None:
            answers = SPLITTERS[protocol]().feed(taken.reply)
            must(bool(answers) and all(type(a).__name__ == "Frame" for a in answers), "an answer is a good frame")
        session.due(NOW + 60_000)


def check(protocol: str, data: bytes, rng: random.Random) -> bool:
    """All of it on one message; whether there was a good frame in it. Raises whatever must not be raised."""
    decoding_holds(protocol, data)
    frames = splitting_holds(protocol, data, rng)
    reading_holds(protocol, data)
    session_holds(protocol, frames, rng.random() < 0.7)
    return bool(frames)


def run(cpu_seconds: float, seed: int, *, out: Any = sys.stdout, note_s: float = 300) -> tuple[Counter[str], int]:
    """(messages tried by protocol, findings). A round over all protocols at least; how far it is, every `note_s`."""
    rng = random.Random(seed)
    corpus = {protocol: seeds(protocol) for protocol in ("gb26875", "jt808", "hj212", "mqtt_json")}
    tried: Counter[str] = Counter()  # messages by protocol, and those of which a good frame came
    findings = 0
    began = noted = time.process_time()
    while True:
        for protocol, messages in corpus.items():
            one, other = rng.choice(messages), rng.choice(messages)
            data = (mended if rng.random() < 0.5 else lambda p, *a: mutate(*a))(protocol, one, other, rng)
            if rng.random() < 0.2:
                data += other
            tried[protocol] += 1
            try:
                tried[f"{protocol} good"] += check(protocol, data, rng)
            except Exception:
                findings += 1
                out.write(f"{protocol} seed={seed} hex={data.hex()}\n{traceback.format_exc()}\n")
                out.flush()
        now = time.process_time()
        if now - noted >= note_s:
            noted = now
            out.write(f"{now - began:.0f} s of CPU: {shown(tried)}; {findings} findings\n")
            out.flush()
        if now - began >= cpu_seconds or findings >= 20:
            return tried, findings


def shown(tried: Counter[str]) -> str:
    return ", ".join(f"{protocol} {count}" for protocol, count in tried.items())


def main() -> int:
    """Status 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cpu-seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    asked = parser.parse_args()
    tried, findings = run(asked.cpu_seconds, asked.seed)
    sys.stdout.write(
        f"seed {asked.seed}: {shown(tried)} messages in {asked.cpu_seconds:g} s of CPU; {findings} findings\n"
    )
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
