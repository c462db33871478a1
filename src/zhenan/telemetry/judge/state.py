"""What the judge remembers of each point, as arrays that grow when points are added."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry.judge import core
from zhenan.telemetry.judge.core import F64, I32, I64
from zhenan.telemetry.judge.table import Groups, Table


class Growing:
    """A flat array whose used part is `view`; appending costs O(what is appended), over time."""

    def __init__(self, dtype: Any) -> None:
        self._memory = np.empty(0, dtype=dtype)
        self.view: NDArray[Any] = self._memory

    def append(self, more: NDArray[Any]) -> None:
        size, wanted = self.view.size, self.view.size + more.size
        if wanted > self._memory.size:
            memory = np.empty(wanted if not size else max(wanted, size + size // 2), dtype=self._memory.dtype)
            memory[:size] = self.view
            self._memory = memory
        self._memory[size:wanted] = more
        self.view = self._memory[:wanted]


def _are_times(times: NDArray[Any]) -> bool:
    known = times[times != core.NONE]
    return times.dtype.kind == "i" and bool(((known >= core.MIN_TS) & (known <= core.MAX_TS)).all())


def _fits(groups: Groups) -> bool:
    return bool(groups.of.min() >= 0 and groups.of.max() < len(groups.rules))


class State:
    """State of the points of one judge; core.py tells the layout of `words`. `since` is empty unless asked for."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.keys: list[str] = []
        self._index: dict[str, int] = {}
        self._hot, self._last_ts = Growing(np.int32), Growing(np.int64)
        self._offset, self._words, self._since = Growing(np.int64), Growing(np.int64), Growing(np.int64)

    @property
    def index(self) -> dict[str, int]:
        """The number of each point by its key; made when first asked for, and kept up from then on."""
        if len(self._index) != len(self.keys):
            new = self.keys[len(self._index) :]
            self._index.update(zip(new, range(len(self._index), len(self.keys)), strict=True))
        return self._index

    @property
    def hot(self) -> I32:
        return self._hot.view

    @property
    def last_ts(self) -> I64:
        return self._last_ts.view

    @property
    def offset(self) -> I64:
        return self._offset.view

    @property
    def since(self) -> I64:
        return self._since.view

    @property
    def words(self) -> I64:
        return self._words.view

    @property
    def words_f(self) -> F64:
        return self._words.view.view(np.float64)

    @property
    def profile(self) -> I32:
        """The profile of each point, int32 (n_points,)."""
        return np.where(self.hot < 0, -1 - self.hot, self.hot).astype(np.int32)

    def nbytes(self) -> int:
        """Bytes of all arrays that have a place for each point."""
        return sum(a.nbytes for a in (self.hot, self.last_ts, self.offset, self.since, self.words))

    def add(self, keys: Sequence[str], registered_at: NDArray[np.int64] | None, groups: Groups | None = None) -> None:
        """More points, idle. Raises ValueError, and adds none, where a key is known or a time is missing or odd."""
        new = set(keys)
        if len(new) != len(keys) or (self.keys and not self.index.keys().isdisjoint(new)):
            seen: set[str] = set()
            taken = next(k for k in keys if k in self.index or k in seen or seen.add(k))  # type: ignore[func-returns-value]
            raise ValueError(f"point keys must differ; got {taken!r} more than once")
        if registered_at is not None and len(registered_at) != len(keys):
            raise ValueError(f"registered_at must have a time for each of {len(keys)} points; got {len(registered_at)}")
        if registered_at is not None and not _are_times(np.asarray(registered_at)):
            raise ValueError("registered_at must be int64 ms UTC within the years 1-9999, or core.NONE")
        if groups is not None and (groups.of.size != len(keys) or (keys and not _fits(groups))):
            raise ValueError(f"groups must give each of {len(keys)} points one of {len(groups.rules)} groups")
        if registered_at is not None or self.since.size:
            missing = len(self.keys) - self.since.size
            times = (
                np.full(len(keys), core.NONE) if registered_at is None else np.asarray(registered_at, dtype=np.int64)
            )
            self._since.append(np.concatenate([np.full(missing, core.NONE), times]))
        self.keys.extend(keys)
        self._add_idle(self.table.profiles_of(keys) if groups is None else self.table.profiles_of_groups(groups))

    def keep_since(self, points: I64, times: I64) -> None:
        """Take over the times at which silence began to count for points without a reading."""
        if not self.since.size:
            self._since.append(np.full(len(self.keys), core.NONE))
        self.since[points] = times

    def _add_idle(self, profile: I32) -> None:
        widths = self.table.widths[profile] if profile.size else np.empty(0, np.int64)
        starts = np.cumsum(widths) - widths
        words = np.empty(int(widths.sum()), dtype=np.int64)
        met = np.flatnonzero(np.bincount(profile)) if profile.size else ()
        for number in met:
            if len(met) == 1:
                words = np.tile(self.table.idle_words(int(number)), profile.size)
                break
            idle = self.table.idle_words(int(number))
            words[starts[profile == number][:, None] + np.arange(idle.size)] = idle
        self._offset.append(starts + self.words.size)
        self._words.append(words)
        self._hot.append((-1 - profile).astype(np.int32))
        self._last_ts.append(np.full(profile.size, core.NONE))

    def raised_rows(self) -> I64:
        """(point, rule, onset) of every alarm that stands, int64 (n, 3)."""
        table, room = self.table, 1024
        while True:
            rows = np.empty((room, 3), dtype=np.int64)
            count = core.raised_now(
                0, rows, self.hot, self.offset, self.words, table.starts, table.kinds, table.rules, table.places
            )
            if count <= room:
                return rows[:count]
            room = count
