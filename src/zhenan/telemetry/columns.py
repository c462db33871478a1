"""Readings side by side: what the log carries, the judge walks and history stores. Never an object a reading."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

PARTITIONS: Final = 64
_HEAD: Final = struct.Struct("<4sBxxxII")  # magic, version, readings, CRC-32 of the arrays
_MAGIC: Final = b"ZNRC"
_VERSION: Final = 1
ROW_BYTES: Final = 21
MAX_READINGS: Final = 4_000_000  # a count beyond this is damage, not data


def partitions(subjects: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The partition of each point by the id of its subject: all that is judged together lies in one lane of the log."""
    return (subjects % PARTITIONS).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Columns:
    """Readings, each array of shape (n,): point int32, ts int64 ms UTC, value float64, quality uint8."""

    point: NDArray[np.int32]
    ts: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]

    @classmethod
    def of(cls, point: Any, ts: Any, value: Any, quality: Any) -> Self:
        """From sequences or arrays of one length. Raises ValueError when they differ in length."""
        found = cls(
            np.asarray(point, np.int32),
            np.asarray(ts, np.int64),
            np.asarray(value, np.float64),
            np.asarray(quality, np.uint8),
        )
        sizes = {found.point.size, found.ts.size, found.value.size, found.quality.size}
        if len(sizes) != 1:
            raise ValueError(f"columns must be of one length; got {sorted(sizes)}")
        return found

    @classmethod
    def empty(cls) -> Self:
        return cls.of((), (), (), ())

    @classmethod
    def concat(cls, parts: Sequence[Columns]) -> Columns:
        """The parts one after the other; a single part is returned as it is."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([part.point for part in parts]),
            np.concatenate([part.ts for part in parts]),
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.quality for part in parts]),
        )

    def __len__(self) -> int:
        return int(self.ts.size)

    def take(self, which: NDArray[Any]) -> Columns:
        """The readings chosen by a mask or by positions, in that order."""
        return Columns(self.point[which], self.ts[which], self.value[which], self.quality[which])

    def split(self, group: NDArray[Any]) -> Iterable[tuple[int, Columns]]:
        """(group, its readings in their order) for each group that has any. `group`: int, shape (n,)."""
        if not len(self):
            return
        first = int(group[0])
        if (group == first).all():
            yield first, self
            return
        order = np.argsort(group, kind="stable")
        numbers, starts = np.unique(group[order], return_index=True)
        ends = [*starts[1:].tolist(), len(self)]
        for number, start, end in zip(numbers.tolist(), starts.tolist(), ends, strict=True):
            yield number, self.take(order[start:end])

    def pack(self) -> bytes:
        """As bytes: head, then each array little-endian, one after the other. 16 + 21 n bytes."""
        return bytes(self.packed((self,)))

    @staticmethod
    def packed(parts: Sequence[Columns]) -> bytearray:
        """The parts one after the other, as `pack` writes them: each array is copied once."""
        count = sum(map(len, parts))
        data = bytearray(_HEAD.size + count * ROW_BYTES)
        at = _HEAD.size
        for name, kind in (("point", "<i4"), ("ts", "<i8"), ("value", "<f8"), ("quality", "u1")):
            place = np.frombuffer(data, kind, count, at)
            at += place.nbytes
            if count:
                np.concatenate([getattr(part, name) for part in parts], out=place)
        _HEAD.pack_into(data, 0, _MAGIC, _VERSION, count, zlib.crc32(memoryview(data)[_HEAD.size :]))
        return data

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Self:
        """Read `pack` back without copying. Raises ValueError when the bytes are not whole and unharmed."""
        if len(data) < _HEAD.size:
            raise ValueError(f"columns need a head of {_HEAD.size} bytes; got {len(data)}")
        magic, version, count, crc = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise ValueError(
                f"columns should begin with {_MAGIC!r} version {_VERSION}; got {magic!r} version {version}"
            )
        body = memoryview(data)[_HEAD.size :]
        if count > MAX_READINGS or len(body) != count * ROW_BYTES:
            raise ValueError(f"{count} readings should take {count * ROW_BYTES} bytes; got {len(body)}")
        if zlib.crc32(body) != crc:
            raise ValueError("columns are damaged: the checksum does not fit")
        ts_at, value_at, quality_at = count * 4, count * 12, count * 20
        return cls(
            np.frombuffer(body[:ts_at], "<i4"),
            np.frombuffer(body[ts_at:value_at], "<i8"),
            np.frombuffer(body[value_at:quality_at], "<f8"),
            np.frombuffer(body[quality_at:], np.uint8),
        )
