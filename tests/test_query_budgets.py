"""How often each page asks the database: pinned in one table, and no more for thirty rows than for three.

The pages are found from the resolver. `ZHENAN_WRITE_BUDGETS=1 ./test tests/test_query_budgets.py` writes the table
anew; look at what grew before committing it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

TABLE = Path(__file__).with_name("query_budgets.yaml")
SLACK = 2  # written above what was counted
# The first of these who may open a page is the one who is counted.
READERS = ("city_officer", "administrator", "grid_worker", "enterprise_head_here")
HEADER = (
    "# Name of the page: queries at most (tests/test_query_budgets.py). A list's export and search count as well.\n"
)


@pytest.fixture(autouse=True)
def _quiet(settings: Any, tmp_path: Path, nats_url: str) -> Iterator[None]:
    settings.MEDIA_ROOT = tmp_path
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def readers(personas: Any) -> list[Client]:
    found = []
    for name in READERS:
        client = Client()
        client.force_login(personas[name], backend="django.contrib.auth.backends.ModelBackend")
        found.append(client)
    return found


def opened(clients: list[Client], url: str) -> tuple[Client | None, list[int]]:
    """The first who gets the page, and the statuses that the others got."""
    statuses = []
    for client in clients:
        answer = client.get(url)
        endless = answer.streaming and answer.is_async  # the live feed: not a page
        statuses.append(204 if endless else answer.status_code)
        if statuses[-1] == 200:
            body_of(answer)
            return client, statuses
    return None, statuses


def body_of(answer: Any) -> bytes:
    return bytes(answer.getvalue() if answer.streaming else answer.content)


def queries_of(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(url)
        body_of(answer)
    assert answer.status_code == 200, f"{url}: status {answer.status_code}"
    return len(asked)


@pytest.mark.timeout(900)
def test_every_page_stays_within_its_budget_and_asks_no_more_for_more_rows(personas):
    from tests.support.addresses import addresses, list_pages
    from tests.support.world import build, grow

    world, lists = build(personas), list_pages()
    grow(world, 2)
    clients, pages = readers(personas), []
    for address in addresses(world):
        if address.place not in ("", "here") or not address.name.partition(":")[2] or address.name.startswith("api:"):
            continue  # one place is enough; the packages' own pages are theirs
        client, statuses = opened(clients, address.url)
        if client is None:
            refused = set(statuses) - {204, 302, 403, 404, 405}
            assert not refused, f"{address}: statuses {statuses}"
            continue
        extra = ["?q=mark", "?export=csv"] if address.name in lists else []
        pages += [
            (address.name, client, address.url + more) for more in ("", *extra) if may(client, address.url + more)
        ]
    few = {url: queries_of(client, url) for _name, client, url in pages}
    grow(world, 27)
    many = {url: queries_of(client, url) for _name, client, url in pages}
    grew = [f"{url}: {few[url]} queries, then {many[url]}" for url in few if many[url] > few[url]]
    counted: dict[str, int] = {}
    for name, _client, url in pages:
        counted[name] = max(counted.get(name, 0), many[url])
    if os.environ.get("ZHENAN_WRITE_BUDGETS") == "1":
        lines = [f"{name}: {count + SLACK}\n" for name, count in sorted(counted.items())]
        TABLE.write_text(HEADER + "".join(lines), "utf-8")
    budgets: dict[str, int] = yaml.safe_load(TABLE.read_text("utf-8"))
    assert set(counted) - set(budgets) == set(), "pages without a budget"
    assert set(budgets) - set(counted) == set(), "budgets without a page that opens"
    over = [
        f"{name}: {count} queries, {budgets[name]} allowed" for name, count in counted.items() if count > budgets[name]
    ]
    assert not over, "\n".join(over)
    assert not grew, "a query for each row:\n" + "\n".join(grew)


def may(client: Client, url: str) -> bool:
    """An export may ask for a right of its own."""
    answer = client.get(url)
    body_of(answer)
    return answer.status_code == 200
