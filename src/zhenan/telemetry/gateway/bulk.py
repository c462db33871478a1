"""Bodies of many readings → columns, and for each row that is refused its reason: for its sender and for quarantine."""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.codecs import influx, json_arrays
from zhenan.telemetry.codecs.base import GOOD, NO_DEVICE_TIME, Reading
from zhenan.telemetry.codecs.compiled import Points, channel_name, compiled, names_of
from zhenan.telemetry.codecs.rows import (
    EARLIEST_MS,
    FORBIDDEN,
    FUTURE,
    SHAPE,
    SLOW,
    TAKEN,
    TIME,
    UNKNOWN,
    UNMAPPED,
    VALUE,
    WORDS,
    Fault,
    Item,
    Scan,
)
from zhenan.telemetry.columns import Columns
from zhenan.telemetry.gateway import quarantine
from zhenan.telemetry.gateway.keys import Key
from zhenan.telemetry.gateway.quarantine import Refusal
from zhenan.telemetry.gateway.registry import FUTURE_MS, Device, Register, Registry, Rows, map_readings, shown

PROTOCOL: Final = "mqtt_json"  # a device that speaks JSON is the same device over MQTT and over HTTP
TOLD: Final = 100  # rows named in the answer
_LOOKED_AT: Final = 2000  # refused rows that are read for quarantine; the rest is counted
_GROUPS: Final = 64  # refusals of one body, one for each (reason, device)
_READINGS: Final = 20  # kept of a group, for the operator
_VIEWS: Final = 1000  # kept
_KEPT_AS: Final = {
    UNKNOWN: quarantine.UNKNOWN, FORBIDDEN: quarantine.FORBIDDEN, UNMAPPED: quarantine.UNMAPPED,
    VALUE: quarantine.BODY, TIME: quarantine.BODY, SHAPE: quarantine.BODY, FUTURE: quarantine.FUTURE,
}  # fmt: skip
_DETAIL: Final = {
    UNKNOWN: "no such device for this key", FORBIDDEN: "no such device for this key",
    UNMAPPED: "the device has no such channel", TIME: "the time is not in UTC milliseconds",
    FUTURE: "the time is more than five minutes ahead", VALUE: "the value is not a finite number",
    SHAPE: "not a row of this form",
}  # fmt: skip
ReadRow = Callable[[bytes, int], Sequence[Item | Fault]]


@dataclass
class Outcome:
    """What became of a body. `refused`: rows by the status they ended with; `told`: the first of them."""

    columns: Columns
    refused: Counter[int] = field(default_factory=Counter)
    told: list[Fault] = field(default_factory=list)
    kept: dict[tuple[int, str], list[Item | Fault]] = field(default_factory=dict)
    raw: dict[tuple[int, str], bytes] = field(default_factory=dict)

    def refuse(self, status: int, row: int, detail: str, count: int = 1) -> None:
        """Count rows as refused; name the first to the sender, who is not told which devices others have."""
        self.refused[status] += count
        if len(self.told) < TOLD:
            self.told.append(Fault(row, UNKNOWN if status == FORBIDDEN else status, detail or _DETAIL[status]))

    def keep(self, status: int, device: str, said: Item | Fault, raw: bytes) -> None:
        """A refused row for quarantine, with others of its sort."""
        group = (status, device[:64])
        if group not in self.kept:
            if len(self.kept) >= _GROUPS:
                return
            self.raw[group] = raw
        self.kept.setdefault(group, []).append(said)

    def refusals(self, key: Key, peer: str, received_ms: int) -> list[Refusal]:
        """For quarantine: a row for each reason and device, and what is beyond them counted."""
        left = self.refused.copy()
        found = []
        for (status, device), rows in self.kept.items():
            left[status] -= len(rows)
            readings = [_reading(row, received_ms) for row in rows[:_READINGS] if isinstance(row, Item)]
            detail = next((row.detail for row in rows if isinstance(row, Fault)), _DETAIL[status])
            found.append(
                Refusal(reason=_KEPT_AS[status], protocol=PROTOCOL, device_key=device, peer=peer,
                        received_ms=received_ms, raw=self.raw[status, device], count=len(rows),
                        decoded={"readings": shown(readings)}, detail=f"API key {key.name}: {detail}"[:300])
            )  # fmt: skip
        for status, count in left.items():
            if count:
                found.append(
                    Refusal(reason=_KEPT_AS[status], protocol=PROTOCOL, peer=peer, received_ms=received_ms,
                            detail=f"API key {key.name}: further rows", count=count)
                )  # fmt: skip
        return found


def _reading(item: Item, received_ms: int) -> Reading:
    value = item.value if isinstance(item.value, float) else np.nan
    return Reading(item.device, item.channel, item.ts_ms or received_ms, value, GOOD)


class View(NamedTuple):
    """The register as one request sees it. `devices`, `channels`: uint8, whether the key may report for each device of
    `known` and for each point id. `owner`: the device id of each point id."""

    known: Points
    devices: NDArray[np.uint8]
    channels: NDArray[np.uint8]
    owner: NDArray[np.int64]


class Known(NamedTuple):
    """The devices of the protocol, and their points as the compiled scans want them; `ids`: of each device, int64."""

    points: Points
    ids: NDArray[np.int64]
    devices: list[Device]


def known_of(register: Register) -> Known:
    """For `Register.derived`."""
    devices = list(register.of(PROTOCOL))
    return Known(points_of(devices), np.array([device.id for device in devices], np.int64), devices)


def _view(register: Register, key: Key) -> View:
    (known, own, _), owner = register.derived(known_of), register.owner
    if key.devices is None:
        return View(known, np.ones(own.size, np.uint8), (owner >= 0).astype(np.uint8), owner)
    ids = np.fromiter(key.devices, np.int64, len(key.devices))
    devices, channels = np.isin(own, ids), np.isin(owner, ids) & (owner >= 0)
    return View(known, devices.astype(np.uint8), channels.astype(np.uint8), owner)


class Bulk:
    """The register as the compiled decoders want it, and what each key may report for; made anew when either changes.

    For several threads: a request works on one `View` from beginning to end.
    """

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._lock = threading.Lock()
        self._register: Register | None = None
        self._views: dict[Key, View] = {}

    def view(self, key: Key) -> View:
        """What a key sees now."""
        with self._lock:
            register = self.registry.now
            if self._register is not register:
                self._register = register
                self._views.clear()
            found = self._views.get(key)
            if found is None:
                if len(self._views) >= _VIEWS:
                    self._views.clear()
                found = self._views[key] = _view(register, key)
            return found

    def json(self, body: bytes, key: Key, received_ms: int, most: int) -> Outcome:
        """A JSON array of rows. Raises CodecError when it is none."""
        view = self.view(key)
        scan = json_arrays.scan(body, view.known, view.devices, received_ms, received_ms + FUTURE_MS, most)
        if scan is None:
            found = Outcome(Columns.empty())
            found.columns = self._rows(json_arrays.read(body, most), key, received_ms, found, body).columns()
            return found
        return self._outcome(scan, body, key, received_ms,
                             lambda raw, row: json_arrays.read(b"[" + raw + b"]", 1, row))  # fmt: skip

    def lines(self, body: bytes, key: Key, received_ms: int, most: int, unit: str) -> Outcome:
        """Line protocol, times in `unit`. Raises CodecError when there is too much of it."""
        view = self.view(key)
        scan = influx.scan(body, view.known, view.devices, received_ms, received_ms + FUTURE_MS, most, unit)
        return self._outcome(scan, body, key, received_ms, lambda raw, row: influx.read(raw, row, unit))

    def columns(self, body: bytes, key: Key, received_ms: int, most: int) -> Outcome:
        """Packed columns of point ids. Raises ValueError when they are not whole and unharmed, or too many."""
        columns = Columns.unpack(body)
        if len(columns) > most:
            raise ValueError(f"at most {most} readings in a request; got {len(columns)}")
        status, view = np.empty(len(columns), np.uint8), self.view(key)
        point, ts, value = (np.require(c, requirements="A") for c in (columns.point, columns.ts, columns.value))
        latest = received_ms + FUTURE_MS
        if not _check(point, ts, value, columns.quality, view.owner, view.channels, latest, status):
            return Outcome(columns)
        found = Outcome(columns.take(status == TAKEN))
        for row in np.flatnonzero(status != TAKEN)[:_LOOKED_AT].tolist():
            said = Item(row, f"point {point[row]}", "", int(ts[row]), float(value[row]))
            found.refuse(int(status[row]), row, "no such point for this key" if status[row] <= FORBIDDEN else "")
            found.keep(int(status[row]), said.device, said, b"")
        self._count_rest(found, status)
        return found

    def _outcome(self, scan: Scan, body: bytes, key: Key, received_ms: int, read: ReadRow) -> Outcome:
        columns = Columns(scan.point, scan.ts, scan.value, scan.quality)
        odd = np.flatnonzero(scan.status != TAKEN)
        if not odd.size:
            return Outcome(columns)
        found = Outcome(columns.take(scan.status == TAKEN))
        late, late_at = [found.columns], [np.flatnonzero(scan.status == TAKEN)]
        looked = 0
        for at in odd.tolist():
            status, row = int(scan.status[at]), int(scan.row[at])
            if status != SLOW and looked >= _LOOKED_AT:
                continue
            raw = body[scan.start[at] : scan.end[at]]
            if status == SLOW:
                rows = self._rows(read(raw, row), key, received_ms, found, raw)
                late.append(rows.columns())
                late_at.append(np.full(len(rows), at))
            else:
                looked += 1
                found.refuse(status, row, "")
                for said in read(raw, row)[:1]:
                    found.keep(status, said.device, said, raw)
        self._count_rest(found, scan.status)
        if len(late) > 1:  # back into the order of the body
            order = np.argsort(np.concatenate(late_at), kind="stable")
            found.columns = Columns.concat(late).take(order)
        return found

    def _count_rest(self, found: Outcome, status: NDArray[np.uint8]) -> None:
        """Refused rows that were not looked at one by one."""
        counts = np.bincount(status[np.flatnonzero(status > SLOW)[_LOOKED_AT:]], minlength=len(WORDS))
        for code in np.flatnonzero(counts).tolist():
            found.refused[code] += int(counts[code])

    def _rows(self, items: Sequence[Item | Fault], key: Key, received_ms: int, found: Outcome, raw: bytes) -> Rows:
        rows = Rows()
        for item in items:
            if isinstance(item, Fault):
                status, detail = item.status, item.detail
            else:
                status, detail = self._take(item, key, received_ms, rows), ""
            if status != TAKEN:
                found.refuse(status, item.row, detail)
                found.keep(status, item.device, item, raw)
        return rows

    def _take(self, item: Item, key: Key, received_ms: int, rows: Rows) -> int:
        device = self.registry.find(PROTOCOL, item.device)
        if device is None:
            return UNKNOWN
        if key.devices is not None and device.id not in key.devices:
            return FORBIDDEN
        if item.channel not in device.channels:
            return UNMAPPED
        value = item.value
        if isinstance(value, str):
            known = device.words.get(item.channel, {}).get(value)
            if known is None:
                return VALUE
            value = float(known)
        if item.ts_ms is not None and item.ts_ms < EARLIEST_MS:
            return TIME
        if item.ts_ms is not None and item.ts_ms > received_ms + FUTURE_MS:
            return FUTURE
        timed = item.ts_ms is not None
        said = Reading(item.device, item.channel, item.ts_ms or received_ms, value, GOOD if timed else NO_DEVICE_TIME)
        rows.extend(map_readings(device, [said], received_ms).rows)
        return TAKEN


def points_of(devices: Sequence[Device]) -> Points:
    """The tables of the compiled decoders for these devices, numbered in their order."""
    names, numbers = [], array("d")
    for at, device in enumerate(devices):
        for channel, points in device.channels.items():
            plain = len(points) == 1 and points[0].bit is None
            one = points[0]
            names.append(channel_name(device.key, channel))
            numbers.extend((one.id if plain else -1, at, one.scale, one.offset, one.low, one.high))
    table = np.frombuffer(numbers, np.float64).reshape(-1, 6)
    scale, offset, low, high = (np.ascontiguousarray(table[:, n]) for n in range(2, 6))
    return Points(
        names_of([device.key.encode() for device in devices]),
        names_of(names),
        table[:, 0].astype(np.int32),
        table[:, 1].astype(np.int32),
        scale,
        offset,
        low,
        high,
        np.arange(1, len(names) + 1, dtype=np.int32),
    )


@compiled
def _check(point, ts, value, quality, owner, allowed, latest, status):  # type: ignore[no-untyped-def]
    """How many of the readings are refused; `status` is of each."""
    refused = 0
    for n in range(point.size):
        p = point[n]
        if p < 0 or p >= owner.size or owner[p] < 0:
            status[n] = UNKNOWN
        elif allowed[p] == 0:
            status[n] = FORBIDDEN
        elif ts[n] < EARLIEST_MS:
            status[n] = TIME
        elif ts[n] > latest:
            status[n] = FUTURE
        elif not np.isfinite(value[n]) or quality[n] > NO_DEVICE_TIME:
            status[n] = VALUE
        else:
            status[n] = TAKEN
            continue
        refused += 1
    return refused
