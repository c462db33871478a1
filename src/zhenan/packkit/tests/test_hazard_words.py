"""What a hazard says that comes of a pack's words."""

from zhenan.packkit import hazard_words
from zhenan.packkit.registry import registry


def test_a_failed_item_says_what_is_not_so_and_under_which_law():
    words = hazard_words.of_failed_item("catering_gas.site_safety", "detector_fitted")
    item = registry().check_item("catering_gas.site_safety", "detector_fitted")
    assert words["title"] == f"不符合：{item.text.zh}"
    assert words["criterion_code"] == "catering_gas.site_safety/detector_fitted"
    assert words["legal_basis"].endswith(item.basis.article)
    assert words["legal_basis"] != item.basis.article


def test_no_hazard_of_any_checklist_cites_an_article_without_its_law():
    for checklist in registry().checklists():
        sources = registry().packs[checklist.code.partition(".")[0]].sources
        for item in checklist.items:
            words = hazard_words.of_failed_item(checklist.code, item.code)
            assert words["legal_basis"] == f"{sources[item.basis.source].title.zh} {item.basis.article}"


def test_an_alarm_reads_by_its_rule_and_a_rule_that_is_gone_by_its_code():
    rule = registry().alarm_rule("catering_gas.gas_alarm")
    words = hazard_words.of_alarm(rule.code)
    assert (words["title"], words["criterion_text"]) == (rule.name.zh, rule.explain.zh)
    assert words["legal_basis"]
    assert hazard_words.of_alarm("gone.rule")["title"] == "gone.rule"
