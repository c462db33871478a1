"""When a rule is on: windows of the day and week, in local time (UTC+8, no summer time), with a table of holidays.

A window belongs to the day on which it begins: `{days: [fri], from: "22:00", to: "06:00"}` lasts until Saturday 06:00.
It includes its beginning and excludes its end. `holidays`: include (a holiday is like any day), exclude (no window
begins on a holiday), only (windows begin on holidays alone; `days` then limits which). What is a holiday is the
caller's to say, as days since 1970-01-01 in local time.

What a rule that is off means (`active: []` cannot be written; without `active` a rule is always on):
- threshold, band, state: a reading outside the windows never has the condition and always has the release. So it ends
  a pending run, and begins (or goes on with) clearing, which still takes `clear_for_s`.
- rate, repeats: it never has the condition; a slope still runs from the reading before, on or off.
- stuck: it ends the run, and clears.
- silence: raised at the first moment of a window at or after last ts + `after_s`, if nothing came until after it;
  cleared by the next accepted reading, in a window or not.
Windows change nothing between readings: a raised alarm outlasts its window until the next reading of the point.
"""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from zhenan.telemetry.judge.core import I64

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MODES: Final = ("include", "exclude", "only")  # their places are the numbers in core.py
_DAY: Final = 1440


def _clock(text: str) -> str:
    hour, colon, minute = text.partition(":")
    fits = len(text) == 5 and colon and (hour + minute).isdecimal() and (hour + minute).isascii()
    if not fits or int(minute) > 59 or int(hour) * 60 + int(minute) > _DAY:
        raise PydanticCustomError("clock", "Input should be a time of day, 00:00 to 24:00, such as 08:30")
    return text


def _no_day_twice(days: list[str]) -> list[str]:
    if len(set(days)) != len(days):
        raise PydanticCustomError("days", "Input should name each day once")
    return days


Clock = Annotated[str, AfterValidator(_clock)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])


class Window(BaseModel):
    """One window: from `from` until `to`, which is on the next day where it is not later. Every day unless `days`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    days: Annotated[list[Day], Field(min_length=1), AfterValidator(_no_day_twice)] = list(DAYS)
    from_: Annotated[Clock, Field(alias="from")]
    to: Clock
    holidays: Literal["include", "exclude", "only"] = "include"

    @model_validator(mode="after")
    def lasts_a_while(self) -> Self:
        if self.from_ == "24:00":
            raise PydanticCustomError("impossible", "{text}", {"key": "from", "text": "24:00 is 00:00 of the next day"})
        if self.from_ == self.to:
            text = f"the window from {self.from_} to {self.to} is empty; a whole day is 00:00 to 24:00"
            raise PydanticCustomError("impossible", "{text}", {"key": "to", "text": text})
        return self

    @property
    def span(self) -> tuple[int, int]:
        """First minute and last + 1 within the day it begins on; beyond 1440 is the next day."""
        start, end = _minutes(self.from_), _minutes(self.to)
        return start, end if end > start else end + _DAY

    def row(self) -> tuple[int, int, int, int]:
        """As core.py reads it: days as bits from Monday, start and end in ms, which holidays."""
        start, end = self.span
        bits = sum(1 << DAYS.index(day) for day in self.days)
        return bits, start * 60_000, end * 60_000, MODES.index(self.holidays)


def crossing(windows: Iterable[Window]) -> tuple[int, int] | None:
    """The places of two windows of one rule that begin on the same day and cross each other; None when none do.

    A night that runs into the next day's window is no fault (nights of working days, and whole weekends): the rule is
    on in either.
    """
    listed = list(windows)
    for second, later in enumerate(listed):
        for first, earlier in enumerate(listed[:second]):
            same_day = set(earlier.days) & set(later.days) and {earlier.holidays, later.holidays} != {"exclude", "only"}
            (a_start, a_end), (b_start, b_end) = earlier.span, later.span
            if same_day and a_start < b_end and b_start < a_end:
                return first, second
    return None


def epoch_days(days: Iterable[date]) -> I64:
    """Dates as the judge takes them: days since 1970-01-01, int64, sorted, each once."""
    origin = date(1970, 1, 1)
    return np.array(sorted({(day - origin).days for day in days}), dtype=np.int64)


def checked_days(days: Any) -> I64:
    """Days since 1970-01-01 as the loop wants them. Raises ValueError where they are no whole numbers."""
    array = np.asarray([] if days is None else days)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"holidays must be whole days since 1970-01-01; got {array.dtype} of shape {array.shape}")
    return np.unique(array.astype(np.int64))
