"""Who may report, and what its channels mean."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs.base import BAD, Reading
from zhenan.telemetry.codecs.jt808 import phone_keys
from zhenan.telemetry.columns import Columns, partitions
from zhenan.telemetry.gateway.mapping import Compiled, compiled

T = TypeVar("T")
FUTURE_MS: Final = 300_000  # a reading further ahead of the server's clock is refused


class PointLike(Protocol):
    """One point as the register of devices gives it. `value = raw x scale + offset`, or one bit of the raw word.

    It may have a `subject_id` (without it the device is its own): the points of one subject share a lane of the log.
    """

    @property
    def protocol(self) -> str: ...
    @property
    def device_key(self) -> str: ...
    @property
    def device_id(self) -> int: ...
    @property
    def channel(self) -> str: ...
    @property
    def point_id(self) -> int: ...
    @property
    def scale(self) -> float: ...
    @property
    def offset(self) -> float: ...
    @property
    def bit(self) -> int | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def states(self) -> Mapping[str, float] | None: ...


class Point(NamedTuple):
    """How a channel's raw value becomes a reading. Outside low..high it is unfit (quality BAD)."""

    id: int
    scale: float
    offset: float
    bit: int | None
    low: float
    high: float


@dataclass
class Device:
    """A registered device. `channels`: the decoder's channel name → its points (several where bits are points)."""

    id: int
    key: str
    channels: dict[str, list[Point]] = field(default_factory=dict)
    words: dict[str, Mapping[str, float]] = field(default_factory=dict)  # of channels that report a state as text
    layout: Compiled | None = None  # of a JSON payload in a shape of the model's own
    password: str | None = None  # of HJ 212: what its frames must carry; "": anything will do; None: the city's


class Rows:
    """Readings of small messages gathered before they become columns: machine numbers, no object a reading."""

    __slots__ = ("point", "quality", "ts", "value")

    def __init__(self) -> None:
        self.point = array("i")
        self.ts = array("q")
        self.value = array("d")
        self.quality = array("B")

    def __len__(self) -> int:
        return len(self.ts)

    def add(self, point: int, ts: int, value: float, quality: int) -> None:
        """One reading more."""
        self.point.append(point)
        self.ts.append(ts)
        self.value.append(value)
        self.quality.append(quality)

    def extend(self, other: Rows) -> None:
        """The other's readings behind these."""
        self.point += other.point
        self.ts += other.ts
        self.value += other.value
        self.quality += other.quality

    def columns(self) -> Columns:
        """As columns, without copying: from then on nothing may be added."""
        return Columns(
            np.frombuffer(self.point, np.int32), np.frombuffer(self.ts, np.int64),
            np.frombuffer(self.value, np.float64), np.frombuffer(self.quality, np.uint8),
        )  # fmt: skip


class Mapped(NamedTuple):
    """What became of the readings of one message."""

    rows: Rows
    future: list[Reading]
    unmapped: list[str]  # channels without a point


Make = Callable[["Register"], Any]


class Register:
    """The register as it was at one moment; never changed. Made in any thread, for at the size of a city it takes
    seconds."""

    def __init__(self, rows: Iterable[PointLike] = (), wanted: Iterable[Make] = ()) -> None:
        """`wanted`: what will be asked of `derived`, made now."""
        self._devices: dict[tuple[str, str], Device] = {}
        ids, subjects, owners = array("q"), array("q"), array("q")
        for row in rows:
            device = self._device(row)
            low = -np.inf if row.low is None else row.low
            high = np.inf if row.high is None else row.high
            point = Point(row.point_id, row.scale, row.offset, row.bit, float(low), float(high))
            device.channels.setdefault(row.channel, []).append(point)
            if row.states:
                device.words[row.channel] = row.states
            ids.append(row.point_id)
            subjects.append(getattr(row, "subject_id", row.device_id))
            owners.append(row.device_id)
        self.points = len(ids)
        at = np.frombuffer(ids, np.int64)
        self.partition: NDArray[np.uint8] = np.zeros(int(at.max(initial=0)) + 1, np.uint8)  # of each point id
        self.partition[at] = partitions(np.frombuffer(subjects, np.int64))
        # of each point id: its device's id, -1 for no point
        self.owner: NDArray[np.int64] = np.full(self.partition.size, -1, np.int64)
        self.owner[at] = np.frombuffer(owners, np.int64)
        self._derived: dict[Make, Any] = {}
        for make in wanted:
            self.derived(make)

    def _device(self, row: PointLike) -> Device:
        key = (row.protocol, _plain(row.protocol, row.device_key))
        device = self._devices.get(key)
        if device is None:
            device = self._devices[key] = Device(row.device_id, row.device_key)
        if layout := getattr(row, "layout", ""):
            device.layout = compiled(layout)
        device.password = getattr(row, "password", None)
        return device

    def __len__(self) -> int:
        return len(self._devices)

    def derived(self, make: Make) -> Any:
        """What `make` makes of this register; made once."""
        found = self._derived.get(make)
        if found is None:
            found = self._derived[make] = make(self)
        return found

    def wanted(self) -> tuple[Make, ...]:
        """What was derived, so that it can be made of the next register before that is in use."""
        return tuple(self._derived)

    def of(self, protocol: str) -> Iterator[Device]:
        """The devices of one protocol, always in the same order."""
        return (device for (known, _), device in self._devices.items() if known == protocol)

    def find(self, protocol: str, key: str) -> Device | None:
        """The device with this identity, or None."""
        found = self._devices.get((protocol, key))
        if found is None and protocol == "jt808":  # leading zeros of a phone count or not, as the maker pleases
            for form in phone_keys(key):
                found = found or self._devices.get((protocol, _plain(protocol, form)))
        return found

    def discard(self) -> None:
        """Let go of it piece by piece: at once, a city's devices would hold up every other thread meanwhile."""
        while self._devices:
            self._devices.popitem()


class Registry:
    """The register of now. Replaced as a whole, by `load` or `take`."""

    def __init__(self, rows: Iterable[PointLike] = ()) -> None:
        self.now = Register(rows)

    def load(self, rows: Iterable[PointLike]) -> None:
        """Take a new register."""
        self.take(Register(rows, self.now.wanted()))

    def take(self, register: Register) -> Register:
        """Take a new register; returns the former one."""
        former, self.now = self.now, register
        return former

    @property
    def partition(self) -> NDArray[np.uint8]:
        """The partition of each point id."""
        return self.now.partition

    @property
    def owner(self) -> NDArray[np.int64]:
        """The device id of each point id, -1 for no point."""
        return self.now.owner

    @property
    def points(self) -> int:
        """How many there are."""
        return self.now.points

    def __len__(self) -> int:
        return len(self.now)

    def of(self, protocol: str) -> Iterator[Device]:
        """The devices of one protocol, always in the same order until the next register."""
        return self.now.of(protocol)

    def find(self, protocol: str, key: str) -> Device | None:
        """The device with this identity, or None."""
        return self.now.find(protocol, key)


def _plain(protocol: str, key: str) -> str:
    return key.lstrip("0").lower() if protocol == "jt808" else key


def drained(rows: list[T]) -> Iterator[T]:
    """The rows in their order; each leaves the list as it is taken, so that letting go of them holds nobody up."""
    rows.reverse()
    while rows:
        yield rows.pop()


def map_readings(device: Device, readings: Iterable[Reading], now_ms: int) -> Mapped:
    """Decoded readings → readings of points; those of the future and those without a point are set apart."""
    rows = Rows()
    future: list[Reading] = []
    unmapped: list[str] = []
    latest = now_ms + FUTURE_MS
    for reading in readings:
        points = device.channels.get(reading.channel)
        if points is None:
            unmapped.append(reading.channel)
            continue
        if reading.ts_ms > latest:
            future.append(reading)
            continue
        for point in points:
            value, quality = _value(point, reading)
            rows.add(point.id, reading.ts_ms, value, quality)
    return Mapped(rows, future, unmapped)


def _value(point: Point, reading: Reading) -> tuple[float, int]:
    if point.bit is not None:
        return float(int(reading.value) >> point.bit & 1), reading.quality
    value = reading.value * point.scale + point.offset
    return value, reading.quality if point.low <= value <= point.high else BAD


def shown(readings: Iterable[Reading]) -> list[dict[str, Any]]:
    """Readings for an operator's eyes, as kept with a quarantined frame."""
    return [{"channel": r.channel, "ts": r.ts_ms, "value": r.value, "quality": r.quality} for r in readings]
