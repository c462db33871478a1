"""Unified social credit code (统一社会信用代码, GB 32100-2015) and organisation code (GB 11714): check digits.

18 characters: 1 registering department, 2 category, 3-8 district (GB/T 2260), 9-17 organisation code, 18 check.
"""

from __future__ import annotations

from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # no I, O, S, V, Z
_VALUES: Final = {character: value for value, character in enumerate(ALPHABET)}
_WEIGHTS: Final = tuple(pow(3, i, 31) for i in range(17))
_ORGANISATION_VALUES: Final = {c: v for v, c in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")}
_ORGANISATION_WEIGHTS: Final = (3, 7, 9, 10, 5, 8, 4, 2)


def check_character(body: str) -> str:
    """The 18th character for the first 17.

    Raises ValueError for a wrong length or a character outside the alphabet. Source: GB 32100-2015 5.5.

    >>> check_character("91350100M000100Y4")
    '3'
    """
    if len(body) != 17:
        raise ValueError(f"want the first 17 characters of a credit code; got {len(body)}")
    _refuse_characters(body, _VALUES)
    total = sum(_VALUES[c] * w for c, w in zip(body, _WEIGHTS, strict=True))
    return ALPHABET[(31 - total % 31) % 31]


def organisation_check_character(body: str) -> str:
    """The 9th character of an organisation code for its first 8. Raises ValueError. Source: GB 11714-1997.

    >>> organisation_check_character("MA1ABCDE")
    '8'
    """
    if len(body) != 8:
        raise ValueError(f"want the first 8 characters of an organisation code; got {len(body)}")
    _refuse_characters(body, _ORGANISATION_VALUES)
    total = sum(_ORGANISATION_VALUES[c] * w for c, w in zip(body, _ORGANISATION_WEIGHTS, strict=True))
    return "0123456789X0"[11 - total % 11]


def _refuse_characters(body: str, allowed: dict[str, int]) -> None:
    wrong = sorted({c for c in body if c not in allowed})
    if wrong:
        raise ValueError(f"characters not allowed: {' '.join(wrong)}")


def complete(registrar: str, district: str, organisation: str) -> str:
    """A whole credit code.

    Args:
        registrar: department and category, such as "91" (market supervision, enterprise) or "92" (sole trader).
        district: six digits.
        organisation: the first 8 characters of the organisation code; its check character is worked out.

    >>> complete("91", "321100", "MA1ABCDE")
    '91321100MA1ABCDE8H'
    """
    body = registrar + district + organisation + organisation_check_character(organisation)
    return body + check_character(body)


def normalised(code: str) -> str:
    """As people write it, as it is meant: without spaces and hyphens, full-width and lower-case letters made plain."""
    plain = "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in code)
    return plain.translate({ord(c): None for c in " -\u3000\t"}).upper()


def problem_of(code: str) -> str | None:
    """Why a code is not a valid credit code, as a stable word; None when it is valid.

    ``length``, ``character``, ``district`` (positions 3-8 are not digits) or ``check``. The organisation code's own
    check character is not looked at: codes issued to sole traders and old registrations do not always honour it.

    >>> problem_of("91350100M000100Y43"), problem_of("91350100M000100Y44")
    (None, 'check')
    """
    if len(code) != 18:
        return "length"
    if any(c not in _VALUES for c in code):
        return "character"
    if not (code[2:8].isascii() and code[2:8].isdigit()):
        return "district"
    return None if check_character(code[:17]) == code[17] else "check"


def is_valid(code: str) -> bool:
    """Whether length, characters and check character are right."""
    return problem_of(code) is None


def district_of(code: str) -> str:
    """The six digits of the registering authority's district."""
    return code[2:8]
