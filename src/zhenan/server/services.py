"""The table of processes that make up a running platform: name → arguments of the `zhenan` command."""

from __future__ import annotations

import sys
from dataclasses import dataclass

NOT_BUILT = 69  # exit status (EX_UNAVAILABLE): this installation lacks the command; do not start it again


@dataclass(frozen=True)
class Service:
    """A process started through the `zhenan` command. ``demo``: only when the demo city runs."""

    name: str
    arguments: tuple[str, ...]
    demo: bool = False

    def argv(self) -> list[str]:
        return [sys.executable, "-m", "zhenan.server.cli", *self.arguments]


def table(*, host: str, port: int, demo: bool) -> list[Service]:
    """All processes in starting order."""
    known = [
        Service("web", ("web", "--host", host, "--port", str(port))),
        Service("gateway", ("gateway",)),
        Service("judge", ("judge",)),
        Service("historian", ("historian",)),
        Service("tracks", ("tracks",)),
        Service("worker", ("worker",)),
        Service("simulator", ("simulate",), demo=True),
    ]
    return [service for service in known if demo or not service.demo]
