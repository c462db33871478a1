"""Recording an event inside the transaction of the change it tells of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from django.db import connection, models

from zhenan.kernel.events import kinds
from zhenan.kernel.events.models import Event, key_of, new_id
from zhenan.kernel.people.models import User
from zhenan.kernel.rows.building import built
from zhenan.kernel.rows.copying import create_many

CHANNEL = "zhenan_events"
log = structlog.get_logger("zhenan.events")


def record(
    kind: str,
    *,
    targets: Sequence[models.Model | str],
    actor: User | None,
    at: datetime,
    data: dict[str, Any] | None = None,
    path: str = "",
    organisations: Sequence[int | None] = (),
    programme: str = "",
) -> Event:
    """Write one event and announce it to open pages when the transaction commits.

    ``targets``: the objects whose timelines show it. ``path``, ``organisations``, ``programme``: where it happened, for
    scopes. Raises ValueError for a kind that no room declared: a sentence nobody could read.
    """
    return record_many(
        [
            {
                "kind": kind,
                "targets": targets,
                "actor": actor,
                "at": at,
                "data": data or {},
                "path": path,
                "organisations": organisations,
                "programme": programme,
            }
        ]
    )[0]


def record_many(rows: Sequence[dict[str, Any]]) -> list[Event]:
    """Write many events with one statement; announces at most one message per topic and place."""
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
    events = [_event(row, request_id) for row in rows]
    create_many(events)
    _announce(events)
    if len(events) == 1:
        log.info("event", event_id=str(events[0].id), kind=events[0].kind, targets=events[0].targets)
    return events


def _event(row: dict[str, Any], request_id: str) -> Event:
    if row["kind"] not in kinds.REGISTERED:
        raise ValueError(f"event kind {row['kind']!r} is not registered; known: {', '.join(sorted(kinds.REGISTERED))}")
    return built(
        Event,
        {"actor": row.get("actor")},
        kind=row["kind"],
        at=row["at"],
        targets=[t if isinstance(t, str) else key_of(t) for t in row["targets"]],
        path=row.get("path", ""),
        organisations=[o for o in row.get("organisations", ()) if o is not None],
        programme=row.get("programme", ""),
        data=row.get("data") or {},
        request_id=request_id,
    )


def _announce(events: Sequence[Event]) -> None:
    several = len(events) > 50
    first: dict[tuple[str, str, int], Event] = {}
    for number, event in enumerate(events):
        first.setdefault((kinds.topic(event.kind), event.path, 0 if several else number), event)
    _notify_all([_message(topic, event) for (topic, _path, _number), event in first.items()])


def _message(topic: str, event: Event) -> dict[str, Any]:
    return {
        "id": str(event.id),
        "topic": topic,
        "kind": event.kind,
        "path": event.path,
        "organisations": list(event.organisations)[:50],
        "programme": event.programme,
        "targets": event.targets[:5],
    }


def announce_to(users: Sequence[int], topic: str) -> None:
    """Tell the open pages of these people alone that something of the topic is new for them."""
    parts = [list(users[start : start + 500]) for start in range(0, len(users), 500)]  # a payload holds 8,000 bytes
    empty: dict[str, Any] = {"path": "", "organisations": [], "programme": "", "targets": []}
    _notify_all(
        [{"id": str(new_id()), "topic": topic, "kind": f"{topic}.new", **empty, "users": part} for part in parts]
    )


def _notify_all(payloads: Sequence[dict[str, Any]]) -> None:
    """NOTIFY the live feed with one statement; PostgreSQL delivers at commit and drops at rollback."""
    if payloads:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_notify(%s, message) FROM unnest(%s::text[]) AS message",
                [CHANNEL, [json.dumps(payload) for payload in payloads]],
            )


def timeline_of(target: models.Model | str, *, limit: int = 200) -> list[Event]:
    """The newest events of an object, newest first, with their actors: one query."""
    return list(Event.objects.all().about(target).select_related("actor")[:limit])
