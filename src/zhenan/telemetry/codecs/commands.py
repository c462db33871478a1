"""What devices can be told: every command of every protocol with its arguments, for gateway, pages and API alike.

The words for people are elsewhere; here is what may be asked, within which bounds, and how grave it is. How a command
is written and its answer read is in the protocol's own module (`gb26875_commands`, `jt808_commands`, `hj212_commands`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import msgspec

Kind = Literal["int", "text", "time", "hex", "bool"]
State = Literal["sent", "accepted", "confirmed", "denied", "timed_out", "lost"]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SEPARATORS: Final = re.compile(r"[;,&=#]")


class Arg(NamedTuple):
    """One argument. `low`, `high`: bounds of a number, or of a text's length in bytes of GB 18030.

    `default`: None where the argument must be given. Times are ISO, local (UTC+8).
    """

    name: str
    kind: Kind = "int"
    low: int = 0
    high: int = 255
    default: Any = None


class Command(NamedTuple):
    """One command of one protocol. `wire`: its type flag, message ID or CN. `grave`: changes how the device works.

    `about`: what it asks of: the device itself, one system behind it, one component, or a vehicle's terminal.
    `wants`: "confirm" (a bare yes), "answer" (data come back) or "later" (yes at once, the outcome afterwards).
    """

    code: str
    wire: int
    wants: Literal["confirm", "answer", "later"] = "confirm"
    args: tuple[Arg, ...] = ()
    grave: bool = False
    about: Literal["device", "system", "component"] = "device"


class Said(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a device's frame says to a command: `error` is a short stable word, `data` what was asked for."""

    state: State
    error: str = ""
    data: Any = None


class BadArguments(ValueError):
    """Arguments that the command does not take; `faults` holds all of them as (argument, what is wrong)."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{name}: {why}" for name, why in faults))
        self.faults = faults


_SYSTEM = (Arg("sys_type"), Arg("sys_addr"))
_COMPONENT = (*_SYSTEM, Arg("comp_addr", high=0xFFFF_FFFF))
_PERIOD = (Arg("begin", "time"), Arg("end", "time"))
_SINCE = (Arg("records", low=1, high=102, default=20), Arg("start", "time"))

GB26875: Final = (
    Command("sync_clock", 90),
    Command("patrol", 91, "later", (Arg("minutes", low=1, high=255, default=10),)),
    Command("initialise", 89, grave=True),
    Command("read_device_status", 81, "answer"),
    Command("read_device_operations", 84, "answer", _SINCE),
    Command("read_device_version", 85, "answer"),
    Command("read_device_config", 86, "answer"),
    Command("read_device_time", 88, "answer"),
    Command("read_system_status", 61, "answer", _SYSTEM, about="system"),
    Command("read_operations", 64, "answer", (*_SYSTEM, *_SINCE), about="system"),
    Command("read_version", 65, "answer", _SYSTEM, about="system"),
    Command("read_system_config", 66, "answer", _SYSTEM, about="system"),
    Command("read_system_time", 68, "answer", _SYSTEM, about="system"),
    Command("read_component_status", 62, "answer", _COMPONENT, about="component"),
    Command("read_component_analogue", 63, "answer", _COMPONENT, about="component"),
    Command("read_component_config", 67, "answer", _COMPONENT, about="component"),
)
JT808: Final = (
    Command(
        "text", 0x8300,
        args=(Arg("text", "text", 1, 1000), Arg("urgent", "bool", default=False), Arg("speak", "bool", default=True)),
    ),
    Command("locate", 0x8201, "answer"),
    Command("query_parameters", 0x8104, "answer"),
    Command(
        "speed_limit", 0x8103, args=(Arg("kmh", low=1, high=200), Arg("seconds", low=0, high=600, default=10))
    ),
    Command("driving_limit", 0x8103, args=(Arg("seconds", low=600, high=86_400, default=14_400),)),
    Command(
        "intervals", 0x8103,
        args=(Arg("heartbeat_s", low=10, high=3600, default=60), Arg("report_s", low=1, high=3600, default=10)),
    ),
    Command(
        "server", 0x8103, args=(Arg("address", "text", 1, 64), Arg("port", low=1, high=65_535)), grave=True
    ),
    Command(
        "parameter", 0x8103, args=(Arg("id", high=0xFFFF_FFFF), Arg("value", "hex", 1, 255)), grave=True
    ),
)  # fmt: skip
HJ212: Final = (
    Command(
        "set_timeout", 1000, "later",
        (Arg("overtime_s", low=1, high=60, default=10), Arg("recount", low=1, high=10, default=3)), grave=True,
    ),
    Command("get_time", 1011, "later"),
    Command("set_time", 1012, "later"),
    Command("get_interval", 1061, "later"),
    Command("set_interval", 1062, "later", (Arg("seconds", low=30, high=3600, default=60),)),
    Command("start_realtime", 2011, "later"),
    Command("stop_realtime", 2012, "later"),
    Command("read_minutes", 2051, "later", _PERIOD),
    Command("read_hours", 2061, "later", _PERIOD),
    Command("read_days", 2031, "later", _PERIOD),
    Command("calibrate", 3011, "later", (Arg("factor", "text", 1, 20),), grave=True),
    Command("sample_now", 3012, "later", (Arg("factor", "text", 1, 20),)),
    Command("clean", 3013, "later", (Arg("factor", "text", 1, 20),), grave=True),
    Command("compare", 3014, "later", (Arg("factor", "text", 1, 20),)),
    Command("keep_sample", 3015, "later"),
    Command(
        "set_sampling", 3016, "later",
        (Arg("factor", "text", 1, 20), Arg("start_hour", low=0, high=23, default=0),
         Arg("every_h", low=1, high=24, default=2)),
    ),
    Command("get_sampling", 3017, "later", (Arg("factor", "text", 1, 20),)),
    Command("sample_duration", 3018, "later", (Arg("factor", "text", 1, 20),)),
    Command("read_identity", 3019, "later", (Arg("factor", "text", 1, 20),)),
    Command("read_information", 3020, "later", (Arg("factor", "text", 1, 20), Arg("info", "text", 1, 20), *_PERIOD)),
    Command(
        "set_information", 3021, "later",
        (Arg("factor", "text", 1, 20), Arg("info", "text", 1, 20), Arg("value", "text", 1, 60)), grave=True,
    ),
)  # fmt: skip
CATALOGUE: Final[dict[str, dict[str, Command]]] = {
    "gb26875": {command.code: command for command in GB26875},
    "jt808": {command.code: command for command in JT808},
    "hj212": {command.code: command for command in HJ212},
}


def find(protocol: str, code: str) -> Command | None:
    """The protocol's command, or None."""
    return CATALOGUE.get(protocol, {}).get(code)


def checked(command: Command, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, complete and within bounds. Raises BadArguments with all that is wrong."""
    faults = [(name, "is no argument of this command") for name in args if name not in {a.name for a in command.args}]
    found: dict[str, Any] = {}
    for arg in command.args:
        try:
            found[arg.name] = _value(arg, args.get(arg.name, arg.default))
        except ValueError as err:
            faults.append((arg.name, str(err)))
    if "begin" in found and "end" in found and found["begin"] >= found["end"]:
        faults.append(("end", f"must be after {found['begin']}; got {found['end']}"))
    if faults:
        raise BadArguments(faults)
    return found


def _value(arg: Arg, value: Any) -> Any:
    if value is None:
        raise ValueError("is missing")
    if arg.kind == "bool":
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false; got {value!r:.40}")
        return value
    if arg.kind == "int":
        if isinstance(value, bool) or not isinstance(value, int) or not arg.low <= value <= arg.high:
            raise ValueError(f"must be a whole number from {arg.low} to {arg.high}; got {value!r:.40}")
        return value
    if not isinstance(value, str):
        raise ValueError(f"must be text; got {value!r:.40}")
    return {"text": _text, "time": _time, "hex": _hex}[arg.kind](arg, value)


def _text(arg: Arg, value: str) -> str:
    try:
        size = len(value.encode("gb18030"))
    except UnicodeEncodeError:
        raise ValueError("holds characters that no device can show") from None
    if _CONTROL.search(value):
        raise ValueError("must not hold control characters")
    if arg.high <= 100 and _SEPARATORS.search(value):  # a name or number: these would end it in a text protocol
        raise ValueError("must not hold any of ; , & = #")
    if not arg.low <= size <= arg.high:
        raise ValueError(f"must have {arg.low} to {arg.high} bytes; got {size}")
    return value


def _time(arg: Arg, value: str) -> str:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError(f"must be a time such as 2026-01-31T08:00:00; got {value[:40]!r}") from None
    if time.tzinfo is not None or not 2000 <= time.year <= 2099:
        raise ValueError(f"must be local time of the years 2000 to 2099, without a zone; got {value[:40]!r}")
    return time.replace(microsecond=0).isoformat()


def _hex(arg: Arg, value: str) -> str:
    try:
        data = bytes.fromhex(value)
    except ValueError:
        raise ValueError(f"must be hex digits; got {value[:40]!r}") from None
    if not arg.low <= len(data) <= arg.high:
        raise ValueError(f"must have {arg.low} to {arg.high} bytes; got {len(data)}")
    return data.hex()
