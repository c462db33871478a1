"""The platform's pages served by uvicorn in this process, on the test's own database."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore

from zhenan.kernel.people.models import User


@dataclass
class Site:
    """A running server."""

    url: str

    def session_of(self, user: User) -> str:
        """A session in which the user is signed in."""
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        return str(session.session_key)

    def cookie(self, user: User) -> dict[str, Any]:
        return {"name": settings.SESSION_COOKIE_NAME, "value": self.session_of(user), "url": self.url}


@pytest.fixture
def site(transactional_db: None) -> Iterator[Site]:
    """The real application over HTTP; its data must be committed, hence the transactional database."""
    from zhenan.server.asgi import application

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = uvicorn.Config(application, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    waited = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < waited, "uvicorn did not start"
        time.sleep(0.02)
    yield Site(f"http://127.0.0.1:{port}")
    server.should_exit = server.force_exit = True
    thread.join(10)


@pytest.fixture
def signed_in(site: Site, context: Any) -> Any:
    """A browser page on which the given user is signed in; faults in the browser's console fail the test."""
    faults: list[str] = []

    def open_for(user: User, path: str = "/") -> Any:
        context.add_cookies([site.cookie(user)])
        page = context.new_page()
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.goto(site.url + path)
        return page

    yield open_for
    assert faults == []
