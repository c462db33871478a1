"""Invented people, addresses and codes for demo data. Nothing here names a real person, company or telephone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zhenan.packkit.simulate import Contact, Town
from zhenan.rules.credit_code import ALPHABET, complete

SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰涛明超秀霞平刚桂英华玉兰建国志文海燕晓东红梅春雷鹏飞宇轩梓涵欣怡俊峰"
ROADS = [
    "解放路",
    "中山路",
    "长江路",
    "学府路",
    "健康路",
    "人民路",
    "建设路",
    "新河路",
    "东门大街",
    "西环路",
    "南苑路",
    "北固路",
    "桃园路",
    "丁卯桥路",
    "谷阳路",
    "振兴路",
]
AREAS = ["花园", "新村", "广场", "工业园", "市场", "商业街", "小区"]


def person(rng: np.random.Generator) -> str:
    """A Chinese name of two or three characters."""
    given = "".join(GIVEN[int(i)] for i in rng.integers(0, len(GIVEN), 1 + int(rng.random() < 0.75)))
    return SURNAMES[int(rng.integers(0, len(SURNAMES)))] + given


def phone(rng: np.random.Generator) -> str:
    """Eleven digits of a mobile number's form, all with the invented prefix 1990000."""
    return f"1990000{int(rng.integers(0, 10_000)):04d}"


def contact(rng: np.random.Generator, post: str = "负责人") -> Contact:
    return Contact(person(rng), phone(rng), post)


def address(rng: np.random.Generator, town: Town) -> str:
    """District, town, road and number."""
    road = ROADS[int(rng.integers(0, len(ROADS)))]
    return f"镇江市{town.district}{town.name}{road}{int(rng.integers(1, 400))}号"


def credit_code(series: str, number: int, town: Town, *, sole_trader: bool = False) -> str:
    """A valid invented credit code, a different one for each (series, number); series is one letter."""
    tail, rest = "", number
    for _ in range(5):
        rest, digit = divmod(rest, len(ALPHABET))
        tail = ALPHABET[digit] + tail
    if rest:
        raise ValueError(f"number {number} does not fit in five characters")
    return complete("92" if sole_trader else "91", town.code[:6], f"MA{series}{tail}")


def shares(total: int, weights: Sequence[float], *, least: int = 0) -> list[int]:
    """Whole numbers that add up to ``total``, in proportion to the weights, each at least ``least``.

    Raises ValueError when total is less than ``least`` for each.
    """
    spare = total - least * len(weights)
    if spare < 0:
        raise ValueError(f"{total} cannot give {least} to each of {len(weights)}")
    exact = np.asarray(weights, dtype=np.float64)
    exact = exact / exact.sum() * spare
    whole = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: spare - int(whole.sum())]] += 1
    return [least + int(n) for n in whole]


def town_weights(towns: Sequence[Town]) -> list[float]:
    """How people and business lie over towns: a street (街道) weighs three times a rural town."""
    return [town.weight * (3.0 if town.name.endswith("街道") else 1.0) for town in towns]


def pick(rng: np.random.Generator, choices: Sequence[str], chances: Sequence[float]) -> str:
    """One of the choices, by its chance (chances add up to 1)."""
    place = int(np.searchsorted(np.cumsum(chances), rng.random(), side="right"))
    return choices[min(place, len(choices) - 1)]
