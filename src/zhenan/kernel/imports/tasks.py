"""The worker's part: long files."""

from __future__ import annotations

from django.utils import timezone
from procrastinate.contrib.django import app

from zhenan.kernel.imports.models import ImportRun
from zhenan.kernel.imports.services import carry_out


@app.task(name="imports.carry_out", pass_context=False)
def carry_out_run(run_id: int) -> dict[str, int]:
    """Do what the run's state asks for. Running it again after a crash is safe: rows already written are unchanged."""
    run = ImportRun.objects.get(pk=run_id)
    if run.busy:
        carry_out(run, at=timezone.now())
    return dict(run.counts)


def defer_run(run_id: int) -> None:
    """Queue the run; the job is a row of the caller's transaction."""
    carry_out_run.configure(lock=f"import:{run_id}").defer(run_id=run_id)
