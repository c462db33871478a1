"""What every list page must keep, as one function that each page's test calls::

    def test_the_hazard_list_keeps_the_contract(client, personas, make_hazards):
        check_list_page(
            client, HazardList, reverse("hazards:list"),
            users=[personas["city_officer"], personas["town_officer_here"], personas["insurer"]],
            make=make_hazards,                      # make(n) adds n rows that the first user sees
        )

Checked: page, search, count and both exports give exactly the rows that are visible to each user; every sortable column
sorts, both ways, and its pages neither lose nor repeat a row; hostile addresses give a page with a message, never an
error; the number of queries is the same for 3 and for 30 rows; a stranger is sent to sign-in.
"""

# ruff: noqa: S101  (these asserts are the tests)

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.test import Client, RequestFactory
from django.urls import resolve
from python_calamine import CalamineWorkbook

from zhenan.kernel.lists.columns import follow
from zhenan.kernel.lists.export import XLSX_TYPE, _csv_cell
from zhenan.kernel.lists.pages import ListPage
from zhenan.kernel.lists.paging import ordered
from zhenan.kernel.lists.testing import queries_of

HOSTILE = (
    "'; DROP TABLE x; --", "\x00", "%00", "<script>alert(1)</script>", "９９９", "-1", "1e309", "NaN", "..", "[]", "{}",
    "true", "0x10", "99999999999999999999999", "2025-13-45", "2025-02-30", "%", "_", "\\", "a" * 5000, "\ud7ff", "🔥",
)  # fmt: skip
POSITIONS = (
    "after:",
    "before:!!",
    "after:bnVsbA",
    "after:WzEsMl0",
    "last",
    "after:W251bGwsbnVsbCxudWxsXQ",
    "after:" + "A" * 3000,
)


def check_list_page(
    client: Client,
    page: type[ListPage],
    url: str,
    *,
    users: Iterable[Any],
    make: Callable[[int], Any] | None = None,
) -> None:
    """Every check of the contract. ``make(n)`` adds n rows that the first of the users sees."""
    people = list(users)
    client.logout()
    assert client.get(url).status_code == 302, "a stranger must be sent to sign-in"
    if make is not None:
        make(3)
        client.force_login(people[0])
        client.get(url)  # fills what is cached once
        few = queries_of(client, url)
        check_hostile(client, page, url)  # on a short list: some hundred pages are asked for
        make(27)
        many = queries_of(client, url)
        assert many <= few, f"{few} queries for 3 rows, {many} for 30: a query for each row"
    for user in people:
        client.force_login(user)
        first = client.get(url)
        if page.capability and not user.can(page.capability):
            assert first.status_code == 403, f"{user}: lacks {page.capability}, yet came status {first.status_code}"
            continue
        assert first.status_code == 200, f"{user}: status {first.status_code}"
        expected = set(visible(page, user, url).values_list("pk", flat=True))
        check_same_rows(client, page, url, user, expected)
        check_search(client, page, url, user)
        check_sorting(client, page, url, expected)
    if make is None:
        client.force_login(people[0])
        check_hostile(client, page, url)


def visible(page: type[ListPage], user: Any, url: str) -> Any:
    """The rows the page may show this user, by the page's own queryset."""
    return bound(page, user, url).get_queryset()


def bound(page: type[ListPage], user: Any, url: str) -> ListPage:
    """The page as this user's request to it would make it."""
    request = RequestFactory().get(url)
    request.user = user
    view = page()
    view.setup(request, **resolve(urlsplit(url).path).kwargs)
    view.problems = []
    return view


def walk(client: Client, url: str, params: dict[str, str]) -> Iterator[Any]:
    """Every row of every page, following "next"."""
    pos, pages = "", 0
    while True:
        answer = client.get(url, {**params, "pos": pos})
        assert answer.status_code == 200, f"{url} {params}: status {answer.status_code}"
        shown = answer.context["list"]
        html = answer.content.decode()
        for row in shown.rows:
            assert f'data-pk="{row.obj.pk}"' in html, f"row {row.obj.pk} is counted but not shown"
            yield row.obj
        pages += 1
        assert pages < 1000, "pages without end"
        if not shown.page.has_next:
            return
        pos = shown.page.next


def check_same_rows(client: Client, page: type[ListPage], url: str, user: Any, expected: set[Any]) -> None:
    """List, count and exports agree with what is visible."""
    size = str(min(page.page_sizes))
    listed = [row.pk for row in walk(client, url, {"size": size})]
    assert len(listed) == len(set(listed)), f"{user}: a row is listed twice"
    assert set(listed) == expected, f"{user}: listed {len(listed)} rows, visible are {len(expected)}"
    count = client.get(url).context["list"].count
    if count.exact:
        assert count.value == len(expected), f"{user}: counted {count.value}, visible are {len(expected)}"
    view = bound(page, user, url)
    if not view.may_export:
        assert client.get(url, {"export": "csv"}).status_code == 403
        return
    columns = view.exported_columns
    wanted = Counter(tuple(_csv_cell(c.exported(row)) for c in columns) for row in ordered(view.matching, view.sort))
    lines = list(csv.reader(io.StringIO(download(client, url, "csv").decode("utf-8-sig"), newline="")))
    assert Counter(tuple(line) for line in lines[1:]) == wanted, f"{user}: the CSV differs from the list"
    assert len(lines[0]) == len(columns)
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(download(client, url, "xlsx"))).get_sheet_by_index(0)
    assert len(sheet.to_python()) == len(expected) + 1, f"{user}: the XLSX has other rows than the list"


def download(client: Client, url: str, kind: str, /, **params: str) -> bytes:
    """The body of an export."""
    answer = client.get(url, {**params, "export": kind})
    assert answer.status_code == 200, f"export {kind}: status {answer.status_code}"
    assert answer["Content-Type"] == (XLSX_TYPE if kind == "xlsx" else "text/csv; charset=utf-8")
    return answer.getvalue()


def check_search(client: Client, page: type[ListPage], url: str, user: Any) -> None:
    """Searching for a word of a visible row finds the visible rows that hold it, and no others."""
    rows = list(visible(page, user, url)[:200])
    if not page.search or not rows or len(rows) == 200:
        return
    paths = [path.replace("__", ".") for path in page.search]
    texts = [str(follow(row, path) or "") for row in rows for path in paths[:1]]
    word = max((text for text in texts if " " not in text), key=len, default="")[:20]
    if not word:
        return
    wanted = {r.pk for r in rows if any(word.lower() in str(follow(r, p) or "").lower() for p in paths)}
    found = {row.pk for row in walk(client, url, {"q": word})}
    assert found == wanted, f"{user}: searching “{word}” found {len(found)} rows, {len(wanted)} hold it"
    assert not list(walk(client, url, {"q": "no-such-thing-zzzzqqqq"}))


def check_sorting(client: Client, page: type[ListPage], url: str, expected: set[Any]) -> None:
    """Each sortable column sorts both ways; small pages, walked to the end, give each row once."""
    size = str(min(page.page_sizes))
    for column in page.columns:
        if not column.sort:
            continue
        for key in (column.key, f"-{column.key}"):
            listed = [row.pk for row in walk(client, url, {"sort": key, "size": size})]
            assert len(listed) == len(expected), f"sorted by {key}: {len(listed)} of {len(expected)} rows"
            assert set(listed) == expected, f"sorted by {key}: other rows than unsorted"
            last = client.get(url, {"sort": key, "size": size, "pos": "last"}).context["list"].page
            tail = [row.pk for row in last.rows]
            assert tail == listed[len(listed) - len(tail) :], f"sorted by {key}: the last page is another"


def check_hostile(client: Client, page: type[ListPage], url: str) -> None:
    """Whatever stands in the address, a page comes; what cannot be read is said."""
    keys = ["q", "sort", "size", "pos", "export", "unknown", *(key for f in page.filters for key in f.keys)]
    for key in keys:
        for value in (*HOSTILE, *(POSITIONS if key == "pos" else ())):
            address = f"{url}?{urlencode({key: value.encode('utf-8', 'replace')})}"
            answer = client.get(address)
            assert answer.status_code in (200, 400), f"{address[:200]}: status {answer.status_code}"
            said = answer.context["list"].problems if answer.context else []
            errors = [b.error for b in answer.context["list"].bound_filters if b.error] if answer.context else []
            if key in ("sort", "size", "export") and value.strip():
                assert said, f"{key}={value[:40]!r}: no message"
            for message in (*said, *errors):
                assert "<script>" not in answer.content.decode().replace("&lt;script&gt;", ""), message
    assert client.get(f"{url}?q={quote(b'%ff%fe')}&sort=").status_code == 200
    assert client.get(f"{url}?%ff=%ff&q=%ff").status_code == 200
