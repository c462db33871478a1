"""The alarm rules a person may write: one frozen model a kind, impossible thresholds refused.

Numbers are taken as written (no "25" for 25, no true for 1). Times are in seconds, zero or more, to the millisecond.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from zhenan.telemetry.judge.schedule import Window, crossing

MAX_SECONDS = 3_660 * 86_400  # ten years: longer than any history kept, far from an overflow in milliseconds
MAX_REPEATS = 10_000  # a repeats rule keeps this many times (8 bytes each) for every point
MAX_STATE = 2**53  # above it a float64 reading no longer tells two states apart


def _whole_ms(seconds: float) -> float:
    if abs(seconds * 1000 - round(seconds * 1000)) > 1e-6:
        raise PydanticCustomError("whole_ms", "Input should be a whole number of milliseconds")
    return seconds


def _no_control_characters(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise PydanticCustomError("printable", "Input should have no control characters and no space at either end")
    return text


Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS), AfterValidator(_whole_ms)]
LongSeconds = Annotated[float, Field(gt=0, le=MAX_SECONDS), AfterValidator(_whole_ms)]
RuleId = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_no_control_characters)]
PointKeys = Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)]
State = Annotated[int, Field(ge=-MAX_STATE, le=MAX_STATE)]


def to_ms(seconds: float) -> int:
    """Whole milliseconds of a checked number of seconds (2.3 s is 2300 ms, not 2299)."""
    return round(seconds * 1000)


def _impossible(key: str, text: str) -> PydanticCustomError:
    """A fault that lies between two fields; it is shown at `key`. Braces in `text` are not a template."""
    return PydanticCustomError("impossible", "{text}", {"key": key, "text": text})


class RuleBase(BaseModel):
    """What every kind has. `points` limits the rule to those points; None means all of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=False)

    id: RuleId
    level: Annotated[int, Field(ge=1, le=4)]  # 1 is the gravest
    points: PointKeys | None = None
    active: Annotated[list[Window], Field(min_length=1, max_length=100)] | None = None  # None: always on

    @model_validator(mode="after")
    def windows_do_not_cross(self) -> Self:
        found = crossing(self.active or ())
        if found is not None:
            first, second = found
            raise _impossible("active", f"windows {first + 1} and {second + 1} cross each other")
        return self

    def signature(self) -> str:
        """Everything that gives the rule its meaning, without the points it is limited to; equal text, equal rule."""
        always = {"active"} if self.active is None else set()
        return self.model_dump_json(exclude={"points", *always}, by_alias=True)

    def __hash__(self) -> int:
        return hash((self.signature(), tuple(self.points or ())))


class _OneSided(RuleBase):
    above: Number | None = None
    below: Number | None = None

    @model_validator(mode="after")
    def one_side_is_given(self) -> Self:
        if (self.above is None) == (self.below is None):
            came = "neither" if self.above is None else f"above {self.above:g} and below {self.below:g}"
            raise _impossible("above", f"exactly one of above and below is needed; got {came}")
        return self

    @property
    def set_point(self) -> float:
        return self.above if self.above is not None else self.below  # type: ignore[return-value]


class Threshold(_OneSided):
    """value ≥ above, or value ≤ below, for for_s; released beyond clear (by default the set-point) for clear_for_s."""

    kind: Literal["threshold"]
    clear: Number | None = None
    for_s: Seconds = 0
    clear_for_s: Seconds = 0

    @model_validator(mode="after")
    def clear_is_on_the_quiet_side(self) -> Self:
        if self.clear is None:
            return self
        if self.above is not None and self.clear > self.above:
            raise _impossible(
                "clear", f"with above {self.above:g} it should be at most {self.above:g}; got {self.clear:g}"
            )
        if self.below is not None and self.clear < self.below:
            raise _impossible(
                "clear", f"with below {self.below:g} it should be at least {self.below:g}; got {self.clear:g}"
            )
        return self

    @property
    def release_point(self) -> float:
        return self.set_point if self.clear is None else self.clear


class Band(RuleBase):
    """value < low or value > high for for_s; released inside [low + margin, high - margin] for clear_for_s."""

    kind: Literal["band"]
    low: Number
    high: Number
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    for_s: Seconds = 0
    clear_for_s: Seconds = 0

    @model_validator(mode="after")
    def band_has_an_inside(self) -> Self:
        if self.low >= self.high:
            raise _impossible("low", f"should be less than high ({self.high:g}); got {self.low:g}")
        if self.low + self.margin > self.high - self.margin:
            room = (self.high - self.low) / 2
            raise _impossible("margin", f"leaves nothing inside; should be at most {room:g}; got {self.margin:g}")
        return self


class StateRule(RuleBase):
    """The whole part of the value is in the list for for_s; released outside it for clear_for_s."""

    kind: Literal["state"]
    in_: Annotated[list[State], Field(alias="in", min_length=1, max_length=1000)]
    for_s: Seconds = 0
    clear_for_s: Seconds = 0


class Rate(_OneSided):
    """Slope per per_s seconds between consecutive judged readings at most max_gap_s apart (None: however far)."""

    kind: Literal["rate"]
    per_s: LongSeconds = 1
    max_gap_s: LongSeconds | None = None


class Repeats(_OneSided):
    """`count` readings with the condition within window_s; cleared when none is left in the window."""

    kind: Literal["repeats"]
    count: Annotated[int, Field(ge=1, le=MAX_REPEATS)]
    window_s: LongSeconds


class Silence(RuleBase):
    """No accepted reading for more than after_s."""

    kind: Literal["silence"]
    after_s: LongSeconds


class Stuck(RuleBase):
    """At least `count` consecutive judged readings within eps of the first of the run, spanning at least for_s."""

    kind: Literal["stuck"]
    for_s: Seconds
    count: Annotated[int, Field(ge=1, le=2**31)] = 2
    eps: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    @model_validator(mode="after")
    def one_reading_is_not_stuck(self) -> Self:
        if self.count < 2 and self.for_s == 0:
            raise _impossible(
                "count", f"with for_s 0 every reading would be stuck; should be at least 2; got {self.count}"
            )
        return self


Rule = Threshold | Band | StateRule | Rate | Repeats | Silence | Stuck
MODELS: dict[str, type[RuleBase]] = {
    "threshold": Threshold,
    "band": Band,
    "state": StateRule,
    "rate": Rate,
    "repeats": Repeats,
    "silence": Silence,
    "stuck": Stuck,
}


def keys_of(kind: str) -> list[str]:
    """The words a rule of this kind may use, as written in the file; [] for an unknown kind."""
    model = MODELS.get(kind)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []
