"""The compiled loop over positions. All distances in metres on the plane of the fence; all arrays are plain.

All loops are in this one file: the compiler's cache looks at the file of a function and not at those it calls.
Cost: a position looks at the fences of its grid cell and at those its vehicle is in, whatever their number elsewhere.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from zhenan.telemetry.jit import compiled

SLOTS: Final = 16  # fences that one vehicle can be in at a time
NONE: Final = -(2**62)
CIRCLE: Final = 0
POLYGON: Final = 1
CORRIDOR: Final = 2
ENTER: Final = 0
LEAVE: Final = 1
DWELL: Final = 2
SPEED: Final = 3
SPEED_END: Final = 4
MOVING: Final = 0
STOPPED: Final = 1
JUDGED: Final = 0
LATE: Final = 1
DUPLICATE: Final = 2
UNFIT: Final = 3
JUMP: Final = 4
REFUSED: Final = 5
GRID: Final = 100_000  # a cell of the grid in 1e-7 degrees: 0.01 degrees, about 1 km
GRID_ROW: Final = 40_000
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000


@compiled()
def _segment(px, py, ax, ay, bx, by):  # type: ignore[no-untyped-def]
    """Distance of a point from a stretch of line, squared."""
    dx, dy = bx - ax, by - ay
    length = dx * dx + dy * dy
    t = 0.0
    if length > 0.0:
        t = ((px - ax) * dx + (py - ay) * dy) / length
        t = min(1.0, max(0.0, t))
    ex, ey = px - (ax + t * dx), py - (ay + t * dy)
    return ex * ex + ey * ey


@compiled()
def outside_m(shape, x, y, size, xs, ys):  # type: ignore[no-untyped-def]
    """How far outside of the fence the point is, in metres; 0 or less inside or on its border."""
    n = xs.size
    if shape == CIRCLE:
        return np.sqrt((x - xs[0]) ** 2 + (y - ys[0]) ** 2) - size
    nearest = np.inf
    if shape == CORRIDOR:
        for k in range(n - 1):
            nearest = min(nearest, _segment(x, y, xs[k], ys[k], xs[k + 1], ys[k + 1]))
        return np.sqrt(nearest) - size
    inside = False
    j = n - 1
    for k in range(n):
        if (ys[k] > y) != (ys[j] > y) and x < (xs[j] - xs[k]) * (y - ys[k]) / (ys[j] - ys[k]) + xs[k]:
            inside = not inside
        nearest = min(nearest, _segment(x, y, xs[j], ys[j], xs[k], ys[k]))
        j = k
    return -np.sqrt(nearest) if inside else np.sqrt(nearest)


@compiled()
def _in_window(ts, offset_ms, windows, first, last):  # type: ignore[no-untyped-def]
    if first == last:
        return True
    local = ts + offset_ms
    day = local // DAY_MS
    minute = (local - day * DAY_MS) // MINUTE_MS
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    for w in range(first, last):
        days, start, end = windows[w, 0], windows[w, 1], windows[w, 2]
        if start < end:
            if days >> weekday & 1 and start <= minute < end:
                return True
        else:
            if days >> weekday & 1 and minute >= start:
                return True
            if days >> ((weekday + 6) % 7) & 1 and minute < end:
                return True
    return False


@compiled()
def _inside(f, was, ts, lat, lon, vclass, goods, offset_ms, fence_i, fence_f, xs, ys, windows):  # type: ignore[no-untyped-def]
    """Whether fence f holds for this position, given whether the vehicle was in it."""
    if ts < fence_i[f, 1] or ts >= fence_i[f, 2]:
        return False
    if fence_i[f, 3] and not (vclass >= 0 and fence_i[f, 3] >> vclass & 1):
        return False
    if fence_i[f, 4] and not (goods >= 0 and fence_i[f, 4] >> goods & 1):
        return False
    if not _in_window(ts, offset_ms, windows, fence_i[f, 5], fence_i[f, 6]):
        return False
    y = (lat / 1e7 - fence_f[f, 0]) * 110_574.0
    x = (lon / 1e7 - fence_f[f, 1]) * fence_f[f, 2]
    first, last = fence_i[f, 7], fence_i[f, 8]
    away = outside_m(fence_i[f, 0], x, y, fence_f[f, 3], xs[first:last], ys[first:last])
    return away <= (fence_f[f, 4] if was else 0.0)


@compiled()
def _metres(lat0, lon0, lat1, lon1):  # type: ignore[no-untyped-def]
    dy = (lat1 - lat0) / 1e7 * 110_574.0
    dx = (lon1 - lon0) / 1e7 * 111_320.0 * np.cos(lat0 / 1e7 * np.pi / 180.0)
    return np.sqrt(dx * dx + dy * dy)


@compiled()
def _plausible(last, v, ts, lat, lon, at, most_kmh):  # type: ignore[no-untyped-def]
    """Whether a vehicle can have come here from the place in columns at..at+2 of `last`. 100 m are always possible."""
    hours = (ts - last[v, at]) / 3_600_000.0
    return _metres(last[v, at + 1], last[v, at + 2], lat, lon) <= 100.0 + most_kmh * 1000.0 * hours


@compiled()
def accept(v, ts, lat, lon, quality, last, most_kmh):  # type: ignore[no-untyped-def]
    """The verdict on a position, and the vehicle's last ones brought up to date.

    last[v]: time last heard; ts, lat, lon of the last good position; of a doubtful one after it. A place that cannot
    have been reached is doubtful; when the next one can be reached from it, the vehicle is there.
    """
    if ts == last[v, 0]:
        return DUPLICATE
    if ts < last[v, 0]:
        return LATE
    last[v, 0] = ts
    if quality == 1:
        return UNFIT
    if last[v, 1] != NONE and not _plausible(last, v, ts, lat, lon, 1, most_kmh):
        again = last[v, 4] != NONE and _plausible(last, v, ts, lat, lon, 4, most_kmh)
        if not again:
            last[v, 4], last[v, 5], last[v, 6] = ts, lat, lon
            return JUMP
    last[v, 1], last[v, 2], last[v, 3] = ts, lat, lon
    last[v, 4] = NONE
    return JUDGED


@compiled()
def _put(out, values, n, vehicle, fence, kind, ts, onset, value):  # type: ignore[no-untyped-def]
    out[n, 0], out[n, 1], out[n, 2], out[n, 3], out[n, 4] = vehicle, fence, kind, ts, onset
    values[n] = value
    return n + 1


@compiled()
def _stay(v, k, f, ts, kmh, slots, since, told, speeding, fence_f, out, values, n):  # type: ignore[no-untyped-def]
    """Dwell and speed of a vehicle that is in fence f."""
    if fence_f[f, 6] > 0 and not told[v, k] and ts - since[v, k] >= fence_f[f, 6] * 1000:
        told[v, k] = 1
        n = _put(out, values, n, v, f, DWELL, ts, since[v, k], (ts - since[v, k]) / 1000.0)
    if fence_f[f, 5] > 0:
        if speeding[v, k] == NONE and kmh > fence_f[f, 5]:
            speeding[v, k] = ts
            n = _put(out, values, n, v, f, SPEED, ts, ts, kmh)
        elif speeding[v, k] != NONE and kmh <= fence_f[f, 5]:
            n = _put(out, values, n, v, f, SPEED_END, ts, speeding[v, k], kmh)
            speeding[v, k] = NONE
    return n


@compiled()
def leave_slot(v, k, ts, kmh, slots, since, told, speeding, out, values, n):  # type: ignore[no-untyped-def]
    """The vehicle leaves the fence of slot k, and what stood in it ends."""
    f = slots[v, k]
    if speeding[v, k] != NONE:
        n = _put(out, values, n, v, f, SPEED_END, ts, speeding[v, k], kmh)
    n = _put(out, values, n, v, f, LEAVE, ts, since[v, k], (ts - since[v, k]) / 1000.0)
    slots[v, k], since[v, k], told[v, k], speeding[v, k] = -1, NONE, 0, NONE
    return n


@compiled()
def judge_columns(  # type: ignore[no-untyped-def]
    start, vehicle, ts, lat, lon, speed, quality, vclass, goods, offset_ms, most_kmh, verdict, crowded,
    last, slots, since, told, speeding, fence_i, fence_f, xs, ys, windows, cells, cell_at, cell_fences, wide,
    out, values,
):  # fmt: skip
    """Judge positions from `start` on until all are, or the scratch is nearly full. Returns (done, written)."""
    n = 0
    room = out.shape[0] - 5 * SLOTS  # the most that one position writes: two for a fence left, three for one entered
    for i in range(start, ts.size):
        if n > room:
            return i, n
        v = vehicle[i]
        if v < 0 or v >= last.shape[0]:
            verdict[i] = REFUSED
            continue
        said = accept(v, ts[i], lat[i], lon[i], quality[i], last, most_kmh)
        verdict[i] = said
        if said != JUDGED:
            continue
        kmh = speed[i] / 10.0
        for k in range(SLOTS):
            f = slots[v, k]
            if f >= 0:
                if _inside(
                    f, True, ts[i], lat[i], lon[i], vclass[v], goods[v], offset_ms, fence_i, fence_f, xs, ys, windows
                ):
                    n = _stay(v, k, f, ts[i], kmh, slots, since, told, speeding, fence_f, out, values, n)
                else:
                    n = leave_slot(v, k, ts[i], kmh, slots, since, told, speeding, out, values, n)
        cell = (lat[i] // GRID + 9_000) * GRID_ROW + lon[i] // GRID + 18_000
        at = np.searchsorted(cells, cell)
        first, end = 0, 0
        if at < cells.size and cells[at] == cell:
            first, end = cell_at[at], cell_at[at + 1]
        for j in range(end - first + wide.size):
            f = cell_fences[first + j] if j < end - first else wide[j - (end - first)]
            free, known = -1, False
            for k in range(SLOTS):
                if slots[v, k] == f:
                    known = True
                elif slots[v, k] < 0 and free < 0:
                    free = k
            if known:
                continue
            if _inside(
                f, False, ts[i], lat[i], lon[i], vclass[v], goods[v], offset_ms, fence_i, fence_f, xs, ys, windows
            ):
                if free < 0:
                    crowded[0] += 1
                    continue
                slots[v, free], since[v, free] = f, ts[i]
                n = _put(out, values, n, v, f, ENTER, ts[i], ts[i], kmh)
                n = _stay(v, free, f, ts[i], kmh, slots, since, told, speeding, fence_f, out, values, n)
    return ts.size, n


@compiled()
def accepted(ts, lat, lon, quality, most_kmh, verdict):  # type: ignore[no-untyped-def]
    """The verdict on each position of one vehicle, by time."""
    last = np.full((1, 7), NONE)
    for i in range(ts.size):
        verdict[i] = accept(0, ts[i], lat[i], lon[i], quality[i], last, most_kmh)


@compiled()
def stopped(ts, lat, lon, radius_m, stop_ms, gap_ms, state):  # type: ignore[no-untyped-def]
    """Marks positions of stops: within the radius of where it began, long enough, without a gap."""
    i, n = 0, ts.size
    while i < n:
        j = i + 1
        while j < n and ts[j] - ts[j - 1] <= gap_ms and _metres(lat[i], lon[i], lat[j], lon[j]) <= radius_m:
            j += 1
        if ts[j - 1] - ts[i] >= stop_ms:
            state[i:j] = STOPPED
            i = j
        else:
            i += 1
