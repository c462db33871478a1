"""The alarm rules read out sentence by sentence: slow, plain Python; shares only the models with the compiled judge.

Every judgement is made anew from the whole list of judged readings of the point, so there is no state to get wrong.
"""

import math
from datetime import datetime, timedelta
from fractions import Fraction

from zhenan.telemetry.judge.rules import Band, Rate, Repeats, Silence, StateRule, Stuck, Threshold

GOOD, BAD = 0, 1


def milliseconds(seconds):
    return int(Fraction(str(seconds)) * 1000)


class Reference:
    """Feed readings one by one; `out` fills with (point, rule, kind, ts, onset, value)."""

    def __init__(self, rules, registered=None, holidays=()):
        self.rules, self.registered, self.holidays = rules, registered or {}, set(holidays)
        self.points, self.out, self.largest_ts = {}, [], None

    def read(self, point, ts, value, quality):
        """Returns judged, late, duplicate or unfit."""
        self.largest_ts = ts if self.largest_ts is None else max(self.largest_ts, ts)
        mine = self.points.setdefault(point, Point())
        if mine.last is not None and ts < mine.last:
            return "late"
        if mine.last is not None and ts == mine.last:
            return "duplicate"
        fit = math.isfinite(value) and quality != BAD
        before = mine.last if mine.last is not None else self.registered.get(point)
        mine.last = ts
        if fit:
            mine.judged.append((ts, value))
        for rule in self.rules:
            if rule.points is None or point in rule.points:
                self.apply(rule, point, mine, before, ts, value, fit)
        return "judged" if fit else "unfit"

    def clock(self, now):
        """Silence, where the clock has passed its time."""
        for point in {*self.points, *self.registered}:
            mine = self.points.setdefault(point, Point())
            last = mine.last if mine.last is not None else self.registered.get(point)
            for rule in self.rules:
                if isinstance(rule, Silence) and (rule.points is None or point in rule.points) and last is not None:
                    self.fall_silent(rule, point, mine, last, now)

    def fall_silent(self, rule, point, mine, last, now):
        after = milliseconds(rule.after_s)
        if now - last > after and rule.id not in mine.onset:
            due = first_on(rule, last + after, self.holidays)
            if due is not None and now > due:
                self.raise_(rule, point, mine, due, due, math.nan)

    def apply(self, rule, point, mine, before, ts, value, fit):
        if isinstance(rule, Silence):
            if before is not None:
                self.fall_silent(rule, point, mine, before, ts)
            if rule.id in mine.onset:
                self.clear(rule, point, mine, ts, value)
        elif fit:
            if isinstance(rule, Threshold | Band | StateRule):
                self.level(rule, point, mine, ts, value)
            else:
                {Rate: self.rate, Repeats: self.repeats, Stuck: self.stuck}[type(rule)](rule, point, mine, ts, value)

    def raise_(self, rule, point, mine, ts, onset, value):
        mine.onset[rule.id], mine.raised_after[rule.id] = onset, len(mine.judged)
        self.out.append((point, rule.id, "raise", ts, onset, value))

    def clear(self, rule, point, mine, ts, value):
        self.out.append((point, rule.id, "clear", ts, mine.onset.pop(rule.id), value))
        mine.cleared_after[rule.id] = len(mine.judged)

    def level(self, rule, point, mine, ts, value):
        if rule.id not in mine.onset:
            run = unbroken(mine.judged[mine.cleared_after.get(rule.id, 0) :], lambda t, v: self.has(rule, t, v))
            if run and ts - run[0][0] >= milliseconds(rule.for_s):
                self.raise_(rule, point, mine, ts, run[0][0], value)
        else:
            readings = mine.judged[mine.raised_after[rule.id] :]
            run = unbroken(readings, lambda t, v: not is_on(rule, t, self.holidays) or release(rule, v))
            if run and ts - run[0][0] >= milliseconds(rule.clear_for_s):
                self.clear(rule, point, mine, ts, value)

    def has(self, rule, ts, value):
        return is_on(rule, ts, self.holidays) and condition(rule, value)

    def rate(self, rule, point, mine, ts, value):
        if len(mine.judged) < 2:
            return
        ts_before, value_before = mine.judged[-2]
        if rule.max_gap_s is not None and ts - ts_before > milliseconds(rule.max_gap_s):
            return
        rise = Fraction(value) - Fraction(value_before)
        slope = rise / (ts - ts_before) * 1000 * Fraction(str(rule.per_s))
        has_it = slope >= rule.above if rule.above is not None else slope <= rule.below
        has_it = has_it and is_on(rule, ts, self.holidays)
        if has_it and rule.id not in mine.onset:
            self.raise_(rule, point, mine, ts, ts, value)
        elif not has_it and rule.id in mine.onset:
            self.clear(rule, point, mine, ts, value)

    def repeats(self, rule, point, mine, ts, value):
        window = milliseconds(rule.window_s)
        left = [t for t, v in mine.judged if self.has(rule, t, v) and ts - window < t <= ts]
        if rule.id not in mine.onset:
            if self.has(rule, ts, value) and len(left) >= rule.count:
                self.raise_(rule, point, mine, ts, ts, value)
        elif len(left) < 1:
            self.clear(rule, point, mine, ts, value)

    def stuck(self, rule, point, mine, ts, value):
        run, broken = [], False
        for reading in mine.judged:
            if not is_on(rule, reading[0], self.holidays):
                run, broken = [], True
            elif run and abs(reading[1] - run[0][1]) <= rule.eps:
                run, broken = [*run, reading], False
            else:
                run, broken = [reading], True
        if broken and rule.id in mine.onset:
            self.clear(rule, point, mine, ts, value)
        long_enough = len(run) >= rule.count and ts - run[0][0] >= milliseconds(rule.for_s)
        if rule.id not in mine.onset and run and long_enough:
            self.raise_(rule, point, mine, ts, ts, value)


class Point:
    def __init__(self):
        self.last, self.judged, self.onset = None, [], {}
        self.raised_after, self.cleared_after = {}, {}


def is_on(rule, ts, holidays):
    """Whether some window of the rule that begins today or yesterday lasts at ts."""
    if rule.active is None:
        return True
    now = local(ts)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return any(start <= now < until for start, until in openings(rule, today - timedelta(days=1), 2, holidays))


def first_on(rule, ts, holidays):
    """The first moment at or after ts in a window; None when none comes in a year."""
    if is_on(rule, ts, holidays):
        return ts
    now = local(ts)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [start for start, _until in openings(rule, today, 370, holidays) if start >= now]
    return round((min(starts) - local(0)).total_seconds() * 1000) if starts else None


def openings(rule, first_day, days, holidays):
    """(from, until) of every window that begins on one of the local days, as datetimes without a zone."""
    for number in range(days):
        day = first_day + timedelta(days=number)
        epoch_day = (day - datetime(1970, 1, 1)).days
        for window in rule.active:
            fits = {"include": True, "exclude": epoch_day not in holidays, "only": epoch_day in holidays}
            if ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][day.weekday()] in window.days and fits[
                window.holidays
            ]:
                start = day + clock(window.from_)
                until = day + clock(window.to)
                yield start, until if until > start else until + timedelta(days=1)


def local(ts):
    return datetime(1970, 1, 1) + timedelta(milliseconds=ts, hours=8)


def clock(text):
    hour, minute = text.split(":")
    return timedelta(hours=int(hour), minutes=int(minute))


def unbroken(readings, has_it):
    """The readings at the end that all have it."""
    run = []
    for reading in reversed(readings):
        if not has_it(*reading):
            break
        run.insert(0, reading)
    return run


def condition(rule, value):
    if isinstance(rule, Band):
        return value < rule.low or value > rule.high
    if isinstance(rule, StateRule):
        return int(value) in rule.in_
    return value >= rule.above if rule.above is not None else value <= rule.below


def release(rule, value):
    if isinstance(rule, Band):
        return rule.low + rule.margin <= value <= rule.high - rule.margin
    if isinstance(rule, StateRule):
        return int(value) not in rule.in_
    if rule.above is not None:
        return value < (rule.above if rule.clear is None else rule.clear)
    return value > (rule.below if rule.clear is None else rule.clear)
