"""Import of the company register: each row judged by its credit code, its district against its address, its name.

The unified social credit code identifies an enterprise; its characters 3 to 8 are the registering authority's district,
an answer to "which district" that does not depend on the address text. Where the two disagree the row is taken with a
warning that states both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from zhenan.domains.register import attributes as typed
from zhenan.domains.register import capital
from zhenan.domains.register.importing import SubjectSpec, Wanted
from zhenan.domains.register.models import Subject
from zhenan.domains.register.names import NameIndex
from zhenan.domains.register.places import Found, PlaceIndex, stem_of
from zhenan.kernel.imports import parse
from zhenan.kernel.imports.specs import Context, ImportColumn, Row
from zhenan.kernel.territory.models import Division
from zhenan.packkit.schema import SubjectType
from zhenan.rules import credit_code

TYPE = "core_register.enterprise"
ABOVE_THE_CITY = ("100000", "000000", "320000")  # registered with the state or the province: the code names no district


class EnterpriseSpec(SubjectSpec):
    """The export of the market regulator's register."""

    source = "company_register"

    def __init__(self, kind: SubjectType) -> None:
        super().__init__(kind)
        self.code = "enterprise"
        self.label = gettext_lazy("Enterprises (company register)")
        self.columns = COLUMNS

    def key_of(self, values: Mapping[str, Any]) -> str:
        return str(values.get("uscc") or "")

    def begin(self, context: Context) -> None:
        super().begin(context)
        places: PlaceIndex = context.memory["places"]
        city = places.city.name if places.city else ""
        within = {name for row in (*places.counties, *places.towns) for name in (row.name, stem_of(row.name))}
        names = NameIndex({city, city[:-1], "江苏省", "江苏"} - {""}, {name for name in within if len(name) > 1})
        called: dict[str, str] = {}
        for key, name in Subject.objects.of_type(TYPE).values_list("key", "name").iterator(chunk_size=5000):
            names.add(key, name)
            called[key] = name
        context.memory["names"], context.memory["called"] = names, called

    def wanted(self, row: Row, context: Context) -> Wanted:
        given = row.values
        code = str(given["uscc"])
        asked = Wanted(code, {"name": given["name"], "credit_code": code}, {"unified_code": code})
        asked.values["authority"] = credit_code.district_of(code)
        if given.get("address"):
            asked.fields["address"] = given["address"]
        for name in ("registered_on", "legal_form", "scope"):
            if given.get(name):
                asked.values[name] = given[name]
        money: capital.Capital | None = given.get("capital")
        if money is not None:
            asked.values |= {"capital": money.amount, "capital_currency": money.currency}
            if money.assumed:
                asked.warnings.append(_("capital: no currency is written, taken as yuan"))
        self._place(asked, str(given.get("address") or ""), context.memory["places"])
        self._compare_names(asked, context)
        return asked

    def _place(self, asked: Wanted, address: str, places: PlaceIndex) -> None:
        asked.division, warning, fault = place_of(asked.values["authority"], address, places)
        if warning:
            asked.warnings.append(warning)
        if fault:
            asked.faults.append(fault)

    def _compare_names(self, asked: Wanted, context: Context) -> None:
        """Propose to merge with an enterprise of nearly the same name and another code."""
        names: NameIndex = context.memory["names"]
        called: dict[str, str] = context.memory["called"]
        name = str(asked.fields["name"])
        other = names.nearest(name, but=asked.key)
        if other is not None:
            text = _("nearly the name of “%(name)s” (%(code)s): one enterprise with two codes? Compare them and merge.")
            asked.warnings.append(text % {"name": called[str(other)], "code": other})
        names.add(asked.key, name)
        called[asked.key] = name

    def row_of(self, subject: Subject) -> dict[str, Any]:
        found = subject.attributes
        return {
            "name": subject.name,
            "uscc": subject.credit_code,
            "address": subject.address,
            "registered_on": found.get("registered_on"),
            "legal_form": found.get("legal_form"),
            "capital": capital.written(found.get("capital"), found.get("capital_currency")),
            "scope": found.get("scope"),
        }


def _credit(cell: str) -> str:
    return typed.unified_code(cell) or ""


def _iso_day(cell: str) -> str | None:
    found = parse.day(cell)
    return found.isoformat() if found else None


COLUMNS = [
    ImportColumn(
        "name",
        gettext_lazy("name"),
        ("企业名称", "名称", "单位名称", "字号名称", "name"),
        required=True,
        filled=True,
        parse=parse.text(200),
        example="镇江某某机械有限公司",
    ),
    ImportColumn(
        "uscc",
        gettext_lazy("unified social credit code"),
        ("统一社会信用代码", "社会信用代码", "信用代码", "uscc", "credit_code", "unified_code"),
        required=True,
        filled=True,
        parse=_credit,
        help=gettext_lazy("18 characters; the check character is verified"),
    ),
    ImportColumn(
        "registered_on",
        gettext_lazy("registered on"),
        ("成立日期", "注册日期", "登记日期", "reg_date", "registered_on"),
        parse=_iso_day,
    ),
    ImportColumn(
        "legal_form", gettext_lazy("legal form"), ("企业类型", "类型", "type", "legal_form"), parse=parse.text(200)
    ),
    ImportColumn(
        "capital",
        gettext_lazy("registered capital"),
        ("注册资本", "注册资金", "capital"),
        parse=capital.parse,
        help=gettext_lazy("with its unit, such as 500万元人民币"),
    ),
    ImportColumn("scope", gettext_lazy("scope of business"), ("经营范围", "scope"), parse=parse.text(typed.TEXT_LIMIT)),
    ImportColumn(
        "address",
        gettext_lazy("address"),
        ("地址", "住所", "注册地址", "企业地址", "经营场所", "address"),
        parse=parse.text(300),
    ),
    ImportColumn("province", gettext_lazy("province"), ("省份", "省", "所属省份", "province"), parse=parse.text(50)),
    ImportColumn("city", gettext_lazy("city"), ("城市", "市", "所属城市", "city"), parse=parse.text(50)),
]


def place_of(authority: str, address: str, places: PlaceIndex) -> tuple[Division | None, str, str]:
    """(division, warning, fault) for a registering authority's six digits and an address.

    The division is the town that the address names, if it lies in the authority's county; else the authority's
    county. An authority of the city (321100) or above names no county: then the address alone decides.
    """
    county = places.by_register(authority)
    if county is None:
        return _from_address_alone(authority, places.in_address(address), address, places)
    if county.level != Division.Level.COUNTY:
        found = places.in_address(address)
        return found.town or found.county or county, "", ""
    found = places.in_address(address, within=county)
    if found.town is not None and places.is_lawfully_in(found.town, county):
        same = found.county is None or found.county == county or places.is_lawfully_in(found.town, found.county)
        return found.town, "" if same else _conflict(authority, county, found, address), ""
    if found.county is not None and found.county != county and not _overlap(county, found, places):
        return county, _conflict(authority, county, found, address), ""
    return county, "", ""


def _overlap(county: Division, found: Found, places: PlaceIndex) -> bool:
    """A statistical unit and the lawful county that its towns lie in are no contradiction."""
    if found.county is None:
        return True
    pairs = {(county.pk, found.county.pk), (found.county.pk, county.pk)}
    return any(
        (town.parent_id, lawful.pk) in pairs
        for town in places.towns
        if (lawful := places.by_code.get(town.legal_parent_code)) is not None
    )


def _conflict(authority: str, county: Division, found: Found, address: str) -> str:
    named = found.county.name if found.county else ""
    if found.town is not None:
        named += found.town.name
    text = _(
        "registered in %(county)s (%(code)s), but the address names %(named)s: “%(address)s”. Placed in %(county)s."
    )
    return text % {"county": county.name, "code": authority, "named": named, "address": address[:60]}


def _from_address_alone(
    authority: str, found: Found, address: str, places: PlaceIndex
) -> tuple[Division | None, str, str]:
    """An authority that is none of this city's: of the province or the state, or of another city."""
    place = found.town or found.county
    if authority in ABOVE_THE_CITY:
        if place is not None or places.city is None:
            return place, "", ""
        return places.city, _("the address names no district; placed in %(city)s") % {"city": places.city.name}, ""
    if place is not None:
        text = _("registered outside the city (%(code)s), but the address lies in %(named)s; placed there")
        return place, text % {"code": authority, "named": place.name}, ""
    text = _("registered outside the city (%(code)s), and the address names no place of it: “%(address)s”")
    return None, "", text % {"code": authority, "address": address[:60]}
