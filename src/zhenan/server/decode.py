"""`zhenan decode`: recorded device messages on stdin, one JSON object a line on stdout. No Django, no server."""

from __future__ import annotations

import argparse
import io
import sys

PROTOCOLS = ("jt808", "gb26875", "hj212", "mqtt_json")


def main(argv: list[str]) -> int:
    """Exit status 0 when every line was read, whether or not its message was sound."""
    parser = argparse.ArgumentParser(prog="zhenan decode", description=__doc__)
    parser.add_argument("--protocol", required=True, choices=PROTOCOLS)
    parser.add_argument("--json", action="store_true", help="one JSON object a line (the only form there is)")
    parser.add_argument(
        "--join", action="store_true", help="jt808: the last part also says what the whole message says"
    )
    asked = parser.parse_args(argv)
    from zhenan.telemetry.codecs.lines import decode_stream

    # A line in no known encoding must not end the stream: it is decoded as far as it goes and judged like any other.
    lines = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="replace")
    for answer in decode_stream(asked.protocol, lines, join=asked.join):
        sys.stdout.write(answer if answer.endswith("\n") else answer + "\n")
    return 0
