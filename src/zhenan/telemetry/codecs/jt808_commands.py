"""Commands of JT/T 808 from the platform: written in the terminal's own header form, and its answers read."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from zhenan.telemetry.codecs.base import Decoded
from zhenan.telemetry.codecs.commands import Command, Said
from zhenan.telemetry.codecs.jt808_frame import Header, write_frame
from zhenan.telemetry.codecs.jt808_messages import query_parameters, reply_header, set_parameters
from zhenan.telemetry.codecs.jt808_values import write_string

HEARTBEAT_S: Final = 0x0001
SERVER: Final = 0x0013
PORT: Final = 0x0018
REPORT_S: Final = 0x0029
SPEED_KMH: Final = 0x0055
OVER_S: Final = 0x0056
DRIVING_S: Final = 0x0057

_RESULTS: Final = {1: "failed", 2: "wrong_message", 3: "unsupported"}
_ANSWERS: Final = {"0x0104": 0x8104, "0x0201": 0x8201}


def text(header: Header, words: str, *, urgent: bool = False, speak: bool = True) -> bytes:
    """0x8300: shown to the driver, read aloud with `speak`. 2019 says in a byte of its own that it is a notice."""
    if header.version == 2019:
        flag = (0b10 if urgent else 0b11) | 1 << 2 | speak << 3
        body = bytes((flag, 1)) + write_string(words)
    else:
        body = bytes((int(urgent) | 1 << 2 | speak << 3,)) + write_string(words)
    return write_frame(_form(header, 0x8300), body)


def locate(header: Header) -> bytes:
    """0x8201: where are you?"""
    return write_frame(_form(header, 0x8201))


def media_done(header: Header, media_id: int, missing: Sequence[int] = ()) -> bytes:
    """0x8800: the file is here, or (with `missing`) these packets of it are to be sent again."""
    body = struct.pack(">I", media_id)
    if missing:
        body += struct.pack(f">B{len(missing)}H", len(missing), *missing)
    return write_frame(_form(header, 0x8800), body)


def _form(header: Header, msg_id: int) -> Header:
    return Header(
        msg_id=msg_id, phone=header.phone, serial=header.serial, version=header.version,
        protocol_version=header.protocol_version, quirk=header.quirk,
    )  # fmt: skip


def _dword(value: int) -> bytes:
    return struct.pack(">I", value)


def _parameters(code: str, args: Mapping[str, Any]) -> list[tuple[int, bytes]]:
    if code == "speed_limit":
        return [(SPEED_KMH, _dword(args["kmh"])), (OVER_S, _dword(args["seconds"]))]
    if code == "driving_limit":
        return [(DRIVING_S, _dword(args["seconds"]))]
    if code == "intervals":
        return [(HEARTBEAT_S, _dword(args["heartbeat_s"])), (REPORT_S, _dword(args["report_s"]))]
    if code == "server":
        return [(SERVER, write_string(args["address"])), (PORT, _dword(args["port"]))]
    return [(args["id"], bytes.fromhex(args["value"]))]


def write(command: Command, args: Mapping[str, Any], *, serial: int, last: Decoded, now_ms: int) -> bytes:
    """The frame in the form of `last`, a decoded message of the terminal: its phone bytes, version and quirk.

    Args:
        args: as `commands.checked` gives them.
    """
    header = reply_header(last, command.wire, serial)
    if command.code == "text":
        return text(header, args["text"], urgent=args["urgent"], speak=args["speak"])
    if command.code == "locate":
        return locate(header)
    if command.code == "query_parameters":
        return query_parameters(header)
    return set_parameters(header, _parameters(command.code, args))


def key_of(decoded: Decoded) -> int | None:
    """The serial of ours that a message answers; None when it answers nothing."""
    if decoded["msg_id"] != "0x0001" and decoded["msg_id"] not in _ANSWERS:
        return None
    serial = decoded.get("body", {}).get("reply_serial")
    return None if serial is None else int(serial)


def said(command: Command, decoded: Decoded) -> Said | None:
    """What the message says to the command; None when it answers another message or is not the end of it."""
    body = decoded.get("body", {})
    if decoded["msg_id"] == "0x0001":
        if body.get("reply_msg_id") != f"0x{command.wire:04X}":
            return None
        if body["result"] != 0:
            return Said("denied", _RESULTS.get(body["result"], f"result_{body['result']}"))
        return None if command.wants == "answer" else Said("confirmed")
    if _ANSWERS[decoded["msg_id"]] != command.wire:
        return None
    if decoded.get("body_error"):
        return Said("denied", "unreadable_answer", body)
    return Said("confirmed", data=body.get("location", body.get("params")))
