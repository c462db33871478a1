"""The API keeps what its description promises, for whatever is sent to it: no error of ours, answers as described."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import hypothesis.strategies as st
import pytest
import schemathesis
from django.conf import settings as django_settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, connection, transaction
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
EXAMPLES = 15  # for each operation and each kind of data
# What any operation may answer besides what it describes: refusals.
REFUSALS = {400, 401, 403, 404, 405, 409, 422}
TOKEN = "s" * 32


@pytest.fixture
def world(personas: Any, settings: Any, tmp_path: Any) -> Iterator[Any]:
    from tests.support.world import build

    settings.MEDIA_ROOT = tmp_path
    made = build(personas)
    logging.disable(logging.CRITICAL)
    for signal in (request_started, request_finished):  # they would close the connection inside our transaction
        signal.disconnect(close_old_connections)
    yield made
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    logging.disable(logging.NOTSET)


def signed_in(user: Any) -> dict[str, str]:
    """Cookies of a session in which the person is signed in, and of the CSRF token."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return {
        django_settings.SESSION_COOKIE_NAME: str(session.session_key),
        django_settings.CSRF_COOKIE_NAME: TOKEN,
    }


def real_parameters(world: Any) -> dict[str, list[dict[str, Any]]]:
    """For each path, parameters that name objects that are there."""
    from tests.support.addresses import _values
    from tests.support.routes import operations

    found: dict[str, list[dict[str, Any]]] = {}
    for one in operations():
        if one.parameters:
            places = world.places.values()
            values = [v for place in places for v, _kind in _values(one.path, one.parameters, place)]
            found[one.path] = [{k: str(v) if isinstance(v, UUID) else v for k, v in one.items()} for one in values]
    return found


class Attempts:
    """Sends cases, keeps what was answered, and holds each answer against the description."""

    def __init__(self, cookies: dict[str, str], known: dict[str, list[dict[str, Any]]]) -> None:
        self.cookies, self.known = cookies, known
        self.statuses: dict[str, set[int]] = {}

    def send(self, case: Any, real: bool, number: int) -> None:
        """One case; ``real``: about an object that is there, where the path names one."""
        there = self.known.get(case.path, [])
        if real and there:
            case.path_parameters = there[number % len(there)]
        with transaction.atomic():
            answer = case.call(cookies=self.cookies, headers={"X-CSRFToken": TOKEN})
            transaction.set_rollback(True)
        self.statuses.setdefault(f"{case.method} {case.path}", set()).add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)
        described = {int(code) for code in case.operation.definition.raw["responses"] if str(code).isdigit()}
        assert answer.status_code in described | REFUSALS, f"{case.method} {case.path}: {answer.status_code}"


def test_every_operation_answers_as_described_whatever_is_sent(world):
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application())
    attempts = Attempts(signed_in(world.personas["city_officer"]), real_parameters(world))
    few = settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    for result in schema.get_all_operations():
        for mode in schemathesis.GenerationMode:

            @few
            @given(result.ok().as_strategy(generation_mode=mode), st.booleans(), st.integers(0, 999))
            def trial(case: Any, real: bool, number: int) -> None:
                attempts.send(case, real, number)

            trial()
    assert not connection.needs_rollback
    assert len(attempts.statuses) == len(known_operations()), "operations that were never called"
    reached = [name for name, seen in attempts.statuses.items() if seen & {200, 201}]
    assert len(reached) > len(attempts.statuses) / 2, f"only {reached} ever answered with what they are for"


def known_operations() -> list[Any]:
    from tests.support.routes import operations

    return operations()
