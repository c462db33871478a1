"""Every address and every operation of the API, as everyone: nobody sees or changes what is beyond their reach.

The addresses are found from the resolver and from the API's description; the objects are real ones of three places.
"""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.test import Client, override_settings
from django.urls import reverse

EVERYONE = (
    "city_officer", "administrator", "discipline_inspector", "gas_department", "district_officer_here",
    "district_officer_elsewhere", "town_officer_here", "town_officer_2_here", "town_officer_elsewhere", "grid_worker",
    "enterprise_head_here", "enterprise_head_elsewhere", "enterprise_safety_here", "enterprise_safety_elsewhere",
    "insurer", "expert", "service_centre_operator", "no_post",
)  # fmt: skip
# Whose records each may see, by hand: the scopes are held against this.
REACH = {
    "city_officer": {"here", "elsewhere", "fire"}, "administrator": {"here", "elsewhere", "fire"},
    "discipline_inspector": {"here", "elsewhere", "fire"}, "gas_department": {"here", "elsewhere"},
    "district_officer_here": {"here"}, "district_officer_elsewhere": {"elsewhere", "fire"},
    "town_officer_here": {"here"}, "town_officer_2_here": {"here"}, "town_officer_elsewhere": {"elsewhere", "fire"},
    "grid_worker": {"here"}, "enterprise_head_here": {"here"}, "enterprise_head_elsewhere": {"elsewhere"},
    "enterprise_safety_here": {"here"}, "enterprise_safety_elsewhere": {"elsewhere"}, "insurer": {"here"},
    "expert": set(), "service_centre_operator": {"here"}, "no_post": set(),
}  # fmt: skip
SUPERVISED = ("subject", "device", "point", "alarm", "hazard", "inspection", "contract", "evidence")
# Seen without sign-in; nothing of a record may stand there. Everything else sends a stranger away.
PUBLIC = {
    "healthz", "metrics", "account_login", "account_signup", "account_inactive", "account_reset_password",
    "account_reset_password_done", "account_reset_password_from_key", "account_reset_password_from_key_done",
    "account_email_verification_sent", "account_confirm_email", "api:openapi-json", "api:openapi-view",
    "web:public", "web:offline", "web:service-worker", "web:manifest",
}  # fmt: skip
# For signed-in people whoever they are about: a page of one's own rows, whosever name is asked for.
OWN_ROWS = {"duty:load"}
# An empty form on what is within reach must not be an error either: tried as those of each kind of role.
TRY_ALL = {"city_officer", "town_officer_here", "grid_worker", "enterprise_head_here"}
REFUSED = {302, 303, 400, 401, 403, 404, 405, 409, 422}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: Any) -> Iterator[Any]:
    """One of everything in three places, in a transaction that is rolled back after the last test of this file."""
    from tests.support.personas import make_city, make_personas
    from tests.support.world import build

    files = override_settings(MEDIA_ROOT=tmp_path_factory.mktemp("evidence"))
    with django_db_blocker.unblock(), files, transaction.atomic():
        yield build(make_personas(make_city()))
        transaction.set_rollback(True)


@pytest.fixture(autouse=True)
def _nothing_stays(world: Any, django_db_blocker: Any, nats_url: str) -> Iterator[None]:
    """Each test's changes are rolled back to the world as built."""
    logging.disable(logging.CRITICAL)  # a refusal a line, thousands of them
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)
    logging.disable(logging.NOTSET)


def client_of(world: Any, name: str) -> Client:
    client = Client(raise_request_exception=False)
    if name != "anonymous":
        client.force_login(world.personas[name], backend="django.contrib.auth.backends.ModelBackend")
    return client


def ask(client: Client, address: Any, method: str = "", query: str = "") -> tuple[Any, bytes]:
    """The answer to an empty request and its whole body; an error does not spoil the transaction for those after it."""
    form = "application/json" if address.name.startswith("/api/") else "application/x-www-form-urlencoded"
    method = method or address.method
    content = ("{}" if "json" in form else "") if method != "GET" else ""
    with transaction.atomic():
        answer = client.generic(method, address.url + query, content, content_type=form)
        if answer.status_code >= 500:
            transaction.set_rollback(True)
    return answer, body_of(answer)


def body_of(answer: Any) -> bytes:
    """Everything the answer carries; the texts inside a workbook; nothing of an endless stream."""
    if answer.streaming:
        if answer.is_async:
            return b""
        body = answer.getvalue()
    else:
        body = answer.content
    if body[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(body)) as book:
            return b"".join(book.read(name) for name in book.namelist())
    return bytes(body)


def unseen(world: Any, name: str) -> list[tuple[str, str, Any]]:
    """(place, kind, object) of everything that the person may not see."""
    from tests.support.addresses import may_see

    user = None if name == "anonymous" else world.personas[name]
    return [
        (at, kind, obj)
        for at, place in world.places.items()
        for kind, obj in place.objects.items()
        if user is None or not may_see(user, kind, obj)
    ]


def leaks(world: Any, hidden: list[tuple[str, str, Any]], body: bytes) -> list[str]:
    """Texts of hidden objects that stand in the body."""
    texts = {f"{world.places[at].mark} {kind}" for at, kind, _obj in hidden}
    return sorted(text for text in texts if text.encode() in body)


@pytest.mark.parametrize("name", EVERYONE)
def test_the_scopes_reach_exactly_what_each_role_is_for(world, name):
    from tests.support.addresses import may_see

    user = world.personas[name]
    for at, place in world.places.items():
        for kind in SUPERVISED:
            seen = may_see(user, kind, place[kind])
            assert not seen or at in REACH[name], f"{name} sees the {kind} of {at}"
        if "subject.view" in user.capabilities:
            assert may_see(user, "subject", place["subject"]) == (at in REACH[name]), f"{name}: subject of {at}"


@pytest.mark.parametrize("name", EVERYONE)
def test_nobody_opens_or_is_told_of_what_is_beyond_their_reach(world, name):
    from tests.support.addresses import addresses, list_pages

    client, hidden, lists = client_of(world, name), unseen(world, name), list_pages()
    beyond = {(at, kind) for at, kind, _obj in hidden}
    faults = []
    for address in addresses(world):
        queries = ["", "?export=csv"] if address.name in lists else [""]
        for query in queries:
            answer, body = ask(client, address, query=query)
            said = f"{name}: {address}{query}: status {answer.status_code}"
            if answer.status_code >= 500:
                faults.append(said)
            elif answer.status_code == 200:
                found = leaks(world, hidden, body)
                faults += [f"{said}, and shows “{text}”" for text in found]
                if _names(address, beyond):
                    faults.append(said)
            elif answer.status_code == 404 and address.kind and (address.place, address.kind) not in beyond:
                faults.append(f"{said}, but it is within reach")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("name", EVERYONE)
def test_the_api_gives_nobody_what_is_beyond_their_reach(world, name):
    from tests.support.addresses import api_addresses

    client, hidden = client_of(world, name), unseen(world, name)
    beyond = {(at, kind) for at, kind, _obj in hidden}
    faults = []
    for address in api_addresses(world):
        answer, body = ask(client, address)
        said = f"{name}: {address}: status {answer.status_code}"
        if answer.status_code >= 500 or answer.status_code == 401:
            faults.append(said)
        elif answer.status_code < 300:
            faults += [f"{said}, and shows “{text}”" for text in leaks(world, hidden, body)]
            if (address.place, address.kind) in beyond:
                faults.append(said)
    assert not faults, "\n".join(faults)


def test_a_stranger_is_sent_to_sign_in_from_everywhere_but_the_public_pages(world):
    from tests.support.addresses import addresses, api_addresses

    client, hidden, faults, seen = client_of(world, "anonymous"), unseen(world, "anonymous"), [], set()
    for address in [*addresses(world), *api_addresses(world)]:
        for method in {address.method, "POST"} if not address.name.startswith("/api/") else {address.method}:
            answer, body = ask(client, address, method)
            said = f"{method} {address}: status {answer.status_code}"
            faults += [f"{said}, and shows “{text}”" for text in leaks(world, hidden, body)]
            if answer.status_code < 300 and answer.status_code != 204:
                seen.add(address.name)
                if address.name not in PUBLIC:
                    faults.append(said)
            elif answer.status_code >= 500:
                faults.append(said)
            elif address.name.startswith("/api/") and answer.status_code != 401:
                faults.append(f"{said}, want 401")
            elif address.name.startswith("web:") and answer.status_code == 302:
                where = answer["Location"].partition("?")[0]
                if where != reverse("account_login"):
                    faults.append(f"{said} to {where}, want the sign-in page")
    assert not faults, "\n".join(faults)
    assert {"healthz", "account_login", "web:public"} <= seen


@pytest.mark.parametrize("name", [*EVERYONE, "anonymous"])
def test_no_empty_form_changes_what_is_beyond_reach(world, name):
    from tests.support.addresses import addresses, api_addresses

    client, hidden = client_of(world, name), unseen(world, name)
    beyond = {(at, kind) for at, kind, _obj in hidden}
    rows_before = [_row(obj) for _at, _kind, obj in hidden]
    whole_before = checksums() if name in ("no_post", "anonymous") else None
    faults = []
    for address in [*addresses(world), *(a for a in api_addresses(world) if a.method != "GET")]:
        within = address.kind and not _names(address, beyond)
        if address.name == "account_logout" or (within and name not in TRY_ALL):
            continue
        answer, body = ask(client, address, address.method if address.method != "GET" else "POST")
        said = f"{name}: POST {address}: status {answer.status_code}"
        faults += [f"{said}, and shows “{text}”" for text in leaks(world, hidden, body)]
        if answer.status_code >= 500 or (_names(address, beyond) and answer.status_code not in REFUSED):
            faults.append(said)
    assert not faults, "\n".join(faults)
    for (at, kind, obj), before in zip(hidden, rows_before, strict=True):
        assert _row(obj) == before, f"{name} changed the {kind} of {at}"
    if whole_before is not None:
        changed = [table for table, sum_ in checksums().items() if whole_before[table] != sum_]
        assert not changed, f"{name} changed rows of {changed}"


def _names(address: Any, beyond: set[tuple[str, str]]) -> bool:
    """Whether the address names an object that is out of reach."""
    return (address.place, address.kind) in beyond and address.name not in OWN_ROWS


def _row(obj: Any) -> tuple[Any, int]:
    """The object's row, and how many events tell of it."""
    from zhenan.kernel.events.models import Event, key_of

    row = type(obj)._default_manager.filter(pk=obj.pk).values().get()
    row.pop("last_login", None)
    return row, Event.objects.filter(targets__contains=[key_of(obj)]).count()


def checksums() -> dict[str, str]:
    """A sum over every row of every table of the product's own apps."""
    found = {}
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if not model.__module__.startswith("zhenan."):
                continue
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"SELECT coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '') FROM {table} t")
            found[model._meta.label] = hashlib.sha256(cursor.fetchone()[0].encode()).hexdigest()
    return found
