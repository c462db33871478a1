"""The nearest right word, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MAX_SHOWN = 12


def hint(came: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or a short list of what is known, or nothing when nothing is."""
    words = sorted(set(known))
    near = get_close_matches(came, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    if not words:
        return "; none is declared"
    return f"; want one of {', '.join(words[:MAX_SHOWN])}{' …' if len(words) > MAX_SHOWN else ''}"


def shown(value: object, limit: int = 60) -> str:
    """A value as it came, shortened."""
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"
