"""Many rows of one table changed by one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection, models


def update_many(rows: Sequence[models.Model], names: Sequence[str]) -> None:
    """Write the named fields of rows that exist; triggers and constraints work as ever."""
    if not rows:
        return
    model: Any = type(rows[0])
    quoted = connection.ops.quote_name
    fields = [model._meta.pk, *(model._meta.get_field(name) for name in names)]
    types = [f.rel_db_type(connection) if f.is_relation else f.db_type(connection) for f in fields]
    pk, rest = fields[0].column, [quoted(f.column) for f in fields[1:]]
    columns = ", ".join(quoted(f.column) for f in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quoted(model._meta.db_table)} AS t SET {', '.join(f'{c} = v.{c}' for c in rest)}"  # noqa: S608
            f" FROM unnest({', '.join(f'%s::{_array(t)}' for t in types)}) AS v({columns})"
            f" WHERE t.{quoted(pk)} = v.{quoted(pk)}",
            [[f.get_db_prep_save(getattr(row, f.attname), connection) for row in rows] for f in fields],
        )


def _array(kind: str) -> str:
    return f"{kind.partition(' CHECK')[0]}[]"
