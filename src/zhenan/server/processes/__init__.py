"""The platform's own processes: gateway, judge, historian, simulator; each one event loop until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import psycopg
import structlog
import uvloop
from django.db import DatabaseError, InterfaceError, OperationalError, connections
from prometheus_client import CollectorRegistry, Gauge

from zhenan.server import config, metrics
from zhenan.telemetry.log.tasks import end

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger("zhenan.process")
RETRY_S = 0.3
SWITCH_S = 0.0005  # so long at most a thread that is busy with a city's register holds the event loop up


class Process:
    """What every process has: a name, a stop signal, a database thread, a health file and figures."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stop = asyncio.Event()
        self.began = time.time()
        self._database = ThreadPoolExecutor(1, thread_name_prefix="database")

    async def database(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call into Django in the one thread that owns this process's connection; waits for the database to come back.

        Only for calls that may be made twice: one whose answer was lost is made again.
        """
        warned = False
        while True:
            try:
                return await self.once(call, *args, **kwargs)
            except (DatabaseError, InterfaceError, psycopg.Error) as err:
                if not is_passing(err):
                    raise
                if not warned:
                    log.warning("database.waiting", process=self.name, error=str(err).strip().split("\n")[0])
                    warned = True
                await asyncio.sleep(RETRY_S)

    async def once(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call into Django in the database's thread, once."""
        bound = partial(_with_connections, call, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._database, bound)

    async def report(self, figures: Callable[[], Mapping[str, float]], every_s: float = 2.0) -> None:
        """Leave health and figures where the web process and `zhenan doctor` find them, for ever."""
        while True:
            found = figures()
            health = {"pid": os.getpid(), "at": time.time(), "began": self.began, **found}
            await asyncio.to_thread(self._write, health, found)
            await asyncio.sleep(every_s)

    def _write(self, health: Mapping[str, Any], figures: Mapping[str, float]) -> None:
        path = config.data_dir() / "run" / f"{self.name}.health.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(health), "utf-8")
        fresh.replace(path)
        registry = CollectorRegistry()
        gauges: dict[str, Gauge] = {}
        for name, value in figures.items():
            family, _, label = name.partition(":")
            known = gauges.get(family)
            if known is None:
                words = f"{self.name}: {family.replace('_', ' ')}"
                labels = ["kind"] if label else []
                known = gauges[family] = Gauge(f"zhenan_{self.name}_{family}", words, labels, registry=registry)
            (known.labels(label) if label else known).set(value)
        metrics.write(self.name, registry)

    async def until_stopped(self, *parts: Coroutine[Any, Any, Any]) -> None:
        """Run parts side by side until a signal comes or one of them fails; then end them all. Raises its error."""
        tasks = [asyncio.create_task(part) for part in parts]
        stopping = asyncio.create_task(self.stop.wait())
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end([*tasks, stopping])


def is_passing(err: BaseException) -> bool:
    """Whether the database was away, or ended our session: then the same call may succeed on a new connection.

    A process that was paused inside a transaction finds its session ended when it wakes (`let_others_write`), which
    the drivers tell as an error of the database itself, not of the connection.
    """
    if isinstance(err, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)):
        return True
    return isinstance(err.__cause__ or err, psycopg.errors.IdleInTransactionSessionTimeout)


def _with_connections(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return call(*args, **kwargs)
    except (DatabaseError, psycopg.Error):
        connections.close_all()  # what is left of a broken connection must not meet the next call
        raise


def run(name: str, main: Callable[[Process], Awaitable[int]]) -> int:
    """Run a process's main until it ends; SIGTERM and SIGINT ask it to. Returns the exit status."""

    async def body() -> int:
        process = Process(name)
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, process.stop.set)
        log.info("process.started", process=name, pid=os.getpid())
        status = await main(process)
        log.info("process.stopped", process=name, status=status)
        return status

    sys.setswitchinterval(SWITCH_S)
    faulthandler.enable()  # a crash of compiled code leaves the Python stack of every thread in the log
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(body())


async def listen(channel: str, changed: asyncio.Event) -> None:
    """Set `changed` at every notification of the database, and after every reconnect (one may have been missed)."""
    while True:
        try:
            address = config.connection(config.engines().database_url)
            async with await psycopg.AsyncConnection.connect(autocommit=True, **address) as connection:  # type: ignore[arg-type]
                await connection.execute(f'LISTEN "{channel}"')
                changed.set()
                async for _ in connection.notifies():
                    changed.set()
        except (psycopg.Error, OSError) as err:
            log.warning("notifications.waiting", channel=channel, error=str(err).strip().split("\n")[0])
            await asyncio.sleep(1.0)


def state_folder(name: str) -> Path:
    """Where a process keeps its state between runs."""
    return config.data_dir() / "state" / name


def addresses() -> config.Engines:
    """The engines' addresses; waits for nothing. Raises BadSetting when there is no broker."""
    found = config.engines()
    if not found.nats_url:
        raise config.BadSetting("NATS_URL", "is not set", "set it, or start the embedded engines with `zhenan up`")
    return found


@contextlib.contextmanager
def announced(name: str, facts: Mapping[str, Any]):  # type: ignore[no-untyped-def]
    """Leave facts (such as ports) in run/<name>.json while the process runs."""
    path = config.data_dir() / "run" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts), "utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
