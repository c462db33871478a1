"""Periods in days: worked by hand on the State Council's 2026 notice."""

from datetime import date

import pytest

from zhenan.kernel.workflow.calendar import add_days, is_working_day


@pytest.mark.parametrize(
    ("start", "days", "working", "last"),
    [
        (date(2026, 3, 2), 0, False, date(2026, 3, 2)),  # the same day
        (date(2026, 3, 2), 3, False, date(2026, 3, 5)),  # the day of the event is not counted
        (date(2026, 3, 2), 5, False, date(2026, 3, 9)),  # Saturday 7th → Monday 9th
        (date(2026, 3, 5), 2, True, date(2026, 3, 9)),  # Friday, Monday
        (date(2025, 9, 30), 1, True, date(2025, 10, 9)),  # over the National Day week of 2025
        (date(2025, 9, 26), 1, True, date(2025, 9, 28)),  # a Sunday worked in exchange
    ],
)
def test_a_period_ends_on_the_day_the_law_says(start, days, working, last):
    assert add_days(start, days, working=working) == last


def test_a_year_without_its_notice_counts_monday_to_friday():
    assert is_working_day(date(2040, 1, 2)) is True
    assert is_working_day(date(2040, 1, 7)) is False


def test_a_negative_period_is_refused():
    with pytest.raises(ValueError, match="came -1"):
        add_days(date(2026, 1, 1), -1)
