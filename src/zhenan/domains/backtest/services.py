"""Making a back-test: asked by a person, done by the worker, or at once by the command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import structlog
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from zhenan.domains.backtest.errors import AlreadyOver, EmptyHistory, NoHistory
from zhenan.domains.backtest.fences import FENCE, FenceQuestion, fence_named, fence_question
from zhenan.domains.backtest.models import Hit, Trial
from zhenan.domains.backtest.question import Question, check_period
from zhenan.domains.backtest.results import KINDS, WHY, Version, summary, versions
from zhenan.domains.backtest.rules import rule_question
from zhenan.domains.monitoring.holding import quiet_times
from zhenan.domains.monitoring.queries import Recorded
from zhenan.kernel.access import require
from zhenan.kernel.errors import DomainError
from zhenan.kernel.notices.services import tell
from zhenan.kernel.people.models import User
from zhenan.kernel.territory.models import Division
from zhenan.telemetry.backtest.fences import FencePlan
from zhenan.telemetry.backtest.found import OPEN, Found
from zhenan.telemetry.backtest.plan import Outcome, Plan
from zhenan.telemetry.backtest.pool import run_all, workers
from zhenan.telemetry.history.table import History
from zhenan.telemetry.tracks.table import Tracks

MOST_HITS = 100_000  # of each version are kept as rows; all are counted
WORTH_PROCESSES = 30_000  # point-days: below it a process takes longer to start than the work
WORTH_PROCESSES_VEHICLES = 2_000  # vehicle-days: a vehicle sends more than a point
TASKS_A_WORKER = 4  # so that progress is seen and a slow share does not hold up all
TITLE = _("Back-test done: {rule}")
log = structlog.get_logger("zhenan.backtest")
Progress = Callable[[int, int], bool]  # tasks done, tasks in all → go on?


class Stopped(Exception):
    """Whoever asked has asked to stop."""


def question_named(
    code: str, *, changed: dict[str, Any], standing_as: str = "", changed_as: str = "", user: User | None,
    at: datetime,
) -> Question:  # fmt: skip
    """What a code and its changes ask: see Trial for the codes and `fence_question` for versions of a fence. Raises
    UnknownRule, UnknownFence, UnknownVersion, BadRule, BadFence."""
    if code.startswith(FENCE):
        return fence_question(
            code.removeprefix(FENCE), changed=changed, standing_as=standing_as, changed_as=changed_as, user=user, at=at
        )
    return rule_question(code, changed)


def question_of(trial: Trial) -> Question:
    """The question as it was asked, whatever has changed since. Raises as `question_named`."""
    if not trial.rule.startswith(FENCE):
        return rule_question(trial.rule, trial.changed, trial.standing)
    fence = fence_named(trial.rule.removeprefix(FENCE), user=trial.actor)
    return FenceQuestion(fence, trial.standing, trial.changed, trial.standing_as, trial.changed_as)


def begin(
    *, rule: str, changed: dict[str, Any], division: Division | None, since: datetime, until: datetime, by: User,
    at: datetime, standing_as: str = "", changed_as: str = "",
) -> Trial:  # fmt: skip
    """Ask for a back-test; the worker does it. Raises NotAllowed, BadPeriod, NoPoints, and as `question_named`."""
    require(by, "rule.test")
    question = question_named(rule, changed=changed, standing_as=standing_as, changed_as=changed_as, user=by, at=at)
    check_period(since, until, at)
    if not question.anywhere(user=by, path=division.path if division else ""):
        raise question.nowhere()
    from zhenan.domains.backtest.tasks import defer_trial

    with transaction.atomic():
        trial = Trial.objects.create(
            rule=question.code,
            fence_id=question.fence_id,
            standing=question.standing,
            changed=question.changed,
            standing_as=question.standing_as,
            changed_as=question.changed_as,
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
        done = judged(
            question_of(trial), since=trial.since, until=trial.until, user=trial.actor,
            path=trial.division.path if trial.division else "", progress=_Noting(trial),
        )  # fmt: skip
    except Stopped:
        return "stopped"
    except (DomainError, OSError, ValueError, RuntimeError) as err:
        log.exception("backtest.failed", trial=trial.pk)
        _end(trial, Trial.State.FAILED, error=str(err)[:2000])
        return "failed"
    with transaction.atomic():
        trial.hits.all().delete()  # of a run that a crash cut short
        for one in done.versions:
            Hit.objects.bulk_create(_hits(trial, one, done.recorded), batch_size=5000)
        trial.points, trial.summary = done.points, done.summary
        _end(trial, Trial.State.DONE)
        name = trial.fence.name if trial.fence else trial.rule
        tell(
            [trial.actor], key=f"backtest:{trial.pk}", kind="backtest.done", title=TITLE, at=timezone.now(),
            url=trial.get_absolute_url(), data={"rule": name},
        )  # fmt: skip
    return "done"


@dataclass(frozen=True)
class Judged:
    """What came of a question; `points`: how many points or vehicles were judged."""

    versions: list[Version]
    summary: dict[str, Any]
    recorded: Recorded
    points: int


def judged(
    question: Question, *, since: datetime, until: datetime, user: User | None, path: str,
    progress: Progress | None = None,
) -> Judged:  # fmt: skip
    """Judge history now. Raises NoPoints, NoVehicles, NoHistory, EmptyHistory, Stopped (when ``progress`` says so)."""
    where = question.places(user=user, path=path)
    plan = question.plan(where, since, until)
    outcomes = _run(plan, progress)
    if not any(outcome.readings for outcome in outcomes):
        raise _empty(plan)
    found = Found.joined([outcome.found for outcome in outcomes])
    recorded = question.recorded(since=since, until=until, user=user, path=path)
    devices = where.device[np.searchsorted(where.point, np.unique(found.point))]
    quiet = quiet_times(devices.tolist(), since=since, until=until)
    made = versions(found, question, where, recorded, quiet, plan.until_ms)
    figures = summary(made, question, recorded, plan.until_ms)
    figures |= {"readings": sum(o.readings for o in outcomes), "late": sum(o.late for o in outcomes)}
    figures |= question.remarks
    return Judged(made, figures, recorded, len(where))


def _run(plan: Plan | FencePlan, progress: Progress | None) -> list[Outcome]:
    worth = WORTH_PROCESSES_VEHICLES if isinstance(plan, FencePlan) else WORTH_PROCESSES
    at_once = workers() if plan.days_of_work >= worth else 1
    tasks = plan.tasks(at_once * TASKS_A_WORKER)
    outcomes: list[Outcome] = []
    for outcome in run_all(tasks, at_once=at_once):
        outcomes.append(outcome)
        if progress and not progress(len(outcomes), len(tasks)):
            raise Stopped()
    return outcomes


def _empty(plan: Plan | FencePlan) -> DomainError:
    """Nothing was read: no alarms would be a wrong answer."""
    table = Tracks(plan.tracks_url) if isinstance(plan, FencePlan) else History(plan.history_url)
    days = sorted(table.days())
    return EmptyHistory(first=days[0].isoformat(), last=days[-1].isoformat()) if days else NoHistory()


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


def _hits(trial: Trial, one: Version, recorded: Recorded) -> list[Hit]:
    found = one.found
    rows = []
    for i in range(min(len(found), MOST_HITS)):
        place = int(one.recorded[i])
        rows.append(
            Hit(
                trial=trial, version=one.code, point_id=None if trial.fence_id else int(found.point[i]),
                device_id=int(one.device[i]), subject_id=int(one.subject[i]), onset=_time(found.onset[i]),
                raised_at=_time(found.raised[i]),
                cleared_at=None if found.cleared[i] == OPEN else _time(found.cleared[i]),
                value=_number(found.value[i]), level=int(found.level[i]), steps=int(found.steps[i]),
                kind=KINDS[int(found.kind[i])], lat=_number(found.lat[i]), lon=_number(found.lon[i]),
                told_at=None if one.told[i] == OPEN else _time(one.told[i]), held=WHY[int(one.why[i])],
                in_both=bool(one.other[i] >= 0), recorded_id=recorded.pk[place] if place >= 0 else None,
            )
        )  # fmt: skip
    return rows


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _time(ms: np.int64) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
