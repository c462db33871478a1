"""What is going on at this moment: open alarms in every state, an inspection under way, last values of all points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import numpy as np
from django.db import connection

from zhenan.domains.checks import services as checks
from zhenan.domains.monitoring import services as monitoring
from zhenan.domains.monitoring.models import Device, Point
from zhenan.domains.register.models import Subject
from zhenan.kernel.people.models import User
from zhenan.packkit.registry import registry
from zhenan.packkit.schema import AlarmRule
from zhenan.packkit.simulate import Columns, SimPoint, joined, module_of
from zhenan.server.demo import accounts, alarms, photos
from zhenan.server.demo.contracts import Posted, posted
from zhenan.server.demo.plan import CHUNK, SOURCE, Demo, chunks
from zhenan.telemetry.judge.results import Transition

OPEN = 300  # alarms open at this moment, at full scale
WINDOW_S = 2 * 3600 + 600  # of readings looked at for last values: every device but a silent one has sent by then


def make(demo: Demo) -> str:
    """Open alarms and an inspection under way; the chosen place has an alarm raised just now."""
    people = posted()
    _grid, subjects = accounts.chosen_place()
    opened = 0
    for place, subject in enumerate(subjects):
        found = _gravest(subject)
        if found:
            _raise(demo, *found, seconds=90 + 150 * place)
            opened += 1
    for number, (point, rule) in enumerate(_others(demo)):
        opened += 1
        _go_on(demo, people, point, rule, number)
    _begin_inspection(demo, people, subjects[0])
    return f"{opened} open alarms"


def _gravest(subject: Subject) -> tuple[Point, AlarmRule] | None:
    """A point of the subject and a rule of level two for it: one that makes other devices act, if there is one."""
    found = []
    for point in Point.objects.filter(device__subject=subject).select_related("device").order_by("pk"):
        for rule in registry().rules_for(point.device.model, point.measure):
            found.append((not rule.act, abs(rule.level - 2), point.pk, rule.code, point, rule))
    return min(found)[-2:] if found else None


def _others(demo: Demo) -> Iterable[tuple[Point, AlarmRule]]:
    """Points anywhere in the city, with a rule of level one to three each."""
    rng = demo.rng("open")
    points = Point.objects.filter(device__subject__source=SOURCE).order_by("pk")
    pks = list(points.values_list("pk", flat=True))
    wanted, tried = max(5, min(60, round(OPEN * demo.scale))), 0
    while wanted and tried < 2000:
        tried += 1
        point = points.select_related("device__subject__division").get(pk=pks[int(rng.integers(0, len(pks)))])
        rules = [r for r in registry().rules_for(point.device.model, point.measure) if r.level <= 3]
        if rules and rules[0].rule["kind"] in ("threshold", "state"):
            wanted -= 1
            yield point, rules[0]


def _raise(demo: Demo, point: Point, rule: AlarmRule, *, seconds: int, cleared_after_s: int = 70) -> Transition:
    raised_at = demo.now - timedelta(seconds=seconds)
    value = alarms.value_of(rule, point, demo.rng("value", str(point.measure), point.device.key))
    raised = Transition(
        str(point.pk),
        rule.code,
        "raise",
        _ms(raised_at),
        _ms(raised_at),
        np.nan if value is None else value,
        rule.level,
    )
    monitoring.record_transitions([raised], at=raised_at)
    # Back to normal since: no judge remembers this alarm, so none would ever clear it.
    cleared = raised._replace(kind="clear", ts=raised.ts + 1000 * min(cleared_after_s, seconds - 5))
    monitoring.record_transitions([cleared], at=demo.now)
    return raised


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _go_on(demo: Demo, people: Posted, point: Point, rule: AlarmRule, number: int) -> None:
    """Raise an alarm and take it as many steps on as its number says."""
    # nobody from the grid runs after a vehicle: its alarms are handled by telephone
    steps, subject = number % (2 if point.device.protocol == "jt808" else 5), point.device.subject
    minutes = (2, 12, 25, 40, 70)[steps] + number
    raised = _raise(demo, point, rule, seconds=60 * minutes, cleared_after_s=600)
    alarm = alarms.alarm_id(raised.point, raised.rule, raised.onset)
    rng = demo.rng("handler", point.device.key)
    by, at = alarms.handler(people, subject, rule, rng), demo.now - timedelta(minutes=minutes)
    worker = next(iter(people.holders(subject, "grid_worker")), None)
    if by is None or worker is None or steps == 0:
        return
    monitoring.acknowledge(alarm, by=by, at=at + timedelta(minutes=1))
    if steps >= 2:
        monitoring.assign(alarm, to=worker, by=by, at=at + timedelta(minutes=3))
    if steps >= 3:
        picture = [photos.photo(f"open/{point.device.key}")]
        monitoring.arrive(
            alarm, by=worker, at=at + timedelta(minutes=17), photos=picture, lon=subject.lon, lat=subject.lat
        )
    if steps >= 4:
        monitoring.judge_cause(
            alarm, cause="false_alarm", by=by, at=at + timedelta(minutes=30), note="现场核查未发现异常"
        )


def _begin_inspection(demo: Demo, people: Posted, subject: Subject) -> None:
    """The grid worker is at the chosen place, with half of a checklist answered."""
    worker = next(iter(people.holders(subject, "grid_worker")), None)
    lists = registry().checklists(subject_type=subject.type)
    if worker is None or not lists:
        return
    by = User.objects.get(pk=worker.pk)
    began = demo.now - timedelta(minutes=25)
    inspection = checks.start(subject=subject, checklist=lists[0].code, by=by, at=began)
    for place, item in enumerate(lists[0].items[: len(lists[0].items) // 2]):
        checks.answer(inspection.pk, item.code, "pass", by=by, at=began + timedelta(minutes=2 + 2 * place))


# Last values


def last_values(demo: Demo) -> str:
    """What each point said last, from the packs' own simulations, and which devices are online."""
    told = 0
    rows = Point.objects.filter(device__subject__source=SOURCE, device__active=True).order_by("pk")
    fields = (
        "pk",
        "device__key",
        "device__subject__key",
        "device__model",
        "measure",
        "device_id",
        "device__attributes",
    )
    seen: dict[int, int] = {}
    for chunk in chunks(rows.values_list(*fields).iterator(chunk_size=20_000), 20_000):
        points = [SimPoint(row[0], row[1], row[2], row[3], row[4], demo.seed, row[6]) for row in chunk]
        columns = readings(points, _ms(demo.now) - 1000 * WINDOW_S, _ms(demo.now), demo)
        devices = {row[0]: row[5] for row in chunk}
        told += _keep_last(columns, devices, seen)
    online = _keep_seen(demo, seen)
    return f"{told} points with a last value, {online} devices online"


def readings(points: Sequence[SimPoint], t0_ms: int, t1_ms: int, demo: Demo) -> Columns:
    """The readings that the packs' simulations give for the points."""
    groups: dict[str, list[SimPoint]] = defaultdict(list)
    for point in points:
        groups[point.model.partition(".")[0]].append(point)
    parts = []
    for pack, several in sorted(groups.items()):
        module = module_of(registry().folders[pack])
        if module is not None:
            parts.append(module.readings(several, t0_ms, t1_ms, demo.rng("readings", pack)))
    return joined(parts)


def _keep_last(columns: Columns, devices: dict[int, int], seen: dict[int, int]) -> int:
    """Write each point's newest reading; note when each device was last heard."""
    newest = {int(p): (int(t), float(v)) for p, t, v in zip(columns.point, columns.ts, columns.value, strict=True)}
    for point, (ts, _value) in newest.items():
        seen[devices[point]] = max(ts, seen.get(devices[point], 0))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE monitoring_point p SET last_at = to_timestamp(n.ts / 1000.0), last_value = n.value"
            " FROM unnest(%s::int[], %s::bigint[], %s::float8[]) AS n(id, ts, value) WHERE p.id = n.id",
            [list(newest), [ts for ts, _ in newest.values()], [value for _, value in newest.values()]],
        )
    return len(newest)


def _keep_seen(demo: Demo, seen: dict[int, int]) -> int:
    """A device is online when it was heard within its model's time; one behind another, when it was heard at all."""
    for model in registry().device_models():
        limit_ms = 1000 * (model.offline_after_s or WINDOW_S)
        mine = Device.objects.filter(model=model.code, subject__source=SOURCE).values_list("pk", flat=True)
        for chunk in chunks([pk for pk in mine if pk in seen], 10 * CHUNK):
            with connection.cursor() as cursor:
                cursor.execute(
                    "UPDATE monitoring_device d SET last_seen_at = to_timestamp(n.ts / 1000.0), online = n.online"
                    " FROM unnest(%s::bigint[], %s::bigint[], %s::bool[]) AS n(id, ts, online) WHERE d.id = n.id",
                    [chunk, [seen[pk] for pk in chunk], [_ms(demo.now) - seen[pk] < limit_ms for pk in chunk]],
                )
    return Device.objects.filter(subject__source=SOURCE, online=True).count()
