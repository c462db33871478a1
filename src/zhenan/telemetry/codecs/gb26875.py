"""GB/T 26875.3-2011, user information transmission device to monitoring centre.

Little-endian, no escaping: a frame is found by its start, its length, its end marker and its sum.
"""

import struct
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from zlib import crc32

import msgspec

from zhenan.telemetry.codecs.base import (
    GOOD,
    BadFrame,
    CodecError,
    Decoded,
    Frame,
    MessageKey,
    Reading,
    ScanSplitter,
    clock,
    local_from_ms,
    refused,
)
from zhenan.telemetry.codecs.gb26875_units import MAX_UNIT, Obj, read_time, read_unit, write_time, write_unit

CONTROL: Final = 1
SEND: Final = 2
CONFIRM: Final = 3
REQUEST: Final = 4
ANSWER: Final = 5
DENY: Final = 6

SET_CLOCK: Final = 90
PATROL: Final = 91

START: Final = b"@@"
END: Final = b"##"
OVERHEAD: Final = 30  # bytes of a frame with an empty unit
_HEAD = struct.Struct("<2sHBB6s6s6sHB")
_HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")


def _unit_length(buffer: bytes | bytearray, at: int) -> int:
    return buffer[at + 24] | buffer[at + 25] << 8


class Splitter(ScanSplitter):
    """Frames of one connection. `hex_text`: the peer writes two hex characters a byte (a mode of the listener)."""

    marker = START
    max_frame = OVERHEAD + MAX_UNIT

    def __init__(self, *, hex_text: bool = False) -> None:
        super().__init__()
        self._hex_text = hex_text
        self._odd = b""

    def feed(self, data: bytes) -> list[Frame | BadFrame]:
        if self._hex_text:
            digits = self._odd + bytes(byte for byte in data if byte in _HEX_DIGITS)
            even = len(digits) & ~1
            self._odd, data = digits[even:], bytes.fromhex(digits[:even].decode("ascii"))
        return super().feed(data)

    def examine(self, buffer: bytearray, at: int) -> int | str | None:
        have = len(buffer) - at
        if have < 27:
            return None
        total = OVERHEAD + _unit_length(buffer, at)
        if total > self.max_frame:
            return "length"
        if have < total:
            return None
        end = at + total
        if buffer[end - 2 : end] != END:
            return "end"
        return total if sum(buffer[at + 2 : end - 3]) & 0xFF == buffer[end - 3] else "checksum"

    def claimed(self, buffer: bytearray, at: int) -> int:
        length = _unit_length(buffer, at)
        return OVERHEAD + length if length <= MAX_UNIT else 27


def _checked(raw: bytes) -> int:
    """Length of the unit of a whole frame. Raises CodecError: start, incomplete, length, end, checksum."""
    if raw[:2] != START:
        raise CodecError("start")
    if len(raw) < 27:
        raise CodecError("incomplete")
    length = _unit_length(raw, 0)
    if length > MAX_UNIT:
        raise CodecError("length")
    if len(raw) < OVERHEAD + length:
        raise CodecError("incomplete")
    if raw[28 + length : OVERHEAD + length] != END or len(raw) != OVERHEAD + length:
        raise CodecError("end")
    if sum(raw[2 : 27 + length]) & 0xFF != raw[27 + length]:
        raise CodecError("checksum")
    return length


def parse(raw: bytes, *, lenient: bool = False) -> Decoded:
    """Decode one frame; `lenient` as in `read_unit`. Raises CodecError when it is not a good frame."""
    length = _checked(raw)
    _, serial, major, user, _, src, dst, _, command = _HEAD.unpack_from(raw)
    found: Decoded = {
        "ok": True, "serial": serial, "version_major": major, "version_user": user, "time": read_time(raw, 6),
        "src": src[::-1].hex(), "dst": dst[::-1].hex(), "adu_len": length, "cmd": command,
    }  # fmt: skip
    if length:
        found["adu"] = read_unit(raw[27 : 27 + length], lenient=lenient)
    return found


decode = refused(parse)


def decode_unit(unit: bytes) -> Decoded:
    """An application unit without its frame."""
    found = read_unit(unit)
    error = found.get("adu_error")
    return {"ok": False, "error": error} if error else {"ok": True, "adu": found}


def device_key(decoded: Decoded) -> str:
    """Who sent it: the source address, 12 hex digits, high byte first."""
    return str(decoded["src"])


def message_key(decoded: Decoded) -> MessageKey:
    """Equal for a frame and its resend (same serial, same objects); the time tag of sending may differ."""
    unit = decoded.get("adu", {})
    objects = unit.get("objects", ())
    time = next((obj["time"] for obj in objects if obj.get("time")), None) or ""
    kind = f"{decoded['cmd']}.{unit.get('type_flag', '')}"
    return MessageKey(decoded["src"], kind, str(decoded["serial"]), time, crc32(msgspec.json.encode(unit)))


def readings(decoded: Decoded, received_ms: int) -> list[Reading]:
    """Values of a decoded frame: states (types 1, 2, 21) as status words, analogues (3) in the unit of their type.

    Channels: `sys{system}.{address}.status`, `sys{system}.{component type}.{component address}.status` and `.a{type}`,
    `status`. `{system}` is the system type, followed by `-{system address}` when a device has more than one of the type
    (address 2 and up).
    """
    if decoded.get("cmd") not in (SEND, ANSWER):
        return []
    unit = decoded.get("adu", {})
    channel_of = _CHANNELS.get(unit.get("type_flag"))
    if channel_of is None:
        return []
    device = decoded["src"]
    found = []
    for obj in unit.get("objects", ()):
        ts_ms, quality = clock(obj["time"], received_ms)
        value = float(obj["value"] if "value" in obj else obj["status"])
        found.append(Reading(device, channel_of(obj), ts_ms, value, quality))
    return found


def device_clock_is_good(decoded: Decoded, received_ms: int) -> bool:
    """Whether the time tag of sending can be believed."""
    return clock(decoded["time"], received_ms)[1] == GOOD


def _system(obj: Obj) -> str:
    return f"sys{obj['sys_type']}" if obj["sys_addr"] < 2 else f"sys{obj['sys_type']}-{obj['sys_addr']}"


_CHANNELS: Final[dict[Any, Any]] = {
    1: lambda obj: f"sys{obj['sys_type']}.{obj['sys_addr']}.status",
    2: lambda obj: f"{_system(obj)}.{obj['comp_type']}.{obj['comp_addr']}.status",
    3: lambda obj: f"{_system(obj)}.{obj['comp_type']}.{obj['comp_addr']}.a{obj['analog_type']}",
    21: lambda _: "status",
}


def encode(
    *,
    serial: int,
    command: int,
    src: str,
    dst: str,
    time: str | datetime | None,
    unit: bytes = b"",
    version: tuple[int, int] = (1, 0),
) -> bytes:
    """One frame.

    Args:
        src, dst: 12 hex digits, high byte first.
        time: local time (UTC+8) of sending; None for a device without a clock.
        unit: application unit, at most 1024 bytes; see `write_unit`.
    """
    if len(unit) > MAX_UNIT:
        raise ValueError(f"an application unit has at most {MAX_UNIT} bytes; got {len(unit)}")
    addresses = bytes.fromhex(src)[::-1], bytes.fromhex(dst)[::-1]
    head = _HEAD.pack(START, serial & 0xFFFF, *version, write_time(time), *addresses, len(unit), command)
    body = head[2:] + unit
    return START + body + bytes((sum(body) & 0xFF,)) + END


def reply(request: Decoded, command: int, now_ms: int, unit: bytes = b"") -> bytes:
    """Answer a decoded frame: same serial and version, addresses swapped, our time."""
    return encode(
        serial=request["serial"], command=command, src=request["dst"], dst=request["src"], time=local_from_ms(now_ms),
        unit=unit, version=(request["version_major"], request["version_user"]),
    )  # fmt: skip


def confirm(request: Decoded, now_ms: int) -> bytes:
    """Command 3, for command 1 and 2 alike, also when the unit could not be read."""
    return reply(request, CONFIRM, now_ms)


def deny(request: Decoded, now_ms: int) -> bytes:
    """Command 6, for a request that cannot be served."""
    return reply(request, DENY, now_ms)


def answer(request: Decoded, type_flag: int, objects: Sequence[Obj], now_ms: int) -> bytes:
    """Command 5, the data that a command 4 asked for."""
    return reply(request, ANSWER, now_ms, write_unit(type_flag, objects))


def needs_confirm(decoded: Decoded) -> bool:
    """Whether the standard wants a command 3 for this frame."""
    return decoded["cmd"] in (CONTROL, SEND)


def send(src: str, dst: str, serial: int, type_flag: int, objects: Sequence[Obj], now_ms: int) -> bytes:
    """Command 2, as a device sends its data."""
    unit = write_unit(type_flag, objects)
    return encode(serial=serial, command=SEND, src=src, dst=dst, time=local_from_ms(now_ms), unit=unit)


def set_clock(src: str, dst: str, serial: int, now_ms: int) -> bytes:
    """Command 1, type 90: set the device's clock to now."""
    now = local_from_ms(now_ms)
    unit = write_unit(SET_CLOCK, [{"time": now}])
    return encode(serial=serial, command=CONTROL, src=src, dst=dst, time=now, unit=unit)


def request(src: str, dst: str, serial: int, type_flag: int, objects: Sequence[Obj], now_ms: int) -> bytes:
    """Command 4: ask for data (types 61-68) or the device's own (81, 84-86, 88)."""
    unit = write_unit(type_flag, objects)
    return encode(serial=serial, command=REQUEST, src=src, dst=dst, time=local_from_ms(now_ms), unit=unit)


def patrol(src: str, dst: str, serial: int, timeout_min: int, now_ms: int) -> bytes:
    """Type 91: is the guard at the desk? The answer is an operation (type 24) with bit 5, within `timeout_min`."""
    unit = write_unit(PATROL, [{"timeout_min": timeout_min}])
    return encode(serial=serial, command=CONTROL, src=src, dst=dst, time=local_from_ms(now_ms), unit=unit)


__all__ = [
    "ANSWER", "CONFIRM", "CONTROL", "DENY", "REQUEST", "SEND", "Splitter", "answer", "confirm",
    "decode", "decode_unit", "deny", "device_clock_is_good", "device_key", "encode", "message_key", "needs_confirm",
    "parse", "patrol", "readings", "reply", "request", "send", "set_clock", "write_unit",
]  # fmt: skip
