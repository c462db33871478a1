"""``zhenan backtest``: a rule over history from the command line; nothing is stored."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from django.utils import timezone

from zhenan.domains.backtest.question import check_period, check_rule, rule_named
from zhenan.domains.backtest.results import Version
from zhenan.domains.backtest.services import judged
from zhenan.domains.monitoring.queries import names_of_points
from zhenan.kernel.errors import DomainError
from zhenan.kernel.territory.models import Division
from zhenan.telemetry.backtest.found import OPEN

HEADER = ["version", "subject", "device", "point", "onset", "raised", "cleared", "value", "in_both", "cause"]


def main(argv: list[str]) -> int:
    """How many alarms a rule would have given over a period, when, where, for whom; with --set, beside a changed one.

    Exit status: 0 done, 1 it cannot be judged, 2 a wrong argument.
    """
    parser = argparse.ArgumentParser(prog="zhenan backtest", description=main.__doc__)
    add = parser.add_argument
    add("--rule", required=True, metavar="CODE", help="an alarm rule, such as catering_gas.gas_alarm")
    add("--from", dest="since", type=date.fromisoformat, metavar="YYYY-MM-DD", help="by default 30 days ago")
    add("--to", dest="until", type=date.fromisoformat, metavar="YYYY-MM-DD", help="included; by default today")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter as tried, such as above=30")
    add("--division", default="", metavar="CODE", help="a division's code, such as 321181")
    add("--out", type=Path, metavar="FILE.csv", help="the alarms, a row each")
    add("--json", action="store_true")
    args = parser.parse_args(argv)
    try:
        return _run(args)
    except DomainError as err:
        sys.stderr.write(f"zhenan backtest: {err}\n")
        return 2


def _run(args: argparse.Namespace) -> int:
    rule, now = rule_named(args.rule), timezone.now()
    changed = _changed(rule.rule, args.set)
    zone = timezone.get_current_timezone()
    first = args.since or timezone.localdate() - timedelta(days=30)
    last = (args.until or timezone.localdate()) + timedelta(days=1)
    since, until = datetime.combine(first, time.min, zone), min(datetime.combine(last, time.min, zone), now)
    check_period(since, until, now)
    path = ""
    if args.division:
        found = Division.objects.filter(code=args.division).first()
        if found is None:
            sys.stderr.write(f"zhenan backtest: --division: no division {args.division!r}\n")
            return 2
        path = found.path
    progress = _progress if sys.stderr.isatty() else None
    made, figures, points = judged(rule, changed, since=since, until=until, user=None, path=path, progress=progress)
    if args.out:
        _write(args.out, made, figures["recorded"])
    if args.json:
        json.dump({"points": points, **figures["summary"]}, sys.stdout, ensure_ascii=False, indent=1)
        sys.stdout.write("\n")
    else:
        _print(made, figures["summary"], points)
    return 0


def _changed(standing: dict[str, Any], asked: list[str]) -> dict[str, Any]:
    """The rule with the parameters set anew; {} when none is. Raises BadRule."""
    if not asked:
        return {}
    spec = dict(standing)
    for one in asked:
        key, _, text = one.partition("=")
        value = yaml.safe_load(text) if text else None
        if value is None:
            spec.pop(key.strip(), None)
        else:
            spec[key.strip()] = value
    check_rule(spec)
    return spec


def _progress(done: int, of: int) -> bool:
    sys.stderr.write(f"\r  judged {done} of {of} parts")
    if done == of:
        sys.stderr.write("\n")
    return True


def _print(made: list[Version], summary: dict[str, Any], points: int) -> None:
    out = sys.stdout.write
    out(f"{points} points, {summary['readings']} readings, {summary['recorded']} alarms were recorded\n")
    for one in made:
        f = summary["versions"][one.code]
        precision = "unknown" if f["precision"] is None else f"{100 * f['precision']:.1f} %"
        out(f"\n{one.code}: {f['alarms']} alarms at {f['subjects']} sites, {f['minutes']} minutes, ")
        out(f"{f['standing']} standing; precision {precision}; true alarms missed {f['missed_real']}")
        out(f"; in this version only {f['only_here']}\n" if len(made) > 1 else "\n")
        for title, rows in (
            ("when", f["by_day"]),
            ("where", [r[1:] for r in f["by_division"]]),
            ("for whom", f["by_person"]),
        ):
            shown = ", ".join(" ".join(str(part) for part in row) for row in rows[:10])
            out(f"  {title}: {shown or '–'}{' …' if len(rows) > 10 else ''}\n")


def _write(path: Path, made: list[Version], recorded: Any) -> None:
    wanted = np.unique(np.concatenate([one.found.point for one in made])).tolist()
    names = names_of_points(wanted)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for one in made:
            f = one.found
            for i in range(len(f)):
                place = int(one.recorded[i])
                subject, device = names.get(int(f.point[i]), ("", ""))
                value = "" if np.isnan(f.value[i]) else f"{f.value[i]:g}"
                times = [_iso(column[i]) for column in (f.onset, f.raised, f.cleared)]
                cause = recorded.cause[place] if place >= 0 else ""
                point, both = int(f.point[i]), int(one.other[i] >= 0)
                rows.writerow([one.code, subject, device, point, *times, value, both, cause])


def _iso(ms: np.int64) -> str:
    if ms == OPEN:
        return ""
    return datetime.fromtimestamp(int(ms) / 1000, timezone.get_current_timezone()).isoformat(timespec="milliseconds")
