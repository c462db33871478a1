"""Names of enterprises: the first letters of their pinyin for searching, and near-duplicates for merge proposals."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

SAME = 0.8  # share of common letter pairs from which two names are proposed as one
ENDINGS = re.compile(
    r"(股份有限公司|有限责任公司|有限公司|有限合伙|普通合伙|总公司|公司|集团|个体工商户|合作社|经营部|商行|中心|厂|店)"
)
# Branches of one company are different places with nearly one name.
BRANCH = re.compile(
    r"(分|支)(公司|行|局|社|所|店|部)|(营业|门市|经营|经理|服务)(部|厅|所|社)|加油(站|点)|收购站|分理处|储蓄所"
)


@lru_cache(maxsize=50_000)
def _first_letter(character: str) -> str:
    if character.isascii():
        return character.lower() if character.isalnum() else ""
    from pypinyin.constants import PINYIN_DICT  # a large table, loaded when a name is first written

    reading = PINYIN_DICT.get(ord(character), "").split(",")[0]
    plain = unicodedata.normalize("NFD", reading)[:1]
    return plain.lower() if plain.isalpha() else ""


def initials(name: str) -> str:
    """First letters of the pinyin, character by character, most common reading; letters and digits as they are.

    >>> initials("丹阳市A1化工厂")
    'dysa1hgc'
    """
    return "".join(_first_letter(c) for c in unicodedata.normalize("NFKC", name))[:200]


def core(name: str, places: tuple[str, ...] = ()) -> str:
    """The part of a name that tells enterprises apart: without places, legal form, brackets and blanks.

    >>> core("丹阳市鑫洰材料贸易有限公司", ("丹阳市", "丹阳"))
    '鑫洰材料贸易'
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    text = re.sub(r"[\s()\[\]【】《》·,.、\-]", "", text)
    for place in places:  # the longer ones first
        text = text.replace(place, "")
    return ENDINGS.sub("", text)


def pairs(text: str) -> frozenset[str]:
    """Letter pairs, with the ends marked."""
    padded = f"^{text}$"
    return frozenset(padded[i : i + 2] for i in range(len(padded) - 1))


@dataclass(frozen=True)
class Known:
    """A name, taken apart. ``places``: the divisions that it names; ``figures``: its numbers."""

    text: str
    pairs: frozenset[str]
    places: frozenset[str]
    figures: tuple[str, ...]
    branch: bool

    def may_be(self, other: Known) -> bool:
        """Names of different places or numbers, and different branches, are different enterprises."""
        if self.figures != other.figures or not (self.places <= other.places or other.places <= self.places):
            return False
        if self.branch or other.branch:
            return (self.text, self.places) == (other.text, other.places)
        return True


class NameIndex:
    """Names by what tells them apart; finds the nearest one that is nearly the same.

    Measure: common letter pairs / pairs of the name with more of them. A match must share one of the rarest pairs of
    the name, so only few candidates are compared.

    Args:
        common: names of the province and the city: they tell nothing.
        places: names of counties and towns: two names with different ones are of different enterprises.
    """

    def __init__(self, common: Iterable[str] = (), places: Iterable[str] = (), same: float = SAME) -> None:
        self.same = same
        self._places = sorted(set(places), key=len, reverse=True)
        self._stripped = tuple(sorted({*common, *self._places}, key=len, reverse=True))
        self._names: dict[str, Known] = {}
        self._by_pair: dict[str, list[str]] = defaultdict(list)

    def _known(self, name: str) -> Known:
        text = core(name, self._stripped)
        named = frozenset(place[:2] for place in self._places if place in name)
        figures = tuple(re.findall(r"[0-9一二三四五六七八九十壹贰叁肆伍陆柒捌玖拾]+", text))
        return Known(text, pairs(text), named, figures, BRANCH.search(name) is not None)

    def add(self, key: str, name: str) -> None:
        """``key``: what ``nearest`` gives back. A key added before is renamed."""
        known = self._known(name)
        if self._names.get(key) == known:
            return
        self._names[key] = known
        for pair in known.pairs:
            self._by_pair[pair].append(key)

    def nearest(self, name: str, *, but: str) -> str | None:
        """The key of the most similar other name, if similar enough."""
        mine = self._known(name)
        if len(mine.text) < 3:
            return None  # too short to tell anything
        rare = sorted(mine.pairs, key=lambda pair: len(self._by_pair.get(pair, ())))
        looked_at = rare[: len(mine.pairs) - math.ceil(self.same * len(mine.pairs)) + 1]
        best, nearest = 0.0, None
        for key in {key for pair in looked_at for key in self._by_pair.get(pair, ())} - {but}:
            other = self._names[key]
            score = len(mine.pairs & other.pairs) / max(len(mine.pairs), len(other.pairs))
            if score >= self.same and (score, key) > (best, nearest or "") and mine.may_be(other):
                best, nearest = score, key
        return nearest
