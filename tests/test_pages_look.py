"""Every page in Chromium, on a desk and on a phone, in Chinese and in English: nothing broken, cut off or unnamed.

The pages are found from the resolver and shown with real objects; each is loaded once a language and then made narrow.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client

from zhenan.web.tests.conftest import Site, site  # noqa: F401  (a fixture)

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
LANGUAGES = {"zh-hans": "zh", "en": "en"}
READERS = ("city_officer", "administrator", "grid_worker", "enterprise_head_here")
WITHOUT_SHELL = {"api:openapi-view"}  # the API's own browser is its package's page
ALLOWED_FAILURES = ("net::ERR_ABORTED",)  # the live feed and half-loaded parts when the page is left

LOOK = Path(__file__).with_name("support").joinpath("look.js").read_text("utf-8").split("\n", 1)[1].rstrip().rstrip(";")


@pytest.fixture
def world(site: Site, personas: Any, settings: Any, tmp_path: Any, nats_url: str) -> Any:  # noqa: F811
    from tests.support.world import build

    settings.MEDIA_ROOT = tmp_path
    return build(personas)


def pages_of(world: Any) -> list[tuple[str, str, str]]:
    """(name, reader, address) of every whole page: HTML that begins a document, for the first who may open it."""
    from tests.support.addresses import addresses

    clients, found = {}, []
    for reader in READERS:
        clients[reader] = Client()
        clients[reader].force_login(world.personas[reader], backend="django.contrib.auth.backends.ModelBackend")
    clients[""] = Client()  # a stranger
    for address in addresses(world):
        if address.place not in ("", "here") or address.name in WITHOUT_SHELL:
            continue
        for reader, client in clients.items():
            answer = client.get(address.url)
            if answer.status_code == 200:
                if answer["Content-Type"].startswith("text/html") and b"<html" in answer.content[:2000]:
                    found.append((address.name, reader, address.url))
                break
    connection.close()
    return found


class Looker:
    """Opens pages and collects what is wrong with them."""

    def __init__(self, browser: Any, site: Site, world: Any) -> None:  # noqa: F811
        self.browser, self.site, self.world = browser, site, world
        self.faults: list[str] = []
        self.heard: list[str] = []
        self.pages: dict[tuple[str, str], Any] = {}

    def page_for(self, reader: str, language: str) -> Any:
        """A browser page on which the reader is signed in and reads this language."""
        if (reader, language) not in self.pages:
            context = self.browser.new_context(viewport=DESK, locale="zh-CN", timezone_id="Asia/Shanghai")
            cookies = [{"name": django_settings.LANGUAGE_COOKIE_NAME, "value": language, "url": self.site.url}]
            if reader:
                cookies.append(self.site.cookie(self.world.personas[reader]))
            context.add_cookies(cookies)
            page = context.new_page()
            page.on("console", lambda m: self.heard.append(f"console: {m.text}") if m.type == "error" else None)
            page.on("pageerror", lambda fault: self.heard.append(f"script: {fault}"))
            page.on("requestfailed", self._failed)
            page.on("response", lambda a: self.heard.append(f"status {a.status}: {a.url}") if a.status >= 400 else None)
            self.pages[reader, language] = page
        return self.pages[reader, language]

    def _failed(self, request: Any) -> None:
        if not any(word in (request.failure or "") for word in ALLOWED_FAILURES):
            self.heard.append(f"{request.failure}: {request.url}")

    def look(self, name: str, reader: str, url: str, language: str) -> None:
        page = self.page_for(reader, language)
        page.set_viewport_size(DESK)
        self.heard.clear()
        page.goto(self.site.url + url, wait_until="load")
        where = f"{name} ({url}, {language}, {reader or 'stranger'})"
        self._judge(page, f"{where} on a desk", language)
        if name != "web:offline" and not page.evaluate("document.querySelector('[autofocus]') !== null"):
            page.keyboard.press("Tab")
            first = page.evaluate("document.activeElement.matches('.skip, .skip-link, [href=\"#main\"]')"
                                  " && document.activeElement.getBoundingClientRect().top >= 0")  # fmt: skip
            if not first:
                self.faults.append(f"{where}: the first Tab shows no skip link")
        page.set_viewport_size(PHONE)
        self._judge(page, f"{where} on a phone", language)
        self.faults += [f"{where}: {what}" for what in self.heard]

    def _judge(self, page: Any, where: str, language: str) -> None:
        seen = page.evaluate(LOOK)
        if not seen["lang"].startswith(LANGUAGES[language]):
            self.faults.append(f"{where}: html lang is {seen['lang']!r}")
        if seen["headings"] < 1:
            self.faults.append(f"{where}: no visible h1")
        if seen["overBy"] > 1:
            self.faults.append(f"{where}: {seen['overBy']} px wider than the window: {seen['over']}")
        for kind in ("unlabelled", "nameless", "pictures", "twice", "covered"):
            if seen[kind]:
                self.faults.append(f"{where}: {kind}: {seen[kind][:3]}")


@pytest.mark.timeout(900)
@pytest.mark.django_db(transaction=True)
def test_every_page_is_whole_named_and_fits_a_desk_and_a_phone(browser, site, world):  # noqa: F811
    began = time.monotonic()
    looker = Looker(browser, site, world)
    # In a thread of its own: the browser keeps an event loop in this one.
    with ThreadPoolExecutor(1) as aside:
        pages = aside.submit(pages_of, world).result()
    for language in LANGUAGES:
        for name, reader, url in pages:
            looker.look(name, reader, url, language)
    assert len({name for name, _reader, _url in pages}) > 40, "the pages were not found"
    told = "\n".join(looker.faults)
    assert not looker.faults, f"{len(looker.faults)} faults in {time.monotonic() - began:.0f} s:\n{told}"


def test_the_look_sees_each_kind_of_fault(page):
    page.set_viewport_size(PHONE)
    page.set_content(
        "<html lang=fr><body><input name=a><button><i></i></button><a href=x></a><img src=x><p id=p><p id=p>"
        "<div style='width:500px'>wide</div><div style='overflow:auto'><div style='width:900px'>scrolls</div></div>"
    )
    seen = page.evaluate(LOOK)
    assert (seen["lang"], seen["headings"], seen["twice"], seen["overBy"]) == ("fr", 0, ["p"], 118)
    assert (len(seen["unlabelled"]), len(seen["nameless"]), len(seen["pictures"])) == (1, 2, 1)
    assert len(seen["over"]) == 1
    assert "wide" in seen["over"][0]
    page.set_content("<form><input style='position:absolute;left:0'><input style='position:absolute;left:50px'></form>")
    assert len(page.evaluate(LOOK)["covered"]) == 1
    page.set_content(
        "<html lang=en><h1>A</h1><label>b <input></label><button aria-label=c></button><a href=x>d</a>"
        "<img src=x alt=''>"
    )
    seen = page.evaluate(LOOK)
    assert (seen["lang"], seen["headings"], seen["overBy"]) == ("en", 1, 0)
    assert [seen[kind] for kind in ("unlabelled", "nameless", "pictures", "twice", "over", "covered")] == [[]] * 6
