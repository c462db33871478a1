"""The command line of the demo city."""

from __future__ import annotations

import argparse
import logging
import sys

from django.conf import settings
from django.utils import timezone

from zhenan.server.demo import accounts, build, reset
from zhenan.server.demo.plan import Demo


def main(argv: list[str]) -> int:
    """Build what is missing of the demo city, or with --reset --yes take it down first."""
    asked = parsed(argv)
    if asked.reset and not asked.yes:
        sys.stderr.write("zhenan demo: --reset deletes every demo row; add --yes to say that this is meant\n")
        return 2
    logging.getLogger("zhenan").setLevel(logging.WARNING)  # not a line for each invented event
    settings.NOTICE_CHANNELS = []  # nobody is written to because of invented records
    demo = Demo(seed=asked.seed, scale=asked.scale, now=timezone.now(), say=say)
    if asked.reset:
        reset.wipe(demo)
    standing = build.standing()
    if standing is not None and standing != (demo.scale, demo.seed):
        say(
            f"a demo city of scale {standing[0]:g} and seed {standing[1]} stands already and is kept; "
            f"`zhenan demo --reset --yes --scale {demo.scale:g} --seed {demo.seed}` builds another"
        )
        return 0
    made = build.build(demo)
    if not made:
        say("the demo city stands already; nothing was added")
    sys.stdout.write(accounts.greeting() + "\n")
    return 0


def parsed(argv: list[str]) -> argparse.Namespace:
    """The arguments. Exits with status 2 and a message when they are wrong."""
    parser = argparse.ArgumentParser(prog="zhenan demo", description=__doc__)
    parser.add_argument("--scale", type=_scale, default=0.02, help="1.0 is the real city's size (default 0.02)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reset", action="store_true", help="delete the demo city before building it anew")
    parser.add_argument("--yes", action="store_true", help="confirms --reset")
    return parser.parse_args(argv)


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0005 <= value <= 13:
        raise argparse.ArgumentTypeError(f"came {text!r}; want a number from 0.0005 to 13 (a province), such as 0.02")
    return value


def say(line: str) -> None:
    """One line of progress, at once, on stderr: stdout holds the result alone."""
    sys.stderr.write(f"  {line}\n")
    sys.stderr.flush()
