"""Active-safety items and attachments (T/JSATL 12 and its provincial relatives).

The dialect is told by lengths alone: no two of them have the same.
"""

import struct
from typing import Any, Final, NamedTuple

from zhenan.telemetry.codecs.base import CodecError, Decoded
from zhenan.telemetry.codecs.jt808_values import read_bcd_time, read_name, read_string, write_bcd_time, write_string

ALARM_NO_SIZE: Final = 32
_TAIL = struct.Struct(">BHII6sH")  # speed, altitude, latitude, longitude, time, vehicle status
TAIL_SIZE: Final = _TAIL.size  # 19, the identifier not counted
_TYRE = struct.Struct(">BHHHH")


class Dialect(NamedTuple):
    """Sizes in bytes: terminal ID, reserved end of the identifier, terminal ID at the start of 0x1210."""

    name: str
    terminal_id: int
    reserved: int
    terminal_in_1210: int

    @property
    def identifier(self) -> int:
        return self.terminal_id + 8 + self.reserved


DIALECTS: Final = (
    Dialect("jiangsu", 7, 1, 7),
    Dialect("guangdong", 30, 2, 30),
    Dialect("sichuan", 30, 1, 30),
    Dialect("heilongjiang", 30, 0, 0),
    Dialect("hunan", 7, 17, 7),
)
_BY_IDENTIFIER: Final = {dialect.identifier: dialect for dialect in DIALECTS}


def read_identifier(data: bytes, at: int, dialect: Dialect) -> dict[str, Any]:
    """The alarm identifier at `at`: the key of an alarm and of its files."""
    time_at = at + dialect.terminal_id
    return {
        "terminal_id": read_string(data[at:time_at]),
        "time": read_bcd_time(data[time_at : time_at + 6]),
        "seq": data[time_at + 6],
        "attachments": data[time_at + 7],
    }


def write_identifier(key: dict[str, Any], dialect: Dialect = DIALECTS[0]) -> bytes:
    """The identifier that `read_identifier` reads back."""
    head = write_string(key["terminal_id"], dialect.terminal_id) + write_bcd_time(key["time"])
    return head + bytes((key["seq"], key["attachments"])) + bytes(dialect.reserved)


def _tail(value: bytes, at: int, south: bool, west: bool, dialect: Dialect) -> dict[str, Any]:
    speed, alt, lat, lon, time, status = _TAIL.unpack_from(value, at)
    return {
        "speed_kmh": speed,
        "alt": alt,
        "lat": (-lat if south else lat) / 1e6,
        "lon": (-lon if west else lon) / 1e6,
        "time": read_bcd_time(time),
        "vehicle_status": status,
        "alarm_key": read_identifier(value, at + TAIL_SIZE, dialect),
    }


def _adas(value: bytes) -> dict[str, Any]:
    names = ("type", "level", "front_speed", "front_distance", "deviation", "sign_type", "sign_data")
    return dict(zip(names, value[5:12], strict=True))


def _dsm(value: bytes) -> dict[str, Any]:
    return {"type": value[5], "level": value[6], "fatigue": value[7]}


def _bsd(value: bytes) -> dict[str, Any]:
    return {"type": value[5]}


# item: (name, bytes before the tail, reader of what stands between the flag and the tail)
_ITEMS: Final = {0x64: ("adas", 12, _adas), 0x65: ("dsm", 12, _dsm), 0x67: ("bsd", 6, _bsd)}


def dialect_of(item: int, value: bytes) -> Dialect | None:
    """The dialect of an item 0x64-0x67 by its length alone; None when it fits none."""
    if item == 0x66:
        return next((dialect for dialect in DIALECTS if _tyres_fit(value, dialect)), None)
    return _BY_IDENTIFIER.get(len(value) - _ITEMS[item][1] - TAIL_SIZE)


def _tyres_fit(value: bytes, dialect: Dialect) -> bool:
    count_at = 5 + TAIL_SIZE + dialect.identifier
    extra = len(value) - count_at - 1
    return extra >= 0 and extra % _TYRE.size == 0 and value[count_at] == extra // _TYRE.size


def read_item(item: int, value: bytes, *, south: bool = False, west: bool = False) -> tuple[str, dict[str, Any]] | None:
    """(name, fields) of an item 0x64-0x67 of 0x0200; None when its length fits no dialect (trackers reuse the IDs)."""
    if item == 0x66:
        tpms = _read_tpms(value, south, west)
        return ("tpms", tpms) if tpms else None
    name, head, read = _ITEMS[item]
    dialect = dialect_of(item, value)
    if dialect is None:
        return None
    found = {"alarm_id": int.from_bytes(value[:4], "big"), "flag": value[4]}
    return name, found | read(value) | _tail(value, head, south, west, dialect)


def _read_tpms(value: bytes, south: bool, west: bool) -> dict[str, Any] | None:
    dialect = dialect_of(0x66, value)
    if dialect is None:
        return None
    found: dict[str, Any] = {"alarm_id": int.from_bytes(value[:4], "big"), "flag": value[4]}
    found |= _tail(value, 5, south, west, dialect)
    found["tyres"] = [
        {"position": place, "type": bits, "pressure_kpa": kpa, "temp_c": celsius, "battery_pct": battery}
        for place, bits, kpa, celsius, battery in _TYRE.iter_unpack(value[5 + TAIL_SIZE + dialect.identifier + 1 :])
    ]
    return found


def read_9208(body: bytes) -> Decoded:
    """Platform asks for the files of an alarm."""
    size = body[0]
    rest = body[1 + size :]
    dialect = _BY_IDENTIFIER.get(len(rest) - 4 - ALARM_NO_SIZE - 16)
    if dialect is None:
        raise CodecError("body_short" if len(rest) < 68 else "body_length")
    tcp_port, udp_port = struct.unpack_from(">HH", rest)
    number_at = 4 + dialect.identifier
    return {
        "ip": read_name(body[1 : 1 + size]),
        "tcp_port": tcp_port,
        "udp_port": udp_port,
        "alarm_key": read_identifier(rest, 4, dialect),
        "alarm_no": read_string(rest[number_at : number_at + ALARM_NO_SIZE]),
    }


def read_1210(body: bytes) -> Decoded:
    """Terminal lists the files of an alarm. The dialect is the one whose layout fits the body exactly."""
    found = None
    for dialect in DIALECTS[:4]:  # Hunan sends the identifier of Jiangsu here
        layout = _read_1210(body, dialect)
        if layout is not None and (found is None or not found["alarm_key"]["time"]):
            found = layout
    if found is None:
        raise CodecError("body_length")
    return found


def _read_1210(body: bytes, dialect: Dialect) -> Decoded | None:
    key_at = dialect.terminal_in_1210
    number_at = key_at + dialect.identifier
    list_at = number_at + ALARM_NO_SIZE
    if len(body) < list_at + 2:
        return None
    files = []
    at = list_at + 2
    for _ in range(body[list_at + 1]):
        end = at + 1 + (body[at] if at < len(body) else 0)
        if end + 4 > len(body):
            return None
        files.append({"name": read_name(body[at + 1 : end]), "size": int.from_bytes(body[end : end + 4], "big")})
        at = end + 4
    if at != len(body):
        return None
    return {
        "terminal_id": read_string(body[:key_at]) if key_at else None,
        "alarm_key": read_identifier(body, key_at, dialect),
        "alarm_no": read_string(body[number_at:list_at]),
        "info_type": body[list_at],
        "files": files,
    }


def read_file_info(body: bytes) -> Decoded:
    """0x1211 and 0x1212: a file begins, a file has been sent."""
    end = 1 + body[0]
    kind, size = struct.unpack_from(">BI", body, end)
    return {"name": read_name(body[1:end]), "file_type": kind, "size": size}


def read_9212(body: bytes) -> Decoded:
    """Platform says whether a file is whole; `retransmit`: [offset, length] of each missing range."""
    end = 1 + body[0]
    kind, result, count = struct.unpack_from(">BBB", body, end)
    if len(body) < end + 3 + 8 * count:
        raise CodecError("body_short")
    ranges = [list(struct.unpack_from(">II", body, end + 3 + 8 * i)) for i in range(count)]
    return {"name": read_name(body[1:end]), "file_type": kind, "result": result, "retransmit": ranges}
