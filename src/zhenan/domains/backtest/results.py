"""What the alarms of a trial come to: how many, when, where, for whom, and against verified causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from django.utils import timezone
from numpy.typing import NDArray

from zhenan.domains.backtest.question import CHANGED, STANDING, Places
from zhenan.domains.monitoring.queries import Recorded
from zhenan.domains.register.models import Subject
from zhenan.kernel.people.queries import holders_of
from zhenan.kernel.territory.models import Division
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.backtest.compare import counterpart
from zhenan.telemetry.backtest.found import OPEN, Found

VERSIONS = (STANDING, CHANGED)
KNOWN = ("real", "false_alarm")  # causes that say whether the alarm was right; tests, drills and faults say neither
MOST_PEOPLE = 50
MOST_SUBJECTS = 2000  # whose people are looked up
LOCAL = timedelta(hours=8)


@dataclass(frozen=True)
class Version:
    """One version's alarms; their counterparts as places in the recorded alarms and in the other version, -1: none."""

    code: str
    found: Found
    device: NDArray[np.int64]
    subject: NDArray[np.int64]
    recorded: NDArray[np.int64]
    other: NDArray[np.int64]


def versions(found: Found, count: int, where: Places, recorded: Recorded, until_ms: int) -> list[Version]:
    """The found alarms by version (``count`` of them), each beside what was recorded and beside the other version."""
    parts = [found.take(found.rule == number) for number in range(count)]
    ends = [np.where(part.cleared == OPEN, until_ms, part.cleared) for part in parts]
    made = []
    for number, part in enumerate(parts):
        place = np.searchsorted(where.point, part.point)
        mine = (part.point.astype(np.int64), part.raised, ends[number])
        real = counterpart(*mine, recorded.point, recorded.raised, recorded.cleared)
        other = np.full(len(part), -1, np.int64)
        if count == len(VERSIONS):
            them = parts[1 - number]
            other = counterpart(*mine, them.point.astype(np.int64), them.raised, ends[1 - number])
        made.append(Version(VERSIONS[number], part, where.device[place], where.subject[place], real, other))
    return made


def summary(made: Sequence[Version], rule: AlarmRule, recorded: Recorded, until_ms: int) -> dict[str, Any]:
    """Figures by version, ready for JSON. ``minutes``: how long alarms stood, all together."""
    subjects = _subjects(made)
    return {
        "recorded": len(recorded.pk),
        "versions": {one.code: _figures(one, rule, recorded, subjects, until_ms) for one in made},
    }


def _figures(
    one: Version, rule: AlarmRule, recorded: Recorded, subjects: dict[int, Subject], until_ms: int
) -> dict[str, Any]:
    found = one.found
    ends = np.where(found.cleared == OPEN, until_ms, found.cleared)
    causes = Counter(recorded.cause[place] for place in one.recorded.tolist() if place >= 0)
    known = sum(causes[cause] for cause in KNOWN)
    met = set(one.recorded.tolist())
    missed = [i for i, cause in enumerate(recorded.cause) if cause == "real" and i not in met]
    return {
        "alarms": len(found),
        "points": int(np.unique(found.point).size),
        "subjects": int(np.unique(one.subject).size),
        "standing": int(np.count_nonzero(found.cleared == OPEN)),
        "minutes": round(float((ends - found.raised).sum()) / 60_000, 1),
        "only_here": int(np.count_nonzero(one.other < 0)),
        "by_day": _by_day(found),
        "by_division": _by_division(one.subject, subjects),
        "by_person": _by_person(one, rule, subjects),
        "causes": dict(causes),
        "precision": causes["real"] / known if known else None,
        "missed_real": len(missed),
        "missed": [str(recorded.pk[i]) for i in missed[:100]],
    }


def _subjects(made: Sequence[Version]) -> dict[int, Subject]:
    wanted = set().union(*(one.subject.tolist() for one in made)) if made else set()
    rows = Subject.objects.filter(pk__in=wanted).select_related("division").defer("division__boundary")
    return {row.pk: row for row in rows}


def _by_day(found: Found) -> list[list[Any]]:
    """[day, alarms] for each local day that has any."""
    offset = int(LOCAL.total_seconds() * 1000)
    days, counts = np.unique((found.raised + offset) // 86_400_000, return_counts=True)
    names = [datetime.fromtimestamp(day * 86_400, UTC).date().isoformat() for day in days.tolist()]
    return [[name, count] for name, count in zip(names, counts.tolist(), strict=True)]


def _by_division(subject: NDArray[np.int64], subjects: dict[int, Subject]) -> list[list[Any]]:
    """[code, name, alarms] by town, the most first."""
    counts: Counter[str] = Counter()
    for pk, n in _counted(subject):
        if pk in subjects:
            counts[_town(subjects[pk].division.path)] += n
    names = dict(Division.objects.filter(code__in=counts).values_list("code", "name"))
    return [[code, names.get(code, code), n] for code, n in counts.most_common()]


def _town(path: str) -> str:
    """The code of the town on a path, or of the lowest division above towns."""
    codes = path.strip("/").split("/")
    return codes[min(3, len(codes) - 1)]  # province / city / county / town / grid


def _counted(values: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    found, counts = np.unique(values, return_counts=True)
    return zip(found.tolist(), counts.tolist(), strict=True)


def _by_person(one: Version, rule: AlarmRule, subjects: dict[int, Subject]) -> list[list[Any]]:
    """[name, role, alarms] of those whom the rule tells, by today's posts, the most burdened first."""
    counts: Counter[tuple[str, str]] = Counter()
    day = timezone.localdate()
    most = sorted(_counted(one.subject), key=lambda row: -row[1])[:MOST_SUBJECTS]
    known: dict[tuple[Any, ...], list[str]] = {}
    for pk, n in most:
        if pk not in subjects:
            continue
        place = subjects[pk].place
        for role in rule.tell:
            key = (role, place["path"], tuple(place["organisations"]), place["programme"])
            if key not in known:
                people = holders_of(
                    role, path=key[1], organisations=key[2], programme=rule.code.partition(".")[0], day=day
                )
                known[key] = [str(person) for person in people]
            for name in known[key]:
                counts[name, role] += n
    return [[name, role, n] for (name, role), n in counts.most_common(MOST_PEOPLE)]
