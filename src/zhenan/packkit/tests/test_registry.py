"""Look-ups over packs, without a database."""

import pytest

from zhenan.packkit.loader import load_all
from zhenan.packkit.registry import DEFAULT_DIR, UnknownCode, from_packs, registry


@pytest.fixture(scope="module")
def packs():
    return from_packs(load_all([DEFAULT_DIR]))


def test_it_works_from_files_alone_where_no_database_may_be_asked():
    assert registry().subject_type("catering_gas.caterer").name.en == "Caterer on gas"


def test_an_unknown_code_says_what_was_sought(packs):
    with pytest.raises(UnknownCode, match=r"no alarm rule 'catering_gas\.nothing' in any pack"):
        packs.alarm_rule("catering_gas.nothing")
    with pytest.raises(UnknownCode):
        packs.check_item("catering_gas.site_safety", "nothing")


def test_rules_for_a_point_are_those_of_its_model_and_measure(packs):
    assert {r.code for r in packs.rules_for("catering_gas.gas_detector", "gas_lel")} == {
        "catering_gas.gas_prealarm",
        "catering_gas.gas_alarm",
        "catering_gas.gas_high",
        "catering_gas.detector_offline",
        "catering_gas.detector_stuck",
    }
    assert {r.code for r in packs.rules_for("smart_fire.call_point", "fire_status")} == {
        "smart_fire.heat_or_button_fire"
    }
    assert packs.rules_for("catering_gas.gas_detector", "water_level") == []


def test_checklists_and_duties_of_a_subject_type(packs):
    assert len(packs.checklists(subject_type="smart_fire.site")) == 3
    assert [d.code for d in packs.duties(subject_type="catering_gas.caterer")] == ["catering_gas.caterer_contracts"]
    assert packs.duties(subject_type="catering_gas.nothing") == []


@pytest.mark.parametrize(
    ("code", "kind", "zh", "en"),
    [
        ("catering_gas", None, "餐饮场所燃气安全", "Gas safety in catering"),
        ("catering_gas.gas_alarm", None, "燃气泄漏报警", "Gas leak alarm"),
        ("gas_lel", None, "可燃气体浓度", "combustible gas"),
        ("service_centre", "organisation", "智慧消防服务中心", "Smart-fire service centre"),
        ("drill", "alarm_causes", "演练", "drill"),
        ("nothing.here", None, "nothing.here", "nothing.here"),
    ],
)
def test_labels_in_both_languages(packs, code, kind, zh, en):
    assert packs.label(code, "zh-hans", kind=kind) == zh
    assert packs.label(code, "en", kind=kind) == en


def test_the_published_figures_have_their_indicators(packs):
    assert {i.figure for i in packs.indicators()} >= {"F22", "F23", "F24", "F25", "F26"}
