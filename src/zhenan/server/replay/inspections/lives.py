"""From a facility's visits to the lives of its hazards: pure, no database. Both ways of writing them follow this plan.

A violation out of compliance is found; so is one that an open hazard of the same criterion stands for already (found
again). A recheck (reason followup) that still lists it sends the rectification back: a new round. The first recheck or
routine visit that no longer lists it verifies and closes it. One corrected before the inspector's eyes is accepted at
once. What no later recheck or routine visit looked at stays open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from zhenan.server.replay.inspections.records import Violation, Visit

LOOKS_AT_ALL = ("routine", "followup")  # visits whose silence about a violation says that it is gone
MAJOR = "critical"
_MARK = re.compile(r"^[A-Z]\d+ ")  # the office's own marks among the lines of a visit: "C1 Referral", "E3 Hearing"

StepKind = Literal["found", "on_the_spot", "found_again", "rejected", "accepted"]


@dataclass(frozen=True)
class Step:
    """What a visit did to a hazard; ``violation`` is the line that says so (None: its silence)."""

    kind: StepKind
    visit: Visit
    violation: Violation | None = None


@dataclass
class Life:
    """One hazard from discovery on. ``criterion``: what makes two of a facility the same."""

    criterion: str
    steps: list[Step] = field(default_factory=list)

    @property
    def found(self) -> Step:
        return self.steps[0]

    @property
    def closed(self) -> bool:
        return self.steps[-1].kind in ("accepted", "on_the_spot")

    @property
    def violation(self) -> Violation:
        """The line by which it was found."""
        found = self.found.violation
        if found is None:
            raise ValueError(f"a life begins with a line of a visit; this one with {self.found}")
        return found

    @property
    def is_major(self) -> bool:
        """Graded major: the county's gravest degree, unless it was corrected at once."""
        return self.violation.degree == MAJOR and self.found.kind == "found"


def is_mark(violation: Violation) -> bool:
    """Whether a line is a note of the office's own dealings and not a violation."""
    return bool(_MARK.match(violation.words))


def lives_of(visits: Sequence[Visit], criterion_of: Callable[[str], str]) -> list[Life]:
    """The hazards of one facility, in the order in which they were found."""
    lives: list[Life] = []
    open_by_criterion: dict[str, Life] = {}
    for visit in visits:
        listed: dict[str, list[Violation]] = {}
        for violation in visit.violations:
            if not is_mark(violation):
                listed.setdefault(criterion_of(violation.words), []).append(violation)
        for criterion, life in list(open_by_criterion.items()):
            if criterion not in listed and visit.reason in LOOKS_AT_ALL:
                life.steps.append(Step("accepted", visit))
                del open_by_criterion[criterion]
        for criterion, violations in listed.items():
            _listed(criterion, violations, visit, open_by_criterion, lives)
    return lives


def _listed(
    criterion: str, violations: Iterable[Violation], visit: Visit, open_ones: dict[str, Life], lives: list[Life]
) -> None:
    """The lines of one criterion in one visit; of several, those not corrected count."""
    lines = sorted(violations, key=lambda v: v.corrected)
    life, corrected = open_ones.get(criterion), lines[0].corrected
    standing = life is not None
    if life is None:
        life = Life(criterion, [Step("on_the_spot" if corrected else "found", visit, lines.pop(0))])
        lives.append(life)
        if not corrected:
            open_ones[criterion] = life
    if corrected and not standing:  # two lines of one criterion, both put right at once: each stands for itself
        lives += [Life(criterion, [Step("on_the_spot", visit, line)]) for line in lines]
        return
    life.steps += [Step("found_again", visit, line) for line in lines]
    if standing and corrected:
        life.steps.append(Step("accepted", visit))
        del open_ones[criterion]
    elif standing and visit.reason == "followup":
        life.steps.append(Step("rejected", visit))
