"""Pages as the server makes them: time, queries and bytes of each, beside a floor measured in the same run.

    zhenan bench pages [--json] [--requests N] [--subjects N]

On the database of the settings (a running ./run, or DATABASE_URL), in one transaction that is rolled back: an officer
of the city is made, the register filled up to ``subjects`` rows, every page of the main menu asked for, the page behind
the first row of every list, and the register sorted, searched and turned to its last page. The floor is a page that
asks `SELECT 1` through the same middleware. Times are those of one process without the network.
"""

import argparse
import json
import logging
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from types import ModuleType
from typing import Any

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse

from zhenan.domains.register.models import Subject
from zhenan.kernel import slots
from zhenan.kernel.lists.pages import ListPage
from zhenan.kernel.people.models import Organisation, Post, User
from zhenan.kernel.territory.models import Division
from zhenan.packkit.registry import registry
from zhenan.server import urls

FLOOR = "bench-floor/"
FIRST_ROW = re.compile(r"<tbody.*?href=\"([^\"?#]+)", re.DOTALL)
REGISTER_QUERIES = {
    "first page": "", "sorted by name, last page": "?sort=-name&pos=last", "searched": "?q=bench 0424",
    "filtered by division": "?division={division}", "exported (CSV)": "?export=csv",
}  # fmt: skip


def measure(requests: int = 20, subjects: int = 100_000) -> dict[str, Any]:
    """All figures of one run; a minute or two with 100,000 subjects. Leaves nothing behind."""
    if not Division.objects.exists() or not registry().subject_types():
        raise ValueError("the database has no divisions or no packs: start ./run once, or `zhenan prepare`")
    logging.disable(logging.INFO)
    with transaction.atomic(), _with_floor():
        client = Client(HTTP_HOST="localhost")
        client.force_login(_officer(), backend="django.contrib.auth.backends.ModelBackend")
        floor = _timed(client, f"/{FLOOR}", requests)
        found: dict[str, Any] = {"requests": requests, "floor": floor, "pages": [], "register": []}
        for name, url in _pages(client):
            found["pages"].append({"page": name, "url": url, **_beside(_timed(client, url, requests), floor)})
        found["subjects"] = _fill(subjects)
        town = Division.objects.filter(level="town").order_by("code")[0].code
        for name, query in REGISTER_QUERIES.items():
            times = requests if "export" not in query else 3
            figures = _timed(client, reverse("register:list") + query.format(division=town), times)
            found["register"].append({"page": name, **_beside(figures, floor)})
        transaction.set_rollback(True)
    logging.disable(logging.NOTSET)
    return found


@contextmanager
def _with_floor() -> Iterator[None]:
    """The product's addresses and the floor's."""
    conf = ModuleType("bench_urls")
    conf.urlpatterns = [path(FLOOR, _select_one), *urls.urlpatterns]  # type: ignore[attr-defined]
    sys.modules[conf.__name__] = conf
    with override_settings(ROOT_URLCONF=conf.__name__, ALLOWED_HOSTS=["*"]):
        yield


def _select_one(request: HttpRequest) -> HttpResponse:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        return HttpResponse(str(cursor.fetchone()[0]))


def _officer() -> User:
    """Someone of the city's safety office, who sees everything."""
    city = Division.objects.filter(level="city").order_by("code")[0]
    office = Organisation.objects.create(code="bench-office", name="bench", kind="city_office", division=city)
    user = User(username="bench-officer", name="bench")
    user.set_unusable_password()
    user.save()
    Post.objects.create(user=user, organisation=office, role="city_office", division=city, since=date(2020, 1, 1))
    return user


def _pages(client: Client) -> Iterator[tuple[str, str]]:
    """The main menu, and what the first row of each list opens."""
    seen = set()
    for item in slots.nav.ordered():
        url = reverse(item.url_name)
        answer = client.get(url)
        if answer.status_code != 200:
            continue  # not for this role
        yield item.url_name, url
        view = getattr(answer.resolver_match.func, "view_class", None)
        if not (isinstance(view, type) and issubclass(view, ListPage)):
            continue
        row = FIRST_ROW.search(answer.content.decode())
        if row and row[1] not in seen:
            seen.add(row[1])
            yield f"{item.url_name}: first row", row[1]


def _fill(wanted: int) -> int:
    """Subjects up to the number, spread over the towns; how many there are then."""
    missing = wanted - Subject.objects.count()
    if missing > 0:
        kind = next(k for k in registry().subject_types() if k.code == "catering_gas.caterer")
        towns = list(Division.objects.filter(level="town").order_by("code").values_list("pk", flat=True))
        Subject.objects.bulk_create(
            (
                Subject(
                    type=kind.code, programme="catering_gas", key=f"bench-{n}", name=f"bench {n * 7919 % missing:06d}",
                    division_id=towns[n % len(towns)], address=f"{n} bench street", attributes={"gas_kind": "natural"},
                )
                for n in range(missing)
            ),
            batch_size=5000,
        )  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE register_subject")
    return Subject.objects.count()


def _timed(client: Client, url: str, requests: int) -> dict[str, Any]:
    """Milliseconds of p50 and p95 over the requests, after one that fills what is kept; queries and bytes of one."""
    with CaptureQueriesContext(connection) as asked:
        body = _body(client, url)
    queries = len(asked)  # the next request empties the log
    spent = []
    for _ in range(requests):
        start = time.perf_counter()
        _body(client, url)
        spent.append((time.perf_counter() - start) * 1000)
    spent.sort()
    return {
        "p50_ms": round(statistics.median(spent), 2),
        "p95_ms": round(spent[min(len(spent) - 1, int(len(spent) * 0.95))], 2),
        "queries": queries,
        "bytes": len(body),
    }


def _body(client: Client, url: str) -> bytes:
    answer = client.get(url)
    if answer.status_code != 200:
        raise ValueError(f"{url}: status {answer.status_code}")
    return bytes(answer.getvalue() if answer.streaming else answer.content)


def _beside(figures: dict[str, Any], floor: dict[str, Any]) -> dict[str, Any]:
    return {**figures, "ratio_to_floor": round(figures["p50_ms"] / floor["p50_ms"], 1)}


def table(found: dict[str, Any]) -> str:
    """The figures for a person."""
    floor = found["floor"]
    lines = [f"floor (SELECT 1): p50 {floor['p50_ms']} ms, p95 {floor['p95_ms']} ms, {found['requests']} requests each"]
    for part, title in (("pages", "pages"), ("register", f"the register with {found['subjects']:,} subjects")):
        lines += ["", f"{title:<42}    p50 ms    p95 ms  queries     kB  x floor"]
        lines += [
            f"{row['page']:<42} {row['p50_ms']:9.1f} {row['p95_ms']:9.1f} {row['queries']:8d}"
            f" {row['bytes'] / 1000:6.0f} {row['ratio_to_floor']:8.1f}"
            for row in found[part]
        ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures, as JSON with --json."""
    parser = argparse.ArgumentParser(prog="zhenan bench pages", description="Pages beside a page that asks SELECT 1.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--subjects", type=int, default=100_000)
    options = parser.parse_args(argv)
    found = measure(options.requests, options.subjects)
    print(json.dumps(found) if options.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
