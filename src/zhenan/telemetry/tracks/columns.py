"""Positions side by side: what the stream carries, the fences are judged by and the table stores."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

DEGREE: Final = 10_000_000  # a degree in the unit of lat and lon: 1e-7, about a centimetre
_HEAD: Final = struct.Struct("<4sBxxxII")  # magic, version, positions, CRC-32 of the arrays
_MAGIC: Final = b"ZNPS"
_VERSION: Final = 1
_TYPES: Final = ("<i4", "<i8", "<i4", "<i4", "<u2", "<u2", "<u4", "|u1")
_ROW_BYTES: Final = sum(np.dtype(kind).itemsize for kind in _TYPES)
MAX_POSITIONS: Final = 4_000_000  # a count beyond this is damage, not data


@dataclass(frozen=True, eq=False)
class PositionColumns:
    """Positions, each array of shape (n,).

    vehicle int32; ts int64 ms UTC; lat, lon int32 in 1e-7 degrees (WGS 84 as the terminal sent them); speed uint16 in
    0.1 km/h; heading uint16 in degrees from north; status uint32, the terminal's status word; quality uint8: 0 good,
    1 unusable (no fix, encrypted, out of range), 2 without a believable time of the device.
    """

    vehicle: NDArray[np.int32]
    ts: NDArray[np.int64]
    lat: NDArray[np.int32]
    lon: NDArray[np.int32]
    speed: NDArray[np.uint16]
    heading: NDArray[np.uint16]
    status: NDArray[np.uint32]
    quality: NDArray[np.uint8]

    @classmethod
    def of(cls, *columns: Any) -> Self:
        """From sequences or arrays in the order above. Raises ValueError when they differ in number or length."""
        if len(columns) != len(_TYPES):
            raise ValueError(f"positions have {len(_TYPES)} columns; got {len(columns)}")
        found = cls(*(np.asarray(column, kind) for column, kind in zip(columns, _TYPES, strict=True)))
        sizes = {column.size for column in found.arrays()}
        if len(sizes) != 1:
            raise ValueError(f"columns must be of one length; got {sorted(sizes)}")
        return found

    @classmethod
    def empty(cls) -> Self:
        return cls.of(*((),) * len(_TYPES))

    @classmethod
    def concat(cls, parts: Sequence[PositionColumns]) -> PositionColumns:
        """The parts one after the other."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate(column) for column in zip(*(part.arrays() for part in parts), strict=True)))

    def arrays(self) -> tuple[NDArray[Any], ...]:
        return tuple(getattr(self, each.name) for each in fields(self))

    def __len__(self) -> int:
        return int(self.ts.size)

    def take(self, which: NDArray[Any]) -> PositionColumns:
        """The positions chosen by a mask or by places, in that order."""
        return PositionColumns(*(column[which] for column in self.arrays()))

    def pack(self) -> bytes:
        """As bytes: head, then each array little-endian, one after the other."""
        pairs = zip(self.arrays(), _TYPES, strict=True)
        body = b"".join(column.astype(kind, copy=False).tobytes() for column, kind in pairs)
        return _HEAD.pack(_MAGIC, _VERSION, len(self), zlib.crc32(body)) + body

    @classmethod
    def unpack(cls, data: bytes | memoryview) -> Self:
        """Read `pack` back without copying. Raises ValueError when the bytes are not whole and unharmed."""
        if len(data) < _HEAD.size:
            raise ValueError(f"positions need a head of {_HEAD.size} bytes; got {len(data)}")
        magic, version, count, crc = _HEAD.unpack_from(data)
        if magic != _MAGIC or version != _VERSION:
            raise ValueError(f"want {_MAGIC!r} version {_VERSION}; got {magic!r} version {version}")
        body = memoryview(data)[_HEAD.size :]
        if count > MAX_POSITIONS or len(body) != count * _ROW_BYTES:
            raise ValueError(f"{count} positions should take {count * _ROW_BYTES} bytes; got {len(body)}")
        if zlib.crc32(body) != crc:
            raise ValueError("positions are damaged: the checksum does not fit")
        columns, at = [], 0
        for kind in _TYPES:
            end = at + count * np.dtype(kind).itemsize
            columns.append(np.frombuffer(body[at:end], kind))
            at = end
        return cls(*columns)


def from_degrees(degrees: Any) -> NDArray[np.int32]:
    """Degrees to the unit of `lat` and `lon`. What is no number in -180..180 becomes 0: mark it unusable."""
    value = np.asarray(degrees, np.float64)
    fit = np.isfinite(value) & (np.abs(value) <= 180)
    return np.rint(np.where(fit, value, 0.0) * DEGREE).astype(np.int32)
