"""Alarms made of alarms: all of, or so many of, the named rules, at one subject; perhaps within a time of each other.

A second stage behind the compiled loop: it is fed the loop's transitions in their order and says the same for the same
order, so that a replay gives the same alarms. Transitions are few where readings are many; this stage may be plain.

Meaning. A part *stands* at a subject while an alarm of its rule stands at any of the subject's points. The subject's
clock is the largest ts among the transitions of its parts so far.
- Without `within_s`: raised at the raise by which `n` parts stand; cleared at the clear by which fewer do.
- With `within_s`: raised at the raise by which `n` parts have been raised within it (clock - ts <= within_s), whether
  they stand or not; cleared at the clear by which none of its parts stands. What was raised before that is used up.
ts and onset are the subject's clock then; onsets of one composite at one subject always grow, so each episode has an
identity of its own. point and value are those of the part that completed it; `parts` has one alarm for each part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Final, Literal, Self

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from zhenan.telemetry.judge.results import Part, Transition
from zhenan.telemetry.judge.rules import LongSeconds, PointKeys, Rule, RuleId, to_ms


class Composite(BaseModel):
    """One composite rule. `n` is how many parts it takes: for all_of all, for n_of as given."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: RuleId
    level: Annotated[int, Field(ge=1, le=4)]
    kind: Literal["all_of", "n_of"]
    rules: Annotated[list[RuleId], Field(min_length=2, max_length=100)]
    n: int | None = None
    within_s: LongSeconds | None = None

    @model_validator(mode="after")
    def can_be_met(self) -> Self:
        if len(set(self.rules)) != len(self.rules):
            raise _impossible("rules", "each rule is named once")
        if self.kind == "all_of" and self.n is not None:
            raise _impossible("n", f"all_of takes all of its {len(self.rules)} rules; for fewer write kind n_of")
        if self.kind == "n_of" and (self.n is None or not 2 <= self.n <= len(self.rules)):
            came = "nothing" if self.n is None else self.n
            raise _impossible("n", f"of {len(self.rules)} rules n should be 2 to {len(self.rules)}; got {came}")
        return self

    @property
    def needed(self) -> int:
        return len(self.rules) if self.n is None else self.n

    def signature(self) -> str:
        """Everything that gives it its meaning."""
        return self.model_dump_json()


class RuleFile(BaseModel):
    """The whole file: `rules`; `composites` of them; `subjects`, the points of each; `holidays`, dates for windows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rules: list[Annotated[Rule, Field(discriminator="kind")]]
    composites: list[Composite] = []
    subjects: dict[str, PointKeys] = {}
    holidays: list[date] = []

    @model_validator(mode="after")
    def names_are_known(self) -> Self:
        known = {rule.id for rule in self.rules}
        for number, composite in enumerate(self.composites):
            if composite.id in known:
                raise _impossible(f"composites[{number}].id", f"{composite.id!r} is already taken by a rule")
            for name in composite.rules:
                if name not in known:
                    raise _impossible(f"composites[{number}].rules", f"no rule {name!r} in this file")
        seen: dict[str, str] = {}
        for subject, points in self.subjects.items():
            for point in points:
                if seen.setdefault(point, subject) != subject:
                    raise _impossible("subjects", f"point {point!r} is at {seen[point]!r} and at {subject!r}")
        return self

    def subject_of(self) -> dict[str, str]:
        """The subject of each point that has one."""
        return {point: subject for subject, points in self.subjects.items() for point in points}


def _impossible(key: str, text: str) -> PydanticCustomError:
    return PydanticCustomError("impossible", "{text}", {"key": key, "text": text})


@dataclass
class _Place:
    """What one composite remembers of one subject."""

    clock: int
    standing: dict[tuple[str, str], int] = field(default_factory=dict)  # (rule, point) → onset
    raised: dict[str, tuple[int, str, int]] = field(default_factory=dict)  # rule → ts, point, onset of its last raise
    alarm: tuple[str, int] | None = None  # point and onset, while it is raised
    last_onset: int | None = None


class _SavedPlace(msgspec.Struct):
    composite: int
    subject: str
    clock: int
    standing: list[tuple[str, str, int]]
    raised: list[tuple[str, int, str, int]]
    alarm: tuple[str, int] | None
    last_onset: int | None


class _Saved(msgspec.Struct):
    composites: list[tuple[str, str, int]]  # id, signature, level
    places: list[_SavedPlace]


# made here, by one thread: of several that meet a type for the first time msgspec may crash
_DECODER: Final = msgspec.msgpack.Decoder(_Saved)


class Composer:
    """Feeds on transitions, gives transitions. `subjects`: the subject of a point; one that is missing is its own."""

    def __init__(self, composites: Sequence[Composite] = (), subjects: Mapping[str, str] | None = None) -> None:
        self.composites = tuple(composites)
        self._subjects = subjects or {}
        self._of_rule: dict[str, list[int]] = {}
        for number, composite in enumerate(self.composites):
            for rule in composite.rules:
                self._of_rule.setdefault(rule, []).append(number)
        self._places: dict[tuple[int, str], _Place] = {}
        self._at: dict[tuple[int, str, str], str] = {}  # composite, rule, point of what stands → the subject where

    def feed(self, transitions: Iterable[Transition]) -> list[Transition]:
        """The transitions in the same order, each followed by those of the composites that it raises or clears."""
        if not self.composites:
            return list(transitions)
        found = []
        for t in transitions:
            found.append(t)
            for number in self._of_rule.get(t.rule, ()):
                found += self._step(number, t)
        return found

    def _step(self, number: int, t: Transition) -> list[Transition]:
        composite, subject, part = self.composites[number], self._subjects.get(t.point, t.point), (t.rule, t.point)
        if t.kind == "clear":  # where it stands, though its device has left the register meanwhile
            subject = self._at.pop((number, *part), subject)
        key = number, subject
        place = self._places.setdefault(key, _Place(t.ts))
        place.clock = max(place.clock, t.ts)
        if t.kind == "clear":
            place.standing.pop(part, None)
            return self._cleared(composite, key, place, t)
        place.standing[part] = t.onset
        self._at[(number, *part)] = subject
        place.raised[t.rule] = (t.ts, t.point, t.onset)
        return self._raised(composite, place, t)

    def _raised(self, composite: Composite, place: _Place, t: Transition) -> list[Transition]:
        if place.alarm is not None:
            return []
        parts = self._parts(composite, place)
        if len(parts) < composite.needed:
            return []
        last = place.clock - 1 if place.last_onset is None else place.last_onset
        onset = max(place.clock, last + 1)
        place.alarm, place.last_onset = (t.point, onset), onset
        return [Transition(t.point, composite.id, "raise", onset, onset, t.value, composite.level, tuple(parts))]

    def _parts(self, composite: Composite, place: _Place) -> list[Part]:
        """One alarm for each part that counts now."""
        if composite.within_s is not None:
            since = place.clock - to_ms(composite.within_s)
            found = [(rule, place.raised[rule]) for rule in composite.rules if rule in place.raised]
            return [Part(rule, point, onset) for rule, (ts, point, onset) in found if ts >= since]
        first: dict[str, Part] = {}
        for (rule, point), onset in place.standing.items():
            if rule not in first or onset < first[rule].onset:
                first[rule] = Part(rule, point, onset)
        return [first[rule] for rule in composite.rules if rule in first]

    def _cleared(self, composite: Composite, key: tuple[int, str], place: _Place, t: Transition) -> list[Transition]:
        found = []
        if place.alarm is not None and not self._holds(composite, place):
            point, onset = place.alarm
            ts = max(place.clock, onset)
            found.append(Transition(point, composite.id, "clear", ts, onset, t.value, composite.level, why=t.why))
            place.alarm = None
            place.raised.clear()
        if composite.within_s is None and not place.standing and place.last_onset is None:
            del self._places[key]
        return found

    def standing(self) -> list[Transition]:
        """The alarms of composites that stand now, as raises with ts = onset, NaN for value, and their parts of now."""
        return [
            Transition(
                place.alarm[0], composite.id, "raise", place.alarm[1], place.alarm[1], float("nan"), composite.level,
                tuple(self._parts(composite, place)),
            )
            for (composite, place) in ((self.composites[key[0]], place) for key, place in self._places.items())
            if place.alarm is not None
        ]  # fmt: skip

    def learn(self, rule: str, point: str, onset: int, raised: int) -> None:
        """An alarm stands of which no transition was fed; nothing is raised for it."""
        for number in self._of_rule.get(rule, ()):
            self._learn(number, rule, point, onset, raised)

    def _learn(self, number: int, rule: str, point: str, onset: int, raised: int) -> None:
        subject = self._subjects.get(point, point)
        place = self._places.setdefault((number, subject), _Place(raised))
        self._at[number, rule, point] = subject
        place.clock = max(place.clock, raised)
        place.standing[rule, point] = onset
        place.raised[rule] = (raised, point, onset)

    def take_on(self, name: str, point: str, onset: int) -> str:
        """Let a composite's alarm stand that another judge raised, if its parts do. Returns why not (WITHDRAWN)."""
        number = next(number for number, one in enumerate(self.composites) if one.id == name)
        place = self._places.get((number, self._subjects.get(point, point)))
        if place is not None and place.alarm is not None:
            return "" if place.alarm == (point, onset) else "superseded"
        if place is None or not self._holds(self.composites[number], place):
            return "over"
        place.alarm, place.last_onset = (point, onset), max(onset, place.last_onset or onset)
        return ""

    def drop(self, name: str, point: str) -> None:
        """Let a composite's alarm at a point stand no more; nothing is said of it."""
        for (number, _subject), place in self._places.items():
            if self.composites[number].id == name and place.alarm is not None and place.alarm[0] == point:
                place.alarm = None

    def _holds(self, composite: Composite, place: _Place) -> bool:
        """Whether enough parts stand for an alarm that was raised to go on."""
        standing = len({rule for rule, _point in place.standing})
        return standing >= (composite.needed if composite.within_s is None else 1)

    def save(self) -> bytes:
        """The whole state."""
        rows = [
            _SavedPlace(
                number, subject, place.clock, [(*key, onset) for key, onset in place.standing.items()],
                [(rule, *last) for rule, last in place.raised.items()], place.alarm, place.last_onset,
            )
            for (number, subject), place in self._places.items()
        ]  # fmt: skip
        names = [(c.id, c.signature(), c.level) for c in self.composites]
        return msgspec.msgpack.encode(_Saved(names, rows))

    def take_up(self, data: bytes) -> list[Transition]:
        """Go on from saved state; returns the clears of alarms whose composite is gone or has changed.

        Raises msgspec.DecodeError where the bytes are not a saved state.
        """
        saved = _DECODER.decode(data)
        numbers = {(c.id, c.signature()): number for number, c in enumerate(self.composites)}
        withdrawn = []
        for row in saved.places:
            name, signature, level = saved.composites[row.composite]
            number = numbers.get((name, signature))
            if number is not None:
                self._places[number, row.subject] = _Place(
                    row.clock, {(rule, point): onset for rule, point, onset in row.standing},
                    {rule: (ts, point, onset) for rule, ts, point, onset in row.raised}, row.alarm, row.last_onset,
                )  # fmt: skip
                self._at |= {(number, rule, point): row.subject for rule, point, _onset in row.standing}
            elif row.alarm is not None:
                point, onset = row.alarm
                ts = max(row.clock, onset)
                withdrawn.append(Transition(point, name, "clear", ts, onset, float("nan"), level, why="rule"))
        return sorted(withdrawn, key=lambda t: (t.ts, t.point, t.rule))

    def begin_with(self, standing: Iterable[Transition]) -> None:
        """Composites that are new learn what stands already; nothing is raised until the next transition."""
        fresh = set(range(len(self.composites))) - {number for number, _subject in self._places}
        for t in standing:
            for number in fresh.intersection(self._of_rule.get(t.rule, ())):
                self._learn(number, t.rule, t.point, t.onset, t.onset)
