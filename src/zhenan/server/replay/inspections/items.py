"""Which item of the checklist a violation's words mean: the county's form changed its wording once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from zhenan.packkit.schema import Checklist

OTHER = "other"
LIKE = 0.8  # similarity above which two wordings mean the same item
FEW = 4  # so many words, all of them among an item's, mean that item in another order
_NUMBER = re.compile(r"^(\d{1,2}[a-z]?)\.\s*")


def plain(text: str) -> str:
    """Letters and digits alone, "&" read as "and".

    >>> plain("06. Adequate hand washing facilities:  supplied & accessible")
    'adequatehandwashingfacilitiessuppliedandaccessible'
    """
    return re.sub(r"[^a-z0-9]", "", _NUMBER.sub("", text.strip()).casefold().replace("&", "and"))


def tokens(text: str) -> frozenset[str]:
    """The words of a wording, in no order."""
    return frozenset(re.findall(r"[a-z0-9]+", _NUMBER.sub("", text.strip()).casefold()))


class Items:
    """The items of the form, looked up by words. Codes of the items: i01a … i49, and ``other``."""

    def __init__(self, form: Checklist) -> None:
        self.form = form
        self.plain = {item.code: plain(item.text.en) for item in form.items if item.code != OTHER}
        self.words = {item.code: tokens(item.text.en) for item in form.items if item.code != OTHER}
        self.code_of = lru_cache(maxsize=10_000)(self._code_of)

    def _code_of(self, words: str) -> str:
        """The item's code; ``other`` when no item is like it."""
        text, number = plain(words), _NUMBER.match(words)
        numbered = f"i{number[1]}" if number else ""
        scored = [(likeness(text, known), code == numbered, code) for code, known in self.plain.items()]
        best = max(scored, default=(0.0, False, OTHER))
        if best[0] >= LIKE:
            return best[2]
        mine = tokens(words)
        same = [code for code, known in self.words.items() if len(mine) >= FEW and mine <= known]
        if len(same) == 1:
            return same[0]
        return numbered if numbered in self.plain else OTHER

    def criterion_of(self, words: str) -> str:
        """What makes two hazards the same: the item, or outside the form the words themselves."""
        code = self.code_of(words)
        return f"{self.form.code}/{code}" if code != OTHER else f"{self.form.code}/{OTHER}:{plain(words)[:60]}"


def likeness(text: str, known: str) -> float:
    """0-1. The older form's words were cut at 50 characters, so the longer of the two is cut to the shorter.

    >>> likeness("adequatehandwashingfac", "adequatehandwashingfacilitiessuppliedandaccessible")
    1.0
    """
    length = min(len(text), len(known))
    if length < 10 and text != known:
        return 0.0
    return SequenceMatcher(None, text[:length], known[:length], autojunk=False).ratio()


def unmatched(items: Items, words: Sequence[str]) -> list[str]:
    """The wordings that fit no item."""
    return [one for one in words if items.code_of(one) == OTHER]
