"""Commands of HJ 212-2017 from the centre: 9011 says whether the device will, data may follow, 9012 how it went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from zhenan.telemetry.codecs.base import Decoded, local_from_ms
from zhenan.telemetry.codecs.commands import Command, Said
from zhenan.telemetry.codecs.hj212 import request

REQUEST_ANSWER: Final = "9011"
RESULT: Final = "9012"
NOTICE: Final = "9013"  # the answer to a notice of ours (2012 stop)
ANSWERS: Final = frozenset({REQUEST_ANSWER, RESULT, NOTICE})
PASSWORD: Final = "123456"  # noqa: S105  (what the standard's examples and nearly all loggers in the field have)

_REFUSED: Final = {
    "2": "refused", "3": "password", "4": "identity", "5": "system", "6": "flag", "7": "qn", "8": "command", "9": "crc",
    "100": "unknown",
}  # fmt: skip
_FAILED: Final = {
    "2": "failed", "3": "condition", "4": "device_timeout", "5": "busy", "6": "fault", "100": "no_data",
}  # fmt: skip
_KEYS: Final = {"factor": "PolId", "info": "InfoId"}


def _stamp(iso: str) -> str:
    return f"{datetime.fromisoformat(iso):%Y%m%d%H%M%S}"


def parameters(command: Command, args: Mapping[str, Any], now_ms: int) -> dict[str, str]:
    """What stands in the data area of the request."""
    found = {_KEYS[name]: str(value) for name, value in args.items() if name in _KEYS}
    if "begin" in args:
        found |= {"BeginTime": _stamp(args["begin"]), "EndTime": _stamp(args["end"])}
    if command.code == "set_time":
        found["SystemTime"] = f"{local_from_ms(now_ms):%Y%m%d%H%M%S}"
    elif command.code == "set_timeout":
        found |= {"OverTime": str(args["overtime_s"]), "ReCount": str(args["recount"])}
    elif command.code == "set_interval":
        found["RtdInterval"] = str(args["seconds"])
    elif command.code == "set_sampling":
        found |= {"CstartTime": f"{args['start_hour']:02d}0000", "CTime": str(args["every_h"])}
    elif command.code == "set_information":
        found[f"{args['info']}-Info"] = args["value"]
    return found


def write(
    command: Command, args: Mapping[str, Any], *, qn: str, last: Decoded, now_ms: int, password: str = PASSWORD
) -> bytes:
    """The request, in the system (ST) and with the identity (MN) of `last`, a decoded frame of the device."""
    fields = last["fields"]
    return request(
        qn=qn, st=fields.get("ST", "22"), cn=f"{command.wire:04d}", pw=password, mn=fields.get("MN", ""),
        params=parameters(command, args, now_ms),
    )  # fmt: skip


def key_of(decoded: Decoded) -> str | None:
    """The QN of ours that a frame may answer; the QN of an upload names the device's own exchange and fits none."""
    return decoded["fields"].get("QN") or None


def said(command: Command, decoded: Decoded) -> Said | None:
    """What the frame says to the command; None for a frame that is no part of the exchange."""
    fields, params = decoded["fields"], decoded.get("params", {})
    if fields.get("CN") == REQUEST_ANSWER:
        code = params.get("QnRtn", "")
        return Said("accepted") if code == "1" else Said("denied", _REFUSED.get(code, f"QnRtn {code[:8]}"))
    if fields.get("CN") == NOTICE:
        return Said("confirmed")
    if fields.get("CN") == RESULT:
        code = params.get("ExeRtn", "")
        return Said("confirmed") if code == "1" else Said("denied", _FAILED.get(code, f"ExeRtn {code[:8]}"))
    if fields.get("CN") == f"{command.wire:04d}":
        return Said("accepted", data={"params": params, "factors": decoded.get("factors", {})})
    return None
