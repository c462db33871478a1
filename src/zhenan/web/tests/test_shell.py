"""What every page carries: content policy, language, menu by capability, the ribbon, no inline scripts."""

from __future__ import annotations

import re

import pytest
from django.contrib import messages
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import reverse

from zhenan.kernel.people.models import User
from zhenan.web.middleware import ShellHeaders, content_policy

pytestmark = pytest.mark.django_db
INLINE = re.compile(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)[^>]*>|\son[a-z]+=|javascript:", re.IGNORECASE)
PAGES = ("/", "/map/", "/board/", "/board/?wall=1", "/system/people/", "/system/organisations/new/", "/p/", "/offline/")


@pytest.fixture
def admin(client, personas):
    user = personas["administrator"]
    client.force_login(user)
    return user


@pytest.mark.parametrize("path", [*PAGES, "/accounts/password/change/", "/accounts/2fa/", "/nothing-here/"])
def test_no_page_has_a_script_that_the_content_policy_would_refuse(client, admin, path):
    answer = client.get(path)
    assert answer.status_code in (200, 302, 404)
    assert INLINE.search(answer.content.decode()) is None
    assert "script-src 'self';" in answer["Content-Security-Policy"]
    assert "unsafe-eval" not in answer["Content-Security-Policy"]


def test_tiles_of_the_national_map_are_allowed_only_with_a_key(settings):
    assert "tianditu" not in content_policy()
    settings.TIANDITU_KEY = "k"
    assert "https://*.tianditu.gov.cn" in content_policy()


def test_chinese_comes_first_whatever_the_browser_asks_for(client):
    assert 'lang="zh-hans"' in client.get("/p/", headers={"Accept-Language": "en"}).content.decode()


def test_the_language_chosen_stays_with_the_browser_and_the_account(client, admin):
    answer = client.post(reverse("web:language"), {"language": "zh-hans", "next": "/board/?wall=1"})
    assert (answer.status_code, answer["Location"]) == (302, "/board/?wall=1")
    assert User.objects.get(pk=admin.pk).language == "zh-hans"
    client.post(reverse("web:language"), {"language": "en", "next": "/"})
    assert ">Board<" in client.get("/board/").content.decode()


@pytest.mark.parametrize(
    ("sent", "after"), [("https://evil.example/", "/"), ("//evil.example", "/"), ("/map/", "/map/")]
)
def test_choosing_a_language_leads_nowhere_else(client, sent, after):
    assert client.post(reverse("web:language"), {"language": "en", "next": sent})["Location"] == after


def test_an_unknown_language_is_refused_with_the_words_that_would_be_right(client):
    answer = client.post(reverse("web:language"), {"language": "xx"})
    assert answer.status_code == 400
    assert "zh-hans" in answer.content.decode()


def test_the_menu_shows_what_the_post_allows(client, personas):
    client.force_login(personas["grid_worker"])
    html = client.get("/").content.decode()
    assert reverse("web:map") in html
    assert reverse("web:people") not in html
    client.force_login(personas["administrator"])
    assert reverse("web:people") in client.get("/").content.decode()


def test_the_page_where_one_is_is_marked_once(client, admin):
    html = client.get("/system/people/new/").content.decode()
    menu = html[html.index('id="menu"') :]
    assert re.findall(r'href="([^"]+)" class="active"', menu) == ["/system/people/"]


def test_demo_data_is_labelled_on_every_page(client, admin, settings):
    settings.DEMO = True
    for path in ("/", "/map/", "/board/", "/board/?wall=1", "/system/people/", "/p/"):
        assert "演示数据" in client.get(path).content.decode(), path
    client.logout()
    assert "演示数据" in client.get("/accounts/login/").content.decode()
    settings.DEMO = False
    assert "演示数据" not in client.get("/accounts/login/").content.decode()


def test_htmx_may_swap_a_form_that_came_back_with_errors(client, admin):
    assert '"code": "422", "swap": true' in client.get("/").content.decode()


def test_messages_of_a_partial_answer_travel_in_its_header(rf):
    request = rf.get("/", headers={"HX-Request": "true"})
    request._messages = messages.storage.cookie.CookieStorage(request)
    messages.success(request, "已保存")
    answer = ShellHeaders(lambda _request: HttpResponse("part"))(request)
    assert answer["HX-Trigger"] == '{"toasts": [{"level": "success", "text": "\\u5df2\\u4fdd\\u5b58"}]}'


def test_messages_wait_for_the_page_after_a_redirect():
    request = RequestFactory().get("/", headers={"HX-Request": "true"})
    request._messages = messages.storage.cookie.CookieStorage(request)
    messages.success(request, "x")
    answer = ShellHeaders(lambda _request: HttpResponse(headers={"HX-Redirect": "/"}))(request)
    assert "HX-Trigger" not in answer


def test_strangers_are_sent_to_sign_in_but_may_read_what_the_platform_is(client):
    for path in (
        "/",
        "/map/",
        "/board/",
        "/board/feed/",
        "/map/divisions.geojson",
        "/system/people/",
        "/system/people/1/",
    ):
        assert client.get(path)["Location"].startswith("/accounts/login/"), path
    assert client.get("/p/").status_code == 200
    assert client.get("/stream").status_code == 204


def test_the_worker_and_the_manifest_are_served_from_the_root(client):
    worker = client.get("/sw.js")
    assert worker["Content-Type"].startswith("text/javascript")
    assert "{{version}}" not in worker.content.decode()
    manifest = client.get("/manifest.webmanifest").json()
    assert manifest["start_url"] == "/"
    assert {icon["sizes"] for icon in manifest["icons"]} == {"192x192", "512x512"}


def test_error_pages_say_what_to_do_next(client, admin, settings, personas):
    assert "返回今日待办" in client.get("/nothing/").content.decode()
    client.force_login(personas["grid_worker"])
    refused = client.get("/system/people/")
    assert refused.status_code == 403
    assert "管理员" in refused.content.decode()
    strict = type(client)(enforce_csrf_checks=True)
    stale = strict.post("/language/", {"language": "en"})
    assert stale.status_code == 403
    assert "表单已过期" in stale.content.decode()
