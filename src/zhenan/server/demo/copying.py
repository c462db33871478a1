"""Writing many rows with COPY: what ``bulk_create`` does, at several times the speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from django.db import connection, models

M = TypeVar("M", bound=models.Model)


def copy_in(rows: Iterable[M]) -> list[M]:
    """Write new rows of one table; ids come from the table's own sequence. Triggers and constraints hold as ever."""
    made = list(rows)
    if not made:
        return made
    model = type(made[0])
    give_ids(made)
    fields = [field for field in model._meta.concrete_fields if not field.generated]
    columns = ", ".join(connection.ops.quote_name(str(field.column)) for field in fields)
    table = connection.ops.quote_name(model._meta.db_table)
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
    ):
        for row in made:
            copy.write_row([_value(field, row) for field in fields])
    for row in made:
        row._state.adding, row._state.db = False, connection.alias
    return made


def give_ids(rows: Sequence[models.Model]) -> None:
    """Ids beforehand, for rows that others refer to before they are written."""
    waiting = [row for row in rows if row.pk is None]
    if not waiting:
        return
    model, key = type(waiting[0]), waiting[0]._meta.pk
    if not isinstance(key, models.AutoField):
        raise ValueError(f"{model._meta.label} makes its own keys; {len(waiting)} rows came without")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [model._meta.db_table, key.column, len(waiting)],
        )
        for row, (pk,) in zip(waiting, cursor.fetchall(), strict=True):
            row.pk = pk


def _value(field: models.Field[Any, Any], row: models.Model) -> Any:
    if isinstance(field, models.ForeignKey) and getattr(row, field.attname) is None and field.is_cached(row):
        setattr(row, field.name, getattr(row, field.name))  # the object got its id after it was referred to
    return field.get_db_prep_save(field.pre_save(row, add=True), connection)
