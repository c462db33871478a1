"""Every pack that is found meets the contract: schema, scenarios, coverage, simulation, quality ladder."""

import pytest

from zhenan.packkit.contract import faults_of_quality, faults_of_simulation
from zhenan.packkit.judging import compiled
from zhenan.packkit.loader import discover, load_all, problems_in
from zhenan.packkit.registry import DEFAULT_DIR, from_packs
from zhenan.packkit.scenarios import faults_of_scenarios, run
from zhenan.packkit.vocabulary import vocabulary

FOLDERS = discover([DEFAULT_DIR])
PACKS = {p.code: p for p in load_all([DEFAULT_DIR])} if not any(problems_in(f) for f in FOLDERS) else {}
SCENARIOS = [(code, s) for code, pack in PACKS.items() for s in pack.scenarios]


def others(code):
    return {c: p for c, p in PACKS.items() if c != code}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_the_files_are_sound(folder):
    assert problems_in(folder) == []


@pytest.mark.parametrize(("code", "scenario"), SCENARIOS, ids=[f"{c}.{s.code}" for c, s in SCENARIOS])
def test_the_scenario_holds(code, scenario):
    outcome = run(scenario, from_packs(PACKS.values()))
    assert list(outcome.faults) == []


@pytest.mark.parametrize("code", PACKS)
def test_every_rule_is_raised_and_cleared_and_every_checklist_fails_in_some_scenario(code):
    assert faults_of_scenarios(PACKS[code], others(code)) == []


@pytest.mark.parametrize("code", PACKS)
def test_every_rule_compiles_in_the_judge(code):
    written = [rule for rule in PACKS[code].alarm_rules if not rule.is_composite]
    rules = compiled([rule.judge_rule() for rule in written])
    assert [rule.id for rule in rules] == [rule.code for rule in written]


@pytest.mark.parametrize("code", PACKS)
def test_every_check_item_cites_a_source_and_an_article(code):
    pack = PACKS[code]
    for checklist in pack.checklists:
        for item in checklist.items:
            assert item.basis.source in pack.info.sources
            assert item.basis.article.strip()


@pytest.mark.parametrize("code", PACKS)
def test_the_simulation_is_repeatable_and_sound(code):
    assert faults_of_simulation(PACKS[code], others(code)) == []


@pytest.mark.parametrize("code", PACKS)
def test_the_pack_says_where_it_stands_on_every_rung(code):
    assert set(PACKS[code].quality.rungs) == set(vocabulary().quality_rungs)
    assert faults_of_quality(PACKS[code]) == []


@pytest.mark.parametrize("code", PACKS)
def test_chinese_names_are_chinese_and_english_names_are_not(code):
    def names(value):
        if isinstance(value, dict):
            if set(value) >= {"zh", "en"}:
                yield value["zh"], value["en"]
            for inner in value.values():
                yield from names(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from names(inner)

    pack = PACKS[code]
    said = [pack.info.model_dump(), *(one.model_dump() for _, _, one in pack.objects())]
    for zh, en in names(said):
        assert any("\u4e00" <= c <= "\u9fff" for c in zh), zh
        assert not any("\u4e00" <= c <= "\u9fff" for c in en), en
