"""Query budgets for tests: a page's number of queries is pinned, and does not grow with its rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext


@contextmanager
def query_budget(maximum: int) -> Iterator[CaptureQueriesContext]:
    """Fail when the block asks the database more than ``maximum`` times; the failure lists every query."""
    with CaptureQueriesContext(connection) as asked:
        yield asked
    if len(asked) > maximum:
        lines = "\n".join(f"{n:3}. {q['sql'][:300]}" for n, q in enumerate(asked.captured_queries, 1))
        raise AssertionError(f"{len(asked)} queries, at most {maximum} allowed:\n{lines}")


def assert_query_budget(client: Client, url: str, maximum: int, **headers: str) -> Any:
    """GET the page within the budget; returns the answer, which must not be an error."""
    with query_budget(maximum):
        answer = client.get(url, headers=headers)
        body = answer.getvalue() if answer.streaming else answer.content
    if answer.status_code >= 400:
        raise AssertionError(f"{url}: status {answer.status_code}: {body[:300]!r}")
    return answer


def queries_of(client: Client, url: str) -> int:
    """How many queries the page asks."""
    with CaptureQueriesContext(connection) as asked:
        answer = client.get(url)
    if answer.status_code != 200:
        raise AssertionError(f"{url}: status {answer.status_code}")
    return len(asked)
