"""JSON of any shape into channels: a JSONPath for each, compiled once a model.

A model says where in its payload the samples are, where a sample's time is, and where each channel's value. A path
finds at most one value in a sample; a channel whose path finds none was not reported, which is no fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import jsonpath
import msgspec
from jsonpath.exceptions import JSONPathError
from jsonpath.selectors import IndexSelector, NameSelector

from zhenan.telemetry.codecs.base import CodecError, Reading
from zhenan.telemetry.codecs.mqtt_json import MAX_KEYS, ItemError, Payload, Reader, load

MAX_SAMPLES: Final = 10_000  # in one payload
MAX_PATH: Final = 200  # characters
TimeUnit = Literal["auto", "ms", "s"]


class PathFault(ValueError):
    """A path that cannot be used; the text says why."""


class Layout(msgspec.Struct, frozen=True):
    """How a model writes its payload. `channels`: name → path within a sample.

    `samples`: path to the samples, "$" where the payload is one. `ts`: path within a sample, "" where it has no time;
    `ts_unit`: "auto" takes numbers below 10^11 for seconds, and text for ISO 8601. `local_time`: ISO without a zone is
    UTC+8. `numeric_text`: numbers may be written as text.
    """

    channels: dict[str, str]
    samples: str = "$"
    ts: str = ""
    ts_unit: TimeUnit = "auto"
    local_time: bool = False
    numeric_text: bool = False


def path_fault(path: str, *, one: bool) -> str:
    """What is wrong with a path, "" when nothing is. `one`: it must find at most one value."""
    if len(path) > MAX_PATH:
        return f"a path has at most {MAX_PATH} characters; got {len(path)}"
    if not path.startswith("$"):
        return f"a path begins with $, such as $.data.lel; got {path!r}"
    try:
        compiled = jsonpath.compile(path)
    except (JSONPathError, RecursionError, ValueError) as err:
        return f"no JSONPath: {str(err).strip().splitlines()[0]}"
    if not isinstance(compiled, jsonpath.JSONPath):
        return f"a path must be one query; got {path!r}"
    if one and not compiled.singular_query():
        return f"{path!r} can find several values; want names and numbers alone, such as $.data[0].lel"
    return ""


def finder(path: str) -> Callable[[Any], list[Any]]:
    """What finds the value of a singular path, as the library's `findall` does, but walks names and numbers itself."""
    compiled = jsonpath.compile(path)
    if not isinstance(compiled, jsonpath.JSONPath):
        return compiled.findall
    steps: list[str | int] = []
    for one in (selector for segment in compiled.segments for selector in segment.selectors):
        if isinstance(one, NameSelector):
            steps.append(one.name)
        elif isinstance(one, IndexSelector):
            steps.append(one.index)
        else:
            return compiled.findall
    if not compiled.singular_query():
        return compiled.findall

    def find(document: Any) -> list[Any]:
        value = document
        for step in steps:
            if type(value) is dict and type(step) is str:
                if step not in value:
                    return []
                value = value[step]
            elif type(value) is list and type(step) is int:
                if not -len(value) <= step < len(value):
                    return []
                value = value[step]
            elif type(step) is int and type(value) is dict:  # the library may take the number for a name
                return compiled.findall(document)
            else:
                return []
        return [value]

    return find


class Compiled:
    """A layout ready for use. Raises PathFault for a path that is none."""

    def __init__(self, layout: Layout) -> None:
        wanted = [(layout.samples, False), *((path, True) for path in (layout.ts, *layout.channels.values()) if path)]
        for path, one in wanted:
            fault = path_fault(path, one=one)
            if fault:
                raise PathFault(fault)
        self.layout = layout
        self._samples = None if layout.samples == "$" else jsonpath.compile(layout.samples)
        self._ts = finder(layout.ts) if layout.ts else None
        self._channels = [(name, finder(path)) for name, path in layout.channels.items()]

    def decode(
        self,
        payload: bytes,
        received_ms: int,
        *,
        device: str = "",
        words: Mapping[str, Mapping[str, float]] | None = None,
    ) -> Payload:
        """As `mqtt_json.decode`, of a payload in this layout; one bad value leaves the rest."""
        document = load(payload)
        if not isinstance(document, dict | list):  # the library would read a text as another document
            raise CodecError("shape")
        layout = self.layout
        reader = Reader(received_ms, device, layout.numeric_text, layout.local_time, words or {})
        samples = [document] if self._samples is None else self._samples.findall(document)
        if len(samples) > MAX_SAMPLES or len(self._channels) * len(samples) > MAX_SAMPLES * MAX_KEYS:
            raise CodecError("too_many")
        for number, sample in enumerate(samples):
            self._sample(sample, f"[{number}]" if self._samples is not None else "", reader)
        if not reader.readings and not reader.errors:
            reader.errors.append(ItemError("", "no_channel"))
        return Payload(reader.readings, reader.errors)

    def _sample(self, sample: Any, where: str, reader: Reader) -> None:
        if not isinstance(sample, dict | list):
            reader.errors.append(ItemError(where, "shape"))
            return
        try:
            ts_ms, quality = reader.time(self._time(sample))
        except CodecError as err:
            reader.errors.append(ItemError(f"{where}.ts".lstrip("."), err.reason))
            return
        for name, path in self._channels:
            found = path(sample)
            if not found:
                continue
            try:
                value = reader.value(name, found[0])
            except CodecError as err:
                reader.errors.append(ItemError(f"{where}.{name}".lstrip("."), err.reason))
            else:
                reader.readings.append(Reading(reader.device, name, ts_ms, value, quality))

    def _time(self, sample: Any) -> Any:
        found = self._ts(sample) if self._ts is not None else []
        if not found:
            return None
        ts = found[0]
        if isinstance(ts, str) and ts.isascii() and ts.isdigit():
            ts = int(ts[:18])
        if self.layout.ts_unit == "s" and isinstance(ts, int | float) and not isinstance(ts, bool):
            return ts * 1000 if abs(ts) < 1e15 else ts
        return ts


@lru_cache(maxsize=1024)
def compiled(text: str) -> Compiled:
    """The layout written as JSON by `written`, compiled once a process."""
    return Compiled(msgspec.json.decode(text, type=Layout))


def written(layout: Layout) -> str:
    """The layout as the register of devices carries it."""
    return msgspec.json.encode(layout).decode("utf-8")
