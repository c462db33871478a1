"""Answers to hazards, scores, and typed attributes."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhenan.packkit.attributes import BadAttribute, problems_of_attributes, read_attribute
from zhenan.packkit.checks import BadAnswer, hazards_from, problems_of_answers, score_ratio
from zhenan.packkit.loader import load_pack
from zhenan.packkit.registry import DEFAULT_DIR
from zhenan.packkit.schema import SubjectField

GAS = load_pack(DEFAULT_DIR / "catering_gas")
SITE = next(c for c in GAS.checklists if c.code == "catering_gas.site_safety")
CATERER = GAS.subject_types[0]


def test_a_failed_item_becomes_a_hazard_with_severity_and_basis():
    (hazard,) = hazards_from(SITE, {"detector_fitted": "fail", "hose": "pass"})
    assert (hazard.item, hazard.severity, hazard.basis.source, hazard.basis.article) == (
        "detector_fitted",
        "major",
        "wsl",
        "第三十六条第四款",
    )


def test_wrong_answers_are_all_named():
    with pytest.raises(BadAnswer) as caught:
        hazards_from(SITE, {"detector_fited": "fail", "detector_fitted": "na", "hose": "maybe"})
    assert len(caught.value.faults) == 3
    assert "did you mean 'detector_fitted'?" in caught.value.faults[0]


def test_a_complete_inspection_answers_every_item():
    assert len(problems_of_answers(SITE, {}, complete=True)) == len(SITE.items)
    assert problems_of_answers(SITE, {i.code: "pass" for i in SITE.items}, complete=True) == []


def test_the_score_weighs_only_what_was_judged():
    # detector_fitted weighs 3, hose 2, cylinder_place is not applicable
    assert score_ratio(SITE, {"detector_fitted": "pass", "hose": "fail", "cylinder_place": "na"}) == pytest.approx(
        3 / 5
    )
    assert score_ratio(SITE, {"cylinder_place": "na"}) is None


@given(st.dictionaries(st.sampled_from([i.code for i in SITE.items]), st.sampled_from(["pass", "fail"])))
def test_there_are_as_many_hazards_as_failed_items(answers):
    assert [h.item for h in hazards_from(SITE, answers)] == [
        i.code for i in SITE.items if answers.get(i.code) == "fail"
    ]


@pytest.mark.parametrize(
    ("code", "came", "stored"),
    [
        ("gas_kind", "管道天然气", "natural"),
        ("gas_kind", "Bottled LPG", "lpg_bottled"),
        ("gas_kind", "lpg_piped", "lpg_piped"),
        ("floor_area_m2", " 1,234.5 ", 1234.5),
        ("seats", "40", 40),
        ("seats", 40.0, 40),
        ("basement", "是", True),
        ("basement", "No", False),
        ("gas_checked_on", "2022年9月5日", "2022-09-05"),
        ("gas_checked_on", "2022/9/5", "2022-09-05"),
        ("gas_checked_on", date(2022, 9, 5), "2022-09-05"),
        ("duty_phone", "0511-84412345", "0511-84412345"),
        ("gas_company", "  ", None),
    ],
)
def test_a_value_as_people_write_it_gets_its_stored_form(code, came, stored):
    assert read_attribute(CATERER.field(code), came) == stored


@pytest.mark.parametrize(
    ("code", "came", "said"),
    [
        ("gas_kind", "coal", "not one of the choices"),
        ("floor_area_m2", "-1", "out of range; want at least 0"),
        ("floor_area_m2", "nan", "is not a number"),
        ("floor_area_m2", "1e999", "is not a number"),
        ("seats", "4.5", "not a whole number"),
        ("seats", True, "is not a number"),
        ("basement", "perhaps", "neither yes nor no"),
        ("gas_checked_on", "2022-02-30", "is not a date"),
        ("gas_checked_on", "5.9.22", "is not a date"),
        ("duty_phone", "call me", "not a telephone number"),
        ("gas_company", "x" * 2001, "2000 are allowed"),
    ],
)
def test_a_value_that_does_not_fit_says_why(code, came, said):
    with pytest.raises(BadAttribute, match=said):
        read_attribute(CATERER.field(code), came)


def test_a_credit_code_is_made_plain_and_checked():
    field = SubjectField.model_validate({"code": "uscc", "name": {"zh": "代码", "en": "Code"}, "type": "credit_code"})
    assert read_attribute(field, "91321100ma1abcde8h") == "91321100MA1ABCDE8H"
    with pytest.raises(BadAttribute, match="check"):
        read_attribute(field, "91321100MA1ABCDE8J")


def test_stored_attributes_are_checked_as_a_whole():
    found = problems_of_attributes(CATERER, {"gas_knd": "natural", "seats": "40"})
    assert found[0].startswith("no field 'gas_knd'; did you mean 'gas_kind'?")
    assert found[1:] == ["gas_kind: is required", "seats: '40' is not in its stored form"]
