"""What happens on the way to a deadline and after it: declared once a kind, by the room that owns the objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from zhenan.kernel.people.models import User
from zhenan.kernel.workflow.models import Deadline, DeadlineStep


@dataclass(frozen=True)
class Ladder:
    """The steps of a kind of deadline.

    ``reminders``: percentages of the period at which the owner (and whoever ``people`` adds) is reminded.
    ``rungs``: (time after the due time, name of the rung); ``people(deadline, step)`` says who is told at a step.
    ``text(deadline, step)`` gives title, body and url, lazily translated. ``on_step`` may change the object itself.
    ``tell_all(steps, at)`` takes the place of the three where there may be thousands at once: it tells of many steps,
    and puts on each who was told (``told``, ``summaries``) before the steps are written. It must not lock the objects:
    whoever changes one of them locks it before its deadline.
    """

    kind: str
    people: Callable[[Deadline, str], Sequence[User]] | None = None
    text: Callable[[Deadline, str], tuple[Any, Any, str]] | None = None
    reminders: tuple[int, ...] = (50, 80, 100)
    rungs: tuple[tuple[timedelta, str], ...] = ()
    on_step: Callable[[Deadline, str, datetime], None] | None = None
    tell_all: Callable[[Sequence[DeadlineStep], datetime], None] | None = None

    def steps(self, started_at: datetime, due_at: datetime) -> list[tuple[datetime, str]]:
        """Every step with its time, in order."""
        whole = due_at - started_at
        plan = [(started_at + whole * percent / 100, str(percent)) for percent in self.reminders]
        plan += [(due_at + after, rung) for after, rung in self.rungs]
        return sorted(plan)


LADDERS: dict[str, Ladder] = {}


def register(ladder: Ladder) -> None:
    if ladder.tell_all is None and (ladder.people is None or ladder.text is None):
        raise ValueError(f"ladder {ladder.kind!r}: give people and text, or tell_all")
    LADDERS[ladder.kind] = ladder
