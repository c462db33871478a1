"""From what a device sends to points: which channel of which sender feeds which measure, and how."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from zhenan.packkit.schema import Channel, DeviceModel
from zhenan.packkit.vocabulary import vocabulary


@dataclass(frozen=True, slots=True)
class Binding:
    """One point of a device: value = raw x scale + offset, or with ``bit`` that bit of the raw status word.

    ``source``: the key of the device that sends (the transmission device, for a terminal behind one). ``low``/``high``:
    a value outside is unfit; NaN where there is no limit. ``states``: JSON texts and the numbers they stand for.
    """

    source: str
    channel: str
    measure: str
    unit: str
    scale: float = 1.0
    offset: float = 0.0
    bit: int | None = None
    low: float = math.nan
    high: float = math.nan
    states: tuple[tuple[str, int], ...] = ()

    def value_of(self, raw: float | str) -> float:
        """A raw value in the measure's unit; NaN for a text that is not a known state."""
        if isinstance(raw, str):
            return float(dict(self.states).get(raw, math.nan))
        if self.bit is not None:
            return float(int(raw) >> self.bit & 1) if math.isfinite(raw) else math.nan
        return raw * self.scale + self.offset

    def raw_of(self, value: float) -> float:
        """What a device must send for this value; for a bit, the status word with only that bit."""
        if self.bit is not None:
            return float((1 << self.bit) if value else 0)
        return (value - self.offset) / self.scale

    def fits(self, value: float) -> bool:
        """Whether a value lies in the channel's range (NaN does not)."""
        return not (math.isnan(value) or value < self.low or value > self.high)


def bindings(model: DeviceModel, *, source: str, channels: Iterable[str] | None = None) -> list[Binding]:
    """The points of one device, in the model's order.

    ``channels``: the decoder's names of the channels it has; None: all of the model's, which is right only where no
    name has a ``*``. A channel that fits none of the model's patterns gives no point; of several that fit one pattern
    the first is taken, since a point is (device, measure).
    """
    names = list(channels) if channels is not None else [c.channel for c in model.channels if "*" not in c.channel]
    found: list[Binding] = []
    for channel in model.channels:
        name = next((n for n in names if channel.matches(n)), None)
        if name is not None:
            found += _points(channel, source, name)
    return found


def _points(channel: Channel, source: str, name: str) -> list[Binding]:
    units = vocabulary().measures
    if channel.measure is None:
        return [Binding(source, name, m, units[m].unit, bit=bit, low=0, high=1) for m, bit in channel.bits.items()]
    low, high = channel.range or (math.nan, math.nan)
    return [
        Binding(
            source,
            name,
            channel.measure,
            units[channel.measure].unit,
            scale=channel.scale,
            offset=channel.offset,
            low=low,
            high=high,
            states=tuple(channel.states.items()),
        )
    ]


def channel_of(model: DeviceModel, name: str) -> Channel | None:
    """The model's channel that a decoder's channel name belongs to."""
    return next((channel for channel in model.channels if channel.matches(name)), None)
