"""A pack's rules may have windows, be made of one another, and stand in families; the checker names every fault."""

import pytest

from zhenan.packkit.loader import load_all, problems_in
from zhenan.packkit.scenarios import faults_of_scenarios

ALARMS = """
  - id: night_warm
    measure: temperature
    rule: {kind: threshold, above: -10, clear: -12, active: [{from: 22:00, to: 06:00, holidays: exclude}]}
    level: 3
    name: {zh: 夜间升温, en: Warm at night}
    explain: {zh: 夜间库温升高。, en: The store is warm at night.}
    tell: [enterprise_safety]
    respond_s: 1800
    family: warm
    covers_children: false
    source: local
  - id: warm_and_offline
    measure: temperature
    rule: {kind: all_of, rules: [too_warm, offline], within_s: 7200}
    level: 2
    name: {zh: 升温且离线, en: Warm and offline}
    explain: {zh: 升温后离线。, en: It grew warm and fell silent.}
    tell: [enterprise_safety]
    respond_s: 600
    source: local
"""
SCENARIOS = """scenarios:
  - code: nights_of_working_days
    name: {zh: 工作日夜间, en: Nights of working days}
    model: cold_stores.thermometer
    measure: temperature
    start: "2026-03-02T21:50"
    holidays: [2026-03-03]
    readings: "0:-9 600:-9 1200:-13 87000:-9"
    alarms:
      - {rule: cold_stores.night_warm, kind: raise, at_s: 600, onset_s: 600}
      - {rule: cold_stores.night_warm, kind: clear, at_s: 1200}
      - {rule: cold_stores.offline, kind: raise, at_s: 3000}
      - {rule: cold_stores.offline, kind: clear, at_s: 87000}
  - code: two_stores_of_one_site
    name: {zh: 一处两库, en: Two stores of one site}
    model: cold_stores.thermometer
    measure: temperature
    readings: "0:1 300:1 600:1 1200:1 1800:1 2400:1 3000:1 3600:1 4200:-6 4260:-6"
    others: [{model: cold_stores.thermometer, measure: temperature, readings: "0:-20 3000:-20 4260:-20"}]
    alarms:
      - {rule: cold_stores.too_warm, kind: raise, at_s: 600, onset_s: 0}
      - {rule: cold_stores.offline, kind: raise, at_s: 1800}
      - {rule: cold_stores.warm_and_offline, kind: raise, at_s: 1800, onset_s: 1800}
      - {rule: cold_stores.offline, kind: clear, at_s: 3000}
      - {rule: cold_stores.too_warm, kind: clear, at_s: 4260}
      - {rule: cold_stores.warm_and_offline, kind: clear, at_s: 4260}
"""


@pytest.fixture
def richer(pack):
    with (pack / "alarms.yaml").open("a", encoding="utf-8") as file:
        file.write(ALARMS)
    (pack / "scenarios/windows.yaml").write_text(SCENARIOS, "utf-8")
    return pack


def test_windows_and_composites_hold_in_scenarios(richer):
    assert problems_in(richer) == []
    (loaded,) = [pack for pack in load_all([richer.parent]) if pack.code == "cold_stores"]
    assert faults_of_scenarios(loaded) == []
    rules = {rule.code: rule for rule in loaded.alarm_rules}
    assert rules["cold_stores.night_warm"].family == "warm"
    assert rules["cold_stores.warm_and_offline"].is_composite


@pytest.mark.parametrize(
    ("file", "old", "new", "fault"),
    [
        ("alarms.yaml", "to: 06:00", "to: 22:00", "the window from 22:00 to 22:00 is empty"),
        ("alarms.yaml", "to: 06:00", "to: 6 am", "Input should be a time of day"),
        ("alarms.yaml", "{from: 22:00", "{days: [monday], from: 22:00", "Input should be 'mon'"),
        ("alarms.yaml", "rules: [too_warm, offline]", "rules: [too_warm, offlin]", "no rule 'offlin' of readings"),
        ("alarms.yaml", "rules: [too_warm, offline]", "rules: [too_warm]", "at least 2 items"),
        ("alarms.yaml", "kind: all_of", "kind: n_of", "of 2 rules n should be 2 to 2; got nothing"),
        ("scenarios/windows.yaml", "2026-03-02T21:50", "tonight", "'tonight' is no local time"),
        ("scenarios/windows.yaml", "2026-03-02T21:50", "2026-03-02T21:50+08:00", "write it without a zone"),
    ],
)
def test_the_checker_names_the_fault(richer, spoil, file, old, new, fault):
    spoil(file, old, new)
    found = problems_in(richer)
    assert any(fault in line for line in found), found
