"""What is asked: a rule in one or two versions, over which points and which time."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from zhenan.domains.backtest.errors import BadPeriod, BadRule, UnknownRule
from zhenan.domains.monitoring import queries as monitoring
from zhenan.kernel.people.models import User
from zhenan.packkit.judging import compiled, problems_of_rule
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.backtest.plan import MAX_DAYS, Plan

STANDING, CHANGED = "standing", "changed"


def rule_named(code: str) -> AlarmRule:
    """Raises UnknownRule with the nearest right name."""
    found = monitoring.rule_of(code)
    if found is None:
        near = difflib.get_close_matches(code, [rule.code for rule in registry().alarm_rules()], 1)
        raise UnknownRule(rule=code, hint=f"{near[0]}?" if near else "")
    return found


def check_rule(spec: dict[str, Any]) -> None:
    """Raises BadRule with every fault."""
    faults = problems_of_rule(spec)
    if faults:
        raise BadRule(faults="; ".join(faults))


def check_period(since: datetime, until: datetime, now: datetime) -> None:
    """Raises BadPeriod."""
    if not since < until <= now or (until - since).days > MAX_DAYS:
        raise BadPeriod(days=MAX_DAYS)


@dataclass(frozen=True)
class Places:
    """The points judged, shape (n,) each, by point: ids of point, device and subject."""

    point: NDArray[np.int64]
    device: NDArray[np.int64]
    subject: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.point.size)


def places(rule: AlarmRule, *, user: User | None, path: str) -> Places:
    """Where the rule judges, within what the user may see (None: everything) and below a division."""
    rows = list(monitoring.points_judged_by(rule, user=user, path=path))
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Places(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy())


def plan_of(rule: AlarmRule, changed: dict[str, Any], where: Places, since: datetime, until: datetime) -> Plan:
    """Both versions in one pass; a version's place among the rules is that in (STANDING, CHANGED)."""
    written = [{"id": STANDING, "level": rule.level, **rule.rule}]
    if changed:
        written.append({"id": CHANGED, "level": rule.level, **changed})
    ms = [int(moment.timestamp() * 1000) for moment in (since, until)]
    return Plan(settings.HISTORY_URL, compiled(written), where.point.astype(np.int32), *ms)
