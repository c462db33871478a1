"""Making a back-test: asked by a person, done by the worker, or at once by the command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import structlog
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.backtest.errors import AlreadyOver, NoPoints
from zhenan.domains.backtest.models import Hit, Trial
from zhenan.domains.backtest.question import check_period, check_rule, places, plan_of, rule_named
from zhenan.domains.backtest.results import Version, summary, versions
from zhenan.domains.monitoring import queries as monitoring
from zhenan.kernel.access import require
from zhenan.kernel.errors import DomainError
from zhenan.kernel.notices.services import tell
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.backtest.found import OPEN, Found
from zhenan.telemetry.backtest.plan import Outcome
from zhenan.telemetry.backtest.pool import run_all, workers

MOST_HITS = 100_000  # of each version are kept as rows; all are counted
WORTH_PROCESSES = 30_000  # point-days: below it a process takes longer to start than the work
TASKS_A_WORKER = 4  # so that progress is seen and a slow share does not hold up all
TITLE = _("Back-test done: {rule}")
log = structlog.get_logger("zhenan.backtest")
Progress = Callable[[int, int], bool]  # tasks done, tasks in all → go on?


class Stopped(Exception):
    """Whoever asked has asked to stop."""


def begin(
    *, rule: str, changed: dict[str, Any], division: Division | None, since: datetime, until: datetime, by: User,
    at: datetime,
) -> Trial:  # fmt: skip
    """Ask for a back-test; the worker does it. Raises NotAllowed, UnknownRule, BadRule, BadPeriod, NoPoints."""
    require(by, "rule.test")
    one = rule_named(rule)
    check_period(since, until, at)
    if changed:
        check_rule(changed)
    if not monitoring.points_judged_by(one, user=by, path=division.path if division else "").exists():
        raise NoPoints()
    from zhenan.domains.backtest.tasks import defer_trial

    with transaction.atomic():
        trial = Trial.objects.create(
            rule=one.code,
            standing=one.rule,
            changed=changed if changed != one.rule else {},
            division=division,
            since=since,
            until=until,
            actor=by,
            at=at,
        )
        defer_trial(trial.pk)
    return trial


def stop(trial_id: int, *, by: User, at: datetime) -> Trial:
    """Give it up; the worker sees it at its next task. Raises AlreadyOver, NotAllowed."""
    require(by, "rule.test")
    with transaction.atomic():
        trial = Trial.objects.visible_to(by).select_for_update(of=("self",)).get(pk=trial_id)
        if not trial.busy:
            raise AlreadyOver(state=trial.get_state_display())
        trial.state, trial.finished_at = Trial.State.STOPPED, at
        trial.save(update_fields=["state", "finished_at"])
    return trial


def carry_out(trial_id: int) -> str:
    """The worker's part; the state it ends in. What cannot be judged leaves the trial failed, saying why."""
    trial = Trial.objects.select_related("actor", "division").get(pk=trial_id)
    if not Trial.objects.filter(pk=trial.pk, state__in=["waiting", "running"]).update(state=Trial.State.RUNNING):
        return str(trial.state)
    try:
        made, figures, count = judged(
            rule_named(trial.rule), trial.changed, since=trial.since, until=trial.until, user=trial.actor,
            path=trial.division.path if trial.division else "", standing=trial.standing, progress=_Noting(trial),
        )  # fmt: skip
    except Stopped:
        return "stopped"
    except (DomainError, OSError, ValueError, RuntimeError) as err:
        log.exception("backtest.failed", trial=trial.pk)
        _end(trial, Trial.State.FAILED, error=str(err)[:2000])
        return "failed"
    with transaction.atomic():
        trial.hits.all().delete()  # of a run that a crash cut short
        for one in made:
            Hit.objects.bulk_create(_hits(trial, one, figures), batch_size=5000)
        trial.points, trial.summary = count, figures["summary"]
        _end(trial, Trial.State.DONE)
        tell(
            [trial.actor], key=f"backtest:{trial.pk}", kind="backtest.done", title=TITLE, at=timezone.now(),
            url=trial.get_absolute_url(), data={"rule": trial.rule},
        )  # fmt: skip
    return "done"


def judged(
    rule: AlarmRule, changed: dict[str, Any], *, since: datetime, until: datetime, user: User | None, path: str,
    standing: dict[str, Any] | None = None, progress: Progress | None = None,
) -> tuple[list[Version], dict[str, Any], int]:  # fmt: skip
    """Judge history now. Returns the versions, {"summary", "recorded"}, and the number of points. Raises NoPoints,
    Stopped (when ``progress`` says so)."""
    where = places(rule, user=user, path=path)
    if not len(where):
        raise NoPoints()
    if standing:
        rule = rule.model_copy(update={"rule": standing})
    plan = plan_of(rule, changed, where, since, until)
    at_once = workers() if plan.point_days >= WORTH_PROCESSES else 1
    tasks = plan.tasks(at_once * TASKS_A_WORKER)
    outcomes: list[Outcome] = []
    for outcome in run_all(tasks, at_once=at_once):
        outcomes.append(outcome)
        if progress and not progress(len(outcomes), len(tasks)):
            raise Stopped()
    found = Found.joined([outcome.found for outcome in outcomes])
    recorded = monitoring.recorded_alarms(rule.code, since=since, until=until, user=user, path=path)
    made = versions(found, len(plan.rules), where, recorded, plan.until_ms)
    figures = summary(made, rule, recorded, plan.until_ms)
    figures |= {"readings": sum(o.readings for o in outcomes), "late": sum(o.late for o in outcomes)}
    return made, {"summary": figures, "recorded": recorded}, len(where)


class _Noting:
    """Progress into the trial's row; False once somebody stopped it."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial

    def __call__(self, done: int, of: int) -> bool:
        rows = Trial.objects.filter(pk=self.trial.pk, state=Trial.State.RUNNING)
        return bool(rows.update(tasks=of, tasks_done=done))


def _end(trial: Trial, state: Trial.State, error: str = "") -> None:
    trial.state, trial.error, trial.finished_at = state, error, timezone.now()
    trial.save(update_fields=["state", "error", "finished_at", "points", "summary"])


def _hits(trial: Trial, one: Version, figures: dict[str, Any]) -> list[Hit]:
    found, recorded = one.found, figures["recorded"]
    rows = []
    for i in range(min(len(found), MOST_HITS)):
        place = int(one.recorded[i])
        rows.append(
            Hit(
                trial=trial, version=one.code, point_id=int(found.point[i]), device_id=int(one.device[i]),
                subject_id=int(one.subject[i]), onset=_time(found.onset[i]), raised_at=_time(found.raised[i]),
                cleared_at=None if found.cleared[i] == OPEN else _time(found.cleared[i]),
                value=None if np.isnan(found.value[i]) else float(found.value[i]),
                in_both=bool(one.other[i] >= 0), recorded_id=recorded.pk[place] if place >= 0 else None,
            )
        )  # fmt: skip
    return rows


def _time(ms: np.int64) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
