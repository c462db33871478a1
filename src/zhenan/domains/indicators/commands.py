"""``zhenan indicators``: the figures, as a table or JSON."""

from __future__ import annotations

import argparse
import json
import sys
import unicodedata
from datetime import date

from django.utils import timezone

from zhenan.domains.indicators.queries import Figure, Question, all_figures, indicators
from zhenan.kernel.territory.models import Division


def main(argv: list[str]) -> int:
    """Print every figure as of a date, for the city or one division. Exit status 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="zhenan indicators", description=main.__doc__)
    parser.add_argument("--as-of", type=date.fromisoformat, default=None, metavar="YYYY-MM-DD")
    parser.add_argument("--division", default="", metavar="CODE", help="a division's code, such as 321181")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(argv)
    path = ""
    if args.division:
        division = Division.objects.filter(code=args.division).first()
        if division is None:
            print(f"zhenan indicators: --division: no division {args.division!r}", file=sys.stderr)  # noqa: T201
            return 2
        path = division.path
    asked = Question(user=None, as_of=args.as_of or timezone.localdate(), path=path)
    figures = all_figures(asked, only=indicators())
    if args.json:
        rows = [
            {
                "code": f.indicator.code,
                "figure": f.indicator.figure,
                "name": f.indicator.name.model_dump(),
                "value": f.value,
                "unit": f.indicator.unit,
                "met": f.met,
                "records": f.records,
                "as_of": asked.as_of.isoformat(),
            }
            for f in figures
        ]
        json.dump(rows, sys.stdout, ensure_ascii=False, indent=1)
        sys.stdout.write("\n")
    else:
        for figure in figures:
            sys.stdout.write(line(figure) + "\n")
    return 0


def line(figure: Figure) -> str:
    value = "–" if figure.value is None else f"{figure.value:,.2f}".rstrip("0").rstrip(".")
    sign = {True: "✓", False: "✗", None: " "}[figure.met]
    name = figure.indicator.name.label("zh-hans")
    width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name)
    one, gap = figure.indicator, " " * max(1, 34 - width)
    return f"{one.figure or '':4} {name}{gap}{value:>14} {one.unit:6} {sign}  {one.code}"
