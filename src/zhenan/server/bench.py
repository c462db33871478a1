"""`zhenan bench NAME [--json]`: measure, as ratios to a floor of the same run. The benches are found in bench/."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

import django

from zhenan.server import config
from zhenan.server.cli import Refused

FOLDER = config.ROOT / "bench"
ON_THE_DATABASE = ("pages",)  # of the settings; the others start what they need


def names() -> list[str]:
    """The benches of this checkout."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def main(argv: list[str]) -> int:
    """Run one bench with its own options. Raises Refused when this installation has none."""
    known = names()
    if not known:
        raise Refused(f"bench: no benches in {FOLDER}; run it from a checkout of the source")
    parser = argparse.ArgumentParser(
        prog="zhenan bench", description=__doc__, epilog="zhenan bench NAME --help shows the options of one"
    )
    parser.add_argument("name", choices=known)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="--json, and what the bench itself takes")
    asked = parser.parse_args(argv)
    sys.path.insert(0, str(config.ROOT))
    if asked.name in ON_THE_DATABASE:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zhenan.server.settings")
        django.setup()
    return int(importlib.import_module(f"bench.{asked.name}").main(asked.rest) or 0)
