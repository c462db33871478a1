"""Replacement and test dates of gas devices, on each limit and beside it."""

from datetime import date

import pytest

from zhenan.rules import gas_fire


@pytest.mark.parametrize(
    ("made_on", "years", "expected"),
    [
        (date(2021, 5, 10), 3, date(2024, 5, 10)),
        (date(2013, 12, 31), 10, date(2023, 12, 31)),
        (date(2024, 2, 29), 3, date(2027, 2, 28)),
        (date(2024, 2, 29), 0.5, date(2024, 8, 29)),
    ],
)
def test_the_replacement_date_is_the_date_of_making_plus_the_life(made_on, years, expected):
    assert gas_fire.replacement_date(made_on, years) == expected


def test_a_detector_is_expired_from_the_day_its_life_ends():
    made_on = date(2021, 5, 10)
    assert gas_fire.is_expired(made_on, gas_fire.DETECTOR_YEARS_COMMERCIAL, date(2024, 5, 9)) is False
    assert gas_fire.is_expired(made_on, gas_fire.DETECTOR_YEARS_COMMERCIAL, date(2024, 5, 10)) is True
    assert gas_fire.is_expired(None, gas_fire.DETECTOR_YEARS_COMMERCIAL, date(2024, 5, 10)) is None


def test_the_half_yearly_check_falls_on_the_months_last_day_where_the_day_is_missing():
    assert gas_fire.function_check_due(date(2024, 8, 31)) == date(2025, 2, 28)


def test_a_life_of_nothing_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        gas_fire.replacement_date(date(2024, 1, 1), 0)
