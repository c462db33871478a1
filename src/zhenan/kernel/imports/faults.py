"""What can be wrong with a file as a whole: the words that pages and commands show."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from zhenan.kernel.errors import DomainError


class FileFault(DomainError):
    """The file cannot be imported at all; no row of it was judged."""

    code = "import.file"
    message = _("{text}")


class UnknownType(DomainError):
    code = "import.unknown_type"
    message = _("There is no import “{came}”. {hint}")


class WrongState(DomainError):
    code = "import.wrong_state"
    message = _("This import is “{state}”; {wanted}")


def fault(text: object, **values: object) -> FileFault:
    """A FileFault from a lazy text with {names}."""
    return FileFault(text=str(text).format(**values))
