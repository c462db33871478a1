"""Rows written by COPY are the rows that INSERT would have written."""

from __future__ import annotations

from datetime import UTC, datetime

import pghistory
import pytest
from django.db import IntegrityError, connection

from zhenan.domains.register.models import Subject
from zhenan.kernel.events.copying import WORTH_IT, create_many
from zhenan.kernel.events.models import Event

pytestmark = pytest.mark.django_db
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def subjects(division, n: int) -> list[Subject]:
    return [
        Subject(type="t", programme="p", key=str(i), name=f'名,"{i}"\t\\N\n', division=division, viewers=[1, i],
                lon=119.5 if i % 2 else None, attributes={"a": None, "文": [1, "\\t"]})
        for i in range(n)
    ]  # fmt: skip


def test_copied_rows_have_keys_values_and_history_with_its_context(city):
    rows = subjects(city, WORTH_IT + 1)
    with pghistory.context(user=7):
        create_many(rows)
    assert len({row.pk for row in rows}) == len(rows)
    stored = Subject.objects.get(pk=rows[1].pk)
    for field in ("name", "viewers", "lon", "attributes", "status", "division_id"):
        assert getattr(stored, field) == getattr(rows[1], field)
    assert Subject.objects.get(pk=rows[2].pk).lon is None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM register_subjectevent e JOIN pghistory_context c ON c.id = e.pgh_context_id"
            " WHERE c.metadata->>'user' = '7'"
        )
        assert cursor.fetchone() == (len(rows),)
    rows[0].name = "又名"
    rows[0].save()
    assert Subject.objects.count() == len(rows)


def test_events_are_copied_with_their_own_keys():
    events = [Event(kind="k", at=AT, targets=["a:1", f"b:{i}"], data={"n": i}) for i in range(WORTH_IT)]
    create_many(events)
    stored = Event.objects.get(pk=events[3].pk)
    assert (stored.targets, stored.data, stored.organisations) == (["a:1", "b:3"], {"n": 3}, [])


def test_a_key_given_twice_writes_none_of_the_rows(city):
    rows = subjects(city, WORTH_IT)
    rows[-1].key = "0"
    with pytest.raises(IntegrityError):
        create_many(rows)
    assert not Subject.objects.exists()
