"""Frames of JT/T 808: flags, escapes, check byte, header in both forms, sub-packages."""

import re
import struct
from typing import Final

import msgspec

from zhenan.telemetry.codecs.base import BadFrame, CodecError, Decoded, Frame

FLAG: Final = 0x7E
MAX_FRAME: Final = 4096  # bytes, escaped, both flags included
MAX_BODY: Final = 1023  # bytes in one packet

_TRAILING_7D: Final = "unescaped_trailing_7d"
BIT_SET_2013: Final = "version_bit_set_but_2013_header"
BIT_CLEAR_2019: Final = "version_bit_clear_but_2019_header"

_ENCRYPTION: Final = 0x1C00
_PACKETED: Final = 0x2000
_VERSION: Final = 0x4000
_BAD_ESCAPE = re.compile(rb"\x7d(?![\x01\x02])")

STREAM_MARK: Final = b"\x30\x31\x63\x64"
STREAM_HEAD: Final = 62
MAX_STREAM_DATA: Final = 65_536


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """Header of one packet. `phone`: raw hex as on the wire. `packet`: (total, index from 1) of a sub-packaged message.

    `version`: 2013 (2011 too) or 2019, the form of the header. `quirk`: how the frame bends the standard, "" if not.
    """

    msg_id: int
    phone: str
    serial: int
    version: int = 2013
    protocol_version: int = 1
    encrypt: int = 0
    packet: tuple[int, int] | None = None
    quirk: str = ""


class Packet(msgspec.Struct, frozen=True):
    """A header and the bytes of its body."""

    header: Header
    body: bytes


class FileChunk(msgspec.Struct, frozen=True, gc=False):
    """A raw stream packet of an attachment: `name` is the sender's claim, `at` the place of `data` in the file."""

    name: str
    at: int
    data: bytes
    offset: int


def xor(data: bytes) -> int:
    """Exclusive or of all bytes, folded as one big integer."""
    size = len(data)
    value = int.from_bytes(data, "big")
    width = 1 << max(size - 1, 0).bit_length()
    while width > 1:
        width >>= 1
        value = (value >> (8 * width)) ^ (value & ((1 << (8 * width)) - 1))
    return value


def escape(content: bytes) -> bytes:
    """Escape what stands between two flags."""
    return content.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02")


def unescape(content: bytes) -> tuple[bytes, str]:
    """(plain bytes, quirk or ""). Raises CodecError("escape")."""
    if b"\x7d" not in content:
        return content, ""
    quirk = ""
    if content.endswith(b"\x7d"):
        # 7D before the closing flag can never be an escape: it is the check byte itself, left as it was.
        content, quirk = content + b"\x01", _TRAILING_7D
    if _BAD_ESCAPE.search(content):
        raise CodecError("escape")
    return content.replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d"), quirk


def _header_form(properties: int, plain: bytes) -> tuple[int, str]:
    """(2013 or 2019, quirk) by what the sizes and the version bit say. Raises CodecError: header_short, body_length."""
    tail = (properties & 0x3FF) + (4 if properties & _PACKETED else 0)
    size = len(plain)
    as_2013, as_2019 = size == 12 + tail, size == 17 + tail
    if properties & _VERSION:
        if as_2019:
            return 2019, ""
        if as_2013:
            return 2013, BIT_SET_2013
    elif as_2013:
        return 2013, ""
    elif as_2019 and plain[4] == 1:
        return 2019, BIT_CLEAR_2019
    raise CodecError("header_short" if size < 12 + tail - (properties & 0x3FF) else "body_length")


def read_packet(raw: bytes) -> Packet:
    """Read one frame, with or without its flags. Raises CodecError: length, escape, checksum, header_short, …"""
    if len(raw) > MAX_FRAME:
        raise CodecError("length")
    content = raw.strip(b"\x7e")
    if b"\x7e" in content:
        raise CodecError("flag")
    plain, quirk = unescape(content)
    if len(plain) < 13:
        raise CodecError("header_short")
    if xor(plain):
        raise CodecError("checksum")
    plain = plain[:-1]
    msg_id, properties = struct.unpack_from(">HH", plain)
    version, form_quirk = _header_form(properties, plain)
    at, digits = (5, 10) if version == 2019 else (4, 6)
    phone = plain[at : at + digits].hex()
    at += digits
    serial = int.from_bytes(plain[at : at + 2], "big")
    at += 2
    packet = None
    if properties & _PACKETED:
        packet = struct.unpack_from(">HH", plain, at)
        at += 4
    header = Header(
        msg_id=msg_id,
        phone=phone,
        serial=serial,
        version=version,
        protocol_version=plain[4] if version == 2019 else 1,
        encrypt=(properties & _ENCRYPTION) >> 10,
        packet=packet,
        quirk=form_quirk or quirk,
    )
    return Packet(header, plain[at:])


def header_fields(packet: Packet) -> Decoded:
    """The header as the keys of a decoded message."""
    header = packet.header
    found: Decoded = {"ok": True, "msg_id": f"0x{header.msg_id:04X}"}
    if header.version == 2019:
        found["protocol_version"] = header.protocol_version
    found |= {"phone": header.phone, "serial": header.serial, "body_len": len(packet.body)}
    if header.encrypt:
        found["encrypt"] = header.encrypt
    if header.packet:
        found["packet"] = {"total": header.packet[0], "index": header.packet[1]}
    if header.quirk:
        found["quirk"] = header.quirk
    return found


def write_frame(header: Header, body: bytes = b"") -> bytes:
    """One frame in the header form of `header`, quirks of the form included. The body must fit one packet."""
    if len(body) > MAX_BODY:
        raise ValueError(f"one packet holds at most {MAX_BODY} bytes; got {len(body)}: use write_frames")
    version_bit = (header.version == 2019) != (header.quirk in (BIT_SET_2013, BIT_CLEAR_2019))
    properties = len(body) | (header.encrypt & 7) << 10
    properties |= (_PACKETED if header.packet else 0) | (_VERSION if version_bit else 0)
    parts = [struct.pack(">HH", header.msg_id, properties)]
    if header.version == 2019:
        parts.append(bytes((header.protocol_version,)))
    phone = bytes.fromhex(header.phone)
    if len(phone) != (10 if header.version == 2019 else 6):
        raise ValueError(
            f"a {header.version} header has a phone of 12 (2013) or 20 (2019) digits; got {header.phone!r}"
        )
    parts += [phone, struct.pack(">H", header.serial & 0xFFFF)]
    if header.packet:
        parts.append(struct.pack(">HH", *header.packet))
    plain = b"".join([*parts, body])
    return b"\x7e" + escape(plain + bytes((xor(plain),))) + b"\x7e"


def write_frames(header: Header, body: bytes) -> list[bytes]:
    """One frame, or as many sub-packages with consecutive serials as the body needs."""
    if len(body) <= MAX_BODY:
        return [write_frame(header, body)]
    pieces = [body[at : at + MAX_BODY] for at in range(0, len(body), MAX_BODY)]
    replace = msgspec.structs.replace
    return [
        write_frame(replace(header, serial=header.serial + i, packet=(len(pieces), i + 1)), piece)
        for i, piece in enumerate(pieces)
    ]


class Splitter:
    """Frames of one connection, cut at 7E; a frame that fails its check is dropped and the next flag goes on.

    `files`: the connection also carries raw stream packets of attachments, which are neither framed nor escaped.
    """

    def __init__(self, *, files: bool = False) -> None:
        self._files = files
        self._buffer = bytearray()
        self._offset = 0
        self._searched = 0  # bytes behind the opening flag known to hold no other flag
        self._lost = False  # inside an overlong piece: drop up to the next flag

    @property
    def pending(self) -> int:
        return 0 if self._buffer == b"\x7e" else len(self._buffer)

    def feed(self, data: bytes) -> list[Frame | BadFrame | FileChunk]:
        out: list[Frame | BadFrame | FileChunk] = []
        self._buffer += data
        while self._buffer and self._step(out):
            pass
        return out

    def expire(self) -> list[Frame | BadFrame | FileChunk]:
        """Drop the piece begun; nothing can lie behind it, for a flag would have ended it."""
        out: list[Frame | BadFrame | FileChunk] = []
        if self.pending:
            self._bad(out, "incomplete", len(self._buffer))
            self._lost = False
        return out

    def _take(self, count: int) -> bytes:
        raw = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._offset += count
        self._searched = 0
        return raw

    def _bad(self, out: list[Frame | BadFrame | FileChunk], reason: str, count: int) -> None:
        raw = self._take(count)
        out.append(BadFrame(reason, raw, self._offset - count))

    def _step(self, out: list[Frame | BadFrame | FileChunk]) -> bool:
        """Take one thing off the buffer; False when bytes are missing."""
        if self._buffer[0] == FLAG:
            self._lost = False
            return self._frame(out)
        if self._files and not self._lost and STREAM_MARK.startswith(self._buffer[:4]):
            return self._chunk(out)
        end = self._buffer.find(b"\x7e", self._searched, MAX_FRAME)
        if end < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) < MAX_FRAME:
                return False
            end = MAX_FRAME
        self._bad(out, "length" if self._lost else "no_start", end)
        return True

    def _frame(self, out: list[Frame | BadFrame | FileChunk]) -> bool:
        if self._files and STREAM_MARK.startswith(self._buffer[1:5]):
            # A raw packet may follow the closing flag of a frame directly; it may hold 7E itself.
            return len(self._buffer) >= 5 and bool(self._take(1))
        end = self._buffer.find(b"\x7e", max(1, self._searched), MAX_FRAME)
        if end == 1:
            return bool(self._take(1))  # doubled flag
        if end < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) < MAX_FRAME:
                return False
            self._lost = True
            self._bad(out, "length", MAX_FRAME)
            return True
        raw = bytes(self._buffer[: end + 1])
        try:
            read_packet(raw)
        except CodecError as err:
            self._bad(out, err.reason, end)  # without the closing flag: it may open the next frame
            return True
        self._take(end)  # the closing flag may be shared with the next frame
        out.append(Frame(raw, self._offset - end))
        return True

    def _chunk(self, out: list[Frame | BadFrame | FileChunk]) -> bool:
        if len(self._buffer) < STREAM_HEAD:
            return False
        at, size = struct.unpack_from(">II", self._buffer, 54)
        if size > MAX_STREAM_DATA:
            self._bad(out, "length", 4)
            return True
        if len(self._buffer) < STREAM_HEAD + size:
            return False
        raw = self._take(STREAM_HEAD + size)
        name = raw[4:54].rstrip(b"\0 ").decode("gb18030", "replace")
        out.append(FileChunk(name, at, raw[STREAM_HEAD:], self._offset - len(raw)))
        return True
