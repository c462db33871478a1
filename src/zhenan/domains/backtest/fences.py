"""Questions about a fence: its versions over the recorded positions of vehicles."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zhenan.domains.backtest.errors import BadFence, NoVehicles, UnknownFence, UnknownVersion
from zhenan.domains.backtest.question import Places, Question, milliseconds
from zhenan.domains.monitoring import queries as monitoring
from zhenan.domains.monitoring.models import Device
from zhenan.domains.monitoring.queries import Recorded
from zhenan.domains.register.queries import attributes_over_time
from zhenan.domains.transport import queries as transport
from zhenan.domains.transport.classes import CLASS, GOODS, check_classes
from zhenan.domains.transport.errors import WORDS
from zhenan.domains.transport.models import Fence, FenceRecord, FenceVersion
from zhenan.domains.transport.services import RAISES, TERMS, fence_rule, shape_of
from zhenan.kernel.errors import DomainError
from zhenan.kernel.people.models import User
from zhenan.telemetry.backtest.fences import BEGINS, FencePlan, Term
from zhenan.telemetry.backtest.found import ENTER, NOTED, Found
from zhenan.telemetry.tracks.fences import FenceFault
from zhenan.telemetry.tracks.judge import MOST_KMH, VehicleKind

FENCE = "fence:"
WAS, TRIED = "was", "terms"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_KINDS = 8  # kinds of what a vehicle does at a fence, with room


class Terms(BaseModel):
    """The terms of a version as they may be tried; what they must be together the fence itself says."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    shape: Literal["circle", "polygon", "corridor"]
    points: list[tuple[float, float]] = Field(max_length=500)
    size_m: float = 0
    hysteresis_m: float = 30
    windows: list[tuple[int, int, int]] = Field(default=[], max_length=100)
    vehicle_classes: list[str] = []
    goods_classes: list[str] = []
    alarm_on_enter: bool = True
    speed_kmh: float | None = None
    dwell_s: int | None = None
    level: int = Field(default=3, ge=1, le=4)


def checked(terms: dict[str, Any]) -> dict[str, Any]:
    """Terms as a version keeps them. Raises BadFence with every fault."""
    try:
        found = Terms.model_validate(terms).model_dump(mode="json")
        shape_of(_version(None, 0, found), {}, {})
    except ValidationError as err:
        raise BadFence(faults="; ".join(_readable(dict(one)) for one in err.errors())) from err
    except FenceFault as fault:
        raise BadFence(faults=str(WORDS.get(fault.code, fault))) from fault
    return found


def _readable(error: dict[str, Any]) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, TERMS, 1)
        return f"{where}: {near[0]}?" if near else f"{where}: {', '.join(TERMS)}"
    return f"{where}: {error['msg']} ({str(error['input'])[:60]})"


def fence_named(text: str, *, user: User | None) -> Fence:
    """By its number or its name, among those that the user may see (None: all). Raises UnknownFence."""
    rows = Fence.objects.select_related("division") if user is None else Fence.objects.visible_to(user)
    found = (
        rows.filter(pk=int(text)) if text.isascii() and text.isdigit() and len(text) < 19 else rows.filter(name=text)
    )
    if len(found[:2]) != 1:
        raise UnknownFence(fence=text)
    return found[0]


def fence_question(
    text: str, *, changed: dict[str, Any], standing_as: str, changed_as: str, user: User | None, at: datetime,
) -> FenceQuestion:  # fmt: skip
    """A fence as it stands at `at`, as it was (``standing_as`` "was") or in a version ("v2"), beside changed terms
    (those given; the others stand) or beside another version (``changed_as`` "v1").

    Raises UnknownFence, UnknownVersion, BadFence, UnknownClass.
    """
    fence = fence_named(text, user=user)
    history = list(fence.versions.order_by("version"))
    now = next((v for v in reversed(history) if v.valid_from <= at), history[-1])
    shown = now if standing_as in ("", WAS) else _numbered(history, standing_as)
    standing, tried = terms_of(shown), {}
    if changed_as.startswith("v"):
        tried = terms_of(_numbered(history, changed_as))
    elif changed:
        tried, changed_as = checked({**standing, **changed}), TRIED
        check_classes(tried, kept=[terms_of(version) for version in history])
    if tried == standing and standing_as != WAS:
        tried = {}
    standing_as = standing_as if standing_as == WAS else f"v{shown.version}"
    return FenceQuestion(fence, standing, tried, standing_as, changed_as if tried else "")


def _numbered(history: list[FenceVersion], text: str) -> FenceVersion:
    for version in history:
        if text == f"v{version.version}":
            return version
    known = f"{WAS}, " + ", ".join(f"v{version.version}" for version in history)
    raise UnknownVersion(version=text, known=known)


def terms_of(version: FenceVersion) -> dict[str, Any]:
    """What it says, as JSON."""
    found = {name: getattr(version, name) for name in TERMS}
    return Terms.model_validate(found).model_dump(mode="json")


def _version(fence: Fence | None, number: int, terms: dict[str, Any]) -> FenceVersion:
    """A version valid at all times, not to be saved."""
    return FenceVersion(fence_id=fence.pk if fence else 0, version=number, valid_from=LONG_AGO, **terms)


class FenceQuestion(Question):
    """A fence over positions. A vehicle and its goods are of the classes that are recorded of the time."""

    def __init__(
        self, fence: Fence, standing: dict[str, Any], changed: dict[str, Any], standing_as: str, changed_as: str
    ) -> None:
        super().__init__(f"{FENCE}{fence.pk}", standing, changed, standing_as, changed_as, fence.pk)
        self.fence = fence

    def sides(self) -> list[list[FenceVersion]]:
        """The versions judged, of each side one after the other in time."""
        was = list(self.fence.versions.order_by("version")) if self.standing_as == WAS else []
        sides = [was or [_version(self.fence, 0, self.standing)]]
        return sides + ([[_version(self.fence, 0, self.changed)]] if self.changed else [])

    def nowhere(self) -> DomainError:
        return NoVehicles()

    def rows(self, *, user: User | None, path: str) -> list[QuerySet[Any, tuple[int, int, int]]]:
        rows = Device.objects.filter(protocol="jt808") if user is None else transport.vehicles(user)
        if path:
            rows = rows.filter(subject__division__path__startswith=path)
        return [rows.values_list("pk", "pk", "subject_id")]

    def plan(self, where: Places, since: datetime, until: datetime) -> FencePlan:
        sides = self.sides()
        words = [
            {word: n for n, word in enumerate(sorted({w for side in sides for v in side for w in getattr(v, name)}))}
            for name in ("vehicle_classes", "goods_classes")
        ]
        try:
            terms = tuple(tuple(Term(shape_of(v, *words), v.alarm_on_enter, v.level) for v in side) for side in sides)
        except FenceFault as fault:
            raise BadFence(faults=str(WORDS.get(fault.code, fault))) from fault
        offset = timezone.localtime(since).utcoffset()
        was = Classes({}, {}, 0, 0)
        if any(words):
            was = classes_of(where, words[0], words[1], since, until)
            self.remarks["classes"] = {"unrecorded": was.unrecorded, "changed": was.changed}
        return FencePlan(
            transport.tracks(settings.HISTORY_URL).url, terms, where.point.astype(np.int32),
            was.kinds, milliseconds(since), milliseconds(until), reclassed=was.reclassed,
            offset_ms=int(offset.total_seconds() * 1000) if offset else 0,
            most_kmh=float(os.environ.get("ZHENAN_TRACK_MAX_KMH", "") or MOST_KMH),
        )  # fmt: skip

    def recorded(self, *, since: datetime, until: datetime, user: User | None, path: str) -> Recorded:
        """Alarms of this fence alone, though another may have its name: those that its events made."""
        events = FenceRecord.objects.filter(
            version__fence=self.fence, kind__in=list(RAISES), at__gte=since, at__lt=until
        ).values_list("device_id", "kind", "onset")
        mine = {(device, self.rule(kind), milliseconds(onset)) for device, kind, onset in events}
        rules = [self.rule(kind) for kind in RAISES]
        found = monitoring.recorded_alarms(rules, since=since, until=until, user=user, path=path)
        rows = zip(found.device.tolist(), found.rule, found.onset.tolist(), strict=True)
        return found.take([place for place, row in enumerate(rows) if row in mine])

    def rule(self, kind: str) -> str:
        """The rule of its alarms as the console has them."""
        return fence_rule(self.fence, kind)

    def key(self, found: Found, where: Places) -> NDArray[np.int64]:
        """The vehicle and what it did; an entry is one whether it was an alarm or only noted."""
        kind = np.where(found.kind == NOTED, ENTER, found.kind)
        return found.point.astype(np.int64) * _KINDS + kind

    def key_of_recorded(self, recorded: Recorded) -> NDArray[np.int64]:
        kinds = {self.rule(kind): BEGINS[kind] for kind in RAISES}
        return recorded.device * _KINDS + np.array([kinds[rule] for rule in recorded.rule], np.int64)


@dataclass
class Classes:
    """What the vehicles and their goods were at each time. ``unrecorded``: of how many nothing is recorded from the
    beginning of the period (their first record stands for the time before it; without any, what they are today);
    ``changed``: how many became something else in it."""

    kinds: dict[int, VehicleKind]
    reclassed: dict[int, tuple[tuple[int, VehicleKind], ...]]
    unrecorded: int
    changed: int


def classes_of(
    where: Places, classes: dict[str, int], goods: dict[str, int], since: datetime, until: datetime
) -> Classes:
    """Of each vehicle by the record of changes of the subject that it is."""
    records = attributes_over_time(where.subject.tolist(), (CLASS, GOODS), until=until)
    rows = Device.objects.filter(protocol="jt808", pk__in=where.device.tolist()).values_list(
        "pk", "subject_id", f"subject__attributes__{CLASS}", f"subject__attributes__{GOODS}"
    )
    made = Classes({}, {}, 0, 0)
    for vehicle, subject, *today in rows:
        told = records.get(subject) or [(until, tuple(today))]
        kinds = [(at, VehicleKind(classes.get(str(words[0]), -1), goods.get(str(words[1]), -1))) for at, words in told]
        made.kinds[vehicle] = kinds[0][1]
        made.reclassed[vehicle] = tuple((milliseconds(at), kind) for at, kind in kinds[1:])
        made.unrecorded += kinds[0][0] > since
        made.changed += any(at > since for at, _kind in kinds[1:])
    return made
