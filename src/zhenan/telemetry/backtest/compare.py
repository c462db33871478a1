"""Which alarms of one set have a counterpart in another: the same point, overlapping in time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def counterpart(
    point: NDArray[Any],
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    other_point: NDArray[Any],
    other_start: NDArray[np.int64],
    other_end: NDArray[np.int64],
) -> NDArray[np.int64]:
    """For each interval [start, end] the place of the first interval of the others on the same point that touches it.

    All shape (n,) or (m,); ends not before starts. Returns int64 (n,), -1 where there is none. Intervals of the others
    on one point must not overlap each other (those of one rule never do). O((n + m) log m).

    >>> counterpart(np.array([1]), np.array([5]), np.array([9]), np.array([1, 1]), np.array([0, 9]), np.array([4, 12]))
    array([1])
    """
    found = np.full(point.size, -1, np.int64)
    if not other_point.size:
        return found
    order = np.lexsort((other_start, other_point))
    op, oe, os_ = other_point[order], other_end[order], other_start[order]
    # On one point the ends rise with the starts, so (point, end) is in order too: the first whose end reaches start.
    first = first_at_least(op, oe, point, start)
    inside = first < op.size
    place = np.where(inside, first, 0)
    hit = inside & (op[place] == point) & (os_[place] <= end)
    found[hit] = order[place[hit]]
    return found


def first_at_least(
    point: NDArray[Any], key: NDArray[np.int64], wanted_point: NDArray[Any], wanted: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Place of the first (point, key) not before (wanted_point, wanted), both in lexicographic order."""
    keys = np.empty(point.size, dtype=[("p", np.int64), ("k", np.int64)])
    keys["p"], keys["k"] = point, key
    asked = np.empty(wanted.size, dtype=keys.dtype)
    asked["p"], asked["k"] = wanted_point, wanted
    return np.searchsorted(keys, asked, side="left").astype(np.int64)
