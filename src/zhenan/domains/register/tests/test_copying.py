"""Rows written by COPY are the rows that INSERT would have written."""

from __future__ import annotations

from datetime import UTC, datetime

import pghistory
import pytest
from django.db import IntegrityError, connection

from zhenan.domains.register.models import Subject
from zhenan.kernel.events.models import Event
from zhenan.kernel.rows.among import among
from zhenan.kernel.rows.building import built, known
from zhenan.kernel.rows.copying import WORTH_IT, create_many

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


def test_texts_of_an_array_come_back_as_they_were(city):
    odd = ["", "NULL", 'a "b"', "\\", "{,}", "文"]
    create_many([Event(kind="k", at=AT, targets=odd, organisations=[3, -4], data={"n": i}) for i in range(WORTH_IT)])
    stored = Event.objects.get(data__n=3)
    assert (stored.targets, stored.organisations, stored.data) == (odd, [3, -4], {"n": 3})


def test_rows_of_one_copy_may_differ_in_what_they_lack(city):
    rows = subjects(city, WORTH_IT)
    for row in rows:
        row.address, row.created_at = f"路{row.key}", None
    rows[0].lon, rows[1].lon, rows[2].organisation_id = 120, None, None  # a whole number for a column of others
    create_many(rows)
    stored = Subject.objects.in_bulk(field_name="id")
    assert [stored[row.pk].lon for row in rows[:4]] == [120.0, None, None, 119.5]
    assert {one.address for one in stored.values()} == {f"路{n}" for n in range(WORTH_IT)}


def test_what_is_built_is_what_the_model_makes(city):
    given = {"type": "t", "programme": "p", "key": "1", "name": "n", "viewers": [1]}
    quick, slow = (
        built(Subject, {"division": city, "owner": None}, **given),
        Subject(division=city, owner=None, **given),
    )
    assert {k: v for k, v in quick.__dict__.items() if k != "_state"} == {
        k: v for k, v in slow.__dict__.items() if k != "_state"
    }
    assert quick.division is city
    assert built(Subject).attributes is not built(Subject).attributes
    quick.save()
    assert Subject.objects.get().division == city


def test_what_was_not_read_of_an_object_is_read_when_it_is_asked_for(city, django_assert_num_queries):
    (row,) = subjects(city, 1)
    row.save()
    part = known(Subject, id=row.pk, name="n")
    with django_assert_num_queries(0):
        assert part.name == "n"
    with django_assert_num_queries(1):
        assert part.viewers == [1, 0]


def test_among_finds_what_in_finds(city):
    rows = subjects(city, 3)
    for row in rows:
        row.save()
    assert set(Subject.objects.filter(pk__among=among([rows[0].pk, rows[2].pk, -1]))) == {rows[0], rows[2]}
    assert set(Subject.objects.filter(key__among=among(["1", '"']))) == {rows[1]}
    assert Subject.objects.filter(division__among=among([city.pk])).count() == 3
    assert not Subject.objects.filter(division__path__among=among([])).exists()
