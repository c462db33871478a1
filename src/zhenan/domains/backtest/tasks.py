"""The worker's part."""

from __future__ import annotations

from procrastinate.contrib.django import app

from zhenan.domains.backtest.services import carry_out


@app.task(name="backtest.carry_out", pass_context=False)
def carry_out_trial(trial_id: int) -> str:
    """Judge history. After a crash it is begun anew: nothing is kept of a trial that is not done."""
    return carry_out(trial_id)


def defer_trial(trial_id: int) -> None:
    """Queue it; the job is a row of the caller's transaction. One trial at a time: each takes every core."""
    carry_out_trial.configure(lock="backtest").defer(trial_id=trial_id)
