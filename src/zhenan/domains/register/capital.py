"""Registered capital as the company register writes it: 500(万元人民币), 117万人民币, 7(万美元), 1,000(万)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from zhenan.kernel.imports.parse import CellFault, folded

CURRENCIES = {
    "人民币": "CNY",
    "美元": "USD",
    "美金": "USD",
    "港元": "HKD",
    "港币": "HKD",
    "日元": "JPY",
    "欧元": "EUR",
    "英镑": "GBP",
    "新台币": "TWD",
    "台币": "TWD",
    "韩元": "KRW",
    "韩国元": "KRW",
    "新加坡元": "SGD",
    "新加坡币": "SGD",
    "澳大利亚元": "AUD",
    "澳元": "AUD",
    "加拿大元": "CAD",
    "加元": "CAD",
    "瑞士法郎": "CHF",
    "法郎": "CHF",
}
SCALES = {"亿": 100_000_000, "万": 10_000, "": 1}
WRITTEN = re.compile(r"([\d,]+(?:\.\d+)?)\s*\(?\s*(亿|万)?\s*(元)?\s*([^\d()]*?)\s*\)?")


@dataclass(frozen=True)
class Capital:
    """``amount`` in whole units of the currency; ``assumed``: no currency was written, it is taken as yuan."""

    amount: float
    currency: str
    assumed: bool = False


def parse(cell: str) -> Capital | None:
    """The capital; None for an empty cell. Raises CellFault when it is not understood.

    >>> parse("53.2254(万美元)")
    Capital(amount=532254.0, currency='USD', assumed=False)
    >>> parse("30(万)")
    Capital(amount=300000.0, currency='CNY', assumed=True)
    """
    plain = folded(cell).replace(" ", "")
    if not plain:
        return None
    found = WRITTEN.fullmatch(plain)
    if found is None:
        raise CellFault(_("“%(came)s” is not an amount of money") % {"came": cell[:40]})
    digits, scale, yuan, word = found.groups()
    word = word.removesuffix("元") if word not in CURRENCIES and word.endswith("币元") else word
    if word and word not in CURRENCIES and word != "元":
        raise CellFault(_("“%(came)s” names no currency that is known") % {"came": cell[:40]})
    amount = round(float(digits.replace(",", "")) * SCALES[scale or ""], 2)
    named = bool(yuan) or word == "元"
    return Capital(amount, CURRENCIES.get(word, "CNY"), assumed=not word and not named)


def written(amount: float | None, currency: str | None) -> str:
    """A capital as ``parse`` reads it back.

    >>> written(5_000_000.0, "CNY"), written(532254.0, "USD")
    ('500万元人民币', '53.2254万美元')
    """
    if amount is None:
        return ""
    names = {code: name for name, code in reversed(CURRENCIES.items())}
    name = names.get(currency or "CNY", "人民币")
    return f"{amount / 10_000:.6f}".rstrip("0").rstrip(".") + ("万元人民币" if name == "人民币" else f"万{name}")
