"""Opening, moving and closing deadlines; walking those whose next step has come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog
from django.db import connection, models, transaction

from zhenan.kernel.events.models import key_of
from zhenan.kernel.notices.services import tell
from zhenan.kernel.people.models import User
from zhenan.kernel.rows.copying import create_many
from zhenan.kernel.workflow.ladders import LADDERS, Ladder
from zhenan.kernel.workflow.models import Deadline, DeadlineStep

log = structlog.get_logger("zhenan.workflow")
TOGETHER = 1000  # deadlines of one transaction
MOST_SETS = 100  # of one walk


def open_deadline(
    target: models.Model | str,
    *,
    kind: str,
    due_at: datetime,
    at: datetime,
    owner: User | None,
    path: str = "",
    organisations: Sequence[int | None] = (),
    programme: str = "",
) -> Deadline:
    """Start a deadline of a registered kind; an open one of the same kind on the object is cancelled first."""
    key = target if isinstance(target, str) else key_of(target)
    with transaction.atomic():
        close_deadline(key, kind=kind, at=at, met=None)
        deadline = Deadline(
            target=key,
            kind=kind,
            owner=owner,
            started_at=at,
            due_at=max(due_at, at),
            path=path,
            organisations=[o for o in organisations if o is not None],
            programme=programme,
        )
        _plan_next(deadline, after=None)
        deadline.save()
    return deadline


def open_deadlines(deadlines: Sequence[Deadline]) -> list[Deadline]:
    """Start many deadlines on objects that have none of their kind yet, with a few statements for all of them.

    Each is given target, kind, owner, started_at, due_at and place; its first step is planned here.
    """
    for deadline in deadlines:
        deadline.due_at = max(deadline.due_at, deadline.started_at)
        _plan_next(deadline, after=None)
    create_many(deadlines)
    return list(deadlines)


def move_deadline(target: models.Model | str, *, kind: str, due_at: datetime) -> Deadline | None:
    """Extend (or shorten) the open deadline: the steps not yet reached are planned anew."""
    key = target if isinstance(target, str) else key_of(target)
    with transaction.atomic():
        deadline = Deadline.objects.open().select_for_update().filter(target=key, kind=kind).first()
        if deadline is None:
            return None
        deadline.due_at = max(due_at, deadline.started_at)
        deadline.extensions += 1
        done = deadline.steps.order_by("-reached_at").values_list("reached_at", flat=True).first()
        _plan_next(deadline, after=done)
        deadline.save()
    return deadline


def close_deadline(target: models.Model | str, *, kind: str, at: datetime, met: bool | None = True) -> int:
    """Close the open deadline of this kind; ``met`` None cancels it, True judges it by the time. Returns how many."""
    key = target if isinstance(target, str) else key_of(target)
    closed = 0
    for deadline in Deadline.objects.open().select_for_update().filter(target=key, kind=kind):
        deadline.closed_at, deadline.next_step_at, deadline.next_step = at, None, ""
        deadline.met = None if met is None else met and at <= deadline.due_at
        deadline.save(update_fields=["closed_at", "met", "next_step", "next_step_at"])
        closed += 1
    return closed


def tick(at: datetime, *, limit: int = 1000) -> int:
    """Walk every open deadline whose next step has come. Returns the number of steps reached.

    Deadlines are walked under row locks that others skip: two walkers may run, nothing is told twice, and a walker that
    was away for a day catches up on every step in order. Each deadline is its own transaction, but for the kinds that
    may come by the thousand (``tell_all``): of those so many as are told of together.
    """
    together = [ladder for ladder in LADDERS.values() if ladder.tell_all is not None]
    due = Deadline.objects.open().filter(next_step_at__lte=at).order_by("next_step_at")
    reached = sum(_walk_together(ladder, due.filter(kind=ladder.kind), at) for ladder in together)
    due = due.exclude(kind__in=[ladder.kind for ladder in together])
    return reached + sum(_walk(pk, due, at) for pk in due.values_list("pk", flat=True)[:limit])


def _walk(pk: int, due: models.QuerySet[Deadline], at: datetime) -> int:
    """The steps of one deadline that have come."""
    reached = 0
    with transaction.atomic():
        deadline = due.select_for_update(skip_locked=True, of=("self",)).filter(pk=pk).first()
        while deadline and deadline.next_step_at and deadline.next_step_at <= at and deadline.closed_at is None:
            _reach(deadline, at)
            reached += 1
        if deadline and deadline.closed_at is None:
            deadline.save(update_fields=["next_step", "next_step_at"])
    return reached


def _walk_together(ladder: Ladder, due: models.QuerySet[Deadline], at: datetime) -> int:
    """The steps of all deadlines of one kind that have come. A set that fails is tried again deadline by deadline, so
    that one which cannot be told of keeps none of the others back; its error is raised in the end."""
    reached = 0
    for _ in range(MOST_SETS):
        try:
            count, steps = _walk_set(ladder, due[:TOGETHER], at)
        except Exception:
            log.exception("deadlines not walked together", kind=ladder.kind)
            return reached + _walk_each(ladder, due, at)
        reached += steps
        if count < TOGETHER:
            break
    return reached


def _walk_each(ladder: Ladder, due: models.QuerySet[Deadline], at: datetime) -> int:
    reached, errors = 0, list[Exception]()
    for pk in list(due.values_list("pk", flat=True)[:TOGETHER]):
        try:
            reached += _walk_set(ladder, due.filter(pk=pk), at)[1]
        except Exception as err:
            errors.append(err)
    if errors:
        raise errors[0]
    return reached


def _walk_set(ladder: Ladder, due: models.QuerySet[Deadline], at: datetime) -> tuple[int, int]:
    """(deadlines, steps reached) of one transaction; its number of statements does not grow with them."""
    assert ladder.tell_all is not None  # noqa: S101
    with transaction.atomic():
        deadlines = list(due.select_for_update(skip_locked=True, of=("self",)))
        steps: dict[tuple[int, str, datetime], DeadlineStep] = {}
        for deadline in deadlines:
            while deadline.next_step_at and deadline.next_step_at <= at:
                step, planned = deadline.next_step, deadline.next_step_at
                steps[deadline.pk, step, planned] = DeadlineStep(
                    deadline=deadline, step=step, planned_at=planned, reached_at=at
                )
                _plan_next(deadline, after=planned, same_time_after=step)
        rows = DeadlineStep.objects.filter(deadline__in=deadlines)
        known = set(rows.values_list("deadline_id", "step", "planned_at")) if steps else set()
        fresh = [step for place, step in steps.items() if place not in known]
        if fresh:
            ladder.tell_all(fresh, at)
            create_many(fresh)
            log.info("deadline steps", kind=ladder.kind, steps=len(fresh))
        _store_next(deadlines)
    return len(deadlines), len(steps)


def _store_next(deadlines: Sequence[Deadline]) -> None:
    if not deadlines:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {Deadline._meta.db_table} d SET next_step = v.step, next_step_at = v.at"  # noqa: S608
            " FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS v(id, step, at) WHERE d.id = v.id",
            [
                [deadline.pk for deadline in deadlines],
                [deadline.next_step for deadline in deadlines],
                [deadline.next_step_at for deadline in deadlines],
            ],
        )


def _reach(deadline: Deadline, at: datetime) -> None:
    ladder = LADDERS[deadline.kind]
    step, planned = deadline.next_step, deadline.next_step_at or at
    entry, fresh = DeadlineStep.objects.get_or_create(
        deadline=deadline, step=step, planned_at=planned, defaults={"reached_at": at}
    )
    if fresh and ladder.people is not None and ladder.text is not None:
        people = list(ladder.people(deadline, step))
        title, body, url = ladder.text(deadline, step)
        tell(
            people,
            key=f"deadline:{deadline.pk}:{step}:{planned:%Y%m%d%H%M%S}",
            kind=f"deadline.{deadline.kind}",
            title=title,
            body=body,
            url=url,
            target=deadline.target,
            at=at,
            level=3 if step.isdigit() and int(step) < 100 else 2,
        )
        entry.told = [person.username for person in people]
        entry.save(update_fields=["told"])
        if ladder.on_step:
            ladder.on_step(deadline, step, at)
        log.info("deadline step", deadline=deadline.pk, kind=deadline.kind, step=step, told=len(people))
    _plan_next(deadline, after=planned, same_time_after=step)


def _plan_next(deadline: Deadline, *, after: datetime | None, same_time_after: str = "") -> None:
    plan = LADDERS[deadline.kind].steps(deadline.started_at, deadline.due_at)
    for when, step in plan:
        if after is None or when > after or (when == after and same_time_after and step > same_time_after):
            deadline.next_step_at, deadline.next_step = when, step
            return
    deadline.next_step_at, deadline.next_step = None, ""
