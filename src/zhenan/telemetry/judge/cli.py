"""`zhenan judge`: judge a file of readings."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zhenan.telemetry.judge.files import judge_file
from zhenan.telemetry.judge.readings_csv import InputFault, Malformed, ts_of
from zhenan.telemetry.judge.rulefile import RulesFault


def _until(text: str) -> int:
    try:
        return ts_of(text)
    except Malformed as err:
        raise argparse.ArgumentTypeError(str(err)) from None


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(
        prog="zhenan judge", description="Judge a file of readings by alarm rules, without any server."
    )
    found.add_argument("--rules", type=Path, required=True, metavar="FILE", help="alarm rules, YAML")
    found.add_argument(
        "--input",
        type=Path,
        required=True,
        metavar="FILE.csv",
        help="readings: point,ts,value[,quality]; ts in ms UTC or ISO",
    )
    found.add_argument("--out", type=Path, required=True, metavar="alarms.csv", help="where the alarms are written")
    found.add_argument(
        "--until",
        type=_until,
        metavar="TS",
        help="judge silence at the end up to this time (default: the largest ts read)",
    )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """0 when the file was judged, malformed rows or not; 2 when the rules, the input or the options are wrong."""
    try:
        options = parser().parse_args(argv)
    except SystemExit as end:  # argparse has said why
        return int(end.code or 0)
    try:
        judge_file(options.rules, options.input, options.out, options.until)
    except (RulesFault, InputFault) as err:
        print(err, file=sys.stderr)  # noqa: T201
        return 2
    except OSError as err:
        print(f"{err.filename or options.out}: {err.strerror or err}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
