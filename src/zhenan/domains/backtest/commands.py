"""``zhenan backtest``: a rule or a fence over history from the command line; nothing is stored."""

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

from zhenan.domains.backtest.errors import BadRule
from zhenan.domains.backtest.fences import FENCE
from zhenan.domains.backtest.question import Question, check_period
from zhenan.domains.backtest.results import KINDS, WHY, Version
from zhenan.domains.backtest.rules import FAMILY, families, rule_named
from zhenan.domains.backtest.services import Judged, judged, question_named
from zhenan.domains.monitoring.models import Device
from zhenan.domains.monitoring.queries import names_of_points
from zhenan.kernel.errors import DomainError
from zhenan.kernel.territory.models import Division
from zhenan.packkit.judging import is_composite
from zhenan.telemetry.backtest.found import OPEN

HEADER = ["version", "subject", "device", "point", "onset", "raised", "cleared", "value", "in_both", "cause", "level",
          "kind", "lat", "lon", "organisation", "told", "held"]  # fmt: skip


def main(argv: list[str]) -> int:
    """How many alarms a rule or a fence would have given over a period, when, where, for whom; with --set or --against,
    beside a changed one.

    Exit status: 0 done, 1 it cannot be judged, 2 a wrong argument.
    """
    parser = argparse.ArgumentParser(prog="zhenan backtest", description=main.__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--rule", metavar="CODE", help="an alarm rule, such as catering_gas.gas_alarm, or family:PACK.NAME"
    )
    what.add_argument("--fence", metavar="NUMBER|NAME", help="a fence, over the positions of all vehicles")
    add = parser.add_argument
    add("--from", dest="since", type=date.fromisoformat, metavar="YYYY-MM-DD", help="by default 30 days ago")
    add("--to", dest="until", type=date.fromisoformat, metavar="YYYY-MM-DD", help="included; by default today")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter as tried, such as above=30; of a "
        "family RULE.KEY=VALUE; of a fence a term: speed_kmh=40, points=[[32.2,119.4],…]; no value: none")  # fmt: skip
    add("--version", type=int, metavar="N", help="that version of the fence instead of the one in force")
    add("--as-it-was", action="store_true", help="each trip by the version of the fence of its time")
    add("--against", type=int, metavar="N", help="beside that version of the fence, instead of --set")
    add("--division", default="", metavar="CODE", help="a division's code, such as 321181")
    add("--out", type=Path, metavar="FILE.csv", help="the alarms, a row each")
    add("--json", action="store_true")
    args = parser.parse_args(argv)
    if args.rule and (args.version or args.as_it_was or args.against):
        parser.error("--version, --as-it-was and --against are for fences")
    if (args.version and args.as_it_was) or (args.against and args.set):
        parser.error("give either --version or --as-it-was, and either --against or --set")
    try:
        return _run(args)
    except DomainError as err:
        sys.stderr.write(f"zhenan backtest: {err}\n")
        return 2


def _run(args: argparse.Namespace) -> int:
    now = timezone.now()
    question = _question(args, now)
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
    done = judged(question, since=since, until=until, user=None, path=path, progress=progress)
    if args.out:
        _write(args.out, question, done)
    if args.json:
        json.dump({"points": done.points, **done.summary}, sys.stdout, ensure_ascii=False, indent=1)
        sys.stdout.write("\n")
    else:
        _print(question, done)
    return 0


def _question(args: argparse.Namespace, now: datetime) -> Question:
    if args.rule:
        return question_named(args.rule, changed=_changed(args.rule, args.set), user=None, at=now)
    standing_as = "was" if args.as_it_was else f"v{args.version}" if args.version else ""
    return question_named(
        f"{FENCE}{args.fence}", changed=dict(map(_pair, args.set)), standing_as=standing_as,
        changed_as=f"v{args.against}" if args.against else "", user=None, at=now,
    )  # fmt: skip


def _pair(text: str) -> tuple[str, Any]:
    """KEY=VALUE; the value as YAML reads it, nothing for none. Raises BadRule."""
    key, _, value = text.partition("=")
    try:
        return key.strip(), yaml.safe_load(value) if value else None
    except yaml.YAMLError as err:
        raise BadRule(faults=f"{key}: {' '.join(str(err).split())}") from err


def _changed(code: str, asked: list[str]) -> dict[str, Any]:
    """The rule's parameters (of a family, by rule) with those asked set anew; {} when none is. Raises BadRule."""
    if not asked:
        return {}
    if not code.startswith(FAMILY):
        return _set(rule_named(code).rule, [_pair(one) for one in asked])
    by_rule: dict[str, list[tuple[str, Any]]] = {}
    for key, value in map(_pair, asked):
        rule, _, own = key.rpartition(".")
        by_rule.setdefault(rule.rpartition(".")[2], []).append((own, value))
    known = {rule.code.rpartition(".")[2]: rule.rule for rule in families().get(code, [])}
    return {name: _set(known.get(name, {}), pairs) for name, pairs in by_rule.items()}


def _set(standing: dict[str, Any], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    spec = dict(standing)
    for key, value in pairs:
        if value is None:
            spec.pop(key, None)
        else:
            spec[key] = value
    if is_composite(spec):
        spec["kind"] = "n_of" if "n" in spec else "all_of"
    return spec


def _progress(done: int, of: int) -> bool:
    sys.stderr.write(f"\r  judged {done} of {of} parts")
    if done == of:
        sys.stderr.write("\n")
    return True


def _print(question: Question, done: Judged) -> None:
    out, summary = sys.stdout.write, done.summary
    what = ("vehicles", "positions") if question.fence_id else ("points", "readings")
    out(f"{done.points} {what[0]}, {summary['readings']} {what[1]}, {summary['recorded']} alarms were recorded\n")
    if classes := summary.get("classes"):
        out(f"classes as recorded at the time: {classes['changed']} vehicles changed in the period; ")
        out(f"of {classes['unrecorded']} nothing is recorded from its beginning, their first record stands for it\n")
    for one in done.versions:
        f = summary["versions"][one.code]
        precision = "unknown" if f["precision"] is None else f"{100 * f['precision']:.1f} %"
        out(f"\n{one.code}: {f['alarms']} alarms at {f['subjects']} sites, {f['minutes']} minutes, ")
        out(f"{f['standing']} standing; precision {precision}; true alarms missed {f['missed_real']}")
        out(f"; in this version only {f['only_here']}\n" if len(done.versions) > 1 else "\n")
        if f["told"] != f["alarms"] or f["told_later"]:
            out(f"  told: {f['told']}, {f['told_later']} of them later; silenced by maintenance {f['silenced']}, ")
            out(f"folded under a gateway that was gone {f['folded']}\n")
        lines = {
            "what": [list(row)[::-1] for row in f["by_kind"].items()],
            "when": f["by_day"],
            "where": [r[1:] for r in f["by_division"]],
            "vehicles": [r[1:] for r in f.get("by_vehicle", [])],
            "organisations": f.get("by_organisation", []),
            "levels": [[f"level {level}:", n] for level, n in f["by_level"]]
            if question.code.startswith(FAMILY)
            else [],
            "for whom": f["by_person"],
        }
        for title, rows in lines.items():
            shown = ", ".join(" ".join(str(part) for part in row) for row in rows[:10])
            if rows or title in ("when", "where", "for whom"):
                out(f"  {title}: {shown or '–'}{' …' if len(rows) > 10 else ''}\n")


def _write(path: Path, question: Question, done: Judged) -> None:
    wanted = np.unique(np.concatenate([one.found.point for one in done.versions])).tolist()
    names = _names(question, wanted)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(HEADER)
        for one in done.versions:
            for i in range(len(one.found)):
                rows.writerow(_row(one, i, names, done.recorded.cause))


def _names(question: Question, points: list[int]) -> dict[int, tuple[str, ...]]:
    """Subject, device and perhaps organisation by point or vehicle."""
    if question.fence_id is None:
        return {pk: tuple(found) for pk, found in names_of_points(points).items()}
    fields = ("pk", "subject__name", "name", "subject__organisation__name")
    rows = Device.objects.filter(pk__in=points).values_list(*fields)
    return {pk: (subject, name, organisation or "") for pk, subject, name, organisation in rows}


def _row(one: Version, i: int, names: dict[int, tuple[str, ...]], causes: list[str]) -> list[Any]:
    f, point = one.found, int(one.found.point[i])
    place = int(one.recorded[i])
    subject, device, *organisation = names.get(point, ("", ""))
    times = [_iso(column[i]) for column in (f.onset, f.raised, f.cleared)]
    cause = causes[place] if place >= 0 else ""
    return [
        one.code, subject, device, point, *times, _text(f.value[i], "g"), int(one.other[i] >= 0), cause,
        int(f.level[i]), KINDS[int(f.kind[i])], _text(f.lat[i], ".6f"), _text(f.lon[i], ".6f"), *(organisation or [""]),
        _iso(one.told[i]), WHY[int(one.why[i])],
    ]  # fmt: skip


def _text(value: np.float64, shape: str) -> str:
    return "" if np.isnan(value) else format(value, shape)


def _iso(ms: np.int64) -> str:
    if ms == OPEN:
        return ""
    return datetime.fromtimestamp(int(ms) / 1000, timezone.get_current_timezone()).isoformat(timespec="milliseconds")
