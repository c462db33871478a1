"""What stands on record and what became of it: asked by the judge, which holds it against its own state."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from math import nan
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import BigIntegerField, Exists, F, OuterRef, Q
from django.db.models.functions import Mod

from zhenan.domains.monitoring.models import Alarm, AlarmStage, HeldAlarm
from zhenan.telemetry.columns import PARTITIONS
from zhenan.telemetry.judge.standing import OnRecord

# Rules of packs: what a fence raises is named in words, and is the business of whoever follows vehicles.
JUDGED = Q(rule__regex=r"^[a-z][a-z0-9_]*\.")


class Page(NamedTuple):
    """Some of what is open. `next`: where to go on; None: no more."""

    rows: list[OnRecord]
    next: tuple[int, Any] | None


def open_on_record(partitions: range, *, after: tuple[int, Any] = (0, None), most: int) -> Page:
    """At most so many of the alarms (of those with stages: the stages) and held ones of these partitions that are open.

    By table, and in each by partition and id; partitions are those of the log's lanes (telemetry.columns).
    """
    table, last = after
    rows = _open(table, partitions)
    if last is not None:
        partition, pk = last
        rows = rows.filter(Q(partition__gt=partition) | Q(pk__gt=pk), partition__gte=partition)
    names = ("pk", "partition", "point_id", "rule", "onset", "raised_at", "value", "level", "recorded_at")
    found = list(rows.order_by("partition", "pk").values_list(*names)[:most])
    following: tuple[int, Any] | None = (table + 1, None) if table < 2 else None
    if len(found) == most:
        following = table, (found[-1][1], found[-1][0])
    return Page([_row(*row[2:]) for row in found], following)


def _open(table: int, partitions: range) -> Any:
    of_lane = {"partition__gte": partitions.start, "partition__lt": partitions.stop}
    if table == 0:  # the index `alarm_standing` has these
        staged = Exists(AlarmStage.objects.filter(alarm=OuterRef("pk")))
        rows: Any = Alarm.objects.filter(~staged, cleared_at=None).annotate(partition=_partition("subject"))
    elif table == 1:
        rows = AlarmStage.objects.filter(cleared_at=None).annotate(partition=_partition("alarm__subject"))
    else:
        rows = HeldAlarm.objects.filter(cleared_at=None, released_at=None).annotate(partition=_partition("subject"))
    return rows.filter(JUDGED, **of_lane)


def _partition(subject: str) -> Mod:
    return Mod(F(subject), PARTITIONS, output_field=BigIntegerField())  # a whole number, else no index has it


def _row(
    point: int, rule: str, onset: datetime, raised: datetime, value: float | None, level: int, recorded: datetime
) -> OnRecord:
    return OnRecord(str(point), rule, _ms(onset), _ms(raised), nan if value is None else value, level, _ms(recorded))


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def ends_on_record(ids: Sequence[UUID]) -> dict[UUID, int | None]:
    """Of those that are on record: when each ended, in ms UTC; None while it is open."""
    found: dict[UUID, int | None] = {}
    for rows in (
        HeldAlarm.objects.filter(pk__in=ids, released_at=None),
        Alarm.objects.filter(pk__in=ids),
        AlarmStage.objects.filter(pk__in=ids),  # the last word: an alarm outlives its first stage
    ):
        for pk, ended in rows.values_list("pk", "cleared_at"):
            found[pk] = None if ended is None else _ms(ended)
    return found
