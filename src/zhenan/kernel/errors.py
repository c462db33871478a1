"""The base of errors that people read: pages show them, commands print them, the API returns them."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _


class DomainError(Exception):
    """A change that may not be made. ``code`` is stable; ``message`` is filled with the values given."""

    code = "error"
    message: Any = _("This cannot be done.")

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self.values = values

    def __str__(self) -> str:
        return str(self.message).format(**self.values)
