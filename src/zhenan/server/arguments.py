"""The arguments of ./run and `zhenan up`, readable before anything is installed (standard library only)."""

from __future__ import annotations

import argparse


def of_up(prog: str) -> argparse.ArgumentParser:
    """The parser both share."""
    parser = argparse.ArgumentParser(prog=prog, description="Start the whole platform; stop it with Ctrl-C.")
    parser.add_argument("--host", default="127.0.0.1", help="address the pages listen on (default: this machine only)")
    parser.add_argument("--port", type=port, default=8000, help="port of the pages; the next free one when it is taken")
    parser.add_argument("--data", metavar="DIR", help="folder of databases, logs and uploads (default: .data)")
    parser.add_argument("--scale", type=scale, default="0.02", help="size of the demo city; 1.0 is the real one")
    parser.add_argument("--seed", type=seed, default="1", help="seed of the demo city")
    parser.add_argument("--no-demo", dest="demo", action="store_false", help="no demo city, no simulated devices")
    return parser


def port(came: str) -> int:
    """A TCP port."""
    if not came.isdigit() or not 1 <= int(came) <= 65535:
        raise argparse.ArgumentTypeError(f"came {came!r}; want a number from 1 to 65535")
    return int(came)


def scale(came: str) -> str:
    """A positive number, kept as it was written."""
    try:
        good = 0 < float(came) <= 20
    except ValueError:
        good = False
    if not good:
        raise argparse.ArgumentTypeError(f"came {came!r}; want a number above 0, such as 0.02")
    return came


def seed(came: str) -> str:
    """A whole number, kept as it was written."""
    if not came.isdigit():
        raise argparse.ArgumentTypeError(f"came {came!r}; want a whole number")
    return came
