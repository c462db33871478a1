"""Decoding line by line: what `zhenan decode` prints. A line is hex, text (hj212) or a JSON object holding either."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from zhenan.telemetry.codecs import gb26875, hj212, jt808, mqtt_json
from zhenan.telemetry.codecs.base import CodecError, Decoded

PROTOCOLS: Final = ("jt808", "gb26875", "hj212", "mqtt_json")
_NEVER: Final = 2**62  # ms: later than any clock, so that every time that comes is believed
MAX_LINE: Final = 1_048_576  # characters
_ESCAPED_END = re.compile(r"(?:\\[rn])+$")
_HEX = re.compile(r"(?:0x)?(?:[0-9a-fA-F]{2}[\s:,-]*)+")


def decode_line(protocol: str, line: str) -> Decoded:
    """Decode one message, whatever it is: {"ok": True, …} or {"ok": False, "error": …}. Never raises for any line.

    Args:
        protocol: one of PROTOCOLS.
        line: hex digits, a text frame (hj212; a literal backslash r or n at its end counts as CR, LF), or a JSON object
            with `hex` or `text` and, where that is not a whole frame, `level` (body, adu, segment) and `msg_id`. For
            mqtt_json the line is the payload itself.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    try:
        line = line.lstrip("\ufeff").strip()
        return _payload(line) if protocol == "mqtt_json" else _decode(protocol, line)
    except CodecError as err:
        return {"ok": False, "error": err.reason}


def decode_bytes(protocol: str, raw: bytes) -> Decoded:
    """Decode one whole frame as it came: {"ok": True, …} or {"ok": False, "error": …}."""
    if protocol == "jt808" and raw.startswith(jt808.STREAM_MARK):
        return _file_chunk(raw)
    return {"jt808": jt808.decode, "gb26875": gb26875.decode, "hj212": hj212.decode}[protocol](raw)


def _file_chunk(raw: bytes) -> Decoded:
    """A raw stream packet of an attachment: part of a file, outside of any frame."""
    found = jt808.Splitter(files=True).feed(raw)
    if len(found) != 1 or not isinstance(found[0], jt808.FileChunk):
        return {"ok": False, "error": "length"}
    chunk = found[0]
    return {"ok": True, "file_chunk": {"name": chunk.name, "offset": chunk.at, "length": len(chunk.data)}}


def decode_stream(protocol: str, lines: Iterable[str], *, join: bool = False) -> Iterator[str]:
    """A line of JSON for each line that is not blank.

    Args:
        join: the last part of a message sent in parts also says under `joined` what the whole says (jt808).
    """
    reassembler = jt808.Reassembler() if join and protocol == "jt808" else None
    for line in lines:
        if line.strip():
            found = decode_line(protocol, line)
            if reassembler is not None and found.get("packet"):
                found |= _joined(reassembler, line)
            yield msgspec.json.encode(found).decode("utf-8")


def _joined(reassembler: jt808.Reassembler, line: str) -> Decoded:
    """What the whole message says, once its last part has come."""
    line = line.lstrip("\ufeff").strip()
    given = _as_object(line) if line.startswith("{") else None
    try:
        whole = reassembler.add(jt808.read_packet(_data("jt808", given, line)), 0)
    except CodecError as err:
        return {"joined": {"ok": False, "error": err.reason}}
    return {} if whole is None else {"joined": jt808.decode_packet(whole)}


def _decode(protocol: str, line: str) -> Decoded:
    if not line:
        raise CodecError("empty")
    if len(line) > MAX_LINE:
        raise CodecError("too_long")
    given = _as_object(line) if line.startswith("{") else None
    data = _data(protocol, given, line)
    level = given.get("level") if given else None
    if given is None or level is None:
        return decode_bytes(protocol, data)
    if (protocol, level) == ("jt808", "body"):
        return jt808.decode_body(_message_id(given.get("msg_id")), data, _version(given.get("version")))
    if (protocol, level) == ("gb26875", "adu"):
        return gb26875.decode_unit(data)
    if (protocol, level) == ("hj212", "segment"):
        return hj212.decode_segment(hj212.read_text(data))
    raise CodecError("level")


def _payload(line: str) -> Decoded:
    """A flat JSON payload: readings with their times (null: that of receipt), and what had to be left out."""
    payload = mqtt_json.decode(line.encode("utf-8", "surrogatepass"), _NEVER)
    return {
        "ok": True,
        "readings": [
            {"channel": r.channel, "ts": None if r.ts_ms == _NEVER else r.ts_ms, "value": r.value}
            for r in payload.readings
        ],
        "errors": [{"where": e.where, "error": e.reason} for e in payload.errors],
    }


def _as_object(line: str) -> dict[str, Any]:
    try:
        given = msgspec.json.decode(line.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as err:
        raise CodecError("json") from err
    if not isinstance(given, dict):
        raise CodecError("json")
    return given


def _data(protocol: str, given: dict[str, Any] | None, line: str) -> bytes:
    if given is None:
        return _from_text(line) if protocol == "hj212" and not _HEX.fullmatch(line) else _from_hex(line)
    if isinstance(given.get("text"), str):
        return _from_text(given["text"])
    if isinstance(given.get("hex"), str):
        return _from_hex(given["hex"])
    raise CodecError("no_hex_or_text")


def _from_text(text: str) -> bytes:
    try:
        return _ESCAPED_END.sub("\r\n", text).encode("utf-8")
    except UnicodeEncodeError as err:
        raise CodecError("utf8") from err


def _from_hex(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise CodecError("hex")
    return bytes.fromhex(re.sub(r"^0x|[\s:,-]", "", text))


def _message_id(value: Any) -> int:
    try:
        found = int(value, 16) if isinstance(value, str) else int(value)
    except (ValueError, TypeError, OverflowError) as err:
        raise CodecError("msg_id") from err
    if not 0 <= found <= 0xFFFF:
        raise CodecError("msg_id")
    return found


def _version(value: Any) -> int:
    return 2019 if str(value) == "2019" else 2013
