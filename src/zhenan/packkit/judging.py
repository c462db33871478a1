"""The bridge to the judge's own rule models: a pack's ``rule:`` is one of them without its id and level."""

from __future__ import annotations

from typing import Any

from zhenan.telemetry.judge.rulefile import RulesFault, rules_from
from zhenan.telemetry.judge.rules import Rule

_RESERVED = ("id", "level", "points")


def problems_of_rule(rule: dict[str, Any]) -> list[str]:
    """What the judge would refuse in a pack's ``rule:`` object; [] when it compiles."""
    found = [f"{key}: belongs to the alarm, not inside rule" for key in _RESERVED if key in rule]
    inner = {key: value for key, value in rule.items() if key not in _RESERVED}
    try:
        rules_from({"rules": [{"id": "rule", "level": 4, **inner}]})
    except RulesFault as err:
        found += [fault.removeprefix("rules: ").removeprefix("rules.rule.") for fault in err.faults]
    return found


def compiled(rules: list[dict[str, Any]]) -> tuple[Rule, ...]:
    """The judge's models of rules written as in its rules file (id and level included). Raises RulesFault."""
    return rules_from({"rules": rules})
