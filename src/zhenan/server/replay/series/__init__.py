"""`zhenan replay series`: a measured series over MQTT through the live pipeline, its alarms compared with its labels.

Registers subject and device where they are missing, sets the set-points from the first part of the series where its set
does so, publishes every reading with its own time, waits until gateway and judge are through, and prints what came.
"""

from __future__ import annotations

import argparse
import logging
import math
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from zhenan.domains.monitoring.devices import register_device
from zhenan.domains.monitoring.models import Device
from zhenan.domains.register.models import Subject
from zhenan.domains.register.services import create_subject
from zhenan.kernel.errors import DomainError
from zhenan.kernel.territory.models import Division
from zhenan.kernel.territory.services import CITY
from zhenan.packkit.models import PackObject
from zhenan.packkit.registry import UnknownCode, registry
from zhenan.packkit.sync import override
from zhenan.server import config
from zhenan.server.replay.series import compare, running
from zhenan.server.replay.series.publish import NotPublished, publish
from zhenan.server.replay.series.sets import KINDS, PACK, BadSeries, Series, SetPoints, key_of
from zhenan.server.replay.tables import say

TYPE = f"{PACK}.test_site"


class CannotReplay(ValueError):
    """Something that must be there is not."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", dest="set", choices=sorted(KINDS), required=True, help="how the file is read")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="nab: the labels' file (default: labels.json beside the file)")
    parser.add_argument("--speed", default="max", help="times faster than the series' own clock, or max")
    parser.add_argument(
        "--start", default="", metavar="ISO", help="time of the first reading (default: its own; smoke: ending now)"
    )
    parser.add_argument(
        "--set-points-from", type=float, metavar="SHARE", dest="share",
        help="set the set-points from this first share of the series; 0: as the pack has them (default: 0.15; smoke 0)",
    )  # fmt: skip


def run(asked: argparse.Namespace) -> int:
    """Exit status 0: replayed and compared; 2: it could not be."""
    logging.getLogger("zhenan").setLevel(logging.WARNING)
    kind = KINDS[asked.set]
    try:
        series = placed(kind.read(asked.file, asked.labels), asked.start, timed=kind.timed)
        share = kind.share if asked.share is None else min(max(asked.share, 0.0), 1.0)
        learned = int(len(series) * share) if kind.set_points else 0
        points = kind.set_points(series, learned) if kind.set_points and learned else {}
        replay(series, points, learned, speed=speed_of(asked.speed))
    except (BadSeries, CannotReplay, NotPublished, running.NotRunning, DomainError) as err:
        sys.stderr.write(f"zhenan replay series: {err}\n")
        return 2
    return 0


def speed_of(text: str) -> float:
    """``max`` or a number above 0. Raises CannotReplay."""
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = 0.0
    if not speed > 0:
        raise CannotReplay(f"--speed: came {text!r}; want max, or a number above 0 such as 3600")
    return speed


def placed(series: Series, start: str, *, timed: bool) -> Series:
    """The series moved to where it shall begin. Raises CannotReplay for a start that is no time."""
    if not start:
        return series if timed else series.shifted(int(time.time()) * 1000 - int(series.ts[-1]))
    try:
        at = datetime.fromisoformat(start)
    except ValueError as err:
        raise CannotReplay(f"--start: came {start!r}; want such as 2026-03-01T08:00:00+08:00") from err
    at = at if at.tzinfo else timezone.make_aware(at, timezone.get_default_timezone())
    return series.shifted(round(at.timestamp() * 1000) - int(series.ts[0]))


def replay(series: Series, points: SetPoints, learned: int, *, speed: float) -> Device:
    """Send and compare; returns the device. Raises CannotReplay, NotRunning, NotPublished."""
    device = device_of(series)
    if points:
        lay_over(points)
        words = "; ".join(f"{rule}: {_words(values)}" for rule, values in points.items())
        say(f"set-points from the first {learned:,} rows: {words}")
    running.wait_ready()
    before = running.Health.of("judge")
    began = time.monotonic()
    messages = publish(series, device.key, config.engines().mqtt_url, speed=speed)
    sent_s = time.monotonic() - began
    last = running.wait_judged()
    time.sleep(2.5)  # the health file is written every two seconds
    values = sum(int(column.size - sum(map(math.isnan, column))) for column in series.values.values())
    say(
        f"{device.key}: {len(series):,} rows, {values:,} readings in {messages:,} messages, confirmed in {sent_s:.1f}"
        f" s; judged up to {last:,} of the log after {time.monotonic() - began:.1f} s"
    )
    after = running.Health.of("judge")
    counted = ("readings", "judged", "late", "duplicate", "unfit", "unknown_points")
    say("judge, all devices, meanwhile: " + ", ".join(f"{n} {after.get(n) - before.get(n):,}" for n in counted))
    if series.skipped:
        say(f"{series.skipped:,} rows have no time later than the row before them: left out")
    for note in series.notes:
        say(note)
    compare.print_all(series, device, learned=learned)
    return device


def _words(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


def device_of(series: Series) -> Device:
    """The device of a series, registered with its subject where it is missing. Raises CannotReplay."""
    try:
        registry().device_model(series.model)
    except UnknownCode:
        raise CannotReplay(
            f"no pack {PACK!r}: name its folder's parent in ZHENAN_PACK_DIRS (docs/examples/packs) and run "
            "`zhenan packs sync`"
        ) from None
    key = f"replay-{key_of(series.name)}"
    known = Device.objects.filter(protocol=Device.Protocol.MQTT_JSON, key=key).first()
    if known is not None:
        return known
    city = Division.objects.filter(code=CITY).first()
    if city is None:
        raise CannotReplay("the city's divisions are not loaded: run `zhenan territory`")
    subject = Subject.objects.filter(type=TYPE, key=key).first()
    now = timezone.now()
    if subject is None:
        attributes = {"origin": series.name[:200]}
        subject = create_subject(
            actor=None, at=now, type=TYPE, name=f"{series.name}（实测数据回放）"[:200], division=city, key=key,
            attributes=attributes,
        )  # fmt: skip
    return register_device(subject=subject, model=series.model, key=key, name=series.name[:200], by=None, at=now)


def lay_over(points: SetPoints) -> None:
    """Set-points as the city's own, over the pack's; nothing is written where they stand already."""
    for rule, values in points.items():
        code, wanted = f"{PACK}.{rule}", {"rule": dict(values)}
        row = PackObject.objects.get(kind="alarm_rule", code=code)
        if row.overrides != wanted:
            override("alarm_rule", code, wanted)
