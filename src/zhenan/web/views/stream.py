"""The live feed as server-sent events: only topic and id; the page then asks for what it may see."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from zhenan.kernel.access.scope import Scope
from zhenan.kernel.events import kinds
from zhenan.kernel.events.stream import MISSED, Message, hub
from zhenan.kernel.people.roles import capabilities
from zhenan.web.scope import SEEN_WITH, events_heard, hearing_of, hears_topic

BEAT_S = 15.0
# After this the browser connects again, and rights are read afresh.
LIFE_S = 600.0
BACKLOG = 500
OVERLAP_MS = 10_000  # events commit a little out of the order of their ids


async def stream(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """What moves within the user's reach since ``Last-Event-ID``, else since the page was made (``since``), or now."""
    user = await request.auser()
    if not user.is_authenticated:
        return HttpResponse(status=204)  # tells EventSource to stop asking
    last = request.headers.get("Last-Event-ID", "") or request.GET.get("since", "")
    scope, heard = await sync_to_async(_rights)(user)
    answer = StreamingHttpResponse(_messages(user, scope, heard, last), content_type="text/event-stream")
    answer["Cache-Control"] = "no-store"
    answer["X-Accel-Buffering"] = "no"
    return answer


def _rights(user: Any) -> tuple[Scope, frozenset[str]]:
    """The user's reach, and the topics that are not for this user."""
    scope = hearing_of(user)
    topics = {*SEEN_WITH, *(c.split(".", 1)[0] for c in capabilities() if c.endswith(".view"))}
    closed = {topic for topic in topics if not hears_topic(user, topic)}
    _release()
    return scope, frozenset(closed)


def _release() -> None:
    """An open page must not hold a database connection for hours."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close()


async def _messages(user: Any, scope: Scope, closed: frozenset[str], last: str) -> AsyncIterator[bytes]:
    ends = time.monotonic() + LIFE_S
    async with hub.subscribe(scope, user.pk) as queue:
        yield b"retry: 2000\n\n" + _beat()
        if last:
            for message in await sync_to_async(missed_since)(user, last):
                if message.topic not in closed:
                    yield _packed(message)
        while time.monotonic() < ends:
            try:
                message = await asyncio.wait_for(queue.get(), BEAT_S)
            except TimeoutError:
                yield _beat()
                continue
            if told := b"".join(_packed(m) for m in _newest(message, queue) if m.topic not in closed):
                yield told


def _newest(first: Message, queue: asyncio.Queue[Message]) -> list[Message]:
    """Of each topic the newest message that waits: a page asks for a topic again, it does not read one by one.

    A batch of alarms brings a message for each place; one word for all of them keeps a storm from filling the wires.
    """
    waiting = [first]
    while not queue.empty():
        waiting.append(queue.get_nowait())
    newest = {message.topic: number for number, message in enumerate(waiting)}
    return [waiting[number] for number in sorted(newest.values())]


def missed_since(user: Any, last: str) -> list[Message]:
    """What was told since the id that the page saw last; more than BACKLOG, or an unknown id: reload everything."""
    try:
        after = uuid.UUID(last)
    except ValueError:
        return [MISSED]
    start = uuid.UUID(int=max((after.int >> 80) - OVERLAP_MS, 0) << 80)
    rows = events_heard(user).filter(pk__gt=start).exclude(pk=after).order_by("pk").values_list("pk", "kind")
    found = list(rows[: BACKLOG + 1])
    _release()
    if len(found) > BACKLOG:
        return [MISSED]
    return [Message(str(pk), kinds.topic(kind), kind, "", (), "", ()) for pk, kind in found]


def _beat() -> bytes:
    return f"event: beat\ndata: {timezone.now().isoformat()}\n\n".encode()


def _packed(message: Message) -> bytes:
    head = f"id: {message.id}\n" if message.id else ""
    body = json.dumps({"topic": message.topic, "id": message.id})
    return f"{head}event: change\ndata: {body}\n\n".encode()
