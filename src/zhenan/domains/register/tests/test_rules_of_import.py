"""Names, places and capital as the company register writes them."""

from __future__ import annotations

import pytest

from zhenan.domains.register import capital
from zhenan.domains.register.capital import Capital
from zhenan.domains.register.enterprise import place_of
from zhenan.domains.register.names import NameIndex, core, initials
from zhenan.domains.register.places import PlaceIndex
from zhenan.kernel.imports.parse import CellFault


@pytest.fixture
def places(city):
    return PlaceIndex()


@pytest.mark.parametrize(
    ("authority", "address", "division", "warned"),
    [
        ("321181", "丹阳市司徒镇工业园", "司徒镇", False),
        ("321181", "江苏省丹阳市吕城镇惠农路6号", "吕城镇", False),
        ("321181", "丹阳市云阳镇丹凤南路36号", "云阳街道", False),  # the town has become a street office
        ("321183", "句容市黄梅集镇", "黄梅街道", False),  # bare name behind the county's
        ("321181", "东方红桥南侧", "丹阳市", False),
        ("321182", "新坝镇油坊路1号", "新坝镇", False),
        ("321191", "镇江市丁卯桥路98号", "镇江新区", False),  # a road, not the town
        ("321191", "镇江新区丁岗镇", "丁岗镇", False),
        ("321102", "镇江市丁岗镇", "丁岗镇", False),  # lawfully in Jingkou, in the tree under the new area
        ("321192", "镇江高新区南徐大道", "润州区", False),
        ("321100", "镇江市解放路152号", "镇江市", False),
        ("321100", "句容市华阳镇建设路27号", "华阳街道", False),
        ("321111", "扬中市三茅街道民主路13号", "润州区", True),
        ("321111", "镇江市京口区宗泽路3号", "润州区", True),
        ("321181", "镇江市丹阳市场路1号", "丹阳市", False),
        ("320102", "丹阳市延陵镇", "延陵镇", True),  # registered in Nanjing
        ("320000", "某路1号", "镇江市", True),  # registered with the province
    ],
)
def test_a_district_follows_the_code_and_the_town_the_address(places, authority, address, division, warned):
    found, warning, fault = place_of(authority, address, places)
    assert found is not None
    assert (found.name, bool(warning), fault) == (division, warned, "")


def test_a_conflict_names_both_places(places):
    _found, warning, _fault = place_of("321111", "扬中市三茅街道民主路13号", places)
    assert "润州区 (321111)" in warning
    assert "扬中市三茅街道" in warning


def test_an_enterprise_of_another_city_without_a_place_here_has_no_division(places):
    found, _warning, fault = place_of("320102", "南京市中山路1号", places)
    assert found is None
    assert "320102" in fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("500(万元人民币)", Capital(5_000_000, "CNY")),
        ("97.6万人民币", Capital(976_000, "CNY")),
        ("1,000（万元）", Capital(10_000_000, "CNY")),
        ("7(万美元)", Capital(70_000, "USD")),
        ("3.5亿元人民币", Capital(350_000_000, "CNY")),
        ("100(万港元)", Capital(1_000_000, "HKD")),
        ("5000(万日元)", Capital(50_000_000, "JPY")),
        ("30(万)", Capital(300_000, "CNY", assumed=True)),
        ("20万人民币元", Capital(200_000, "CNY")),
    ],
)
def test_capital_keeps_its_currency(text, expected):
    assert capital.parse(text) == expected
    if expected is not None and not expected.assumed:
        assert capital.parse(capital.written(expected.amount, expected.currency)) == expected


@pytest.mark.parametrize("text", ["abc", "100万两白银", "-5万元", "万元"])
def test_capital_that_is_none_is_refused(text):
    with pytest.raises(CellFault):
        capital.parse(text)


def test_initials_are_the_first_letters_of_the_pinyin():
    assert initials("镇江恒顺醋业") == "zjhscy"


def test_the_core_of_a_name_is_what_tells_it_apart():
    assert core("镇江市（恒顺）醋业股份有限公司", ("镇江市", "镇江")) == "恒顺醋业"


@pytest.fixture
def names():
    index = NameIndex(["镇江市", "镇江", "江苏"], ["丹阳市", "丹阳", "句容市", "句容"])
    known = ("镇江市荣达精密工具有限公司", "中国银行股份有限公司丹阳支行", "镇江第一建筑工程公司", "丹阳保安服务公司")
    for key, name in enumerate(known, 1):
        index.add(str(key), name)
    return index


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("江苏荣达精密工具有限责任公司", "1"),  # another legal form
        ("镇江荣达精密工具厂", "1"),
        ("镇江荣发化工有限公司", None),
        ("中国银行股份有限公司句容支行", None),  # branches
        ("镇江第二建筑工程公司", None),  # numbers
        ("句容保安服务公司", None),  # places
        ("厂", None),
    ],
)
def test_nearly_the_same_name_is_proposed_and_a_branch_or_another_place_is_not(names, name, nearest):
    assert names.nearest(name, but="x") == nearest
