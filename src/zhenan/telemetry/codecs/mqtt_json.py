"""Telemetry as JSON over MQTT or HTTP: objects or lists of {"ts", "values"}, or one flat object.

The device's identity comes from the connection, never from the payload.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final

import msgspec

from zhenan.telemetry.codecs.base import GOOD, MAX_AHEAD_MS, NO_DEVICE_TIME, CodecError, Reading

MAX_PAYLOAD: Final = 262_144  # bytes
MAX_DEPTH: Final = 8
MAX_KEYS: Final = 512  # in one object
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
# float() turns 1e999 into infinity, so that one value is refused and not the whole payload.
_DECODER = msgspec.json.Decoder(float_hook=float)
_SECONDS_BELOW: Final = 10**11  # a time stamp below this counts seconds, not milliseconds
_CHINA = timezone(timedelta(hours=8))


class ItemError(msgspec.Struct, frozen=True):
    """One value or object that was left out. `where`: such as `[2].values.gas`; `reason`: a short stable word."""

    where: str
    reason: str


class Payload(msgspec.Struct, frozen=True):
    """What a payload held, in its order."""

    readings: list[Reading]
    errors: list[ItemError]


def decode(
    payload: bytes,
    received_ms: int,
    *,
    device: str = "",
    numeric_text: bool = False,
    local_time: bool = False,
    words: Mapping[str, Mapping[str, float]] | None = None,
) -> Payload:
    """Read one payload; one bad value leaves the rest.

    Args:
        numeric_text: accept numbers written as text ("12.3").
        local_time: accept ISO times without a zone, as UTC+8.
        words: name → text → number, for devices that write their state as a word.
    Raises: CodecError when nothing of it can be taken: too_long, utf8, json, depth, shape.
    """
    document = load(payload)
    reader = Reader(received_ms, device, numeric_text, local_time, words or {})
    if isinstance(document, list):
        for i, item in enumerate(document):
            reader.item(item, f"[{i}]")
    elif isinstance(document, dict):
        reader.item(document, "")
    else:
        raise CodecError("shape")
    return Payload(reader.readings, reader.errors)


def load(payload: bytes) -> Any:
    """The JSON document of a payload. Raises CodecError: too_long, utf8, json, depth."""
    if len(payload) > MAX_PAYLOAD:
        raise CodecError("too_long")
    try:
        payload.decode("utf-8")
    except UnicodeDecodeError as err:
        raise CodecError("utf8") from err
    try:
        document = _DECODER.decode(payload)
    except msgspec.DecodeError as err:
        raise CodecError("json") from err
    except RecursionError as err:
        raise CodecError("depth") from err
    if _deeper_than(document, MAX_DEPTH):
        raise CodecError("depth")
    return document


def _deeper_than(value: Any, depth: int) -> bool:
    """Whether objects and lists are nested more than `depth` levels; a scalar has no level."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        nodes = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in nodes if isinstance(child, dict | list)]
        if not level:
            return False
    return True


class Reader:
    """Gathers the readings of one payload, and what had to be left out."""

    def __init__(
        self,
        received_ms: int,
        device: str,
        numeric_text: bool,
        local_time: bool,
        words: Mapping[str, Mapping[str, float]],
    ) -> None:
        self.readings: list[Reading] = []
        self.errors: list[ItemError] = []
        self._received_ms = received_ms
        self.device = device
        self._numeric_text = numeric_text
        self._local_time = local_time
        self._words = words

    def item(self, item: Any, where: str) -> None:
        """One sample: {"ts", "values"}, or flat with an optional ts among the values."""
        if not isinstance(item, dict):
            self.errors.append(ItemError(where, "shape"))
            return
        values, path = item, where
        if isinstance(item.get("values"), dict):
            values, path = item["values"], f"{where}.values".lstrip(".")
        if len(values) > MAX_KEYS:
            self.errors.append(ItemError(path, "keys"))
            return
        try:
            ts_ms, quality = self.time(item.get("ts"))
        except CodecError as err:
            self.errors.append(ItemError(f"{where}.ts".lstrip("."), err.reason))
            return
        for name, value in values.items():
            if values is item and name == "ts":
                continue
            try:
                reading = Reading(self.device, _name(name), ts_ms, self.value(name, value), quality)
            except CodecError as err:
                self.errors.append(ItemError(f"{path}.{name[:64]}".lstrip("."), err.reason))
            else:
                self.readings.append(reading)

    def time(self, ts: Any) -> tuple[int, int]:
        """(UTC ms, quality); receive time when there is none or the clock is plainly wrong. Raises CodecError("ts")."""
        if ts is None:
            return self._received_ms, NO_DEVICE_TIME
        if isinstance(ts, str):
            ts_ms = self._iso(ts)
        elif isinstance(ts, int | float) and not isinstance(ts, bool) and abs(ts) < 1e18:
            ts_ms = round(ts * 1000 if ts < _SECONDS_BELOW else ts)
        else:
            raise CodecError("ts")
        if 0 < ts_ms <= self._received_ms + MAX_AHEAD_MS:
            return ts_ms, GOOD
        return self._received_ms, NO_DEVICE_TIME

    def _iso(self, text: str) -> int:
        try:
            time = datetime.fromisoformat(text)
            if time.tzinfo is None:
                if not self._local_time:
                    raise CodecError("ts_zone")
                time = time.replace(tzinfo=_CHINA)
            return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        except CodecError:
            raise
        except (ValueError, OverflowError) as err:
            raise CodecError("ts") from err

    def value(self, name: str, value: Any) -> float:
        """A channel's value as a number. Raises CodecError: text, null, nested, range."""
        if isinstance(value, str):
            known = self._words.get(name)
            if known is not None and value in known:
                return known[value]
            if not (self._numeric_text and _NUMBER.fullmatch(value.strip())):
                raise CodecError("text")
            value = float(value)
        if not isinstance(value, int | float):
            raise CodecError("null" if value is None else "nested")
        try:
            number = float(value)
        except OverflowError as err:
            raise CodecError("range") from err
        if not math.isfinite(number):
            raise CodecError("range")
        return number


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise CodecError("name")
    return name
