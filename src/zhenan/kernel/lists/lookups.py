"""``field__ilike``: PostgreSQL's ILIKE on the bare column, so that a plain ``gin_trgm_ops`` index serves it.

Django's ``icontains`` compares ``UPPER(column)``, which such an index cannot serve.
"""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, Field, Lookup, TextField


class ILike(Lookup):
    """Contains, without regard to case; %, _ and \\ in the text stand for themselves."""

    lookup_name = "ilike"

    def get_prep_lookup(self) -> str:
        escaped = str(self.rhs).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return f"%{escaped}%"

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        return f"{left} ILIKE {right}", (*left_params, *right_params)


def register() -> None:
    """Make the lookup known to every text column (subclasses of the two inherit it)."""
    kinds: tuple[type[Field[Any, Any]], ...] = (CharField, TextField)
    for kind in kinds:
        kind.register_lookup(ILike)
