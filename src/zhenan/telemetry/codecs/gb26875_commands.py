"""Commands of GB/T 26875.3 from the centre: written, and the device's confirm, answer or denial read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zhenan.telemetry.codecs.base import Decoded, local_from_ms
from zhenan.telemetry.codecs.commands import Command, Said
from zhenan.telemetry.codecs.gb26875 import ANSWER, CONFIRM, CONTROL, DENY, REQUEST, SEND, encode
from zhenan.telemetry.codecs.gb26875_units import write_unit

GUARD_ANSWERED: Final = 1 << 5  # of a device operation, type 24
OPERATION: Final = 24


def write(command: Command, args: Mapping[str, Any], *, serial: int, last: Decoded, now_ms: int) -> bytes:
    """The frame, addressed back to whoever sent `last`, in its version bytes.

    Args:
        args: as `commands.checked` gives them.
        last: a decoded frame of the device; its destination is who we are to it.
    """
    now = local_from_ms(now_ms)
    obj: dict[str, Any] = dict(args)
    if command.wire == 90:
        obj = {"time": now}
    elif command.wire == 91:
        obj = {"timeout_min": args["minutes"]}
    elif not args:
        obj = {"reserved": 0}
    return encode(
        serial=serial,
        command=REQUEST if command.wants == "answer" else CONTROL,
        src=last["dst"],
        dst=last["src"],
        time=now,
        unit=write_unit(command.wire, [obj]),
        version=(last["version_major"], last["version_user"]),
    )


def key_of(decoded: Decoded) -> int | None:
    """The serial of ours that a frame answers; None when it answers nothing."""
    return int(decoded["serial"]) if decoded["cmd"] in (CONFIRM, ANSWER, DENY) else None


def said(command: Command, decoded: Decoded) -> Said | None:
    """What the frame says to the command; None when it is not the end of it (a confirm before the answer)."""
    if decoded["cmd"] == DENY:
        return Said("denied", "refused")
    if decoded["cmd"] == CONFIRM:
        if command.wants == "answer":
            return None
        return Said("accepted" if command.wants == "later" else "confirmed")
    unit = decoded.get("adu", {})
    if unit.get("adu_error"):
        return Said("denied", "unreadable_answer", unit)
    return Said("confirmed", data=unit.get("objects", []))


def guard_answered(decoded: Decoded) -> bool:
    """Whether the frame says that the guard pressed the button to a patrol (type 24, bit 5)."""
    unit = decoded.get("adu", {})
    if decoded["cmd"] not in (SEND, ANSWER) or unit.get("type_flag") != OPERATION:
        return False
    return any(obj["op"] & GUARD_ANSWERED for obj in unit.get("objects", ()))
