"""Many new rows by COPY: a third of the cost of INSERT with its thousands of parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, connections, models, transaction

WORTH_IT = 200  # rows; below, bulk_create is as fast
PLAIN: dict[type, type] = {
    models.CharField: str, models.TextField: str, models.UUIDField: UUID, models.BooleanField: bool,
    models.FloatField: float, models.DateTimeField: datetime, models.IntegerField: int, models.BigIntegerField: int,
    models.SmallIntegerField: int, models.PositiveSmallIntegerField: int, models.PositiveIntegerField: int,
    models.AutoField: int, models.BigAutoField: int,
}  # fmt: skip


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
    with transaction.atomic(), connection.cursor() as cursor:
        _number(cursor, model, rows)
        fields = model._meta.concrete_fields
        quoted = connection.ops.quote_name
        table, pk = quoted(model._meta.db_table), quoted(model._meta.pk.column)
        # pghistory hands its context to a transaction with the first plain statement; COPY is none.
        cursor.execute(f"UPDATE {table} SET {pk} = {pk} WHERE false")  # noqa: S608 - names of the model
        names = ", ".join(quoted(field.column) for field in fields)
        with connection.wrap_database_errors, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            words = [_word_of(field) for field in fields]
            for row in rows:
                copy.write_row([word(row) for word in words])
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias


def _word_of(field: Any) -> Callable[[models.Model], Any]:
    """What is written of a row for the field. A value that is of the column's own type already goes as it is: to ask
    Django for each is half the cost of a copy."""
    real, name = connections[connection.alias], field.attname  # the proxy would look it up anew at every word
    plain = PLAIN.get(type(field.target_field if isinstance(field, models.ForeignKey) else field))
    by_clock = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)

    def prepared(row: models.Model) -> Any:
        return field.get_db_prep_save(field.pre_save(row, True), real)

    def word(row: models.Model) -> Any:
        value = row.__dict__.get(name, row)
        if value is None or (type(value) is plain and not (isinstance(value, datetime) and value.tzinfo is None)):
            return value
        return prepared(row)

    return prepared if plain is None or by_clock else word


def _number(cursor: Any, model: Any, rows: Sequence[models.Model]) -> None:
    """Take keys from the table's own sequence, where the database makes the keys."""
    pk = model._meta.pk
    fresh = [row for row in rows if row.pk is None]
    if isinstance(pk, models.AutoField | models.BigAutoField) and fresh:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [model._meta.db_table, pk.column, len(fresh)],
        )
        for row, (number,) in zip(fresh, cursor.fetchall(), strict=True):
            row.pk = number
