"""Bodies of JT/T 808 messages as dicts."""

import struct
from collections.abc import Callable
from typing import Any, Final

from zhenan.telemetry.codecs.base import CodecError, Decoded
from zhenan.telemetry.codecs.jt808_safety import read_1210, read_9208, read_9212, read_file_info, read_item
from zhenan.telemetry.codecs.jt808_values import read_bcd_time, read_string

SOUTH: Final = 1 << 2
WEST: Final = 1 << 3
LOCATION_SIZE: Final = 28

_LOCATION = struct.Struct(">IIIIHHH6s")
# register: size of maker, model and terminal ID by layout
_REGISTER: Final = {2011: (5, 8, 7), 2013: (5, 20, 7), 2019: (11, 30, 30)}


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _sign_magnitude(value: bytes) -> int:
    raw = _number(value)
    return -(raw & 0x7FFF) if raw & 0x8000 else raw


def _overspeed(value: bytes) -> dict[str, int]:
    return {"area_type": value[0]} if len(value) == 1 else {"area_type": value[0], "area_id": _number(value[1:])}


def _area(value: bytes) -> dict[str, int]:
    return {"area_type": value[0], "area_id": _number(value[1:5]), "direction": value[5]}


def _section(value: bytes) -> dict[str, int]:
    return {"section_id": _number(value[:4]), "seconds": _number(value[4:6]), "result": value[6]}


# item: (lengths it may have, key, reader); any other length means opaque
_ITEMS: Final[dict[int, tuple[tuple[int, ...], str, Callable[[bytes], Any]]]] = {
    0x01: ((4,), "mileage_km", lambda v: _number(v) / 10),
    0x02: ((2,), "fuel_l", lambda v: _number(v) / 10),
    0x03: ((2,), "recorder_speed_kmh", lambda v: _number(v) / 10),
    0x04: ((2,), "manual_alarm_id", _number),
    0x06: ((2,), "carriage_temp_c", _sign_magnitude),
    0x11: ((1, 5), "overspeed", _overspeed),
    0x12: ((6,), "area", _area),
    0x13: ((7,), "section", _section),
    0x25: ((4,), "vehicle_signal", _number),
    0x2A: ((2,), "io", _number),
    0x2B: ((4,), "analog", lambda v: [_number(v[2:]), _number(v[:2])]),
    0x30: ((1,), "signal", _number),
    0x31: ((1,), "satellites", _number),
}


def read_location(body: bytes) -> Decoded:
    """A 0x0200 body: the 28 fixed bytes and the items behind them. Raises CodecError("body_short").

    `extras` keeps every item in order as [id, hex], whether understood or not; of an item that comes twice the last one
    is under its own key.
    """
    if len(body) < LOCATION_SIZE:
        raise CodecError("body_short")
    alarm, status, lat, lon, alt, speed, direction, time = _LOCATION.unpack_from(body)
    found: Decoded = {
        "alarm": alarm,
        "status": status,
        "lat": (-lat if status & SOUTH else lat) / 1e6,
        "lon": (-lon if status & WEST else lon) / 1e6,
        "alt": alt,
        "speed_kmh": speed / 10,
        "direction": direction,
        "time": read_bcd_time(time),
    }
    if len(body) > LOCATION_SIZE:
        _read_items(body, found)
    return found


def _read_items(body: bytes, found: Decoded) -> None:
    extras: list[list[str]] = []
    south, west = bool(found["status"] & SOUTH), bool(found["status"] & WEST)
    at, size = LOCATION_SIZE, len(body)
    while at < size:
        end = at + 2 + (body[at + 1] if at + 1 < size else size)
        if end > size:
            found["extras_truncated"] = True
            break
        item, value = body[at], body[at + 2 : end]
        extras.append([f"0x{item:02X}", value.hex()])
        if 0x64 <= item <= 0x67:
            alarm = read_item(item, value, south=south, west=west)
            if alarm:
                found[alarm[0]] = alarm[1]
        elif item in _ITEMS and len(value) in _ITEMS[item][0]:
            found[_ITEMS[item][1]] = _ITEMS[item][2](value)
        at = end
    if extras:
        found["extras"] = extras


def _general_response(body: bytes, _: int) -> Decoded:
    serial, msg_id, result = struct.unpack_from(">HHB", body)
    return {"reply_serial": serial, "reply_msg_id": f"0x{msg_id:04X}", "result": result}


def _register(body: bytes, version: int) -> Decoded:
    maker, model, terminal = _REGISTER[2019 if version == 2019 else 2011 if len(body) < 37 else 2013]
    colour_at = 4 + maker + model + terminal
    province, city = struct.unpack_from(">HH", body)
    return {
        "province": province,
        "city": city,
        "maker": read_string(body[4 : 4 + maker]),
        "model": read_string(body[4 + maker : 4 + maker + model]),
        "terminal_id": read_string(body[4 + maker + model : colour_at]),
        "plate_color": body[colour_at],
        "plate": read_string(body[colour_at + 1 :]),
    }


def _register_response(body: bytes, _: int) -> Decoded:
    serial, result = struct.unpack_from(">HB", body)
    found: Decoded = {"reply_serial": serial, "result": result}
    if result == 0:
        found["auth_code"] = read_string(body[3:])
    return found


def _auth(body: bytes, version: int) -> Decoded:
    if version != 2019:
        return {"auth_code": read_string(body)}
    end = 1 + body[0]
    if len(body) < end + 15:
        raise CodecError("body_short")
    imei, software = body[end : end + 15], body[end + 15 : end + 35]
    return {"auth_code": read_string(body[1:end]), "imei": read_string(imei), "software": read_string(software)}


def _location_response(body: bytes, _: int) -> Decoded:
    return {"reply_serial": _number(body[:2]), "location": read_location(body[2:])}


def _batch(body: bytes, _: int) -> Decoded:
    count, batch_type = struct.unpack_from(">HB", body)
    items: list[Decoded] = []
    found: Decoded = {"count": count, "batch_type": batch_type, "items": items}
    at = 3
    for _item in range(count):
        end = at + 2 + _number(body[at : at + 2])
        if at + 2 > len(body) or end > len(body):
            raise Partial("body_short", found)
        try:
            items.append(read_location(body[at + 2 : end]))
        except CodecError as err:
            raise Partial(err.reason, found) from err
        at = end
    return found


class Partial(CodecError):
    """A body that breaks off; `read` is what came before."""

    def __init__(self, reason: str, read: Decoded) -> None:
        super().__init__(reason)
        self.read = read


def _params(body: bytes, at: int, count: int, found: Decoded) -> Decoded:
    params: list[list[str]] = []
    found["params"] = params
    for _ in range(count):
        end = at + 5 + (body[at + 4] if at + 4 < len(body) else 0)
        if at + 5 > len(body) or end > len(body):
            raise Partial("body_short", found)
        params.append([f"0x{_number(body[at : at + 4]):04X}", body[at + 5 : end].hex()])
        at = end
    return found


def _set_params(body: bytes, _: int) -> Decoded:
    return _params(body, 1, body[0], {})


def _params_response(body: bytes, _: int) -> Decoded:
    return _params(body, 3, body[2], {"reply_serial": _number(body[:2])})


def _media_event(body: bytes, _: int) -> Decoded:
    names = ("media_id", "media_type", "format", "event", "channel")
    return dict(zip(names, struct.unpack_from(">IBBBB", body), strict=True))


def _media_data(body: bytes, version: int) -> Decoded:
    found = _media_event(body, version)
    location = read_location(body[8:36])
    return found | {"location": location, "data_len": len(body) - 36}


_READERS: Final[dict[int, Callable[[bytes, int], Decoded]]] = {
    0x0001: _general_response,
    0x8001: _general_response,
    0x0100: _register,
    0x8100: _register_response,
    0x0102: _auth,
    0x0200: lambda body, _: read_location(body),
    0x0201: _location_response,
    0x0704: _batch,
    0x8103: _set_params,
    0x0104: _params_response,
    0x0800: _media_event,
    0x0801: _media_data,
    0x1210: lambda body, _: read_1210(body),
    0x1211: lambda body, _: read_file_info(body),
    0x1212: lambda body, _: read_file_info(body),
    0x9208: lambda body, _: read_9208(body),
    0x9212: lambda body, _: read_9212(body),
}


def read_body(msg_id: int, body: bytes, version: int) -> Decoded | None:
    """Fields of a body; None when the message has none that we read. Raises CodecError (Partial) when malformed."""
    reader = _READERS.get(msg_id)
    if reader is None:
        return None
    try:
        return reader(body, version)
    except (struct.error, IndexError) as err:
        raise CodecError("body_short") from err
