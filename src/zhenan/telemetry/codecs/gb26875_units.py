"""Application units of GB/T 26875.3-2011: type flag, count, objects; both directions.

Objects are dicts; the keys of each type are in `_TYPES`. All integers little-endian, times six plain binary bytes.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

from zhenan.telemetry.codecs.base import CodecError, Decoded, iso_local

Obj: TypeAlias = dict[str, Any]

MAX_UNIT: Final = 1024
NO_TIME: Final = b"\0\0\0\0\0\0"

# analogue type: (unit, raw counts in one unit); 13-127 are reserved, 128-255 belong to the maker
ANALOGUES: Final[dict[int, tuple[str, int]]] = {
    1: ("events", 1), 2: ("m", 100), 3: ("°C", 10), 4: ("MPa", 10), 5: ("kPa", 10), 6: ("%LEL", 10),
    7: ("s", 1), 8: ("V", 10), 9: ("A", 10), 10: ("L/s", 10), 11: ("m³/min", 10), 12: ("m/s", 1),
}  # fmt: skip

_COMPONENT = struct.Struct("<BBBIH")
_ANALOGUE = struct.Struct("<BBBIBh")


def read_time(data: bytes, at: int) -> str | None:
    """ISO local time of six bytes second … year-2000; None when all zero or not in the calendar."""
    second, minute, hour, day, month, year = data[at : at + 6]
    return iso_local(2000 + year, month, day, hour, minute, second)


def write_time(time: str | datetime | None) -> bytes:
    """Six bytes of a local time; zeros for None (a device without a clock). Years 2000-2255."""
    if time is None:
        return NO_TIME
    t = datetime.fromisoformat(time) if isinstance(time, str) else time
    return bytes((t.second, t.minute, t.hour, t.day, t.month, t.year - 2000))


def read_text(field: bytes) -> str | None:
    """Text of a padded field: leading 00 and spaces off, cut at the next 00, strict GB 18030; None if not text."""
    try:
        return field.lstrip(b"\0 ").split(b"\0", 1)[0].decode("gb18030").rstrip(" ")
    except UnicodeDecodeError:
        return None


def write_text(text: str, size: int) -> bytes:
    """GB 18030, cut between characters to fit, padded with 00."""
    data = text.encode("gb18030")
    while len(data) > size:
        text = text[:-1]
        data = text.encode("gb18030")
    return data.ljust(size, b"\0")


def _described(obj: Obj, key: str, field: bytes) -> Obj:
    obj[key] = read_text(field)
    if obj[key] is None:
        obj[f"{key}_hex"] = field.hex()
    return obj


def _read_system_status(u: bytes, o: int) -> Obj:
    return {"sys_type": u[o], "sys_addr": u[o + 1], "status": u[o + 2] | u[o + 3] << 8, "time": read_time(u, o + 4)}


def _read_component_status(u: bytes, o: int) -> Obj:
    sys_type, sys_addr, comp_type, comp_addr, status = _COMPONENT.unpack_from(u, o)
    obj = {"sys_type": sys_type, "sys_addr": sys_addr, "comp_type": comp_type, "comp_addr": comp_addr, "status": status}
    obj["time"] = read_time(u, o + 40)
    return _described(obj, "desc", u[o + 9 : o + 40])


def _read_analogue(u: bytes, o: int) -> Obj:
    sys_type, sys_addr, comp_type, comp_addr, kind, raw = _ANALOGUE.unpack_from(u, o)
    unit, per_unit = ANALOGUES.get(kind, (None, 1))
    return {
        "sys_type": sys_type, "sys_addr": sys_addr, "comp_type": comp_type, "comp_addr": comp_addr,
        "analog_type": kind, "raw": raw, "value": raw if per_unit == 1 else raw / per_unit, "unit": unit,
        "time": read_time(u, o + 10),
    }  # fmt: skip


def _read_operation(u: bytes, o: int) -> Obj:
    return {"sys_type": u[o], "sys_addr": u[o + 1], "op": u[o + 2], "operator": u[o + 3], "time": read_time(u, o + 4)}


def _read_component_config(u: bytes, o: int) -> Obj:
    sys_type, sys_addr, comp_type, comp_addr = struct.unpack_from("<BBBI", u, o)
    obj = {"sys_type": sys_type, "sys_addr": sys_addr, "comp_type": comp_type, "comp_addr": comp_addr}
    return _described(obj, "desc", u[o + 7 : o + 38])


def _read_component_query(u: bytes, o: int) -> Obj:
    sys_type, sys_addr, comp_addr = struct.unpack_from("<BBI", u, o)
    return {"sys_type": sys_type, "sys_addr": sys_addr, "comp_addr": comp_addr}


def _read_system(u: bytes, o: int) -> Obj:
    return {"sys_type": u[o], "sys_addr": u[o + 1]}


def _write_system(obj: Obj) -> bytes:
    return bytes((obj["sys_type"], obj["sys_addr"]))


def _write_desc(obj: Obj) -> bytes:
    if obj.get("desc_hex"):
        return bytes.fromhex(obj["desc_hex"])
    return write_text(obj.get("desc") or "", 31)


def _write_component_status(obj: Obj) -> bytes:
    head = _COMPONENT.pack(obj["sys_type"], obj["sys_addr"], obj["comp_type"], obj["comp_addr"], obj["status"])
    return head + _write_desc(obj) + write_time(obj["time"])


def _write_analogue(obj: Obj) -> bytes:
    head = (obj["sys_type"], obj["sys_addr"], obj["comp_type"], obj["comp_addr"], obj["analog_type"], obj["raw"])
    return _ANALOGUE.pack(*head) + write_time(obj["time"])


class _Type(NamedTuple):
    size: int
    most: int
    read: Callable[[bytes, int], Obj]
    write: Callable[[Obj], bytes]


def _single(key: str) -> _Type:
    return _Type(1, 1, lambda u, o: {key: u[o]}, lambda obj: bytes((obj[key],)))


_TIME = _Type(6, 1, lambda u, o: {"time": read_time(u, o)}, lambda obj: write_time(obj["time"]))
_SYSTEM_QUERY = _Type(2, 1, _read_system, _write_system)
_COMPONENT_QUERY = _Type(
    6, 63, _read_component_query, lambda obj: _write_system(obj) + obj["comp_addr"].to_bytes(4, "little")
)

_TYPES: Final[dict[int, _Type]] = {
    1: _Type(
        10, 102, _read_system_status,
        lambda obj: _write_system(obj) + obj["status"].to_bytes(2, "little") + write_time(obj["time"]),
    ),
    2: _Type(46, 22, _read_component_status, _write_component_status),
    3: _Type(16, 63, _read_analogue, _write_analogue),
    4: _Type(
        10, 102, _read_operation,
        lambda obj: _write_system(obj) + bytes((obj["op"], obj["operator"])) + write_time(obj["time"]),
    ),
    5: _Type(
        4, 1, lambda u, o: {**_read_system(u, o), "ver_major": u[o + 2], "ver_minor": u[o + 3]},
        lambda obj: _write_system(obj) + bytes((obj["ver_major"], obj["ver_minor"])),
    ),
    7: _Type(
        38, 26, _read_component_config,
        lambda obj: _write_system(obj) + struct.pack("<BI", obj["comp_type"], obj["comp_addr"]) + _write_desc(obj),
    ),
    8: _Type(
        8, 1, lambda u, o: {**_read_system(u, o), "time": read_time(u, o + 2)},
        lambda obj: _write_system(obj) + write_time(obj["time"]),
    ),
    21: _Type(
        7, 1, lambda u, o: {"status": u[o], "time": read_time(u, o + 1)},
        lambda obj: bytes((obj["status"],)) + write_time(obj["time"]),
    ),
    24: _Type(
        8, 127, lambda u, o: {"op": u[o], "operator": u[o + 1], "time": read_time(u, o + 2)},
        lambda obj: bytes((obj["op"], obj["operator"])) + write_time(obj["time"]),
    ),
    25: _Type(
        2, 1, lambda u, o: {"ver_major": u[o], "ver_minor": u[o + 1]},
        lambda obj: bytes((obj["ver_major"], obj["ver_minor"])),
    ),
    28: _TIME,
    61: _SYSTEM_QUERY._replace(most=102),
    62: _COMPONENT_QUERY._replace(most=22),
    63: _COMPONENT_QUERY,
    64: _Type(
        9, 1, lambda u, o: {**_read_system(u, o), "records": u[o + 2], "start": read_time(u, o + 3)},
        lambda obj: _write_system(obj) + bytes((obj["records"],)) + write_time(obj["start"]),
    ),
    65: _SYSTEM_QUERY,
    66: _SYSTEM_QUERY._replace(most=3),
    67: _COMPONENT_QUERY._replace(most=26),
    68: _SYSTEM_QUERY,
    81: _single("reserved"), 85: _single("reserved"), 86: _single("reserved"),
    88: _single("reserved"), 89: _single("reserved"),
    84: _Type(
        7, 1, lambda u, o: {"records": u[o], "start": read_time(u, o + 1)},
        lambda obj: bytes((obj["records"],)) + write_time(obj["start"]),
    ),
    90: _TIME,
    91: _single("timeout_min"),
}  # fmt: skip

_TEXTS: Final = {6: (2, 3), 26: (0, 1)}  # system and device configuration: bytes before the length byte, most objects


def read_unit(unit: bytes, *, lenient: bool = False) -> Decoded:
    """{"type_flag", "count", "objects"} or, for what the standard does not allow, {…, "adu_error": reason}.

    Args:
        lenient: also accept what makers really send and can be read without guessing: a device status (21) without its
            time, and more objects than the standard allows when the length fits them.
    """
    if len(unit) < 2:
        return {"adu_error": "length"}
    type_flag, count = unit[0], unit[1]
    found: Decoded = {"type_flag": type_flag, "count": count}
    try:
        if type_flag in _TEXTS:
            found["objects"] = _read_texts(unit, *_TEXTS[type_flag])
        else:
            found["objects"] = _read_objects(unit, lenient)
    except CodecError as err:
        found["adu_error"] = err.reason
    return found


def _read_objects(unit: bytes, lenient: bool) -> list[Obj]:
    kind, count = _TYPES.get(unit[0]), unit[1]
    if kind is None:
        raise CodecError("unknown_type")
    if len(unit) != 2 + count * kind.size:
        if lenient and unit[0] == 21 and count == 1 and len(unit) == 3:
            return [{"status": unit[2], "time": None}]
        raise CodecError("length")
    if count > kind.most and not lenient:
        raise CodecError("count")
    read, size = kind.read, kind.size
    return [read(unit, at) for at in range(2, len(unit), size)]


def _read_texts(unit: bytes, head: int, most: int) -> list[Obj]:
    objects: list[Obj] = []
    at = 2
    for _ in range(unit[1]):
        end = at + head + 1
        if end > len(unit) or end + unit[end - 1] > len(unit):
            raise CodecError("length")
        text = unit[end : end + unit[end - 1]]
        objects.append(_described(_read_system(unit, at) if head else {}, "text", text))
        at = end + len(text)
    if at != len(unit):
        raise CodecError("length")
    if len(objects) > most:
        raise CodecError("count")
    return objects


def write_unit(type_flag: int, objects: Sequence[Obj]) -> bytes:
    """The unit that `read_unit` reads back. Raises ValueError for a type without a layout or too many objects."""
    if type_flag in _TEXTS:
        texts = [obj["text"].encode("gb18030") for obj in objects]
        heads = [_write_system(obj) if _TEXTS[type_flag][0] else b"" for obj in objects]
        parts = [head + bytes((len(text),)) + text for head, text in zip(heads, texts, strict=True)]
        most = _TEXTS[type_flag][1]
    elif type_flag in _TYPES:
        parts = [_TYPES[type_flag].write(obj) for obj in objects]
        most = _TYPES[type_flag].most
    else:
        raise ValueError(f"type_flag must be one of {sorted({*_TYPES, *_TEXTS})}; got {type_flag}")
    if len(parts) > most:
        raise ValueError(f"a unit of type {type_flag} holds at most {most} objects; got {len(parts)}")
    return bytes((type_flag, len(parts))) + b"".join(parts)
