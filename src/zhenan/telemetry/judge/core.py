"""The compiled loop of the judge. Nothing here knows of rules files or names: only arrays.

Cost per reading: O(1) in the number of points and of earlier readings, and at most O(rules of the point). A reading of
a quiet point inside the calm range of its profile touches no rule at all: two look-ups and five comparisons. Every
kind takes O(1) a reading; `repeats` too, whatever its count and window, for it looks only at the oldest of its ring.
A `state` rule compares with each state of its list.

State: `words`, int64, one run of words for each point; the layout of each kind stands at its step. The first word of
an instance is NONE exactly while it is idle. `words_f` is the same memory as float64, for steps that keep a value.
`hot[point]` is the point's profile while all its instances are idle, and -1 - profile while one is pending or raised
and before its first reading. Integer overflow is undefined in compiled code: no sum or difference may meet NONE.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from zhenan.telemetry import jit

JUDGED: Final = 0
LATE: Final = 1
DUPLICATE: Final = 2
UNFIT: Final = 3
REFUSED: Final = 4  # no such point, or a time outside the years 1 to 9999: a mistake of the caller, never judged

TOUCHED: Final = 5  # a place of `counts` that means nothing

RAISE: Final = 0
CLEAR: Final = 1

BAD: Final = 1  # zhenan.telemetry.codecs.base.BAD; every other quality is fit to be judged

LEVEL: Final = 0  # threshold and band
STATE: Final = 1
RATE: Final = 2
REPEATS: Final = 3
SILENCE: Final = 4
STUCK: Final = 5

NONE: Final = -(2**63)  # no time
STEADY: Final = 2**63 - 1  # raised, and not clearing
_DAY_MS: Final = 86_400_000
_LOCAL_MS: Final = 8 * 3_600_000  # UTC+8, all year
_FAR_DAYS: Final = 400  # how far the next window is looked for
_EXCLUDE: Final = 1  # places in schedule.MODES
_ONLY: Final = 2
_AHEAD: Final = 128  # readings of a block
MAX_TS: Final = 253_402_300_799_999
MIN_TS: Final = -62_135_596_800_000

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
U8 = NDArray[np.uint8]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """As elsewhere, with numpy's arithmetic: a division by zero gives inf or NaN."""
    return jit.compiled(error_model="numpy", **options)


@compiled()
def _begins(day: int, bits: int, mode: int, holidays: I64) -> bool:
    """Whether a window of these days begins on a local day (0: 1970-01-01, a Thursday)."""
    if (bits >> ((day + 3) % 7)) & 1 == 0:
        return False
    if mode == 0:
        return True
    place = np.searchsorted(holidays, day)
    holiday: bool = bool(place < holidays.size and holidays[place] == day)
    return holiday if mode == _ONLY else not holiday


@compiled()
def is_active(ts: int, windows: I64, start: int, end: int, holidays: I64) -> bool:
    """Whether a rule with windows start..end is on at ts. Columns of windows: see schedule.Window.row."""
    day = (ts + _LOCAL_MS) // _DAY_MS
    within = ts + _LOCAL_MS - day * _DAY_MS
    for n in range(start, end):
        bits, mode = windows[n, 0], windows[n, 3]
        if windows[n, 1] <= within < windows[n, 2] and _begins(day, bits, mode, holidays):
            return True
        if within + _DAY_MS < windows[n, 2] and _begins(day - 1, bits, mode, holidays):
            return True
    return False


@compiled()
def next_active(ts: int, windows: I64, start: int, end: int, holidays: I64) -> int:
    """The first moment at or after ts at which a rule is on; STEADY where none comes within 400 days."""
    if start == end or is_active(ts, windows, start, end, holidays):
        return ts
    today = (ts + _LOCAL_MS) // _DAY_MS
    found = STEADY
    for day in range(today, today + _FAR_DAYS):
        for n in range(start, end):
            at = day * _DAY_MS - _LOCAL_MS + windows[n, 1]
            if ts <= at < found and _begins(day, windows[n, 0], windows[n, 3], holidays):
                found = at
        if found != STEADY:
            break
    return found


@compiled(forceinline=True)
def _step_level(
    words: I64, w: int, condition: bool, release: bool, ts: int, for_ms: int, clear_ms: int
) -> tuple[int, int]:
    """Words: t0 (pending since, then onset), t1 (NONE not raised, STEADY raised, else clearing since)."""
    if words[w + 1] == NONE:
        if not condition:
            words[w] = NONE
        else:
            if words[w] == NONE:
                words[w] = ts
            if ts - words[w] >= for_ms:
                words[w + 1] = STEADY
                return RAISE, words[w]
    elif not release:
        words[w + 1] = STEADY
    else:
        if words[w + 1] == STEADY:
            words[w + 1] = ts
        if ts - words[w + 1] >= clear_ms:
            onset = words[w]
            words[w] = NONE
            words[w + 1] = NONE
            return CLEAR, onset
    return -1, ts


@compiled(forceinline=True)
def _step_rate(
    words: I64, words_f: F64, w: int, ts: int, value: float, low: float, high: float, per: float, max_gap_ms: int
) -> tuple[int, int]:
    """Words: onset, ts of the judged reading before, its value.

    The slope is compared multiplied out, so that whole numbers are judged without rounding.
    """
    before = words[w + 1]
    rise = (value - words_f[w + 2]) * per
    words[w + 1] = ts
    words_f[w + 2] = value
    if before == NONE or ts - before > max_gap_ms:
        return -1, ts
    gap = float(ts - before)
    condition = rise >= high * gap or rise <= low * gap
    if condition and words[w] == NONE:
        words[w] = ts
        return RAISE, ts
    if not condition and words[w] != NONE:
        onset = words[w]
        words[w] = NONE
        return CLEAR, onset
    return -1, ts


@compiled(forceinline=True)
def _step_repeats(words: I64, w: int, condition: bool, ts: int, count: int, window_ms: int) -> tuple[int, int]:
    """Words: onset, place of the oldest in the ring, then the ring: times of the last `count` readings that had it."""
    place = words[w + 1]
    if condition:
        words[w + 2 + place] = ts
        place += 1
        if place == count:
            place = 0
        words[w + 1] = place
        oldest = words[w + 2 + place]
        if words[w] == NONE and oldest != NONE and oldest > ts - window_ms:
            words[w] = ts
            return RAISE, ts
    elif words[w] != NONE:
        newest = words[w + 2 + (place - 1 if place > 0 else count - 1)]
        if newest <= ts - window_ms:
            onset = words[w]
            words[w] = NONE
            return CLEAR, onset
    return -1, ts


@compiled(forceinline=True)
def _step_stuck(
    words: I64, words_f: F64, w: int, ts: int, value: float, eps: float, for_ms: int, count: int
) -> tuple[int, int]:
    """Words: onset, first value of the run, its ts, number of readings in the run (0: none yet)."""
    event, onset = -1, ts
    if words[w + 3] == 0 or abs(value - words_f[w + 1]) > eps:
        if words[w] != NONE:
            event, onset = CLEAR, words[w]
            words[w] = NONE
        words_f[w + 1] = value
        words[w + 2] = ts
        words[w + 3] = 1
    else:
        words[w + 3] += 1
    if event < 0 and words[w] == NONE and words[w + 3] >= count and ts - words[w + 2] >= for_ms:
        words[w] = ts
        event, onset = RAISE, ts
    return event, onset


@compiled(forceinline=True)
def _in_state(value: float, states: F64, start: int, end: int) -> bool:
    whole = np.trunc(value)
    found = False
    for place in range(start, end):
        found |= states[place] == whole
    return found


@compiled(forceinline=True)
def _emit(out_i: I64, out_v: F64, n: int, point: int, rule: int, kind: int, ts: int, onset: int, value: float) -> int:
    out_i[n, 0] = point
    out_i[n, 1] = rule
    out_i[n, 2] = kind
    out_i[n, 3] = ts
    out_i[n, 4] = onset
    out_v[n] = value
    return n + 1


@compiled(forceinline=True)
def _step(
    words: I64, words_f: F64, w: int, k: int, kinds: I64, fs: F64, ints: I64, states: F64, ts: int, value: float
) -> tuple[int, int]:
    """One reading against one rule instance that is on and not a silence. Columns of fs and ints: see table.py."""
    kind = kinds[k]
    if kind == LEVEL:
        condition = value < fs[k, 0] or value > fs[k, 1]
        release = fs[k, 2] <= value <= fs[k, 3]
        return _step_level(words, w, condition, release, ts, ints[k, 0], ints[k, 1])
    if kind == STATE:
        condition = _in_state(value, states, ints[k, 2], ints[k, 3])
        return _step_level(words, w, condition, not condition, ts, ints[k, 0], ints[k, 1])
    if kind == RATE:
        return _step_rate(words, words_f, w, ts, value, fs[k, 0], fs[k, 1], fs[k, 2], ints[k, 0])
    if kind == REPEATS:
        condition = value < fs[k, 0] or value > fs[k, 1]
        return _step_repeats(words, w, condition, ts, ints[k, 2], ints[k, 0])
    return _step_stuck(words, words_f, w, ts, value, fs[k, 0], ints[k, 0], ints[k, 2])


@compiled()
def _step_off(
    words: I64, words_f: F64, w: int, k: int, kinds: I64, fs: F64, ints: I64, ts: int, value: float
) -> tuple[int, int]:
    """One reading outside the windows of a rule that is not a silence: no condition, and the release."""
    kind = kinds[k]
    if kind <= STATE:  # LEVEL or STATE
        return _step_level(words, w, False, True, ts, ints[k, 0], ints[k, 1])
    if kind == RATE:
        return _step_rate(words, words_f, w, ts, value, np.nan, np.nan, fs[k, 2], ints[k, 0])
    if kind == REPEATS:
        return _step_repeats(words, w, False, ts, ints[k, 2], ints[k, 0])
    onset = words[w]
    words[w] = NONE
    words[w + 3] = 0
    return (CLEAR, onset) if onset != NONE else (-1, ts)


@compiled(forceinline=True)
def _touch(point: I32, hot: I32, last_ts: I64, offset: I64, words: I64) -> int:
    """Look at the state of the points of a block of readings for nothing: it is in the cache when they are judged.

    The look-ups do not depend on each other, so that the memory answers many at once; judged one by one, readings that
    change the state of points far apart wait for it each time. Returns something, lest the compiler leave it out.
    """
    seen = 0
    for number in point:
        if 0 <= number < hot.size:
            p = np.uintp(number)
            seen ^= hot[p] ^ last_ts[p]
            place = offset[p]
            if place < words.size:
                seen ^= words[place]
    return seen


@compiled()
def judge_columns(
    first: int, point: I32, ts: I64, value: F64, quality: U8,
    verdict: U8, counts: I64, n_out: int, out_i: I64, out_v: F64,
    hot: I32, last_ts: I64, since: I64, offset: I64, words: I64, words_f: F64,
    calm_low: F64, calm_high: F64, calm_gap: I64,
    starts: I64, kinds: I64, rules: I64, places: I64, fs: F64, ints: I64, states: F64, windows: I64, holidays: I64,
) -> tuple[int, int]:  # fmt: skip
    """Judge readings first..; return (readings done, transitions written). Stops early only when the output may fill.

    In: point int32, ts int64 ms, value float64, quality uint8, each (n,). Out: verdict uint8 (n,), counts int64 (6,) by
    verdict without JUDGED, and TOUCHED, out_i int64 (room, 5) of point, rule, kind, ts, onset, out_v float64 (room,).
    From hot to words_f: the state, changed in place. From calm_low on: the table.
    """
    n_points = hot.size
    room = out_v.size
    moved = _AHEAD  # readings of the block before that were not calm
    for block in range(first, point.size, _AHEAD):
        block_end = min(block + _AHEAD, point.size)
        if 8 * moved > _AHEAD:
            counts[TOUCHED] ^= _touch(point[block:block_end], hot, last_ts, offset, words)
        moved = 0
        for i in range(block, block_end):
            number, now, v = point[i], ts[i], value[i]
            if number < 0 or number >= n_points:
                verdict[i] = REFUSED
                counts[REFUSED] += 1
                continue
            p = np.uintp(number)  # an index that needs no look for counting from the end
            last, profile = last_ts[p], hot[p]
            good = quality[i] != BAD
            if (
                profile >= 0
                and good
                and last < now <= last + calm_gap[profile]
                and calm_low[profile] <= v <= calm_high[profile]
            ):
                last_ts[p] = now
                verdict[i] = JUDGED
                continue
            moved += 1
            if now < MIN_TS or now > MAX_TS:
                verdict[i] = REFUSED
                counts[REFUSED] += 1
                continue
            if now <= last:
                verdict[i] = DUPLICATE if now == last else LATE
                counts[verdict[i]] += 1
                continue
            if profile < 0:
                profile = -1 - profile
            start, end = starts[profile], starts[profile + 1]
            if n_out + 2 * (end - start) > room:
                return i, n_out
            fit = good and np.isfinite(v)
            verdict[i] = JUDGED if fit else UNFIT
            counts[UNFIT] += not fit
            last_ts[p] = now
            if last == NONE and since.size:
                last = since[p]
            base = offset[p]
            busy = False
            for k in range(start, end):
                w = base + places[k]
                if kinds[k] == SILENCE:  # words: onset
                    if words[w] == NONE and last != NONE and now - last > ints[k, 0]:
                        due = next_active(last + ints[k, 0], windows, ints[k, 4], ints[k, 5], holidays)
                        if now > due:
                            words[w] = due
                            n_out = _emit(out_i, out_v, n_out, number, rules[k], RAISE, due, due, np.nan)
                    if words[w] != NONE:
                        n_out = _emit(out_i, out_v, n_out, number, rules[k], CLEAR, now, words[w], v)
                        words[w] = NONE
                elif fit:
                    if ints[k, 4] != ints[k, 5] and not is_active(now, windows, ints[k, 4], ints[k, 5], holidays):
                        event, onset = _step_off(words, words_f, w, k, kinds, fs, ints, now, v)
                    else:
                        event, onset = _step(words, words_f, w, k, kinds, fs, ints, states, now, v)
                    if event >= 0:
                        n_out = _emit(out_i, out_v, n_out, number, rules[k], event, now, onset, v)
                busy |= words[w] != NONE
            hot[p] = -1 - profile if busy else profile
    return point.size, n_out


@compiled()
def advance_clock(
    first: int,
    now: int,
    n_out: int,
    out_i: I64,
    out_v: F64,
    hot: I32,
    last_ts: I64,
    since: I64,
    offset: I64,
    words: I64,
    calm_gap: I64,
    starts: I64,
    kinds: I64,
    rules: I64,
    places: I64,
    ints: I64,
    windows: I64,
    holidays: I64,
) -> tuple[int, int]:
    """Raise the silences of points first.. whose time is up at `now`; return as judge_columns does. O(points)."""
    room = out_v.size
    for p in range(first, hot.size):
        last, profile = last_ts[p], hot[p]
        if profile < 0:
            profile = -1 - profile
        if last == NONE and since.size:
            last = since[p]
        if last == NONE or now <= last or 0 <= now - last <= calm_gap[profile]:
            continue
        start, end = starts[profile], starts[profile + 1]
        if n_out + end - start > room:
            return p, n_out
        base = offset[p]
        for k in range(start, end):
            w = base + places[k]
            if kinds[k] == SILENCE and words[w] == NONE and now - last > ints[k, 0]:
                due = next_active(last + ints[k, 0], windows, ints[k, 4], ints[k, 5], holidays)
                if now > due:
                    words[w] = due
                    n_out = _emit(out_i, out_v, n_out, p, rules[k], RAISE, due, due, np.nan)
                    hot[p] = -1 - profile
    return hot.size, n_out


@compiled()
def raised_now(
    n_out: int, out_i: I64, hot: I32, offset: I64, words: I64, starts: I64, kinds: I64, rules: I64, places: I64
) -> int:
    """Write (point, rule, onset) of every raised instance into out_i int64 (n, 3); count only where it is full."""
    for p in range(hot.size):
        if hot[p] >= 0:
            continue
        profile = -1 - hot[p]
        for k in range(starts[profile], starts[profile + 1]):
            w = offset[p] + places[k]
            if words[w] == NONE or (kinds[k] <= STATE and words[w + 1] == NONE):
                continue
            if n_out < out_i.shape[0]:
                out_i[n_out, 0] = p
                out_i[n_out, 1] = rules[k]
                out_i[n_out, 2] = words[w]
            n_out += 1
    return n_out
