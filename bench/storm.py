"""A storm: alarms a second from the judge's word to rows in PostgreSQL, beside a floor measured in the same run.

    python -m bench.storm [--json] [--alarms N] [--batch N]

The whole of recording: alarm, its history row, event, notices and summaries for the people responsible, deadline, in
transactions as the judge makes them. The floor copies the same alarm rows (COPY) into a table without indexes, in as
many transactions. `late`: nobody answers, and the response time of all passes at once. `behind_s`: a city's storm of
83,491 alarms within 60 s: how long after its end the last is recorded.
Works on a PostgreSQL of its own, thrown away at the end.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import _screen

STORM, STORM_S = 83_491, 60
NOON_MS = 1_772_424_000_000


def measure(folder: Path, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The figures of `work`, on a PostgreSQL of its own."""
    from zhenan.server import embedded

    postgres = embedded.postgres_in(folder, port=0, durable=True)
    engine = embedded.start(postgres, log=folder / "postgres.log")
    os.environ |= {"ZHENAN_DATA": str(folder), "DATABASE_URL": postgres.url()}
    os.environ["DJANGO_SETTINGS_MODULE"] = "zhenan.server.settings"
    try:
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        return work()
    finally:
        embedded.stop(engine, postgres.stop_signal)


def to_the_screen(folder: Path, seconds: float, pages: int) -> dict[str, Any]:
    """The storm at its pace, with open pages."""
    from zhenan.kernel.people.models import User

    rate = STORM / STORM_S
    words = _city(200 + round(rate * seconds))
    return _screen.measure(words, User.objects.get(username="bench-town"), folder, rate=rate, count=pages)


def to_the_database(alarms: int, batch: int) -> dict[str, Any]:
    from zhenan.domains.monitoring.models import Alarm
    from zhenan.domains.monitoring.services import record_transitions
    from zhenan.kernel.notices.models import Notice

    words = _city(alarms)
    at = datetime.fromtimestamp(NOON_MS / 1000, UTC)
    record_transitions(words[:200], at=at)
    seconds: list[float] = []
    began = time.perf_counter()
    for start in range(200, alarms, batch):
        one = time.perf_counter()
        record_transitions(words[start : start + batch], at=at)
        seconds.append(time.perf_counter() - one)
    rate = (alarms - 200) / (time.perf_counter() - began)
    floor = _floor(batch)
    done = Alarm.objects.count()
    if done != alarms:
        raise RuntimeError(f"{alarms} alarms were raised, {done} are recorded")
    clears = [word._replace(kind="clear", ts=word.ts + 1000) for word in words]
    began = time.perf_counter()
    record_transitions(clears, at=at)
    clears_per_s = alarms / (time.perf_counter() - began)
    return {
        "alarms": alarms,
        "batch": batch,
        "alarms_per_s": round(rate),
        "clears_per_s": round(clears_per_s),
        **_late(),
        "batch_p50_ms": round(1000 * sorted(seconds)[len(seconds) // 2], 1),
        "batch_max_ms": round(1000 * max(seconds), 1),
        "notices": Notice.objects.count(),
        "copy_floor_rows_per_s": round(floor),
        "ratio_to_copy_floor": round(rate / floor, 4),
        "storm_alarms_per_s": round(STORM / STORM_S),
        "behind_s": round(max(0.0, STORM / rate - STORM_S), 1),
    }


def _late() -> dict[str, Any]:
    """Nobody answers: every alarm's response time passes at once."""
    from zhenan.domains.monitoring.models import Alarm
    from zhenan.kernel.notices.models import Notice
    from zhenan.kernel.workflow.services import tick

    before = Notice.objects.count()
    due = Alarm.objects.order_by("-respond_by")[0].respond_by
    wall, cpu = time.perf_counter(), time.process_time()
    steps = tick(due)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "late_per_s": round(steps / wall),
        "late_cpu_ms_per_thousand": round(1e6 * cpu / steps),
        "late_notices": Notice.objects.count() - before,
    }


def _city(alarms: int) -> list[Any]:
    """A town, 100 grids with a worker each, a thousand sites, a detector an alarm; the judge's words of a storm."""
    from zhenan.domains.monitoring.models import Device, Point
    from zhenan.domains.register.models import Subject
    from zhenan.kernel.people.models import Organisation, Post, User
    from zhenan.kernel.territory.models import Division
    from zhenan.kernel.territory.services import load_city
    from zhenan.packkit.sync import sync_packs
    from zhenan.telemetry.judge.results import Transition

    load_city(boundaries=False)
    sync_packs()
    town = Division.objects.filter(level="town").order_by("code")[0]
    office = Organisation.objects.create(code="bench-office", name="bench", kind="town", division=town)
    _person("town", User, Post, office, town, "town_office")
    grids = []
    for number in range(100):
        code = f"{town.code}{900 + number}"
        grid = Division.objects.create(
            code=code, name=f"bench {number}", level="grid", parent=town, path=f"{town.path}{code}/"
        )
        _person(f"grid{number}", User, Post, office, grid, "grid_worker")
        grids.append(grid)
    subjects = Subject.objects.bulk_create(
        Subject(
            type="catering_gas.caterer", programme="catering_gas", key=f"B{n}", name=f"bench {n}",
            division=grids[n % 100], attributes={"gas_kind": "natural"},
        )
        for n in range(1000)
    )  # fmt: skip
    devices = Device.objects.bulk_create(
        (
            Device(
                protocol="mqtt_json", key=f"B{n}", model="catering_gas.gas_detector", programme="catering_gas",
                subject=subjects[n % 1000], name=f"bench {n}",
            )
            for n in range(alarms)
        ),
        batch_size=5000,
    )  # fmt: skip
    points = Point.objects.bulk_create(
        (Point(device=device, channel="lel", measure="gas_lel", unit="%LEL") for device in devices), batch_size=5000
    )
    return [
        Transition(str(p.pk), "catering_gas.gas_alarm", "raise", NOON_MS + n, NOON_MS + n, 22.0, 2)
        for n, p in enumerate(points)
    ]


def _person(name: str, user: Any, post: Any, office: Any, division: Any, role: str) -> None:
    person = user.objects.create(username=f"bench-{name}", name=name)
    post.objects.create(user=person, organisation=office, division=division, role=role)


def _floor(batch: int) -> float:
    """Rows a second of COPY alone: the alarms just made, into a table without an index."""
    from django.db import connection, transaction

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_floor AS SELECT * FROM monitoring_alarm WHERE false")
        cursor.execute("SELECT * FROM monitoring_alarm LIMIT 20000")
        with cursor.copy("COPY (SELECT * FROM monitoring_alarm LIMIT 20000) TO STDOUT") as copy:
            lines = [bytes(line) for line in copy]
        began = time.perf_counter()
        for start in range(0, len(lines), batch):
            with transaction.atomic(), cursor.copy("COPY bench_floor FROM STDIN") as copy:
                for line in lines[start : start + batch]:
                    copy.write(line)
        return len(lines) / (time.perf_counter() - began)


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    return "\n".join(
        [
            f"{found['alarms']:,} alarms in batches of {found['batch']:,}; {found['notices']:,} notices",
            f"raised   {found['alarms_per_s']:8,} alarms/s  {found['ratio_to_copy_floor']:.3f} x copy floor"
            f" ({found['copy_floor_rows_per_s'] / 1e3:.0f} k rows/s)",
            f"cleared  {found['clears_per_s']:8,} alarms/s",
            f"late     {found['late_per_s']:8,} alarms/s  told of by {found['late_notices']:,} notices"
            f" ({found['late_cpu_ms_per_thousand']:,} ms of our processor time a thousand)",
            f"batch    p50 {found['batch_p50_ms']:,} ms, longest {found['batch_max_ms']:,} ms",
            f"a storm of {STORM:,} in {STORM_S} s ({found['storm_alarms_per_s']:,}/s) is recorded"
            f" {found['behind_s']} s after its end",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench storm", description="A storm of alarms into PostgreSQL.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--alarms", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--screen", action="store_true", help="instead: at the storm's pace, up to open pages")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long that storm lasts")
    parser.add_argument("--pages", type=int, default=3, help="pages open on it")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="zhenan-storm-") as name:
        folder = Path(name)
        if options.screen:
            found = measure(folder, lambda: to_the_screen(folder, options.seconds, options.pages))
        else:
            found = measure(folder, lambda: to_the_database(options.alarms, options.batch))
    words = _screen.table if options.screen else table
    print(json.dumps(found) if options.json else words(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
