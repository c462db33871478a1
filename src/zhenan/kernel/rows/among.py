"""``filter(pk__among=among(ids))``: thousands of keys as one array, for which neither Django nor the database reads a
parameter each, as ``in`` has them do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import models

from zhenan.kernel.rows.copying import array_of


@dataclass(frozen=True)
class Keys:
    array: str  # in PostgreSQL's own writing


def among(keys: Iterable[int | str | UUID]) -> Keys:
    """The right side of the look-up ``among``."""
    return Keys(array_of(keys))


@models.Field.register_lookup
@models.ForeignKey.register_lookup
class Among(models.Lookup):
    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, params = self.process_lhs(compiler, connection)
        kind = self.lhs.output_field.db_type(connection)
        return f"{left} = ANY(%s::{kind}[])", (*params, self.rhs.array)
