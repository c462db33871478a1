"""The bridge to the judge's own rule models: a pack's ``rule:`` is one of them without its id and level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.rulefile import RulesFault, rules_from
from zhenan.telemetry.judge.rules import Rule

_RESERVED = ("id", "level", "points")


def problems_of_rule(rule: dict[str, Any]) -> list[str]:
    """What the judge would refuse in a pack's ``rule:`` object; [] when it compiles."""
    found = [f"{key}: belongs to the alarm, not inside rule" for key in _RESERVED if key in rule]
    inner = {key: value for key, value in rule.items() if key not in _RESERVED}
    if is_composite(rule):
        try:
            Composite.model_validate({"id": "rule", "level": 4, **inner})
        except ValidationError as err:
            found += [f"{'.'.join(map(str, _place(dict(e))))}: {e['msg']}" for e in err.errors()]
        return found
    try:
        rules_from({"rules": [{"id": "rule", "level": 4, **inner}]})
    except RulesFault as err:
        found += [fault.removeprefix("rules: ").removeprefix("rules.rule.") for fault in err.faults]
    return found


def _place(error: dict[str, Any]) -> list[Any]:
    """The keys that lead to a fault; one that lies between two fields names its own."""
    key = error.get("ctx", {}).get("key")
    return [*error["loc"], *([key] if key else [])]


def is_composite(rule: Mapping[str, Any]) -> bool:
    """Whether a ``rule:`` is made of other alarms, not of readings."""
    return rule.get("kind") in ("all_of", "n_of")


def composite(rule_id: str, level: int, rule: Mapping[str, Any]) -> Composite:
    """A composite of a pack as the judge takes it: names without a pack are of the rule's own."""
    pack = rule_id.rpartition(".")[0]
    names = [name if "." in name or not pack else f"{pack}.{name}" for name in rule["rules"]]
    return Composite.model_validate({"id": rule_id, "level": level, **rule, "rules": names})


def compiled(rules: list[dict[str, Any]]) -> tuple[Rule, ...]:
    """The judge's models of rules written as in its rules file (id and level included). Raises RulesFault."""
    return rules_from({"rules": rules})
