"""Run a pack's scenarios: readings in, alarms out, through the real judge; answers in, hazards out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np

from zhenan.packkit.checks import hazards_from
from zhenan.packkit.judging import compiled, composite
from zhenan.packkit.loader import LoadedPack
from zhenan.packkit.registry import Registry, from_packs
from zhenan.packkit.schema_scenarios import Scenario
from zhenan.telemetry.judge.composites import Composer
from zhenan.telemetry.judge.engine import Judge
from zhenan.telemetry.judge.results import Columns, Transition
from zhenan.telemetry.judge.schedule import epoch_days


@dataclass(frozen=True)
class Outcome:
    """What a scenario gave. ``faults``: how it differs from what was expected; empty when it holds."""

    scenario: Scenario
    transitions: tuple[Transition, ...]
    faults: tuple[str, ...]


def run(scenario: Scenario, registry: Registry) -> Outcome:
    """Play one scenario against the registry's rules and checklists."""
    if scenario.checklist is not None:
        return _check(scenario, registry)
    return _judge(scenario, registry)


def _check(scenario: Scenario, registry: Registry) -> Outcome:
    found = hazards_from(registry.checklist(str(scenario.checklist)), scenario.answers)
    came = sorted((h.item, h.severity) for h in found)
    wanted = sorted((h.item, h.severity) for h in scenario.hazards)
    faults = [] if came == wanted else [f"hazards: came {_pairs(came)}; want {_pairs(wanted)}"]
    return Outcome(scenario, (), tuple(faults))


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{item} ({severity})" for item, severity in pairs) or "none"


def _judge(scenario: Scenario, registry: Registry) -> Outcome:
    found = _transitions(scenario, registry)
    onsets = {(a.rule, a.kind, a.at_s) for a in scenario.alarms if a.onset_s is not None}
    wanted = sorted(_line(a.rule, a.kind, a.at_s, a.onset_s) for a in scenario.alarms)
    came = sorted(
        _line(t.rule, t.kind, t.ts / 1000, t.onset / 1000 if (t.rule, t.kind, t.ts / 1000) in onsets else None)
        for t in found
    )
    missing = [f"did not come: {line}" for line in wanted if line not in came]
    extra = [f"came, but is not expected: {line}" for line in came if line not in wanted]
    return Outcome(scenario, tuple(found), tuple(missing + extra))


def _transitions(scenario: Scenario, registry: Registry) -> list[Transition]:
    """What the judge says of the scenario's points, at one subject; times in ms from its second 0."""
    points = [(str(scenario.model), str(scenario.measure), scenario.readings)]
    points += [(other.model, other.measure, other.readings) for other in scenario.others]
    keys = [f"point{number}" for number in range(len(points))]
    applies: dict[str, list[str]] = {}
    for key, (model, measure, _readings) in zip(keys, points, strict=True):
        for rule in registry.rules_for(model, measure):
            applies.setdefault(rule.code, []).append(key)
    written = [{**registry.alarm_rule(code).judge_rule(), "points": names} for code, names in applies.items()]
    judge = Judge(compiled(written) if written else (), keys, holidays=epoch_days(scenario.holidays))
    zero = _ms_of(scenario.start)
    found: list[Transition] = []
    for number, (_model, _measure, readings) in enumerate(points):
        ts = np.array([round(second * 1000) + zero for second, _ in readings], dtype=np.int64)
        value = np.array([number for _, number in readings], dtype=np.float64)
        place = np.full(ts.size, number, dtype=np.int32)
        columns = Columns(place, ts, value, np.zeros(ts.size, dtype=np.uint8))
        found += judge.records(judge.judge(columns).transitions)
    last = max(second for _model, _measure, readings in points for second, _value in readings)
    found += judge.records(judge.advance(round(max(scenario.until_s or 0.0, last) * 1000) + zero))
    composites = [composite(r.code, r.level, r.rule) for r in registry.alarm_rules() if r.is_composite]
    order = sorted(found, key=lambda t: (t.ts, t.point, t.rule, t.kind == "clear"))
    made = Composer(composites, dict.fromkeys(keys, "subject")).feed(order)
    return [t._replace(ts=t.ts - zero, onset=t.onset - zero) for t in made]


def _ms_of(start: datetime | None) -> int:
    """A local time (UTC+8) as ms UTC; 0 for none."""
    return 0 if start is None else round(start.replace(tzinfo=timezone(timedelta(hours=8))).timestamp() * 1000)


def _line(rule: str, kind: str, at_s: float, onset_s: float | None) -> str:
    onset = "" if onset_s is None else f", onset {onset_s:g} s"
    return f"{rule} {kind} at {at_s:g} s{onset}"


def faults_of_scenarios(pack: LoadedPack, others: Mapping[str, LoadedPack] | None = None) -> list[str]:
    """Every scenario that does not hold, and every alarm rule without a scenario that raises and one that clears it."""
    registry = from_packs([*(others or {}).values(), pack])
    faults: list[str] = []
    seen: set[tuple[str, str]] = set()
    for scenario in pack.scenarios:
        outcome = run(scenario, registry)
        seen |= {(t.rule, t.kind) for t in outcome.transitions}
        faults += [f"{pack.code}: scenario {scenario.code}: {fault}" for fault in outcome.faults]
    for rule in pack.alarm_rules:
        for kind in ("raise", "clear"):
            if (rule.code, kind) not in seen:
                faults.append(f"{pack.code}: alarm rule {rule.code}: no scenario with a {kind}")
    failed = {item for s in pack.scenarios if s.checklist for item in ((s.checklist, h.item) for h in s.hazards)}
    for checklist in pack.checklists:
        if not any(code == checklist.code for code, _ in failed):
            faults.append(f"{pack.code}: checklist {checklist.code}: no scenario in which an item fails")
    return faults
