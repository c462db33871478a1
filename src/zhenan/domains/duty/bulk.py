"""Signing thousands of contracts at once, each judged by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice

from django.db import connection, transaction

from zhenan.domains.duty.models import Contract
from zhenan.domains.duty.services import VISIT, first_day, new_contract, taken, visit_due
from zhenan.domains.register.models import Subject
from zhenan.kernel.access.guards import NotAllowed
from zhenan.kernel.errors import DomainError
from zhenan.kernel.events import services as events
from zhenan.kernel.events.models import key_of
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow.models import Deadline
from zhenan.kernel.workflow.services import open_deadlines

AT_ONCE = 2000


@dataclass(frozen=True)
class Wanted:
    """One contract to sign; fields as in ``sign_contract``."""

    subject: Subject
    level: str
    person: User
    begins_on: date
    ends_on: date | None = None
    visit_every_days: int | None = None
    source: str = ""


@dataclass(frozen=True)
class Signed:
    """What became of one row: the contract, or the reason why there is none."""

    wanted: Wanted
    contract: Contract | None
    error: str = ""


def sign_many(rows: Iterable[Wanted], *, by: User | None, at: datetime) -> Iterator[Signed]:
    """Sign each row that can be signed and say of each other one why not; in the order given.

    Two thousand rows a transaction: the exclusion constraint judges them, also against each other and against
    whoever signs at the same time. Give subjects with their divisions and people already read.
    """
    waiting = iter(rows)
    while chunk := list(islice(waiting, AT_ONCE)):
        yield from _sign_chunk(chunk, by, at)


def _sign_chunk(chunk: Sequence[Wanted], by: User | None, at: datetime) -> list[Signed]:
    allowed = _editable(chunk, by)
    made: dict[int, Contract] = {}
    errors: dict[int, str] = {}
    for index, row in enumerate(chunk):
        try:
            if allowed is not None and row.subject.pk not in allowed:
                raise NotAllowed(actor=by, capability="contract.edit")
            made[index] = new_contract(**vars(row), by=by, at=at)
        except DomainError as err:
            errors[index] = str(err)
    with transaction.atomic():
        _give_ids(list(made.values()))
        Contract.objects.bulk_create(list(made.values()), ignore_conflicts=True)
        stored = set(Contract.objects.filter(pk__in=[c.pk for c in made.values()]).values_list("pk", flat=True))
        fresh = [contract for contract in made.values() if contract.pk in stored]
        _open_visits(fresh)
        _record(fresh, by, at)
    for index, contract in made.items():
        if contract.pk not in stored:
            errors[index] = str(taken(contract))
    return [Signed(row, None if i in errors else made[i], errors.get(i, "")) for i, row in enumerate(chunk)]


def _editable(chunk: Sequence[Wanted], by: User | None) -> set[int] | None:
    if by is None:
        return None
    pks = {row.subject.pk for row in chunk}
    return set(Subject.objects.visible_to(by, "contract.edit").filter(pk__in=pks).values_list("pk", flat=True))


def _give_ids(contracts: Sequence[Contract]) -> None:
    """Ids beforehand: a row that conflicts is left out by PostgreSQL without a word, and is found by its id."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence('duty_contract', 'id')) FROM generate_series(1, %s)",
            [len(contracts)],
        )
        for contract, (pk,) in zip(contracts, cursor.fetchall(), strict=True):
            contract.pk = pk


def _open_visits(contracts: Sequence[Contract]) -> None:
    waiting = []
    for contract in contracts:
        start = first_day(contract)
        due = visit_due(contract, start)
        if due is not None:
            waiting.append(
                Deadline(target=key_of(contract), kind=VISIT, owner=contract.person, started_at=start, due_at=due,
                         **contract.place)
            )  # fmt: skip
    open_deadlines(waiting)


def _record(contracts: Sequence[Contract], by: User | None, at: datetime) -> None:
    events.record_many(
        [
            {
                "kind": "duty.signed",
                "targets": [contract, contract.subject],
                "actor": by,
                "at": at,
                "data": {"person": str(contract.person), "level": contract.level, "subject": str(contract.subject)},
                **contract.place,
            }
            for contract in contracts
        ]
    )
