"""Gas and fire devices: when they must be replaced and tested. Pure; dates come in as arguments."""

from __future__ import annotations

from datetime import date

DETECTOR_YEARS_COMMERCIAL = 3  # CJJ/T 146-2011: commercial and industrial combustible-gas detectors
DETECTOR_YEARS_RESIDENTIAL = 5  # CJJ/T 146-2011: residential
VALVE_YEARS = 10  # CJJ/T 146-2011: emergency shut-off valve
FUNCTION_CHECK_MONTHS = 6  # CJJ/T 146-2011 6.0.4, 6.0.5: controls and valve once per half-year


def months_later(day: date, months: int) -> date:
    """The same day of a later month; the month's last day where there is no such day.

    >>> months_later(date(2024, 8, 31), 6), months_later(date(2024, 2, 29), 12)
    (datetime.date(2025, 2, 28), datetime.date(2025, 2, 28))
    """
    year, month = divmod(day.month - 1 + months, 12)
    year, month = day.year + year, month + 1
    last = 31 if month == 12 else (date(year, month + 1, 1) - date(year, month, 1)).days
    return date(year, month, min(day.day, last))


def replacement_date(made_on: date, life_years: float) -> date:
    """The day from which a device is past its life: date of making + life (to the whole month).

    >>> replacement_date(date(2021, 5, 10), DETECTOR_YEARS_COMMERCIAL)
    datetime.date(2024, 5, 10)
    """
    if life_years <= 0:
        raise ValueError(f"life_years must be above 0; got {life_years}")
    return months_later(made_on, round(life_years * 12))


def is_expired(made_on: date | None, life_years: float, on: date) -> bool | None:
    """Whether a device is past its life on a day; None when its date of making is not known."""
    return None if made_on is None else on >= replacement_date(made_on, life_years)


def function_check_due(last_on: date) -> date:
    """The last day by which controls and shut-off valve must be tried again."""
    return months_later(last_on, FUNCTION_CHECK_MONTHS)
