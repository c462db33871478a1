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

from zhenan.domains.backtest.question import VERSIONS, Places, Question
from zhenan.domains.monitoring.models import Device
from zhenan.domains.monitoring.queries import Recorded, told_of
from zhenan.domains.register.models import Subject
from zhenan.kernel.territory.models import Division
from zhenan.telemetry.backtest.compare import counterpart
from zhenan.telemetry.backtest.found import DWELL, ENTER, NOTED, OPEN, RULE, SPEED, Found
from zhenan.telemetry.backtest.holding import AT_ONCE, MAINTENANCE, PARENT, Quiet

KNOWN = ("real", "false_alarm")  # causes that say whether the alarm was right; tests, drills and faults say neither
KINDS = {RULE: "", ENTER: "enter", DWELL: "dwell", SPEED: "speed", NOTED: "noted"}
WHY = {AT_ONCE: "", MAINTENANCE: "maintenance", PARENT: "parent"}
MOST_PEOPLE = 50
MOST_SUBJECTS = 2000  # whose people are looked up
MOST_VEHICLES = 50
LOCAL = timedelta(hours=8)


@dataclass(frozen=True)
class Version:
    """One version's alarms; their counterparts as places in the recorded alarms and in the other version, -1: none.

    ``told``: when people would have been told, ms UTC, OPEN: not in the period; ``why``: what held it back, as in WHY.
    """

    code: str
    found: Found
    device: NDArray[np.int64]
    subject: NDArray[np.int64]
    recorded: NDArray[np.int64]
    other: NDArray[np.int64]
    told: NDArray[np.int64]
    why: NDArray[np.uint8]

    @property
    def alarms(self) -> NDArray[np.bool_]:
        """Which are alarms: all but the entries that a fence only notes."""
        return np.asarray(self.found.kind != NOTED)


def versions(
    found: Found, question: Question, where: Places, recorded: Recorded, quiet: Quiet, until_ms: int
) -> list[Version]:
    """The found alarms by version, each beside what was recorded and beside the other version."""
    parts = [found.take(found.rule == number) for number in range(question.versions)]
    spans = [
        (question.key(part, where), part.raised, np.where(part.cleared == OPEN, until_ms, part.cleared))
        for part in parts
    ]
    before = (question.key_of_recorded(recorded), recorded.raised, recorded.cleared)
    made = []
    for number, part in enumerate(parts):
        place = np.searchsorted(where.point, part.point)
        real = counterpart(*spans[number], *before)
        other = np.full(len(part), -1, np.int64)
        if len(parts) == len(VERSIONS):
            other = counterpart(*spans[number], *spans[1 - number])
        device = where.device[place]
        told, why = quiet.told(device, part.raised, part.cleared, question.silences(number, part.level), until_ms)
        told = np.where(part.kind == NOTED, OPEN, told)
        made.append(Version(VERSIONS[number], part, device, where.subject[place], real, other, told, why))
    return made


def summary(made: Sequence[Version], question: Question, recorded: Recorded, until_ms: int) -> dict[str, Any]:
    """Figures by version, ready for JSON. ``minutes``: how long alarms stood, all together."""
    subjects = _subjects(made)
    figures = {}
    for one in made:
        figures[one.code] = _figures(one, question, recorded, subjects, until_ms)
        if question.fence_id is not None:
            figures[one.code] |= _vehicles(one, subjects)
    return {"recorded": len(recorded.pk), "versions": figures}


def _figures(
    one: Version, question: Question, recorded: Recorded, subjects: dict[int, Subject], until_ms: int
) -> dict[str, Any]:
    alarms = one.alarms
    found, subject = one.found.take(alarms), one.subject[alarms]
    ends = np.where(found.cleared == OPEN, until_ms, found.cleared)
    causes = Counter(recorded.cause[place] for place in one.recorded[alarms].tolist() if place >= 0)
    known = sum(causes[cause] for cause in KNOWN)
    met = set(one.recorded[alarms].tolist())
    told, why = one.told[alarms], one.why[alarms]
    never = told == OPEN
    missed = [i for i, cause in enumerate(recorded.cause) if cause == "real" and i not in met]
    return {
        "alarms": len(found),
        "told": int(np.count_nonzero(~never)),
        "told_later": int(np.count_nonzero(~never & (told > found.raised))),
        "silenced": int(np.count_nonzero(never & (why == MAINTENANCE))),
        "folded": int(np.count_nonzero(never & (why == PARENT))),
        "points": int(np.unique(found.point).size),
        "subjects": int(np.unique(subject).size),
        "standing": int(np.count_nonzero(found.cleared == OPEN)),
        "minutes": round(float((ends - found.raised).sum()) / 60_000, 1),
        "only_here": int(np.count_nonzero(one.other[alarms] < 0)),
        "steps": int(found.steps.sum()),
        "by_level": [list(row) for row in _counted(found.level)],
        "by_kind": {KINDS[kind]: n for kind, n in _counted(one.found.kind) if kind != RULE},
        "by_day": _by_day(found),
        "by_division": _by_division(subject, subjects),
        "by_person": _by_person(found.take(~never), one.device[alarms][~never], subject[~never], question, subjects),
        "causes": dict(causes),
        "precision": causes["real"] / known if known else None,
        "missed_real": len(missed),
        "missed": [str(recorded.pk[i]) for i in missed[:100]],
    }


def _subjects(made: Sequence[Version]) -> dict[int, Subject]:
    wanted = set().union(*(one.subject.tolist() for one in made)) if made else set()
    rows = Subject.objects.filter(pk__in=wanted).select_related("division", "organisation")
    return {row.pk: row for row in rows.defer("division__boundary")}


def _vehicles(one: Version, subjects: dict[int, Subject]) -> dict[str, Any]:
    """Of a fence: events by vehicle, [id, name, events], and by organisation, [name, events], the most first."""
    counts = sorted(_counted(one.device), key=lambda row: -row[1])
    names = dict(Device.objects.filter(pk__in=[pk for pk, _n in counts[:MOST_VEHICLES]]).values_list("pk", "name"))
    by_organisation: Counter[str] = Counter()
    for pk, n in _counted(one.subject):
        owner = subjects[pk].organisation if pk in subjects else None
        by_organisation[owner.name if owner else ""] += n
    return {
        "events": len(one.found),
        "vehicles": len(counts),
        "by_vehicle": [[pk, names[pk], n] for pk, n in counts[:MOST_VEHICLES] if pk in names],
        "by_organisation": [list(row) for row in by_organisation.most_common(MOST_VEHICLES)],
    }


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


def _counted(values: NDArray[Any]) -> Iterable[tuple[int, int]]:
    found, counts = np.unique(values, return_counts=True)
    return zip(found.tolist(), counts.tolist(), strict=True)


def _by_person(
    found: Found, device: NDArray[np.int64], subject: NDArray[np.int64], question: Question,
    subjects: dict[int, Subject],
) -> list[list[Any]]:  # fmt: skip
    """[name, role, alarms] of those who would have been told of these, by today's posts, the most burdened first."""
    rows = Counter(zip(device.tolist(), subject.tolist(), found.level.tolist(), strict=True))
    most = [(row, n) for row, n in rows.most_common(MOST_SUBJECTS) if row[1] in subjects]
    wanted = {row[0] for row, _n in most}
    programmes = dict(Device.objects.filter(pk__in=wanted).values_list("pk", "programme"))
    alarms = [(subjects[where], programmes.get(one, ""), question.rule_at(level)) for (one, where, level), _n in most]
    counts: Counter[tuple[str, str]] = Counter()
    for people, (_row, n) in zip(told_of(alarms, timezone.now()), most, strict=True):
        for person, role in people:
            counts[str(person), role] += n
    return [[name, role, n] for (name, role), n in counts.most_common(MOST_PEOPLE)]
