"""What other rooms and processes ask of monitoring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np
from django.db import connection
from django.db.models import BigIntegerField, Count, Q, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce, Extract
from django.utils import timezone
from numpy.typing import NDArray

from zhenan.domains.monitoring.models import Alarm, Device, Point
from zhenan.domains.monitoring.recipients import Recipients
from zhenan.kernel.people.models import User
from zhenan.kernel.workflow.calendar import holidays_around
from zhenan.packkit.judging import compiled, composite
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.packkit.schema import AlarmRule
from zhenan.telemetry.columns import partitions
from zhenan.telemetry.judge.composites import Composite
from zhenan.telemetry.judge.rules import Rule
from zhenan.telemetry.judge.schedule import epoch_days
from zhenan.telemetry.judge.table import Groups


@dataclass(frozen=True)
class PointRow:
    """How the gateway turns a raw value on a device's channel into a reading of a point.

    ``device_key`` and ``device_id`` are of the device on whose connection it comes; ``subject_id`` of the point's own.
    """

    protocol: str
    device_key: str
    device_id: int
    channel: str
    point_id: int
    scale: float
    offset: float
    bit: int | None
    low: float | None
    high: float | None
    states: dict[str, float] | None
    subject_id: int
    layout: str = ""  # of a JSON payload in a shape of the model's own
    password: str | None = None  # of HJ 212: the connection's own; "": none is checked; None: the city's


def rule_of(code: str) -> AlarmRule | None:
    """The alarm rule as it stands today, or None where no pack declares it any more."""
    try:
        return registry().alarm_rule(code)
    except UnknownCode:
        return None


def devices_stamp() -> str:
    """Changes whenever a device or its points changed: also by what was changed earlier and committed later than
    the newest change, which the newest moment alone would hide."""
    moment = Cast(Extract("changed_at", "epoch") * 1_000_000, BigIntegerField())
    seen = Device.objects.aggregate(moments=Sum(moment), count=Count("pk"))
    return f"{seen['count']}:{seen['moments'] or 0}"


def gateway_points() -> Iterator[PointRow]:
    """Every point of every active device, under the identity and id of the device on whose connection it comes."""
    fields = (
        "device__protocol",
        "wire_key",
        "wire_id",
        "channel",
        "id",
        "scale",
        "offset",
        "bit",
        "low",
        "high",
        "states",
        "device__subject_id",
        "device__model",
    )
    layouts = {model.code: model.layout for model in registry().device_models() if model.layout}
    loggers = Device.objects.active().filter(protocol=Device.Protocol.HJ212, attributes__has_key="password")
    passwords = {pk: str(word or "") for pk, word in loggers.values_list("pk", "attributes__password")}
    rows = (
        Point.objects.filter(device__active=True)
        .annotate(
            wire_key=Coalesce("device__parent__key", "device__key"), wire_id=Coalesce("device__parent_id", "device_id")
        )
        .order_by("wire_id", "id")
        .values_list(*fields)
    )
    for row in rows.iterator(chunk_size=20_000):
        yield PointRow(*(*row[:-1], layouts.get(row[-1], ""), passwords.get(row[2])))


@dataclass(frozen=True)
class JudgeSetup:
    """What the live judge judges by. A point's key is its id as text; ``registered_at`` is int64 ms, one a point.

    ``partition``: uint8, of the point's subject, as the gateway spreads readings over the lanes of the log.
    """

    stamp: str
    rules: tuple[Rule, ...]
    points: list[str]
    registered_at: NDArray[np.int64]
    partition: NDArray[np.uint8]
    groups: Groups | None  # which rules look at which points; the rules themselves name none
    holidays: NDArray[np.int64]  # days since 1970-01-01 that are no working days by the calendar's notice
    composites: tuple[Composite, ...] = ()
    subjects: dict[str, str] = field(default_factory=dict)  # of the points at which a part of a composite may be raised


def judge_stamp() -> str:
    return f"{registry().stamp}|{devices_stamp()}"


def judge_setup() -> JudgeSetup:
    """Rules of all packs, and the points of all active devices with the group of rules that look at each."""
    stamp, book = judge_stamp(), registry()
    pairs = book.judged_measures()
    rows = _judged_points(pairs)
    met = {pairs[n]: n for n in np.unique(rows["pair"]).tolist() if n >= 0}
    codes = list(dict.fromkeys(rule.code for pair in met for rule in book.rules_for(*pair)))
    written = [{"id": code, "level": book.alarm_rule(code).level, **book.alarm_rule(code).rule} for code in codes]
    numbers = {code: number for number, code in enumerate(codes)}
    looking = [tuple(numbers[r.code] for r in book.rules_for(*p)) if p in met else () for p in pairs]
    composites = tuple(composite(r.code, r.level, r.rule) for r in book.alarm_rules() if r.is_composite)
    parts = {part for one in composites for part in one.rules}
    composed = np.array([n for pair, n in met.items() if parts & {r.code for r in book.rules_for(*pair)}], np.int64)
    within = rows[np.isin(rows["pair"], composed)]
    return JudgeSetup(
        stamp=stamp,
        rules=compiled(written) if written else (),
        points=list(map(str, rows["id"].tolist())),
        registered_at=rows["since"].astype(np.int64),
        partition=partitions(rows["subject"].astype(np.int64)),
        groups=Groups([*looking, ()], rows["pair"].astype(np.int32) % len([*pairs, ()])),  # -1: the last, without rules
        composites=composites,
        subjects=dict(zip(map(str, within["id"].tolist()), map(str, within["subject"].tolist()), strict=True)),
        holidays=epoch_days(holidays_around(timezone.localdate())),
    )


_POINT = np.dtype([("id", np.int64), ("subject", np.int64), ("since", np.int64), ("pair", np.int64)])
_JUDGED = """
SELECT string_agg(int8send(p.id), ''), string_agg(int8send(d.subject_id), ''),
  string_agg(int8send((extract(epoch FROM d.created_at) * 1000)::int8), ''),
  string_agg(int8send(coalesce(named.place - 1, -1)), '')
FROM monitoring_point p JOIN monitoring_device d ON d.id = p.device_id
LEFT JOIN unnest(%s::text[], %s::text[]) WITH ORDINALITY AS named(model, measure, place)
  ON named.model = d.model AND named.measure = p.measure
WHERE d.active
"""


def _judged_points(pairs: Sequence[tuple[str, str]]) -> NDArray[Any]:
    """The points of active devices by id, as _POINT: ms UTC since which each is registered, and the place of its
    (model, measure) among these; -1 for another.

    Whole columns as bytes: rows of a million points would take longer than judging needs to begin again.
    """
    models, measures = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    with connection.cursor() as cursor:
        cursor.execute(_JUDGED, (models, measures))
        columns = [np.frombuffer(column or b"", ">i8") for column in cursor.fetchone()]
    rows = np.empty(columns[0].size, _POINT)
    order = np.argsort(columns[0].astype(np.int64), kind="stable")
    for name, column in zip(_POINT.names or (), columns, strict=True):
        rows[name] = column[order]
    return rows


def alarms_of(subject: Any, *, limit: int = 20) -> list[Alarm]:
    """The newest alarms of a subject."""
    return list(Alarm.objects.filter(subject=subject).select_related("device", "assigned_to")[:limit])


def devices_of(subject: Any) -> list[Device]:
    return list(Device.objects.filter(subject=subject).prefetch_related("points").order_by("name"))


def open_alarms(user: User) -> QuerySet[Alarm]:
    """The user's open alarms, the gravest and newest first."""
    return Alarm.objects.visible_to(user).open().order_by("level", "-raised_at")


def alarm_counts(user: User, at: datetime) -> dict[str, int]:
    """Open alarms that the user may see: all, unacknowledged, past their response time, of level 1 and 2."""
    return Alarm.objects.visible_to(user).aggregate(
        open=Count("pk", filter=~Q(state=Alarm.State.CLOSED)),
        raised=Count("pk", filter=Q(state=Alarm.State.RAISED)),
        late=Count("pk", filter=Q(state=Alarm.State.RAISED, respond_by__lt=at)),
        grave=Count("pk", filter=~Q(state=Alarm.State.CLOSED) & Q(level__lte=2)),
    )


def points_judged_by(rule: AlarmRule, *, user: User | None, path: str = "") -> QuerySet[Point, tuple[int, int, int]]:
    """(point, device, subject) ids of the rule's points, of retired devices too, by point; within the user's reach."""
    models = rule.models or [one.code for one in registry().device_models(rule.code.partition(".")[0])]
    devices = Device.objects.all() if user is None else Device.objects.visible_to(user)
    rows = Point.objects.filter(device__in=devices.filter(model__in=models), measure=rule.measure)
    if path:
        rows = rows.filter(device__subject__division__path__startswith=path)
    return rows.order_by("pk").values_list("pk", "device_id", "device__subject_id")


@dataclass(frozen=True)
class Recorded:
    """Alarms that were: arrays of shape (n,), times in ms UTC; ``cleared``: the end asked for where it still stands."""

    pk: list[Any]
    point: NDArray[np.int64]
    device: NDArray[np.int64]
    subject: NDArray[np.int64]
    rule: list[str]
    onset: NDArray[np.int64]
    raised: NDArray[np.int64]
    cleared: NDArray[np.int64]
    cause: list[str]

    def take(self, which: Sequence[int]) -> Recorded:
        """Those at these places."""
        chosen = np.array(which, np.int64)
        taken: dict[str, Any] = {}
        for each in fields(self):
            column = getattr(self, each.name)
            taken[each.name] = column[chosen] if isinstance(column, np.ndarray) else [column[i] for i in which]
        return Recorded(**taken)


def recorded_alarms(
    rules: Sequence[str], *, since: datetime, until: datetime, user: User | None, path: str = ""
) -> Recorded:
    """Alarms of these rules raised in a period, with their verified causes, by point and time."""
    rows = Alarm.objects.all() if user is None else Alarm.objects.visible_to(user)
    rows = rows.filter(rule__in=rules, raised_at__gte=since, raised_at__lt=until)
    if path:
        rows = rows.filter(subject__division__path__startswith=path)
    names = ("pk", "point_id", "device_id", "subject_id", "rule", "onset", "raised_at", "cleared_at", "cause")
    columns: list[Any] = list(zip(*rows.order_by("point_id", "raised_at").values_list(*names), strict=True))
    pk, point, device, subject, rule, onset, raised, cleared, cause = columns or [()] * len(names)
    times = ([int((t or until).timestamp() * 1000) for t in column] for column in (onset, raised, cleared))
    onset, raised, cleared = (np.array(column, np.int64) for column in times)
    point, device, subject = (np.array(column, np.int64) for column in (point, device, subject))
    return Recorded(list(pk), point, device, subject, list(rule), onset, raised, cleared, list(cause))


def told_of(alarms: Sequence[tuple[Any, str, AlarmRule | None]], at: datetime) -> list[list[tuple[User, str]]]:
    """Who would be told, with the role for it, of an alarm of a rule at a subject: (subject, programme, rule) each."""
    made = [(Alarm(id=uuid4(), subject=subject, programme=programme), rule) for subject, programme, rule in alarms]
    people = Recipients(made, at)
    return [people.by_role(alarm) for alarm, _rule in made]


def names_of_points(points: list[int]) -> dict[int, tuple[str, str]]:
    """(subject, device) names by point id."""
    rows = Point.objects.filter(pk__in=points).values_list("pk", "device__subject__name", "device__name")
    return {pk: (subject, device) for pk, subject, device in rows}
