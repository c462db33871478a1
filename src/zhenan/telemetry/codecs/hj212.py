"""HJ 212-2017, and what is left of 2005: text frames of environment and gas loggers.

Header, length and CRC are strict; the data area is read item by item, and what cannot be read is counted and skipped.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zlib import crc32

import msgspec

from zhenan.telemetry.codecs.base import (
    BAD,
    CodecError,
    Decoded,
    MessageKey,
    Reading,
    ScanSplitter,
    clock,
    iso_local,
    refused,
)

START: Final = b"##"
STANDARD_SEGMENT: Final = 1024  # bytes, by the standard
MAX_SEGMENT: Final = 8192  # bytes; real senders go beyond the standard
JOIN_MS: Final = 60_000  # after this the packets of a split upload are no longer one
NO_SENSOR: Final = frozenset({-99.0, -999.0})

DATA_ANSWER: Final = "9014"
NOTICE_ANSWER: Final = "9013"
SYSTEM_EXCHANGE: Final = "91"
UPLOADS: Final = frozenset({"2011", "2021", "2031", "2041", "2051", "2061", "2081", "3015", "3019", "3020"})
NOTICES: Final = frozenset({"1013"})

_ANSWER_WANTED: Final = 0b01
_PACKETS: Final = 0b10
_HEAD_FIELDS: Final = {name.upper(): name for name in ("QN", "ST", "CN", "PW", "MN", "Flag", "PNUM", "PNO")}
_CRC_FIELD = re.compile(rb"[0-9A-Fa-f]{4}")
# A comma glues two head fields in the field; inside a password it is only a comma.
_HEAD_SPLIT = re.compile(r";|,(?=\s*[A-Za-z]+\s*=)")
# Log text stands between // and may hold ; and , itself.
_ITEMS = re.compile(r"(?:(?<==)//.*?//(?=\s*(?:[;,]|$))|[^;])+")
_PARTS = re.compile(r"(?:(?<==)//.*?//(?=\s*(?:[;,]|$))|[^,])+")
_NOT_READINGS: Final = frozenset({"Flag", "EFlag", "SampleTime", "Info", "SN"})


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_CRC: Final = _crc_table()


def checksum(segment: bytes | bytearray) -> int:
    """CRC of HJ 212: not CRC-16/MODBUS, whose state is not squeezed to its high byte at each round."""
    crc = 0xFFFF
    table = _CRC
    for byte in segment:
        crc = table[(crc >> 8) ^ byte]
    return crc


def _declared_crc(field: bytes) -> int | None:
    return int(field, 16) if _CRC_FIELD.fullmatch(field) else None


class Splitter(ScanSplitter):
    """Frames of one connection, cut by `##`, four digits and the length; CR LF between frames is not required."""

    marker = START
    between = b"\r\n"

    def __init__(self, *, max_segment: int = MAX_SEGMENT) -> None:
        super().__init__()
        self.max_frame = max_segment + 10
        self._window_end = 0
        self._spent = 0  # bytes of failed CRCs within the window

    def examine(self, buffer: bytearray, at: int) -> int | str | None:
        digits = buffer[at + 2 : at + 6]
        if len(digits) < 4:
            return None if not digits or digits.isdigit() else "length_field"
        if not digits.isdigit():
            return "length_field"
        total = int(digits) + 10
        if total > self.max_frame:
            return "length"
        if len(buffer) - at < total:
            return None
        declared = _declared_crc(bytes(buffer[at + total - 4 : at + total]))
        if declared is None:
            return "crc_field"
        if self._is_flooded():
            return "crc"
        if checksum(buffer[at + 6 : at + total - 4]) == declared:
            return total
        self._spent += total
        return "crc"

    def _is_flooded(self) -> bool:
        """Whether false starts, each claiming a long segment, have had more than eight CRCs for a byte of stream."""
        if self._offset >= self._window_end:
            self._window_end, self._spent = self._offset + self.max_frame, 0
        return self._spent > 8 * self.max_frame

    def claimed(self, buffer: bytearray, at: int) -> int:
        digits = buffer[at + 2 : at + 6]
        return int(digits) + 10 if digits.isdigit() and int(digits) + 10 <= self.max_frame else 10


class Segment(msgspec.Struct, frozen=True):
    """A data segment as text. `factors`: {code: {kind: text}}. `skipped`: parts that are no key=value. `repeated`: keys
    that came twice in an item, of which the last counts."""

    fields: dict[str, str]
    params: dict[str, str]
    factors: dict[str, dict[str, str]]
    skipped: int
    repeated: int


def read_text(data: bytes) -> str:
    """UTF-8, or else GBK as old devices write it."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("gb18030", "replace")


def _read_head(head: str) -> tuple[dict[str, str], int]:
    fields: dict[str, str] = {}
    skipped = 0
    for part in _HEAD_SPLIT.split(head):
        key, equals, value = part.partition("=")
        key = key.strip(" ,;")
        if equals and key:
            fields[_HEAD_FIELDS.get(key.upper(), key)] = value.strip(" ,;")
        elif part.strip(" ,;\r\n"):
            skipped += 1
    return fields, skipped


def read_segment(text: str) -> Segment:
    """Read a data segment. Raises CodecError("fields") when it has none of the fields of an HJ 212 head."""
    head, _, area = text.partition("CP=&&")
    fields, skipped = _read_head(head)
    if not fields.keys() & {"CN", "MN", "ST"}:
        raise CodecError("fields")
    area = area.strip()
    area = area[:-2] if area.endswith("&&") else area
    params: dict[str, str] = {}
    factors: dict[str, dict[str, str]] = {}
    repeated = 0
    for item in _ITEMS.findall(area):
        seen: set[str] = set()
        for part in _PARTS.findall(item):
            key, equals, value = part.partition("=")
            key = key.strip()
            if not equals or not key:
                skipped += bool(part.strip())
                continue
            repeated += key in seen
            seen.add(key)
            factor, dash, kind = key.rpartition("-")
            if dash and factor:
                kind = "Flag" if kind == "FLAG" else kind
                factors.setdefault(factor, {})[kind] = value.strip()
            else:
                params[key] = value.strip()
    return Segment(fields, params, factors, skipped, repeated)


def _as_dict(segment: Segment) -> Decoded:
    found: Decoded = {"fields": segment.fields}
    if segment.params:
        found["params"] = segment.params
    if segment.factors:
        found["factors"] = segment.factors
    return found


def segment_of(raw: bytes, *, max_segment: int = MAX_SEGMENT) -> tuple[bytes, int]:
    """(data segment, CRC) of a whole frame. Raises CodecError: start, length_field, length, crc_field, crc."""
    raw = raw.rstrip(b"\r\n")
    if raw[:2] != START:
        raise CodecError("start")
    digits = raw[2:6]
    if len(digits) < 4 or not digits.isdigit():
        raise CodecError("length_field")
    length = int(digits)
    if length > max_segment or len(raw) != length + 10:
        raise CodecError("length")
    declared = _declared_crc(raw[-4:])
    if declared is None:
        raise CodecError("crc_field")
    segment = raw[6:-4]
    if checksum(segment) != declared:
        raise CodecError("crc")
    return segment, declared


def parse(raw: bytes, *, max_segment: int = MAX_SEGMENT) -> Decoded:
    """Decode one frame, with or without CR LF. Raises CodecError when it is not a good frame."""
    return parse_counted(raw, max_segment=max_segment)[0]


def parse_counted(raw: bytes, *, max_segment: int = MAX_SEGMENT) -> tuple[Decoded, int]:
    """As `parse`, with how many parts of the data area could not be read and were skipped."""
    data, crc = segment_of(raw, max_segment=max_segment)
    segment = read_segment(read_text(data))
    return {"ok": True, "length": len(data), "crc": f"{crc:04X}", **_as_dict(segment)}, segment.skipped


decode = refused(parse)


@refused
def decode_segment(text: str) -> Decoded:
    """A data segment without header and CRC."""
    return {"ok": True, **_as_dict(read_segment(text))}


def device_key(decoded: Decoded) -> str:
    """Who sent it: MN, or "" when it is missing."""
    return str(decoded["fields"].get("MN", ""))


def message_key(decoded: Decoded) -> MessageKey:
    """Equal for a frame and its resend; frames of 2005 have no QN and are told apart by their content."""
    fields, params = decoded["fields"], decoded.get("params", {})
    content = crc32(msgspec.json.encode((params, decoded.get("factors", {}))))
    time = params.get("DataTime", "")
    return MessageKey(fields.get("MN", ""), fields.get("CN", ""), fields.get("QN", ""), time, content)


def read_time(text: str) -> str | None:
    """ISO local time of YYYYMMDDhhmmss, also with milliseconds behind it; None when it is not a time."""
    if len(text) not in (14, 17) or not (text.isascii() and text.isdigit()):
        return None
    second = int(text[12:14])
    return iso_local(int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[8:10]), int(text[10:12]), second)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    finite = value - value == 0.0
    return value if finite and "_" not in text else None


def readings(decoded: Decoded, received_ms: int) -> list[Reading]:
    """Numbers of an upload as channels `{factor}.{kind}`. Only data flag N, or none, makes a value good.

    A factor's own SampleTime goes before the DataTime of the message. -99 and -999 (no sensor) are bad.
    """
    if decoded["fields"].get("CN") not in UPLOADS:
        return []
    device = device_key(decoded)
    data_time = read_time(decoded.get("params", {}).get("DataTime", ""))
    found = []
    for factor, parts in decoded.get("factors", {}).items():
        sampled = read_time(parts["SampleTime"]) if "SampleTime" in parts else None
        ts_ms, time_quality = clock(sampled or data_time, received_ms)
        normal = parts.get("Flag", "N") in ("N", "n", "")
        for kind, text in parts.items():
            value = None if kind in _NOT_READINGS else _number(text)
            if value is not None:
                quality = time_quality if normal and value not in NO_SENSOR else BAD
                found.append(Reading(device, f"{factor}.{kind}", ts_ms, value, quality))
    return found


def flag_of(decoded: Decoded) -> int:
    """The Flag field as a number; 0 when missing or not a number (2005 frames)."""
    text = decoded["fields"].get("Flag", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0


def answer_for(decoded: Decoded) -> bytes | None:
    """The frame to send once the message is stored: 9014 for an upload, 9013 for a notice; None when none is wanted."""
    if not flag_of(decoded) & _ANSWER_WANTED:
        return None
    command = decoded["fields"].get("CN")
    if command in UPLOADS:
        return _answer(decoded, DATA_ANSWER)
    if command in NOTICES:
        return _answer(decoded, NOTICE_ANSWER)
    return None


def _answer(decoded: Decoded, command: str) -> bytes:
    fields = decoded["fields"]
    head = {name: fields[name] for name in ("QN",) if name in fields}
    head |= {"ST": SYSTEM_EXCHANGE, "CN": command}
    head |= {name: fields[name] for name in ("PW", "MN") if name in fields}
    head["Flag"] = str(flag_of(decoded) & ~(_ANSWER_WANTED | _PACKETS))
    return encode(write_segment(head, ""))


def packet_of(decoded: Decoded) -> tuple[int, int] | None:
    """(packets, index from 1) of a split upload, from the head or, as some devices do, from the data area."""
    for where in (decoded["fields"], decoded.get("params", {})):
        total, index = where.get("PNUM", ""), where.get("PNO", "")
        if total.isascii() and total.isdigit() and index.isascii() and index.isdigit():
            found = int(total[:5]), int(index[:5])
            return found if 1 <= found[1] <= found[0] <= 9999 else None
    return None


class Joiner:
    """Split uploads of one connection, joined by MN, CN and number of packets.

    Each packet is stored and answered when it comes, for a logger forgets what was answered. What a packet may lack
    is the time of the whole: it takes that of its sisters.
    """

    def __init__(self, *, most: int = 64) -> None:
        self._open: OrderedDict[tuple[str, str, int], _Split] = OrderedDict()
        self._most = most
        self.incomplete = 0  # uploads given up with packets missing

    def add(self, decoded: Decoded, now_ms: int) -> Decoded:
        """The frame, with the DataTime of its upload where it has none of its own."""
        packet = packet_of(decoded)
        if packet is None or packet[0] == 1 or decoded["fields"].get("CN") not in UPLOADS:
            return decoded
        total, index = packet
        params = decoded.get("params", {})
        key = (device_key(decoded), decoded["fields"]["CN"], total)
        split = self._of(key, params.get("DataTime", ""), now_ms)
        split.came.add(index)
        split.data_time = params.get("DataTime") or split.data_time
        if len(split.came) == total:
            del self._open[key]
        if params.get("DataTime") or not split.data_time:
            return decoded
        return {**decoded, "params": {**params, "DataTime": split.data_time}}

    def _of(self, key: tuple[str, str, int], data_time: str, now_ms: int) -> _Split:
        found = self._open.get(key)
        other = found is not None and data_time and found.data_time and data_time != found.data_time
        if found is None or other or now_ms - found.since_ms > JOIN_MS:
            self.incomplete += found is not None
            found = self._open[key] = _Split(now_ms)
            while len(self._open) > self._most:
                self._open.popitem(last=False)
                self.incomplete += 1
        return found


class _Split:
    def __init__(self, now_ms: int) -> None:
        self.since_ms, self.data_time = now_ms, ""
        self.came: set[int] = set()


def write_qn(local: datetime) -> str:
    """QN of a moment: YYYYMMDDhhmmsszzz, local time."""
    return f"{local:%Y%m%d%H%M%S}{local.microsecond // 1000:03d}"


def write_segment(fields: Mapping[str, str], area: str) -> str:
    """A data segment from head fields, in the order given, and the text between && and &&."""
    return "".join(f"{key}={value};" for key, value in fields.items()) + f"CP=&&{area}&&"


def write_area(params: Mapping[str, str], factors: Mapping[str, Mapping[str, str]]) -> str:
    """The data area that `read_segment` reads back."""
    items = [f"{key}={value}" for key, value in params.items()]
    items += [",".join(f"{code}-{kind}={value}" for kind, value in parts.items()) for code, parts in factors.items()]
    return ";".join(items)


def encode(segment: str | bytes) -> bytes:
    """One frame. Raises ValueError when the segment is longer than four digits can say."""
    data = segment.encode("utf-8") if isinstance(segment, str) else segment
    if len(data) > 9999:
        raise ValueError(f"a data segment has at most 9999 bytes; got {len(data)}")
    return b"##%04d%b%04X\r\n" % (len(data), data, checksum(data))


def request(*, qn: str, st: str, cn: str, pw: str, mn: str, params: Mapping[str, str] | None = None) -> bytes:
    """A request of ours (CN below 9000, an answer wanted): 1011, 1012, 1061 to 1064, 2011, 2051, 3011 to 3021 …"""
    head = {"QN": qn, "ST": st, "CN": cn, "PW": pw, "MN": mn, "Flag": str(0b100 | _ANSWER_WANTED)}
    return encode(write_segment(head, write_area(params or {}, {})))


def upload(
    *,
    qn: str,
    st: str,
    mn: str,
    data_time: str,
    factors: Mapping[str, Mapping[str, str]],
    cn: str = "2011",
    pw: str = "",
) -> bytes:
    """An upload as a device sends it, an answer wanted. `data_time`: YYYYMMDDhhmmss."""
    head = {"QN": qn, "ST": st, "CN": cn, "PW": pw, "MN": mn, "Flag": str(0b100 | _ANSWER_WANTED)}
    return encode(write_segment(head, write_area({"DataTime": data_time}, factors)))


__all__ = [
    "Joiner", "Segment", "Splitter", "answer_for", "checksum", "decode", "decode_segment", "device_key", "encode",
    "flag_of", "message_key", "packet_of", "parse", "parse_counted", "read_segment", "readings", "request",
    "segment_of", "upload", "write_area", "write_qn", "write_segment",
]  # fmt: skip
