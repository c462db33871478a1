"""Check and read the typed attributes of a subject: for forms, imports, the API and simulations alike."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from zhenan.packkit.schema import SubjectField, SubjectType
from zhenan.packkit.words import hint, shown
from zhenan.rules.credit_code import normalised, problem_of

TRUE = ("true", "yes", "1", "是", "有", "y", "t")
FALSE = ("false", "no", "0", "否", "无", "n", "f")
_PHONE = re.compile(r"\+?[0-9][0-9 -]{5,19}")


class BadAttribute(ValueError):
    """One value that does not fit its field."""


def problems_of_attributes(subject_type: SubjectType, attributes: Mapping[str, Any]) -> list[str]:
    """What is wrong with stored attributes, a line a field; [] when sound. Unknown keys and missing ones count."""
    codes = [f.code for f in subject_type.fields]
    found = [f"no field {code!r}{hint(code, codes)}" for code in attributes if code not in codes]
    for one in subject_type.fields:
        value = attributes.get(one.code)
        if value is None:
            if one.required:
                found.append(f"{one.code}: is required")
            continue
        try:
            if read_attribute(one, value) != value:
                found.append(f"{one.code}: {shown(value)} is not in its stored form")
        except BadAttribute as err:
            found.append(f"{one.code}: {err}")
    return found


def read_attribute(one: SubjectField, value: Any) -> Any:
    """A value as typed by a person or a file, in its stored form (JSON; dates as ISO text); None for blank.

    A choice may be given by code or by either name, a truth value in words of both languages. Raises BadAttribute.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        value = value.strip()
    if one.type in ("int", "number"):
        return _number(one, value)
    if one.type == "bool":
        return _truth(value)
    if one.type == "date":
        return _date(value)
    if one.type == "choice":
        return _choice(one, value)
    text = str(value)
    if one.type == "phone" and not _PHONE.fullmatch(text):
        raise BadAttribute(f"{shown(text)} is not a telephone number")
    if one.type == "credit_code":
        text = normalised(text)
        if why := problem_of(text):
            raise BadAttribute(f"{shown(text)} is not a credit code ({why})")
    if len(text) > 2_000:
        raise BadAttribute(f"has {len(text)} characters; 2000 are allowed")
    return text


def _number(one: SubjectField, value: Any) -> int | float:
    try:
        number = float(str(value).replace(",", "")) if not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadAttribute(f"{shown(value)} is not a number")
    if one.type == "int" and number != int(number):
        raise BadAttribute(f"{shown(value)} is not a whole number")
    if (one.min is not None and number < one.min) or (one.max is not None and number > one.max):
        low = "" if one.min is None else f"at least {one.min:g}"
        high = "" if one.max is None else f"at most {one.max:g}"
        raise BadAttribute(f"{number:g} is out of range; want {' and '.join(filter(None, (low, high)))}")
    return int(number) if one.type == "int" else number


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise BadAttribute(f"{shown(value)} is neither yes nor no")


def _date(value: Any) -> str:
    if isinstance(value, date):
        return value.isoformat()[:10]
    match = re.fullmatch(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[ T].*)?", str(value))
    try:
        if match:
            return date(*(int(part) for part in match.groups())).isoformat()
    except ValueError:
        pass
    raise BadAttribute(f"{shown(value)} is not a date; want 2023-01-31")


def _choice(one: SubjectField, value: Any) -> str:
    for choice in one.choices:
        if str(value) in (choice.code, choice.name.zh, choice.name.en):
            return choice.code
    raise BadAttribute(f"{shown(value)} is not one of the choices{hint(str(value), [c.code for c in one.choices])}")
