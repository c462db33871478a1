"""Questions about rules of packs: one by itself, one made of others, a family of stages."""

from __future__ import annotations

import difflib
from datetime import date, datetime
from typing import Any

import numpy as np
from django.conf import settings
from django.db.models import QuerySet
from numpy.typing import NDArray

from zhenan.domains.backtest.errors import BadRule, UnknownRule
from zhenan.domains.backtest.question import CHANGED, STANDING, VERSIONS, Places, Question, milliseconds
from zhenan.domains.monitoring import queries as monitoring
from zhenan.domains.monitoring.queries import Recorded
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow.calendar import holidays_around
from zhenan.packkit.judging import compiled, composite, is_composite, problems_of_rule
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.backtest.alarms import NO_STAGE, Composed, Staged
from zhenan.telemetry.backtest.found import Found
from zhenan.telemetry.backtest.plan import Plan, lead_of
from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.schedule import epoch_days

FAMILY = "family:"
SILENCE = "silence"
Rows = QuerySet[Any, tuple[int, int, int]]


def rule_named(code: str) -> AlarmRule:
    """Raises UnknownRule with the nearest right name."""
    found = monitoring.rule_of(code)
    if found is None:
        known = [rule.code for rule in registry().alarm_rules()] + list(families())
        near = difflib.get_close_matches(code, known, 1)
        raise UnknownRule(rule=code, hint=f"{near[0]}?" if near else "")
    return found


def family_of(rule: AlarmRule) -> str:
    """The code of the family that the rule is a stage of; "" for none."""
    return f"{FAMILY}{rule.code.partition('.')[0]}.{rule.family}" if rule.family else ""


def families() -> dict[str, list[AlarmRule]]:
    """The rules of each family of stages, by its code; the least grave first."""
    found: dict[str, list[AlarmRule]] = {}
    for rule in registry().alarm_rules():
        if rule.family:
            found.setdefault(family_of(rule), []).append(rule)
    return {code: sorted(rules, key=lambda rule: -rule.level) for code, rules in sorted(found.items())}


def check_rule(spec: dict[str, Any], name: str = "") -> None:
    """Raises BadRule with every fault."""
    faults = problems_of_rule(spec)
    if faults:
        raise BadRule(faults="; ".join(f"{name}.{fault}" if name else fault for fault in faults))


def check_kind(rule: AlarmRule, spec: dict[str, Any], name: str = "") -> None:
    """Raises BadRule where a rule of readings is tried as one of alarms or the other way round, UnknownRule for parts
    that are none."""
    where, pack = f"{name}." if name else "", rule.code.rpartition(".")[0]
    if rule.is_composite != is_composite(spec):
        right = (
            "a rule made of alarms is of kind all_of or n_of"
            if rule.is_composite
            else "a rule of readings cannot be tried as one made of alarms"
        )
        raise BadRule(faults=f"{where}kind: {right}")
    for part in spec["rules"] if rule.is_composite else ():
        if rule_named(part if "." in part else f"{pack}.{part}").is_composite:
            raise BadRule(faults=f"{where}rules: {part} is itself made of alarms")


def rule_question(code: str, changed: dict[str, Any], standing: dict[str, Any] | None = None) -> Question:
    """A rule or a family as it stands (or stood), and as tried. Raises UnknownRule, BadRule."""
    if code.startswith(FAMILY):
        return FamilyQuestion.asked(code, changed, standing)
    rule = rule_named(code)
    made = CompositeQuestion if rule.is_composite else RuleQuestion
    if changed:
        check_rule(changed)
    question = made(rule, standing or rule.rule, changed if changed != rule.rule else {})
    question.check()
    return question


class RuleQuestion(Question):
    """A rule by itself."""

    def __init__(self, rule: AlarmRule, standing: dict[str, Any], changed: dict[str, Any]) -> None:
        super().__init__(rule.code, standing, changed)
        self.rule = rule

    def check(self) -> None:
        """Raises BadRule, UnknownRule for what only the pack can tell."""
        if self.changed:
            check_kind(self.rule, self.changed)

    @property
    def specs(self) -> list[dict[str, Any]]:
        """Its parameters in each version."""
        return [self.standing, *([self.changed] if self.changed else [])]

    def rows(self, *, user: User | None, path: str) -> list[Rows]:
        return [monitoring.points_judged_by(self.rule, user=user, path=path)]

    def plan(self, where: Places, since: datetime, until: datetime) -> Plan:
        written = [
            {"id": name, "level": self.rule.level, **spec} for name, spec in zip(VERSIONS, self.specs, strict=False)
        ]
        return _plan(written, where, since, until)

    def recorded(self, *, since: datetime, until: datetime, user: User | None, path: str) -> Recorded:
        return monitoring.recorded_alarms([self.code], since=since, until=until, user=user, path=path)

    def silences(self, version: int, level: NDArray[Any]) -> NDArray[np.bool_]:
        return np.full(level.size, self.specs[version]["kind"] == SILENCE)

    def rule_at(self, level: int) -> AlarmRule | None:
        return self.rule


class CompositeQuestion(RuleQuestion):
    """A rule made of others: its parts are judged as they stand, at the subjects of their points."""

    @property
    def composites(self) -> list[Composite]:
        made = [composite(self.code, self.rule.level, spec) for spec in self.specs]
        return [one.model_copy(update={"id": name}) for one, name in zip(made, VERSIONS, strict=False)]

    @property
    def parts(self) -> list[AlarmRule]:
        """The rules of all versions, each once."""
        return [rule_named(code) for code in dict.fromkeys(name for one in self.composites for name in one.rules)]

    def rows(self, *, user: User | None, path: str) -> list[Rows]:
        return [monitoring.points_judged_by(part, user=user, path=path) for part in self.parts]

    def plan(self, where: Places, since: datetime, until: datetime) -> Plan:
        written = _written([(part.code, part, part.rule) for part in self.parts], where)
        composites = tuple(self.composites)
        subjects = dict(zip(where.point.tolist(), where.subject.tolist(), strict=True))
        return _plan(
            written, where, since, until, together=where.subject, second=Composed(composites, subjects),
            besides=composites,
        )  # fmt: skip

    def key(self, found: Found, where: Places) -> NDArray[np.int64]:
        """An alarm of a composite is its subject's: the point is that of the part which completed it."""
        return where.subjects_of(found.point)

    def key_of_recorded(self, recorded: Recorded) -> NDArray[np.int64]:
        return recorded.subject


class FamilyQuestion(Question):
    """A family of stages: one alarm that goes up and down. ``standing``, ``changed``: parameters by rule."""

    def __init__(self, code: str, rules: list[AlarmRule], standing: dict[str, Any], changed: dict[str, Any]) -> None:
        super().__init__(code, standing, changed)
        self.rules = rules

    @classmethod
    def asked(cls, code: str, changed: dict[str, Any], standing: dict[str, Any] | None = None) -> FamilyQuestion:
        """Raises UnknownRule, BadRule."""
        rules = families().get(code)
        if rules is None:
            near = difflib.get_close_matches(code, list(families()), 1)
            raise UnknownRule(rule=code, hint=f"{near[0]}?" if near else "")
        now = {rule.code: rule.rule for rule in rules}
        pack = code.removeprefix(FAMILY).rpartition(".")[0]
        tried = {name if name in now else f"{pack}.{name}": spec for name, spec in changed.items()}
        for name, spec in tried.items():
            if name not in now:
                raise BadRule(faults=f"{name}: is not of this family, which has {', '.join(now)}")
            if not isinstance(spec, dict):
                raise BadRule(faults=f"{name}: should be the rule's parameters; got {spec!r}")
            check_rule(spec, name)
            check_kind(rule_named(name), spec, name)
        stood = standing or now
        tried = {name: spec for name, spec in tried.items() if spec != stood.get(name)}
        return cls(code, [rule for rule in rules if rule.code in stood], stood, tried)

    @property
    def sides(self) -> list[tuple[str, dict[str, dict[str, Any]]]]:
        """Each version's name with the parameters of every rule in it."""
        found = [(STANDING, self.standing)]
        return found + ([(CHANGED, {**self.standing, **self.changed})] if self.changed else [])

    @property
    def simple(self) -> list[AlarmRule]:
        """The stages that are rules of readings."""
        return [rule for rule in self.rules if not rule.is_composite]

    def composites(self) -> tuple[Composite, ...]:
        """The stages made of alarms, of every version; of the parts those that are stages too are as in the version."""
        mine, found = {rule.code for rule in self.simple}, []
        for side, specs in self.sides:
            for rule in self.rules:
                if rule.is_composite:
                    made = composite(rule.code, rule.level, specs[rule.code])
                    parts = [f"{side}:{part}" if part in mine else part for part in made.rules]
                    found.append(made.model_copy(update={"id": f"{side}:{rule.code}", "rules": parts}))
        return tuple(found)

    def parts(self) -> list[AlarmRule]:
        """Rules that are no stages, but parts of some."""
        own = {f"{side}:{rule.code}" for side, _specs in self.sides for rule in self.simple}
        named = dict.fromkeys(part for one in self.composites() for part in one.rules if part not in own)
        return [rule_named(code) for code in named]

    def rows(self, *, user: User | None, path: str) -> list[Rows]:
        return [monitoring.points_judged_by(rule, user=user, path=path) for rule in [*self.simple, *self.parts()]]

    def plan(self, where: Places, since: datetime, until: datetime) -> Plan:
        named = [(f"{side}:{rule.code}", rule, specs[rule.code]) for side, specs in self.sides for rule in self.simple]
        written = _written(named + [(part.code, part, part.rule) for part in self.parts()], where)
        composites = self.composites()
        sides = [one["id"].partition(":")[0] for one in written] + [one.id.partition(":")[0] for one in composites]
        of = tuple(VERSIONS.index(side) if side in VERSIONS else NO_STAGE for side in sides)
        if not composites:
            return _plan(written, where, since, until, second=Staged(of))
        subjects = dict(zip(where.point.tolist(), where.subject.tolist(), strict=True))
        return _plan(
            written, where, since, until, together=where.subject, second=Staged(of, composites, subjects),
            besides=composites,
        )  # fmt: skip

    def recorded(self, *, since: datetime, until: datetime, user: User | None, path: str) -> Recorded:
        codes = [rule.code for rule in self.rules]
        return monitoring.recorded_alarms(codes, since=since, until=until, user=user, path=path)

    def silences(self, version: int, level: NDArray[Any]) -> NDArray[np.bool_]:
        specs = self.sides[version][1]
        return np.isin(level, [rule.level for rule in self.rules if specs[rule.code]["kind"] == SILENCE])

    def rule_at(self, level: int) -> AlarmRule | None:
        """The stage that made the alarm as grave as it got."""
        return next((rule for rule in self.rules if rule.level == level), self.rules[-1])


def _written(named: list[tuple[str, AlarmRule, dict[str, Any]]], where: Places) -> list[dict[str, Any]]:
    """Rules as the judge's file writes them, each with its own points among those judged; without any: left out."""
    written = []
    here = set(where.point.tolist())
    for name, rule, spec in named:
        points = [str(pk) for pk, _device, _subject in monitoring.points_judged_by(rule, user=None) if pk in here]
        if points:
            written.append({"id": name, "level": rule.level, "points": points, **spec})
    return written


def _plan(
    written: list[dict[str, Any]], where: Places, since: datetime, until: datetime,
    besides: tuple[Composite, ...] = (), **more: Any,
) -> Plan:  # fmt: skip
    rules = compiled(written)
    off: NDArray[np.int64] | None = None
    if any(rule.active for rule in rules):
        years = range(since.year - 1, until.year + 2)
        off = epoch_days(day for year in years for day in holidays_around(date(year, 7, 1)))
    return Plan(
        settings.HISTORY_URL, rules, where.point.astype(np.int32), milliseconds(since), milliseconds(until),
        lead_ms=lead_of([*rules, *besides]), holidays=off, **more,
    )  # fmt: skip
