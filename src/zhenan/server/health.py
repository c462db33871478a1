"""Is it well: database, broker, and how far the readers of the log are behind. For /healthz and `zhenan doctor`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nats
import nats.errors
import psycopg
from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import sync_and_async_middleware
from nats.js.errors import APIError, ServiceUnavailableError

from zhenan.server import config, health_cluster
from zhenan.telemetry import lease
from zhenan.telemetry.lease import Book
from zhenan.telemetry.log.connect import servers
from zhenan.telemetry.log.streams import READINGS

WAIT_S = 2
PATH = "/healthz"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. ``ok`` None means that it does not apply here."""

    name: str
    ok: bool | None
    detail: str
    data: dict[str, Any] = field(default_factory=dict)


def database() -> Finding:
    """A query's round trip."""
    started = time.perf_counter()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT version()")
            (version,) = cursor.fetchone()
    except (DatabaseError, psycopg.Error) as err:
        return Finding("database", False, f"no answer: {str(err).strip().splitlines()[0]}")
    ms = round((time.perf_counter() - started) * 1000, 1)
    short = " ".join(version.split()[:2])
    return Finding("database", True, f"{short}, answers in {ms} ms", {"version": short, "ms": ms})


async def _connected(url: str) -> nats.NATS:
    """One attempt within WAIT_S (the client's own limits do not end the first connection's attempts)."""

    async def quietly(_: Exception) -> None:
        """The failed attempt is the finding; nothing more to log."""

    async with asyncio.timeout(WAIT_S):
        return await nats.connect(servers(url), connect_timeout=WAIT_S, allow_reconnect=False, error_cb=quietly)


async def broker(url: str) -> list[Finding]:
    """NATS itself, then each consumer of its streams with the messages it has yet to take."""
    if not url:
        return [Finding("nats", False, "no address: NATS_URL is not set and no embedded NATS is running")]
    try:
        client = await _connected(url)
    except (OSError, nats.errors.Error, TimeoutError) as err:
        return [Finding("nats", False, f"no answer: {str(err) or type(err).__name__}")]
    try:
        told = client.connected_server_version
        version = f"{told.major}.{told.minor}.{told.patch}"
        found = [Finding("nats", True, f"nats-server {version}", {"version": version})]
        stream_api = client.jetstream(timeout=WAIT_S)
        books = await lease.look(stream_api)
        for stream in await stream_api.streams_info():
            found += await _consumers(stream_api, stream, books)
        if "mqtt" in books:
            found.append(Finding("lanes mqtt", *health_cluster.sharing("mqtt", books["mqtt"], {})))
        return found
    except (nats.errors.Error, APIError, ServiceUnavailableError, TimeoutError) as err:
        return [Finding("nats", False, f"JetStream does not answer: {str(err) or type(err).__name__}")]
    finally:
        await client.close()


async def _consumers(stream_api: Any, stream: Any, books: Mapping[str, Book]) -> list[Finding]:
    name = stream.config.name
    if name.startswith("$MQTT"):
        return []
    state = stream.state
    well, copies, data = health_cluster.copies(stream)
    kept = Finding(
        f"stream {name}",
        well,
        f"{state.messages} messages, {state.bytes} bytes{copies}",
        {"messages": state.messages, "bytes": state.bytes, **data},
    )
    lanes, others = health_cluster.by_lane(await stream_api.consumers_info(name), books)
    shared = [
        Finding(f"lanes {role}", *health_cluster.sharing(role, books[role], lanes.get(role, {})))
        for role in ("judge", "historian")
        if name == READINGS and role in books
    ]
    return [kept, *shared, *(_lag(name, consumer, health_cluster.lag_limit()) for consumer in others)]


def _lag(stream: str, consumer: Any, limit: int) -> Finding:
    waiting = (consumer.num_pending or 0) + (consumer.num_ack_pending or 0)
    detail = f"{waiting} messages behind" + ("" if waiting <= limit else f", more than {limit}")
    data = {"pending": consumer.num_pending or 0, "unacknowledged": consumer.num_ack_pending or 0}
    return Finding(f"lag {stream}/{consumer.name}", waiting <= limit, detail, data)


async def healthz(_: HttpRequest) -> JsonResponse:
    """200 when database and broker answer, else 503; lag of each reader of the log. No details to strangers."""
    url = config.engines().nats_url
    found = [await sync_to_async(database)(), *await broker(url)]
    lag = {
        f.name.removeprefix("lag "): f.data["pending"] + f.data["unacknowledged"]
        for f in found
        if f.name.startswith("lag ")
    } | {f"{READINGS}/{f.name.removeprefix('lanes ')}": f.data["waiting"] for f in found if f.name.startswith("lanes ")}
    well = all(f.ok is not False for f in found if f.name in ("database", "nats"))
    body = {
        "status": "ok" if well else "failing",
        "database": next(bool(f.ok) for f in found if f.name == "database"),
        "nats": next(bool(f.ok) for f in found if f.name == "nats"),
        "lag": lag,
    }
    return JsonResponse(body, status=200 if well else 503)


Handler = Callable[[HttpRequest], Any]


@sync_and_async_middleware
def probed_under_any_name(get_response: Handler) -> Handler:
    """Balancers and orchestrators ask a process by its address, which ZHENAN_HOSTS cannot know beforehand."""

    def freed(request: HttpRequest) -> HttpRequest:
        if request.path == PATH:  # the answer holds no address, so that a forged name leads nowhere
            request.get_host = lambda: "localhost"  # type: ignore[method-assign]
        return request

    if iscoroutinefunction(get_response):

        async def answer(request: HttpRequest) -> HttpResponse:
            found: Awaitable[HttpResponse] = get_response(freed(request))
            return await found

        return answer
    return lambda request: get_response(freed(request))
