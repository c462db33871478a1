"""How a cluster is: copies of the streams with their leaders, lanes with their holders and how far each is behind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from zhenan.telemetry.lease import Book, holders

LANE_READER = re.compile(r"(?P<role>judge|historian)-(?P<lane>\d+)-(?P<token>\d+)")


def lag_limit() -> int:
    """Messages behind, above which something is wrong."""
    return int(os.environ.get("ZHENAN_LAG_LIMIT", "20000"))


def copies(stream: Any) -> tuple[bool, str, dict[str, Any]]:
    """(whether all is well, in words, as data) of a stream's copies; nothing to say of a single node."""
    cluster = stream.cluster
    if cluster is None or not cluster.name:
        return True, "", {}
    others = cluster.replicas or []
    behind = [peer.name for peer in others if peer.offline or not peer.current]
    words = f", led by {cluster.leader or 'nobody'}"
    if others:
        words += f", copies at {', '.join(sorted(peer.name for peer in others))}"
    if behind:
        words += f"; not up to date: {', '.join(sorted(behind))}"
    data = {"leader": cluster.leader, "copies": sorted(peer.name for peer in others), "behind": sorted(behind)}
    return bool(cluster.leader) and not behind, words, data


def by_lane(consumers: Iterable[Any], books: Mapping[str, Book]) -> tuple[dict[str, dict[int, int]], list[Any]]:
    """(role → lane → messages its holder has yet to take, the consumers that are no lane's).

    Consumers that a former holder left behind are left out: the broker removes them after two minutes.
    """
    waiting: dict[str, dict[int, int]] = {}
    rest = []
    for consumer in consumers:
        found = LANE_READER.fullmatch(consumer.name)
        if found is None:
            rest.append(consumer)
            continue
        role, lane, token = found["role"], int(found["lane"]), int(found["token"])
        book = books.get(role)
        if book is not None and book.lanes.get(lane, ("", -1))[1] == token:
            waiting.setdefault(role, {})[lane] = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
    return waiting, rest


def sharing(role: str, book: Book, waiting: Mapping[int, int]) -> tuple[bool, str, dict[str, Any]]:
    """(whether all is well, in words, as data): who holds which lanes of a role, and how far each is behind."""
    rows = list(holders(book))
    words = [f"{name}: {spans(lanes)}{_behind(role, lanes, waiting)}" for name, lanes in rows]
    free = book.free()
    if free:
        words.append(f"held by nobody: {spans(free)}")
    total = sum(waiting.values())
    data = {"holders": dict(rows), "free": free, "waiting": total}
    return not free and total <= lag_limit(), "; ".join(words) or "nobody", data


def _behind(role: str, lanes: list[int], waiting: Mapping[int, int]) -> str:
    return "" if role not in ("judge", "historian") else f" ({sum(waiting.get(n, 0) for n in lanes)} messages behind)"


def spans(numbers: Iterable[int]) -> str:
    """Numbers in short: 0-4, 9. A dash for none."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in found) or "–"
