"""What the database says of the records after they were taken in: counted from its rows, not from the files."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import numpy as np
from django.db.models import Count, QuerySet

from zhenan.domains.checks.models import Inspection
from zhenan.domains.hazards.models import Finding, Hazard, Round
from zhenan.server.replay.inspections.county import COUNTY, FORM, TYPE
from zhenan.server.replay.inspections.records import Records
from zhenan.server.replay.tables import say, share, table

SOON_DAYS = 15  # the platform's usual period of a general hazard


def print_all(records: Records) -> None:
    """All tables."""
    _inspections()
    _violations(records)
    _hazards()
    _days()


def _inspections() -> None:
    rows = Inspection.objects.filter(checklist=FORM, source_key__startswith=COUNTY)
    counts = Counter({(kind, result): n for kind, result, n in _counted(rows, "kind", "result")})
    results = sorted({result for _kind, result in counts})
    kinds = sorted({kind for kind, _result in counts})
    say(f"\nInspections by kind and result ({sum(counts.values()):,})")
    lines = [[counts[kind, result] for result in results] for kind in kinds]
    table(["kind", *results, "all"], [[kind, *line, sum(line)] for kind, line in zip(kinds, lines, strict=True)])


def _counted(rows: QuerySet[Any], *fields: str) -> Iterable[tuple[str, str, int]]:
    return rows.order_by().values_list(*fields).annotate(n=Count("pk"))


def _violations(records: Records) -> None:
    lines = [violation for visit in records.all_visits for violation in visit.violations]
    counts = Counter((violation.degree or "none given", violation.corrected) for violation in lines)
    degrees = sorted({degree for degree, _ in counts})
    say(f"\nViolations of the files by degree and status ({len(lines):,})")
    rows = [[d, counts[d, True], counts[d, False], counts[d, True] + counts[d, False]] for d in degrees]
    table(["degree", "corrected", "out_of_compliance", "all"], rows)


def _hazards() -> None:
    rows = Hazard.objects.filter(subject__type=TYPE)
    counts = Counter({(state, severity): n for state, severity, n in _counted(rows, "state", "severity")})
    states = sorted({state for state, _ in counts})
    say(f"\nHazards by state and severity ({sum(counts.values()):,})")
    lines = [[counts[state, severity] for severity in ("general", "major")] for state in states]
    table(["state", "general", "major", "all"], [[s, *line, sum(line)] for s, line in zip(states, lines, strict=True)])
    say(f"  fixed on the spot: {rows.filter(fixed_on_the_spot=True).count():,}")
    findings = Finding.objects.filter(hazard__subject__type=TYPE).count()
    say(f"  findings: {findings:,}, of these of a hazard that stood already: {findings - rows.count():,}")
    say(f"  repeated within 180 days of the former: {rows.filter(repeat=True).count():,}")
    rejected = Round.objects.filter(hazard__subject__type=TYPE, result=Round.Result.REJECTED).count()
    say(f"  rectifications rejected at a recheck (a new round each): {rejected:,}")


def _days() -> None:
    """Times of the hazards that were not put right at once."""
    rows = list(
        Hazard.objects.filter(subject__type=TYPE, fixed_on_the_spot=False).values_list(
            "subject_id", "found_at", "closed_at", "due_at"
        )
    )
    looked: dict[int, list[datetime]] = defaultdict(list)
    visits = Inspection.objects.filter(checklist=FORM, kind__in=["routine", "followup"]).order_by("done_at")
    for subject, done in visits.values_list("subject_id", "done_at"):
        looked[subject].append(done)
    recheck = []
    for subject, found, _closed, _due in rows:
        nth = bisect.bisect_right(looked[subject], found)
        if nth < len(looked[subject]):
            recheck.append((looked[subject][nth] - found).days)
    closure = [(closed - found).days for _s, found, closed, _d in rows if closed is not None]
    say(f"\nDays from discovery, of the {len(rows):,} hazards not fixed on the spot")
    table(["to", "hazards", "median", "90th percentile"],
          [["the next recheck or routine visit", len(recheck), *_quantiles(recheck)],
           ["closure", len(closure), *_quantiles(closure)]])  # fmt: skip
    soon = sum(days <= SOON_DAYS for days in closure)
    say(f"  closed within {SOON_DAYS} days: {soon:,} = {share(soon, len(rows))} of all, "
        f"{share(soon, len(closure))} of those closed")  # fmt: skip
    never = len(rows) - len(recheck)
    say(f"  still open: {len(rows) - len(closure):,}; never looked at again by such a visit: {never:,}")


def _quantiles(days: list[int]) -> list[int | None]:
    return [round(float(np.quantile(days, q))) for q in (0.5, 0.9)] if days else [None, None]
