"""`zhenan replay`: real records and recorded messages sent through the running platform, and what came of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module

# word → (module with ``add_arguments`` and ``run``, what it does); imported only when asked for
KINDS = {
    "inspections": ("zhenan.server.replay.inspections", "public inspection records → inspections, hazards, rechecks"),
    "series": ("zhenan.server.replay.series", "a measured series over MQTT, its alarms compared with its labels"),
    "frames": ("zhenan.server.replay.frames", "recorded device messages over TCP, compared with what is expected"),
}
Run = Callable[[argparse.Namespace], int]


def main(argv: list[str]) -> int:
    """One replay; exit status 0 done, 1 something disagrees, 2 wrong use."""
    parser = argparse.ArgumentParser(prog="zhenan replay", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="|".join(KINDS), dest="kind")
    asked_for = argv[0] if argv and argv[0] in KINDS else ""
    for word, (module, words) in KINDS.items():
        command = commands.add_parser(word, help=words, description=words)
        if word == asked_for:
            import_module(module).add_arguments(command)
    try:
        asked = parser.parse_args(argv)
    except SystemExit as err:
        return int(err.code or 0)
    run: Run = import_module(KINDS[asked.kind][0]).run
    return run(asked)
