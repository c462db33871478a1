"""Engines, databases and the browser for all tests. Real PostgreSQL, real NATS, Debian's Chromium; nothing is mocked.

Fixtures: ``nats_url`` (a NATS of this test process), ``tmp_nats`` (one for a single test, which may kill it),
``tmp_postgres`` (a durable PostgreSQL for a single test), and pytest-django's and pytest-playwright's own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before Django's settings are read: a test never sees the data or the engines of a running ./run.
GIVEN_DATABASE = (
    os.environ.pop("DATABASE_URL", "")
    if "PYTEST_XDIST_WORKER" not in os.environ
    else os.environ.get("ZHENAN_TEST_SERVER", "")
)
os.environ["ZHENAN_TEST_SERVER"] = GIVEN_DATABASE
for name in ("NATS_URL", "MQTT_URL", "HISTORY_URL"):
    os.environ.pop(name, None)
DATA = tempfile.mkdtemp(prefix="zhenan-test-")
atexit.register(shutil.rmtree, DATA, ignore_errors=True)
os.environ["ZHENAN_DATA"] = DATA
os.environ["DJANGO_SETTINGS_MODULE"] = "zhenan.server.settings"

from tests.support import databases  # noqa: E402

from zhenan.server import embedded, messages  # noqa: E402

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

DJANGO_FAULT: list[BaseException] = []


def set_up_django() -> None:
    """Before test modules import models; floors without Django are tested even when it cannot start."""
    import django

    try:
        django.setup()
    except Exception as fault:
        DJANGO_FAULT.append(fault)
        from django.conf import settings
        from django.utils.functional import empty

        settings._wrapped = empty  # pytest-django would stop everything at the same fault
        os.environ.pop("DJANGO_SETTINGS_MODULE", None)


set_up_django()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # once, before any test process reads a translation
        messages.compile_messages()
    if not DJANGO_FAULT:
        config.pluginmanager.import_plugin("tests.support.personas")  # imports models


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with browser tests come last: Playwright leaves an event loop running in its thread, in which code that
    starts a loop of its own (the gateway's tests, charts) cannot run."""
    in_browser = {item.path for item in items if "browser" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in in_browser)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for fault in DJANGO_FAULT:
        terminalreporter.section("Django could not start; tests that need it cannot run", red=True)
        terminalreporter.line("".join(traceback.format_exception(fault)[-6:]))


@pytest.fixture(scope="session")
def database_server() -> Iterator[str]:
    """Address of the PostgreSQL that test databases are made on."""
    if GIVEN_DATABASE:
        yield GIVEN_DATABASE
        return
    server = databases.SharedServer()
    yield server.url
    server.leave()


@pytest.fixture(scope="session")
def django_db_setup(django_db_blocker: Any, database_server: str) -> Iterator[None]:
    """This process's own database, cloned from the migrated template."""
    import psycopg
    from django.db import connections

    if DJANGO_FAULT:
        raise DJANGO_FAULT[0]
    name = f"test_zhenan_{os.getpid()}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with django_db_blocker.unblock():
        databases.point_django_at(databases.make_database(database_server, name))
    yield
    with django_db_blocker.unblock():
        connections.close_all()
    with psycopg.connect(database_server, autocommit=True) as db:
        databases.drop_database(db, name)


class OwnNats:
    """A NATS server of a test's own: kill it, start it again, stop it."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.engine = embedded.nats_in(folder, port=0, mqtt_port=0, http_port=0, durable=durable)
        self.log = folder / "nats.log"
        self.start()

    @property
    def url(self) -> str:
        return self.engine.url

    @property
    def mqtt_url(self) -> str:
        return self.engine.mqtt_url

    def start(self) -> None:
        self.process = embedded.start(self.engine, log=self.log)

    def kill(self) -> None:
        """End it as a power cut would: nothing is flushed by the process itself."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        embedded.stop(self.process, self.engine.stop_signal)


class OwnPostgres:
    """A durable PostgreSQL server of a test's own, migrated: kill it, start it again, stop it."""

    def __init__(self, folder: Path) -> None:
        self.engine = embedded.postgres_in(folder, port=0)
        self.log = folder / "postgres.log"
        self.start()

    @property
    def url(self) -> str:
        return self.engine.url()

    def start(self) -> None:
        self.process = embedded.start(self.engine, log=self.log)

    def kill(self) -> None:
        """Kill the postmaster; its sessions see that and end."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        embedded.stop(self.process, self.engine.stop_signal)


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnNats]:
    server = OwnNats(tmp_path_factory.mktemp("nats"), durable=False)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nats_url(nats_server: OwnNats) -> str:
    """Address of this test process's NATS; settings and started processes see it too."""
    from django.conf import settings

    os.environ["NATS_URL"], os.environ["MQTT_URL"] = nats_server.url, nats_server.mqtt_url
    settings.NATS_URL, settings.MQTT_URL = nats_server.url, nats_server.mqtt_url
    return nats_server.url


@pytest.fixture(scope="session")
def mqtt_url(nats_server: OwnNats) -> str:
    """Address of the MQTT listener of the same NATS (the user that devices share)."""
    return nats_server.mqtt_url


@pytest.fixture
def tmp_nats(tmp_path: Path) -> Iterator[OwnNats]:
    """A durable NATS for one test."""
    server = OwnNats(tmp_path / "own", durable=True)
    yield server
    server.stop()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's own account can reach: pytest closes its own folder to others at every start."""
    with tempfile.TemporaryDirectory(prefix="zhenan-test-") as name:
        yield Path(name)


@pytest.fixture
def tmp_postgres(open_folder: Path) -> Iterator[OwnPostgres]:
    """A durable, empty PostgreSQL for one test (database `zhenan`, not migrated)."""
    server = OwnPostgres(open_folder)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium. Without one the test is skipped, in CI it fails."""
    names = (os.environ.get("ZHENAN_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if name and (path := shutil.which(name))), None)
    if found is None:
        why = "no Chromium on this machine: install Debian's package chromium, or set ZHENAN_CHROMIUM"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    return found


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any], chromium: str) -> dict[str, Any]:
    # Playwright keeps an event loop in this thread, which Django would take for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    return {**browser_type_launch_args, "executable_path": chromium, "args": CHROMIUM_ARGS}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return {**browser_context_args, "locale": "zh-CN", "timezone_id": "Asia/Shanghai"}


@pytest.fixture(autouse=True)
def _clear_django_caches() -> Iterator[None]:
    """No test sees what another cached."""
    yield
    if not DJANGO_FAULT:
        from django.core.cache import cache

        cache.clear()
