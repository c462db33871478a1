"""From the judge's transitions to alarms: idempotent, so that a replay neither loses nor doubles one.

A batch costs a number of statements that does not grow with it: what it needs is read at once, its transitions are
walked in order in memory (episodes.py), and what changed is written at once.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction

from zhenan.domains.monitoring.episodes import Episodes
from zhenan.domains.monitoring.telling import Plan, tell_of
from zhenan.telemetry.judge.results import Transition

log = structlog.get_logger("zhenan.monitoring")
AT_ONCE = 500  # transitions a transaction: about a fifth of a second, so that in a storm none waits for thousands
ATTEMPTS = 3


@dataclass
class Recorded:
    """What a batch of transitions changed."""

    raised: list[UUID] = field(default_factory=list)
    cleared: list[UUID] = field(default_factory=list)
    held: list[UUID] = field(default_factory=list)  # raised, and nobody is told: maintenance, or a parent that is gone
    unknown: int = 0  # transitions of points that are no longer registered
    commands: list[int] = field(default_factory=list)  # DeviceCommand ids, announced at the commit


def record_transitions(transitions: Sequence[Transition], *, at: datetime) -> Recorded:
    """Write the alarms that the judge raised and cleared, with events, notices, deadlines and commands.

    A transaction for each AT_ONCE of them. An alarm's id follows from (point, rule, onset); what is there already is
    left as it is.
    """
    done = Recorded()
    for start in range(0, len(transitions), AT_ONCE):
        _record(transitions[start : start + AT_ONCE], at, done)
    if done.unknown:
        log.warning("transitions of unknown points", count=done.unknown)
    return done


def release_held(*, at: datetime) -> Recorded:
    """Raise what was held and still stands though its reason is over: maintenance, or the wait for a parent."""
    done = Recorded()
    _record((), at, done)
    return done


@contextmanager
def uncollected() -> Iterator[None]:
    """Without looking for garbage: all that a batch makes lives until its end, and to walk it, and with it everything
    else in the process, would cost a third of the batch."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _record(transitions: Sequence[Transition], at: datetime, done: Recorded) -> None:
    for attempt in range(ATTEMPTS):
        try:
            with uncollected(), transaction.atomic():
                episodes = Episodes(transitions, at)
                episodes.walk(transitions)
                plan = Plan(episodes, at)
                episodes.write()
                made = tell_of(episodes, plan, at)
            break
        except IntegrityError:  # another recorder was first with one of them: look again, it will be known
            if attempt + 1 == ATTEMPTS:
                raise
    done.raised += [alarm.pk for alarm in episodes.fresh]
    done.cleared += [alarm.pk for alarm in episodes.cleared]
    done.held += [held.pk for held in episodes.fresh_held]
    done.unknown += episodes.unknown
    done.commands += made
