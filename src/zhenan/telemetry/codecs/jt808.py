"""JT/T 808, 2011, 2013 and 2019 (vehicle terminals), with the active-safety extensions.

The parts: `jt808_frame` (flags, header, splitter), `jt808_bodies` and `jt808_safety` (bodies to dicts),
`jt808_messages` (what to send), `jt808_fragments` (sub-packages), `jt808_values` (strings, times, phones).
"""

from typing import Any, Final
from zlib import crc32

import msgspec

from zhenan.telemetry.codecs.base import BAD, GOOD, CodecError, Decoded, MessageKey, Reading, clock, refused
from zhenan.telemetry.codecs.jt808_bodies import Partial, read_body, read_location
from zhenan.telemetry.codecs.jt808_fragments import Missing, Reassembler
from zhenan.telemetry.codecs.jt808_frame import (
    STREAM_MARK,
    FileChunk,
    Header,
    Packet,
    Splitter,
    header_fields,
    read_packet,
    write_frame,
    write_frames,
)
from zhenan.telemetry.codecs.jt808_messages import (
    ALARM_HANDLED,
    FAILED,
    OK,
    UNSUPPORTED,
    WRONG,
    ask_again,
    ask_files,
    auth,
    batch,
    file_chunk,
    file_done,
    file_info,
    file_list,
    general_response,
    heartbeat,
    location,
    location_answer,
    location_body,
    query_parameters,
    register,
    register_response,
    reply_header,
    safety_item,
    set_parameters,
    terminal_response,
)
from zhenan.telemetry.codecs.jt808_safety import Dialect, dialect_of, read_item
from zhenan.telemetry.codecs.jt808_values import phone_keys, phone_label

POSITIONED: Final = 1 << 1
COORDINATES_ENCRYPTED: Final = 1 << 5
SAFETY_START: Final = 1
SAFETY_END: Final = 2
MEDIA_HEAD: Final = 36  # bytes of a 0x0801 before the file itself
LATCHED_ALARMS: Final = sum(1 << bit for bit in (0, 20, 21, 22, 27, 28, 31))  # cleared by our answer, result 4


def decode_packet(packet: Packet) -> Decoded:
    """A packet, or a message joined by the Reassembler, as a dict; encrypted bodies and fragments stay closed."""
    found = header_fields(packet)
    header = packet.header
    if not header.encrypt and header.packet is None:
        found |= _body_fields(header.msg_id, packet.body, header.version)
    return found


def _body_fields(msg_id: int, body: bytes, version: int) -> Decoded:
    try:
        fields = read_body(msg_id, body, version)
    except Partial as err:
        return {"body": err.read, "body_error": err.reason}
    except CodecError as err:
        return {"body_error": err.reason}
    return {} if fields is None else {"body": fields}


def parse(raw: bytes) -> Decoded:
    """Decode one frame. Raises CodecError when it is not a good frame; a bad body is told by `body_error`."""
    return decode_packet(read_packet(raw))


decode = refused(parse)


def decode_body(msg_id: int, body: bytes, version: int = 2013) -> Decoded:
    """A body without its frame."""
    fields = _body_fields(msg_id, body, version)
    if "body_error" in fields:
        return {"ok": False, "error": fields["body_error"]}
    return {"ok": True, "msg_id": f"0x{msg_id:04X}", **fields}


def device_key(decoded: Decoded) -> str:
    """Who sent it: the raw phone digits. Match registrations by `phone_keys`."""
    return str(decoded["phone"])


def locations(decoded: Decoded) -> list[Decoded]:
    """Every location that a message holds, in its order."""
    body = decoded.get("body", {})
    if decoded["msg_id"] == "0x0200":
        return [body] if body else []
    if decoded["msg_id"] == "0x0704":
        return list(body.get("items", ()))
    return [body["location"]] if "location" in body else []


def message_key(decoded: Decoded) -> MessageKey:
    """Equal for a message and its resend: same serial, same device time, same body."""
    places = locations(decoded)
    time = (places[0]["time"] if places else None) or ""
    content = crc32(msgspec.json.encode(decoded.get("body")))
    return MessageKey(decoded["phone"], decoded["msg_id"], str(decoded["serial"]), time, content)


def position_is_usable(place: Decoded) -> bool:
    """Whether a location may be drawn: fixed, in range, not (0, 0), not encrypted."""
    if not place["status"] & POSITIONED or place["status"] & COORDINATES_ENCRYPTED:
        return False
    return abs(place["lat"]) <= 90 and abs(place["lon"]) <= 180 and (place["lat"] != 0 or place["lon"] != 0)


_VALUES: Final = (
    "speed_kmh", "direction", "alarm", "status", "mileage_km", "fuel_l", "recorder_speed_kmh", "carriage_temp_c",
    "vehicle_signal", "io", "signal", "satellites",
)  # fmt: skip


def readings(decoded: Decoded, received_ms: int) -> list[Reading]:
    """Values of each location in a message: `lat`, `lon`, `alt` (m), speed and other items by their keys in `decode`,
    `ad0`, `ad1`, and of active safety `adas.type`, `dsm.type`, `bsd.type`, `….level`, `tyre{n}.pressure_kpa`,
    `tyre{n}.temp_c`, `tyre{n}.state` (bits). `adas.t{type}`, `dsm.t{type}`, `bsd.t{type}` are an alarm each: its
    level (1 or 2; 1 where it has none) from its start, 0 at its end; one without end (flag 0) is over a second later.

    An unusable position is BAD; its speed and direction come from the same fix and are BAD too.
    """
    found: list[Reading] = []
    for place in locations(decoded):
        _add(found, decoded["phone"], place, received_ms)
    return found


def _add(found: list[Reading], device: str, place: Decoded, received_ms: int) -> None:
    ts_ms, quality = clock(place["time"], received_ms)
    fix_quality = quality if position_is_usable(place) else BAD
    alt = place["alt"] - 0x10000 if place["alt"] >= 0x8000 else place["alt"]  # below sea level: two's complement
    for channel, value in (("lat", place["lat"]), ("lon", place["lon"]), ("alt", alt)):
        found.append(Reading(device, channel, ts_ms, float(value), fix_quality))
    for name in _VALUES:
        if name in place:
            of_fix = name in ("speed_kmh", "direction")
            found.append(Reading(device, name, ts_ms, float(place[name]), fix_quality if of_fix else quality))
    for i, value in enumerate(place.get("analog", ())):
        found.append(Reading(device, f"ad{i}", ts_ms, float(value), quality))
    for name, alarm in safety_alarms(place):
        for part in ("type", "level"):
            if part in alarm:
                found.append(Reading(device, f"{name}.{part}", ts_ms, float(alarm[part]), quality))
        found += _episode(device, name, alarm, ts_ms, received_ms)
        for tyre in alarm.get("tyres", ()):
            for part in ("pressure_kpa", "temp_c"):
                channel = f"tyre{tyre['position']}.{part}"
                found.append(Reading(device, channel, ts_ms, float(tyre[part]), quality))
            found.append(Reading(device, f"tyre{tyre['position']}.state", ts_ms, float(tyre["type"]), quality))


def _episode(device: str, name: str, alarm: Decoded, place_ms: int, received_ms: int) -> list[Reading]:
    """An active-safety alarm as a channel of its own, at the alarm's own time."""
    if "type" not in alarm:
        return []
    ts_ms, quality = clock(alarm["time"], received_ms) if alarm["time"] else (place_ms, GOOD)
    channel = f"{name}.t{alarm['type']}"
    if alarm["flag"] == SAFETY_END:
        return [Reading(device, channel, ts_ms, 0.0, quality)]
    level = alarm.get("level", 1)
    begun = [Reading(device, channel, ts_ms, 2.0 if level == 2 else 1.0, quality)]
    return begun if alarm["flag"] == SAFETY_START else [*begun, Reading(device, channel, ts_ms + 1000, 0.0, quality)]


def safety_alarms(place: Decoded) -> list[tuple[str, dict[str, Any]]]:
    """(adas | dsm | tpms | bsd, fields) of every active-safety item of a location, also of those that repeat."""
    south, west = bool(place["status"] & 4), bool(place["status"] & 8)
    found = []
    for key, value in place.get("extras", ()):
        if key in ("0x64", "0x65", "0x66", "0x67"):
            alarm = read_item(int(key, 16), bytes.fromhex(value), south=south, west=west)
            if alarm:
                found.append(alarm)
    return found


def files_promised(decoded: Decoded) -> list[tuple[dict[str, Any], Dialect]]:
    """(alarm identifier, dialect) of every active-safety alarm of a message that has files to fetch."""
    found = []
    for place in locations(decoded):
        for key, value in place.get("extras", ()):
            item = int(key, 16)
            dialect = dialect_of(item, bytes.fromhex(value)) if 0x64 <= item <= 0x67 else None
            alarm = read_item(item, bytes.fromhex(value)) if dialect is not None else None
            if alarm and dialect and alarm[1]["alarm_key"]["attachments"]:
                found.append((alarm[1]["alarm_key"], dialect))
    return found


def result_for(decoded: Decoded) -> int:
    """The result to put into 0x8001 once a message is stored: 3 encrypted, 2 malformed body, 0 otherwise."""
    if decoded.get("encrypt"):
        return UNSUPPORTED
    return WRONG if "body_error" in decoded else OK


__all__ = [
    "ALARM_HANDLED", "FAILED", "LATCHED_ALARMS", "MEDIA_HEAD", "OK", "STREAM_MARK", "UNSUPPORTED", "WRONG",
    "FileChunk", "Header",
    "Missing", "Packet", "Reassembler", "Splitter", "ask_again", "ask_files", "auth", "batch", "decode", "decode_body",
    "decode_packet", "device_key", "file_chunk", "file_done", "file_info", "file_list", "files_promised",
    "general_response", "header_fields", "heartbeat", "location", "location_answer", "location_body", "locations",
    "message_key", "parse", "phone_keys", "phone_label", "position_is_usable", "query_parameters", "read_location",
    "read_packet", "readings", "register", "register_response", "reply_header", "result_for", "safety_alarms",
    "safety_item", "set_parameters", "terminal_response", "write_frame", "write_frames",
]  # fmt: skip
