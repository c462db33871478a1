"""Periods in days and working days, as Chinese law counts them.

The day of the event is not counted; a period's last day that is not a working day moves to the next working day
(Civil Code, articles 201 and 203). Working days follow the State Council's yearly holiday notice, with its swapped
working weekends (package chinesecalendar). A year whose notice is not out yet counts Monday to Friday.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import chinese_calendar
from django.utils import timezone


def is_working_day(day: date) -> bool:
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:  # the notice for that year is not in the table
        return day.weekday() < 5


def is_published(year: int) -> bool:
    """Whether the holiday notice of that year is in the table."""
    try:
        chinese_calendar.is_workday(date(year, 7, 1))
    except NotImplementedError:
        return False
    return True


def holidays_around(day: date) -> list[date]:
    """The statutory holidays of the year before, the year and the year after, as far as their notices are out."""
    years = [year for year in range(day.year - 1, day.year + 2) if is_published(year)]
    days = (date(year, 1, 1) + timedelta(days=n) for year in years for n in range(366))
    return [one for one in days if one.year in years and chinese_calendar.get_holiday_detail(one)[1] is not None
            and not chinese_calendar.is_workday(one)]  # fmt: skip


def add_days(start: date, days: int, *, working: bool = False) -> date:
    """The last day of a period that begins on the day after ``start``.

    Raises ValueError for a negative period. ``days`` 0 gives ``start`` itself: "the same day".
    """
    if days < 0:
        raise ValueError(f"a period has 0 days or more; came {days}")
    if not working:
        last = start + timedelta(days=days)
        while days and not is_working_day(last):
            last += timedelta(days=1)
        return last
    last = start
    left = days
    while left:
        last += timedelta(days=1)
        left -= is_working_day(last)
    return last


def due_at(start: datetime, days: int, *, working: bool = False) -> datetime:
    """The moment a period ends: the last second of its last day, in the city's time."""
    last = add_days(timezone.localdate(start), days, working=working)
    return timezone.make_aware(datetime.combine(last, time(23, 59, 59)), timezone.get_default_timezone())
