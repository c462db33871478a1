"""The pages in Chromium: keyboard, live refresh, map without internet, phone width, no fault in the console."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from zhenan.kernel import slots
from zhenan.kernel.events import kinds
from zhenan.kernel.events.services import record
from zhenan.kernel.people.models import Organisation
from zhenan.kernel.slots import MapLayer, Slot, TodayItem, TodaySource
from zhenan.kernel.territory.models import Division

pytestmark = pytest.mark.django_db(transaction=True)
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def organisations(personas):
    Organisation.objects.bulk_create(
        Organisation(code=f"Z{n:03}", name=f"测试单位{n}", kind="enterprise", division=personas.here) for n in range(60)
    )


def test_typing_searches_and_the_keyboard_walks_and_opens_the_rows(signed_in, personas, organisations):
    page = signed_in(personas["city_officer"], "/system/organisations/")
    page.keyboard.press("/")
    page.keyboard.type("测试单位5")
    page.wait_for_url("**/system/organisations/?q=*")
    expect(page.locator("#list-results tbody tr")).to_have_count(11)
    assert page.evaluate("document.activeElement.id") == "list-search"
    page.keyboard.press("Escape")
    assert page.input_value("#list-search") == "测试单位5"  # what was found stays, to be walked
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/system/organisations/*/")
    assert page.inner_text("h1") == "测试单位5"


def test_sorting_and_turning_pages_keep_filters_and_the_way_back(signed_in, personas, organisations):
    page = signed_in(personas["city_officer"], "/system/organisations/?q=测试")
    page.click("#list-sort-1")
    page.wait_for_url("**sort=name**")
    page.click("#list-next")
    page.wait_for_url("**pos=after**")
    expect(page.locator(".list-range")).to_contain_text("26")
    page.go_back()
    expect(page.locator(".list-range")).to_contain_text("25")
    assert page.input_value("#list-search") == "测试"
    page.select_option("#list-filter-active", "0")
    page.wait_for_selector(".empty-title")
    assert "sort=name" in page.url
    assert "q=" in page.url


def test_something_new_appears_on_today_within_two_seconds_without_a_reload(signed_in, personas, monkeypatch):
    if "test.moved" not in kinds.REGISTERED:
        kinds.register("test.moved", "moved")
    items: list[TodayItem] = []
    slot: Slot[TodaySource] = Slot("today")
    slot.register(TodaySource("alarms", "Alarms", lambda user, at: list(items)))
    monkeypatch.setattr(slots, "today", slot)
    page = signed_in(personas["city_officer"], "/")
    page.wait_for_selector(".feed-state.is-live")
    page.evaluate("window.stayed = true")
    items.append(TodayItem("alarm", "燃气泄漏", "待确认", "/board/", timezone.now() + timedelta(minutes=5), 1))
    started = time.monotonic()
    record("test.moved", targets=["x:1"], actor=None, at=timezone.now(), path=personas.here.path)
    page.wait_for_selector(".today-item.l1", timeout=5000)
    assert time.monotonic() - started < 2
    assert page.evaluate("window.stayed") is True
    page.click(".today-item")
    page.wait_for_url("**/board/")


def test_the_map_draws_districts_clusters_and_alarms_and_asks_no_other_host(signed_in, personas, context, monkeypatch):
    county = Division.objects.get(code="321181")
    ring = [[119.3, 31.8], [119.8, 31.8], [119.8, 32.2], [119.3, 32.2], [119.3, 31.8]]
    county.boundary, county.lon, county.lat = {"type": "Polygon", "coordinates": [ring]}, 119.55, 32.0
    county.save()

    def point(at, level=None):
        properties = {"name": "x", "url": "/"} | ({"level": level} if level else {})
        return {"type": "Feature", "geometry": {"type": "Point", "coordinates": at}, "properties": properties}

    def load(user, bbox):
        sites = [point([119.5 + n / 1000, 32.0]) for n in range(40)]
        return {"type": "FeatureCollection", "features": [*sites, point([119.6, 32.1], level=1)]}

    slot: Slot[MapLayer] = Slot("map_layers")
    slot.register(MapLayer("sites", "Sites", load, capability="subject.view"))
    monkeypatch.setattr(slots, "map_layers", slot)
    hosts = set()
    context.on(
        "request", lambda request: hosts.add(request.url.split("/")[2]) if request.url.startswith("http") else None
    )
    page = signed_in(personas["city_officer"], "/map/")
    page.wait_for_selector("#map[data-ready=yes]", timeout=30000)
    page.wait_for_selector(".map-cluster")
    assert page.inner_text("[data-layer-count=sites]") == "41"
    assert page.inner_text(".map-name") == "丹阳市"
    page.click(".map-alarm.l1")
    page.wait_for_selector(".maplibregl-popup-content a")
    page.uncheck("[data-layer=sites]")
    assert page.locator(".map-cluster").count() == 0
    assert len(hosts) == 1


def test_no_page_is_wider_than_a_phone(signed_in, personas, organisations):
    page = signed_in(personas["administrator"], "/")
    page.set_viewport_size(PHONE)
    somebody = personas["grid_worker"].pk
    for path in (
        "/",
        "/board/",
        "/map/",
        "/system/organisations/",
        f"/system/people/{somebody}/",
        "/system/people/new/",
        "/p/",
    ):
        page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/")[2] + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], f"{path} is {wide} px wide"


def test_on_a_phone_a_row_is_a_card_and_the_filters_open_on_demand(signed_in, personas, organisations):
    page = signed_in(personas["city_officer"], "/system/organisations/")
    page.set_viewport_size(PHONE)
    assert page.evaluate("getComputedStyle(document.querySelector('#list-results tbody tr')).display") == "block"
    assert not page.is_visible("#list-filter-kind")
    page.click(".list-more")
    page.wait_for_selector("#list-filter-kind", state="visible")
    page.select_option("#list-filter-kind", "town_office")
    page.wait_for_url("**kind=town_office**")


def test_a_grave_step_is_asked_for_and_can_be_called_off(signed_in, personas):
    person = personas["expert"]
    page = signed_in(personas["administrator"], f"/system/people/{person.pk}/")
    page.click("button[name=active]")
    page.click("#confirm button[value=no]")
    assert personas["expert"].is_active
    page.click("button[name=active]")
    page.click("#confirm button[value=yes]")
    page.wait_for_selector(".toast-success")
    assert not personas["expert"].is_active


def test_the_board_draws_its_chart_and_the_wall_needs_no_click(signed_in, personas):
    if "alarm.raised" not in kinds.REGISTERED:
        kinds.register("alarm.raised", "raised")
    page = signed_in(personas["city_officer"], "/board/?wall=1")
    page.set_viewport_size({"width": 1920, "height": 1080})
    page.wait_for_selector("#board-chart svg")
    page.wait_for_selector(".feed-state.is-live")
    data = {"rule": "25%LEL", "value": "26"}
    record("alarm.raised", targets=["x:1"], actor=None, at=timezone.now(), path=personas.here.path, data=data)
    expect(page.locator("#board-feed")).not_to_contain_text("暂无动态")
    assert page.evaluate("document.documentElement.scrollHeight") <= 1080
