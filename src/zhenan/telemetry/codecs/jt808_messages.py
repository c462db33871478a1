"""Messages of JT/T 808 to send: what the platform answers and asks, and what a terminal (test, simulator) reports."""

import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from zhenan.telemetry.codecs.base import Decoded
from zhenan.telemetry.codecs.jt808_bodies import SOUTH, WEST
from zhenan.telemetry.codecs.jt808_frame import BIT_CLEAR_2019, BIT_SET_2013, STREAM_MARK, Header, write_frame
from zhenan.telemetry.codecs.jt808_safety import ALARM_NO_SIZE, DIALECTS, TAIL_SIZE, Dialect, write_identifier
from zhenan.telemetry.codecs.jt808_values import write_bcd_time, write_string

OK: Final = 0
FAILED: Final = 1
WRONG: Final = 2
UNSUPPORTED: Final = 3
ALARM_HANDLED: Final = 4  # clears the latched alarm bits of a 0x0200


def reply_header(request: Decoded, msg_id: int, serial: int) -> Header:
    """Header of an answer in the form of the request: same phone bytes, same version, same quirk of the header."""
    quirk = request.get("quirk", "")
    return Header(
        msg_id=msg_id,
        phone=request["phone"],
        serial=serial,
        version=2019 if "protocol_version" in request else 2013,
        protocol_version=request.get("protocol_version", 1),
        quirk=quirk if quirk in (BIT_SET_2013, BIT_CLEAR_2019) else "",
    )


def general_response(request: Decoded, serial: int, result: int = OK) -> bytes:
    """0x8001. Never to be sent for a 0x0001."""
    body = struct.pack(">HHB", request["serial"], int(request["msg_id"], 16), result)
    return write_frame(reply_header(request, 0x8001, serial), body)


def register_response(request: Decoded, serial: int, result: int, auth_code: str = "") -> bytes:
    """0x8100; the code goes out only with result 0."""
    body = struct.pack(">HB", request["serial"], result) + (write_string(auth_code) if result == 0 else b"")
    return write_frame(reply_header(request, 0x8100, serial), body)


def set_parameters(header: Header, params: Sequence[tuple[int, bytes]]) -> bytes:
    """0x8103 from (ID, value bytes); `header.msg_id` is not looked at."""
    items = b"".join(struct.pack(">IB", key, len(value)) + value for key, value in params)
    return _frame(header, 0x8103, bytes((len(params),)) + items)


def query_parameters(header: Header) -> bytes:
    """0x8104: all parameters."""
    return _frame(header, 0x8104, b"")


def ask_again(header: Header, first_serial: int, missing: Sequence[int]) -> bytes:
    """0x8003: send these packets of a sub-packaged message again; the count is a byte in 2013, a word in 2019."""
    count = struct.pack(">H" if header.version == 2019 else ">B", len(missing))
    return _frame(header, 0x8003, struct.pack(">H", first_serial) + count + struct.pack(f">{len(missing)}H", *missing))


def ask_files(
    header: Header, *, ip: str, tcp_port: int, udp_port: int, alarm_key: Mapping[str, Any], alarm_no: str,
    dialect: Dialect = DIALECTS[0],
) -> bytes:  # fmt: skip
    """0x9208: where to send the files of an alarm, and under which number of ours (up to 32 characters)."""
    address = write_string(ip)
    ports = struct.pack(">HH", tcp_port, udp_port)
    key = write_identifier(dict(alarm_key), dialect)
    number = write_string(alarm_no, ALARM_NO_SIZE)
    return _frame(header, 0x9208, bytes((len(address),)) + address + ports + key + number + bytes(16))


def file_done(header: Header, *, name: str, file_type: int, missing: Sequence[tuple[int, int]] = ()) -> bytes:
    """0x9212: the file is whole, or these (offset, length) ranges are missing (at most 255 of them in one message)."""
    text = write_string(name)
    head = bytes((len(text),)) + text + struct.pack(">BBB", file_type, 1 if missing else 0, len(missing))
    return _frame(header, 0x9212, head + b"".join(struct.pack(">II", *part) for part in missing))


def _frame(header: Header, msg_id: int, body: bytes) -> bytes:
    form = Header(
        msg_id=msg_id,
        phone=header.phone,
        serial=header.serial,
        version=header.version,
        protocol_version=header.protocol_version,
        quirk=header.quirk if header.quirk in (BIT_SET_2013, BIT_CLEAR_2019) else "",
    )
    return write_frame(form, body)


def terminal_response(header: Header, answered_serial: int, answered_id: int, result: int = OK) -> bytes:
    """0x0001, the terminal's answer to a message of the platform."""
    return _frame(header, 0x0001, struct.pack(">HHB", answered_serial, answered_id, result))


def register(
    header: Header, *, province: int, city: int, maker: str, model: str, terminal_id: str, plate_color: int, plate: str
) -> bytes:
    """0x0100 in the layout of the header's version (2013, 2019)."""
    sizes = (11, 30, 30) if header.version == 2019 else (5, 20, 7)
    texts = b"".join(write_string(text, size) for text, size in zip((maker, model, terminal_id), sizes, strict=True))
    body = struct.pack(">HH", province, city) + texts + bytes((plate_color,)) + write_string(plate)
    return _frame(header, 0x0100, body)


def auth(header: Header, code: str, *, imei: str = "", software: str = "") -> bytes:
    """0x0102; IMEI and software version only go out in the form of 2019."""
    text = write_string(code)
    if header.version == 2019:
        text = bytes((len(text),)) + text + write_string(imei, 15) + write_string(software, 20)
    return _frame(header, 0x0102, text)


def heartbeat(header: Header) -> bytes:
    """0x0002."""
    return _frame(header, 0x0002, b"")


def location_body(
    *, lat: float, lon: float, time: str | datetime | None, speed_kmh: float = 0.0, direction: int = 0, alt: int = 0,
    alarm: int = 0, status: int = 0b11, items: Sequence[tuple[int, bytes]] = (),
) -> bytes:  # fmt: skip
    """A 0x0200 body. Signs of `lat` and `lon` (degrees, WGS-84) become hemisphere bits; `alt` (m) may be negative."""
    status &= ~(SOUTH | WEST)
    status |= (SOUTH if lat < 0 else 0) | (WEST if lon < 0 else 0)
    fixed = struct.pack(
        ">IIIIHHH", alarm, status, round(abs(lat) * 1e6), round(abs(lon) * 1e6), alt & 0xFFFF,
        round(speed_kmh * 10), direction,
    )  # fmt: skip
    return fixed + write_bcd_time(time) + b"".join(bytes((key, len(value))) + value for key, value in items)


def location(header: Header, **fields: Any) -> bytes:
    """0x0200; fields as in `location_body`."""
    return _frame(header, 0x0200, location_body(**fields))


def location_answer(header: Header, answered_serial: int, **fields: Any) -> bytes:
    """0x0201, where the terminal is when it was asked (0x8201); fields as in `location_body`."""
    return _frame(header, 0x0201, struct.pack(">H", answered_serial) + location_body(**fields))


def batch(header: Header, bodies: Sequence[bytes], *, backfill: bool = False) -> bytes:
    """0x0704 of bodies made by `location_body`; must fit one packet."""
    items = b"".join(struct.pack(">H", len(body)) + body for body in bodies)
    return _frame(header, 0x0704, struct.pack(">HB", len(bodies), int(backfill)) + items)


def safety_item(
    item: int, *, head: Sequence[int], alarm_id: int, flag: int, lat: float, lon: float, time: str | datetime | None,
    alarm_key: Mapping[str, Any], speed_kmh: int = 0, alt: int = 0, vehicle_status: int = 0,
    dialect: Dialect = DIALECTS[0],
) -> tuple[int, bytes]:  # fmt: skip
    """(ID, value) of an active-safety item 0x64, 0x65 or 0x67. `head`: the bytes between the flag and the tail."""
    tail = struct.pack(
        ">BHII6sH", speed_kmh, alt & 0xFFFF, round(abs(lat) * 1e6), round(abs(lon) * 1e6), write_bcd_time(time),
        vehicle_status,
    )  # fmt: skip
    size = {0x64: 7, 0x65: 7, 0x67: 1}[item]
    if len(head) != size or len(tail) != TAIL_SIZE:
        raise ValueError(f"item 0x{item:02X} has {size} bytes between flag and tail; got {len(head)}")
    start = struct.pack(">IB", alarm_id, flag) + bytes(head)
    return item, start + tail + write_identifier(dict(alarm_key), dialect)


def file_list(
    header: Header, *, terminal_id: str, alarm_key: Mapping[str, Any], alarm_no: str, files: Sequence[tuple[str, int]],
    resent: bool = False, dialect: Dialect = DIALECTS[0],
) -> bytes:  # fmt: skip
    """0x1210 of (name, size) of each file."""
    body = write_string(terminal_id, dialect.terminal_in_1210) if dialect.terminal_in_1210 else b""
    body += write_identifier(dict(alarm_key), dialect) + write_string(alarm_no, ALARM_NO_SIZE)
    body += bytes((int(resent), len(files)))
    for name, size in files:
        text = write_string(name)
        body += bytes((len(text),)) + text + struct.pack(">I", size)
    return _frame(header, 0x1210, body)


def file_info(header: Header, *, name: str, file_type: int, size: int, sent: bool) -> bytes:
    """0x1211 before a file, 0x1212 after it (`sent`)."""
    text = write_string(name)
    body = bytes((len(text),)) + text + struct.pack(">BI", file_type, size)
    return _frame(header, 0x1212 if sent else 0x1211, body)


def file_chunk(name: str, at: int, data: bytes) -> bytes:
    """A raw stream packet: part of a file, outside of any frame."""
    return STREAM_MARK + write_string(name, 50) + struct.pack(">II", at, len(data)) + data
