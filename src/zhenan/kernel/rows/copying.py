"""Many new rows by COPY: a third of the cost of INSERT with its thousands of parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec
from django.contrib.postgres.fields import ArrayField
from django.db import connection, connections, models, transaction

PLAIN: dict[type, type] = {
    models.CharField: str, models.TextField: str, models.UUIDField: UUID, models.BooleanField: bool,
    models.FloatField: float, models.IntegerField: int, models.BigIntegerField: int, models.SmallIntegerField: int,
    models.PositiveSmallIntegerField: int, models.PositiveIntegerField: int, models.AutoField: int,
    models.BigAutoField: int,
}  # fmt: skip
WORTH_IT = 20  # rows; below, the statements around a copy cost more than it saves
Word = Callable[[models.Model, Any], Any]  # (row, value) → what is written for it


def create_many(rows: Sequence[models.Model]) -> None:
    """Write new objects of one model and give them their keys; triggers, constraints and history work as ever.

    Raises what an INSERT would raise (IntegrityError, DataError); then none of the rows is written.
    """
    if not rows:
        return
    model: Any = type(rows[0])
    if len(rows) < WORTH_IT:
        model._default_manager.bulk_create(rows)
        return
    quoted = connection.ops.quote_name
    table, pk = quoted(model._meta.db_table), quoted(model._meta.pk.column)
    names = ", ".join(quoted(field.column) for field in model._meta.concrete_fields)
    words = _writer(model)
    with transaction.atomic(), connection.cursor() as cursor:
        _number(cursor, model, rows)
        # pghistory hands its context to a transaction with the first plain statement; COPY is none.
        cursor.execute(f"UPDATE {table} SET {pk} = {pk} WHERE false")  # noqa: S608 - names of the model
        with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(words.of(row))
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


class Writer:
    """Puts rows of one model into the words of COPY.

    A value of its column's own type goes as it is: to ask Django for each is half the cost of a copy. Which values of a
    row do is decided once for all rows whose values are of the same types.
    """

    def __init__(self, model: Any) -> None:
        self._fields = model._meta.concrete_fields
        self._values = itemgetter(*(field.attname for field in self._fields))
        self._odd: dict[tuple[type, ...], list[tuple[int, Word]]] = {}

    def of(self, row: models.Model) -> Sequence[Any]:
        try:
            values = self._values(row.__dict__)
        except KeyError:  # of an object of which only some fields were read
            values = tuple(getattr(row, field.attname) for field in self._fields)
        types = tuple(map(type, values))
        odd = self._odd.get(types)
        if odd is None:
            words = [_word_of(field, kind) for field, kind in zip(self._fields, types, strict=True)]
            odd = self._odd[types] = [(place, word) for place, word in enumerate(words) if word is not None]
        written = list(values)
        for place, word in odd:
            written[place] = word(row, values[place])
        return written


_writer = cache(Writer)
_stamp = lru_cache(4096)(str)  # a moment stands in several columns and rows


def _word_of(field: Any, kind: type) -> Word | None:
    """How a value of this type is written for the field; None: as it is."""
    real = connections[connection.alias]  # the proxy would look it up anew at every word

    def prepared(row: models.Model, _value: Any) -> Any:
        return field.get_db_prep_save(field.pre_save(row, True), real)

    def moment(row: models.Model, value: datetime) -> Any:
        return prepared(row, value) if value.tzinfo is None else _stamp(value)

    target = type(field.target_field if isinstance(field, models.ForeignKey) else field)
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return prepared
    if kind is type(None) and not isinstance(field, models.JSONField):
        return None
    if target is models.DateTimeField and kind is datetime:
        return moment
    if target is models.JSONField and kind in (dict, list) and field.encoder is None:
        return lambda _row, value: msgspec.json.encode(value).decode()
    if target is ArrayField and kind is list and type(field.base_field) in (models.CharField, models.BigIntegerField):
        return lambda row, value: prepared(row, value) if None in value else array_of(value)
    return None if PLAIN.get(target) is kind else prepared


def array_of(items: Iterable[str | int | UUID]) -> str:
    """PostgreSQL's own writing of an array of texts, numbers or keys."""
    words = [str(item) for item in items]
    if any("\\" in word or '"' in word for word in words):
        words = [word.replace("\\", "\\\\").replace('"', '\\"') for word in words]
    return '{"' + '","'.join(words) + '"}' if words else "{}"


def _number(cursor: Any, model: Any, rows: Sequence[models.Model]) -> None:
    """Take keys from the table's own sequence, where the database makes the keys."""
    pk = model._meta.pk
    fresh = [row for row in rows if row.pk is None] if isinstance(pk, models.AutoField | models.BigAutoField) else []
    if fresh:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [model._meta.db_table, pk.column, len(fresh)],
        )
        for row, (number,) in zip(fresh, cursor.fetchall(), strict=True):
            row.pk = number
