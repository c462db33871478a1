"""A subject's typed attributes, as the fields of its pack's subject type say: read, checked, shown.

Stored in ``Subject.attributes`` as JSON: numbers, true and false, ISO days, choice codes; what is not known is absent.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

from django.utils import formats
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from zhenan.kernel.imports.parse import CellFault, Parser, choice, day, folded, integer, number, text, within, yes_no
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.packkit.schema import SubjectField, SubjectType
from zhenan.rules import credit_code

TEXT_LIMIT = 4000
PHONE = re.compile(r"\+?[0-9][0-9()\- ]{3,30}(转[0-9]{1,6})?")


def lang() -> str:
    return get_language() or "zh-hans"


def kind_of(code: str) -> SubjectType | None:
    """The subject type, retired or not; None when no pack ever declared it."""
    try:
        return registry().subject_type(code)
    except UnknownCode:
        return None


def type_label(code: str) -> str:
    """The type's name in the reader's language, the code when unknown."""
    kind = kind_of(code)
    return kind.name.label(lang()) if kind else code


def phone(cell: str) -> str | None:
    """A telephone number as it is dialled in China."""
    plain = folded(cell)
    if not plain:
        return None
    if not PHONE.fullmatch(plain):
        raise CellFault(_("“%(came)s” is not a telephone number") % {"came": cell[:40]})
    return plain


def unified_code(cell: str) -> str | None:
    """A unified social credit code whose check character is right (GB 32100-2015)."""
    plain = credit_code.normalised(cell)
    if not plain:
        return None
    problem = credit_code.problem_of(plain)
    if problem is None:
        return plain
    reasons = {
        "length": _("it has {n} characters, a unified social credit code has 18").format(n=len(plain)),
        "character": _("it holds a character that no unified social credit code has"),
        "district": _("characters 3 to 8 are not a district's code"),
    }
    if problem == "check":
        want = credit_code.check_character(plain[:17])
        reasons["check"] = _("its check character is {came}, but must be {want}: a digit was mistyped").format(
            came=plain[17], want=want
        )
    raise CellFault(f"“{cell[:40]}”: {reasons[problem]}")


def parser_of(field: SubjectField) -> Parser:
    """Text of a cell → the field's value; None when empty. Raises CellFault."""
    if field.type == "choice":
        names: dict[str, str] = {}
        for one in field.choices:
            for name in (one.name.zh, one.name.en, one.code):
                names.setdefault(folded(name).casefold(), one.code)
        return choice(names)
    simple: dict[str, Parser] = {
        "text": lambda cell: text(TEXT_LIMIT)(cell) or None,
        "int": partial(integer, low=field.min, high=field.max),
        "number": partial(number, low=field.min, high=field.max),
        "bool": yes_no,
        "date": _iso_day,
        "phone": phone,
        "credit_code": unified_code,
    }
    return simple[field.type]


def _iso_day(cell: str) -> str | None:
    found = day(cell)
    return found.isoformat() if found else None


def checked(field: SubjectField, value: Any) -> Any:
    """A value that came typed (API, services), as it is stored. Raises CellFault."""
    if value is None or value == "":
        return None
    if isinstance(value, date):
        value = value.isoformat()
    if field.type in ("int", "number"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            if not isinstance(value, str):
                raise CellFault(_("“%(came)s” is not a number") % {"came": str(value)[:40]})
            return parser_of(field)(value)
        return integer(repr(value), low=field.min, high=field.max) if field.type == "int" else _float(field, value)
    if field.type == "bool" and isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise CellFault(_("“%(came)s” is not text") % {"came": str(value)[:40]})
    return parser_of(field)(value.strip())


def _float(field: SubjectField, value: float) -> float:
    number(repr(value))  # refuses infinities and NaN
    within(value, field.min, field.max)
    return float(value)


def check_all(kind: SubjectType, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Values as stored (None removes one), and a message for each field at fault. Required fields: see ``missing``."""
    values: dict[str, Any] = {}
    faults: dict[str, str] = {}
    for code, value in given.items():
        field = kind.field(code)
        if field is None:
            near = difflib.get_close_matches(code, [f.code for f in kind.fields], 1)
            faults[code] = _("unknown") + (f"; {near[0]}?" if near else "")
            continue
        try:
            values[code] = checked(field, value)
        except CellFault as err:
            faults[code] = str(err)
    return values, faults


def missing(kind: SubjectType, attributes: Mapping[str, Any]) -> dict[str, str]:
    """A message for each required field without a value."""
    return {f.code: str(_("is empty")) for f in kind.fields if f.required and attributes.get(f.code) is None}


def laid_over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The old attributes with new values over them; None takes one away."""
    return {code: value for code, value in {**old, **new}.items() if value is not None}


def unit_of(field: SubjectField) -> str:
    return registry().vocabulary.units[field.unit].symbol if field.unit else ""


def shown(field: SubjectField, value: Any) -> str:
    """A value in words, with its unit."""
    if value is None:
        return ""
    if field.type == "choice":
        return next((c.name.label(lang()) for c in field.choices if c.code == value), str(value))
    if field.type == "bool":
        return _("yes") if value else _("no")
    if field.type in ("int", "number") and isinstance(value, int | float):
        whole = int(value) if float(value).is_integer() else value
        return f"{formats.number_format(whole, force_grouping=True)} {unit_of(field)}".strip()
    return str(value)
